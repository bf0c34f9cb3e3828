"""index.json: what a set of shards holds, so that nothing need be read to know it."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inceptive.data.source import SPLITS
from inceptive.errors import InceptiveError, reason
from inceptive.images import printable

INDEX = "index.json"
Count = Annotated[int, Field(ge=0)]


class Shard(BaseModel):
    """One tar: its name in the folder, images, bytes, images of each class, SHA-256.

    members is the SHA-256 of the table beside it that says where its images lie, see `table`; "" where
    there is none.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    file: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.tar$")
    images: Annotated[int, Field(gt=0)]
    bytes: Annotated[int, Field(gt=0)]
    counts: list[Count]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    members: str = Field("", pattern=r"^([0-9a-f]{64})?$")


class Index(BaseModel):
    """A set of shards: label k stands for classes[k]; the shards of each split."""

    model_config = ConfigDict(strict=True, frozen=True)

    name: str
    classes: list[str]
    licence: str = ""
    channels: Literal[1, 3] = 3
    splits: dict[str, list[Shard]]


def read_index(path: Path) -> Index:
    """The index at `path`. Raises InceptiveError, naming the first thing that is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InceptiveError(f"{printable(path)}: cannot be read ({reason(error)})") from None
    return as_index(content, printable(path))


def as_index(content: bytes, shown: str) -> Index:
    """The index that a file holds, which is called `shown` in the errors: see `read_index`."""
    try:
        index = Index.model_validate(json.loads(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise InceptiveError(
            f"{shown}: is no index of shards ({printable(where)}: {first['msg']})"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InceptiveError(f"{shown}: is no JSON ({error})") from None
    if problem := _problem(index):
        raise InceptiveError(f"{shown}: {problem}")
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
