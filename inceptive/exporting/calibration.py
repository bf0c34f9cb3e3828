"""The images that an export is calibrated and checked on."""

from dataclasses import dataclass

import numpy as np

from inceptive.data.cache import user_cache
from inceptive.data.learned import Learned
from inceptive.data.pictures import in_order
from inceptive.data.source import Data, Samples, class_indices, images_of
from inceptive.engines.protocol import Engine
from inceptive.images import Preprocessing

CALIBRATION, CHECKED, DRAWN, BATCH = 300, 1000, 64, 16
"""Images at most to calibrate int8 with, to check an export on, those made up without data, and those
decoded by a thread at once."""


@dataclass(frozen=True)
class ExportData:
    """images (N, C, S, S) of uint8 to check on, their labels (N,) if any, and their description;
    calibration (M, C, S, S) of uint8 are others, for int8 calibration."""

    description: str
    images: np.ndarray
    labels: np.ndarray | None
    calibration: np.ndarray


def from_data(engine: Engine, data: Data, calibrate: bool) -> ExportData:
    """Take validation images of `data` to check on and, with `calibrate`, training images, evenly.

    Labels are those of `engine`. Raises InceptiveError if it does not know a class of the data, or
    naming an image that cannot be decoded.
    """
    class_numbers = class_indices(data.classes, engine.labels)
    split = next((name for name in ("val", "train") if len(data.splits.get(name, ()))), "all")
    checked = _some(data.split(split), CHECKED)
    images = _squares(checked, engine.preprocessing)
    others = data.split("train" if len(data.splits.get("train", ())) else "all")
    calibration = (
        _squares(_some(others, CALIBRATION), engine.preprocessing) if calibrate else images[:0]
    )
    images_learned = Learned.from_record(engine.data)
    learned = int(images_learned.trained_on(checked).sum()) if images_learned else 0
    return ExportData(
        f"{len(checked)} {images_of(split)} of {data.name}"
        + (f", of which it learned {learned}" if learned else ""),
        images,
        class_numbers[checked.labels],
        calibration,
    )


def synthetic(preprocessing: Preprocessing) -> ExportData:
    """Make DRAWN random pictures of coarse squares with noise, always the same."""
    rng = np.random.default_rng(0)
    c, side = preprocessing.channels, preprocessing.size
    coarse = rng.integers(40, 216, size=(DRAWN, c, 8, 8))
    cells = np.arange(side) * 8 // side
    fine = coarse[:, :, cells][:, :, :, cells] + rng.normal(0, 20, (DRAWN, c, side, side))
    images = fine.clip(0, 255).astype(np.uint8)
    return ExportData(f"{DRAWN} random pictures", images, None, images[:0])


def _some(samples: Samples, most: int) -> Samples:
    """At most `most` of `samples`, spread evenly over a fixed shuffle of them."""
    order = np.random.default_rng(0).permutation(len(samples))
    return samples.take(np.sort(order[:most]))


def _squares(samples: Samples, preprocessing: Preprocessing) -> np.ndarray:
    return np.concatenate(list(in_order(samples, preprocessing, BATCH, user_cache())))
