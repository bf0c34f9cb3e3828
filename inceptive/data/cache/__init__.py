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

import os
from pathlib import Path

from inceptive.data.cache.files import Files
from inceptive.data.cache.index import Index
from inceptive.data.cache.pixels import GIB, Pixels
from inceptive.errors import InceptiveError
from inceptive.io.paths import cache_folder


class Cache:
    """The cache in `folder`; `limit` bytes of pixels at most, None for what `pixels.LIMIT` says.

    Threads may share it. Nothing is read or made before it is asked for something.
    """

    def __init__(self, folder: Path, limit: int | None = None):
        self.folder, self.limit = folder, limit
        index = Index(folder)
        self.files, self.pixels = Files(index), Pixels(index, limit)


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
