"""How good a classifier, or several together, is on labelled images."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np

from inceptive import metrics
from inceptive.data.source import Samples
from inceptive.errors import InceptiveError
from inceptive.evaluate.crops import crops
from inceptive.prediction import Engine

Progress = Callable[[int, int], None]
VIEWS = 256
"""Views that go through the net at once."""


def probabilities(
    engine: Engine, samples: Samples, count: int = 1, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Softmax of `engine`'s logits, averaged over `count` crops: plain (N, K), and with its temperature.

    Raises InceptiveError, naming the file, for an image that cannot be decoded.
    """
    plain: list[np.ndarray] = []
    scaled: list[np.ndarray] = []
    at_once = max(1, VIEWS // count)

    def views(index: int) -> np.ndarray:
        return crops(engine.preprocessing, samples.source(index), count)

    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(samples), at_once):
            stop = min(start + at_once, len(samples))
            batch = np.concatenate(list(pool.map(views, range(start, stop))))
            logits = engine.logits(batch)
            for found, temperature in ((plain, 1.0), (scaled, engine.temperature)):
                probs = metrics.softmax(logits, temperature)
                found.append(probs.reshape(stop - start, count, -1).mean(axis=1))
            if progress:
                progress(stop, len(samples))
    return np.concatenate(plain), np.concatenate(scaled)


def in_order_of(engine: Engine, classes: tuple[str, ...], probs: np.ndarray) -> np.ndarray:
    """probs (N, K) with its columns in the order of `classes`.

    Raises InceptiveError, naming them, if the data has classes that the classifier does not know.
    """
    if unknown := [name for name in classes if name not in engine.labels]:
        raise InceptiveError(
            f"the model does not know {', '.join(unknown[:5])}; "
            f"it knows: {', '.join(engine.labels[:20])}"
        )
    rest = [name for name in engine.labels if name not in classes]
    return probs[:, [engine.labels.index(name) for name in (*classes, *rest)]]


def judge(
    plain: np.ndarray, scaled: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Everything that probabilities (N, K), before and after temperature scaling, are worth.

    Shares are 0-1; intervals are 95 %, Wilson's for accuracies, a bootstrap by class for balanced
    accuracy. A class that does not occur counts in no mean.
    """
    if plain.shape[1] > len(classes):  # classes that the model knows and the data does not hold
        spare = tuple(f"(other {k + 1})" for k in range(plain.shape[1] - len(classes)))
        classes = (*classes, *spare)
    first = metrics.top_k(plain, labels, 1)
    fifth = metrics.top_k(plain, labels, min(5, len(classes)))
    matrix = metrics.confusion(plain.argmax(axis=1), labels, len(classes))
    balanced, balanced_interval = metrics.balanced_accuracy(matrix)
    return {
        "count": len(labels),
        "top1": float(first.mean()),
        "top1_interval": metrics.wilson(int(first.sum()), len(labels)),
        "top5": float(fifth.mean()),
        "top5_interval": metrics.wilson(int(fifth.sum()), len(labels)),
        "balanced_accuracy": balanced,
        "balanced_accuracy_interval": balanced_interval,
        "loss": metrics.negative_log_likelihood(plain, labels),
        "loss_scaled": metrics.negative_log_likelihood(scaled, labels),
        "calibration_error": metrics.calibration_error(plain, labels),
        "calibration_error_scaled": metrics.calibration_error(scaled, labels),
        "classes": [asdict(one) for one in metrics.per_class(matrix, classes)],
        "confusion": matrix.tolist(),
    }
