"""The table beside a shard: where in the tar each image lies, and its label.

    train-000000.npy   a NumPy array of offset, length, label and name of each image of train-000000.tar

With it the images of a tar can be asked for where the tar itself is far away, without reading it first.
"""

import hashlib
import io

import numpy as np

from inceptive.data.shards.index import Shard
from inceptive.data.shards.member import place_type
from inceptive.errors import InceptiveError

COLUMNS = ("offset", "length", "label", "name")
LONGEST = 4096
"""Bytes of the name of a member: more than tars are read for here."""


def table_name(tar: str) -> str:
    return tar.removesuffix(".tar") + ".npy"


def as_table(places: np.ndarray, labels: np.ndarray) -> bytes:
    """The table's file for `places` (N,), see `member`, and labels (N,)."""
    kinds = [(name, places.dtype[name]) for name in ("offset", "length", "name")]
    kinds.insert(2, ("label", np.dtype(np.int64)))
    rows = np.empty(len(places), kinds)
    for name in ("offset", "length", "name"):
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
        for name in ("offset", "length", "name"):
            places[name] = rows[name]
        labels = rows["label"].astype(np.int64)
        counts = np.bincount(labels, minlength=len(shard.counts)).tolist()
        ends = places["offset"] + places["length"]
        inside = bool((places["offset"] >= 0).all() and (ends <= shard.bytes).all())
    except (ValueError, KeyError, TypeError, IndexError, MemoryError) as error:
        raise InceptiveError(f"{shown}: is no table of a shard ({error})") from None
    if counts != shard.counts or not inside or not bool((places["length"] > 0).all()):
        raise InceptiveError(f"{shown}: is not the table of the shard that the index tells of")
    return places, labels
