"""Any image file, decoded safely and shown to the net in one way.

`decode` turns a file into an upright 8-bit picture, grey or RGB, whatever is inside. `Preprocessing`
turns that into the square array that a net sees, and is the only code that does so: training,
evaluation, prediction, serving and every exported file use it.
"""

import contextlib
import io
import os
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from inceptive.errors import InceptiveError

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM")
"""Pillow's readers that are used: no reader that runs another program is among them."""

# fmt: off
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".avif", ".gif", ".bmp", ".dib",
    ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm", ".heic", ".heif", ".hif",
))
# fmt: on
"""File names that are taken for images when a folder is read."""

MAX_PIXELS = 100_000_000
"""Pixels that are decoded at most: 300 MB as RGB. A larger JPEG is read at a smaller scale."""

HEIF_BRANDS = frozenset(b"heic heix heim heis hevc hevx mif1 msf1".split())
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
Interpolation = Literal["nearest", "box", "bilinear", "bicubic"]
Source = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
Box = tuple[float, float, float, float]


def decode(source: Source, channels: int = 3, shorter: int | None = None) -> Image.Image:
    """The picture in `source`, upright and 8-bit: mode "RGB", or "L" for one channel.

    source is a path, the bytes of a file, a Pillow image, or an array (H, W) or (H, W, 3) of uint8.
    Transparency is laid on white; 16-bit, 32-bit and float samples are scaled to 0-255 (see
    `_to_eight_bits`); EXIF orientation is applied; of an animation the first frame is taken.
    With `shorter`, a JPEG may be decoded at a smaller scale (1/2, 1/4, 1/8, in the DCT domain) as
    long as its shorter side keeps at least twice that many pixels.

    Raises InceptiveError, naming the file and the reason, if there is no picture to be had.
    """
    if isinstance(source, Image.Image):
        return _finish(source, channels)
    if isinstance(source, np.ndarray):
        if (
            source.dtype != np.uint8
            or source.ndim not in (2, 3)
            or (source.ndim == 3 and (source.shape[2] != 3))
        ):
            raise InceptiveError(
                f"an array must be uint8 (H, W) or (H, W, 3), not {source.dtype} {source.shape}"
            )
        return _finish(Image.fromarray(source), channels)
    name = "the image" if isinstance(source, bytes) else printable(source)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise InceptiveError(f"{name}: cannot be read ({error.strerror or error})") from None
    return _finish(_open(data, name, shorter), channels, name)


def printable(path: str | os.PathLike[str]) -> str:
    """A path as one line of text: control characters and undecodable bytes are escaped."""
    text = os.fsdecode(path)
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def _open(data: bytes, name: str, shorter: int | None) -> Image.Image:
    """Read the header, refuse what is too large, and load every pixel."""
    if not data:
        raise InceptiveError(f"{name}: is empty (0 bytes)")
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        return _open_heif(data, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MAX_PIXELS rules below, on what is really decoded
            Image.init()  # Pillow registers its rarer readers only when asked
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if shorter and image.format in ("JPEG", "MPO"):
                scale = 2 * shorter / min(image.size)
                if scale < 1:
                    image.draft(None, (int(image.width * scale) + 1, int(image.height * scale) + 1))
            _refuse_bomb(image.size, name)
            image.load()
            return image
    except UnidentifiedImageError:
        raise InceptiveError(f"{name}: {_what(data)}") from None
    except Image.DecompressionBombError:
        raise InceptiveError(
            f"{name}: is too large to decode safely (over {MAX_PIXELS / 1e6:.0f} million pixels)"
        ) from None
    except InceptiveError:
        raise
    except Exception as error:  # a damaged file may raise anything inside a decoder
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InceptiveError(f"{name}: is truncated or damaged ({reason})") from None


def _open_heif(data: bytes, name: str) -> Image.Image:
    try:
        import pi_heif
    except ImportError:
        raise InceptiveError(
            f"{name}: is a HEIC image; to read those: pip install 'inceptive[heic]'"
        ) from None
    try:
        heif = pi_heif.open_heif(io.BytesIO(data))
        _refuse_bomb(heif.size, name)
        return heif.to_pillow()
    except InceptiveError:
        raise
    except Exception as error:  # as above
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InceptiveError(f"{name}: is truncated or damaged ({reason})") from None


def _refuse_bomb(size: tuple[int, int], name: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise InceptiveError(
            f"{name}: is too large to decode safely ({size[0]} x {size[1]} pixels; "
            f"at most {MAX_PIXELS / 1e6:.0f} million)"
        )


def _what(data: bytes) -> str:
    """What a file that no reader takes seems to be."""
    start = data[:512].lstrip()
    if not data.strip(b"\0"):
        return "is not an image (nothing but zero bytes)"
    if start[:1] == b"<":
        return "is not an image (it holds HTML or XML text)"
    if start[:4] == b"%PDF":
        return "is not an image (it is a PDF document)"
    if start.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        return "is not an image (it holds text)"
    return "is not an image in a known format, or its header is damaged"


def _finish(image: Image.Image, channels: int, name: str = "the image") -> Image.Image:
    """Upright, 8-bit, on white, in the mode for `channels`."""
    with contextlib.suppress(Exception):  # unreadable EXIF says nothing about the pixels
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _to_eight_bits(image)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if channels not in (1, 3):
        raise InceptiveError(f"{name}: pictures have 1 or 3 channels, not {channels}")
    mode = "RGB" if channels == 3 else "L"
    if image.mode == mode:
        return image
    # Grey is made from RGB for every mode but those that are grey already.
    if image.mode not in ("L", "1"):
        image = image.convert("RGB")
    return image.convert(mode)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Integer and float samples scaled to 0-255, so that nothing turns all white or all black.

    Whole numbers: the range is the smallest of 8, 10, 12, 14 and 16 bits that holds the brightest
    sample (cameras put 12 bits into 16). Floats: 0-1 if they lie in it, else 0-255 if they lie in
    that. Anything beyond, or below zero, is stretched from its least to its greatest value.
    Samples that are not finite become black.
    """
    samples = np.asarray(image, dtype=np.float64)
    finite = np.isfinite(samples)
    samples = np.where(finite, samples, 0.0)
    low, high = float(samples.min()), float(samples.max())
    whole = not image.mode.startswith("F")
    ranges = (255.0, 1023.0, 4095.0, 16383.0, 65535.0) if whole else (1.0, 255.0)
    top = next((top for top in ranges if low >= 0 and high <= top), None)
    if top is None:
        bottom, top = low, max(high, low + 1e-12)
    else:
        bottom = 0.0
    scaled = (samples - bottom) * (255.0 / (top - bottom))
    return Image.fromarray(np.where(finite, np.rint(scaled), 0).clip(0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the square array that a net sees.

    The shorter side is resized to size / crop, the centre square of `size` pixels is kept, and each
    channel is shown as (value / 255 - mean) / std. With crop 1.0 the whole shorter side is seen.
    """

    size: int = 224
    channels: int = 3
    crop: float = 1.0
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if self.interpolation not in FILTERS:
            raise InceptiveError(f"interpolation is one of {', '.join(FILTERS)}")
        if not 0 < self.crop <= 1:
            raise InceptiveError(f"crop is a share of the shorter side, not {self.crop}")
        if not len(self.mean) == len(self.std) == self.channels:
            raise InceptiveError(
                f"mean and std need one number for each of {self.channels} channels"
            )

    @property
    def resize(self) -> int:
        """The shorter side, in pixels, from which the square is cut."""
        return round(self.size / self.crop)

    def load(self, source: Source) -> np.ndarray:
        """The picture in `source` as the net's square: uint8 (C, size, size).

        Raises InceptiveError, naming the file and the reason, if it cannot be decoded.
        """
        return self.fit(self.decode(source, self.resize))

    def decode(self, source: Source, shorter: int) -> Image.Image:
        """The picture in this net's channels, to be resized to about `shorter` pixels."""
        return decode(source, self.channels, shorter)

    def fit(self, image: Image.Image) -> np.ndarray:
        """Resize the shorter side, cut the centre square: uint8 (C, size, size)."""
        image = resize_shorter(image, self.resize, self.interpolation)
        left, top = (image.width - self.size) // 2, (image.height - self.size) // 2
        return as_array(image.crop((left, top, left + self.size, top + self.size)))

    def scale_and_shift(self) -> tuple[np.ndarray, np.ndarray]:
        """scale, shift (C, 1, 1) in float32 with net input = uint8 value * scale + shift."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        scale, shift = 1 / (255 * std), -mean / std
        return scale.astype(np.float32)[:, None, None], shift.astype(np.float32)[:, None, None]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Raises InceptiveError if `values` names what a Preprocessing has not."""
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) - known:
            raise InceptiveError(f"preprocessing takes {', '.join(sorted(known))}; found {values}")
        lists = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        try:
            return cls(**lists)
        except TypeError as error:
            raise InceptiveError(f"preprocessing: {error}") from None


def resize_shorter(image: Image.Image, side: int, interpolation: Interpolation) -> Image.Image:
    """`image` with its shorter side `side` pixels long and its proportions kept."""
    scale = side / min(image.size)
    size = (max(side, round(image.width * scale)), max(side, round(image.height * scale)))
    if image.size == size:
        return image
    return image.resize(size, FILTERS[interpolation])


def resize_box(
    image: Image.Image, box: Box, side: int, interpolation: Interpolation
) -> Image.Image:
    """The part of `image` in `box` (left, top, right, bottom) as a square of `side` pixels."""
    return image.resize((side, side), FILTERS[interpolation], box=box)


def as_array(image: Image.Image) -> np.ndarray:
    """A grey or RGB image as uint8 (C, H, W)."""
    array = np.asarray(image)
    planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return np.ascontiguousarray(planes)
