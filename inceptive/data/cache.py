"""Scan results of image files, and their decoded pixels, kept between runs.

    images/*.scans            the scan of each file of a folder, see `scan`
    images/SPEC-SET-*.pixels  uint8 pixels of the pictures of one set, decoded in one way
    images/SPEC-SET-*.rows    the content digest of each picture, and where it lies

The folder lies in the cache (INCEPTIVE_CACHE, else ~/.cache/inceptive) and may be deleted at any time.
All files are append-only, by one process at a time. Rows and pixels carry checksums and rows are
written last, so whatever a killed writer, a power cut, a full disk or a damaged disk left is decoded
again and never used. A changed file has another signature, and other content another digest. Above the
size limit, the least recently used set is removed, but none that a process is reading. The cache never
causes a failure: if the folder cannot be used, images are decoded, and that is logged once.
"""

import contextlib
import functools
import logging
import mmap
import os
import secrets
import shutil
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL
from PIL import features

from inceptive.errors import InceptiveError, reason
from inceptive.io.locks import lock, lock_file
from inceptive.io.paths import cache_folder

GIB = 2**30
LIMIT = 20 * GIB
"""Bytes of pixels that are kept, or half of what the disk has for them if that is less."""
RESERVE = 1 * GIB
"""Bytes of the disk that are always left free."""
SCANS = 1 * GIB
"""Bytes of `*.scans`: about two million files."""
PATIENCE = 30.0
"""Seconds to wait for another process that writes."""
SETTLED = 2_000_000_000
"""Nanoseconds after which a change of a file shows in its times: FAT counts them in two seconds."""
PAGE = 4096
"""Bytes that a checksum of pixels takes at a time."""
LAYOUT = 3
"""To be raised when the rows change."""
DECODING = 5
"""To be raised when a change of the code changes the pixels that a file gives."""

ROW = np.dtype(
    [("digest", np.uint8, 32), ("file", np.int32), ("offset", np.int64), ("shape", np.int32, 3),
     ("pixels_sum", np.uint32), ("crc", np.uint32)]
)  # fmt: skip
"""Where the pixels of a content lie; `file` is a number that a Cache gives, -1 for none."""

T = TypeVar("T")


@dataclass
class _Table:
    """The rows of a file of pixels that were read: by digest, and where they end and their pixels do."""

    rows: dict[bytes, np.void] = field(default_factory=dict)
    end: int = 0
    pixels_end: int = 0


class Cache:
    """The cache in `folder`, with at most `limit` bytes of pixels (None: LIMIT).

    Thread-safe. Nothing is read or created before first use.
    """

    def __init__(self, folder: Path, limit: int | None = None):
        self.folder, self.limit = folder, limit
        self.usable = True
        self.full = limit == 0  # no more pixels are kept
        self._paths: list[Path] = []  # of pixels
        self._tables: dict[Path, _Table] = {}
        self._maps: dict[Path, mmap.mmap] = {}
        self._locks: dict[Path, mmap.mmap] = {}  # the first map of each file keeps it locked
        self._lock = threading.RLock()

    def scans(self, key: str, kind: np.dtype[np.void]) -> np.ndarray:
        """The rows added under `key`, oldest first."""
        path = self._scans_at(key)
        _touch(path)
        return _read_rows(path, kind)[0]

    def add_scans(self, key: str, rows: np.ndarray) -> None:
        """Store `rows`, whose last field is for their checksum, under `key`."""

        def work() -> None:
            _append_rows(self._scans_at(key), rows)
            oldest = _by_age(self.folder.glob("*.scans"))
            while _size(oldest) > SCANS:
                oldest.pop(0).unlink()

        self._write(work)

    def find(self, spec: str, digests: np.ndarray) -> np.ndarray:
        """Locations of the pixels of contents (N, 32) decoded by `spec`: (N,) of ROW."""
        rows = np.zeros(len(digests), ROW)
        rows["file"] = -1
        with self._lock:
            for path in _by_age(self.folder.glob(f"{short_hash(spec)}-*.pixels")):
                table, size = self._table(path).rows, _stat(path)[0]
                if path not in self._paths:
                    self._paths.append(path)
                file = self._paths.index(path)
                for k, digest in enumerate(digests):
                    row = table.get(digest.tobytes())
                    if row is not None and _end(row) <= size:
                        rows[k] = row
                        rows["file"][k] = file
                if (rows["file"] == file).any():
                    _touch(path)
        return rows

    def add(
        self, spec: str, origin: str, digests: np.ndarray, pictures: Sequence[np.ndarray]
    ) -> np.ndarray | None:
        """Store pictures, each uint8 of three dimensions, of contents (N, 32); return where they lie.

        origin is their set: sets are evicted as a whole, least recently used first, when room is
        needed. None if there is no room, or writing fails; nothing more is stored then.
        """
        name = f"{short_hash(spec)}-{short_hash(origin)}"

        def work() -> np.ndarray | None:
            rows = self.find(spec, digests)  # another process may have kept some meanwhile
            new = {digests[k].tobytes(): k for k, row in enumerate(rows) if self.at(row) is None}
            # What a row ever told of is never written over: somebody may read it.
            appendable = (
                path
                for path in self.folder.glob(f"{name}-*.pixels")
                if _stat(path)[0] >= self._table(path).pixels_end
            )
            path = next(appendable, self.folder / f"{name}-{secrets.token_hex(4)}.pixels")
            if new and not self._make_room(path, sum(pictures[k].nbytes for k in new.values())):
                return None
            _append_pixels(path, {digest: pictures[k] for digest, k in new.items()})
            return self.find(spec, digests)

        rows = None if self.full else self._write(work)
        if rows is None and not self.full:
            self.full = True
            log_once(
                f"{self.folder}: no room to keep more decoded images; what is not kept is decoded "
                "each time (INCEPTIVE_CACHE_LIMIT says how many GiB may be kept)"
            )
        return rows

    def at(self, row: np.void, check: bool = True) -> np.ndarray | None:
        """The picture at `row`, memory-mapped, read-only; None if it is gone or, with `check`, is not as
        it was written."""
        if row["file"] < 0:
            return None
        path, start, end = self._paths[row["file"]], int(row["offset"]), _end(row)
        mapped = self._maps.get(path)
        if mapped is None or len(mapped) < end:
            mapped = self._map(path)
        # A file that was cut short meanwhile would kill the process that reads beyond its end.
        if mapped is None or min(len(mapped), mapped.size()) < end:
            return None
        pixels = np.frombuffer(mapped, np.uint8, end - start, start)
        if check and _checksum(pixels) != row["pixels_sum"]:
            return None
        return pixels.reshape(tuple(row["shape"]))

    def _map(self, path: Path) -> mmap.mmap | None:
        with self._lock:
            try:
                with open(path, "rb") as file:
                    if path not in self._locks:
                        lock_file(file, wait=False)  # where another reader has it, that will do
                    self._maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self._locks.setdefault(path, self._maps[path])
            except (OSError, ValueError):  # ValueError: the file is empty
                self._maps.pop(path, None)
            return self._maps.get(path)

    def _table(self, path: Path) -> _Table:
        """The rows of the pixels at `path`. Only those that were added since the last call are read."""
        table = self._tables.setdefault(path, _Table())
        rows, table.end = _read_rows(path.with_suffix(".rows"), ROW, table.end)
        table.rows |= {row["digest"].tobytes(): row for row in rows}
        table.pixels_end = max(table.pixels_end, *map(_end, rows), 0)
        return table

    def _make_room(self, path: Path, needed: int) -> bool:
        """Make `needed` bytes fit: remove pixels, but those at `path`, the least recently used first."""
        others = [other for other in _by_age(self.folder.glob("*.pixels")) if other != path]
        while True:
            size = _size(self.folder.glob("*.pixels"))
            free = shutil.disk_usage(self.folder).free
            limit = min(LIMIT, (size + free) // 2) if self.limit is None else self.limit
            if needed <= max(0, min(limit - size, free - RESERVE)):
                return True
            if not others:
                return False
            oldest = others.pop(0)
            with contextlib.suppress(OSError):  # Windows, while somebody has it open
                with open(oldest, "rb") as file:
                    unused = lock_file(file, wait=False)
                if unused:
                    oldest.unlink()
                    oldest.with_suffix(".rows").unlink(missing_ok=True)

    def _write(self, work: Callable[[], T]) -> T | None:
        """What `work` returns, alone among all who write; None where the folder cannot be used."""
        if not self.usable:
            return None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # photographs may be private
            with lock(self.folder / "lock", PATIENCE), self._lock:
                return work()
        except (InceptiveError, OSError) as error:
            self.usable, self.full = False, True
            message = f"{self.folder}: cannot be written ({reason(error)})"
            if isinstance(error, InceptiveError):
                message = str(error)
            log_once(f"{message}; images are decoded anew")
            return None

    def _scans_at(self, key: str) -> Path:
        return self.folder / f"{short_hash(key)}.scans"


def user_cache() -> Cache:
    """The current user's cache. Raises InceptiveError if INCEPTIVE_CACHE_LIMIT is not a number."""
    text = os.environ.get("INCEPTIVE_CACHE_LIMIT", "")
    try:
        limit = float(text) * GIB if text else None
        if limit is not None and not 0 <= limit < 2**60:
            raise ValueError
    except ValueError:
        raise InceptiveError(
            f"INCEPTIVE_CACHE_LIMIT = {text!r}: is GiB of decoded images to keep, 0 for none"
        ) from None
    return Cache(cache_folder() / "images", None if limit is None else int(limit))


def signature(path: str) -> tuple[int, int, int, int] | None:
    """The signature of the file at `path`: size, mtime_ns, ctime_ns, inode. None if there is no such
    regular file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    inode = status.st_ino & (2**63 - 1)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode


def settled(signature: tuple[int, int, int, int]) -> bool:
    """Whether any later change of the file would change it: not if it was just written."""
    return time.time_ns() - max(signature[1:3]) >= SETTLED


def decoders() -> str:
    """Versions of the decoders: this code and the libraries, which may differ in single bits."""
    jpeg = features.version("libjpeg_turbo")  # type: ignore[no-untyped-call]
    try:
        heif = version("pi-heif")
    except PackageNotFoundError:
        heif = "none"
    return f"decoding {DECODING} pillow {PIL.__version__} jpeg {jpeg} heif {heif}"


@functools.cache
def log_once(note: str) -> None:
    """Log `note` once, or print it on standard error if no handler is set up."""
    logging.getLogger("inceptive").warning("note: %s", note)


def short_hash(text: str) -> str:
    """A file name for any text."""
    return sha256(f"{LAYOUT} {text}".encode(errors="surrogatepass")).hexdigest()[:24]


def _read_rows(path: Path, kind: np.dtype[np.void], start: int = 0) -> tuple[np.ndarray, int]:
    """The rows in `path` from byte `start` on that are as they were written; and where they end."""
    start = start if start <= _stat(path)[0] else 0  # it was cut short
    try:
        with open(path, "rb") as file:
            file.seek(start)
            content = file.read()
    except OSError:
        content = b""
    rows = np.frombuffer(content, kind, len(content) // kind.itemsize)
    return rows[_checksums(rows) == rows["crc"]], start + rows.nbytes


def _append_rows(path: Path, rows: np.ndarray) -> None:
    rows["crc"] = _checksums(rows)
    with open(path, "ab") as file:
        file.truncate(file.tell() // rows.itemsize * rows.itemsize)  # of a writer that was killed
        file.write(rows.tobytes())


def _checksums(rows: np.ndarray) -> np.ndarray:
    """The checksum of each row but its last field: (N,) of uint32."""
    return np.array([zlib.crc32(row.tobytes()[:-4]) for row in rows], np.uint32)


def _checksum(pixels: np.ndarray) -> int:
    """A checksum of bytes (N,): the CRC of sums along and across its pages, faster than its own."""
    whole = len(pixels) // PAGE * PAGE
    words = pixels[:whole].view(np.uint64).reshape(-1, PAGE // 8)
    sums = np.concatenate([words.sum(1), words.sum(0)])
    return zlib.crc32(pixels[whole:].data, zlib.crc32(sums.data))


def _append_pixels(path: Path, pictures: dict[bytes, np.ndarray]) -> None:
    """Write pictures, by digest, behind those at `path`, then their rows."""
    rows, start = np.zeros(len(pictures), ROW), _stat(path)[0]
    try:
        with open(path, "ab") as file:
            for row, (digest, pixels) in zip(rows, pictures.items(), strict=True):
                content = np.ascontiguousarray(pixels).reshape(-1)
                row["digest"], row["offset"] = np.frombuffer(digest, np.uint8), file.tell()
                row["shape"], row["pixels_sum"] = pixels.shape, _checksum(content)
                file.write(content.data)
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(path, start)
        raise
    _append_rows(path.with_suffix(".rows"), rows)


def _end(row: np.void) -> int:
    return int(row["offset"]) + int(row["shape"].prod(dtype=np.int64))


def _by_age(paths: Iterable[Path]) -> list[Path]:
    """Files, those used longest ago first."""
    return sorted(paths, key=lambda path: _stat(path)[1])


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path, ns=(time.time_ns(),) * 2)


def _stat(path: Path) -> tuple[int, int]:
    """Bytes of a file and when it was changed or used, in nanoseconds; 0 if there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _size(paths: Iterable[Path]) -> int:
    return sum(_stat(path)[0] for path in paths)
