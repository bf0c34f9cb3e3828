"""Our exported engines as candidates: ONNX Runtime and OpenVINO, in each precision they have."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.benchmark import Precision
from inceptive.engines import records
from inceptive.engines.classifier import Classifier
from inceptive.engines.open import file_name, open_exported
from inceptive.exporting import write
from inceptive.exporting.calibration import ExportData

KINDS: tuple[tuple[str, Precision], ...] = (
    ("onnx", "f32"),
    ("onnx", "int8"),
    ("openvino", "f32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
ANY_DROP = 100.0
"""Points of top-1 that int8 may cost: random weights have no accuracy, and speed is what is asked."""


def exported(folder: Path, engine: str, precision: Precision, images: np.ndarray) -> Path:
    """The model in `folder` as `inceptive export` writes it, once; int8 with the ranges of `images`.

    images: (N, C, S, S) of uint8. Raises InceptiveError where the engine is not installed, or has not
    that precision.
    """
    path = folder / file_name(engine, precision)
    if not path.exists():
        write.check_runnable(engine, precision)
        write.write_export(
            Classifier.load(folder),
            folder,
            engine,
            precision,
            ExportData("images of the benchmark", images, None, images),
            ANY_DROP,
            records.fingerprint(folder / records.WEIGHTS),
            say=lambda _: None,
        )
    return path


def forward(
    folder: Path, engine: str, precision: Precision, images: np.ndarray
) -> Callable[[], object]:
    """What one call does: images (N, C, S, S) of uint8 to logits, in the exported engine."""
    opened = open_exported(exported(folder, engine, precision, images))
    return lambda: opened.logits(images)


def at_hand(folder: Path) -> list[str]:
    """The names of the exports in `folder` that passed their check, as `--engine` takes them."""
    return [one.name for one in records.usable(folder, lambda _: None)]
