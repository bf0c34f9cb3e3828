"""The Fréchet distance of two normal distributions (Heusel et al., arXiv:1706.08500), in float64."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from inceptive.errors import InceptiveError

NEGATIVE = 1e-6
"""An eigenvalue of a covariance below -NEGATIVE times the largest is no rounding."""
POINTS = 15
"""Sizes of subsets from which FID is extrapolated, as in arXiv:1911.07023."""
LEAST = 5000
"""The smallest of these, as there."""


@dataclass(frozen=True)
class Statistics:
    """Mean (F,) and covariance (F, F) of the features of `count` pictures; None where not known."""

    mean: np.ndarray
    covariance: np.ndarray
    count: int | None = None

    @classmethod
    def of(cls, features: np.ndarray) -> "Statistics":
        """Those of features (N, F), as `np.mean` and `np.cov` have them, but all in float64."""
        mean = features.mean(axis=0, dtype=np.float64)
        total = np.zeros((len(mean), len(mean)))
        for start in range(0, len(features), 1024):
            centred = features[start : start + 1024] - mean
            total += centred.T @ centred
        return cls(mean, total / (len(features) - 1), len(features))

    @cached_property
    def factor(self) -> np.ndarray:
        """A matrix L (F, R) with L Lᵀ = covariance, R its rank.

        Raises InceptiveError if an eigenvalue is negative: it is no covariance, and has no real root.
        """
        values, vectors = np.linalg.eigh(self.covariance)
        _refuse_negative(values)
        some = values > len(values) * np.finfo(np.float64).eps * values[-1]
        root: np.ndarray = vectors[:, some] * np.sqrt(values[some])
        return root


def _refuse_negative(values: np.ndarray) -> None:
    """values: eigenvalues in ascending order, which rounding alone makes slightly negative."""
    if len(values) and values[0] < -NEGATIVE * values[-1]:
        raise InceptiveError(
            f"a covariance has the eigenvalue {values[0]:.3g} (the largest is {values[-1]:.3g}): it is "
            "none, and the square root has an imaginary part"
        )


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½) of two Statistics: 0 if they are equal.

    The eigenvalues of C1 C2 are those of the symmetric Lᵀ C2 L with L Lᵀ = C1, which are real. L is that
    of fewer pictures, without the directions in which they do not vary at all: each of those would add
    the root of a rounding error. Raises InceptiveError if one is no covariance.
    """
    if (first.count or np.inf) > (second.count or np.inf):
        first, second = second, first
    values = np.linalg.eigvalsh(first.factor.T @ second.covariance @ first.factor)
    _refuse_negative(values)
    difference = first.mean - second.mean
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    roots = np.sqrt(values.clip(0)).sum()
    return float(difference @ difference + traces - 2 * roots)


def infinite_distance(
    real: Statistics,
    generated: np.ndarray,
    seed: int,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> float:
    """The distance that infinitely many generated pictures would have, from features (N, F) of some.

    Chong and Forsyth, arXiv:1911.07023: the distance of n pictures is linear in 1 / n; POINTS random
    subsets of min(5000, N / 2) to N, a least-squares line, and its value at 1 / n = 0.
    """
    generator = np.random.default_rng(seed)
    least = min(LEAST, len(generated) // 2)
    sizes = np.linspace(least, len(generated), POINTS).astype(int)
    distances = []
    for done, size in enumerate(sizes, 1):
        chosen = generated[generator.permutation(len(generated))[:size]]
        distances.append(frechet_distance(real, Statistics.of(chosen)))
        advance(done, POINTS)
    return float(np.polyfit(1 / sizes, distances, 1)[1])
