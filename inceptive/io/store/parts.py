"""Parts of an object in a store, with retries when the store does not respond."""

import io
import threading
import time
from collections.abc import Callable

from inceptive.errors import InceptiveError, printable
from inceptive.io.downloads import network_errors
from inceptive.io.store.address import redact
from inceptive.io.store.systems import OWN, fsspec_of, line, scheme, system_of

AGAIN = (408, 425, 429)
"""What a web server answers that is asked too early or too often."""
PATIENCE = 300.0
"""Seconds for which a part of an object is asked for again, when its store does not answer."""
_hurried = threading.Event()


def stop_retrying() -> None:
    """From now on, fail at once instead of retrying: the process has been asked to end."""
    _hurried.set()


def fetch(path: str, offset: int, length: int, note: Callable[[str], None]) -> bytes:
    """Read `length` bytes of the object at `path`, a URI, from `offset` on.

    While the store does not respond, retry for PATIENCE seconds; the first time, `note` is called.
    Raises InceptiveError, naming the object, if access is refused, or retrying fails.
    """
    until, wait = time.monotonic() + PATIENCE, 0.5
    while True:
        try:
            content = _part(path, offset, length)
            break
        except network_errors() as error:
            late = _hurried.is_set() or time.monotonic() + wait > until
            if _refused(error) or late:
                raise InceptiveError(
                    f"{printable(redact(path))}: cannot be read ({line(error)})"
                ) from None
            note(
                f"{printable(redact(path))}: not to be had now ({line(error)}); it is asked for again"
            )
        _hurried.wait(wait)
        wait = min(2 * wait, 15.0)
    if len(content) != length:
        raise InceptiveError(
            f"{printable(redact(path))}: gave {len(content)} bytes from {offset} on, not {length}; "
            "is it another file now, or does its server not give parts of files?"
        )
    return content


def _part(path: str, offset: int, length: int) -> bytes:
    if scheme(path) not in OWN:
        system, inner = fsspec_of(path)
        return bytes(system.cat_file(inner, start=offset, end=offset + length))
    system, inner = system_of(path)
    with system.open_input_file(inner) as file:
        return bytes(file.read_at(length, offset))


class Reader(io.RawIOBase):
    """`size` bytes of an object as a file; at least `ahead` of them are requested at a time."""

    def __init__(self, path: str, size: int, ahead: int, note: Callable[[str], None]):
        self.path, self.size, self.ahead, self.note = path, size, ahead, note
        self.at = self.start = 0
        self.content = b""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        self.at = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        remaining = max(self.size - self.at, 0)
        size = remaining if size < 0 else min(size, remaining)
        if not self.start <= self.at <= self.at + size <= self.start + len(self.content):
            self.start = self.at
            self.content = fetch(
                self.path, self.at, min(max(size, self.ahead), remaining), self.note
            )
        at = self.at - self.start
        self.at += size
        return self.content[at : at + size]


def _refused(error: BaseException) -> bool:
    """Whether the store has answered, and would answer the same again."""
    status = getattr(error, "status", 0)
    gone = isinstance(error, (FileNotFoundError, PermissionError))
    return gone or (400 <= status < 500 and status not in AGAIN)
