"""Comparison of an exported file with its source classifier: agreement and speed."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inceptive.engines.protocol import Engine
from inceptive.engines.timing import BATCH, speeds
from inceptive.exporting.calibration import ExportData

DIFFERENCE = 1e-4
"""How far f32 logits may lie from torch's, in parts of the largest of them."""

ROUNDS, SECONDS = 3, 0.25
"""Rounds of each engine in turn, and the least time of one, for `speed`."""


@dataclass(frozen=True)
class Check:
    """How an exported file compares with torch; `images` says on which images.

    difference: the largest between the logits, as a fraction of the largest logit. agreement: the share
    of images with the same answer. top1_torch and top1 are shares, None without labels. drop: points
    of top-1 lost; without labels, points of answers that changed, which is no less. bound: the maximum
    difference (f32) or drop (else).
    """

    images: str
    count: int
    difference: float
    agreement: float
    top1_torch: float | None
    top1: float | None
    drop: float
    bound: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "passed"}


def compare_outputs(
    classifier: Engine, exported: Engine, data: ExportData, precision: str, max_drop: float
) -> Check:
    """Compare both on the same images. max_drop, in points of top-1, is the bound except for f32."""
    ours, theirs = (_logits(engine, data.images) for engine in (classifier, exported))
    difference = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    same = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    before = after = None
    drop = 100 * (1 - same)
    if data.labels is not None:
        before, after = (
            float((logits.argmax(axis=1) == data.labels).mean()) for logits in (ours, theirs)
        )
        drop = 100 * (before - after)
    bound = DIFFERENCE if precision == "f32" else max_drop
    measured = difference if precision == "f32" else drop
    # Not "measured > bound": nan must fail.
    passed = bool(np.isfinite(theirs).all() and measured <= bound + 1e-9)
    return Check(
        data.description, len(ours), difference, same, before, after, drop, bound, passed
    )  # fmt: skip


def _logits(engine: Engine, images: np.ndarray) -> np.ndarray:
    parts = np.array_split(images, -(-len(images) // BATCH))
    return np.concatenate([engine.logits(part) for part in parts]).astype(np.float64)


def speed(classifier: Engine, exported: Engine, images: np.ndarray) -> dict[str, float]:
    """Milliseconds for one image alone and images per second in batches of BATCH, and torch's.

    The two alternate, ROUNDS times each, and the median counts: a busy machine slows both alike.
    """
    engines = {"": exported, "torch_": classifier}
    measured: dict[str, float] = {}
    for prefix, each in speeds(engines, dict.fromkeys(engines, images), ROUNDS, SECONDS).items():
        measured[f"{prefix}ms_per_image"] = round(each.ms_per_image, 3)
        measured[f"{prefix}images_per_second"] = round(each.images_per_second, 2)
    return measured
