"""One scan of each image file before use: readable, grey, a copy of another?

The result is kept until the file changes (`cache`).
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress

import numpy as np
from PIL import Image

from inceptive.data.cache import Cache, decoders, settled, signature, user_cache
from inceptive.data.copies import SIDE
from inceptive.data.prefetch import prefetch
from inceptive.data.source import FILE, pixels_digest
from inceptive.data.split import digest
from inceptive.errors import InceptiveError, printable
from inceptive.images import (
    AT_ONCE,
    DeepPicture,
    Note,
    Range,
    read_image,
    read_picture,
    to_eight_bits,
)
from inceptive.io.cores import cores
from inceptive.io.progress import Advance

SCANNER = 5
"""To be raised when a change of `scan` changes what it gives of a file."""
FLUSH = 256
"""Files whose scans are written to the cache together: so many are lost if it is stopped."""
THUMBNAIL = (SIDE, SIDE)
SCAN = np.dtype(
    [("file", FILE), ("thumbnail", np.uint8, THUMBNAIL), ("grey", np.bool_),
     ("samples", np.float64, 2), ("floats", np.bool_), ("notes", np.bool_, len(Note))]
)  # fmt: skip
"""A ScannedImage without its path, as it is kept."""
ROW = np.dtype([("path", np.uint8, 32), ("scan", SCAN), ("crc", np.uint32)])
"""What the cache keeps of a file: the SHA-256 of its absolute path, the scan, a checksum of both."""


@dataclass(frozen=True)
class ScannedImage:
    """One image file: `error` if it cannot be read, else everything else."""

    path: str
    digest: bytes = b""  # SHA-256 of the file
    pixels: int = 0  # `pixels_digest` of the picture, as it is decoded for `thumbnail`
    thumbnail: np.ndarray = field(default_factory=partial(np.zeros, THUMBNAIL, np.uint8))  # grey
    grey: bool = True
    samples: Range | None = None
    """Of a picture deeper than 8 bits that does not declare its range: `DeepPicture.extent`."""
    floats: bool = False  # whether those are floats
    notes: frozenset[Note] = frozenset()
    error: str = ""
    signature: tuple[int, ...] = (0, 0, 0, 0)  # `cache.signature`, where it can be relied on


def scan(path: str) -> ScannedImage:
    """Read and decode one image file; never raises for a faulty file."""
    try:
        content = read_image(path)
    except InceptiveError as error:
        return ScannedImage(path, error=str(error))
    return scan_content(path, content)


@AT_ONCE.decoding()
def scan_content(path: str, content: bytes) -> ScannedImage:
    """The same for the bytes of a file called `path`."""
    samples, floats, shorter = None, False, 2 * SIDE
    notes: set[Note] = set()
    try:
        picture = read_picture(content, shorter, path)
        if isinstance(picture, DeepPicture):
            # By its own range, whatever the set's will be: copies are compared whatever their light.
            extent = picture.extent()
            whole_range = replace(
                picture, declared=picture.declared or extent or picture.type_range
            )
            image = to_eight_bits(whole_range, 3, None, path, shorter, notes.add)
            pixels = pixels_digest(picture.content())
            samples, floats = None if picture.declared else extent, picture.floats
        else:
            image = to_eight_bits(picture, 3, None, path, shorter, notes.add)
            pixels = pixels_digest(f"{image.size} {image.mode} ".encode() + image.tobytes())
    except InceptiveError as error:
        return ScannedImage(path, error=str(error))
    small = np.asarray(image.resize((64, 64), Image.Resampling.BOX))
    grey = bool((np.ptp(small, axis=2) <= 2).all())
    # Not the box: where a picture was resized by a fraction, its edges fall into other boxes.
    thumbnail = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return ScannedImage(
        path,
        digest(content),
        pixels,
        np.asarray(thumbnail),
        grey,
        samples,
        floats,
        frozenset(notes),
    )


def picture_notes(images: Iterable[ScannedImage]) -> list[str]:
    """Notes on pictures that could be read: each note once, with an example."""
    paths: dict[str, list[str]] = defaultdict(list)
    for image in images:
        for note in image.notes:
            paths[note].append(image.path)
    return grouped(paths)


def grouped(paths: Mapping[str, Sequence[str]]) -> list[str]:
    """One line per note: an example of the pictures concerned, how many more, and the note."""
    return [
        f"{printable(some[0])}{f' and {len(some) - 1} more' * (len(some) > 1)}: {note}"
        for note, some in sorted(paths.items())
    ]


def scan_all(
    paths: list[str], advance: Advance | None = None, cache: Cache | None = None
) -> list[ScannedImage]:
    """`scan` each path, in order, on all cores (decoders release the GIL).

    A file whose scan is in the cache (by default the user's) is not scanned again unless it changed.
    Unreadable files are scanned each time: the reason may be gone.
    """
    cache, scanner = cache or user_cache(), f" scanner {SCANNER} {decoders()}"
    scans = _cached(paths, scanner, cache)
    new = [path for path in paths if path not in scans]
    waiting: list[ScannedImage] = []

    def look(path: str) -> ScannedImage:
        before = signature(path)  # a change while it is read shows later
        image = scan(path)
        return replace(image, signature=before) if before and settled(before) else image

    with closing(prefetch(look, new, cores())) as images:
        for done, image in enumerate(images, 1 + len(paths) - len(new)):
            scans[image.path] = image
            waiting.append(image)
            if len(waiting) == FLUSH:
                _keep(waiting, scanner, cache)
                waiting.clear()
            if advance:
                advance(done, len(paths))
    _keep(waiting, scanner, cache)
    return [scans[path] for path in paths]


def as_rows(images: list[ScannedImage]) -> np.ndarray:
    """The scans of readable images: (N,) of SCAN."""
    rows = np.zeros(len(images), SCAN)
    for k, image in enumerate(images):
        file = image.signature, np.frombuffer(image.digest, np.uint8), image.pixels
        samples = image.samples or (np.nan, np.nan)
        notes = [note in image.notes for note in Note]
        rows[k] = file, image.thumbnail, image.grey, samples, image.floats, notes
    return rows


def from_row(path: str, row: np.void) -> ScannedImage:
    """The scan of the image at `path` from a row of SCAN."""
    file, (low, high) = row["file"], row["samples"].tolist()
    return ScannedImage(
        path,
        file["digest"].tobytes(),
        int(file["pixels"]),
        row["thumbnail"],
        bool(row["grey"]),
        None if np.isnan(low) else (low, high),
        bool(row["floats"]),
        frozenset(compress(Note, row["notes"].tolist())),
        signature=tuple(file["signature"].tolist()),
    )


def _cached(paths: list[str], scanner: str, cache: Cache) -> dict[str, ScannedImage]:
    """The scans in the cache of files that are still the same, by path."""
    scans: dict[str, ScannedImage] = {}
    for folder, group in _by_folder(paths).items():
        rows = {row["path"].tobytes(): row["scan"] for row in cache.scans(folder + scanner, ROW)}
        for path in group:
            row = rows.get(_key(path)) if rows else None
            if row is not None and (image := from_row(path, row)).signature == signature(path):
                scans[path] = image
    return scans


def _keep(images: list[ScannedImage], scanner: str, cache: Cache) -> None:
    """Add to the cache what can be relied on."""
    sound = {image.path: image for image in images if not image.error and any(image.signature)}
    for folder, paths in _by_folder(sound).items():
        rows = np.zeros(len(paths), ROW)
        rows["path"] = [np.frombuffer(_key(path), np.uint8) for path in paths]
        rows["scan"] = as_rows([sound[path] for path in paths])
        cache.add_scans(folder + scanner, rows)


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folders[os.path.dirname(os.path.abspath(path))].append(path)
    return folders


def _key(path: str) -> bytes:
    return digest(os.fsencode(os.path.abspath(path)))
