"""The table beside a shard: where in the tar each image lies, and its label.

    train-000000.npy   a NumPy array of offset, length, name and label of each image of train-000000.tar

With it the images of a tar can be asked for where the tar itself is far away, without reading it first.
"""

import hashlib
import io

import numpy as np

from inceptive.data.shards.index import Shard
from inceptive.data.shards.member import place_type
from inceptive.data.shards.scan import LARGEST
from inceptive.errors import InceptiveError

PLACE = ("offset", "length", "name")
LONGEST = 4096
"""Bytes of the name of a member: more than tars are read for here."""


def table_name(tar: str) -> str:
    return tar.removesuffix(".tar") + ".npy"


def as_table(places: np.ndarray, labels: np.ndarray) -> bytes:
    """The table's file for `places` (N,), see `member`, and labels (N,)."""
    kinds = [(name, places.dtype[name]) for name in PLACE]
    rows = np.empty(len(places), [*kinds, ("label", np.dtype(np.int64))])
    for name in PLACE:
        rows[name] = places[name]
    rows["label"] = labels
    content = io.BytesIO()
    np.save(content, rows, allow_pickle=False)
    return content.getvalue()


def most_bytes(shard: Shard) -> int:
    """What the table of such a shard has at most."""
    return 4096 + shard.images * (24 + LONGEST)


def read_table(content: bytes, shard: Shard, shown: str) -> tuple[np.ndarray, np.ndarray]:
    """Places (N,) and labels (N,) of the shard's images, out of its table's file.

    Raises InceptiveError, calling the file `shown`, if it is not the one that the index speaks of.
    """
    if hashlib.sha256(content).hexdigest() != shard.members:
        raise InceptiveError(
            f"{shown}: its SHA-256 is not that in the index; write the shards anew"
        )
    try:
        rows = np.load(io.BytesIO(content), allow_pickle=False)
        places = np.empty(len(rows), place_type(rows.dtype["name"].itemsize))
        places["tar"] = 0
        for name in PLACE:
            places[name] = rows[name]
        labels = rows["label"].astype(np.int64)
        counts = np.bincount(labels, minlength=len(shard.counts)).tolist()
        first, length = places["offset"], places["length"]
        inside = (first >= 0) & (first <= shard.bytes - length) & (length > 0) & (length <= LARGEST)
    except (ValueError, KeyError, TypeError, IndexError, MemoryError) as error:
        raise InceptiveError(f"{shown}: is no table of a shard ({error})") from None
    if counts != shard.counts or not inside.all():
        raise InceptiveError(f"{shown}: is not the table of the shard that the index tells of")
    return places, labels
