"""Open what a user passes as DATA as labelled images."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from inceptive.arguments import Allowed, checked
from inceptive.data.builtin import BUILTIN, divided
from inceptive.data.folder import build_splits, read_folder
from inceptive.data.scan import scan_all
from inceptive.data.shards.reading import is_shards, read_shards
from inceptive.data.shards.remote import read_remote
from inceptive.data.source import ArrayImages, Data, Samples, SplitFractions
from inceptive.errors import InceptiveError, printable, reason
from inceptive.io import store as storage
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Advance, Progress, Silent

Arrays = Annotated[
    tuple[
        np.ndarray | Sequence[str | os.PathLike[str]],
        np.ndarray | Sequence[int] | Sequence[str],
        Sequence[str],
    ],
    Allowed("(images, labels, classes)", lambda _: True),
]
"""Images, the number or name of each one's class, and the classes' names."""


@checked
def open_data(
    data: str | os.PathLike[str] | Arrays | Data,
    shares: SplitFractions = SplitFractions(),
    strict: bool = False,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Data:
    """Open a labelled dataset with its splits from one of:

    - the path of a folder of class folders or tar shards; a shard URI; or the name of a built-in
      dataset, with its option ("solar:grades"). A folder of that name takes precedence.
    - (images, labels, classes): uint8 arrays (N, H, W) or (N, H, W, 3), or N image file paths;
      N indices of classes from 0, or names of them; and the class names.
    - a Data, which is returned as is.

    A dataset without splits is split: `shares` of it go to validation and test, by the content of each
    image. With `strict`, an unreadable file is an error. Raises InceptiveError, naming the problem, if
    there is no such dataset.

    >>> pixels, labels = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2
    >>> inceptive.open_data((pixels, labels, ("even", "odd"))).classes
    ('even', 'odd')
    """
    if isinstance(data, Data):
        return data
    advance = partial((progress or Silent()).advance, "looking at images")
    if isinstance(data, tuple):
        return _from_arrays(data, shares, advance)
    name = storage.local(os.fspath(data))
    if storage.is_uri(name):
        return read_remote(name, advance)
    title = printable(name)
    try:
        path = expand(name)
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError) as error:  # no such user's home, too long a name
        raise InceptiveError(f"{title}: {reason(error)}") from None
    if is_folder:
        if is_shards(path):
            return read_shards(path, shares, strict, advance)
        return read_folder(path, shares, strict, advance)
    builtin, _, option = name.partition(":")
    if builtin in BUILTIN:
        return BUILTIN[builtin](option, shares, advance)
    names = ", ".join(BUILTIN)
    if exists:
        raise InceptiveError(
            f"{title}: is a file; expected a folder of class folders (for a list of labels, the folder "
            f"that it lies in), or {names}"
        )
    raise InceptiveError(f"{title}: there is no such folder, nor a built-in set; those are {names}")


def _from_arrays(data: Arrays, shares: SplitFractions, advance: Advance) -> Data:
    """The set of (images, labels, classes), divided."""
    images, labels, classes = data[0], np.asarray(data[1]), tuple(map(str, data[2]))
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise InceptiveError("classes are two names or more, each once")
    if labels.dtype.kind in "UO" and all(isinstance(label, str) for label in labels.flat):
        if unknown := sorted(set(labels.flat).difference(classes)):
            raise InceptiveError(
                f"labels are names of classes ({', '.join(classes[:5])}"
                f"{', ...' if len(classes) > 5 else ''}); {str(unknown[0])!r} is none"
            )
        labels = np.vectorize(classes.index, otypes=[np.int64])(labels)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or not len(labels):
        raise InceptiveError(
            f"labels are one whole number, or name of a class, for each of {len(images)} images, "
            f"not {labels.dtype} {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise InceptiveError(
            f"labels are 0 to {len(classes) - 1}, one for each of {len(classes)} classes; "
            f"found {labels.min()} to {labels.max()}"
        )
    labels = labels.astype(np.int64)
    if isinstance(images, np.ndarray) and images.dtype.kind != "U":
        rgb = images.ndim == 4 and images.shape[3] == 3
        if images.dtype != np.uint8 or not (images.ndim == 3 or rgb) or not images.size:
            raise InceptiveError(
                f"images are uint8 (N, H, W) or (N, H, W, 3), not {images.dtype} {images.shape}"
            )
        splits = divided(Samples(ArrayImages(images, "arrays"), labels), shares)
        return Data("arrays", classes, splits, 3 if rgb else 1, divided=True)
    scanned = scan_all([os.fspath(path) for path in images], advance)
    if errors := [image.error for image in scanned if image.error]:
        raise InceptiveError(f"{len(errors)} files cannot be read, the first: {errors[0]}")
    splits, depth, notes = build_splits(scanned, labels, shares, "paths", classes, advance=advance)
    channels = 1 if all(image.grey for image in scanned) else 3
    return Data("paths", classes, splits, channels, notes=tuple(notes), divided=True, depth=depth)


def open_data_for(
    data: str | Path | Data,
    record: Mapping[str, Any],
    strict: bool = False,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Data:
    """Open the dataset `data`, split as in `record`, a model's record of its data.

    Oddities of the dataset, and each file left out, are reported to `progress`. Raises InceptiveError
    as `open_data` does.
    """
    if isinstance(data, Data):
        return data
    progress = progress or Silent()
    shares = SplitFractions.from_dict(record.get("shares") or {})
    opened = open_data(data, shares, strict, progress)
    say_notes(opened, progress)
    return opened


def say_notes(data: Data, progress: Progress) -> None:
    """Report everything odd about the data, and every file left out."""
    for note in data.notes:
        progress.say(f"note: {note}")
    for error in data.unreadable:
        progress.say(f"left out: {error}")
