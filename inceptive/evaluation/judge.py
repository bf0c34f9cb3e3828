"""How good a classifier, or several together, is on labelled images."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from inceptive import metrics
from inceptive.data.cache import Cache
from inceptive.data.pictures import in_order
from inceptive.data.prefetch import ahead
from inceptive.data.source import Samples, places
from inceptive.engines.protocol import Engine
from inceptive.evaluation.crops import crops
from inceptive.images import Preprocessing
from inceptive.io.cores import cores

Progress = Callable[[int, int], None]
VIEWS = 64
"""Views that go through the net at once."""


def probabilities(
    engine: Engine,
    samples: Samples,
    count: int = 1,
    progress: Progress | None = None,
    cache: Cache | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Softmax of `engine`'s logits, averaged over `count` crops: plain (N, K), and with its temperature.

    Squares of single crops come from the `cache` where they lie in it. Raises InceptiveError, naming
    the file, for an image that cannot be decoded.
    """
    plain: list[np.ndarray] = []
    scaled: list[np.ndarray] = []
    done = 0
    for batch in _views(engine.preprocessing, samples, count, cache):
        logits = engine.logits(batch)
        for found, temperature in ((plain, 1.0), (scaled, engine.temperature)):
            probs = metrics.softmax(logits, temperature)
            found.append(probs.reshape(len(batch) // count, count, -1).mean(axis=1))
        done += len(batch) // count
        if progress:
            progress(done, len(samples))
    return np.concatenate(plain), np.concatenate(scaled)


def _views(
    preprocessing: Preprocessing, samples: Samples, count: int, cache: Cache | None
) -> Iterator[np.ndarray]:
    """Batches of views, `count` of each image one after another, decoded while the engine works."""
    at_once = max(1, VIEWS // count)
    if count == 1:
        return in_order(samples, preprocessing, at_once, cache)

    def views(step: int) -> np.ndarray:
        some = range(step * at_once, min((step + 1) * at_once, len(samples)))
        return np.concatenate([crops(preprocessing, samples.source(k), count) for k in some])

    return ahead(views, -(-len(samples) // at_once), cores())


def in_order_of(engine: Engine, classes: tuple[str, ...], probs: np.ndarray) -> np.ndarray:
    """probs (N, K) with its columns in the order of `classes`.

    Raises InceptiveError, naming them, if the data has classes that the classifier does not know.
    """
    known = places(classes, engine.labels)
    rest = [k for k, name in enumerate(engine.labels) if name not in classes]
    return probs[:, [*known, *rest]]


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
