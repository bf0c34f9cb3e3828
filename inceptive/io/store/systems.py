"""The file systems of URIs, pyarrow's or fsspec's, and their errors."""

import contextlib
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from inceptive.errors import InceptiveError, printable, reason, requires
from inceptive.io.downloads import network_errors
from inceptive.io.store.address import redact

OWN = ("s3", "gs", "gcs", "hdfs", "file", "abfs", "abfss")
"""Schemes that pyarrow reads itself; any other is fsspec's."""
SILENCE = 60.0
"""Seconds without a byte after which a web server is taken not to answer."""


def arrow() -> Any:
    """Import pyarrow with its modules fs and parquet. Raises InceptiveError if it is missing."""
    with requires("Parquet and object stores need pyarrow", "scale"):
        import pyarrow
        import pyarrow.fs
        import pyarrow.parquet
    return pyarrow


def scheme(uri: str) -> str:
    return uri.partition("://")[0]


def system_of(uri: str) -> tuple[Any, str]:
    """pyarrow's file system for `uri`, and its path there."""
    fs = arrow().fs
    if scheme(uri) not in OWN:
        system, inner = fsspec_of(uri)
        return fs.PyFileSystem(fs.FSSpecHandler(system)), inner
    try:
        return _arrow_system(uri)
    except (ValueError, OSError) as error:
        raise _unreachable(uri, error) from None


@lru_cache(1000)  # a new one may ask the store where it is
def _arrow_system(uri: str) -> tuple[Any, str]:
    system, inner = arrow().fs.FileSystem.from_uri(uri)
    return system, inner


def fsspec_of(uri: str) -> tuple[Any, str]:
    """fsspec's file system for `uri`, and its path there."""
    scheme, _, rest = uri.partition("://")
    web = scheme in ("http", "https")
    try:
        return _opened(scheme, web), uri if web else rest
    except (ImportError, ValueError, OSError) as error:
        raise _unreachable(uri, error) from None


@cache
def _opened(scheme: str, web: bool) -> Any:
    with requires("object stores and web servers need fsspec and aiohttp", "scale"):
        import fsspec
        from aiohttp import ClientTimeout
    if not web:
        return fsspec.filesystem(scheme)
    timeout = ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
    return fsspec.filesystem(scheme, client_kwargs={"timeout": timeout})


def _unreachable(uri: str, error: Exception) -> InceptiveError:
    return InceptiveError(f"{printable(redact(uri))}: cannot be reached ({line(error)})")


@contextlib.contextmanager
def named(path: str, done: str) -> Iterator[None]:
    """Turn a store's errors in the block into an InceptiveError that names `path`."""
    try:
        yield
    except network_errors() as error:
        name = printable(redact(path))
        raise InceptiveError(f"{name}: cannot be {done} ({line(error)})") from None


def line(error: BaseException) -> str:
    """The reason in one line. fsspec gives only the name of what it did not find."""
    if isinstance(error, FileNotFoundError) and not error.strerror:
        return line(error.__cause__) if error.__cause__ else "there is no such file"
    return reason(error)
