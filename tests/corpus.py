"""Hostile input, made from a seed: the same bytes on every machine with the same libraries.

    python tests/corpus.py FOLDER [COUNT [SEED]]    writes COUNT mutated images

Nothing of it is committed: each kind of file is made by the library that writes it, then broken.
"""

import io
import struct
import sys
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

HUGE = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Values that sizes, counts and offsets are replaced with."""
GOLDEN = Path(__file__).parent / "golden"
"""Where the test of the decoder keeps a HEIC: no library here writes them."""


def picture(mode: str = "RGB", side: int = 40) -> Image.Image:
    image = Image.new("RGB", (side, side + 9), "teal")
    ImageDraw.Draw(image).ellipse((5, 5, side - 3, side - 9), "orange", "black")
    if mode == "I;16":
        wide = np.asarray(image.convert("L")).astype(np.uint16) * 257
        return Image.fromarray(wide)
    if mode == "F":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        return image
    return image.convert(mode)


def encoded(form: str, mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    picture(mode).save(out, form, **options)
    return out.getvalue()


def exif() -> bytes:
    tags = Image.Exif()
    tags[0x0112], tags[0x010E], tags[0x8769] = 6, "a picture", {0x9003: "2026:11:22 10:00:00"}
    return tags.tobytes()


def frames() -> dict[str, Any]:
    return {"save_all": True, "append_images": [picture().rotate(90), picture().rotate(180)]}


@cache
def sound() -> dict[str, bytes]:
    """One small file of each kind that is decoded, by a name with its suffix."""
    made = {
        "rgb.jpg": encoded("JPEG"),
        "grey.jpg": encoded("JPEG", "L"),
        "cmyk.jpg": encoded("JPEG", "CMYK"),
        "progressive.jpg": encoded("JPEG", progressive=True, subsampling=2),
        "exif.jpg": encoded("JPEG", exif=exif(), comment=b"hello", dpi=(72, 72)),
        "several.mpo": encoded("MPO", **frames()),
        "rgb.png": encoded("PNG", dpi=(72, 72), exif=exif()),
        "alpha.png": encoded("PNG", "RGBA"),
        "grey-alpha.png": encoded("PNG", "LA"),
        "sixteen.png": encoded("PNG", "I;16"),
        "one-bit.png": encoded("PNG", "1"),
        "palette.png": encoded("PNG", "P", transparency=b"\0\x80\xff"),
        "animated.png": encoded("PNG", **frames()),
        "palette.gif": encoded("GIF", "P", transparency=3),
        "animated.gif": encoded("GIF", **frames(), duration=50, loop=0),
        "lossy.webp": encoded("WEBP"),
        "lossless.webp": encoded("WEBP", "RGBA", lossless=True, exif=exif()),
        "animated.webp": encoded("WEBP", **frames()),
        "rgb.avif": encoded("AVIF", exif=exif()),
        "alpha.avif": encoded("AVIF", "RGBA"),
        "rgb.bmp": encoded("BMP"),
        "palette.bmp": encoded("BMP", "P"),
        "rgb.dib": encoded("DIB"),
        "raw.tif": encoded("TIFF"),
        "lzw.tif": encoded("TIFF", compression="tiff_lzw"),
        "deflate.tif": encoded("TIFF", "RGBA", compression="tiff_adobe_deflate"),
        "jpeg.tif": encoded("TIFF", compression="jpeg"),
        "fax.tif": encoded("TIFF", "1", compression="group4"),
        "cmyk.tif": encoded("TIFF", "CMYK"),
        "sixteen.tif": encoded("TIFF", "I;16"),
        "float.tif": encoded("TIFF", "F"),
        "palette.tif": encoded("TIFF", "P"),
        "pages.tif": encoded("TIFF", **frames()),
        "rgb.ppm": encoded("PPM"),
        "grey.pgm": encoded("PPM", "L"),
        "bits.pbm": encoded("PPM", "1"),
        "plain.ppm": b"P3 2 3 255 " + b"1 2 3 " * 6,
        "floats.pfm": encoded("PPM", "F"),
    }
    return made | {path.name: path.read_bytes() for path in GOLDEN.glob("*.hei?")}


def mutated(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """`content` with a few things done to it that damage or an enemy do to files."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(max(len(data), 1)))
        if rng.random() < 0.5:  # headers decide most
            at = int(rng.integers(min(max(len(data), 1), 128)))
        match int(rng.integers(10)):
            case 0:  # one bit
                data[at : at + 1] = bytes(b ^ 1 << int(rng.integers(8)) for b in data[at : at + 1])
            case 1:  # a byte
                data[at : at + 1] = rng.bytes(1)
            case 2:  # a run of noise
                data[at : at + 8] = rng.bytes(int(rng.integers(1, 24)))
            case 3:  # a declared size, a count or an offset
                value = HUGE[int(rng.integers(len(HUGE)))]
                width = (2, 4)[int(rng.integers(2))]
                order = ("big", "little")[int(rng.integers(2))]
                number = (value & (1 << 8 * width) - 1).to_bytes(width, order)
                data[at : at + width] = number
            case 4:  # cut short
                if rng.random() < 0.4:
                    del data[at:]
            case 5:  # something left out
                del data[at : at + int(rng.integers(1, 40))]
            case 6:  # a part twice, or nested in itself
                part = bytes(data[at : at + int(rng.integers(4, 200))])
                data[at:at] = part * int(rng.integers(1, 4))
            case 7:  # the head of this and the tail of another
                data[at:] = other[int(rng.integers(len(other))) :]
            case 8:  # the head of another before all of this
                data[:0] = other[: int(rng.integers(1, 64))]
            case 9:  # zeros
                data[at : at + int(rng.integers(1, 64))] = bytes(int(rng.integers(1, 64)))
    return bytes(data)


def mutants(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """`count` mutated images, (name, bytes), every kind as often as the others."""
    rng = np.random.default_rng(seed)
    kinds = sorted(sound().items())
    for number in range(count):
        name, content = kinds[number % len(kinds)]
        _, other = kinds[int(rng.integers(len(kinds)))]
        yield f"{number:05}-{name}", mutated(rng, content, other)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG, its sum right."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, body: bytes, *more: bytes, depth: int = 8, colour: int = 2
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *more,
            chunk(b"IDAT", body),
            chunk(b"IEND", b""),
        ]
    )


def tiff(*entries: tuple[int, int, int, int], body: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory: (tag, type, count, value) each."""
    listed = b"".join(struct.pack("<HHII", *one) for one in entries)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    return head + listed + struct.pack("<I", 8) + body  # the next directory is this one again


def bombs() -> dict[str, bytes]:
    """Small files that claim, or unpack to, far more than they hold."""
    packed = zlib.compress(bytes(30_000_000), 9)
    gif = encoded("GIF", "P")
    jpeg = encoded("JPEG")
    size = struct.pack(">HH", 49, 40)
    webp = encoded("WEBP", "RGBA", lossless=True, exif=exif())
    sides = ((256, 3, 1, 60_000), (257, 3, 1, 60_000))
    return {
        "sides.png": png(2**31 - 1, 2**31 - 1, b""),
        "zero-wide.png": png(0, 9, b""),
        "unpacks.png": png(100_000, 1000, packed),
        "just-allowed.png": png(10_000, 10_000, packed[:2000]),
        "text.png": png(2, 2, zlib.compress(bytes(14)), chunk(b"zTXt", b"k\0\0" + packed)),
        "profile.png": png(2, 2, zlib.compress(bytes(14)), chunk(b"iCCP", b"k\0\0" + packed)),
        "texts.png": png(2, 2, zlib.compress(bytes(14)), *[chunk(b"tEXt", b"k\0" + b"x" * 999)] * 999),
        "chunks.png": png(2, 2, zlib.compress(bytes(14)), *[chunk(b"qqQq", b"")] * 50_000),
        "headers.png": png(2, 2, zlib.compress(bytes(14)), *[png(9, 9, b"")[8:33]] * 99),
        "claims.png": b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR",
        "sides.gif": gif[:6] + struct.pack("<HH", 65_535, 65_535) + gif[10:],
        "frames.gif": gif[:-1] + b"\x21\xf9\x04\0\0\0\0\0" * 50_000 + b";",
        "sides.jpg": jpeg.replace(size, b"\xff\xff\xff\xff"),
        "zero.jpg": jpeg.replace(size, bytes(4)),
        "scans.jpg": jpeg[:-2] + jpeg[jpeg.index(b"\xff\xda") : -2] * 300 + b"\xff\xd9",
        "comments.jpg": jpeg[:2] + b"\xff\xfe\0\x02" * 100_000 + jpeg[2:],
        "exif.jpg": jpeg[:2] + b"\xff\xe1\xff\xffExif\0\0" + b"II*\0\x08\0\0\0" * 8190 + jpeg[2:],
        "orientation.jpg": encoded("JPEG", exif=b"Exif\0\0" + tiff((0x112, 3, 2**31, 2**31))),
        "sides.webp": webp[:24] + b"\xff" * 6 + webp[30:],
        "sides.ppm": b"P6 2000000000 2000000000 255\n" + bytes(9),
        "digits.ppm": b"P6 " + b"9" * 100_000 + b" 2 255\n" + bytes(9),
        "spaces.ppm": b"P3" + b" " * 1_000_000 + b"2 2 255 1",
        "comment.ppm": b"P6 #" + b"x" * 1_000_000,
        "huge.pfm": b"PF 40000 40000 1.0\n" + bytes(9),
        "sides.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 2**30, -(2**31), 1, 24,
                                         0, 0, 0, 0, 0, 0),
        "runs.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 9000, 9000, 1, 8,
                                        1, 0, 0, 0, 0, 0) + b"\xff\1" * 500,
        "sides.tif": tiff(*sides),
        "strips.tif": tiff(*sides, (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
                           (273, 4, 2**32 - 1, 8), (279, 4, 2**32 - 1, 8)),
        "tags.tif": tiff(*[(k, 2, 2**31, 8) for k in range(256, 900)]),
        "loop.tif": tiff((256, 3, 1, 9), (257, 3, 1, 9), (330, 4, 1, 8), (34665, 4, 1, 8)),
        "deflate.tif": tiff((256, 3, 1, 9999), (257, 3, 1, 9999), (258, 3, 1, 8), (259, 3, 1, 8),
                            (262, 3, 1, 1), (273, 4, 1, 120), (278, 3, 1, 9999),
                            (279, 4, 1, len(packed)), body=packed),
    }  # fmt: skip


NAMES = (
    "line\nbreak.png", "\x1b]0;title\x07\x1b[31mred.png", "<script>alert(1)</script>.png",
    "'; rm -rf $(touch canary) `touch canary`.png", "=cmd|' /C calc'!A0.png", "--out=canary.png",
    "%s%n{0}{{x}}.png", "\u202egnp.exe.png", "tab\tbell\a.png", "\x9b31m.png", "n" * 250 + ".png",
    "\udcff\udcfe.png", "\r\nSet-Cookie: x.png", "[red]rich[/red].png", "image‮.png", "&amp;&lt;.png",
)  # fmt: skip
"""Names that a file may have, for the terminal, the page, the shell, a spreadsheet and the eye."""


def write(folder: Path, count: int, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in mutants(count, seed):
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[2:]]
    write(Path(sys.argv[1]), *(given or [1000]))
