"""The images of a part, one by one: each a call that returns its name and its square."""

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from inceptive.data.shards.member import refuse_unended
from inceptive.engines.prediction import Decoded, load
from inceptive.errors import InceptiveError, printable, reason
from inceptive.images import MAX_BYTES, SUFFIXES, Preprocessing
from inceptive.io import store as storage
from inceptive.io.downloads import network_errors
from inceptive.scale import inputs
from inceptive.scale.inputs import WorkItem

Load = Callable[[], Decoded]
READ = 64
"""Rows of a Parquet file in memory at once."""


def images(kind: str, pieces: Iterable[WorkItem], preprocessing: Preprocessing) -> Iterator[Load]:
    """Yield a loader for each image of `pieces`, files of `kind`, with `preprocessing`.

    A call that cannot return a square returns the reason; so does an extra call for a truncated
    file.
    """
    of = {"images": _file, "tar": _tar, "parquet": _parquet}[kind]
    for piece in pieces:
        yield from of(piece, preprocessing)


def _file(piece: WorkItem, preprocessing: Preprocessing) -> Iterator[Load]:
    yield partial(_loaded, storage.redact(piece.path), piece.path, preprocessing)


def _loaded(name: str, image: str | bytes, preprocessing: Preprocessing) -> Decoded:
    """The image at a path or URI, or in bytes, which is called `name`."""
    name = printable(name)
    try:
        if isinstance(image, str) and storage.is_uri(image):
            image = storage.read(image, MAX_BYTES)
    except InceptiveError as error:
        return Decoded(name, str(error))
    return load(preprocessing, image, name)


def _tar(piece: WorkItem, preprocessing: Preprocessing) -> Iterator[Load]:
    """The members that are named as images, called TAR/MEMBER; the tar is read once, in order."""
    name_of_file = storage.redact(piece.path)
    try:
        with (
            storage.stream(piece.path) as file,
            tarfile.open(fileobj=(end := _End(file)), mode="r|") as tar,
        ):
            for member in tar:
                if not member.isfile() or PurePosixPath(member.name).suffix.lower() not in SUFFIXES:
                    continue
                name = f"{name_of_file}/{member.name}"
                if member.size > MAX_BYTES:
                    large = (
                        f"{printable(name)}: has {member.size} bytes; at most {MAX_BYTES} are read"
                    )
                    yield partial(_refused, name, InceptiveError(large))
                    continue
                content = tar.extractfile(member)
                assert content is not None
                yield partial(_loaded, name, content.read(), preprocessing)
            at = tar.offset  # type: ignore[attr-defined]
            refuse_unended(name_of_file, end.block(at), at)
    except network_errors(tarfile.TarError, InceptiveError, ValueError, EOFError) as error:
        yield partial(_refused, name_of_file, error)


class _End(io.RawIOBase):
    """A stream that remembers what was read last."""

    def __init__(self, file: Any):
        self.file, self.read_bytes, self.last = file, 0, b""

    def read(self, size: int = -1) -> bytes:
        content = bytes(self.file.read(size))
        self.read_bytes += len(content)
        self.last = (self.last + content)[-2 * tarfile.RECORDSIZE :]
        return content

    def block(self, at: int) -> bytes:
        """The block at byte `at`, which was read not long ago."""
        first = at - (self.read_bytes - len(self.last))
        return self.last[first : first + tarfile.BLOCKSIZE]


def _parquet(piece: WorkItem, preprocessing: Preprocessing) -> Iterator[Load]:
    """Rows `first` to `first + count`, called by their path, else FILE/ROW."""
    pyarrow, name_of_file = storage.arrow(), storage.redact(piece.path)
    done = 0
    try:
        with storage.parquet(piece.path) as file:
            for row, content, path in _rows(file, piece):
                name = path or f"{name_of_file}/{row}"
                yield partial(_loaded, name, name if content is None else content, preprocessing)
                done += 1
    except network_errors(pyarrow.ArrowException, InceptiveError) as error:
        for row in range(piece.first + done, piece.first + piece.count):
            yield partial(_refused, f"{name_of_file}/{row}", error)


def _rows(file: Any, piece: WorkItem) -> Iterator[tuple[int, bytes | None, str | None]]:
    """(row, bytes or None, name or None) of each row of the piece; its row groups alone are read."""
    columns = inputs.columns(file, piece.path)
    end = piece.first + piece.count
    groups: list[int] = []
    row = start = 0  # the first row that is read, and of the group at hand
    for group in range(file.metadata.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        if start < end and stop > piece.first:
            row = row if groups else start
            groups.append(group)
        start = stop
    names = [name for name in columns if name]
    for batch in file.iter_batches(READ, row_groups=groups, columns=names):
        first = max(piece.first - row, 0)
        rows = batch.slice(first, max(min(end - row, len(batch)) - first, 0))
        for number, values in enumerate(rows.to_pylist(), row + first):
            content, path = (_value(values, name) for name in columns)
            is_image = columns[0] and not (
                content is None and path
            )  # else the path is all there is
            yield number, (content or b"") if is_image else None, path
        row += len(batch)
        if row >= end:
            break


def _value(row: dict[str, Any], name: str | None) -> Any:
    """The value of a column, or of a field of a struct: image.bytes."""
    if name is None:
        return None
    value: Any = row
    for step in name.split(".") if name not in row else [name]:
        value = value and value.get(step)
    return value


def _refused(path: str, error: Exception) -> Decoded:
    name = printable(path)
    why = reason(error)
    text = why if name in why else f"{name}: is truncated or damaged ({printable(why)})"
    return Decoded(name, text)
