"""Fifty photographs in odd sizes and formats, made here, that a browser and Pillow both read."""

import functools
import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from images.test_colour import P3, PROPHOTO, grey_profile, rgb_profile
from PIL import Image, ImageCms
from sklearn.datasets import load_sample_images

ORIENTATION = 0x0112
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@functools.cache
def photographs() -> list[tuple[str, bytes]]:
    """(name, content of the file) of each, always the same."""
    return list(_photographs())


def _photographs() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(22)
    whole = [Image.fromarray(pixels) for pixels in load_sample_images().images]

    def piece(wide: int = 0, high: int = 0) -> Image.Image:
        """A part of one of two photographs, enlarged with grain where it is larger than they are."""
        image = whole[int(rng.integers(2))]
        wide, high = wide or int(rng.integers(90, 420)), high or int(rng.integers(90, 420))
        times = max(1, -(-wide // 600), -(-high // 400))
        w, h = -(-wide // times), -(-high // times)
        left, top = int(rng.integers(0, 641 - w)), int(rng.integers(0, 428 - h))
        image = image.crop((left, top, left + w, top + h))
        if times == 1:
            return image
        image = image.resize((wide, high), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 8, (high, wide, 1))
        return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))

    def file(image: Image.Image, form: str, **options) -> bytes:
        out = io.BytesIO()
        image.save(out, form, **options)
        return out.getvalue()

    def turned(orientation: int) -> bytes:
        tags = Image.Exif()
        tags[ORIENTATION] = orientation
        return tags.tobytes()

    def see_through(image: Image.Image) -> Image.Image:
        image.putalpha(Image.radial_gradient("L").resize(image.size))
        return image

    for orientation in range(1, 9):
        image = piece(*((640, 420) if orientation == 6 else (0, 0)))
        yield f"turned {orientation}.jpg", file(image, "JPEG", exif=turned(orientation))
    for sampling in (0, 1, 2):
        for progressive in (False, True):
            options = {"subsampling": sampling, "progressive": progressive}
            kind = f"{('444', '422', '420')[sampling]}{' progressive' if progressive else ''}"
            yield f"{kind}.jpg", file(piece(), "JPEG", quality=70 + 9 * sampling, **options)
            yield (
                f"large {kind}.jpg",
                file(piece(*rng.integers(900, 1700, 2)), "JPEG", quality=88, **options),
            )
    yield "huge.jpg", file(piece(3000, 2000), "JPEG", quality=90)
    yield "huge turned.jpg", file(piece(1999, 3001), "JPEG", exif=turned(8), restart_marker_rows=1)
    yield "grey.jpg", file(piece().convert("L"), "JPEG")
    yield "large grey.jpg", file(piece(1100, 777).convert("L"), "JPEG")
    yield "rgb.jpg", file(piece(), "JPEG", keep_rgb=True, subsampling=0)
    yield "poor.jpg", file(piece(), "JPEG", quality=8)
    yield "display p3.jpg", file(piece(), "JPEG", icc_profile=rgb_profile(P3, 2.2))
    yield "large display p3.jpg", file(piece(1500, 1200), "JPEG", icc_profile=rgb_profile(P3, 2.2))
    yield "srgb.jpg", file(piece(1400, 900), "JPEG", icc_profile=SRGB)
    yield "prophoto.png", file(piece(), "PNG", icc_profile=rgb_profile(PROPHOTO, 1.8))
    yield "grey of 1.8.png", file(piece().convert("L"), "PNG", icc_profile=grey_profile(1.8))
    yield "rgb.png", file(piece(), "PNG")
    yield "alpha.png", file(see_through(piece()), "PNG")
    yield "palette.png", file(piece().quantize(60), "PNG")
    yield "clear palette.png", file(piece().quantize(60), "PNG", transparency=7)
    yield "grey.png", file(piece().convert("L"), "PNG")
    yield "black and white.png", file(piece().convert("1"), "PNG")
    deep = np.asarray(piece().convert("L")).astype(np.uint16) * 257 + rng.integers(0, 120)
    yield "16 bit.png", file(Image.fromarray(deep.clip(0, 65535).astype(np.uint16)), "PNG")
    plain = file(piece(), "PNG")
    gamma = b"gAMA" + struct.pack(">I", 100000)
    gamma = struct.pack(">I", 4) + gamma + struct.pack(">I", zlib.crc32(gamma))
    yield "gamma.png", plain[:33] + gamma + plain[33:]
    yield "turned.png", file(piece(), "PNG", exif=turned(6))
    yield "lossy.webp", file(piece(), "WEBP", quality=80)
    yield "lossless.webp", file(piece(), "WEBP", lossless=True)
    yield "alpha.webp", file(see_through(piece()), "WEBP", lossless=True)
    yield "turned.webp", file(piece(), "WEBP", lossless=True, exif=turned(3))
    yield "still.gif", file(piece(), "GIF")
    frames = {"save_all": True, "append_images": [piece(200, 120), piece(200, 120)]}
    yield "moving.gif", file(piece(200, 120), "GIF", **frames)
    yield "24 bit.bmp", file(piece(), "BMP")
    yield "palette.bmp", file(piece().quantize(90), "BMP")
    yield "lossy.avif", file(piece(), "AVIF", quality=80)
    yield "444.avif", file(piece(), "AVIF", quality=90, subsampling="4:4:4")
    yield "tall.jpg", file(piece(120, 420), "JPEG")
    yield "tiny.png", file(piece(7, 5), "PNG")
    yield "thin.png", file(piece(3, 400), "PNG")
    yield "exact.png", file(piece(64, 64), "PNG")
