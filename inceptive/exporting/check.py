"""An exported file beside the classifier it was made from: does it answer the same, and how fast."""

import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from inceptive.engines.protocol import Engine
from inceptive.exporting.check_set import CheckSet

DIFFERENCE = 1e-4
"""How far f32 logits may lie from torch's, in parts of the largest of them."""

BATCH, ROUNDS, SECONDS = 16, 3, 0.25
"""Images at once, rounds of each engine in turn, and the least time of one, for `speed`."""


@dataclass(frozen=True)
class Check:
    """What came out. `images` says on which.

    difference: the largest between the logits, in parts of the largest logit. agreement: the share
    of images with the same answer. top1_torch and top1 are shares, None without labels. drop: points
    of top-1 lost; without labels, points of answers that changed, which is no less. bound: what
    difference (f32) or drop (else) may be at most.
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
        found = asdict(self)
        del found["passed"]  # stands in the record
        return found


def beside(
    classifier: Engine, exported: Engine, given: CheckSet, precision: str, max_drop: float
) -> Check:
    """Both on the same images. max_drop, in points of top-1, is the bound unless precision is f32."""
    ours, theirs = (_logits(one, given.images) for one in (classifier, exported))
    difference = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    same = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    before = after = None
    drop = 100 * (1 - same)
    if given.labels is not None:
        before, after = (
            float((one.argmax(axis=1) == given.labels).mean()) for one in (ours, theirs)
        )
        drop = 100 * (before - after)
    bound = DIFFERENCE if precision == "f32" else max_drop
    measured = difference if precision == "f32" else drop
    # Not "measured > bound": nan must fail.
    passed = bool(np.isfinite(theirs).all() and measured <= bound + 1e-9)
    return Check(
        given.about, len(ours), difference, same, before, after, drop, bound, passed
    )  # fmt: skip


def _logits(engine: Engine, images: np.ndarray) -> np.ndarray:
    parts = np.array_split(images, -(-len(images) // BATCH))
    return np.concatenate([engine.logits(part) for part in parts]).astype(np.float64)


def speed(classifier: Engine, exported: Engine, images: np.ndarray) -> dict[str, float]:
    """Milliseconds for one image alone and images a second in batches of BATCH, torch beside it.

    The two take turns, ROUNDS times each, and the median counts: a busy machine slows both alike.
    """
    found: dict[str, float] = {}
    for batch in (1, BATCH):
        given = images[np.arange(batch) % len(images)]
        seconds: dict[str, list[float]] = {"": [], "torch_": []}
        for engine in (exported, classifier):
            engine.logits(given)  # the first time prepares
        for _ in range(ROUNDS):
            seconds[""].append(_seconds(exported, given))
            seconds["torch_"].append(_seconds(classifier, given))
        for whose, times in seconds.items():
            if batch == 1:
                found[f"{whose}ms_per_image"] = round(1000 * median(times), 3)
            else:
                found[f"{whose}images_per_second"] = round(batch / median(times), 2)
    return found


def _seconds(engine: Engine, images: np.ndarray) -> float:
    """Seconds that `engine` takes for `images` once, from as many times as fill SECONDS."""
    times, began, spent = 0, time.perf_counter(), 0.0
    while not times or spent < SECONDS:
        engine.logits(images)
        times, spent = times + 1, time.perf_counter() - began
    return spent / times
