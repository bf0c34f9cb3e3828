"""Files by path or URI: on this machine, or in an object store through pyarrow or fsspec."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inceptive.errors import InceptiveError
from inceptive.files import write_whole
from inceptive.images import printable
from inceptive.scale import arrow

OWN = ("s3", "gs", "gcs", "hdfs", "file", "abfs", "abfss")
"""Schemes that pyarrow reads itself; any other is fsspec's."""


@dataclass(frozen=True)
class Found:
    """A file and what tells one version of it from the next: bytes, and nanoseconds since 1970.

    Both are -1 where the file is not there, or the store does not say.
    """

    path: str
    size: int = -1
    changed: int = -1


def is_uri(path: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.]+://", path) is not None


def local(path: str) -> str:
    """`path` without the scheme file://, which is only another way to say it."""
    return path.removeprefix("file://") if path.startswith("file:///") else path


def beside(folder: str, name: str) -> str:
    """The file `name` in `folder`."""
    return f"{folder.rstrip('/')}/{name}" if is_uri(folder) else os.path.join(folder, name)


def read(path: str) -> bytes:
    """What the object at `path`, a URI, holds. InceptiveError, naming it, if it cannot be read."""
    try:
        with stream(path) as file:
            return bytes(file.read())
    except OSError as error:
        raise InceptiveError(f"{printable(path)}: cannot be read ({_line(error)})") from None


def stream(path: str) -> Any:
    """The file at `path`, open for reading from start to end. Raises OSError."""
    if not is_uri(path):
        return open(path, "rb")
    system, inner = _system(path)
    return system.open_input_stream(inner)


@contextlib.contextmanager
def parquet(path: str) -> Iterator[Any]:
    """pyarrow.parquet.ParquetFile. InceptiveError, naming the file, if it cannot be opened as such."""
    pyarrow = arrow.package()
    with contextlib.ExitStack() as left:
        try:
            file = left.enter_context(_seekable(path))
            opened = left.enter_context(pyarrow.parquet.ParquetFile(file))
        except (OSError, pyarrow.ArrowException) as error:
            name = printable(path)
            raise InceptiveError(f"{name}: cannot be read as Parquet ({_line(error)})") from None
        yield opened


def _seekable(path: str) -> Any:
    if not is_uri(path):
        return open(path, "rb")
    system, inner = _system(path)
    return system.open_input_file(inner)


def write(path: str, content: bytes | memoryview) -> None:
    """Write `content` to `path`, whole or not at all. InceptiveError if it cannot be written.

    A file on this machine is written beside and renamed; an object appears when its put is done.
    """
    if not is_uri(path):
        write_whole(Path(path), content)
        return
    try:
        system, inner = _system(path)
        with system.open_output_stream(inner) as file:
            file.write(content)
    except OSError as error:
        raise InceptiveError(f"{printable(path)}: cannot be written ({_line(error)})") from None


def stat(path: str) -> Found:
    """What is known of the file at `path`. InceptiveError if its store cannot be asked."""
    if not is_uri(path):
        try:
            known = os.stat(path)
        except (OSError, ValueError):
            return Found(path)
        return Found(path, known.st_size, known.st_mtime_ns)
    system, inner = _system(path)
    try:
        [info] = system.get_file_info([inner])
    except OSError as error:
        raise InceptiveError(f"{printable(path)}: cannot be read ({_line(error)})") from None
    return Found(path, *_version(info))


def names(folder: str) -> set[str]:
    """The names of the files right in `folder`; none if there is no such folder."""
    if not is_uri(folder):
        return set(os.listdir(folder)) if os.path.isdir(folder) else set()
    return {one.path.rsplit("/", 1)[1] for one in listing(folder, recursive=False)}


def listing(folder: str, recursive: bool = True) -> Iterator[Found]:
    """The files under `folder`, a URI, sorted; none if it is not there. Hidden ones are left out."""
    system, inner = _system(folder)
    fs = arrow.package().fs
    try:
        infos = system.get_file_info(
            fs.FileSelector(inner, allow_not_found=True, recursive=recursive)
        )
    except OSError as error:
        raise InceptiveError(f"{printable(folder)}: cannot be listed ({_line(error)})") from None
    inner = inner.strip("/")
    for info in sorted(infos, key=lambda one: one.path):
        within = info.path.strip("/").removeprefix(inner).strip("/")
        if info.type == fs.FileType.File and not any(
            part.startswith(".") for part in within.split("/")
        ):
            yield Found(beside(folder, within), *_version(info))


def _version(info: Any) -> tuple[int, int]:
    return (-1 if info.size is None else info.size), (
        -1 if info.mtime_ns is None else info.mtime_ns
    )


def _system(uri: str) -> tuple[Any, str]:
    """The file system that `uri` lies in, and its path there."""
    fs = arrow.package().fs
    scheme, _, rest = uri.partition("://")
    try:
        if scheme in OWN:
            return fs.FileSystem.from_uri(uri)  # type: ignore[no-any-return]
        import fsspec

        inner = uri if scheme in ("http", "https") else rest
        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme))), inner
    except (ImportError, ValueError, OSError) as error:
        raise InceptiveError(f"{printable(uri)}: cannot be reached ({_line(error)})") from None


def _line(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
