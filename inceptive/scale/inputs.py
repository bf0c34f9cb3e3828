"""The input to score: images, tar shards or Parquet files, named by path, glob or URI."""

import fnmatch
import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from inceptive.data.layout import list_images
from inceptive.errors import InceptiveError, printable
from inceptive.images import SUFFIXES
from inceptive.io import store as storage
from inceptive.io.store import FileInfo

Kind = Literal["images", "tar", "parquet"]
PATHS, BYTES = ("path", "image"), ("image", "bytes")
"""Columns of a Parquet file that name images, and that hold them."""


@dataclass(frozen=True)
class WorkItem:
    """What one worker reads at once: an image, a whole tar, or `count` rows of a Parquet file."""

    path: str
    first: int = 0
    count: int = 1


@dataclass(frozen=True)
class Input:
    """kind: of the files; fingerprint: of their names, sizes and modification times."""

    kind: Kind
    files: tuple[str, ...]
    fingerprint: str


def find(name: str, out: str = "", note: Callable[[str], None] = lambda _: None) -> Input:
    """Find the files that `name` refers to, of one kind, in order.

    name is a file, a folder, or a glob, as a path or a URI. What lies in the folder `out` is no input;
    note is called for each folder that cannot be read. Raises InceptiveError if there is
    nothing to score, or if files are of several kinds.
    """
    path = storage.local(name)
    remote = storage.is_uri(path)
    files, chosen = _remote(path) if remote else _local(os.path.expanduser(path), out, note)
    own = _own_files(out, remote)
    kinds: dict[Kind, list[FileInfo]] = {}
    for file in files:
        if own(file.path):
            continue
        kind = _kind(file.path) or ("images" if chosen else None)  # one chosen by name is tried
        if kind:
            kinds.setdefault(kind, []).append(file)
    title = printable(storage.redact(name))
    if not kinds:
        raise InceptiveError(f"{title}: holds no images, tar shards or Parquet files")
    if len(kinds) > 1:
        raise InceptiveError(
            f"{title}: holds files of several kinds ({', '.join(sorted(kinds))}); "
            "name those of one kind with a glob in quotes"
        )
    [(kind, chosen_files)] = kinds.items()
    digest = hashlib.sha256()
    for file in chosen_files:
        digest.update(f"{file.size} {file.changed} ".encode() + os.fsencode(file.path) + b"\0")
    return Input(kind, tuple(file.path for file in chosen_files), digest.hexdigest())


def _own_files(out: str, remote: bool) -> Callable[[str], bool]:
    """Whether a path, or with `remote` a URI, lies in the folder `out`."""
    if not out or storage.is_uri(out) != remote:
        return lambda path: False
    if remote:
        folder = storage.split_query(out)[0].rstrip("/") + "/"
        return lambda path: path.startswith(folder)
    folder = os.path.join(os.path.abspath(out), "")
    return lambda path: os.path.abspath(path).startswith(folder)


def split_work(input: Input, size: int) -> Iterator[list[WorkItem]]:
    """Split the input into parts, in order: `size` images or rows each, or one tar. See `WorkItem`.

    Raises InceptiveError for a Parquet file that is damaged or has no column of images.
    """
    if input.kind == "tar":
        yield from ([WorkItem(path)] for path in input.files)
    elif input.kind == "images":
        for k in range(0, len(input.files), size):
            yield [WorkItem(path) for path in input.files[k : k + size]]
    else:
        for path in input.files:
            with storage.parquet(path) as file:
                columns(file, path)
                rows = file.metadata.num_rows
            for first in range(0, rows, size):
                yield [WorkItem(path, first, min(size, rows - first))]


def columns(file: Any, path: str) -> tuple[str | None, str | None]:
    """The columns of a Parquet file that hold bytes and names of images, at most one of them None.

    A struct column `image` with `bytes`, as Hugging Face writes it, is returned as image.bytes.
    Raises InceptiveError if there is neither.
    """
    types = storage.arrow().types
    schema = file.schema_arrow
    kinds = {name: schema.field(name).type for name in schema.names}
    plain = {n: k.value_type if types.is_dictionary(k) else k for n, k in kinds.items()}
    a_binary = (types.is_binary, types.is_large_binary, types.is_binary_view)
    a_text = (types.is_string, types.is_large_string, types.is_string_view)
    binary = {n for n, k in plain.items() if any(is_one(k) for is_one in a_binary)}
    text = {n for n, k in plain.items() if any(is_one(k) for is_one in a_text)}
    for name in BYTES:
        kind = kinds.get(name)
        if kind is not None and types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            inner = f"{name}.path" if kind.get_field_index("path") >= 0 else None
            return f"{name}.bytes", inner
    holds = next((name for name in BYTES if name in binary), None)
    names = next((name for name in PATHS if name in text), None)
    if holds is None and names is None:
        raise InceptiveError(
            f"{printable(path)}: has no column `path` or `image` of paths, nor `image` or `bytes` "
            f"of bytes; it has {', '.join(map(printable, schema.names[:8]))}"
        )
    return holds, names


def _kind(path: str) -> Kind | None:
    suffix = PurePosixPath(storage.redact(path)).suffix.lower()
    if suffix in SUFFIXES:
        return "images"
    return {".tar": "tar", ".parquet": "parquet"}.get(suffix)  # type: ignore[return-value]


def _local(path: str, out: str, note: Callable[[str], None]) -> tuple[Iterable[FileInfo], bool]:
    """The files, and whether they were chosen by name."""
    if os.path.isdir(path):
        images, others, notes = list_images(Path(path), [Path(out)] if os.path.isdir(out) else [])
        for each in notes:
            note(f"note: {each}")
        return map(storage.stat, sorted([*images, *others])), False
    if os.path.exists(path):
        return [storage.stat(path)], True
    matches = glob.glob(path, recursive=True)
    files = sorted(file for file in matches if os.path.isfile(file))
    if not files:
        what = "names folders only; add /*" if matches else "there is no such file or folder"
        raise InceptiveError(f"{printable(path)}: {what}")
    return map(storage.stat, files), True


def _remote(uri: str) -> tuple[Iterable[FileInfo], bool]:
    pattern, query = storage.split_query(uri)
    if glob.has_magic(pattern):
        base = re.split(r"[*?\[]", pattern)[0].rpartition("/")[0] + query
        listed = ((file, storage.split_query(file.path)[0]) for file in storage.listing(base))
        return (file for file, path in listed if fnmatch.fnmatchcase(path, pattern)), True
    file = storage.stat(uri)
    return ([file], True) if file.size >= 0 else (storage.listing(uri), False)
