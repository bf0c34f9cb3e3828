"""inceptive shards: a labelled set as tar shards."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

NAME = "shards"


def run(
    data: Annotated[
        str,
        Argument(
            metavar="DATA",
            help="a folder of class folders, a built-in set, or shards to be cut anew",
        ),
    ],
    out: Annotated[Path, Option(help="the folder to write")],
    split: Annotated[
        Literal["all", "train", "val", "test"], Option(help="the images to write")
    ] = "all",
    size: Annotated[float, Option(help="MiB that a shard holds, about", min=0.001)] = 256.0,
    count: Annotated[int, Option(help="images that a shard holds, instead of --size", min=0)] = 0,
    seed: Annotated[int, Option(help="of the order of the training images", min=0)] = 0,
    strict: Annotated[bool, Option("--strict", help="stop if any image cannot be read")] = False,
) -> None:
    """Write DATA as tar shards (webdataset), divided as in `train`.

    For sets of many small files, and those that are to be streamed: `train`, `evaluate` and all
    others take the folder as DATA. A run that was stopped is run again to go on.
    """
    from contextlib import closing

    from inceptive.cli.progress import Display
    from inceptive.cli.tables import answer
    from inceptive.data.open import open_data_for
    from inceptive.data.shards.writing import Cut, refuse_to_overwrite, write_shards
    from inceptive.data.source import SPLITS
    from inceptive.errors import InceptiveError

    refuse_to_overwrite(out)
    with closing(Display()) as display:
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
