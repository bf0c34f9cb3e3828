"""What a training remembers of itself: how far it is, its history, what the model folder tells."""

import csv
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from inceptive.data.source import Data
from inceptive.metrics import wilson
from inceptive.train.recipe import Recipe


@dataclass
class Progress:
    """How far a run is: what `resume` needs beside tensors."""

    epoch: int = 0
    seconds: float = 0.0
    best_loss: float = float("inf")
    best_top1: float = -1.0
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def better(self, top1: float, loss: float) -> bool:
        """Higher accuracy wins; at the same accuracy, lower loss."""
        return (top1, -loss) > (self.best_top1, -self.best_loss)


@dataclass
class Within:
    """How far an epoch is: `done` of its steps, and sums over them. draws and chance are the states
    of the generators of the changes to pictures and of dropout, as they were then."""

    losses: Tensor
    hits: Tensor
    done: int = 0
    images: int = 0
    seconds: float = 0.0
    lr: float = 0.0
    draws: Tensor | None = None
    chance: list[Tensor] | None = None


def record(recipe: Recipe, data: Data, progress: Progress, hits: np.ndarray) -> dict[str, Any]:
    """What the model folder tells of its training; hits (N,): which validation images are right."""
    return {
        "data": {
            "name": data.name,
            "licence": data.licence,
            **{split: len(samples) for split, samples in data.splits.items()},
            "shares": {"val": recipe.data.val, "test": recipe.data.test},
        },
        "recipe": recipe.model_dump(),
        "metrics": {
            "split": "val",
            "count": len(hits),
            "top1": float(hits.mean()),
            "top1_interval": wilson(int(hits.sum()), len(hits)),
        },
        "training": {
            "epoch": progress.epoch,
            "seconds": round(progress.history[-1]["seconds"], 1),
        },
    }


def as_csv(history: list[dict[str, Any]]) -> str:
    """History as CSV, one row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
