"""What was seen of image files, and their decoded pixels, kept from one run to the next.

    images/index.sqlite   files: what one look at each told; pictures: where the pixels of each lie
    images/*.pack         uint8 pixels: one file for each set and way of decoding, only appended to
    images/lock           held shared by who uses the index, alone by who throws a damaged one away

The folder lies in the cache (INCEPTIVE_CACHE, else ~/.cache/inceptive) and may be deleted at any time.
Several processes may share it: SQLite lets one write at a time, pixels are written before the index
tells of them, and who reads checks their length and checksum, so a kill or a power cut loses what
was not told yet and nothing else. Nothing here is ever a reason to fail: where the folder cannot be
used, all is decoded as if it were empty, and the log says so once.
"""

import contextlib
import fcntl
import functools
import logging
import mmap
import os
import secrets
import shutil
import sqlite3
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from inceptive.data.split import HASH_SIDE
from inceptive.downloads import cache_folder
from inceptive.errors import InceptiveError

GIB = 2**30
LIMIT = 20 * GIB
"""Bytes of pixels that are kept, or half of what the disk has for them if that is less."""
RESERVE = 1 * GIB
"""Bytes of the disk that are always left free."""
SETTLED = 2_000_000_000
"""Nanoseconds after which a change of a file shows in its times: FAT counts them in two seconds."""
FILES = 2_000_000
"""Files that are remembered, those seen first forgotten first: about 1 GB."""
PATIENCE = 30.0
"""Seconds to wait for another process that writes."""
AT_ONCE = 500
"""Rows that are asked for in one query."""

THUMBNAIL = HASH_SIDE * (HASH_SIDE + 1)  # bytes
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
Signature = tuple[int, int, int, int]
T = TypeVar("T")


class Seen(NamedTuple):
    """What one look at a file told: SHA-256, thumbnail (16, 17) of uint8, whether it is grey."""

    digest: bytes
    thumbnail: bytes
    grey: bool


class Place(NamedTuple):
    """Where the pixels of a picture lie: uint8 of that shape, `offset` bytes into a pack."""

    pack: int
    offset: int
    shape: tuple[int, int, int]
    crc: int


class _Damaged(Exception):
    """The index is not what this module wrote."""


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


def user_cache() -> "Cache":
    """The cache of whoever runs this. Raises InceptiveError if INCEPTIVE_CACHE_LIMIT is no number."""
    given = os.environ.get("INCEPTIVE_CACHE_LIMIT", "")
    try:
        limit = float(given) * GIB if given else None
        if limit is not None and not 0 <= limit < 2**60:
            raise ValueError
    except ValueError:
        raise InceptiveError(
            f"INCEPTIVE_CACHE_LIMIT = {given!r}: is GiB of decoded images to keep, 0 for none"
        ) from None
    return Cache(cache_folder() / "images", None if limit is None else int(limit))


class Cache:
    """The cache in `folder`; `limit` bytes of pixels at most, None for what LIMIT says.

    Threads may share it. Nothing is read or made before it is asked for something.
    """

    def __init__(self, folder: Path, limit: int | None = None):
        self.folder, self.limit = folder, limit
        self.usable = True
        self.full = limit == 0
        self._maps: dict[int, mmap.mmap] = {}
        self._mapping = threading.Lock()

    # -- files ----------------------------------------------------------------------------------

    def recall(self, paths: Sequence[str], scanner: str) -> list[Seen | None]:
        """What `scanner` told of each file, where the file is still the same."""
        found: list[Seen | None] = [None] * len(paths)

        def work(index: sqlite3.Connection) -> None:
            for k, row in _rows(index, "digest, thumbnail, grey, scanner", paths):
                if row[3] == scanner and len(row[0]) == 32 and len(row[1]) == THUMBNAIL:
                    found[k] = Seen(row[0], row[1], bool(row[2]))

        self._use(work)
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
            self._use(work)

    def digests(self, paths: Sequence[str]) -> list[bytes | None]:
        """The SHA-256 of each file that was scanned and is still the same."""
        found: list[bytes | None] = [None] * len(paths)

        def work(index: sqlite3.Connection) -> None:
            for k, row in _rows(index, "digest", paths):
                found[k] = row[0]

        self._use(work)
        return found

    # -- pixels ---------------------------------------------------------------------------------

    def find(self, way: str, digests: Sequence[bytes]) -> dict[bytes, Place]:
        """Where the pixels of files lie, by digest, that were decoded in this `way`."""

        def work(index: sqlite3.Connection) -> dict[bytes, Place]:
            index.execute("BEGIN IMMEDIATE")
            for pack, size in index.execute(
                "SELECT pack, bytes FROM packs WHERE way = ?", (way,)
            ).fetchall():
                if _size(self._path(pack)) < size:  # cut short, or deleted by hand
                    self._drop(index, pack)
            places = _places(index, way, digests)
            now = time.time_ns()
            packs = {place.pack for place in places.values()}
            index.executemany("UPDATE packs SET used = ? WHERE pack = ?", [(now, p) for p in packs])
            index.execute("COMMIT")
            return places

        return self._use(work) or {}

    def add(
        self, way: str, origin: str, pictures: Sequence[tuple[bytes, np.ndarray]]
    ) -> list[Place] | None:
        """Keep pictures (digest of the file, uint8 of three dimensions) and tell where they lie.

        origin is the set that they are of: sets go as a whole, the least recently used first, where
        room is needed. None if there is no room, or the disk refuses; `full` is then true.
        """

        def work(index: sqlite3.Connection) -> list[Place] | None:
            index.execute("BEGIN IMMEDIATE")
            places = _places(index, way, [digest for digest, _ in pictures])
            new = {digest: pixels for digest, pixels in pictures if digest not in places}
            if new:
                pack, end = self._pack(index, way, os.fsencode(origin))
                if not self._make_room(index, pack, sum(one.nbytes for one in new.values())):
                    index.execute("COMMIT")  # what had to go is gone
                    return None
                places |= self._append(index, pack, end, new)
            index.execute("COMMIT")
            return [places[digest] for digest, _ in pictures]

        if self.full:
            return None
        places = self._use(work)
        if places is None and not self.full:
            self.full = True
            if self.usable:
                _tell(
                    f"{self.folder}: no room to keep more decoded images; what is not kept is decoded "
                    "each time (INCEPTIVE_CACHE_LIMIT says how many GiB may be kept)"
                )
        return places

    def pixels(self, place: Place) -> np.ndarray | None:
        """The picture at `place`, mapped from the disk, read only; None if it is no longer there.

        The map holds a shared lock on the pack: no other process makes room by deleting it.
        """
        height, width, channels = place.shape
        length = height * width * channels
        mapped = self._maps.get(place.pack)
        if mapped is None or len(mapped) < place.offset + length:
            mapped = self._map(place.pack)
        # A file that was cut short meanwhile would kill the process that reads beyond its end.
        if mapped is None or min(len(mapped), mapped.size()) < place.offset + length:
            return None
        if min(place.offset, *place.shape) < 0:  # of a damaged index
            return None
        return np.frombuffer(mapped, np.uint8, length, place.offset).reshape(place.shape)

    def forget(self, digest: bytes, place: Place) -> None:
        """Strike a picture whose pixels turned out damaged."""
        self._use(
            lambda index: index.execute(
                "DELETE FROM pictures WHERE digest = ? AND pack = ?", (digest, place.pack)
            )
        )

    # -- packs ----------------------------------------------------------------------------------

    def _path(self, pack: int) -> Path:
        return self.folder / f"{pack:016x}.pack"

    def _map(self, pack: int) -> mmap.mmap | None:
        with self._mapping:
            try:
                descriptor = os.open(self._path(pack), os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_SH)
                    # The map keeps its own copy of the descriptor, and the lock with it.
                    self._maps[pack] = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
                finally:
                    os.close(descriptor)
            except (OSError, ValueError):  # ValueError: the file is empty
                self._maps.pop(pack, None)
            return self._maps.get(pack)

    def _pack(self, index: sqlite3.Connection, way: str, origin: bytes) -> tuple[int, int]:
        """The pack of a set in a way, and where it ends; a new one if there is none."""
        for pack, end in index.execute(
            "SELECT pack, bytes FROM packs WHERE way = ? AND origin = ?", (way, origin)
        ).fetchall():
            if _size(self._path(pack)) >= end:
                return pack, end
            self._drop(index, pack)
        known = {self._path(one) for (one,) in index.execute("SELECT pack FROM packs")}
        for path in self.folder.glob("*.pack"):
            if path not in known:  # of a process that was killed before it told of it
                path.unlink(missing_ok=True)
        pack = secrets.randbits(63)
        now = time.time_ns()
        index.execute("INSERT INTO packs VALUES (?,?,?,?,?)", (pack, way, origin, 0, now))
        return pack, 0

    def _append(
        self, index: sqlite3.Connection, pack: int, end: int, new: dict[bytes, np.ndarray]
    ) -> dict[bytes, Place]:
        places, start = {}, end
        descriptor = os.open(self._path(pack), os.O_WRONLY | os.O_CREAT, 0o600)
        with open(descriptor, "wb", buffering=0) as file:
            try:
                file.seek(start)
                for digest, pixels in new.items():
                    content = np.ascontiguousarray(pixels).reshape(-1).data
                    height, width, channels = pixels.shape
                    places[digest] = Place(
                        pack, end, (height, width, channels), zlib.crc32(content)
                    )
                    _write(file.fileno(), content)
                    end += len(content)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file.fileno(), start)
                raise
        index.executemany(
            "INSERT INTO pictures VALUES (?,?,?,?,?,?,?)",
            [(digest, pack, p.offset, *p.shape, p.crc) for digest, p in places.items()],
        )
        index.execute(
            "UPDATE packs SET bytes = ?, used = ? WHERE pack = ?", (end, time.time_ns(), pack)
        )
        return places

    def _make_room(self, index: sqlite3.Connection, pack: int, needed: int) -> bool:
        """Drop packs of other sets, the least recently used first, until `needed` bytes fit."""
        others = index.execute("SELECT pack FROM packs WHERE pack != ? ORDER BY used", (pack,))
        candidates = [one for (one,) in others.fetchall()]
        while True:
            (held,) = index.execute("SELECT coalesce(sum(bytes), 0) FROM packs").fetchone()
            free = shutil.disk_usage(self.folder).free
            limit = min(LIMIT, (held + free) // 2) if self.limit is None else self.limit
            if needed <= min(limit - held, free - RESERVE):
                return True
            if not candidates:
                return False
            self._drop_unused(index, candidates.pop(0))

    def _drop_unused(self, index: sqlite3.Connection, pack: int) -> None:
        try:
            descriptor = os.open(self._path(pack), os.O_RDONLY)
        except OSError:
            self._drop(index, pack)
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # somebody trains on it
        else:
            self._drop(index, pack)
        finally:
            os.close(descriptor)

    def _drop(self, index: sqlite3.Connection, pack: int) -> None:
        index.execute("DELETE FROM pictures WHERE pack = ?", (pack,))
        index.execute("DELETE FROM packs WHERE pack = ?", (pack,))
        self._path(pack).unlink(missing_ok=True)

    # -- the index ------------------------------------------------------------------------------

    def _use(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `work` makes of the index; None where that cannot be had.

        A damaged index is thrown away, with all pixels that it told of, and `work` has an empty one.
        """
        for last in (False, True):
            if not self.usable:
                return None
            try:
                with self._index() as index:
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
    def _index(self) -> Iterator[sqlite3.Connection]:
        """The open index, its tables made if it is new."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # photographs may be private
        with self._locked(fcntl.LOCK_SH):
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
    def _locked(self, kind: int) -> Iterator[None]:
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    def _throw_away(self) -> None:
        with contextlib.suppress(OSError), self._locked(fcntl.LOCK_EX):
            for path in (*self.folder.glob("index.sqlite*"), *self.folder.glob("*.pack")):
                path.unlink(missing_ok=True)

    def _give_up(self, reason: str) -> None:
        self.usable, self.full = False, True
        _tell(f"{self.folder}: cannot be used ({reason}); images are decoded anew")


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


def _places(index: sqlite3.Connection, way: str, digests: Sequence[bytes]) -> dict[bytes, Place]:
    found = {}
    for start in range(0, len(digests), AT_ONCE):
        some = digests[start : start + AT_ONCE]
        marks = ",".join("?" * len(some))
        for digest, pack, offset, height, width, channels, crc in index.execute(
            "SELECT digest, pack, offset, height, width, channels, crc FROM pictures "
            f"JOIN packs USING (pack) WHERE way = ? AND digest IN ({marks})",
            (way, *some),
        ):
            found[digest] = Place(pack, offset, (height, width, channels), crc)
    return found


def _layout(index: sqlite3.Connection) -> int:
    return int(index.execute("PRAGMA user_version").fetchone()[0])


def _size(path: Path) -> int:
    """Bytes of a file; -1 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _write(descriptor: int, content: memoryview) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _is_damage(error: Exception) -> bool:
    """Whether the index itself is at fault, and not who may read it or the disk below it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


@functools.cache
def _tell(note: str) -> None:
    """Say `note` once in the log; where nobody listens to it, on standard error."""
    logging.getLogger("inceptive").warning("note: %s", note)
