"""Novelty: how far features and logits of a picture are from those of pictures of the classes.

The score of a picture is the distance of the last layer's input from its usual values (the mean of
|x - mean| / std over the features), minus the energy ln sum exp(logits) (Liu et al., arXiv:2010.03759),
each in standard deviations over validation images. Neither suffices alone: energy takes pages of text
for a class, distance misses photographs of other things. The energy counts up to SUREST: a picture
that activates everything is not excused by also activating a class.
"""

import base64
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

FALSE_ALARMS = 0.05
"""Share of the validation images that score above the threshold."""
MIN_COUNT, FOLDS = 20, 5
"""Validation images at least, and the parts of them that are scored by the rest."""
SUREST = 1.0
"""Deviations of the energy above its mean that count, at most."""
FLOOR = 0.1
"""Of the mean deviation of all features, added to each: one that is nearly constant tells nothing."""


@dataclass(frozen=True, eq=False)
class Novelty:
    """The novelty criterion: a picture with a score above 0 is like none of the classes.

    mean, std (F,) are those of the features, float32; distance and energy are the mean and deviation of
    the two parts of the score. threshold is subtracted from it: of the `count` validation images used
    to fit all this, a share FALSE_ALARMS is above it.
    """

    mean: np.ndarray
    std: np.ndarray
    distance: tuple[float, float]
    energy: tuple[float, float]
    threshold: float
    count: int

    @classmethod
    def fit(cls, features: np.ndarray, logits: np.ndarray) -> Self | None:
        """Fit to validation features (N, F) and logits (N, K); None if there are too few.

        The distances used are from the mean of other images: from their own mean they would be smaller
        than those of new ones.
        """
        count = len(features)
        if count < MIN_COUNT:
            return None
        features, fold = features.astype(np.float64), np.arange(count) % FOLDS
        distance = np.empty(count)
        for k in range(FOLDS):
            distance[fold == k] = _distance(features[fold == k], *_usual(features[fold != k]))
        energy = _energy(logits)
        far, sure = ((float(part.mean()), float(part.std())) for part in (distance, energy))
        mean, std = _usual(features)
        plain = cls(mean, std, far, sure, 0.0, count)
        if not plain._is_sound():
            return None
        score = plain._score(distance, energy)
        threshold = float(np.quantile(score, 1 - FALSE_ALARMS, method="higher"))
        return cls(mean, std, far, sure, threshold, count)

    def scores(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """(N,) of float32 for features (N, F) and logits (N, K): above 0 if like none of the classes."""
        distance = _distance(features.astype(np.float32), self.mean, self.std)
        return self._score(distance, _energy(logits)).astype(np.float32)

    def _score(self, distance: np.ndarray, energy: np.ndarray) -> np.ndarray:
        far, sure = (
            (part - mean) / std
            for part, (mean, std) in ((distance, self.distance), (energy, self.energy))
        )
        return np.asarray(far - np.minimum(sure, SUREST) - self.threshold)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values; mean and std in base64 of half precision, as they are held."""
        return {
            "count": self.count,
            "threshold": self.threshold,
            "distance": list(self.distance),
            "energy": list(self.energy),
            "mean": _encoded(self.mean),
            "std": _encoded(self.std),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError if `values` are not what `to_dict` returns."""
        mean, std = _decoded(values["mean"]), _decoded(values["std"])
        distance, energy = (tuple(map(float, values[key])) for key in ("distance", "energy"))
        novelty = cls(mean, std, distance, energy, float(values["threshold"]), int(values["count"]))  # type: ignore[arg-type]
        if not (
            len(distance) == len(energy) == 2 and mean.shape == std.shape and novelty._is_sound()
        ):
            raise ValueError("its numbers do not fit each other, or a deviation is not above 0")
        return novelty

    def _is_sound(self) -> bool:
        numbers = [*self.mean, *self.std, *self.distance, *self.energy, self.threshold]
        least = min(self.std.min(initial=1), self.distance[1], self.energy[1])
        return bool(np.isfinite(numbers).all() and least > 0)


def _usual(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each feature, as half precision keeps them."""
    std = features.std(axis=0)
    std = np.sqrt(std**2 + (FLOOR * std.mean()) ** 2)
    with np.errstate(over="ignore"):  # what is beyond half precision is no use
        return tuple(
            part.astype(np.float16).astype(np.float32) for part in (features.mean(axis=0), std)
        )


def _distance(features: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((np.abs(features - mean) / std).mean(axis=1))


def _energy(logits: np.ndarray) -> np.ndarray:
    most = logits.max(axis=1)
    return np.asarray(most + np.log(np.exp(logits - most[:, None]).sum(axis=1)))


def _encoded(numbers: np.ndarray) -> str:
    return base64.b64encode(numbers.astype("<f2").tobytes()).decode("ascii")


def _decoded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
