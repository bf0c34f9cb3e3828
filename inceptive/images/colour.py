"""Colour profiles (ICC): conversion of any profile to sRGB, with littlecms.

Only an ICC profile counts. Other colour metadata is ignored, as by most decoders: gAMA and cHRM of a
PNG, which are often wrong; CICP of a PNG, an AVIF or a HEIC, where phones write a profile; and the
profile of a JPEG 2000 file, which Pillow does not expose.
"""

import functools
import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

BASES = {"L": "L", "LA": "L", "La": "L", "CMYK": "CMYK"}
"""The mode of a picture's colours without alpha, by its own mode, where it is not RGB."""
SPACES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}
"""The mode of the colours that a profile is for, by the name of its colour space."""
WITHOUT = "1", "LAB"
"""Modes that no profile changes: black and white; and Lab, which is what profiles lead to."""
SAME = 2
"""Levels that a profile may differ from sRGB and be taken for it."""
CONTRAST = 128
"""Levels that lie between black and white, at least, by a profile that is not damaged."""
MOST = 1 << 24
"""Bytes of a profile that are read at most: those of presses have some megabytes."""

Convert = Callable[[Image.Image], Image.Image]


class DamagedProfile(Exception):
    """A profile that is damaged, or for colours other than the picture's."""


def to_srgb(image: Image.Image, profile: bytes | None, shorter: int | None) -> Image.Image:
    """Convert the colours of `image` to sRGB, keeping its alpha; returns `image` itself if already so.

    profile is the ICC profile of its file: b"" if there is none, None if it could not be read. An image
    to be converted is downscaled first, as long as its shorter side keeps twice `shorter` pixels:
    littlecms is slow, and other threads wait for it. Raises DamagedProfile.
    """
    if profile == b"" or image.mode in WITHOUT:
        return image
    if profile is None:
        raise DamagedProfile
    base = BASES.get(image.mode, "RGB")
    convert = _converter(profile, base)
    if convert is None:
        return image
    factor = min(image.size) // (2 * shorter) if shorter else 1
    if factor > 1 and image.mode in ("RGB", "RGBA", "CMYK"):
        image = image.reduce(factor)
    if image.mode in ("CMYK", "YCbCr") or (image.mode == base and "transparency" not in image.info):
        return convert(image.convert(base))
    image = image.convert("LA" if base == "L" else "RGBA")
    converted = convert(image.convert(base))
    converted.putalpha(image.getchannel("A"))
    return converted


@functools.lru_cache(maxsize=16)
def _converter(profile: bytes, base: str) -> Convert | None:
    """What makes sRGB of pictures of mode `base` with that profile; None if they are sRGB.

    Raises DamagedProfile. Relative colorimetric, as browsers show photographs: white stays white and
    what sRGB has stays as it is (most profiles hold a matrix, and know no other intent); the darkest
    black becomes black, which matters for inks. Threads may share a transform that has no cache.
    """
    if len(profile) > MOST:
        raise DamagedProfile
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = SPACES[source.profile.xcolor_space]
        if mode != base and (mode, base) != ("RGB", "L"):  # grey keeps the profile of its original
            raise DamagedProfile
        flags = ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION
        if base == "L":  # a table of grey is made but once, and curves are exact without
            flags |= ImageCms.Flags.NOOPTIMIZE
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        transform = ImageCms.ImageCmsTransform(
            source, target, mode, "RGB", intent, flags=flags
        ).transform
    except (KeyError, OSError, ValueError, ImageCms.PyCMSError):
        raise DamagedProfile from None

    def convert(image: Image.Image) -> Image.Image:
        converted = Image.new("RGB", image.size)
        transform.apply(image.getim(), converted.getim())
        return converted

    white = Image.new(mode, (1, 1), (0, 0, 0, 0) if mode == "CMYK" else "white")
    black = Image.new(mode, (1, 1), (255,) * 4 if mode == "CMYK" else "black")
    if _luma(convert(white)) - _luma(convert(black)) < CONTRAST:
        raise DamagedProfile
    if base == "L":
        levels = np.arange(256, dtype=np.uint8)[None]
        converted = convert(Image.fromarray(levels).convert(mode)).convert("L")
        return (
            None
            if _alike(levels, converted)
            else lambda image: image.point(list(converted.tobytes()))
        )
    if base == "RGB":
        steps = np.linspace(0, 255, 18, dtype=np.uint8)
        colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
        if _alike(colours, convert(Image.fromarray(colours))):
            return None
    return convert


def _luma(image: Image.Image) -> int:
    return image.convert("L").tobytes()[0]


def _alike(colours: np.ndarray, image: Image.Image) -> bool:
    return int(np.abs(np.asarray(image, np.int16) - colours).max()) <= SAME
