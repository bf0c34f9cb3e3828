"""The kernel inception distance: Bińkowski et al., arXiv:1801.01401, section 4."""

from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """A mean over subsets or splits, and their standard deviation."""

    mean: float
    std: float


def kernel_distance(
    real: np.ndarray, generated: np.ndarray, subsets: int, subset_size: int, seed: int
) -> Spread:
    """The unbiased squared maximum mean discrepancy of features (N, F), over random subsets.

    With the kernel (x·y / F + 1)³, in float64. The subsets are torch-fidelity's: one generator of `seed`
    draws those of the generated features first.
    """
    random = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        x, y = (
            features[random.choice(len(features), subset_size, replace=False)].astype(np.float64)
            for features in (generated, real)
        )
        values.append(_discrepancy(x, y))
    return Spread(float(np.mean(values)), float(np.std(values)))


def _discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """Of as many features x and y (n, F); a picture is not compared with itself."""
    count = len(x)
    within = sum(kernel.sum() - np.trace(kernel) for kernel in (_kernel(x, x), _kernel(y, y)))
    return float(within / (count * (count - 1)) - 2 * _kernel(x, y).mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    values: np.ndarray = x @ y.T / x.shape[1] + 1
    return values**3
