"""Images inside tar files: their places and bytes. Nothing is ever unpacked."""

import errno
import os
import stat
import tarfile
from dataclasses import dataclass
from typing import IO

import numpy as np

from inceptive.data.source import Images
from inceptive.errors import InceptiveError, printable, readable
from inceptive.images import Stored

PLACE = [("tar", np.int32), ("offset", np.int64), ("length", np.int64)]


def place_type(longest: int) -> np.dtype[np.void]:
    """The dtype of an array of places: the tar's number, bytes, and the name, of at most `longest`."""
    return np.dtype([*PLACE, ("name", f"S{max(longest, 1)}")])


@dataclass(frozen=True)
class Tar:
    """A tar file as it was when indexed: bytes, and modification time in nanoseconds."""

    path: str
    size: int
    mtime: int

    def open(self, ahead: int = 0) -> IO[bytes]:
        """Open the file for reading; `ahead` bytes at a time, for sequential readers.

        Raises InceptiveError if it is gone, or has changed.
        """
        title = printable(self.path)
        with readable(self.path):
            file = open(self.path, "rb", buffering=ahead or -1)  # noqa: SIM115
        if (now := at_path(self.path, file.fileno())) != self:
            file.close()
            raise InceptiveError(
                f"{title}: was changed while it was in use "
                f"({self.size} bytes before, {now.size} now); start again"
            )
        return file


def at_path(path: str, descriptor: int | None = None) -> Tar:
    """The current tar at `path`. Raises OSError if there is none."""
    status = os.stat(path if descriptor is None else descriptor)
    if not stat.S_ISREG(status.st_mode):  # a pipe might be waited for forever
        raise OSError(errno.EINVAL, "it is not a file", path)
    return Tar(path, status.st_size, status.st_mtime_ns)


def refuse_unended(name: str, block: bytes, at: int, size: int | None = None) -> None:
    """Raise InceptiveError unless `block`, at byte `at` of the tar `name`, is the mark that ends a tar:
    tarfile takes a damaged header, and a file that stops between two members, for the end."""
    if block != bytes(tarfile.BLOCKSIZE):
        kind = "is damaged" if len(block) == tarfile.BLOCKSIZE else "is cut short"
        of = "" if size is None else f" of {size}"
        raise InceptiveError(f"{printable(name)}: {kind} at byte {at}{of}; fetch it again")


@dataclass(frozen=True)
class Member(Stored):
    """`length` bytes of a tar, from `offset` on: an image file. content is set if they were read."""

    tar: Tar
    file: str
    offset: int
    length: int
    content: bytes = b""

    @property
    def name(self) -> str:
        return f"{self.tar.path}/{self.file}"

    def read(self) -> bytes:
        if self.content:
            return self.content
        with self.tar.open() as file:
            return read_at(file, self)


def read_at(file: IO[bytes], member: Member) -> bytes:
    """Read the bytes of `member` from its open tar."""
    with readable(member.name):
        file.seek(member.offset)
        content = file.read(member.length)
    if len(content) < member.length:
        raise InceptiveError(f"{printable(member.name)}: its tar ends before it does")
    return content


@dataclass(frozen=True)
class TarImages(Images):
    """Image files inside `tars`: places (N,), see `place_type`. The splits of a set share its tars.

    pixels (N,) of uint64 are the pictures' digests, or zeros."""

    arrays = "places", "pixels"
    places: np.ndarray
    tars: tuple[Tar, ...]
    pixels: np.ndarray

    def digests(self) -> np.ndarray:
        return self.pixels

    def source(self, index: int) -> Member:
        place = self.places[index]
        file = bytes(place["name"]).decode(errors="surrogateescape")
        return Member(self.tars[place["tar"]], file, int(place["offset"]), int(place["length"]))

    def name(self, index: int) -> str:
        return self.source(index).name
