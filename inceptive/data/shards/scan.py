"""One scan through a tar of a set: where each image lies in it, with which label.

Members are grouped as in webdataset: consecutive ones that agree up to the first dot of their file name
are one sample. Nothing is unpacked: names are never used as paths. The result is kept in the user's
cache until the tar changes.
"""

import contextlib
import hashlib
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import IO

import numpy as np

from inceptive.data.cache import decoders, settled, short_hash, signature
from inceptive.data.scan import ScannedImage, as_rows, from_row, scan_content
from inceptive.data.shards.member import Tar, place_type, refuse_unended
from inceptive.errors import InceptiveError, printable
from inceptive.images import SUFFIXES
from inceptive.io.atomic import atomic_write
from inceptive.io.paths import cache_folder

LAYOUT = 5
"""To be raised when a change of the code changes what is read of a tar, or how it is kept."""
LARGEST = 2**28
"""Bytes that one image file may have: it is read as a whole."""
CHUNK = 2**20

Read = Callable[[int], None]
"""Called with how many more bytes were read."""


@dataclass(frozen=True)
class TarContents:
    """The content of a tar: places (N,), see `member`, labels (N,), and a line on all that is left out.

    sha256 is the tar's own, in hexadecimal; scans are of `data.scan.SCAN`, one per image if they were
    decoded, else none.
    """

    places: np.ndarray
    labels: np.ndarray
    errors: np.ndarray
    sha256: str
    scans: np.ndarray

    def scanned(self, tar: Tar) -> list[ScannedImage]:
        """The decoded images, as scans like those of a folder."""
        return [
            from_row(f"{tar.path}/{name.decode(errors='surrogateescape')}", row)
            for name, row in zip(self.places["name"], self.scans, strict=True)
        ]


def recall(tar: Tar, decoding: bool) -> TarContents | None:
    """The cached result of `read_tar` for `tar`, if the tar is unchanged; else None."""
    try:
        with _cached_at(tar, decoding).open("rb") as file, np.load(file) as arrays:
            contents = {field.name: arrays[field.name] for field in fields(TarContents)}
        return TarContents(**contents | {"sha256": str(contents["sha256"])})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None  # nothing was kept, or it is damaged


def read_tar(tar: Tar, decoding: bool, progress: Read = lambda _: None) -> TarContents:
    """Read the content of `tar` from end to end and cache it; with `decoding`, scan each image.

    Raises InceptiveError, naming the tar, if it cannot be read to its end.
    """
    before, path = signature(tar.path), _cached_at(tar, decoding)
    contents = read_through(tar, decoding, progress)
    if before and settled(before):
        with (
            contextlib.suppress(InceptiveError),
            atomic_write(path) as file,
        ):  # or it is read each time
            np.savez(file, **vars(contents))
            for older in path.parent.glob(f"{path.name.partition('-')[0]}-*.npz"):
                older.unlink(missing_ok=True)
    return contents


def _cached_at(tar: Tar, decoding: bool) -> Path:
    """Where contents are kept: a name for the path, and one for all that they follow from."""
    state = f"{LAYOUT} {decoding} {decoders() if decoding else ''} {tar} {signature(tar.path)}"
    name = short_hash(os.path.abspath(tar.path))
    return cache_folder() / "shards" / f"{name}-{short_hash(state)}.npz"


def read_through(tar: Tar, decoding: bool, progress: Read = lambda _: None) -> TarContents:
    """The same, without caching."""
    errors: list[str] = []
    rows, labels, scans = [], [], []
    with tar.open() as file, _as_one_error(hashed := _Hashed(file, progress), tar):
        for name, offset, length, content, label in _images(hashed, tar, errors):
            if decoding:
                scanned = scan_content(f"{tar.path}/{name}", content)
                if scanned.error:
                    errors.append(scanned.error)
                    continue
                scans.append(scanned)
            rows.append((0, offset, length, name.encode(errors="surrogateescape")))
            labels.append(label)
        sha256 = hashed.rest()
    longest = max((len(name) for *_, name in rows), default=1)
    return TarContents(
        np.array(rows, place_type(longest)),
        np.array(labels, np.int64),
        np.array(errors, np.str_),
        sha256,
        as_rows(scans),
    )


def _images(
    file: "_Hashed", tar: Tar, errors: list[str]
) -> Iterator[tuple[str, int, int, bytes, int]]:
    """Name, place, bytes and label of each labelled image; why others are left out goes to `errors`."""
    finished: set[str] = set()
    for key, members in groupby(_members(file, tar, errors), lambda member: parts(member[1])[0]):
        image, label = None, None
        for member, name in members:
            title, extension = printable(f"{tar.path}/{name}"), parts(name)[1]
            if f".{extension}" not in SUFFIXES and extension != "cls":
                continue
            if key in finished:
                errors.append(f"{title}: an image of that key came before; it is left out")
            elif extension == "cls":
                if label is not None:
                    errors.append(f"{title}: its key has two labels; the second is left out")
                else:
                    label = _label(file.read_member(member, 32), title, errors)
            elif image is not None:
                errors.append(f"{title}: its key has an image already; it is left out")
            elif member.size > LARGEST:
                errors.append(f"{title}: is too large for an image ({member.size} bytes)")
            else:
                content = file.read_member(member, LARGEST)
                image = name, member.offset_data, member.size, content
        finished.add(key)
        if image and label is None:
            errors.append(f"{printable(f'{tar.path}/{image[0]}')}: has no .cls beside it")
        elif image and label is not None and label >= 0:
            yield *image, label


def _members(file: "_Hashed", tar: Tar, errors: list[str]) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """Each regular file of a tar with its name. Raises InceptiveError if the tar does not end well."""
    with tarfile.open(fileobj=file, mode="r|") as archive:
        file.archive = archive
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # else all stay in memory
            name = member.name
            if member.isdir() or re.match(r"__[^/]*__($|/)", name):
                continue
            if not member.isreg() or member.issparse():
                kind = "is a link, a device or a sparse file"
            elif name.startswith("/") or ".." in name.split("/"):
                kind = "names a place outside its tar"
            else:
                yield member, name
                continue
            errors.append(f"{printable(f'{tar.path}/{name}')}: {kind} and is left out")
        end = archive.offset
    with tar.open() as again:
        again.seek(end)
        refuse_unended(tar.path, again.read(tarfile.BLOCKSIZE), end, tar.size)


@contextlib.contextmanager
def _as_one_error(file: "_Hashed", tar: Tar) -> Iterator[None]:
    """Turn whatever tarfile says of a damaged tar into one InceptiveError."""
    try:
        yield
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        what = f"is no tar, or a damaged one ({printable(str(error))})"
        if file.start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
            what = "is compressed; unpack it, images gain nothing by it"
        raise InceptiveError(f"{printable(tar.path)}: {what}") from None


def _label(content: bytes, title: str, errors: list[str]) -> int:
    """The number in a .cls; -1, said so, if there is none."""
    text = content.strip()
    if text.isdigit() and len(text) <= 9:
        return int(text)
    errors.append(f"{title}: is no label (expected a number from 0 on)")
    return -1


def parts(name: str) -> tuple[str, str]:
    """A member's key and its extension: before and after the first dot of the file name."""
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return folder + slash + stem, extension.lower()


class _Hashed(io.RawIOBase):
    """A file that is read once from end to end, hashed on the way."""

    def __init__(self, file: IO[bytes], progress: Read):
        self.file, self.progress, self.hash = file, progress, hashlib.sha256()
        self.start = b""
        self.archive: tarfile.TarFile | None = None

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(size)
        self.start = self.start or content[:8]
        self.hash.update(content)
        self.progress(len(content))
        return content

    def read_member(self, member: tarfile.TarInfo, most: int) -> bytes:
        assert self.archive is not None
        file = self.archive.extractfile(member)
        return file.read(most) if file else b""

    def rest(self) -> str:
        """The SHA-256 of all, once what was not asked for is read too."""
        while self.read(CHUNK):
            pass
        return self.hash.hexdigest()
