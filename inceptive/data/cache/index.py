"""The index of a cache: an SQLite file that many processes share, and that may be damaged or refused."""

import contextlib
import functools
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

try:
    import fcntl as fcntl  # filelock has no shared locks of open files
except ImportError:  # Windows, where nobody deletes a file that another has open
    fcntl = None  # type: ignore[assignment]

PATIENCE = 30.0
"""Seconds to wait for another process that writes."""
AT_ONCE = 500
"""Rows that are asked for in one query."""

LAYOUT = 1  # of the tables below
TABLES = """
CREATE TABLE files (
    path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, ctime INTEGER, inode INTEGER,
    digest BLOB, scanner TEXT, thumbnail BLOB, grey INTEGER
);
CREATE TABLE packs (
    pack INTEGER PRIMARY KEY, way TEXT, origin BLOB, bytes INTEGER, used INTEGER
);
CREATE TABLE pictures (
    digest BLOB, pack INTEGER, offset INTEGER, height INTEGER, width INTEGER, channels INTEGER,
    crc INTEGER, PRIMARY KEY (digest, pack)
) WITHOUT ROWID;
"""
T = TypeVar("T")


class _Damaged(Exception):
    """The index is not what this module wrote."""


class Index:
    """The index in `folder`. Nothing is read or made before it is used; threads may share it.

    usable turns false, for good, where it cannot be had.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.usable = True

    def use(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `work` makes of the tables; None where they cannot be had.

        A damaged index is thrown away, with all pixels that it told of, and `work` has an empty one.
        """
        for last in (False, True):
            if not self.usable:
                return None
            try:
                with self._opened() as index:
                    return work(index)
            except (_Damaged, sqlite3.DatabaseError, TypeError, ValueError) as error:
                # The last two: a value of another type than was written.
                if not _is_damage(error) or last:
                    self._give_up(str(error))
                else:
                    self._throw_away()
            except OSError as error:
                self._give_up(error.strerror or str(error))
        return None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The open index, its tables made if it is new."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # photographs may be private
        with self._locked(alone=False):
            path = self.folder / "index.sqlite"
            index = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
            try:
                if _layout(index) != LAYOUT:
                    index.execute("BEGIN EXCLUSIVE")  # another process may just have made them
                    if _layout(index) == 0 and not list(
                        index.execute("PRAGMA table_list('files')")
                    ):
                        for statement in TABLES.split(";"):
                            index.execute(statement)
                        index.execute(f"PRAGMA user_version = {LAYOUT}")
                        index.execute("COMMIT")
                    elif _layout(index) != LAYOUT:
                        raise _Damaged("is of another version")
                    else:
                        index.execute("COMMIT")
                yield index
            finally:
                index.close()  # takes back what was not committed

    @contextlib.contextmanager
    def _locked(self, alone: bool) -> Iterator[None]:
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if fcntl:
                fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def _throw_away(self) -> None:
        with contextlib.suppress(OSError), self._locked(alone=True):
            for path in (*self.folder.glob("index.sqlite*"), *self.folder.glob("*.pack")):
                path.unlink(missing_ok=True)

    def _give_up(self, reason: str) -> None:
        self.usable = False
        tell(f"{self.folder}: cannot be used ({reason}); images are decoded anew")


def _layout(index: sqlite3.Connection) -> int:
    return int(index.execute("PRAGMA user_version").fetchone()[0])


def _is_damage(error: Exception) -> bool:
    """Whether the index itself is at fault, and not who may read it or the disk below it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


@functools.cache
def tell(note: str) -> None:
    """Say `note` once in the log; where nobody listens to it, on standard error."""
    logging.getLogger("inceptive").warning("note: %s", note)
