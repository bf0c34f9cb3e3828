"""From what a person writes as DATA to labelled images."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from inceptive.data.builtin import BUILTIN
from inceptive.data.folder import read_folder
from inceptive.data.scan import Progress
from inceptive.data.shards.reading import is_shards, read_shards
from inceptive.data.shards.remote import read_remote
from inceptive.data.source import Data, SplitFractions
from inceptive.errors import InceptiveError
from inceptive.images import printable
from inceptive.io import progress as reports
from inceptive.io import store as storage
from inceptive.io.paths import expand


def open_data(
    name: str,
    shares: SplitFractions = SplitFractions(),
    strict: bool = False,
    progress: Progress | None = None,
) -> Data:
    """The set called `name`: a folder, of class folders or of tar shards; shards at a URI; or a
    built-in set with its option ("solar:grades").

    A folder of that name comes before a built-in set. Raises InceptiveError if there is neither.
    """
    name = storage.local(name)
    if storage.is_uri(name):
        return read_remote(name, progress)
    shown = printable(name)
    try:
        path = expand(name)
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError) as error:  # no such user's home, too long a name
        raise InceptiveError(f"{shown}: {getattr(error, 'strerror', None) or error}") from None
    if is_folder:
        if is_shards(path):
            return read_shards(path, shares, strict, progress)
        return read_folder(path, shares, strict, progress)
    builtin, _, option = name.partition(":")
    if builtin in BUILTIN:
        return BUILTIN[builtin](option, shares, progress)
    known = ", ".join(BUILTIN)
    if exists:
        raise InceptiveError(f"{shown}: is a file; expected a folder of class folders, or {known}")
    raise InceptiveError(f"{shown}: there is no such folder, nor a built-in set; those are {known}")


def open_data_for(
    data: str | Path | Data,
    record: Mapping[str, Any],
    strict: bool = False,
    progress: reports.Progress | None = None,
) -> Data:
    """The set `data`, divided as `record`, what a model remembers of its data, says.

    What is odd about the set, and each file that is left out, is said to `progress`. Raises
    InceptiveError as `open_data` does.
    """
    if isinstance(data, Data):
        return data
    progress = progress or reports.Silent()
    shares = (
        SplitFractions.from_dict(record["shares"]) if record.get("shares") else SplitFractions()
    )
    opened = open_data(str(data), shares, strict, partial(progress.advance, "reading images"))
    say_notes(opened, progress)
    return opened


def say_notes(data: Data, progress: reports.Progress) -> None:
    """Say everything that is odd about the data, and name every file that is left out."""
    for note in data.notes:
        progress.say(f"note: {note}")
    for error in data.unreadable:
        progress.say(f"left out: {error}")
