"""inceptive shards: a labelled dataset as tar shards."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from inceptive.cli.net_argument import StrictOption
from inceptive.cli.progress import Display
from inceptive.cli.tables import answer
from inceptive.errors import InceptiveError

NAME = "shards"


def run(
    data: Annotated[
        str,
        Argument(
            metavar="DATA",
            help="a folder of class folders, a built-in dataset, or shards to re-shard",
        ),
    ],
    out: Annotated[Path, Option(help="the folder to write")],
    split: Annotated[
        Literal["all", "train", "val", "test"], Option(help="the split to write")
    ] = "all",
    size: Annotated[float, Option(help="approximate MiB per shard", min=0.001)] = 256.0,
    count: Annotated[int, Option(help="images per shard, instead of --size", min=0)] = 0,
    seed: Annotated[int, Option(help="random seed for the order of training images", min=0)] = 0,
    strict: StrictOption = False,
) -> None:
    """Write DATA as tar shards (webdataset), split as in `train`.

    For datasets of many small files, and for streaming: `train`, `evaluate` and all other commands
    accept the folder as DATA. Rerun an interrupted command to resume it.
    """
    from inceptive.data.open import open_data_for
    from inceptive.data.shards.writing import Cut, refuse_to_overwrite, write_shards
    from inceptive.data.source import SPLITS

    refuse_to_overwrite(out)
    with Display() as display:
        labelled = open_data_for(data, {}, strict, display)
        if split != "all":
            labelled.split(split)  # says which there are, if not this one
        if any(samples.soft is not None for samples in labelled.splits.values()):
            display.say("note: the experts' doubt is not in the shards, only the label")
        cut = Cut(count, 0) if count else Cut(0, int(size * 2**20))
        splits = SPLITS if split == "all" else (split,)
        try:
            index = write_shards(labelled, out, splits, cut, seed, display)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("stopped; the same command goes on") from None
        for name, shards in index.splits.items():
            images, mib = sum(s.images for s in shards), sum(s.bytes for s in shards) / 2**20
            display.say(f"{name}: {images} images in {len(shards)} shards, {mib:.1f} MiB")
        if not index.splits:
            raise InceptiveError(f"{data}: holds no images")
    answer(str(out))
