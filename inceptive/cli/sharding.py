"""What `inceptive shards` does once it is asked for."""

from dataclasses import dataclass
from pathlib import Path

from inceptive.cli.progress import Display
from inceptive.data.open import open_data_for
from inceptive.data.shards.writing import Cut, refuse_to_overwrite, write_shards
from inceptive.data.source import SPLITS
from inceptive.errors import InceptiveError


@dataclass(frozen=True)
class Request:
    data: str
    out: Path
    split: str
    size: float
    count: int
    seed: int
    strict: bool


def shard(request: Request) -> None:
    """Write the shards, say what was left out, and print the folder."""
    refuse_to_overwrite(request.out)
    display = Display()
    data = open_data_for(request.data, {}, request.strict, display)
    splits = SPLITS if request.split == "all" else (request.split,)
    if request.split != "all":
        data.split(request.split)  # says which there are, if not this one
    if any(samples.soft is not None for samples in data.splits.values()):
        display.say("note: the experts' doubt is not in the shards, only the label")
    cut = Cut(request.count, 0) if request.count else Cut(0, int(request.size * 2**20))
    try:
        index = write_shards(data, request.out, splits, cut, request.seed, display.load)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same command goes on") from None
    finally:
        display.close()
    for name, shards in index["splits"].items():
        images, size = sum(one["images"] for one in shards), sum(one["bytes"] for one in shards)
        display.say(f"{name}: {images} images in {len(shards)} shards, {size / 2**20:.1f} MiB")
    if not index["splits"]:
        raise InceptiveError(f"{request.data}: holds no images")
    print(request.out)
