"""A folder of tar shards as a labelled set, with or without an index.json.

With one written by `inceptive shards`, nothing is decoded: every shard is read once, to check its hash
and counts against the index. Without it, every image is decoded once, as in a folder; classes are named
after their numbers, or as in classes.txt next to the shards, and a shard's name gives its split.
"""

import os
import re
import threading
from collections.abc import Sequence
from contextlib import closing
from itertools import compress
from pathlib import Path

import numpy as np

from inceptive.data.cache import log_once
from inceptive.data.depth import depth_of
from inceptive.data.folder import assign_splits, missing_classes
from inceptive.data.labels import SPLIT_FOLDERS
from inceptive.data.layout import hidden
from inceptive.data.prefetch import prefetch
from inceptive.data.shards.index import INDEX, Index, Shard, read_index
from inceptive.data.shards.member import Tar, TarImages, at_path, place_type
from inceptive.data.shards.scan import TarContents, read_tar, recall
from inceptive.data.source import SPLITS, Data, Samples, SplitFractions
from inceptive.errors import InceptiveError, printable, readable, reason
from inceptive.images import SUFFIXES
from inceptive.io.cores import cores
from inceptive.io.progress import Advance

CLASSES = "classes.txt"
MOST_CLASSES = 100_000


def is_shards(root: Path) -> bool:
    """Whether the folder `root` holds shards: tars or an index.json, no folders, and no images that are
    listed beside them, such as those unpacked from a tar."""
    try:
        inside = [path for path in root.iterdir() if not hidden(path.name)]
        kinds = {path.suffix.lower() for path in inside}
        tars, index = ".tar" in kinds, any(path.name == INDEX for path in inside)
        listed = bool(kinds & SUFFIXES) and bool(kinds & {".csv", ".tsv"} or not tars)
        return (tars or index) and not listed and not any(path.is_dir() for path in inside)
    except OSError:
        return False  # whoever reads it as a folder says why


def read_shards(
    root: Path, shares: SplitFractions, strict: bool = False, advance: Advance | None = None
) -> Data:
    """Read the labelled images in the shards in `root`, split as in their index or their names.

    Raises InceptiveError, naming the shard, if one is missing, damaged or not as in the index, or if
    there are fewer than two classes; with `strict`, also if an image cannot be read.
    """
    if (root / INDEX).exists():
        return _indexed(root, read_index(root / INDEX), advance)
    return _scanned(root, shares, strict, advance)


def _indexed(root: Path, index: Index, advance: Advance | None) -> Data:
    shards = [shard for split in SPLITS for shard in index.splits.get(split, [])]
    tars = [_local_tar(root, shard) for shard in shards]
    contents = _read_all(tars, False, advance)
    for shard, tar, content in zip(shards, tars, contents, strict=True):
        if difference := _difference(shard, content):
            raise InceptiveError(f"{printable(tar.path)}: {difference}; {_MEND}")
    return from_index(str(root), index, tars, [(c.places, c.labels) for c in contents])


def from_index(
    name: str, index: Index, tars: Sequence[Tar], tables: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Data:
    """The set that `index` tells of: its `tars`, split by split, and the places and labels in each."""
    places, labels = [table[0] for table in tables], [table[1] for table in tables]
    names = [split for split in SPLITS for _ in index.splits.get(split, [])]
    split = np.repeat(names, [len(array) for array in labels])
    splits, classes = by_split(tars, *concat(places, labels), split), tuple(index.classes)
    notes = tuple(missing_classes(classes, splits))
    return Data(name, classes, splits, index.channels, index.licence, notes, depth=index.depth)


_MEND = f"fetch it again, or write the shards anew (without {INDEX} they are taken as they are)"


def _local_tar(root: Path, shard: Shard) -> Tar:
    """The shard's file, if it is there and as long as the index says."""
    path = root / shard.file
    try:
        tar = at_path(str(path))
    except OSError as error:
        raise InceptiveError(
            f"{printable(path)}: is in {INDEX} and cannot be read ({reason(error)})"
        ) from None
    if tar.size != shard.bytes:
        raise InceptiveError(
            f"{printable(path)}: has {tar.size} bytes, not {shard.bytes} as {INDEX} says; {_MEND}"
        )
    return tar


def _difference(shard: Shard, content: TarContents) -> str:
    """What in a tar is not as the index says, or ""."""
    if content.sha256 != shard.sha256:
        return f"its SHA-256 is not that in {INDEX}"
    if len(content.labels) != shard.images:
        return f"has {len(content.labels)} labelled images, not {shard.images} as {INDEX} says"
    counts = np.bincount(content.labels, minlength=len(shard.counts)).tolist()
    return "" if counts == shard.counts else f"its classes are not counted as in {INDEX}"


def _scanned(root: Path, shares: SplitFractions, strict: bool, advance: Advance | None) -> Data:
    paths = sorted(path for path in root.glob("*.tar") if not hidden(path.name))
    try:
        tars = [at_path(str(path)) for path in paths]
    except OSError as error:
        raise InceptiveError(
            f"{printable(error.filename)}: cannot be read ({reason(error)})"
        ) from None
    contents = _read_all(tars, True, advance)
    unreadable = tuple(str(error) for content in contents for error in content.errors)
    if unreadable and strict:
        raise InceptiveError(f"{len(unreadable)} images cannot be read, the first: {unreadable[0]}")
    places, labels = concat([c.places for c in contents], [c.labels for c in contents])
    if not len(labels):
        why = f"; the first reason: {unreadable[0]}" if unreadable else ""
        raise InceptiveError(
            f"{printable(root)}: its tars hold no images KEY.jpg with a label KEY.cls{why}"
        )
    classes = _classes(root, labels)
    images = [image for k, tar in enumerate(tars) for image in contents[k].scanned(tar)]
    named = np.repeat([split_of(path.name) for path in paths], [len(c.labels) for c in contents])
    split, groups, notes = assign_splits(images, labels, shares, classes, named.tolist(), advance)
    pixels = np.array([image.pixels for image in images], np.uint64)
    splits = by_split(tars, places, labels, split, pixels, groups)
    channels = 1 if all(image.grey for image in images) else 3
    notes = _unmixed(contents) + notes + missing_classes(classes, splits)
    divided = not (named != "").any()
    depth = depth_of(compress(images, split == "train"))
    return Data(str(root), classes, splits, channels, "", tuple(notes), unreadable, divided, depth)


def split_of(name: str) -> str:
    """The split in a tar's name: imagenet-val-0003.tar is "val"; "" if there is none."""
    words = re.findall("[a-z]+", name.lower())
    return next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), "")


def _classes(root: Path, labels: np.ndarray) -> tuple[str, ...]:
    """The names in classes.txt, one a line, else the numbers from 0 to the largest label."""
    count, path = int(labels.max()) + 1, root / CLASSES
    if path.exists():
        with readable(path, ValueError):
            names = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
        if len(names) < count or len(set(names)) < len(names):
            raise InceptiveError(
                f"{printable(path)}: must name {count} classes or more, one a line, each once"
            )
        return tuple(names)
    if count > MOST_CLASSES:
        raise InceptiveError(
            f"{printable(root)}: has a label {count - 1}; labels are 0 to {MOST_CLASSES - 1}"
        )
    if count < 2:
        raise InceptiveError(f"{printable(root)}: needs two classes or more; every label is 0")
    return tuple(map(str, range(count)))


def _unmixed(contents: Sequence[TarContents]) -> list[str]:
    """A note if most shards hold a single class: what is read together is then all alike."""
    single = sum(len(set(content.labels.tolist())) == 1 for content in contents)
    if len(contents) > 1 and single > len(contents) / 2:
        return [
            f"{single} of {len(contents)} shards hold one class each; training that streams mixes "
            "too little of them: write them anew with `inceptive shards`"
        ]
    return []


def _read_all(tars: Sequence[Tar], decoding: bool, advance: Advance | None) -> list[TarContents]:
    """What lies in each tar, kept or read, several at a time; `advance` is called with bytes."""
    cached = [recall(tar, decoding) for tar in tars]
    new = [tar for tar, contents in zip(tars, cached, strict=True) if contents is None]
    if not new:
        return [contents for contents in cached if contents]
    doing = (
        f"scanning {len(new)} tars" if decoding else f"holding {len(new)} shards against {INDEX}"
    )
    log_once(f"{printable(os.path.dirname(new[0].path))}: {doing}, once")
    total, done, lock = sum(tar.size for tar in new), 0, threading.Lock()

    def count_bytes(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            if advance and count:
                advance(min(done, total - 1), total)

    with closing(
        prefetch(lambda tar: read_tar(tar, decoding, count_bytes), new, cores())
    ) as results:
        read = iter(list(results))
    if advance:
        advance(total, total)
    return [contents or next(read) for contents in cached]


def concat(
    places: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate the places (N,) and labels (N,) of all tars, each place with its tar's number."""
    longest = max((table.dtype["name"].itemsize for table in places), default=1)
    every = np.concatenate([table.astype(place_type(longest)) for table in places])
    every["tar"] = np.repeat(np.arange(len(labels)), [len(array) for array in labels])
    return every, np.concatenate(labels)


def by_split(
    tars: Sequence[Tar],
    places: np.ndarray,
    labels: np.ndarray,
    split: np.ndarray,
    pixels: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> dict[str, Samples]:
    """The samples of each split; split (N,) names each image's split, pixels (N,) are digests, and
    groups as in `Samples`."""
    if pixels is None:
        pixels = np.zeros(len(labels), np.uint64)
    samples = Samples(TarImages(places, tuple(tars), pixels), labels, groups=groups)
    return {name: samples.take(split == name) for name in SPLITS if (split == name).any()}
