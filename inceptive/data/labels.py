"""Label lists next to images, instead of class folders: CSV, TSV, JSON and COCO."""

import csv
import io
import json
import os
import re
import unicodedata
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inceptive.errors import InceptiveError, printable, readable

LIST_SUFFIXES = (".csv", ".tsv", ".json")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target")
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
SPLIT_COLUMNS = ("split", "set", "subset", "partition")
ANSWERS = ({"image", "label", "prob"}, {"image", "top"})
"""Columns of what this program writes about images: its answers are not labels."""
PLACEHOLDERS = re.compile(r"sample[\W_]?submission")
"""Names of lists with an answer for each image that is none: of competitions."""
SEVERAL = "\0several"
"""In place of a list of labels, which no text can be."""
MAX_BYTES = 256 << 20
Row = dict[str, str]


class LabelList(NamedTuple):
    """A list that names images: its rows, and which columns tell the file, the split ("": none) and the
    label (several: one of 0 and 1 for each class). word: the split that its own name tells, or "".
    images: the image that each way to name one means there."""

    path: Path
    images: Mapping[str, str]
    rows: Sequence[Row]
    file: str
    split: str
    labels: Sequence[str]
    word: str


def read_lists(
    root: Path, images: Sequence[str], parts: Mapping[Path, str] | None = None
) -> tuple[list[tuple[str, str, str]], list[str]] | None:
    """(split, class, path) of each of `images` labelled by the lists in `root`, and notes; None if
    there is no such list. parts: the splits of folders that are called by one, such as train_images.
    Raises InceptiveError, naming the list and row, if one is ambiguous."""
    notes = list[str]()
    folders = {image: _folder_split(image, root, parts or {}) for image in images}
    lists = _lists(root, folders, notes)
    if all(each.word in ("val", "test") for each in lists):  # of a set with nothing to learn from
        lists = [each._replace(word="") for each in lists]
    labels: dict[str, tuple[str, str]] = {}
    missing: list[str] = []
    for each in lists:
        for number, row in enumerate(each.rows, 1):
            where, image_name = f"{printable(each.path)}: row {number}", row.get(each.file, "")
            image = each.images.get(_way(image_name))
            if image is None:
                missing.append(image_name)
                continue
            own = row.get(each.split, "").lower() if each.split else ""
            if own and own not in SPLIT_FOLDERS:
                raise InceptiveError(
                    f"{where}: split {printable(own)} is none of {', '.join(SPLIT_FOLDERS)}"
                )
            # What the list says, then the list's own name, then the folder the image lies in.
            split = _split_of(own) or each.word or folders[image]
            answer = split, _label(row, each.labels, where)
            if labels.setdefault(image, answer) != answer:
                raise InceptiveError(f"{where}: {printable(image_name)} has two labels or splits")
    if not labels:
        return None
    names = " and ".join(printable(each.path.name) for each in lists)
    notes.insert(0, f"classes are those that {names} tells")
    if missing:
        notes.append(
            f"{len(missing)} files that {names} names do not exist, or more than once, among them "
            f"{printable(missing[0])}"
        )
    if rest := sorted(set(images) - labels.keys()):
        notes.append(
            f"{len(rest)} images are not in {names} and are left out, among them {printable(rest[0])}"
        )
    return [(split, label, path) for path, (split, label) in sorted(labels.items())], notes


def _lists(root: Path, folders: Mapping[str, str], notes: list[str]) -> list[LabelList]:
    """The lists in `root` that label images, and notes on those that name them only. folders: the split
    of each image by its folder: a list called by a split means its images where names are not clear.

    Raises InceptiveError if there is only a list of which it is not clear what it tells.
    """
    lists: list[LabelList] = []
    every = _index(root, folders)
    indices = {"": every}
    unclear: list[InceptiveError] = []
    beside = root / "annotations"  # as COCO has it
    for path in sorted([*root.iterdir(), *(beside.iterdir() if beside.is_dir() else ())]):
        if path.suffix.lower() not in LIST_SUFFIXES or path.name.startswith("."):
            continue
        parts = re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", path.stem)
        words = set(filter(None, (_split_of(part.lower()) for part in parts)))
        word = words.pop() if len(words) == 1 else ""
        if word not in indices:
            inside = [image for image, split in folders.items() if split == word]
            indices[word] = every | _index(root, inside)
        index = indices[word]
        try:
            rows = _rows(path)
            if rows and any(_way(name) in index for name in rows[0]):  # without a header
                rows = [{name: name for name in rows[0]}, *rows]
            file = _file_column(rows, index, path)
            if file is None:
                continue
            answers = any(columns <= rows[0].keys() for columns in ANSWERS)
            if answers or PLACEHOLDERS.match(path.stem.lower()):
                notes.append(
                    f"{printable(path.name)} holds answers of a model, no labels: left out"
                )
                continue
            split = _split_column(rows)
            labels = _label_columns(rows, (file, split), path)
        except InceptiveError as error:  # of something else, if another list tells the labels
            unclear.append(error)
            continue
        lists.append(LabelList(path, index, rows, file, split, labels, word))
    if unclear and not lists:
        raise unclear[0]
    notes += [f"not used as a list of labels: {error}" for error in unclear]
    return lists


def _folder_split(image: str, root: Path, parts: Mapping[Path, str]) -> str:
    """The split that the folder of an image tells; "" if none."""
    around = Path(image).parents
    part = next((word for path, word in parts.items() if path in around), "")
    folders = Path(os.path.relpath(image, root)).parts[:-1]
    return part or next(filter(None, (_split_of(name.lower()) for name in folders)), "")


def _index(root: Path, images: Iterable[str]) -> dict[str, str]:
    """The image that each way to name it means: below `root`, by its name, or without suffix."""
    ways: dict[str, set[str]] = defaultdict(set)
    for image in images:
        path = Path(os.path.relpath(image, root))
        whole = Path(os.path.abspath(image)).as_posix()
        for way in (path.as_posix(), path.with_suffix("").as_posix(), path.name, path.stem, whole):
            ways[_way(way)] |= {image}
    return {way: next(iter(paths)) for way, paths in ways.items() if len(paths) == 1}


def _split_of(word: str) -> str:
    """The split that a word of a name tells, as train2017 does; "" if none."""
    match = SPLIT_WORD.fullmatch(word)
    return SPLIT_FOLDERS[match[1]] if match else ""


def _way(name: str) -> str:
    """A file's name as it is in the index: written on Windows, or from the folder's view, too, and in
    either form of Unicode."""
    return unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./"))


def _rows(path: Path) -> list[Row]:
    with readable(path, ValueError, csv.Error, RecursionError):
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
        content = path.read_bytes()
        kind = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
        try:
            text = content.decode(kind)
        except UnicodeDecodeError:
            raise ValueError("its text is not UTF-8; save it as UTF-8") from None
        if path.suffix.lower() == ".json":
            return _json_rows(json.loads(text), path)
        first = text.partition("\n")[0]
        delimiter = max("\t;,", key=first.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="")
        return [
            {str(key).strip(): str(value).strip() for key, value in row.items()} for row in reader
        ]


def _json_rows(content: Any, path: Path) -> list[Row]:
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        try:
            names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
            classes: dict[Any, set[str]] = defaultdict(set)
            for entry in content["annotations"]:
                classes[entry["image_id"]].add(names[entry["category_id"]])
            files = {entry["id"]: str(entry["file_name"]) for entry in content["images"]}
        except (KeyError, TypeError) as error:
            raise InceptiveError(f"{printable(path)}: is no sound COCO file ({error!r})") from None
        if several := [files.get(key) for key, some in classes.items() if len(some) > 1]:
            raise InceptiveError(
                f"{printable(path)}: {len(several)} images are of several categories, among them "
                f"{printable(str(several[0]))}; a classifier needs one label for each image"
            )
        return [
            {"file": name, "label": next(iter(classes[key]))}
            for key, name in files.items()
            if classes[key]
        ]
    if isinstance(content, dict):
        return [{"file": k, "label": _cell(v)} for k, v in content.items()]
    if isinstance(content, list):
        rows = [row for row in content if isinstance(row, dict)]
        keys = dict.fromkeys(key for row in rows for key in row)
        return [{str(key): _cell(row.get(key)) for key in keys} for row in rows]
    return []


def _cell(value: Any) -> str:
    """A value in JSON as a cell of a table: 5.0 is 5 and null nothing, as in CSV."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list | dict):
        return SEVERAL
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()


def _file_column(rows: Sequence[Row], index: Mapping[str, str], path: Path) -> str | None:
    """The column that names the most images of the folder, whole names before those without a suffix;
    None if there is none. Raises InceptiveError if two name as many, but other ones."""
    columns = [column for column in (rows[0] if rows else ()) if column] or [""]
    images = {column: [index.get(_way(row.get(column, ""))) for row in rows] for column in columns}

    def count(column: str) -> tuple[int, int]:
        """Of different images: those named with suffix, and all."""
        names = [
            (row[column], image) for row, image in zip(rows, images[column], strict=True) if image
        ]
        whole = {image for name, image in names if Path(name).suffix}
        return len(whole), len({image for _, image in names})

    best = max(columns, key=count)
    if not count(best)[1]:
        return None
    for column in columns:
        if count(column) == count(best) and images[column] != images[best]:
            raise InceptiveError(
                f"{printable(path)}: {printable(best)} and {printable(column)} both name images; remove "
                "the column that does not name the files, or give their names with suffix"
            )
    return best


def _split_column(rows: Sequence[Row]) -> str:
    """The column that tells the split of each row; "" if there is none."""
    for column in rows[0]:
        if column.lower() == SPLIT_COLUMNS[0]:
            return column
        cells = {row.get(column, "").lower() for row in rows}
        if column.lower() in SPLIT_COLUMNS and cells <= SPLIT_FOLDERS.keys():
            return column
    return ""


def _label_columns(rows: Sequence[Row], known: Sequence[str], path: Path) -> list[str]:
    """The column of the labels, or one column of 0 and 1 for each class, beside the `known` ones."""
    others = [column for column in rows[0] if column not in (*known, "")]
    label_columns = [column for column in others if column.lower() in LABEL_COLUMNS]
    if len(label_columns) == 1 or len(others) == 1:
        return label_columns or others
    if others and all(row.get(column) in ("0", "1") for row in rows for column in others):
        return others
    raise InceptiveError(
        f"{printable(path)}: which column holds the class is not clear; call it label "
        f"(columns: {', '.join(map(printable, rows[0]))})"
    )


def _label(row: Row, columns: Sequence[str], where: str) -> str:
    if len(columns) > 1:
        hot = [column for column in columns if row.get(column) == "1"]
        if len(hot) != 1:
            raise InceptiveError(
                f"{where} has {len(hot)} classes; a classifier needs one label for each image"
            )
        return hot[0]
    if not (label := row.get(columns[0], "")):
        raise InceptiveError(f"{where} has no label")
    if label == SEVERAL:
        raise InceptiveError(f"{where} has no single label; a classifier needs one for each image")
    return unicodedata.normalize("NFC", label)
