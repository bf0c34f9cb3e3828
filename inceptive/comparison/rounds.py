"""Measuring side by side: A B C, A B C, ..., so that what disturbs the machine disturbs all alike.

A figure of speed is a ratio within one round. Times of one candidate drift by half within an hour on
a shared machine; the ratio of neighbours in the same round hardly does.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from math import ceil
from statistics import median, quantiles

Sampler = Callable[[], list[float]]
"""Runs one candidate for its part of a round and returns the seconds of each call."""


@dataclass(frozen=True)
class Timing:
    """What one candidate took: `rounds` are the seconds of a call, the median of each round."""

    rounds: tuple[float, ...]
    calls: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Seconds of one call: the median of the rounds."""
        return median(self.rounds)

    def percentile(self, share: float) -> float:
        """The least number of seconds that `share` of all calls stay within (nearest rank)."""
        ranked = sorted(self.calls)
        return ranked[max(0, ceil(share * len(ranked)) - 1)]


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as the baseline, over the rounds: above 1 is faster."""

    median: float
    low: float  # lower quartile
    high: float  # upper quartile
    least: float
    most: float


def interleave(
    samplers: Mapping[str, Sampler],
    rounds: int,
    advance: Callable[[int, int], None] | None = None,
) -> dict[str, Timing]:
    """The timing of each candidate over `rounds` rounds; in a round each is sampled once, in order.

    Sample each once before, so that caches are full and kernels chosen. advance is called with the
    number of samples taken and their total.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in samplers}
    total = len(samplers) * rounds
    for number in range(rounds):
        for done, (name, sample) in enumerate(samplers.items(), 1 + number * len(samplers)):
            samples[name].append(sample())
            if advance:
                advance(done, total)
    return {name: timing(of_rounds) for name, of_rounds in samples.items()}


def timing(rounds: list[list[float]]) -> Timing:
    """From the seconds of each call in each round."""
    return Timing(tuple(map(median, rounds)), tuple(chain.from_iterable(rounds)))


def ratio(baseline: Timing, other: Timing) -> Ratio:
    """How many times as fast `other` is as `baseline`, each round for itself."""
    pairs = zip(baseline.rounds, other.rounds, strict=True)
    ratios = [before / after for before, after in pairs]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Ratio(median(ratios), low, high, min(ratios), max(ratios))


def repeated(
    call: Callable[[], object],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Sampler:
    """A sampler that makes `call` at least once and again until `seconds` have passed."""

    def sample() -> list[float]:
        times: list[float] = []
        while not times or sum(times) < seconds:
            start = clock()
            call()
            times.append(clock() - start)
        return times

    return sample
