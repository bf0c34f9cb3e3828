"""A folder of class folders, read with suspicion.

    photos/cat/1.jpg            or      photos/train/cat/1.jpg   photos/val/...   photos/test/...
    photos/dog/old/2.jpg                (only `train` is required; what lacks is taken out of it)

Every file is decoded once before anything is trained on: what cannot be read is named, copies and
near-copies are found, and the content of each file decides on which side of the split it lands.
"""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from pathlib import Path

import numpy as np

from inceptive.data.copies import copies
from inceptive.data.depth import depth_of
from inceptive.data.labels import read_lists
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
from inceptive.errors import InceptiveError, reason
from inceptive.images import SUFFIXES, printable
from inceptive.io.paths import as_text
from inceptive.io.progress import Advance

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
SPLIT_WORD = re.compile(rf"({'|'.join(SPLIT_FOLDERS)})(set|\d*)")
JUNK = frozenset((
    "thumbs.db", "desktop.ini", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin",
    "recycler", "lost+found", "system volume information",
))  # fmt: skip
"""What file systems, NAS and cameras put beside people's files, in lower case."""
OUTPUT = ".inceptive"
"""A file that marks a folder of pictures as written by this package."""


def read_folder(
    root: Path, shares: SplitFractions, strict: bool = False, advance: Advance | None = None
) -> Data:
    """The labelled images under `root`, divided into train, val and test.

    Classes are the folders' names in sorted order, Unicode-normalised (NFC). Raises InceptiveError
    if there is no class with images, or a class to be judged was never trained on; with
    `strict`, also if any file cannot be read.
    """
    notes: list[str] = []
    _note_junk(root, notes)
    junk = list(notes)
    parts = _split_folders(_walk_down(root), notes)
    listed = [
        (split, name, path)
        for split, folder in parts
        for name, paths in _class_folders(folder, notes, root)
        for path in paths
    ]
    if len({name for _, name, _ in listed}) < 2 and (labelled := _label_lists(root, parts)):
        listed, notes = labelled[0], junk + labelled[1]
    elif listed:
        listed = _inner_splits(parts, listed, notes)
    else:
        raise InceptiveError(
            f"{printable(root)}: holds no images in class folders; "
            "expected one folder for each class, with its photographs inside" + _flat(parts)
        )
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


def _folders(root: Path) -> list[Path]:
    try:
        inside = sorted(root.iterdir())
    except OSError as error:
        raise InceptiveError(f"{printable(root)}: cannot be read ({reason(error)})") from None
    return [path for path in inside if path.is_dir() and not _never_data(path)]


def _split_folders(root: Path, notes: list[str]) -> list[tuple[str, Path]]:
    """("train" | "val" | "test", folder) for each; ("", root) for a folder that is not divided."""
    folders = _folders(root)
    names = _split_names(folders)
    parts = [(names[folder], folder) for folder in folders if folder in names]
    others = [folder for folder in folders if folder not in names]
    trained = "train" in names.values()
    # Beside other folders, one called "train" is a class if photographs lie in it directly.
    if not parts or (others and (not trained or any(_loose(folder) for _, folder in parts))):
        return [("", root)]
    if not trained:
        present = ", ".join(folder.name for _, folder in parts)
        raise InceptiveError(f"{printable(root)}: has {present} but no train folder")
    for path in others:
        count = len(list_images(path, [root, *folders])[0])
        holding = f", with its {count} images" * (count > 0)
        notes.append(f"{printable(path)} lies beside the train folder and is left out{holding}")
    _note_loose(root, notes)
    return [(split, _walk_down(folder, folder.name)) for split, folder in parts]


def _walk_down(root: Path, name: str = "") -> Path:
    """The folder that holds more than one folder of folders: archives often wrap theirs in another.

    A folder that is called `name` is always walked into, if it is alone; others if `name` is "".
    """
    folders = _folders(root)
    if len(folders) != 1 or _loose(root) or _split_names(folders).keys() - {root / name}:
        return root
    (inside,) = folders
    if (name and inside.name != name) or (not name and (_loose(inside) or not _folders(inside))):
        return root
    return root if identity(inside) == identity(root) else _walk_down(inside, name)


def _split_names(folders: Sequence[Path]) -> dict[Path, str]:
    """The split of each folder that is called by one.

    `train` alone is enough. `training_set`, `seg_train`, `test1` could be classes: they are splits if
    the same name is there for another split, or beside `train`, and class folders are in the train one.
    """
    plain: dict[Path, str] = {}
    stems: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for folder in folders:
        name = folder.name.lower()
        words = re.split(r"[\W_]+", name)
        hits = [(word, match) for word in words if (match := SPLIT_WORD.fullmatch(word))]
        if name in SPLIT_FOLDERS:
            plain[folder] = SPLIT_FOLDERS[name]
        if len(hits) == 1:
            word, match = hits[0]
            stem = " ".join(other for other in words if other != word)
            stems[stem].append((SPLIT_FOLDERS[match[1]], folder))
    for stem, group in stems.items():
        train = [folder for split, folder in group if split == "train"]
        several = len({split for split, _ in group}) > 1
        if several and train and (not stem or not any(_loose(folder) for folder in train)):
            plain.update({folder: split for split, folder in group})
    return plain


def _inner_splits(
    parts: Sequence[tuple[str, Path]], listed: list[tuple[str, str, str]], notes: list[str]
) -> list[tuple[str, str, str]]:
    """The same, with splits where each class folder holds them: class/train, class/test."""
    if [split for split, _ in parts] != [""]:
        return listed
    root = parts[0][1]
    inside = [Path(path).relative_to(root).parts[1:-1] for _, _, path in listed]
    splits = [SPLIT_FOLDERS.get(below[0].lower(), "") if below else "" for below in inside]
    if "train" not in splits or not {"val", "test"} & set(splits):
        return listed
    if "" in splits:
        path = printable(listed[splits.index("")][2])
        notes.append(
            f"train and test folders lie inside classes, but not around every image ({path}), so all is "
            "divided anew; to use them as they are, put every image into one"
        )
        return listed
    return [(split, name, path) for split, (_, name, path) in zip(splits, listed, strict=True)]


def _label_lists(
    root: Path, parts: Sequence[tuple[str, Path]]
) -> tuple[list[tuple[str, str, str]], list[str]] | None:
    """`read_lists` of the list in the folder, or of those in its split folders."""
    for group in ([("", root)], [("", _walk_down(root))], parts):
        listed: list[tuple[str, str, str]] = []
        notes: list[str] = []
        for split, folder in group:
            images, _, unread = list_images(folder)
            if labelled := read_lists(folder, images, SPLIT_FOLDERS):
                listed += [(split or own, name, path) for own, name, path in labelled[0]]
                notes += labelled[1] + unread
            elif images:
                notes.append(f"{len(images)} images in {printable(folder)} have no label and are left "
                             f"out, among them {printable(images[0])}")  # fmt: skip
        if listed:
            return listed, notes
    return None


def _flat(parts: Sequence[tuple[str, Path]]) -> str:
    """How to lay out images that lie in a split's folder itself, if they do."""
    for split, folder in parts:
        if split == "train" and (loose := _loose(folder)):
            label = re.split(r"[\W_\d]", loose[0].name)[0] or "cat"
            return (
                f"; {len(loose)} images lie in {printable(folder)} itself, and the name of a file is "
                f"not taken for its class: move them, {printable(loose[0].name)} into "
                f"{printable(folder / label)}/ and so on, or list them in labels.csv with the columns "
                "file and label"
            )
    return ""


def _note_junk(root: Path, notes: list[str]) -> None:
    """Note the images in folders that are never data."""
    images: list[str] = []
    for where, folders, _ in os.walk(root):
        for name in folders:
            inside = Path(where, name)
            if not name.startswith(".") and _never_data(inside):
                for below, _, files in os.walk(inside):
                    images += [
                        os.path.join(below, file)
                        for file in files
                        if Path(file).suffix.lower() in SUFFIXES and not file.startswith(".")
                    ]
        folders[:] = [name for name in sorted(folders) if not _never_data(Path(where, name))]
    if images:
        notes.append(
            f"{len(images)} images lie in folders of the system, of its bin or of results of inceptive "
            f"and are left out, among them {printable(min(images))}"
        )


def _never_data(folder: Path) -> bool:
    """Whether it is hidden, or a model folder, explained pictures, or a folder of those alone."""
    if hidden(folder.name) or os.path.exists(folder / OUTPUT):
        return True
    if all(os.path.exists(folder / name) for name in ("model.safetensors", "config.json")):
        return True
    alone = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if hidden(entry.name):
                    continue
                if not entry.is_dir(follow_symlinks=False) or not _never_data(Path(entry)):
                    return False  # mostly at the first image
                alone = True
    except OSError:
        return False
    return alone


def _loose(folder: Path) -> list[Path]:
    """Image files that lie in `folder` itself."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in SUFFIXES and not hidden(path.name)
    )


def _note_loose(root: Path, notes: list[str]) -> None:
    if loose := _loose(root):
        notes.append(
            f"{len(loose)} images lie in {printable(root)} outside any class folder and are left "
            f"out, among them {printable(loose[0].name)}"
        )


def _class_folders(root: Path, notes: list[str], top: Path) -> Iterator[tuple[str, list[str]]]:
    """Each class under `root` with its images; `top` is the whole set's folder."""
    _note_loose(root, notes)
    for path in sorted(root.iterdir()):
        if path.is_symlink() and not path.exists() and not hidden(path.name):
            notes.append(f"{printable(path)} is a link to nothing and is left out")
    around = {identity(top), identity(root)}
    folders = [folder for folder in _folders(root) if identity(folder) not in around]
    for folder in folders:
        # A link that leads up or across would count one class's images for another.
        images, others, unread = list_images(folder, [top, root, *folders])
        notes += unread
        if others:
            notes.append(
                f"{len(others)} files in {printable(folder)} are not named as images and are left "
                f"out, among them {printable(os.path.basename(others[0]))}"
            )
        if not images:
            notes.append(f"class folder {printable(folder)} is empty and is left out")
        yield unicodedata.normalize("NFC", as_text(folder.name)), images


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
    split, notes = assign_splits(images, labels, shares, classes, splits, advance)
    paths = PathImages.of([image.path for image in images], origin, as_rows(images)["file"])
    samples = Samples(paths, labels)
    parts = {name: samples.take(split == name) for name in SPLITS}
    return parts, depth_of(compress(images, split == "train")), notes


def assign_splits(
    images: list[ScannedImage],
    labels: np.ndarray,
    shares: SplitFractions,
    classes: Sequence[str],
    splits: Sequence[str] | None = None,
    advance: Advance | None = None,
) -> tuple[np.ndarray, list[str]]:
    """The split of each image, (N,), and notes on them: what is odd, and what are copies.

    It is as `splits` say, where they are not "", and what they lack is taken out of the rest.
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
    return split, picture_notes(images) + _duplicates(groups, labels, split, images) + notes


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
        f"{extra} images are copies or near-copies of others (of these, an undivided set keeps all "
        f"on one side), for example {example[0]} and {example[1]}"
    )
    for text, values in (("class", labels), ("side of the split", split)):
        crossing = [g for g in copies if len(set(values[groups == g].tolist())) > 1]
        if crossing:
            i = np.flatnonzero(groups == crossing[0])
            names = [printable(images[k].path) for k in (i[0], i[values[i] != values[i[0]]][0])]
            notes.append(
                f"{len(crossing)} groups of copies are in more than one {text}, "
                f"for example {names[0]} and {names[1]}"
            )
    return notes


def missing_classes(classes: tuple[str, ...], splits: dict[str, Samples]) -> list[str]:
    """Notes on classes that a split does not hold."""
    notes = []
    for name, samples in splits.items():
        missing = [classes[k] for k in range(len(classes)) if not (samples.labels == k).any()]
        if len(samples) and missing:
            notes.append(f"no image of {', '.join(map(printable, missing))} in {name}")
    return notes


def list_images(
    folder: Path, elsewhere: Iterable[Path] = ()
) -> tuple[list[str], list[str], list[str]]:
    """Image files under `folder` and other files, sorted paths; and notes on what cannot be read.

    Hidden files and folders are in neither. Links are followed, each real folder once and those in
    `elsewhere` never, so a loop of links ends.
    """
    images: list[str] = []
    others: list[str] = []
    notes: list[str] = []
    visited = {identity(path) for path in elsewhere} - {identity(folder)}

    def refused(error: OSError) -> None:
        path = printable(error.filename)
        notes.append(f"{path} cannot be read ({reason(error)}) and is left out")

    for where, folders, files in os.walk(folder, onerror=refused, followlinks=True):
        if identity(where) in visited:
            folders.clear()
            continue
        visited.add(identity(where))
        folders[:] = sorted(name for name in folders if not _never_data(Path(where, name)))
        for name in files:
            if not hidden(name):
                kind = images if Path(name).suffix.lower() in SUFFIXES else others
                kind.append(os.path.join(where, name))
    return sorted(images), sorted(others), notes


def identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX")) or name.lower() in JUNK
