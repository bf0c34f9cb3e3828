"""What a model costs: parameters, multiply-adds, bytes on disk, and time in interleaved rounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inceptive.comparison.rounds import Timing, interleave, ratio, repeated
from inceptive.engines.classifier import WEIGHTS, Classifier
from inceptive.engines.foreign import ForeignEngine
from inceptive.engines.open import Exported
from inceptive.engines.peers import PeerEngine
from inceptive.engines.prediction import Engine
from inceptive.engines.records import files
from inceptive.io.paths import expand

BATCH = 16


@dataclass(frozen=True)
class Size:
    """params; macs of one image; bytes of the files, None where no file is known."""

    params: int
    macs: int
    bytes: int | None


@dataclass(frozen=True)
class Speed:
    """Of one model: milliseconds for one image, images a second in batches of BATCH, and how many times
    as fast as the first model each is, round by round."""

    ms_per_image: float
    images_per_second: float
    latency_ratio: float
    throughput_ratio: float


def size(engine: Engine, model: str) -> Size:
    """What `engine`, opened as `model`, holds and computes."""
    if isinstance(engine, PeerEngine | ForeignEngine):
        return Size(engine.params, engine.macs(), engine.bytes)
    assert isinstance(engine, Classifier | Exported)
    told = engine.account()
    if isinstance(engine, Exported):
        return Size(told.params, told.macs, _bytes(files(engine.path)))
    file = expand(model) / WEIGHTS
    return Size(told.params, told.macs, _bytes([file]) if file.is_file() else None)


def _bytes(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def speeds(
    engines: Mapping[str, Engine], images: Mapping[str, np.ndarray], rounds: int, seconds: float
) -> dict[str, Speed]:
    """Each engine's speed on its own `images` (N, C, S, S) of uint8; interleaved, `rounds` times."""
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
        engine, given = engines[name], images[name][np.arange(batch) % len(images[name])]
        engine.logits(given)  # the first time prepares
        return lambda: engine.logits(given)

    return interleave({name: repeated(call(name), seconds) for name in engines}, rounds)
