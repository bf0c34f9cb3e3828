"""Files by path or URI: on this machine, or in an object store through pyarrow or fsspec."""

import contextlib
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from inceptive.errors import InceptiveError
from inceptive.files import write_whole
from inceptive.printable import printable

OWN = ("s3", "gs", "gcs", "hdfs", "file", "abfs", "abfss")
"""Schemes that pyarrow reads itself; any other is fsspec's."""
AGAIN = (408, 425, 429)
"""What a web server answers that is asked too early or too often."""
PATIENCE = 300.0
"""Seconds for which a part of an object is asked for again, when its store does not answer."""
SILENCE = 60.0
"""Seconds without a byte after which a web server is taken not to answer."""


def arrow() -> Any:
    """The package pyarrow with its modules fs and parquet. InceptiveError if it is missing."""
    try:
        import pyarrow
        import pyarrow.fs
        import pyarrow.parquet
    except ImportError:
        raise InceptiveError(
            "Parquet and object stores need pyarrow: pip install 'inceptive[scale]'"
        ) from None
    return pyarrow


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


def divided(uri: str) -> tuple[str, str]:
    """`uri` up to its query, and the query with its mark: "?region=eu-west-1". One of a glob is none."""
    found = re.search(r"\?\w+=[^/?&]*(&\w+=[^/?&]*)*$", uri) if is_uri(uri) else None
    return (uri, "") if found is None else (uri[: found.start()], found[0])


def shown(path: str) -> str:
    """A path, or a URI without what may be secret: a name and key before the host, and the query."""
    return re.sub(r"(?<=://)[^/@]*@", "", divided(path)[0]) if is_uri(path) else path


def beside(folder: str, name: str) -> str:
    """The file `name` in `folder`."""
    if not is_uri(folder):
        return os.path.join(folder, name)
    path, query = divided(folder)
    return f"{path.rstrip('/')}/{name}{query}"


def read(path: str, most: int) -> bytes:
    """What the object at `path`, a URI, holds. InceptiveError, naming it, if it cannot be read, or
    holds more than `most` bytes."""
    with _named(path, "read"), stream(path) as file:
        content = bytes(file.read(most + 1))
    if len(content) > most:
        raise InceptiveError(
            f"{printable(shown(path))}: has more than the {most} bytes that are read"
        )
    return content


def fetch(path: str, offset: int, length: int, told: Callable[[str], None]) -> bytes:
    """`length` bytes of the object at `path`, a URI, from `offset` on.

    While the store does not answer, it is asked again for PATIENCE seconds; the first time, `told` is
    told. Raises InceptiveError, naming the object, if it is refused, or none of that helps.
    """
    until, wait = time.monotonic() + PATIENCE, 0.5
    while True:
        try:
            content = _part(path, offset, length)
            break
        except failures() as error:
            if _refused(error) or time.monotonic() + wait > until:
                raise InceptiveError(
                    f"{printable(shown(path))}: cannot be read ({_line(error)})"
                ) from None
            told(
                f"{printable(shown(path))}: not to be had now ({_line(error)}); it is asked for again"
            )
        time.sleep(wait)
        wait = min(2 * wait, 15.0)
    if len(content) != length:
        raise InceptiveError(
            f"{printable(shown(path))}: gave {len(content)} bytes from {offset} on, not {length}; "
            "is it another file now, or does its server not give parts of files?"
        )
    return content


def _part(path: str, offset: int, length: int) -> bytes:
    if _scheme(path) not in OWN:
        system, inner = _fsspec(path)
        return bytes(system.cat_file(inner, start=offset, end=offset + length))
    system, inner = _system(path)
    with system.open_input_file(inner) as file:
        return bytes(file.read_at(length, offset))


class Reader(io.RawIOBase):
    """`size` bytes of an object as a file; at least `ahead` of them are asked for at a time."""

    def __init__(self, path: str, size: int, ahead: int, told: Callable[[str], None]):
        self.path, self.size, self.ahead, self.told = path, size, ahead, told
        self.at = self.start = 0
        self.held = b""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        self.at = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        left = max(self.size - self.at, 0)
        size = left if size < 0 else min(size, left)
        if not self.start <= self.at <= self.at + size <= self.start + len(self.held):
            self.start = self.at
            self.held = fetch(self.path, self.at, min(max(size, self.ahead), left), self.told)
        at = self.at - self.start
        self.at += size
        return self.held[at : at + size]


def stream(path: str) -> Any:
    """The file at `path`, open for reading from start to end. Raises OSError."""
    if is_uri(path) and _scheme(path) in OWN:
        system, inner = _system(path)
        return system.open_input_stream(inner)
    return _seekable(path)


@contextlib.contextmanager
def parquet(path: str) -> Iterator[Any]:
    """pyarrow.parquet.ParquetFile. InceptiveError, naming the file, if it cannot be opened as such."""
    pyarrow = arrow()
    with contextlib.ExitStack() as left:
        try:
            file = left.enter_context(_seekable(path))
            opened = left.enter_context(pyarrow.parquet.ParquetFile(file))
        except failures(pyarrow.ArrowException) as error:
            name = printable(shown(path))
            raise InceptiveError(f"{name}: cannot be read as Parquet ({_line(error)})") from None
        yield opened


def _seekable(path: str) -> Any:
    if not is_uri(path):
        return open(path, "rb")
    if _scheme(path) in OWN:
        system, inner = _system(path)
        return system.open_input_file(inner)
    system, inner = _fsspec(path)
    return system.open(inner, "rb")


def write(path: str, content: bytes | memoryview) -> None:
    """Write `content` to `path`, whole or not at all. InceptiveError if it cannot be written.

    A file on this machine is written beside and renamed; an object appears when its put is done.
    """
    if not is_uri(path):
        write_whole(Path(path), content)
        return
    system, inner = _system(path)
    with _named(path, "written"), system.open_output_stream(inner) as file:
        file.write(content)


def stat(path: str) -> Found:
    """What is known of the file at `path`. InceptiveError if its store cannot be asked."""
    if not is_uri(path):
        try:
            known = os.stat(path)
        except (OSError, ValueError):
            return Found(path)
        return Found(path, known.st_size, known.st_mtime_ns)
    system, inner = _system(path)
    with _named(path, "read"):
        [info] = system.get_file_info([inner])
    return Found(path, *_version(info))


def names(folder: str) -> set[str]:
    """The names of the files right in `folder`; none if there is no such folder."""
    if not is_uri(folder):
        return set(os.listdir(folder)) if os.path.isdir(folder) else set()
    return {shown(one.path).rsplit("/", 1)[1] for one in listing(folder, recursive=False)}


def listing(folder: str, recursive: bool = True) -> Iterator[Found]:
    """The files under `folder`, a URI, sorted; none if it is not there. Hidden ones are left out."""
    system, inner = _system(folder)
    fs = arrow().fs
    with _named(folder, "listed"):
        chosen = fs.FileSelector(inner, allow_not_found=True, recursive=recursive)
        infos = system.get_file_info(chosen)
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


def _scheme(uri: str) -> str:
    return uri.partition("://")[0]


def _system(uri: str) -> tuple[Any, str]:
    """pyarrow's file system that `uri` lies in, and its path there."""
    fs = arrow().fs
    if _scheme(uri) not in OWN:
        system, inner = _fsspec(uri)
        return fs.PyFileSystem(fs.FSSpecHandler(system)), inner
    try:
        return _arrow_system(uri)
    except (ValueError, OSError) as error:
        raise _unreachable(uri, error) from None


@lru_cache(1000)  # a new one may ask the store where it is
def _arrow_system(uri: str) -> tuple[Any, str]:
    system, inner = arrow().fs.FileSystem.from_uri(uri)
    return system, inner


def _fsspec(uri: str) -> tuple[Any, str]:
    """fsspec's file system that `uri` lies in, and its path there."""
    scheme, _, rest = uri.partition("://")
    web = scheme in ("http", "https")
    try:
        return _opened(scheme, web), uri if web else rest
    except (ImportError, ValueError, OSError) as error:
        raise _unreachable(uri, error) from None


@cache
def _opened(scheme: str, web: bool) -> Any:
    import fsspec

    if not web:
        return fsspec.filesystem(scheme)
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
    return fsspec.filesystem(scheme, client_kwargs={"timeout": timeout})


def _unreachable(uri: str, error: Exception) -> InceptiveError:
    return InceptiveError(f"{printable(shown(uri))}: cannot be reached ({_line(error)})")


@contextlib.contextmanager
def _named(path: str, done: str) -> Iterator[None]:
    """Turn what a store says against the block into an InceptiveError that names `path`."""
    try:
        yield
    except failures() as error:
        name = printable(shown(path))
        raise InceptiveError(f"{name}: cannot be {done} ({_line(error)})") from None


def failures(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """How stores and the way to them fail, and `more`; aiohttp's errors are of a kind of their own."""
    web = sys.modules.get("aiohttp")
    return (OSError, *more, *([web.ClientError] if web else []))


def _refused(error: BaseException) -> bool:
    """Whether the store has answered, and would answer the same again."""
    status = getattr(error, "status", 0)
    gone = isinstance(error, (FileNotFoundError, PermissionError))
    return gone or (400 <= status < 500 and status not in AGAIN)


def _line(error: BaseException) -> str:
    """Why, in one line. fsspec says no more than the name of what it did not find."""
    if isinstance(error, FileNotFoundError) and not error.strerror:
        return _line(error.__cause__) if error.__cause__ else "there is no such file"
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(told).split())[:200]
