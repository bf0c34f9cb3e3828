"""What one look at each image file told, until the file changes."""

import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from inceptive.data.cache.index import AT_ONCE, Index
from inceptive.data.split import HASH_SIDE

SETTLED = 2_000_000_000
"""Nanoseconds after which a change of a file shows in its times: FAT counts them in two seconds."""
FILES = 2_000_000
"""Files that are remembered, those seen first forgotten first: about 1 GB."""

THUMBNAIL = HASH_SIDE * (HASH_SIDE + 1)  # bytes
Signature = tuple[int, int, int, int]


class Seen(NamedTuple):
    """What one look at a file told: SHA-256, thumbnail (16, 17) of uint8, whether it is grey."""

    digest: bytes
    thumbnail: bytes
    grey: bool


def signature(path: str) -> Signature | None:
    """What a change of the file at `path` changes: size, mtime_ns, ctime_ns, inode. None if there is
    no such regular file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    inode = found.st_ino & (2**63 - 1)  # as large as SQLite's numbers
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, inode


def settled(known: Signature) -> bool:
    """Whether a later change of the file would change `known`: not if it was written just now."""
    return time.time_ns() - max(known[1], known[2]) >= SETTLED


class Files:
    """The files that an index knows, by absolute path."""

    def __init__(self, index: Index):
        self.index = index

    def recall(self, paths: Sequence[str], scanner: str) -> list[Seen | None]:
        """What `scanner` told of each file, where the file is still the same."""
        found: list[Seen | None] = [None] * len(paths)

        def work(index: sqlite3.Connection) -> None:
            for k, row in _rows(index, "digest, thumbnail, grey, scanner", paths):
                if row[3] == scanner and len(row[0]) == 32 and len(row[1]) == THUMBNAIL:
                    found[k] = Seen(row[0], row[1], bool(row[2]))

        self.index.use(work)
        return found

    def remember(self, looked: Iterable[tuple[str, Signature, Seen]], scanner: str) -> None:
        """Keep what `scanner` told of files; the signature is from before it read them."""
        rows = [
            (_key(path), *known, seen.digest, scanner, seen.thumbnail, seen.grey)
            for path, known, seen in looked
            if settled(known)
        ]

        def work(index: sqlite3.Connection) -> None:
            index.execute("BEGIN IMMEDIATE")
            index.executemany("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,?)", rows)
            index.execute(
                "DELETE FROM files WHERE rowid <= (SELECT max(rowid) FROM files) - ?", (FILES,)
            )
            index.execute("COMMIT")

        if rows:
            self.index.use(work)

    def digests(self, paths: Sequence[str]) -> list[bytes | None]:
        """The SHA-256 of each file that was scanned and is still the same."""
        found: list[bytes | None] = [None] * len(paths)

        def work(index: sqlite3.Connection) -> None:
            for k, row in _rows(index, "digest", paths):
                found[k] = row[0]

        self.index.use(work)
        return found


def _key(path: str) -> bytes:
    return os.fsencode(os.path.abspath(path))


def _rows(
    index: sqlite3.Connection, columns: str, paths: Sequence[str]
) -> Iterator[tuple[int, tuple[bytes, bytes, int, str]]]:
    """For each path whose file is still as remembered: its position, and `columns` of its row."""
    for start in range(0, len(paths), AT_ONCE):
        some = enumerate(paths[start : start + AT_ONCE], start)
        keys = {_key(path): (k, path) for k, path in some}
        marks = ",".join("?" * len(keys))
        query = (
            f"SELECT path, size, mtime, ctime, inode, {columns} FROM files WHERE path IN ({marks})"
        )
        for key, *row in index.execute(query, list(keys)):
            k, path = keys[key]
            if tuple(row[:4]) == signature(path):
                yield k, tuple(row[4:])
