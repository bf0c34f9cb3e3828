"""The answers of a scoring job: a folder of Parquet files, one per part of the plan."""

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from inceptive.data.prefetch import prefetch
from inceptive.errors import InceptiveError, printable
from inceptive.io import store as storage
from inceptive.io.atomic import as_json
from inceptive.io.downloads import network_errors
from inceptive.io.locks import lock
from inceptive.scale.plan import KEY

SUMMARY = "_summary.json"
Table = Callable[[dict[str, str]], memoryview]
"""Metadata -> a Parquet file."""
NAME = re.compile(r"part-(\d{6,})\.parquet")


@dataclass(frozen=True)
class Written:
    """One written part: rows, how many of them hold an error, and the seconds it took."""

    part: int
    images: int
    errors: int
    seconds: float


@dataclass(frozen=True)
class Summary:
    """Summary of a scoring job. last_run: images, seconds, images_per_second, workers and threads of the
    run that completed it; {} if nothing was left to score."""

    images: int
    errors: int
    parts: int
    last_run: dict[str, Any]
    model: str
    engine: str
    input: str
    fingerprints: dict[str, str]
    versions: dict[str, str]

    def __str__(self) -> str:
        rate = self.last_run.get("images_per_second")
        speed = f", {rate:.0f} images/s" if rate else ""
        bad = f", {self.errors} of them cannot be read" if self.errors else ""
        return f"{self.images} images in {self.parts} parts{bad}{speed}"


def path(folder: str, part: int) -> str:
    return storage.join(folder, f"part-{part:06}.parquet")


def write(folder: str, part: int, errors: Sequence[str], table: Table, seconds: float) -> Written:
    """Write a part, whole or not at all: `table` of its metadata, with a row for each of `errors` ("" if
    there is none). Raises InceptiveError if it cannot."""
    written = Written(part, len(errors), sum(map(bool, errors)), seconds)
    storage.write(path(folder, part), table({KEY.decode(): json.dumps(asdict(written))}))
    return written


def existing_parts(folder: str) -> set[int]:
    """The numbers of the written parts."""
    return {int(match[1]) for name in storage.names(folder) if (match := NAME.fullmatch(name))}


def read(folder: str, numbers: Iterable[int]) -> list[Written]:
    """Read the records of the parts. Raises InceptiveError for one that is damaged or missing."""

    def written(part: int) -> Written:
        file = path(folder, part)
        try:
            with storage.parquet(file) as opened:
                values = Written(**json.loads(opened.metadata.metadata[KEY]))
                if (values.part, values.images) == (part, opened.metadata.num_rows):
                    return values
        except (InceptiveError, KeyError, TypeError, ValueError):
            pass
        raise InceptiveError(f"{printable(file)}: is damaged; remove it and run again")

    return list(prefetch(written, numbers, 16))


def write_summary(folder: str, summary: Summary) -> None:
    storage.write(storage.join(folder, SUMMARY), (as_json(asdict(summary)) + "\n").encode())


def read_summary(folder: str) -> Summary | None:
    """Read the summary of the last completed run; None if there is none, or its file is damaged."""
    if SUMMARY not in storage.names(folder):
        return None
    try:
        with storage.stream(storage.join(folder, SUMMARY)) as file:
            values = json.loads(file.read())
        summary = Summary(**{field.name: values[field.name] for field in fields(Summary)})
        str(summary)
        return summary
    except network_errors(KeyError, TypeError, ValueError, AttributeError):
        return None


@contextlib.contextmanager
def exclusive(folder: str) -> Iterator[None]:
    """Hold `folder` exclusively in this block; partial files of a killed run are removed.

    Only on this machine's disks: nothing guards a folder in an object store. Raises InceptiveError
    if another run holds it, or it cannot be written to.
    """
    if storage.is_uri(folder):
        yield
        return
    with lock(Path(folder, ".lock"), wait=False, busy="another run writes there now"):
        for part in Path(folder).glob(".*.part"):
            part.unlink(missing_ok=True)
        yield
