"""The learning rate and the image size over a run."""

from math import cos, pi

from inceptive.training.recipe import ScheduleTable

FEW, SHORT = 3, 0.25
"""Epochs from which images grow, since in fewer the last would not have the size that is used later; and
the share of fewer that a warm-up takes at most: else the rate would only rise."""


def lr_factor(table: ScheduleTable, epoch: float, epochs: int) -> float:
    """The multiplier of the learning rate at `epoch`, which is fractional and counts from 0.

    step: `factor` to the power of completed `step_epochs` (the paper's: 0.96 every 8 epochs).
    cosine and linear fall from 1 after the warm-up to `final` at the end. Of fewer than FEW epochs the
    warm-up is SHORT at most.
    """
    warmup = table.warmup_epochs
    if epochs < FEW:
        warmup = min(warmup, SHORT * epochs)
    if epoch < warmup:
        return (epoch + 1e-3) / (warmup + 1e-3)
    match table.kind:
        case "constant":
            return 1.0
        case "step":
            return float(table.factor ** (epoch // table.step_epochs))
        case "cosine" | "linear":
            done = (epoch - warmup) / max(epochs - warmup, 1e-9)
            remaining = 1 - min(done, 1.0)
            if table.kind == "cosine":
                remaining = (1 - cos(pi * remaining)) / 2
            return table.final + (1 - table.final) * remaining


def size_at(table: ScheduleTable, epoch: float, epochs: int, size: int) -> int:
    """The image size in pixels at `epoch` of `epochs`, with `size` at the end.

    It grows linearly, in steps of 16 or, up to 64 pixels, of 4, from the fraction `smallest` of it until
    the fraction `grown` of the epochs is done; in fewer than FEW it is `size` throughout.
    """
    if epochs < FEW:
        return size
    step = 16 if size > 64 else 4
    share = table.smallest + (1 - table.smallest) * epoch / (table.grown * epochs)
    return size if share >= 1 else min(size, max(16, round(size * share / step) * step))
