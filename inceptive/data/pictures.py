"""Pictures of a set, decoded in one way, from the cache if present, else from their files.

Both are bit-identical. A file's size and times are checked each time, so one that changed or vanished
meanwhile is decoded anew, or named.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from inceptive.data.cache import Cache, decoders, settled, signature
from inceptive.data.prefetch import prefetch
from inceptive.data.source import PathImages, Samples
from inceptive.data.split import digest
from inceptive.errors import InceptiveError
from inceptive.images import (
    Preprocessing,
    Source,
    read_image,
)
from inceptive.io.cores import cores
from inceptive.io.progress import Advance

PROBES = 32
"""Pictures that are decoded to tell how large all will be."""
FLUSH = 32 * 2**20
"""Bytes of decoded pixels that wait to be written together."""


class DecodeSpec(Protocol):
    """A way to decode: `name` identifies everything that determines the pixels."""

    @property
    def name(self) -> str: ...
    def __call__(self, source: Source, name: str = "") -> np.ndarray: ...


@dataclass(frozen=True)
class ModelInputs:
    """Pictures as a net sees them: uint8 (C, S, S)."""

    preprocessing: Preprocessing

    @property
    def name(self) -> str:
        p = self.preprocessing
        kind = "squashed" if p.squash else "square"
        pixels = f"{p.channels} {p.sample_range} {p.interpolation}"
        return f"{kind} {p.size} of {p.crop} {pixels} {decoders()}"

    def __call__(self, source: Source, name: str = "") -> np.ndarray:
        return self.preprocessing.load(source, name)


class CachedImages:
    """Picture k of `samples`, decoded by `spec`, kept in the `cache` if there is one. Thread-safe.

    Decoded pictures are written at the end, or when many are pending: use a `with` block, or call
    `flush`.
    """

    def __init__(self, samples: Samples, spec: DecodeSpec, cache: Cache | None):
        self.samples, self.spec = samples, spec
        self.images = samples.images
        self._memory: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()
        self._waiting: dict[int, np.ndarray] = {}
        self._bytes = 0
        self.cache = None
        if cache and isinstance(self.images, PathImages):
            self.cache, self._set_name = cache, self.images.folder
            self._files = self.images.files.copy()
            self._rows = cache.find(spec.name, self._files["digest"])
            self._checked = np.zeros(len(samples), np.bool_)

    def __len__(self) -> int:
        return len(self.samples)

    def __enter__(self) -> "CachedImages":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def expected_bytes(self) -> int:
        """Bytes of all pictures, decoded, estimated from some of them spread over the set."""
        if isinstance(self.spec, ModelInputs):
            return len(self) * self.spec.preprocessing.channels * self.spec.preprocessing.size**2
        some = np.unique(np.linspace(0, len(self) - 1, min(len(self), PROBES)).astype(int))
        sizes = [self[index].nbytes for index in some.tolist()]
        return round(len(self) * sum(sizes) / max(len(sizes), 1))

    def decoded(self, advance: Advance | None = None) -> Iterator[np.ndarray]:
        """Yield every picture in order, decoded on all cores. Raises InceptiveError like indexing."""
        with self:
            for done, pixels in enumerate(prefetch(self.__getitem__, range(len(self)), cores()), 1):
                yield pixels
                if advance and done % 64 == 0:
                    advance(done, len(self))

    def keep_in_memory(self, limit: int, advance: Advance | None = None) -> None:
        """Decode every picture now and keep them, if they take at most `limit` bytes."""
        for index, pixels in enumerate(self.decoded(advance)):
            limit -= pixels.nbytes
            if limit >= 0:
                self._memory[index] = np.array(pixels)  # a copy of what is mapped from the cache

    def __getitem__(self, index: int) -> np.ndarray:
        """Picture `index`. Raises InceptiveError, naming the file, if it cannot be decoded."""
        if index in self._memory:
            return self._memory[index]
        source = self.images.source(index)
        if self.cache is None or not isinstance(source, str):
            return self.spec(source)
        before = signature(source)
        if before and before == tuple(self._files[index]["signature"].tolist()):
            row = self._rows[index].copy()
            pixels = self.cache.at(row, check=not self._checked[index])
            if pixels is not None:
                self._checked[index] = True
                return pixels
        if before is None or self.cache.full:
            return self.spec(source)  # or it says what is wrong with the file
        try:
            content = read_image(source)
        except InceptiveError:
            return self.spec(source)
        pixels, found = self.spec(content, source), digest(content)
        with self._lock:
            self._rows[index]["file"] = -1  # first: another thread may look
            # Of a file that was written just now, the times may not tell of the next change.
            trusted = before if settled(before) else (0, 0, 0, 0)
            self._files[index]["signature"] = trusted
            self._files[index]["digest"] = np.frombuffer(found, np.uint8)
            self._waiting[index] = pixels
            self._bytes += pixels.nbytes
            much = self._bytes >= FLUSH
        if much:
            self.flush()
        return pixels

    def flush(self) -> None:
        """Write decoded pictures that are not yet stored."""
        with self._lock:
            waiting, self._waiting, self._bytes = self._waiting, {}, 0
            indices = list(waiting)
            digests = self._files["digest"][indices] if waiting else None
        if digests is None or self.cache is None:
            return
        rows = self.cache.add(self.spec.name, self._set_name, digests, list(waiting.values()))
        if rows is not None:
            with self._lock:  # what changed meanwhile was decoded again
                same = (self._files["digest"][indices] == digests).all(1)
                self._checked[np.array(indices)[same]] = False
                self._rows[np.array(indices)[same]] = rows[same]


def in_order(
    samples: Samples,
    preprocessing: Preprocessing,
    batch_size: int,
    cache: Cache | None = None,
    workers: int | None = None,
) -> Iterator[np.ndarray]:
    """Batches (N, C, S, S) of uint8 in the order of `samples`, for evaluation.

    Decoded by that many threads (None: one per core) while the consumer works. Raises InceptiveError,
    naming the file, for an image that cannot be decoded.
    """
    threads = cores() if workers is None else workers

    def loaded(step: int) -> np.ndarray:
        some = range(step * batch_size, min((step + 1) * batch_size, len(samples)))
        return np.stack([squares[index] for index in some])

    with CachedImages(samples, ModelInputs(preprocessing), cache) as squares:
        yield from prefetch(loaded, range(-(-len(samples) // batch_size)), threads)
