"""Two models on the same images: is one better, or was it luck?

Images that both get right, or both wrong, say nothing about that; the others are the toss of a coin if
the models are equally good (McNemar 1947).
"""

from dataclasses import dataclass
from math import exp, lgamma, log, sqrt

import numpy as np

from inceptive.metrics import Z95, Interval


@dataclass(frozen=True)
class Pair:
    """How often both, one or neither was right. difference: top-1 of the second less the first's.

    interval is the difference's 95 % interval, p that of the exact test of McNemar, both sides.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    interval: Interval
    p: float


def pair(first: np.ndarray, second: np.ndarray) -> Pair:
    """first, second (N,) of bool: which images each got right."""
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
    """How probable so uneven a division of the images that only one got right is, or a more uneven
    one, if either is as likely as the other: the exact test, both sides."""
    count, fewer = only_first + only_second, min(only_first, only_second)
    logs = [
        lgamma(count + 1) - lgamma(k + 1) - lgamma(count - k + 1) - count * log(2)
        for k in range(fewer + 1)
    ]
    return min(1.0, 2 * sum(map(exp, logs)))


def paired_interval(only_first: int, only_second: int, count: int, z: float = Z95) -> Interval:
    """95 % interval of the difference of two shares of the same `count` images.

    Half an image more in each of the four fields, then the normal approximation (Agresti and Min
    2005, section 3), which holds its promise for few images too.
    """
    a, b, n = only_first + 0.5, only_second + 0.5, count + 2
    middle = (b - a) / n
    half = z * sqrt(max(a + b - (b - a) ** 2 / n, 0.0)) / n
    return max(-1.0, middle - half), min(1.0, middle + half)
