"""The layouts of labelled images in a folder that are found in practice.

    photos/cat/1.jpg                               not divided
    photos/train/cat/1.jpg    photos/test/...      divided: train, training_set, seg_train, ...
    photos/cat/train/1.jpg    photos/cat/test/...  each class divided
    photos/labels.csv         photos/images/1.jpg  a list of labels (see `labels`)

Enclosing folders are descended; files left by systems, disks and this program are never data.
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from inceptive.data.labels import LIST_SUFFIXES, SPLIT_FOLDERS, SPLIT_WORD, read_lists
from inceptive.errors import InceptiveError, printable, readable, reason
from inceptive.images import SUFFIXES
from inceptive.io.paths import as_text

LabelledImage = tuple[str, str, str]
"""train, val, test or "" (not divided), a class, and the path of an image of it."""
JUNK = frozenset((
    "thumbs.db", "desktop.ini", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin",
    "recycler", "lost+found", "system volume information",
))  # fmt: skip
"""What file systems, NAS and cameras put beside people's files, in lower case."""
MOST_READ = 32 << 20
"""Bytes of lists beside class folders, at most, that are read to see whether they contradict them."""
OUTPUT = ".inceptive"
"""A file that marks a folder of pictures as written by this package."""


def labelled_images(root: Path) -> tuple[list[LabelledImage], list[str]]:
    """Find the images under `root` with their splits and classes, and notes on what is left out.

    Raises InceptiveError if there are none, or their layout does not say what they are.
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
        divided = _inner_splits(parts, listed)
        if divided is listed:
            _note_deeper(listed, notes)
        for folder in dict.fromkeys([root, _walk_down(root), *(inside for _, inside in parts)]):
            _note_unused(folder, divided, notes)
        listed = divided
    else:
        raise InceptiveError(
            f"{printable(root)}: holds no images in class folders; "
            "expected one folder for each class, with its photographs inside" + _flat(parts)
        )
    return listed, notes


def _folders(root: Path) -> list[Path]:
    with readable(root):
        inside = sorted(root.iterdir())
    return [path for path in inside if path.is_dir() and not _never_data(path)]


def _split_folders(root: Path, notes: list[str]) -> list[tuple[str, Path]]:
    """("train" | "val" | "test", folder) for each; ("", root) for a folder that is not divided."""
    folders = _folders(root)
    names = _split_names(folders)
    parts = [(names[folder], folder) for folder in folders if folder in names]
    others = {
        folder: len(list_images(folder, [root, *folders])[0])
        for folder in folders
        if parts and folder not in names
    }
    trained = "train" in names.values()
    # Beside other folders, one called "train" is a class if photographs lie in it directly.
    loose = any(_loose(folder) for split, folder in parts if split == "train")
    if not parts or (any(others.values()) and (not trained or loose)):
        return [("", root)]
    if not trained:
        present = ", ".join(folder.name for _, folder in parts)
        raise InceptiveError(f"{printable(root)}: has {present} but no train folder")
    for path, count in others.items():
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
    the same name is there for another split, or beside `train`, and class folders are in the train one,
    or a list of labels beside it.
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
        sound = (
            not stem
            or not any(map(_loose, train))
            or any(_list_files(path.parent) for path in train)
        )
        if several and train and sound:
            plain.update({folder: split for split, folder in group})
    return plain


def _inner_splits(
    parts: Sequence[tuple[str, Path]], listed: list[LabelledImage]
) -> list[LabelledImage]:
    """The same, with splits where each class folder holds them: class/train, class/test.

    Raises InceptiveError where only some images lie so: to divide all anew would train on a test part.
    """
    if [split for split, _ in parts] != [""]:
        return listed
    root = parts[0][1]
    inside = [Path(path).relative_to(root).parts[1:-1] for _, _, path in listed]
    splits = [SPLIT_FOLDERS.get(below[0].lower(), "") if below else "" for below in inside]
    if "train" not in splits or not {"val", "test"} & set(splits):
        return listed
    if "" in splits:
        raise InceptiveError(
            f"{printable(root)}: train and test folders lie inside classes, but not around every image "
            f"({printable(listed[splits.index('')][2])}); put every image into one of them, or none"
        )
    return [(split, name, path) for split, (_, name, path) in zip(splits, listed, strict=True)]


def _label_lists(
    root: Path, parts: Sequence[tuple[str, Path]]
) -> tuple[list[LabelledImage], list[str]] | None:
    """`read_lists` of the list in the folder, or of those in its split folders."""
    walked = _walk_down(root)
    inside = _folders(walked)
    wrapped = [("", inside[0])] if len(inside) == 1 else []  # the images and their list
    for group in ([("", root)], [("", walked)], parts, wrapped):
        listed: list[LabelledImage] = []
        notes: list[str] = []
        for split, folder in group:
            images, _, unread = list_images(folder)
            if labelled := read_lists(folder, images, {path: word for word, path in parts if word}):
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
    with readable(folder):
        inside = list(folder.iterdir())
    return sorted(
        path
        for path in inside
        if path.is_file() and path.suffix.lower() in SUFFIXES and not hidden(path.name)
    )


def _list_files(folder: Path) -> list[Path]:
    """Files in `folder` that may be lists of labels."""
    return [
        path for path in folder.iterdir() if path.suffix.lower() in LIST_SUFFIXES and path.is_file()
    ]


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


def _note_deeper(listed: Iterable[LabelledImage], notes: list[str]) -> None:
    """Note class folders that hold folders alone, since those may be what was meant as classes."""
    holding: dict[tuple[str, str], set[str]] = defaultdict(set)
    for split, name, path in listed:
        holding[split, name].add(os.path.dirname(path))
    deeper = {}
    for (_, name), folders in holding.items():
        around = os.path.commonpath(folders)
        own = unicodedata.normalize("NFC", as_text(os.path.basename(around))) == name
        if len(folders) > 1 and own and around not in folders:
            deeper[name] = min(folders)
    if deeper:
        name = min(deeper)
        count, all_of_them = len(deeper), len({name for _, name in holding})
        notes.append(
            f"{count} of {all_of_them} class folders hold their images in further folders, such as "
            f"{printable(deeper[name])}, and all in {printable(name)} are one class; if the further "
            "folders are the classes, move them up, or list files and labels in labels.csv"
        )


def _note_unused(root: Path, listed: Sequence[LabelledImage], notes: list[str]) -> None:
    """Note a list of labels in `root` that contradicts the folders, which count."""
    lists = _list_files(root)
    if not lists or sum(path.stat().st_size for path in lists) > MOST_READ:
        return
    classes = {path: name for _, name, path in listed}
    try:
        read = read_lists(root, list(classes))
    except InceptiveError as error:
        notes.append(f"not used as a list of labels: {error}")
        return
    others = [(path, label) for _, label, path in (read or ([],))[0] if label != classes[path]]
    if others:
        path, label = others[0]
        notes.append(
            f"{len(others)} images have another label in a list in {printable(root)} than the name of "
            f"their folder, which counts: {printable(path)} is {printable(label)} there; if the list is "
            "right, put all images into one folder beside it"
        )
    elif not read and len(set(classes.values())) < 2:
        notes.append(f"{printable(min(lists))} names none of its images")


def list_images(
    folder: Path, elsewhere: Iterable[Path] = ()
) -> tuple[list[str], list[str], list[str]]:
    """List image files and other files under `folder`, sorted; and notes on what cannot be read.

    Both exclude hidden files and folders. Links are followed, each real folder once and those in
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
