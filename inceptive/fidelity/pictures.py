"""Pictures to be compared: a folder, a tar, an array or a list, each decoded as Pillow does."""

import hashlib
import os
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from inceptive.data.cache import signature
from inceptive.data.layout import list_images
from inceptive.data.shards.member import Member, at_path, refuse_unended
from inceptive.engines.prediction import as_source, is_array
from inceptive.errors import InceptiveError, printable, reason
from inceptive.images import AT_ONCE, SUFFIXES, DeepPicture, Source, read_picture, to_eight_bits
from inceptive.io.paths import expand

KINDS = (
    "pictures are a folder, a .tar, a .npy or .npz of (N, H, W, 3) or (N, H, W) uint8, an array or "
    "tensor of such, or a list of images"
)


@dataclass(frozen=True)
class Pictures:
    """N pictures called `name`. digest: differs for other pictures, as far as can be told without
    reading the files: their names, sizes and times; of arrays, the pixels. notes: what is left out."""

    name: str
    sources: Sequence[Source] | np.ndarray
    digest: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sources)

    def load(self, index: int) -> np.ndarray:
        """Decode picture `index`: (H, W, 3) of uint8.

        As the peers do with `Image.open(file).convert("RGB")`: neither turned upright nor converted to
        sRGB, transparency dropped. Samples deeper than 8 bits are scaled, where Pillow clips some.
        Raises InceptiveError, naming the picture, if it cannot be decoded.
        """
        source = self.sources[index]
        path = isinstance(source, str | os.PathLike)
        name = "" if path or isinstance(source, Member) else f"{self.name}, picture {index}"
        with AT_ONCE.decoding():
            picture = read_picture(source, name=name)
            if isinstance(picture, DeepPicture):
                picture = to_eight_bits(picture, 3, None, name or str(source))
            return np.asarray(picture.convert("RGB"))


def open_pictures(pictures: Any) -> Pictures:
    """What `pictures`, one of KINDS, names or holds: those of a folder and of the folders in it by their
    names, of a tar in its order.

    Raises InceptiveError if there are none, or it is nothing of KINDS.
    """
    if is_array(pictures):
        return _of_array(np.asarray(_channels_last(pictures)), "array")
    if isinstance(pictures, str | os.PathLike):
        return _at_path(expand(pictures))
    if isinstance(pictures, Sequence) and pictures:
        sources = [as_source(image) for image in pictures]
        digest = hashlib.sha256()
        for source in sources:
            digest.update(_identity(source))
        return Pictures("list", sources, digest.hexdigest())
    raise InceptiveError(f"{type(pictures).__name__}: holds no pictures; {KINDS}")


def _channels_last(pictures: Any) -> Any:
    """An array as it is, a tensor (N, 3, H, W) as (N, H, W, 3)."""
    if isinstance(pictures, np.ndarray):
        return pictures
    pictures = pictures.detach().cpu()
    return pictures.permute(0, 2, 3, 1) if pictures.ndim == 4 else pictures


def _identity(source: Source) -> bytes:
    if isinstance(source, str | os.PathLike):
        return os.fsencode(source) + repr(signature(os.fspath(source))).encode()
    content = source if isinstance(source, bytes) else np.asarray(source).tobytes()
    return hashlib.sha256(content).digest()


def _at_path(path: Path) -> Pictures:
    name = printable(path)
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise InceptiveError(f"{name}: there is no such file or folder")
    if path.suffix == ".tar":
        return _of_tar(path)
    if path.suffix in (".npy", ".npz"):
        return _of_array(read_array(path), name)
    raise InceptiveError(f"{name}: is not of a known kind; {KINDS}")


def _of_folder(path: Path) -> Pictures:
    files, _, notes = list_images(path)
    if not files:
        raise InceptiveError(f"{printable(path)}: holds no pictures")
    digest = hashlib.sha256()
    for file in files:
        size, changed, *_ = signature(file) or (0, 0)
        digest.update(os.fsencode(os.path.relpath(file, path)) + f"\0{size} {changed}\n".encode())
    return Pictures(printable(path), files, digest.hexdigest(), tuple(notes))


def _of_tar(path: Path) -> Pictures:
    name = printable(path)
    try:
        tar = at_path(str(path))
        with tarfile.open(path, "r:") as archive:
            members = [
                Member(tar, each.name, each.offset_data, each.size)
                for each in archive
                if each.isreg() and PurePosixPath(each.name).suffix.lower() in SUFFIXES
            ]
            end = archive.offset  # type: ignore[attr-defined]
        with tar.open() as file:
            file.seek(end)
            refuse_unended(str(path), file.read(tarfile.BLOCKSIZE), end, tar.size)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise InceptiveError(
            f"{name}: is no tar, or a damaged or compressed one ({reason(error)})"
        ) from None
    if not members:
        raise InceptiveError(f"{name}: holds no pictures")
    return Pictures(name, members, hashlib.sha256(f"{tar.size} {tar.mtime}".encode()).hexdigest())


def read_array(path: Path) -> np.ndarray:
    """The array in a .npy file, not read before it is used, or the first one in an .npz.

    Raises InceptiveError if there is none.
    """
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return np.asarray(file[file.files[0]])
    except (OSError, ValueError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise InceptiveError(
            f"{printable(path)}: holds no array that can be read ({reason(error)})"
        ) from None


def _of_array(array: np.ndarray, name: str) -> Pictures:
    shaped = array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3))
    if array.dtype != np.uint8 or not shaped or not array.size:
        raise InceptiveError(
            f"{name}: pictures in an array are uint8 (N, H, W, 3) or (N, H, W), not {array.dtype} "
            f"{array.shape}"
        )
    if array.ndim == 3 and array.shape[2] in (3, 4):  # else as many pictures, 3 pixels wide
        raise InceptiveError(
            f"{name}: {array.shape} is one picture; several are (N, H, W, 3), one is (1, H, W, 3)"
        )
    array = array[..., 0] if array.shape[3:] == (1,) else array
    digest = hashlib.sha256(repr(array.shape).encode())
    for picture in array:
        digest.update(picture.tobytes())
    return Pictures(name, array, digest.hexdigest())
