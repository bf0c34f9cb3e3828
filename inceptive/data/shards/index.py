"""The index next to a set's tars, so that their content is known without reading them.

    index.json         the classes, and the shards of each split
    train-000000.npy   a NumPy array of offset, length, name and label of each image of train-000000.tar

With its table, single images of a remote tar can be requested.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Annotated, Any, Literal
from zipfile import BadZipFile

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from inceptive.data.shards.member import place_type
from inceptive.data.shards.scan import LARGEST
from inceptive.data.source import SPLITS, SampleDepth
from inceptive.errors import InceptiveError, printable, readable

INDEX = "index.json"
PLACE = ("offset", "length", "name")
LONGEST = 4096
"""Bytes of the name of a member: more than tars are read for here."""
Count = Annotated[int, Field(ge=0)]


class Shard(BaseModel):
    """One tar: its name in the folder, images, bytes, images per class, SHA-256.

    members is the SHA-256 of its table; "" where there is none.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    file: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.tar$")
    images: Annotated[int, Field(gt=0)]
    bytes: Annotated[int, Field(gt=0)]
    counts: list[Count]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    members: str = Field("", pattern=r"^([0-9a-f]{64})?$")


class Index(BaseModel):
    """A set of shards: label k means classes[k]; the shards of each split."""

    model_config = ConfigDict(strict=True, frozen=True)

    name: str
    classes: list[str]
    licence: str = ""
    channels: Literal[1, 3] = 3
    seed: int = 0
    inceptive: str = ""  # the version that wrote it
    depth: SampleDepth | None = None  # of its training pictures
    splits: dict[str, list[Shard]]

    @field_validator("depth", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        """JSON has no tuples."""
        return TypeAdapter(SampleDepth).validate_python(value) if isinstance(value, dict) else value


def read_index(path: Path) -> Index:
    """Read the index at `path`. Raises InceptiveError, naming the first error in it."""
    with readable(path):
        content = path.read_bytes()
    return as_index(content, printable(path))


def as_index(content: bytes, title: str) -> Index:
    """Parse the index in a file, which is called `title` in errors: see `read_index`."""
    try:
        index = Index.model_validate(json.loads(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise InceptiveError(
            f"{title}: is no index of shards ({printable(where)}: {first['msg']})"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InceptiveError(f"{title}: is no JSON ({error})") from None
    if problem := _problem(index):
        raise InceptiveError(f"{title}: {problem}")
    return index


def _problem(index: Index) -> str:
    shards = [shard for split in index.splits.values() for shard in split]
    files = [shard.file for shard in shards]
    if len(index.classes) < 2 or len(set(index.classes)) < len(index.classes):
        return "needs two classes or more, each named once"
    if others := [split for split in index.splits if split not in SPLITS]:
        return f"has a split {printable(others[0])}; there are {', '.join(SPLITS)}"
    if twice := sorted({file for file in files if files.count(file) > 1}):
        return f"names {twice[0]} twice"
    for shard in shards:
        if len(shard.counts) != len(index.classes) or sum(shard.counts) != shard.images:
            return f"the counts of {shard.file} are not those of its images"
    return "" if shards else "names no shards"


def table_name(tar: str) -> str:
    return tar.removesuffix(".tar") + ".npy"


def as_table(places: np.ndarray, labels: np.ndarray) -> bytes:
    """Make the table file for `places` (N,), see `member`, and labels (N,)."""
    kinds = [(name, places.dtype[name]) for name in PLACE]
    rows = np.empty(len(places), [*kinds, ("label", np.dtype(np.int64))])
    for name in PLACE:
        rows[name] = places[name]
    rows["label"] = labels
    content = io.BytesIO()
    np.save(content, rows, allow_pickle=False)
    return content.getvalue()


def most_bytes(shard: Shard) -> int:
    """Maximum size of the table of such a shard."""
    return 4096 + shard.images * (24 + LONGEST)


def read_table(content: bytes, shard: Shard, title: str) -> tuple[np.ndarray, np.ndarray]:
    """Read places (N,) and labels (N,) of the shard's images from its table file.

    Raises InceptiveError, calling the file `title`, if it is not the one in the index.
    """
    if hashlib.sha256(content).hexdigest() != shard.members:
        raise InceptiveError(
            f"{title}: its SHA-256 is not that in the index; write the shards anew"
        )
    try:
        rows = np.load(io.BytesIO(content), allow_pickle=False)
        places = np.empty(len(rows), place_type(rows.dtype["name"].itemsize))
        places["tar"] = 0
        for name in PLACE:
            places[name] = rows[name]
        labels = rows["label"].astype(np.int64)
        if labels.size and labels.max() >= len(shard.counts):
            raise ValueError("a label beyond its classes")
        counts = np.bincount(labels, minlength=len(shard.counts)).tolist()
        first, length = places["offset"], places["length"]
        inside = (first >= 0) & (first <= shard.bytes - length) & (length > 0) & (length <= LARGEST)
    except (
        ValueError, KeyError, TypeError, IndexError, MemoryError, AttributeError, EOFError, BadZipFile,
    ) as error:  # fmt: skip
        raise InceptiveError(f"{title}: is no table of a shard ({error})") from None
    if counts != shard.counts or not inside.all():
        raise InceptiveError(f"{title}: is not the table of the shard that the index tells of")
    return places, labels
