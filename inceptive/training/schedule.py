"""The learning rate and the size of images through a run."""

from math import cos, pi

from inceptive.training.recipe import ScheduleTable


def lr_factor(table: ScheduleTable, epoch: float, epochs: int) -> float:
    """What the learning rate is multiplied by at `epoch`, which counts parts of epochs from 0.

    step: `factor` to the power of whole `step_epochs` passed (the paper's: 0.96 every 8 epochs).
    cosine and linear fall from 1 after the warm-up to `final` at the end.
    """
    if epoch < table.warmup_epochs:
        return (epoch + 1e-3) / (table.warmup_epochs + 1e-3)
    match table.kind:
        case "constant":
            return 1.0
        case "step":
            return float(table.factor ** (epoch // table.step_epochs))
        case "cosine" | "linear":
            done = (epoch - table.warmup_epochs) / max(epochs - table.warmup_epochs, 1e-9)
            remaining = 1 - min(done, 1.0)
            if table.kind == "cosine":
                remaining = (1 - cos(pi * remaining)) / 2
            return table.final + (1 - table.final) * remaining


def size_at(table: ScheduleTable, epoch: float, epochs: int, size: int) -> int:
    """The pixels of images at `epoch` of `epochs`, where they have `size` in the end.

    They grow evenly, in steps of 16, from the share `smallest` of it until the share `grown` of the
    epochs is done.
    """
    share = table.smallest + (1 - table.smallest) * epoch / (table.grown * epochs)
    return size if share >= 1 else min(size, max(16, round(size * share / 16) * 16))
