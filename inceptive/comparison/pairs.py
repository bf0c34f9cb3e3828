"""Two models on the same images: is one better, or was it chance?

Images that both get right, or both wrong, say nothing about that; the others are coin tosses if the
models are equally good (McNemar 1947).
"""

from dataclasses import dataclass
from math import exp, lgamma, log, sqrt

import numpy as np

from inceptive.metrics import Z95, Interval


@dataclass(frozen=True)
class Pair:
    """How often both, one or neither was right. difference: top-1 of the second minus the first's.

    interval is the difference's 95 % interval, p that of McNemar's exact test, two-sided.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    interval: Interval
    p: float


def pair(first: np.ndarray, second: np.ndarray) -> Pair:
    """Compare first and second (N,) of bool: which images each got right."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return Pair(
        both=int((first & second).sum()),
        only_first=only_first,
        only_second=only_second,
        neither=int((~first & ~second).sum()),
        difference=(only_second - only_first) / len(first),
        interval=paired_interval(only_first, only_second, len(first)),
        p=mcnemar(only_first, only_second),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of the exact test: the probability that the images which only one got right
    divide at least this unevenly if both are equally likely."""
    count, fewer = only_first + only_second, min(only_first, only_second)
    logs = [
        lgamma(count + 1) - lgamma(k + 1) - lgamma(count - k + 1) - count * log(2)
        for k in range(fewer + 1)
    ]
    return min(1.0, 2 * sum(map(exp, logs)))


def paired_interval(only_first: int, only_second: int, count: int) -> Interval:
    """95 % interval of the difference of two proportions of the same `count` images.

    Adds half an image to each of the four cells, then uses the normal approximation (Agresti and Min
    2005, section 3), whose coverage holds for few images too.
    """
    a, b, n = only_first + 0.5, only_second + 0.5, count + 2
    middle = (b - a) / n
    half = Z95 * sqrt(max(a + b - (b - a) ** 2 / n, 0.0)) / n
    return max(-1.0, middle - half), min(1.0, middle + half)
