"""A folder of labelled images, in any layout (see `layout`), thoroughly checked.

Every file is decoded once before training: unreadable files are named, copies and near-copies are
found, and the content of each file decides which split it is in.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path

import numpy as np

from inceptive.data.copies import copies
from inceptive.data.depth import depth_of
from inceptive.data.layout import labelled_images
from inceptive.data.scan import ScannedImage, as_rows, picture_notes, scan_all
from inceptive.data.source import (
    SPLITS,
    Data,
    PathImages,
    SampleDepth,
    Samples,
    SplitFractions,
)
from inceptive.data.split import divide
from inceptive.errors import InceptiveError, printable
from inceptive.io.progress import Advance


def read_folder(
    root: Path, shares: SplitFractions, strict: bool = False, advance: Advance | None = None
) -> Data:
    """Read the labelled images under `root`, split into train, val and test.

    Classes are the folder names in sorted order, Unicode-normalised (NFC). Raises InceptiveError
    if there is no class with images, or a class to be evaluated has no training images; with
    `strict`, also if any file cannot be read.
    """
    listed, notes = labelled_images(root)
    scanned = scan_all([path for _, _, path in listed], advance)
    unreadable = tuple(image.error for image in scanned if image.error)
    if unreadable and strict:
        raise InceptiveError(
            f"{len(unreadable)} of {len(listed)} files cannot be read, the first: {unreadable[0]}"
        )
    read = [k for k, image in enumerate(scanned) if not image.error]
    images = [scanned[k] for k in read]
    names = [(split, name) for split, name, _ in listed]
    classes = _classes(root, names, [names[k] for k in read], notes)
    labels = np.array([classes.index(names[k][1]) for k in read], dtype=np.int64)
    given = [names[k][0] for k in read]
    splits, depth, more = build_splits(images, labels, shares, str(root), classes, given, advance)
    notes += more + missing_classes(classes, splits)
    channels = 1 if all(image.grey for image in images) else 3
    divided = not any(given)
    return Data(str(root), classes, splits, channels, "", tuple(notes), unreadable, divided, depth)


def _classes(
    root: Path, listed: list[tuple[str, str]], read: list[tuple[str, str]], notes: list[str]
) -> tuple[str, ...]:
    """The classes that can be learned: those with a readable image to train on.

    listed and read are the split and the class of each file, and of each that could be read.
    """
    trained = sorted({name for split, name in read if split in ("", "train")})
    judged = {name for split, name in read if split in ("val", "test")}
    if unknown := sorted(judged.difference(trained)):
        raise InceptiveError(
            f"{printable(root)}: {', '.join(map(printable, unknown))} can be tested but not learned: "
            "no such class with images in the train folder"
        )
    lost = sorted({name for split, name in listed if split in ("", "train")}.difference(trained))
    notes += [f"class {printable(name)} has no readable image and is left out" for name in lost]
    if not trained:
        raise InceptiveError(f"{printable(root)}: no image in its class folders can be read")
    notes += _alike(trained)
    return tuple(trained)


def _alike(classes: Iterable[str]) -> list[str]:
    """Notes on classes that may be one, written in several ways."""
    ways: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        plain = re.sub(r"(?<=\w)[ _-]+(?=\w)", " ", name.casefold().strip())
        ways[plain].append(f"'{printable(name)}'")
    return [
        f"{' and '.join(names)} differ in capitals, spaces or dashes only, and are learned as "
        f"{len(names)} classes"
        for names in ways.values()
        if len(names) > 1
    ]


def build_splits(
    images: list[ScannedImage],
    labels: np.ndarray,
    shares: SplitFractions,
    origin: str,
    classes: Sequence[str],
    splits: Sequence[str] | None = None,
    advance: Advance | None = None,
) -> tuple[dict[str, Samples], SampleDepth | None, list[str]]:
    """The samples of each split, `Data.depth`, and notes on copies; `splits` as for `assign_splits`."""
    split, groups, notes = assign_splits(images, labels, shares, classes, splits, advance)
    paths = PathImages.of([image.path for image in images], origin, as_rows(images)["file"])
    samples = Samples(paths, labels, groups=groups)
    parts = {name: samples.take(split == name) for name in SPLITS}
    return parts, depth_of(compress(images, split == "train")), notes


def assign_splits(
    images: list[ScannedImage],
    labels: np.ndarray,
    shares: SplitFractions,
    classes: Sequence[str],
    splits: Sequence[str] | None = None,
    advance: Advance | None = None,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The split of each image, (N,), the group of its copies, (N,), and notes on oddities and copies.

    It is as in `splits`, where they are not ""; missing splits are taken from the rest.
    """
    digests = np.array([image.pixels for image in images], np.uint64)
    thumbnails = np.stack([image.thumbnail for image in images])
    groups, compared = copies(digests, thumbnails, shares.copies == "together", advance)
    split = np.array(splits or [""] * len(images), dtype="<U5")
    lacking = SplitFractions(
        val=0.0 if "val" in split else shares.val,
        # A folder that has a validation part is used as it is; only an undivided one gives a test part.
        test=shares.test if (split == "").all() else 0.0,
    )
    index = np.flatnonzero((split == "") | (split == "train"))
    sides = 1 + (lacking.val > 0) + (lacking.test > 0)
    notes = _break_up(groups, digests, labels, classes, index, sides) if sides > 1 else []
    different = len(np.unique(digests))
    if compared < different:
        notes.append(
            f"so many images are much alike that near-copies were looked for among {compared:,} of "
            f"{different:,} only; of the others, those of equal pixels are kept on one side"
        )
    split[index] = divide(labels[index], digests[index], groups[index], lacking)
    notes = picture_notes(images) + _duplicates(groups, labels, split, images) + notes
    return split, groups, notes


MUCH, MOST, MANY = 0.25, 0.5, 20
"""Shares of a class that copies of one picture may be: more is said; more, of so many, not believed."""


def _break_up(
    groups: np.ndarray,
    digests: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    index: np.ndarray,
    sides: int,
) -> list[str]:
    """Take apart, in `groups` (N,), near-copies that are most of a class, or would leave a side of the
    split without it: the images at `index` are divided into `sides`. Returns a note on each, and on
    those that are much of a class."""
    notes = []
    _, first, same = np.unique(digests, return_index=True, return_inverse=True)
    equal = first[same]  # the groups of equal pixels alone
    for label in np.unique(labels[index]).tolist():
        of_class = index[labels[index] == label]
        name, total = printable(classes[label]), len(of_class)
        counts = Counter(groups[of_class].tolist())
        few = len(counts) < sides <= len(set(equal[of_class].tolist()))
        for group, count in counts.items():
            if count < 2:
                continue
            members = of_class[groups[of_class] == group]
            if len(set(equal[members].tolist())) < 2:
                continue
            alike = f"{count} of {total} images of {name} look like copies of one another"
            if few or (count > MOST * total and total >= MANY):
                groups[members] = equal[members]
                notes.append(
                    f"{alike}: too many to keep them on one side; they are divided as different images"
                )
            elif count > MUCH * total and total >= MANY:
                notes.append(
                    f'{alike} and are kept on one side; if they are not, set data.copies = "ignore"'
                )
    return notes


def _duplicates(
    groups: np.ndarray, labels: np.ndarray, split: np.ndarray, images: list[ScannedImage]
) -> list[str]:
    """Notes on copies: how many, under two labels, and across the sides that the folders gave."""
    notes: list[str] = []
    counts = Counter(groups.tolist())
    copies = [group for group, count in counts.items() if count > 1]
    if not copies:
        return notes
    extra = sum(counts[group] - 1 for group in copies)
    example = [printable(images[i].path) for i in np.flatnonzero(groups == copies[0])[:2]]
    notes.append(
        f"copies or near-copies of other images: {extra} (an undivided set keeps them on one side), "
        f"for example {example[0]} and {example[1]}"
    )
    for text, values in (("class", labels), ("side of the split", split)):
        kinds: dict[int, set[object]] = defaultdict(set)
        for group, value in zip(groups.tolist(), values.tolist(), strict=True):
            kinds[group].add(value)
        crossing = [group for group in copies if len(kinds[group]) > 1]
        if crossing:
            i = np.flatnonzero(groups == crossing[0])
            names = [printable(images[k].path) for k in (i[0], i[values[i] != values[i[0]]][0])]
            notes.append(
                f"groups of copies in more than one {text}: {len(crossing)}, "
                f"for example {names[0]} and {names[1]}"
            )
    return notes


def missing_classes(classes: tuple[str, ...], splits: dict[str, Samples]) -> list[str]:
    """Notes on classes missing from a split."""
    notes = []
    for name, samples in splits.items():
        missing = [classes[k] for k in range(len(classes)) if not (samples.labels == k).any()]
        if len(samples) and missing:
            notes.append(f"no image of {', '.join(map(printable, missing))} in {name}")
    return notes
