"""The record of a training: its progress, its history, and its entry in the model folder."""

import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inceptive.data.learned import Learned
from inceptive.data.source import Data
from inceptive.io import atomic
from inceptive.metrics import (
    calibration_error,
    fit_temperature,
    negative_log_likelihood,
    softmax,
    thresholds,
    top_k,
    wilson,
)
from inceptive.training.prepare import published_origin, shares
from inceptive.training.recipe import Recipe


@dataclass
class RunState:
    """The progress of a run: what `resume` needs besides tensors."""

    epoch: int = 0
    seconds: float = 0.0
    before: float = 0.0
    """Seconds that were over before the first step: of these the schedule knows nothing."""
    details: dict[str, Any] = field(default_factory=dict)
    """What a probe found beforehand, for the model folder."""
    best_loss: float = float("inf")
    best_top1: float = -1.0
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def begin_behind(self, row: dict[str, Any], count: int) -> None:
        """Begin where a probe of this row of history is, validated on `count` images.

        A model replaces it that validates no worse by more than a standard error: the probe is the best
        of many on these images, and promises more than it keeps (docs/log.md).
        """
        top1 = row["val_top1"]
        self.best_top1 = top1 - sqrt(top1 * (1 - top1) / count)
        self.best_loss, self.history = row["val_loss"], [row]

    def better(self, top1: float, loss: float) -> bool:
        """Higher accuracy wins; at the same accuracy, lower loss."""
        return (top1, -loss) > (self.best_top1, -self.best_loss)


@dataclass
class EpochState:
    """The progress of an epoch: its completed steps, the images in them, and this process's part of the
    sums over them."""

    losses: Tensor
    hits: Tensor
    step: int = 0
    images: int = 0
    seconds: float = 0.0
    lr: float = 0.0


def validation_row(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The validation entries of a history row, from logits (N, K) and labels (N,)."""
    probs = softmax(logits)
    return {
        "val_loss": round(negative_log_likelihood(probs, labels), 5),
        "val_top1": round(float(top_k(probs, labels, 1).mean()), 5),
    }


def record(
    recipe: Recipe, data: Data, run: RunState, logits: np.ndarray, labels: np.ndarray
) -> tuple[float, dict[str, Any]]:
    """The temperature fitted to validation logits (N, K) and labels (N,), and the model folder's record
    of the training."""
    temperature = fit_temperature(logits, labels)
    plain, scaled = softmax(logits), softmax(logits, temperature)
    hits = top_k(plain, labels, 1)
    return temperature, {
        "data": {
            "name": data.name,
            "licence": data.licence,
            **{split: len(samples) for split, samples in data.splits.items()},
            "shares": asdict(shares(recipe)),
            **({"pictures": learned.to_dict()} if (learned := Learned.of(data)) else {}),
        },
        "recipe": recipe.model_dump(),
        **({"published": origin} if (origin := published_origin(recipe.weights)) else {}),
        "metrics": {
            "split": "train" if data.splits["val"] is data.splits["train"] else "val",
            "count": len(hits),
            "top1": float(hits.mean()),
            "top1_interval": wilson(int(hits.sum()), len(hits)),
            "baseline": float(np.bincount(labels).max() / len(labels)),
            "calibration_error": calibration_error(plain, labels),
            "calibration_error_scaled": calibration_error(scaled, labels),
            "thresholds": [asdict(point) for point in thresholds(scaled, labels)],
        },
        "training": {
            "epoch": run.epoch,
            "seconds": round(run.history[-1]["seconds"], 1),
        },
    }


def environment() -> dict[str, Any]:
    """The training environment: versions, threads and CPU capability, for one process in f32."""
    return {
        "precision": "f32",
        "threads": torch.get_num_threads(),
        "processes": 1,
        "versions": {name: version(name) for name in ("torch", "numpy", "pillow")}
        | {"python": platform.python_version()},
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def as_csv(history: list[dict[str, Any]]) -> str:
    """Format the history as CSV, one row per epoch, with columns in the order of the last."""
    names = list(dict.fromkeys(name for row in reversed(history) for name in row))
    return atomic.as_csv(names, [[row.get(name) for name in names] for row in history]) + "\n"
