"""The images that an export is calibrated and checked on."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from inceptive.data.source import Data, Samples
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.prediction import Engine

CALIBRATION, CHECKED, DRAWN = 300, 1000, 64
"""Images at most to calibrate int8 with, to check an export on, and those made up without data."""


@dataclass(frozen=True)
class Pictures:
    """images (N, C, S, S) of uint8 to check on, their labels (N,) if they have any, and what they
    are; calibration (M, C, S, S) of uint8 are others."""

    about: str
    images: np.ndarray
    labels: np.ndarray | None
    calibration: np.ndarray


def from_data(engine: Engine, data: Data, calibrate: bool) -> Pictures:
    """Validation images of `data` to check on and, with `calibrate`, training images, drawn evenly.

    Labels are those of `engine`. Raises InceptiveError if it does not know a class of the data, or
    naming an image that cannot be decoded.
    """
    if unknown := [name for name in data.classes if name not in engine.labels]:
        raise InceptiveError(
            f"the model does not know {', '.join(unknown[:5])}, a class of {data.name}; "
            f"it knows: {', '.join(engine.labels[:20])}"
        )
    split = next((name for name in ("val", "train") if len(data.splits.get(name, ()))), "all")
    checked = _some(data.split(split), CHECKED)
    number = np.array([engine.labels.index(name) for name in data.classes])
    images = _squares(checked, engine.preprocessing)
    others = data.split("train" if len(data.splits.get("train", ())) else "all")
    used = _squares(_some(others, CALIBRATION), engine.preprocessing) if calibrate else images[:0]
    return Pictures(
        f"{len(checked)} {split} images of {data.name}", images, number[checked.labels], used
    )


def made_up(preprocessing: Preprocessing) -> Pictures:
    """DRAWN random pictures, of coarse squares with noise on them, always the same."""
    rng = np.random.default_rng(0)
    c, side = preprocessing.channels, preprocessing.size
    coarse = rng.integers(40, 216, size=(DRAWN, c, 8, 8))
    at = np.arange(side) * 8 // side
    fine = coarse[:, :, at][:, :, :, at] + rng.normal(0, 20, (DRAWN, c, side, side))
    images = fine.clip(0, 255).astype(np.uint8)
    return Pictures(f"{DRAWN} random pictures", images, None, images[:0])


def _some(samples: Samples, most: int) -> Samples:
    """At most `most` of `samples`, spread evenly over a fixed shuffle of them."""
    order = np.random.default_rng(0).permutation(len(samples))
    return samples.take(np.sort(order[:most]))


def _squares(samples: Samples, preprocessing: Preprocessing) -> np.ndarray:
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda k: preprocessing.load(samples.source(k)), range(len(samples)))
        return np.stack(list(found))
