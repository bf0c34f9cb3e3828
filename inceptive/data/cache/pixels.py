"""Decoded pictures in packs: one file for each set and way of decoding, only appended to."""

import contextlib
import mmap
import os
import secrets
import shutil
import sqlite3
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inceptive.data.cache.index import AT_ONCE, Index, fcntl, tell

GIB = 2**30
LIMIT = 20 * GIB
"""Bytes of pixels that are kept, or half of what the disk has for them if that is less."""
RESERVE = 1 * GIB
"""Bytes of the disk that are always left free."""

BINARY = getattr(os, "O_BINARY", 0)  # Windows would write line ends of its own


class Place(NamedTuple):
    """Where the pixels of a picture lie: uint8 of that shape, `offset` bytes into a pack."""

    pack: int
    offset: int
    shape: tuple[int, int, int]
    crc: int


class Pixels:
    """The pictures that an index knows; `limit` bytes at most, None for what LIMIT says."""

    def __init__(self, index: Index, limit: int | None):
        self.index, self.folder, self.limit = index, index.folder, limit
        self._full = limit == 0
        self._maps: dict[int, mmap.mmap] = {}
        self._mapping = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether no more is kept from now on."""
        return self._full or not self.index.usable

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

        return self.index.use(work) or {}

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
        places = self.index.use(work)
        if places is None and not self.full:
            self._full = True
            tell(
                f"{self.folder}: no room to keep more decoded images; what is not kept is decoded "
                "each time (INCEPTIVE_CACHE_LIMIT says how many GiB may be kept)"
            )
        return places

    def at(self, place: Place) -> np.ndarray | None:
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
        self.index.use(
            lambda index: index.execute(
                "DELETE FROM pictures WHERE digest = ? AND pack = ?", (digest, place.pack)
            )
        )

    def _path(self, pack: int) -> Path:
        return self.folder / f"{pack:016x}.pack"

    def _map(self, pack: int) -> mmap.mmap | None:
        with self._mapping:
            try:
                descriptor = os.open(self._path(pack), os.O_RDONLY)
                try:
                    if fcntl:
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
                _remove(path)
        pack = secrets.randbits(63)
        now = time.time_ns()
        index.execute("INSERT INTO packs VALUES (?,?,?,?,?)", (pack, way, origin, 0, now))
        return pack, 0

    def _append(
        self, index: sqlite3.Connection, pack: int, end: int, new: dict[bytes, np.ndarray]
    ) -> dict[bytes, Place]:
        places, start = {}, end
        descriptor = os.open(self._path(pack), os.O_WRONLY | os.O_CREAT | BINARY, 0o600)
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
            if fcntl:
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
        _remove(self._path(pack))


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


def _remove(path: Path) -> None:
    with contextlib.suppress(
        PermissionError
    ):  # Windows, while somebody has it open: the next one does
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Bytes of a file; -1 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _write(descriptor: int, content: memoryview) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
