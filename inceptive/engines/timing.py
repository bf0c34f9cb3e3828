"""Interleaved timing: A B C, A B C, ..., so that disturbances of the machine affect all alike.

Speeds are compared as ratios within one round. Times of one candidate drift by half within an hour
on a shared machine; the ratio of neighbours in the same round hardly does.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from math import ceil
from statistics import median, quantiles

import numpy as np

from inceptive.engines.protocol import Engine

BATCH = 16
"""Images at once, of an engine whose speed is measured."""
Sampler = Callable[[], list[float]]
"""Runs one candidate for its part of a round and returns the seconds of each call."""


@dataclass(frozen=True)
class Timing:
    """Timing of one candidate: `rounds` are the median seconds per call of each round."""

    rounds: tuple[float, ...]
    calls: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Seconds per call: the median of the rounds."""
        return median(self.rounds)

    def percentile(self, share: float) -> float:
        """The seconds within which `share` of all calls finish (nearest rank)."""
        ranked = sorted(self.calls)
        return ranked[max(0, ceil(share * len(ranked)) - 1)]


@dataclass(frozen=True)
class Ratio:
    """Speedup over the baseline across rounds: above 1 is faster."""

    median: float
    low: float  # lower quartile
    high: float  # upper quartile
    least: float
    most: float


def interleave(samplers: Mapping[str, Sampler], rounds: int) -> dict[str, Timing]:
    """Time each candidate over `rounds` rounds; each round samples every candidate once, in order.

    Sample each once beforehand, so that caches are warm and kernels chosen.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in samplers}
    for _ in range(rounds):
        for name, sample in samplers.items():
            samples[name].append(sample())
    return {name: timing(of_rounds) for name, of_rounds in samples.items()}


def timing(rounds: list[list[float]]) -> Timing:
    """Make a Timing from the seconds of each call in each round."""
    return Timing(tuple(map(median, rounds)), tuple(chain.from_iterable(rounds)))


def ratio(baseline: Timing, other: Timing) -> Ratio:
    """Speedup of `other` over `baseline`, round by round."""
    pairs = zip(baseline.rounds, other.rounds, strict=True)
    ratios = [before / after for before, after in pairs]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Ratio(median(ratios), low, high, min(ratios), max(ratios))


def repeated(
    call: Callable[[], object],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Sampler:
    """Return a sampler that repeats `call`, at least once, until `seconds` have passed."""

    def sample() -> list[float]:
        times: list[float] = []
        while not times or sum(times) < seconds:
            start = clock()
            call()
            times.append(clock() - start)
        return times

    return sample


@dataclass(frozen=True)
class Speed:
    """Speed of one model: milliseconds for one image, images per second in batches of BATCH, and how
    many times as fast as the first model each is, round by round."""

    ms_per_image: float
    images_per_second: float
    latency_ratio: float
    throughput_ratio: float


def speeds(
    engines: Mapping[str, Engine], images: Mapping[str, np.ndarray], rounds: int, seconds: float
) -> dict[str, Speed]:
    """Measure each engine on its own `images` (N, C, S, S) of uint8, interleaved, `rounds` times."""
    alone = _timings(engines, images, 1, rounds, seconds)
    many = _timings(engines, images, BATCH, rounds, seconds)
    first = next(iter(engines))
    return {
        name: Speed(
            1000 * alone[name].seconds,
            BATCH / many[name].seconds,
            ratio(alone[first], alone[name]).median,
            ratio(many[first], many[name]).median,
        )
        for name in engines
    }


def _timings(
    engines: Mapping[str, Engine],
    images: Mapping[str, np.ndarray],
    batch: int,
    rounds: int,
    seconds: float,
) -> dict[str, Timing]:
    def call(name: str) -> Callable[[], object]:
        engine, batch_images = engines[name], images[name][np.arange(batch) % len(images[name])]
        engine.logits(batch_images)  # the first time prepares
        return lambda: engine.logits(batch_images)

    return interleave({name: repeated(call(name), seconds) for name in engines}, rounds)
