"""Metrics of a classifier's answers: accuracy with its interval, per class, and calibration.

probs (N, K) are probabilities, labels (N,) the true classes. Shares are 0-1.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import sqrt
from typing import Any, Self

import numpy as np

from inceptive.errors import InceptiveError

Z95 = 1.959963984540054  # the normal distribution's 97.5 % point
Interval = tuple[float, float]
TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995)
"""Accuracies that a user may want of the answers above a threshold."""
ACCURACY = 0.95
"""Share of its answers that should be right, unless another is asked for."""
SHOWN_CLASSES = 20
"""Of more, no matrix is shown, nor a row or a picture of each."""
EVEN = 0.5
"""An answer less probable than all others together is never called sure."""


@dataclass(frozen=True)
class PerClass:
    """One class: its images, and the shares 0-1 of its answers; nan without a denominator."""

    label: str
    count: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Bin:
    """Images with confidence between low and high: their number, mean confidence and accuracy."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class RiskCoveragePoint:
    """Answers with confidence of at least `threshold`: their share of all images (coverage), and their
    accuracy (1 - risk)."""

    threshold: float
    coverage: float
    accuracy: float


@dataclass(frozen=True)
class Threshold:
    """Of `count` images answered with confidence of at least `threshold`, a share `accuracy` was right,
    which is `target` or more; they were a share `share` of all."""

    target: float
    count: int
    threshold: float
    share: float
    accuracy: float

    @classmethod
    def from_dict(cls, values: dict[str, float]) -> "Threshold":
        """Raises KeyError, TypeError or ValueError if `values` are not what asdict returns."""
        return cls(
            float(values["target"]),
            int(values["count"]),
            *(float(values[key]) for key in ("threshold", "share", "accuracy")),
        )


@dataclass(frozen=True, eq=False)
class Measures:
    """Metrics of a classifier's answers for `count` labelled images. Shares are 0-1.

    Intervals are 95 %: Wilson's for accuracies, draws from each class's posterior for balanced
    accuracy. loss, in nats, and calibration_error are of the probabilities before temperature scaling,
    `..._scaled` after it. confusion (K, K): rows are true classes, columns answers.
    """

    count: int
    top1: float
    top1_interval: Interval
    top5: float
    top5_interval: Interval
    balanced_accuracy: float
    balanced_accuracy_interval: Interval
    loss: float
    loss_scaled: float
    calibration_error: float
    calibration_error_scaled: float
    classes: tuple[PerClass, ...]
    confusion: np.ndarray

    @classmethod
    def of(
        cls,
        plain: np.ndarray,
        scaled: np.ndarray,
        targets: np.ndarray,
        labels: tuple[str, ...],
        /,
        **more: Any,
    ) -> Self:
        """Measure probabilities (N, K), before and after temperature scaling; the answers are those
        after it, which differ where views or models are averaged.

        targets (N,) are the true classes, labels the K names, `more` the fields of a subclass. A class
        that does not occur is left out of means.
        """
        first, fifth = (top_k(scaled, targets, min(k, len(labels))) for k in (1, 5))
        matrix = confusion(scaled.argmax(axis=1), targets, len(labels))
        balanced, balanced_interval = balanced_accuracy(matrix)
        return cls(
            count=len(targets),
            top1=float(first.mean()),
            top1_interval=wilson(int(first.sum()), len(targets)),
            top5=float(fifth.mean()),
            top5_interval=wilson(int(fifth.sum()), len(targets)),
            balanced_accuracy=balanced,
            balanced_accuracy_interval=balanced_interval,
            loss=negative_log_likelihood(plain, targets),
            loss_scaled=negative_log_likelihood(scaled, targets),
            calibration_error=calibration_error(plain, targets),
            calibration_error_scaled=calibration_error(scaled, targets),
            classes=tuple(per_class(matrix, labels)),
            confusion=matrix,
            **more,
        )

    @property
    def shown(self) -> list[int]:
        """Indices of the classes that a table shows: of many, those that occur or were answered."""
        occurs = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) > 0
        return [k for k in range(len(occurs)) if occurs[k] or len(occurs) <= SHOWN_CLASSES]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(Measures)}
        return values | {
            "classes": [asdict(row) for row in self.classes],
            "confusion": self.confusion.tolist(),
        }


def top_k(probs: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether the true class is among the k most probable ones: (N,) of bool.

    Ties go to the first, as for argmax; a row with nan has no answer.
    """
    own = probs[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(probs.shape[1]) < np.asarray(labels)[:, None]
    rank = ((probs > own) | ((probs == own) & earlier)).sum(axis=1)
    return np.asarray((rank < k) & ~np.isnan(probs).any(axis=1))


def wilson(hits: int, count: int) -> Interval:
    """95 % interval of a share of `hits` in `count` (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    share, z = hits / count, Z95
    centre = share + z * z / (2 * count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def confusion(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """(K, K) counts: rows are true classes, columns answers."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def per_class(matrix: np.ndarray, names: tuple[str, ...]) -> list[PerClass]:
    """Precision, recall and F1 of each class, from a confusion matrix (K, K)."""
    rows = []
    for k, name in enumerate(names):
        hits, count, answered = int(matrix[k, k]), int(matrix[k].sum()), int(matrix[:, k].sum())
        precision = hits / answered if answered else float("nan")
        recall = hits / count if count else float("nan")
        f1 = 2 * hits / (count + answered) if count + answered else float("nan")
        rows.append(PerClass(name, count, precision, recall, f1))
    return rows


def balanced_accuracy(matrix: np.ndarray) -> tuple[float, Interval]:
    """Mean recall of the classes that occur, with a 95 % interval.

    From 2,000 draws of each class's recall out of its Jeffreys posterior: a class whose few images are
    all right is not certain to be.
    """
    counts = matrix.sum(axis=1)
    occurs = counts > 0
    counts, hits = counts[occurs], np.diag(matrix)[occurs]
    rng = np.random.default_rng(0)
    drawn = rng.beta(hits + 0.5, counts - hits + 0.5, size=(2000, len(counts)))
    low, high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    mean = float((hits / counts).mean())
    return mean, (min(float(low), mean), max(float(high), mean))


def calibration_error(probs: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: mean gap between confidence and accuracy (Guo 2017, equation 3)."""
    gaps = (b.count * abs(b.confidence - b.accuracy) for b in reliability(probs, labels, bins))
    return float(sum(gaps) / len(labels))


def reliability(probs: np.ndarray, labels: np.ndarray, bins: int = 15) -> list[Bin]:
    """Accuracy by confidence: the bins of `calibration_error`, without empty ones."""
    confidence = probs.max(axis=1)
    correct = probs.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        Bin(
            k / bins,
            (k + 1) / bins,
            int(inside.sum()),
            float(confidence[inside].mean()),
            float(correct[inside].mean()),
        )
        for k in range(bins)
        if (inside := which == k).any()
    ]


def risk_coverage(probs: np.ndarray, labels: np.ndarray) -> list[RiskCoveragePoint]:
    """The risk-coverage curve: the accuracy of the most confident answers for each share of images
    answered, the smallest first (El-Yaniv and Wiener 2010).

    Images of equal confidence are answered together or not at all.
    """
    confidence = probs.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    sure = confidence[order]
    hits = np.cumsum((probs.argmax(axis=1) == labels)[order])
    ends = np.append(np.flatnonzero(sure[1:] < sure[:-1]), len(sure) - 1)
    return [
        RiskCoveragePoint(float(sure[k]), float((k + 1) / len(sure)), float(hits[k] / (k + 1)))
        for k in ends
    ]


def threshold_for_accuracy(
    curve: list[RiskCoveragePoint], target: float
) -> RiskCoveragePoint | None:
    """The point of `risk_coverage` with the largest coverage whose accuracy is at least `target`;
    None if there is none."""
    reached = (point for point in curve if point.accuracy >= target)
    return max(reached, key=lambda point: point.coverage, default=None)


def thresholds(probs: np.ndarray, labels: np.ndarray) -> list[Threshold]:
    """The threshold, EVEN or more, for each of TARGETS that can be reached."""
    curve = [point for point in risk_coverage(probs, labels) if point.threshold >= EVEN]
    return [
        Threshold(target, round(p.coverage * len(labels)), p.threshold, p.coverage, p.accuracy)
        for target in TARGETS
        if (p := threshold_for_accuracy(curve, target))
    ]


def choose_threshold(
    name: str, thresholds: Sequence[Threshold], accuracy: float | None
) -> tuple[float, float | None, int]:
    """The probability from which a share `accuracy` of answers of model `name` is right, the share that
    was, and of how many images; from the `thresholds` found in training.

    The default is ACCURACY or the nearest to it. Raises InceptiveError if no threshold reaches
    `accuracy`.
    """
    enough = [
        each for each in thresholds if each.target >= (ACCURACY if accuracy is None else accuracy)
    ]
    if not enough and accuracy is not None:
        most = max((each.target for each in thresholds), default=None)
        why = f"at most {most:.1%}" if most else "the model folder records no thresholds"
        raise InceptiveError(f"{name}: no threshold is known for accuracy {accuracy:g}: {why}")
    if not thresholds:
        return EVEN, None, 0
    chosen = min(enough, key=lambda each: each.target) if enough else thresholds[-1]
    if chosen.threshold < EVEN:  # written until 0.1: how right answers above EVEN are is not known
        return EVEN, None, 0
    return chosen.threshold, chosen.accuracy, chosen.count


def negative_log_likelihood(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -ln p(true class), in nats. A p of 0 counts as the least that its type holds."""
    own = probs[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, np.finfo(own.dtype).tiny)).mean())


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities (N, K) of logits / temperature, in float64. Raises InceptiveError for NaN."""
    if np.isnan(logits).any():
        raise InceptiveError("the model answers with NaN: its weights are damaged, or too large")
    x = logits.astype(np.float64) / temperature
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(x / x.sum(axis=1, keepdims=True))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that maximises the likelihood of held-out labels (Guo et al., arXiv:1706.04599).

    Of N labels, each counts as N / (N + 1) sure and the rest as spread over all classes (as Platt 1999
    does): where all answers are right, likelihood alone would have all of them certain. Golden-section
    search of ln T in -3..3: the likelihood has one peak along it. One number for all classes, so no
    answer changes, only its confidence. It is 1 where that peak has the larger calibration error on
    these labels: a few answers that are sure and wrong can move it anywhere.
    """
    ratio = (sqrt(5) - 1) / 2

    scores = logits.astype(np.float64)
    scores = scores - scores.max(axis=1, keepdims=True)
    spread = 1 / (len(labels) + 1)
    own = (1 - spread) * scores[np.arange(len(labels)), labels] + spread * scores.mean(axis=1)

    def loss(log_t: float) -> float:
        t = np.exp(log_t)
        return float((np.log(np.exp(scores / t).sum(axis=1)) - own / t).mean())

    low, high = -3.0, 3.0
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    loss_a, loss_b = loss(a), loss(b)
    while high - low > 1e-4:
        if loss_a < loss_b:
            high, b, loss_b = b, a, loss_a
            a = high - ratio * (high - low)
            loss_a = loss(a)
        else:
            low, a, loss_a = a, b, loss_b
            b = low + ratio * (high - low)
            loss_b = loss(b)
    found = float(np.exp((low + high) / 2))
    errors = [calibration_error(softmax(logits, each), labels) for each in (1.0, found)]
    return found if errors[1] <= errors[0] else 1.0
