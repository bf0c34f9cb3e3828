"""Files that appear whole or not at all."""

import contextlib
import fcntl
import glob
import json
import os
import secrets
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import IO, Any

from inceptive.errors import InceptiveError


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside `path` to write to, put in its place in one step when the block ends.

    A reader sees the old file or the new one, after a power cut too. Where the block is left by an
    exception, or the disk refuses (InceptiveError), the old file is untouched. What a writer that was
    killed left beside `path` goes with the next one.
    """
    beside = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with _begun(beside) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(beside, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # else the new name itself may be lost
        finally:
            os.close(folder)
    except OSError as error:
        raise InceptiveError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        with contextlib.suppress(OSError):  # where nothing can be written, nothing is to be removed
            beside.unlink(missing_ok=True)


def _begun(beside: Path) -> IO[bytes]:
    """A new file, locked to show that its writer lives: the lock goes when the process does."""
    while True:
        file = open(beside, "xb")  # noqa: SIM115
        with contextlib.suppress(OSError):  # a disk without locks: nobody sweeps there either
            fcntl.flock(file, fcntl.LOCK_EX)
        if beside.exists():
            return file
        file.close()  # swept away before it was locked


def _sweep(path: Path) -> None:
    """Remove what writers of `path` left who are dead."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError), open(left, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to `path`, whole or not at all: see `whole`."""
    with whole(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    write_whole(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, as_json(value) + "\n")


def as_json(value: Any) -> str:
    """JSON, with nan and infinity (a share of nothing, say) as null: JSON has neither."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
