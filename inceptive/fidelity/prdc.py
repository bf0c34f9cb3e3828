"""Precision, recall, density and coverage: Naeem et al., arXiv:2002.09797, equations 1 to 4."""

from typing import NamedTuple

import numpy as np

ROWS = 512
"""Distances that are in memory at once: of so many pictures to all others."""


class Prdc(NamedTuple):
    """Shares 0-1 of pictures; density, a mean count, may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real: np.ndarray, generated: np.ndarray, neighbours: int) -> Prdc:
    """Compare features (N, F) and (M, F) by balls up to each one's `neighbours`-th nearest of its kind.

    precision: generated pictures inside the ball of a real one. recall: real ones inside that of a
    generated one. density: real balls around a generated picture, over `neighbours`. coverage: real
    balls with a generated picture inside. Inside means nearer than the radius.
    """
    real, generated = real.astype(np.float64), generated.astype(np.float64)
    real_radii, generated_radii = _radii(real, neighbours), _radii(generated, neighbours)
    balls = np.zeros(len(generated))
    recalled, covered = 0, 0
    for start in range(0, len(real), ROWS):
        distances = _distances(real[start : start + ROWS], generated)
        inside = distances < real_radii[start : start + ROWS, None]
        balls += inside.sum(axis=0)
        covered += inside.any(axis=1).sum()
        recalled += (distances < generated_radii).any(axis=1).sum()
    return Prdc(
        float((balls > 0).mean()),
        float(recalled / len(real)),
        float(balls.mean() / neighbours),
        float(covered / len(real)),
    )


def _radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """The squared distance of each of (N, F) to its `neighbours`-th nearest other: (N,)."""
    parts = []
    for start in range(0, len(features), ROWS):
        distances = _distances(features[start : start + ROWS], features)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = 0  # itself, nearest of all
        parts.append(np.partition(distances, neighbours, axis=1)[:, neighbours])
    return np.concatenate(parts)


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distances (n, m) of x (n, F) and y (m, F)."""
    values: np.ndarray = (x**2).sum(axis=1)[:, None] - 2 * x @ y.T + (y**2).sum(axis=1)
    return values.clip(0)
