"""Whole files, on this machine or in a store: read, written, looked up, listed."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inceptive.errors import InceptiveError, printable
from inceptive.io.atomic import write_bytes
from inceptive.io.downloads import network_errors
from inceptive.io.store.address import is_uri, join, redact
from inceptive.io.store.systems import (
    OWN,
    arrow,
    fsspec_of,
    line,
    named,
    scheme,
    system_of,
)


@dataclass(frozen=True)
class FileInfo:
    """A file and what identifies its version: bytes, and nanoseconds since 1970.

    Both are -1 if the file does not exist, or the store does not say.
    """

    path: str
    size: int = -1
    changed: int = -1


def read(path: str, most: int) -> bytes:
    """Read the object at `path`, a URI. Raises InceptiveError, naming it, if it cannot be read, or
    holds more than `most` bytes."""
    with named(path, "read"), stream(path) as file:
        content = bytes(file.read(most + 1))
    if len(content) > most:
        raise InceptiveError(
            f"{printable(redact(path))}: has more than the {most} bytes that are read"
        )
    return content


def stream(path: str) -> Any:
    """Open the file at `path` for sequential reading. Raises one of `network_errors`."""
    if is_uri(path) and scheme(path) in OWN:
        system, inner = system_of(path)
        return system.open_input_stream(inner)
    return _seekable(path)


@contextlib.contextmanager
def parquet(path: str) -> Iterator[Any]:
    """Open a pyarrow.parquet.ParquetFile. InceptiveError, naming the file, if that fails."""
    pyarrow = arrow()
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_seekable(path))
            opened = stack.enter_context(pyarrow.parquet.ParquetFile(file))
        except network_errors(pyarrow.ArrowException) as error:
            name = printable(redact(path))
            raise InceptiveError(f"{name}: cannot be read as Parquet ({line(error)})") from None
        yield opened


def _seekable(path: str) -> Any:
    if not is_uri(path):
        return open(path, "rb")
    if scheme(path) in OWN:
        system, inner = system_of(path)
        return system.open_input_file(inner)
    system, inner = fsspec_of(path)
    return system.open(inner, "rb")


def write(path: str, content: bytes | memoryview) -> None:
    """Write `content` to `path`, whole or not at all. InceptiveError if it cannot be written.

    A file on this machine is written next to it and renamed; an object appears when its put is done.
    """
    if not is_uri(path):
        write_bytes(Path(path), content)
        return
    system, inner = system_of(path)
    with named(path, "written"), system.open_output_stream(inner) as file:
        file.write(content)


def stat(path: str) -> FileInfo:
    """Look up the file at `path`. Raises InceptiveError if its store cannot be reached."""
    if not is_uri(path):
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return FileInfo(path)
        return FileInfo(path, status.st_size, status.st_mtime_ns)
    system, inner = system_of(path)
    with named(path, "read"):
        [info] = system.get_file_info([inner])
    return FileInfo(path, *_version(info))


def names(folder: str) -> set[str]:
    """The names of the files directly in `folder`; none if there is no such folder."""
    if not is_uri(folder):
        return set(os.listdir(folder)) if os.path.isdir(folder) else set()
    return {redact(file.path).rsplit("/", 1)[1] for file in listing(folder, recursive=False)}


def listing(folder: str, recursive: bool = True) -> Iterator[FileInfo]:
    """The files under `folder`, a URI, sorted; none if it does not exist. Hidden ones are left out."""
    system, inner = system_of(folder)
    fs = arrow().fs
    with named(folder, "listed"):
        chosen = fs.FileSelector(inner, allow_not_found=True, recursive=recursive)
        infos = system.get_file_info(chosen)
    inner = inner.strip("/")
    for info in sorted(infos, key=lambda file_info: file_info.path):
        within = info.path.strip("/").removeprefix(inner).strip("/")
        if info.type == fs.FileType.File and not any(
            part.startswith(".") for part in within.split("/")
        ):
            yield FileInfo(join(folder, within), *_version(info))


def _version(info: Any) -> tuple[int, int]:
    size, changed = (-1 if n is None else n for n in (info.size, info.mtime_ns))
    return size, changed
