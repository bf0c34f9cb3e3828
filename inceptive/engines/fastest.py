"""Which of a folder's exported files is the fastest here: an export is often used on another machine."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

import numpy as np

from inceptive.engines.exported import ExportedEngine
from inceptive.engines.records import Record
from inceptive.engines.timing import BATCH, repeated
from inceptive.errors import InceptiveError
from inceptive.io import measured
from inceptive.io.cores import machine

MEASURED = "engines"
"""Images per second, by exported file as `_key` calls it."""
SECONDS = 0.25
"""The shortest time for which an engine is measured."""


def fastest_first(
    folder: Path,
    records: Sequence[Record],
    open_file: Callable[[Path], ExportedEngine],
    note: Callable[[str], None],
) -> list[Record]:
    """`records` of `folder`, fastest on this machine first; those that cannot be opened here come last.

    If all were measured on a machine like this one, their own figures count. Otherwise each is measured
    for SECONDS, once: the cache keeps it. What cannot be opened is tried again the next time.
    """
    this_machine = machine()
    if len(records) < 2 or all(record.machine == this_machine for record in records):
        return sorted(records, key=lambda record: -record.images_per_second)
    speeds = measured.recall(MEASURED, this_machine)
    keys = {record.file: _key(folder / record.file) for record in records}
    new = [record for record in records if keys[record.file] not in speeds]
    if new:
        note(f"measuring {len(new)} exports on this machine, once")
        for record in new:
            with contextlib.suppress(InceptiveError):  # whoever opens it says why it cannot be
                speeds[keys[record.file]] = _images_per_second(open_file(folder / record.file))
        measured.keep(MEASURED, this_machine, speeds)
    return sorted(records, key=lambda record: -speeds.get(keys[record.file], 0.0))


def _key(file: Path) -> str:
    """Identifies the exported file `file` and its content, without reading it."""
    status = file.stat()
    return f"{file.resolve()} {status.st_size} {status.st_mtime_ns}"


def _images_per_second(engine: ExportedEngine) -> float:
    side, channels = engine.preprocessing.size, engine.preprocessing.channels
    images = np.zeros((BATCH, channels, side, side), np.uint8)
    engine.logits(images)  # the first call prepares
    times = repeated(lambda: engine.logits(images), SECONDS)()
    return round(BATCH / mean(times), 2)
