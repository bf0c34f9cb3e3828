"""Model speed, measured in interleaved rounds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from inceptive.comparison.rounds import Timing, interleave, ratio, repeated
from inceptive.engines.protocol import Engine

BATCH = 16


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
