"""Pictures of a set, decoded in one way: from the cache where they lie in it, else from their files.

Both give the same bits. A file is asked for its size and times each time, so one that changed or
vanished meanwhile is decoded anew, or named.
"""

import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

import numpy as np
import PIL
from PIL import features

from inceptive.data.cache import Cache
from inceptive.data.cache.files import settled, signature
from inceptive.data.cache.pixels import Place
from inceptive.data.prefetch import prefetch
from inceptive.data.source import PathImages, Samples
from inceptive.data.split import digest
from inceptive.errors import InceptiveError
from inceptive.images import (
    Interpolation,
    Preprocessing,
    Source,
    decode,
    read_image,
    resize_shorter,
    source_name,
)
from inceptive.io.cores import cores

DECODING = 1
"""To be raised when a change of the code changes the pixels that a file gives."""
PROBES = 32
"""Pictures that are decoded to tell how large all will be."""
FLUSH = 32 * 2**20
"""Bytes of decoded pixels that wait to be written together."""


Progress = Callable[[int, int], None]


class DecodeSpec(Protocol):
    """A way to decode: `name` tells everything that the pixels follow from."""

    @property
    def name(self) -> str: ...
    def __call__(self, source: Source, name: str = "") -> np.ndarray: ...


@dataclass(frozen=True)
class ModelInputs:
    """Pictures as a net is shown them: uint8 (C, S, S)."""

    preprocessing: Preprocessing

    @property
    def name(self) -> str:
        p = self.preprocessing
        kind = "squashed" if p.squash else "square"
        return f"{kind} {p.size} of {p.crop} {p.channels} {p.interpolation} {decoders()}"

    def __call__(self, source: Source, name: str = "") -> np.ndarray:
        return self.preprocessing.load(source, name)


@dataclass(frozen=True)
class Resized:
    """Whole pictures, their shorter side `shorter` pixels at most: uint8 (H, W, C)."""

    channels: int
    shorter: int
    interpolation: Interpolation

    @property
    def name(self) -> str:
        return f"whole {self.shorter} {self.channels} {self.interpolation} {decoders()}"

    def __call__(self, source: Source, name: str = "") -> np.ndarray:
        # Half as much: `decode` keeps twice the pixels, but here each crop is resampled once more.
        name = source_name(source, name)
        image = decode(source, self.channels, -(-self.shorter // 2), name)
        if min(image.size) > self.shorter:
            image = resize_shorter(image, self.shorter, self.interpolation, name)
        array = np.asarray(image)
        return array[..., None] if array.ndim == 2 else array


def decoders() -> str:
    """What decodes: this code and the libraries, whose versions may differ in single bits."""
    jpeg = features.version("libjpeg_turbo")  # type: ignore[no-untyped-call]
    try:
        heif = version("pi-heif")
    except PackageNotFoundError:
        heif = "none"
    return f"decoding {DECODING} pillow {PIL.__version__} jpeg {jpeg} heif {heif}"


class CachedImages:
    """Picture k of `samples` in a `way`, kept in the `cache` if there is one. For many threads.

    What was decoded is written in the end, or when much of it waits: use it in a `with` block, or
    call `flush`.
    """

    def __init__(self, samples: Samples, way: DecodeSpec, cache: Cache | None):
        self.samples, self.way = samples, way
        self.images = samples.images
        self.cache = cache if isinstance(self.images, PathImages) else None
        self._memory: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, bytes, np.ndarray]] = []
        self._bytes = 0
        n = len(samples)
        self._known = np.zeros((n, 4), np.int64)  # the signature that the file had
        self._pack = np.full(n, -1, np.int64)  # where its pixels lie: -1 for nowhere
        self._place = np.zeros((n, 5), np.int64)  # offset, shape, crc
        self._digest = np.zeros((n, 32), np.uint8)
        self._checked = np.zeros(n, np.bool_)
        if self.cache:
            self._look_up(self.cache)

    def __len__(self) -> int:
        return len(self.samples)

    def __enter__(self) -> "CachedImages":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def expected_bytes(self) -> int:
        """Bytes of all pictures, decoded: as many as some of them, spread over the set, let expect."""
        if isinstance(self.way, ModelInputs):
            return len(self) * self.way.preprocessing.channels * self.way.preprocessing.size**2
        some = np.unique(np.linspace(0, len(self) - 1, min(len(self), PROBES)).astype(int))
        sizes = [self[index].nbytes for index in some.tolist()]
        return round(len(self) * sum(sizes) / max(len(sizes), 1))

    def decoded(self, progress: Progress | None = None) -> Iterator[np.ndarray]:
        """Every picture in order, decoded on all cores. Raises InceptiveError as an index does."""
        with self:
            for done, pixels in enumerate(prefetch(self.__getitem__, range(len(self)), cores()), 1):
                yield pixels
                if progress and done % 64 == 0:
                    progress(done, len(self))

    def keep_in_memory(self, limit: int, progress: Progress | None = None) -> None:
        """Decode every picture now and keep them, as long as they take `limit` bytes at most."""
        for index, pixels in enumerate(self.decoded(progress)):
            limit -= pixels.nbytes
            if limit >= 0:
                self._memory[index] = np.array(pixels)  # a copy of what is mapped from the cache

    def __getitem__(self, index: int) -> np.ndarray:
        """Picture `index`. Raises InceptiveError, naming the file, if it cannot be decoded."""
        if index in self._memory:
            return self._memory[index]
        source = self.images.source(index)
        known = signature(source) if self.cache and isinstance(source, str) else None
        if self.cache is None or known is None:  # or `way` says what is wrong with the file
            return self.way(source)
        if self._pack[index] >= 0 and known == tuple(self._known[index].tolist()):
            pixels = self._kept(index, self.cache)
            if pixels is not None:
                return pixels
        if self.cache.pixels.full:
            return self.way(source)
        return self._decoded(index, known)

    def flush(self) -> None:
        """Write what was decoded and is not kept yet."""
        with self._lock:
            waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting or self.cache is None:
            return
        pictures = [(content, pixels) for _, content, pixels in waiting]
        assert isinstance(self.images, PathImages)
        places = self.cache.pixels.add(self.way.name, self.images.folder, pictures)
        for (index, content, _), place in zip(waiting, places or [], strict=False):
            self._set(index, content, place)

    def _look_up(self, cache: Cache) -> None:
        assert isinstance(self.images, PathImages)
        paths: list[str] = self.images.paths.tolist()
        signatures = [signature(path) for path in paths]
        found = cache.files.digests(paths)
        places = cache.pixels.find(self.way.name, [one for one in found if one])
        for index, (known, content) in enumerate(zip(signatures, found, strict=True)):
            if known and content and content in places:
                self._known[index] = known
                self._set(index, content, places[content])

    def _set(self, index: int, content: bytes, place: Place) -> None:
        self._place[index] = place.offset, *place.shape, place.crc
        self._digest[index] = np.frombuffer(content, np.uint8)
        self._checked[index] = False
        self._pack[index] = place.pack  # last: another thread may look

    def _kept(self, index: int, cache: Cache) -> np.ndarray | None:
        """The pixels in the cache, if they are as they were written."""
        offset, height, width, channels, crc = self._place[index].tolist()
        place = Place(int(self._pack[index]), offset, (height, width, channels), crc)
        pixels = cache.pixels.at(place)
        if pixels is not None and not self._checked[index]:
            self._checked[index] = zlib.crc32(pixels.reshape(-1).data) == crc
        if pixels is None or not self._checked[index]:
            self._pack[index] = -1
            cache.pixels.forget(self._digest[index].tobytes(), place)
            return None
        return pixels

    def _decoded(self, index: int, known: tuple[int, int, int, int]) -> np.ndarray:
        path = self.images.name(index)
        try:
            content = read_image(path)
        except InceptiveError:
            return self.way(path)  # says why
        pixels = self.way(content, path)
        with self._lock:
            self._pack[index] = -1
            # Of a file that was written just now, the times may not tell of the next change.
            self._known[index] = known if settled(known) else (-1, -1, -1, -1)
            self._waiting.append((index, bytes.fromhex(digest(content)), pixels))
            self._bytes += pixels.nbytes
            much = self._bytes >= FLUSH
        if much:
            self.flush()
        return pixels


def in_order(
    samples: Samples,
    preprocessing: Preprocessing,
    batch_size: int,
    cache: Cache | None = None,
    workers: int | None = None,
) -> Iterator[np.ndarray]:
    """Batches (N, C, S, S) of uint8 in the order of `samples`, as they are judged.

    Decoded by so many threads (None: one for each core) while who takes them works. Raises
    InceptiveError, naming the file, for an image that cannot be decoded.
    """
    threads = cores() if workers is None else workers

    def loaded(step: int) -> np.ndarray:
        some = range(step * batch_size, min((step + 1) * batch_size, len(samples)))
        return np.stack([squares[index] for index in some])

    with CachedImages(samples, ModelInputs(preprocessing), cache) as squares:
        yield from prefetch(loaded, range(-(-len(samples) // batch_size)), threads)
