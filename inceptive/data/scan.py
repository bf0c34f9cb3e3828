"""One look at each image file before anything is made of it: readable, grey, a copy of another?

What was told of a file is remembered until it changes (`cache`).
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from PIL import Image

from inceptive.data.cache import Cache, user_cache
from inceptive.data.cache.files import Seen, Signature, signature
from inceptive.data.pictures import decoders
from inceptive.data.prefetch import prefetch
from inceptive.data.split import HASH_SIDE, digest
from inceptive.errors import InceptiveError
from inceptive.images import decode, read_image
from inceptive.io.cores import cores

Progress = Callable[[int, int], None]
SCANNER = 1
"""To be raised when a change of `scan` changes what it tells of a file."""
TOLD = 256
"""Files whose scan is written to the cache together: so many are lost if it is stopped."""


@dataclass(frozen=True)
class Scanned:
    """What one look at a file told: `error` if it cannot be read, else all the rest."""

    path: str
    digest: str = ""
    thumbnail: np.ndarray | None = None  # (16, 17) of uint8, grey
    grey: bool = True
    error: str = ""


def scan(path: str) -> Scanned:
    """Read and decode one image file; never raises for what is wrong with the file."""
    try:
        content = read_image(path)
    except InceptiveError as error:
        return Scanned(path, error=str(error))
    return scan_content(path, content)


def scan_content(path: str, content: bytes) -> Scanned:
    """The same of the bytes of a file that is called `path`."""
    try:
        image = decode(content, shorter=2 * HASH_SIDE, name=path)
    except InceptiveError as error:
        return Scanned(path, error=str(error))
    small = np.asarray(image.resize((64, 64), Image.Resampling.BOX))
    grey = bool((np.ptp(small, axis=2) <= 2).all())
    thumbnail = image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX)
    return Scanned(path, digest(content), np.asarray(thumbnail), grey)


def scan_all(
    paths: list[str], progress: Progress | None = None, cache: Cache | None = None
) -> list[Scanned]:
    """`scan` of each path, in order, on all cores (decoders release Python's lock).

    What the cache (by default the user's) remembers of a file is not looked at again, unless the
    file changed. What cannot be read is looked at each time: the reason may have gone.
    """
    cache, scanner = cache or user_cache(), f"scanner {SCANNER} {decoders()}"
    found = [
        seen and _recalled(path, seen)
        for path, seen in zip(paths, cache.files.recall(paths, scanner), strict=True)
    ]
    new = [k for k, scanned in enumerate(found) if scanned is None]
    remembered = len(paths) - len(new)
    looked: list[tuple[str, Signature, Seen]] = []

    def look(k: int) -> tuple[Signature | None, Scanned]:
        return signature(paths[k]), scan(paths[k])

    with closing(prefetch(look, new, cores())) as scans:
        for done, (k, (known, scanned)) in enumerate(zip(new, scans, strict=True), 1):
            found[k] = scanned
            if known and scanned.thumbnail is not None:
                seen = Seen(
                    bytes.fromhex(scanned.digest), scanned.thumbnail.tobytes(), scanned.grey
                )
                looked.append((scanned.path, known, seen))
            if len(looked) == TOLD:
                cache.files.remember(looked, scanner)
                looked.clear()
            if progress:
                progress(remembered + done, len(paths))
    cache.files.remember(looked, scanner)
    return [scanned for scanned in found if scanned]


def _recalled(path: str, seen: Seen) -> Scanned:
    thumbnail = np.frombuffer(seen.thumbnail, np.uint8).reshape(HASH_SIDE, HASH_SIDE + 1)
    return Scanned(path, seen.digest.hex(), thumbnail, seen.grey)
