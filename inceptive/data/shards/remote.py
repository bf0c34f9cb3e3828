"""Shards in a store or on a web server, as a labelled set: nothing of it is stored locally.

At the start, index.json, the table of each shard (see `index`; cached for the user) and the size of each
tar are read. The parts of the tars that hold images are requested when needed.
"""

import contextlib
from dataclasses import dataclass
from typing import IO, cast

import numpy as np

from inceptive.data.cache import log_once
from inceptive.data.prefetch import prefetch
from inceptive.data.shards.index import INDEX, Shard, as_index, most_bytes, read_table, table_name
from inceptive.data.shards.member import Tar
from inceptive.data.shards.reading import from_index
from inceptive.data.source import SPLITS, Data
from inceptive.errors import InceptiveError, printable
from inceptive.io import store as storage
from inceptive.io.atomic import write_bytes
from inceptive.io.paths import cache_folder
from inceptive.io.progress import Advance

ASKED = 16
"""Shards that are asked for at a time, at the start."""
LARGEST_INDEX = 2**28


@dataclass(frozen=True)
class RemoteTar(Tar):
    """A tar at `uri`; path is the same without possible secrets."""

    uri: str = ""

    def open(self, ahead: int = 0) -> IO[bytes]:
        return cast(IO[bytes], storage.Reader(self.uri, self.size, ahead, log_once))


def read_remote(uri: str, advance: Advance | None = None) -> Data:
    """Open the labelled images in the shards at `uri`, split as in their index.

    Raises InceptiveError, naming the file, if it is unavailable or not as in the index, or if the index
    has no tables.
    """
    path = storage.join(uri, INDEX)
    title = printable(storage.redact(path))
    index = as_index(storage.read(path, LARGEST_INDEX), title)
    shards = [shard for split in SPLITS for shard in index.splits.get(split, [])]
    if any(not shard.members for shard in shards):
        raise InceptiveError(
            f"{title}: has no tables of what lies where in its tars; write the shards anew, or fetch "
            "them to a disk"
        )
    tars, tables = [], []
    with contextlib.closing(prefetch(lambda shard: _opened(uri, shard), shards, ASKED)) as opened:
        for tar, table in opened:
            tars.append(tar)
            tables.append(table)
            if advance:
                advance(len(tars), len(shards))
    return from_index(storage.redact(uri), index, tars, tables)


def _opened(uri: str, shard: Shard) -> tuple[RemoteTar, tuple[np.ndarray, np.ndarray]]:
    """The shard's tar, with the places and labels of its images."""
    path = storage.join(uri, shard.file)
    title = storage.redact(path)
    size = storage.stat(path).size
    if size != shard.bytes:
        difference = "is in the index and not there" if size < 0 else f"has {size} bytes"
        raise InceptiveError(
            f"{printable(title)}: {difference}; the index says {shard.bytes} bytes"
        )
    return RemoteTar(title, size, 0, path), _table(uri, shard)


def _table(uri: str, shard: Shard) -> tuple[np.ndarray, np.ndarray]:
    """The shard's table, as it is kept here, or from beside it."""
    cached = cache_folder() / "shards" / f"{shard.members}.npy"
    with contextlib.suppress(InceptiveError, OSError):
        return read_table(cached.read_bytes(), shard, "")
    path = storage.join(uri, table_name(shard.file))
    content = storage.read(path, most_bytes(shard))
    table = read_table(content, shard, printable(storage.redact(path)))
    with contextlib.suppress(InceptiveError):  # then it is fetched each time
        write_bytes(cached, content)
    return table
