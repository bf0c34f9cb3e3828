"""Safe decoding of any image file to an upright 8-bit picture, grey or RGB."""

import contextlib
import ctypes
import enum
import functools
import io
import logging
import os
import stat
import struct
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from PIL import (
    IcoImagePlugin,
    Image,
    JpegImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    UnidentifiedImageError,
    _imaging,
)

from inceptive.errors import InceptiveError, printable, reason
from inceptive.images import tiff
from inceptive.images.colour import DamagedProfile, to_srgb
from inceptive.images.deep import (
    PNG,
    DeepPicture,
    Range,
    is_deep_png,
    of_image,
    read_png,
    read_pnm,
)
from inceptive.images.limit import PixelLimit
from inceptive.images.tiff import is_deep, is_plain, is_preview, kind_of, read_tags, read_tiff
from inceptive.images.unread import RAW, what

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000")
"""Pillow's readers that are used, and those for ICO and TGA: none that runs another program."""

# fmt: off
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".avif", ".gif", ".bmp", ".dib",
    ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm", ".heic", ".heif", ".hif",
    ".jp2", ".j2k", ".j2c", ".jpx", ".tga", ".ico",
))
# fmt: on
"""File names that are taken for images when a folder is read."""

MAX_PIXELS = 100_000_000
"""Pixels that are decoded at most: 400 MB as RGB. A larger JPEG is read at a smaller scale."""

MAX_BYTES = 1 << 30
"""Bytes of a file that are read at most: more than MAX_PIXELS take in any format that is decoded."""

AT_ONCE = PixelLimit(2 * MAX_PIXELS)
"""Pixels that are decoded at the same time: some 2 GB, by whatever number of threads."""

HEIF_BRANDS = frozenset(b"heic heix heim heis hevc hevx mif1 msf1".split())


class Note(enum.StrEnum):
    """Remarks about a picture that could be read nevertheless."""

    PROFILE = (
        "the colour profile is damaged or for other colours than the picture's, and is left out"
    )
    BLANK = (
        "the picture comes out in one flat colour, though its file holds more: white drawn on "
        "transparency (which is laid on white), or samples beyond those that are shown"
    )
    DARK = (
        "the samples fill less than a quarter of 16 bits and are shown by all of them: as dark or flat "
        "as that; a model that learned from such pictures knows their range (data.sample_range)"
    )


class NoImage(InceptiveError):
    """The input is of a type that cannot be an image, whatever its content."""


class Stored(ABC):
    """An image file inside another file, such as a tar."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its display name."""

    @abstractmethod
    def read(self) -> bytes:
        """Its bytes. Raises InceptiveError, naming it, if they cannot be read."""


Source = str | os.PathLike[str] | bytes | Stored | Image.Image | np.ndarray


def decode(
    source: Source,
    channels: int = 3,
    shorter: int | None = None,
    name: str = "",
    sample_range: Range | None = None,
    note: Callable[[Note], object] | None = None,
) -> Image.Image:
    """Decode the picture in `source`, upright and 8-bit, in sRGB: mode "RGB", or "L" for one channel.

    source is a path, the bytes of a file, a file `Stored` in another, a Pillow image, or an array
    (H, W) or (H, W, 3) of uint8; errors call it `name`, or by its own name.
    Transparency is composited on white; EXIF orientation is applied; the first frame of an animation is
    used. Samples of more than 8 bits are scaled to 0-255: from the range that the file declares (the
    maxval of a PGM, the bits of a 12-bit TIFF), else from `sample_range`, else from all 16 bits, or from
    0-1 if they are floats. With `sample_range` an array may also be of other integers or of floats.
    Colours are converted to sRGB by the file's colour profile (ICC).
    With `shorter`, a JPEG may be decoded at a smaller scale (1/2, 1/4, 1/8, in the DCT domain) as
    long as its shorter side keeps at least twice that many pixels; so may other pictures whose colours
    are converted.
    Remarks about a picture that can be read are passed to `note`.

    Raises InceptiveError, naming the file and the reason, if no picture can be decoded.
    """
    if channels not in (1, 3):
        raise InceptiveError(f"pictures have 1 or 3 channels, not {channels}")
    name = source_name(source, name)
    with AT_ONCE.decoding():
        picture = read_picture(source, shorter, name, sample_range is not None)
        return to_eight_bits(picture, channels, sample_range, name, shorter, note)


def to_eight_bits(
    picture: Image.Image | DeepPicture,
    channels: int,
    sample_range: Range | None,
    name: str,
    shorter: int | None = None,
    note: Callable[[Note], object] | None = None,
) -> Image.Image:
    """Convert the result of `read_picture` to that of `decode`."""
    note = note or (lambda _: None)
    with _decoding(name):
        if isinstance(picture, DeepPicture):
            image = picture.as_image(picture.shown_range(sample_range, name))
            if _is_flat(image) and not picture.is_flat():
                note(Note.BLANK)
            elif sample_range is None and picture.fills_little():
                note(Note.DARK)
            image.info["icc_profile"] = picture.profile
            return _finish(image, channels, shorter, note)
        return _finish(picture, channels, shorter, note)


def read_picture(
    source: Source, shorter: int | None = None, name: str = "", deep_arrays: bool = False
) -> Image.Image | DeepPicture:
    """Read the pixels of the picture in `source` before conversion to 8 bits: see `decode`.

    More than 8 bits per sample make a DeepPicture, already upright. Raises InceptiveError as `decode`
    does.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, deep_arrays)
    name = source_name(source, name)
    if isinstance(source, Image.Image):
        with _decoding(name):
            _admit(source.size, name)
            source.load()
            return _samples_of(source)
    if not isinstance(source, str | os.PathLike | bytes | Stored):
        raise NoImage(f"{type(source).__name__} is no image")
    if isinstance(source, Stored):
        source = source.read()
    data = source if isinstance(source, bytes) else read_image(source)
    if not data:
        raise InceptiveError(f"{name}: is empty (0 bytes)")
    with _decoding(name, data):
        return _open(data, name, shorter)


def source_name(source: Source, name: str = "") -> str:
    """The display name of the picture in `source`, in one line: `name`, else its own name or path."""
    if isinstance(source, Stored):
        name = name or source.name
    elif isinstance(source, str | os.PathLike):
        name = name or os.fspath(source)
    return printable(name or "the image")


def read_image(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image file. InceptiveError if unreadable, or more than MAX_BYTES."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            # a pipe might be waited for forever
            raise InceptiveError(f"{printable(path)}: cannot be read (it is not a file)")
        if status.st_size > MAX_BYTES:
            raise InceptiveError(
                f"{printable(path)}: is too large to decode safely ({status.st_size / 1e9:.1f} GB; "
                f"at most {MAX_BYTES / 1e9:.1f})"
            )
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        # A Path has lost one of the two slashes.
        web = os.fspath(path).lower().startswith(("http:/", "https:/"))
        why = "a web address is not fetched; save the picture to a file" if web else reason(error)
        raise InceptiveError(f"{printable(path)}: cannot be read ({why})") from None
    except ValueError:
        raise InceptiveError(
            f"{printable(path)}: cannot be read (no file can have that name)"
        ) from None


def _from_array(array: np.ndarray, deep: bool) -> Image.Image | DeepPicture:
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if shaped and array.size and array.dtype == np.uint8:
        return Image.fromarray(array)
    if shaped and array.size and deep and array.dtype.kind in "iuf":
        return DeepPicture(array if array.ndim == 3 else array[..., None])
    also = "" if deep else " (of others only for a model that learned from deeper samples)"
    raise NoImage(
        f"an array must be uint8 (H, W) or (H, W, 3){also}, not {array.dtype} {array.shape}"
    )


@contextlib.contextmanager
def _decoding(name: str, data: bytes = b"") -> Iterator[None]:
    """Turn whatever a decoder does about a damaged file into one InceptiveError."""
    try:
        yield
    except InceptiveError:
        raise
    except UnidentifiedImageError:
        raise InceptiveError(f"{name}: {what(data)}") from None
    except Image.DecompressionBombError:
        raise InceptiveError(
            f"{name}: is too large to decode safely (over {MAX_PIXELS / 1e6:.0f} million pixels)"
        ) from None
    except Exception as error:  # a damaged file may raise anything inside a decoder
        why = f"is truncated or damaged ({printable(reason(error))})"
        if (tags := read_tags(data)) and not is_plain(tags):
            why = kind_of(tags)
        raise InceptiveError(f"{name}: {why}") from None


TEXTS = (b"tEXt", b"zTXt", b"iTXt")
"""PNG's chunks that hold texts: none is needed for the pixels."""


def _open(data: bytes, name: str, shorter: int | None) -> Image.Image | DeepPicture:
    """Read the header, refuse what is too large, and load every pixel."""
    try:
        return _loaded(data, name, shorter)
    except ValueError:  # Pillow refuses a PNG with over 1 MB of text, however sound
        if not data.startswith(PNG):
            raise
    try:
        return _loaded(_without(data, TEXTS), name, shorter)
    except ValueError:  # or with as large a profile
        picture = _loaded(_without(data, (*TEXTS, b"iCCP")), name, shorter)
    if isinstance(picture, DeepPicture):
        return replace(picture, profile=None)
    picture.info["icc_profile"] = None
    return picture


def _without(data: bytes, kinds: tuple[bytes, ...]) -> bytes:
    """A PNG file without chunks of such kinds."""
    chunks = [data[start:end] for kind, start, end in _chunks(data) if kind not in kinds]
    return b"".join([PNG, *chunks])


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind, start and end of each whole chunk of a PNG file."""
    start = len(PNG)
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 8], start, end
        start = end


def _check_sums(data: bytes, name: str) -> None:
    """Refuse a PNG file with other pixels than were written: Pillow checks all sums but theirs."""
    view = memoryview(data)
    for kind, start, end in _chunks(data):
        total = int.from_bytes(view[end - 4 : end], "big")
        if kind == b"IDAT" and end <= len(data) and zlib.crc32(view[start + 4 : end - 4]) != total:
            raise InceptiveError(f"{name}: is truncated or damaged (its checksum is wrong)")


def _loaded(data: bytes, name: str, shorter: int | None) -> Image.Image | DeepPicture:
    if _is_heif(data):
        return _open_heif(data, name)
    if data.startswith(ICO):
        return _open_ico(data, name)
    if data.startswith(PNG):
        _check_sums(data, name)
    image: Image.Image
    if data.startswith(b"\xff\xd8\xff") and len(data) > 20:
        # By its class: Pillow's choice would read the further pictures of an MPO.
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
        # All of it at once: in arithmetic coding libjpeg cannot wait for more.
        image.decodermaxblock = max(image.decodermaxblock, len(data))
        scale = 2 * shorter / min(image.size) if shorter else 1
        if scale < 1:
            least = (int(image.width * scale) + 1, int(image.height * scale) + 1)
            image.draft(None, least)  # type: ignore[no-untyped-call]
    elif (tags := read_tags(data)) and is_preview(tags):
        raise InceptiveError(f"{name}: is {RAW}")
    elif tags and is_deep(tags):
        _admit((tags[tiff.WIDTH], tags[tiff.HEIGHT]), name)
        return _turned(read_tiff(data, tags, MAX_BYTES, name), tags.get(ORIENTATION))
    else:
        image = _read_header(data, name)
    _admit(image.size, name)
    if is_deep_png(data):
        return _as_beside(*read_png(data))
    if isinstance(image, PpmImagePlugin.PpmImageFile) and (pnm := read_pnm(image, data)):
        return pnm
    image.load()
    if image.format == "TGA" and not data[17] & 15:  # no bit of what looks like alpha is
        image = image.convert("RGB" if image.mode == "RGBA" else image.mode)
    return _samples_of(image)


def _samples_of(image: Image.Image) -> Image.Image | DeepPicture:
    """An image that was read as it is; if it is deeper than 8 bits, its samples, upright."""
    if image.mode.startswith(("I", "F")):
        return _as_beside(of_image(image), image)
    return image


def _as_beside(picture: DeepPicture, image: Image.Image) -> DeepPicture:
    """The samples of `image`, upright and with the profile that lies beside them."""
    return replace(_turned(picture, _orientation(image)), profile=_profile(image))


def _read_header(data: bytes, name: str) -> Image.Image:
    """The image of the first of FORMATS that takes `data`, its pixels not read yet.

    Not Image.open: that warns of, or refuses, sizes by limits of its own.
    """
    Image.init()  # Pillow registers its rarer readers only when asked
    for reader, accepts in (Image.OPEN[form] for form in FORMATS if form in Image.OPEN):
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
            accepted = not accepts or accepts(data[:16])
            # A string says that this Pillow was built without the format.
            if accepted and not isinstance(accepted, str):
                return reader(io.BytesIO(data), "")
    # Last: a TGA has no mark at its start, and its reader takes much for one.
    if name.lower().endswith(".tga") or data.endswith(TGA_END):
        with contextlib.suppress(SyntaxError, IndexError, struct.error):
            return TgaImagePlugin.TgaImageFile(io.BytesIO(data))
    raise UnidentifiedImageError


ICO, TGA_END = b"\0\0\1\0", b"TRUEVISION-XFILE.\0"


@functools.cache
def quiet_decoders() -> None:
    """Keep messages of Pillow and libtiff on damaged files off standard error, in this whole process.

    For a program that reports such files itself, as the command does: messages may quote the file.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else the last resort prints it
    library = ctypes.CDLL(str(_imaging.__file__))  # finds what Pillow is linked to
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        # Where it is linked otherwise, lines are the worst.
        with contextlib.suppress(AttributeError):
            getattr(library, name)(None)


def _is_heif(data: bytes) -> bool:
    """Whether an ISO media file is HEIC; AVIF shares its brands and is left to Pillow."""
    if data[4:8] != b"ftyp" or data[8:12] not in HEIF_BRANDS:
        return False
    box = data[: min(int.from_bytes(data[:4], "big"), 400)]
    return not {box[k : k + 4] for k in range(16, len(box), 4)} & {b"avif", b"avis"}


def _open_heif(data: bytes, name: str) -> Image.Image:
    try:
        import pi_heif
    except ImportError:
        raise InceptiveError(
            f"{name}: is a HEIC image; to read those: pip install 'inceptive[heic]'"
        ) from None
    heif = pi_heif.open_heif(io.BytesIO(data))
    _admit(heif.size, name)
    return heif.to_pillow()  # type: ignore[no-any-return]


def _open_ico(data: bytes, name: str) -> Image.Image | DeepPicture:
    """The largest picture of an icon file, whose own word for its size is not relied on."""
    count = int.from_bytes(data[4:6], "little")
    entries = [data[at : at + 16] for at in range(6, 6 + 16 * count, 16)]
    entry = max(entries, key=lambda e: ((e[0] or 256) * (e[1] or 256), e[6]))
    size, start = struct.unpack("<II", entry[8:])
    content = data[start : start + size]
    if content.startswith(PNG):
        return _loaded(content, name, None)
    header, width, height = struct.unpack("<III", content[:12])
    if header < 40:
        raise ValueError("an icon of an early kind")
    _admit((width, height // 2), name)
    alone = ICO + b"\1\0" + entry[:12] + struct.pack("<I", 22) + content
    return IcoImagePlugin.IcoFile(io.BytesIO(alone)).frame(0)


def _admit(size: tuple[int, int], name: str) -> None:
    """Refuse a picture that is too large, or of no pixels; wait until there is room for any other."""
    if 0 in size:
        raise InceptiveError(f"{name}: has no pixels ({size[0]} x {size[1]})")
    if size[0] * size[1] > MAX_PIXELS:
        raise InceptiveError(
            f"{name}: is too large to decode safely ({size[0]} x {size[1]} pixels; "
            f"at most {MAX_PIXELS / 1e6:.0f} million)"
        )
    AT_ONCE.take(size[0] * size[1])


def _finish(
    image: Image.Image, channels: int, shorter: int | None, note: Callable[[Note], object]
) -> Image.Image:
    """Upright, in sRGB, on white, in the mode for `channels`."""
    image = _upright(image)
    try:
        image = to_srgb(image, _profile(image), shorter)
    except DamagedProfile:
        note(Note.PROFILE)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
        if _is_flat(image) and not _is_flat(clear):
            note(Note.BLANK)
    mode = "RGB" if channels == 3 else "L"
    if image.mode == mode:
        return image
    # Grey is made from RGB for every mode but those that are grey already.
    if image.mode not in ("L", "1"):
        image = image.convert("RGB")
    return image.convert(mode)


def _profile(image: Image.Image) -> bytes | None:
    """The ICC profile of an image, for `to_srgb`."""
    profile = image.info.get("icc_profile", b"")
    return profile if isinstance(profile, bytes) else None


def _is_flat(image: Image.Image) -> bool:
    """Whether a picture of several channels, or of one, is of one colour, or nearly."""
    extrema = image.getextrema()
    return all(high - low <= 2 for low, high in np.reshape(extrema, (-1, 2)).tolist())


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by its EXIF orientation."""


ORIENTATION = 0x0112


def _orientation(image: Image.Image) -> object:
    """The EXIF orientation, whatever the other tags are; None if there is none."""
    try:
        return image.getexif().get(ORIENTATION)
    except Exception:  # unreadable EXIF says nothing about the pixels
        return None


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says. Not `ImageOps.exif_transpose`, which writes the EXIF anew,
    and fails by any other tag that is not as it should be."""
    orientation = _orientation(image)
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _turned(picture: DeepPicture, orientation: object) -> DeepPicture:
    """The same of samples."""
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.turned(turn)
