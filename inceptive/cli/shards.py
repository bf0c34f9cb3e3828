"""inceptive shards: a labelled set as tar shards."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

NAME = "shards"


class Split(StrEnum):
    all = "all"
    train = "train"
    val = "val"
    test = "test"


def run(
    data: Annotated[
        str, Argument(help="a folder of class folders, a built-in set, or shards to be cut anew")
    ],
    out: Annotated[Path, Option(help="the folder to write")],
    split: Annotated[Split, Option(help="the images to write")] = Split.all,
    size: Annotated[float, Option(help="MiB that a shard holds, about", min=0.001)] = 256.0,
    count: Annotated[int, Option(help="images that a shard holds, instead of --size", min=0)] = 0,
    seed: Annotated[int, Option(help="of the order of the training images", min=0)] = 0,
    strict: Annotated[bool, Option("--strict", help="stop if any image cannot be read")] = False,
) -> None:
    """Write DATA as tar shards (webdataset), divided as `train` divides it.

    For sets of many small files, and those that are to be streamed: `train`, `evaluate` and all
    others take the folder as DATA. A run that was stopped is run again to go on.
    """
    from inceptive.cli.sharding import Request, shard

    shard(Request(data, out, split.value, size, count, seed, strict))
