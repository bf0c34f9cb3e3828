"""Atomic file writes: files appear whole or not at all."""

import contextlib
import csv
import errno
import glob
import io
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import IO, Any

from inceptive.errors import InceptiveError, printable, reason
from inceptive.io.locks import lock_file
from inceptive.io.paths import expand

WINDOWS = os.name == "nt"
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""What shares and virtual disks answer that cannot fsync: what was written is there all the same."""
NO_FOLDER_SYNC = (*NO_SYNC, errno.EACCES, errno.EPERM, errno.EBADF, errno.EISDIR)
"""The same of a folder, which some do not even open."""
LONGEST_NAME = 200
"""Bytes of a file's name that the name of its part takes over: names have 255 at most."""


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file to write, which atomically replaces `path` when the block ends.

    A reader sees the old file or the new one, even after a power cut. If the block raises an
    exception, or writing fails (InceptiveError), the old file is untouched. Leftovers of a killed
    writer next to `path` are removed by the next one. A link is kept and its target replaced; the new
    file has the permissions of the old one. A device or a pipe (/dev/null) is written to directly.
    """
    path = expand(path)
    part = None
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            with open(path, "wb") as file:
                yield file
            return
        if path.is_symlink():
            path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        part, opened = _create(path)
        with opened as file:
            with contextlib.suppress(OSError):  # there is none, or it is somebody else's
                shutil.copymode(path, part)
            yield file
            file.flush()
            _sync(file.fileno(), NO_SYNC)
            if WINDOWS:  # where an open file cannot be renamed
                file.close()
            _replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InceptiveError(f"{path}: cannot be written ({reason(error)})") from None
    finally:
        if part is not None:
            with contextlib.suppress(OSError):  # where none can be written, none is to be removed
                part.unlink(missing_ok=True)


def _create(path: Path) -> tuple[Path, IO[bytes]]:
    """A new file beside `path`, locked to show that its writer lives: the lock dies with the process.

    Each try has a name of its own: who swept the file of an earlier one may still be about to remove its
    name, and would remove this one's.
    """
    while True:
        part = path.parent / f".{_stem(path)}.{os.urandom(4).hex()}.part"
        file = open(part, "xb")  # noqa: SIM115
        # Who sweeps may have it for a moment. On a disk without locks nobody sweeps.
        lock_file(file, wait=True)
        if part.exists():
            return part, file
        file.close()  # swept away before it was locked


def _stem(path: Path) -> str:
    """The name of `path`, cut and with its digest where it is too long for more to be added."""
    name = os.fsencode(path.name)
    if len(name) <= LONGEST_NAME:
        return path.name
    return f"{path.name[:40]}.{sha256(name).hexdigest()[:16]}"


def _sweep(path: Path) -> None:
    """Remove what writers of `path` left who are dead."""
    for part in path.parent.glob(f".{glob.escape(_stem(path))}.*.part"):
        with contextlib.suppress(OSError):
            with open(part, "r+b") as file:  # never makes it again
                dead = lock_file(file, wait=False)
                if dead and not WINDOWS:
                    part.unlink()
            if dead and WINDOWS:
                part.unlink()


def _replace(part: Path, path: Path) -> None:
    """os.replace; on Windows again for a second while somebody has the old file open."""
    until = time.monotonic() + 1 if WINDOWS else 0
    while True:
        try:
            return os.replace(part, path)
        except PermissionError:
            if time.monotonic() > until:
                raise
        time.sleep(0.05)


def _sync_folder(folder: Path) -> None:
    """Make a new name in `folder` outlast a power cut, where the disk can."""
    if WINDOWS:
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
        return
    try:
        _sync(descriptor, NO_FOLDER_SYNC)
    finally:
        os.close(descriptor)


def _sync(descriptor: int, pardoned: Sequence[int]) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in pardoned:
            raise


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to `path`: see `atomic_write`."""
    with atomic_write(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, as_json(value) + "\n")


def as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Format rows under a header as CSV, without a trailing newline."""
    lines = []
    for row in [header, *rows]:
        text = io.StringIO()
        csv.writer(text).writerow(row)  # with its own line end, so that every line break is quoted
        lines.append(text.getvalue().removesuffix("\r\n"))
    return "\n".join(lines)


def csv_path(path: str) -> str:
    """Format a path as a CSV cell: in one line, and never taken for a formula by a spreadsheet.

    `./=1+1.png` is the same file as `=1+1.png`.
    """
    text = printable(path)
    return f"./{text}" if text.startswith(("=", "+", "-", "@")) else text


def as_json(value: Any) -> str:
    """Format as JSON, with nan and infinity (such as a share of nothing) as null: JSON has neither.

    Unprintable characters, such as in a file name, are written as JSON escapes.
    """
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub(
        r"[^\n -~]", lambda c: c[0] if c[0].isprintable() else json.dumps(c[0])[1:-1], text
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
