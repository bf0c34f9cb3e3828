"""Which of a folder's exported files is the fastest here: an export is often used on another machine."""

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from inceptive.engines.exported import ExportedEngine
from inceptive.engines.records import Record
from inceptive.errors import InceptiveError
from inceptive.io.atomic import write_json
from inceptive.io.cores import machine
from inceptive.io.paths import cache_folder

MEASURED = "engines.json"
"""In the cache: machine -> exported file, as `_key` calls it -> images a second."""
BATCH, SECONDS = 16, 0.25
"""Images at once, as in `exporting.check`, and the least time for which an engine is measured."""
MOST = 1000
"""Files whose speed is kept for a machine."""


def fastest_first(
    records: Sequence[Record],
    open_file: Callable[[Record], ExportedEngine],
    note: Callable[[str], None],
) -> list[Record]:
    """`records` with the fastest on this machine first; those that cannot be opened here come last.

    Where all were measured on a machine like this one, their own figures count. Else each is measured
    for a quarter of a second, once: the cache keeps it.
    """
    here = machine()
    if len(records) < 2 or all(record.machine == here for record in records):
        return sorted(records, key=lambda record: -record.images_per_second)
    path = cache_folder() / MEASURED
    kept = _read(path)
    known = kept.setdefault(here, {})
    new = [record for record in records if _key(record) not in known]
    if new:
        note(f"measuring {len(new)} exports on this machine, once")
        for record in new:
            known[_key(record)] = _images_per_second(record, open_file)
        kept[here] = dict(list(known.items())[-MOST:])
        with contextlib.suppress(InceptiveError):  # then it is measured again
            write_json(path, kept)
    return sorted(records, key=lambda record: -known[_key(record)])


def _key(record: Record) -> str:
    return f"{record.weights} {record.name}"


def _images_per_second(record: Record, open_file: Callable[[Record], ExportedEngine]) -> float:
    try:
        engine = open_file(record)
        side, channels = engine.preprocessing.size, engine.preprocessing.channels
        images = np.zeros((BATCH, channels, side, side), np.uint8)
        engine.logits(images)  # the first time prepares
        times, began, spent = 0, time.perf_counter(), 0.0
        while spent < SECONDS:
            engine.logits(images)
            times, spent = times + 1, time.perf_counter() - began
    except InceptiveError:
        return 0.0
    return round(times * BATCH / spent, 2)


def _read(path: Path) -> dict[str, dict[str, float]]:
    """What is kept, {} if nothing can be read."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(here): {str(key): float(value) for key, value in known.items()}
            for here, known in kept.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
