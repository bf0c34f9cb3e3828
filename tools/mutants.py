"""Photographs written anew by libvips in many ways, some damaged, and read by it again.

    python tools/mutants.py FOLDER COUNT FIRST    pickles on standard output, for tools/mutations.py

A number stands for the same file each time. In a process of its own: two libheif in one, libvips's
and pi_heif's, crash each other. jpegtran, cjpeg and tiffcp are of Debian's libjpeg-turbo-progs and
libtiff-tools.
"""

import pickle
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import corpus

Picture = Any  # pyvips has no types
Write = Callable[[Picture, dict[str, Any]], bytes]


def _saved(suffix: str, **options: Any) -> Write:
    return lambda image, more: image.write_to_buffer(suffix, **(options | more))


def _magick(form: str) -> Write:
    """By ImageMagick, without the profile that a BMP may hold: Pillow does not hand it out."""

    def plain(image: Picture, more: dict[str, Any]) -> bytes:
        image = image.copy()
        image.remove("icc-profile-data")
        return image.magicksave_buffer(format=form)

    return plain


def _grey(write: Write) -> Write:
    def without_colour(image: Picture, more: dict[str, Any]) -> bytes:
        grey = image.colourspace("b-w").copy()
        grey.remove("icc-profile-data")  # one for three colours fits no grey
        return write(grey, more)

    return without_colour


def _deep(write: Write, space: str = "rgb16") -> Write:
    return lambda image, more: write(image.colourspace(space), more)


def _clear(write: Write) -> Write:
    """With transparency: a ramp from left to right."""

    def with_alpha(image: Picture, more: dict[str, Any]) -> bytes:
        top = 65535 if image.format == "ushort" else 255
        ramp = pyvips.Image.xyz(image.width, image.height)[0] * (top / image.width)
        joined = image.bandjoin(ramp.cast(image.format))
        return write(joined.copy(interpretation=image.interpretation), more)

    return with_alpha


def _inks(write: Write) -> Write:
    """In CMYK, with no profile: one cannot be relied on to be there."""

    def without_profile(image: Picture, more: dict[str, Any]) -> bytes:
        return write(image.icc_transform("cmyk", input_profile="srgb"), more | {"strip": True})

    return without_profile


def _by(write: Write, suffix: str, *command: str) -> Write:
    """What `write` gives, written anew by a program; IN and OUT are its files."""

    def rewritten(image: Picture, more: dict[str, Any]) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            paths = {"IN": f"{folder}/in{suffix}", "OUT": f"{folder}/out{suffix}"}
            Path(paths["IN"]).write_bytes(write(image, more))
            subprocess.run(
                [paths.get(word, word) for word in command], check=True, capture_output=True
            )
            return Path(paths["OUT"]).read_bytes()

    return rewritten


def _planes(image: Picture, more: dict[str, Any]) -> bytes:
    """A TIFF of 16 bits with each colour by itself, which no program here writes."""
    samples = np.ascontiguousarray(image.numpy().transpose(2, 0, 1)).astype("<u2")
    size = samples[0].nbytes
    many = struct.pack("<3H3I3I", 16, 16, 16, *(200 + k * size for k in range(3)), *[size] * 3)
    rows = [(256, 4, 1, image.width), (257, 4, 1, image.height), (258, 3, 3, 150), (259, 3, 1, 1),
            (262, 3, 1, 2), (273, 4, 3, 156), (277, 3, 1, 3), (278, 4, 1, image.height),
            (279, 4, 3, 168), (284, 3, 1, 2)]  # fmt: skip
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(rows))
    head += b"".join(struct.pack("<HHII", *row) for row in rows) + bytes(4)
    return head.ljust(150, b"\0") + many + bytes(200 - 150 - len(many)) + samples.tobytes()


JPEG, TIFF = _saved(".jpg", Q=90), _saved(".tif")
TRANSCODE = ("jpegtran", "-copy", "all")
# fmt: off
WRITERS: dict[str, Write] = {
    "jpeg": JPEG,
    "jpeg-low": _saved(".jpg", Q=12),
    "jpeg-progressive": _saved(".jpg", Q=80, interlace=True),
    "jpeg-444": _saved(".jpg", Q=80, subsample_mode="off"),
    "jpeg-411": _by(JPEG, ".jpg", "sh", "-c", 'djpeg "$0" | cjpeg -sample 4x1 > "$1"', "IN", "OUT"),
    "jpeg-rgb": _by(JPEG, ".jpg", "sh", "-c", 'djpeg "$0" | cjpeg -rgb > "$1"', "IN", "OUT"),
    "jpeg-arithmetic": _by(JPEG, ".jpg", *TRANSCODE, "-arithmetic", "-outfile", "OUT", "IN"),
    "jpeg-restart": _by(JPEG, ".jpg", *TRANSCODE, "-restart", "1", "-outfile", "OUT", "IN"),
    "jpeg-grey": _grey(JPEG),
    "jpeg-cmyk": _inks(JPEG),
    "png": _saved(".png"),
    "png-interlaced": _saved(".png", interlace=True),
    "png-palette": _saved(".png", palette=True),
    "png-4-colours": _saved(".png", palette=True, bitdepth=2),
    "png-grey": _grey(_saved(".png")),
    "png-grey-4": _grey(_saved(".png", bitdepth=4)),
    "png-grey-1": _grey(_saved(".png", bitdepth=1)),
    "png-grey-16": _grey(_deep(_saved(".png"), "grey16")),
    "png-16": _deep(_saved(".png")),
    "png-16-alpha": _deep(_clear(_saved(".png"))),
    "png-16-interlaced": _deep(_saved(".png", interlace=True)),
    "png-alpha": _clear(_saved(".png")),
    "png-palette-alpha": _clear(_saved(".png", palette=True)),
    "png-grey-alpha": _grey(_clear(_saved(".png"))),
    "png-grey-alpha-16": _grey(_deep(_clear(_saved(".png")), "grey16")),
    "webp": _saved(".webp", Q=70),
    "webp-low": _saved(".webp", Q=5),
    "webp-lossless": _saved(".webp", lossless=True),
    "webp-alpha": _clear(_saved(".webp")),
    "webp-lossless-alpha": _clear(_saved(".webp", lossless=True)),
    "gif": _saved(".gif"),
    "gif-16-colours": _saved(".gif", bitdepth=4, dither=0),
    "gif-alpha": _clear(_saved(".gif")),
    "tiff": TIFF,
    "tiff-lzw": _saved(".tif", compression="lzw", predictor="horizontal"),
    "tiff-deflate-tiles": _saved(".tif", compression="deflate", tile=True, tile_width=64),
    "tiff-jpeg": _saved(".tif", compression="jpeg", Q=85),
    "tiff-jpeg-tiles": _saved(".tif", compression="jpeg", tile=True, pyramid=True),
    "tiff-packbits": _saved(".tif", compression="packbits", bigtiff=True),
    "tiff-zstd": _saved(".tif", compression="zstd"),
    "tiff-webp": _saved(".tif", compression="webp"),
    "tiff-planes": _by(TIFF, ".tif", "tiffcp", "-p", "separate", "IN", "OUT"),
    "tiff-planes-lzw": _by(TIFF, ".tif", "tiffcp", "-p", "separate", "-c", "lzw:2", "IN", "OUT"),
    "tiff-big-endian": _by(TIFF, ".tif", "tiffcp", "-B", "-r", "7", "IN", "OUT"),
    "tiff-16": _deep(TIFF),
    "tiff-16-planes": _deep(_planes),
    "tiff-16-big-endian": _by(_deep(TIFF), ".tif", "tiffcp", "-B", "-c", "lzw", "IN", "OUT"),
    "tiff-16-alpha": _deep(_clear(TIFF)),
    "tiff-grey": _grey(TIFF),
    "tiff-grey-16": _grey(_deep(TIFF, "grey16")),
    "tiff-white-is-zero": _grey(_saved(".tif", miniswhite=True)),
    "tiff-16-white-is-zero": _grey(_deep(_saved(".tif", miniswhite=True), "grey16")),
    "tiff-1": _grey(lambda image, more: (image > 128).tiffsave_buffer(bitdepth=1, **more)),
    "tiff-fax": _grey(lambda image, more: (image > 128).tiffsave_buffer(
        bitdepth=1, miniswhite=True, compression="ccittfax4", **more)),
    "tiff-lab": _deep(TIFF, "labs"),
    "tiff-alpha": _clear(TIFF),
    "tiff-cmyk": _inks(TIFF),
    "bmp": _magick("bmp"),
    "bmp-alpha": _clear(_magick("bmp")),
    "ppm": _magick("ppm"),
    "pgm": _grey(_magick("pgm")),
    "ppm-16": _deep(_magick("ppm")),
    "avif": _saved(".avif", Q=60),
    "avif-444": _saved(".avif", Q=60, subsample_mode="off"),
    "avif-12": _deep(_saved(".avif", Q=60, bitdepth=12, subsample_mode="on")),
    "avif-alpha": _clear(_saved(".avif", Q=60)),
    "heic": _saved(".heic", Q=60, compression="hevc"),
    "jp2": _saved(".jp2", Q=60),
    "jp2-lossless": _saved(".jp2", lossless=True),
    "jp2-tiles": _saved(".jp2", Q=60, tile_width=64, tile_height=64),
}
# fmt: on
"""Not floats: libvips takes those of a TIFF for light, which no file says, and we for what is shown."""


def photograph(path: Path, rng: np.random.Generator) -> tuple[Picture, str, dict[str, Any]]:
    """A photograph in sRGB, perhaps to be turned, perhaps in the colours of another space."""
    image = pyvips.Image.new_from_file(str(path)).autorot().colourspace("srgb")
    for name in image.get_fields():
        if name.startswith(("exif", "icc", "xmp", "iptc", "photoshop")):
            image.remove(name)
    words, more = [], {}
    if rng.random() < 0.4:
        orientation = int(rng.integers(1, 9))
        image = image.copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        words.append(f"turned {orientation}")
    if rng.random() < 0.25:
        image = image.icc_transform("p3", input_profile="srgb")
        words.append("p3")
        if rng.random() < 0.5:  # red and green change places: who leaves the profile out shows it
            profile = image.get("icc-profile-data")
            swapped = (
                profile.replace(b"rXYZ", b"    ")
                .replace(b"gXYZ", b"rXYZ")
                .replace(b"    ", b"gXYZ", 1)
            )
            image = image[[1, 0, 2]].copy(interpretation="srgb")
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", swapped)
            words[-1] = "swapped"
    return image, " ".join(words), more


def with_texts(content: bytes, rng: np.random.Generator) -> bytes:
    """With segments or chunks that tell nothing about the pixels."""
    text = bytes(rng.integers(32, 127, int(rng.integers(1, 60_000)), np.uint8))
    if content.startswith(b"\xff\xd8"):
        marker = b"\xff\xfe" if rng.random() < 0.5 else bytes((0xFF, 0xE2 + int(rng.integers(12))))
        return content[:2] + marker + (len(text) + 2).to_bytes(2, "big") + text + content[2:]
    if content.startswith(b"\x89PNG"):
        return content[:33] + corpus.chunk(b"tEXt", b"k\0" + text) + content[33:]
    return content + text  # most readers do not look there


def read(content: bytes) -> np.ndarray:
    """The picture as libvips has it: (H, W, 3) of uint8. Raises pyvips.Error if it has none."""
    image = pyvips.Image.new_from_buffer(content, "", access="random")
    image = image.autorot()
    depth = 16 if image.format == "ushort" else 8  # to 8 bits it does not scale alpha of 16
    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", input_profile="cmyk", depth=depth)
    elif image.get_typeof("icc-profile-data"):
        image = image.icc_transform("srgb", embedded=True, intent="perceptual", depth=depth)
    image = image.colourspace("srgb")
    if image.hasalpha():
        image = image.flatten(background=255)
    return image.cast("uchar").numpy()


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """With one to three bits of it the other way, behind the header."""
    data = bytearray(content)
    for at in rng.integers(len(data) // 5, len(data), int(rng.integers(1, 4))):
        data[at] ^= 1 << int(rng.integers(8))
    return bytes(data)


def mutation(number: int, paths: list[Path]) -> tuple[str, str, bytes]:
    """The file that `number` stands for: the kind of file, what else was done, its bytes."""
    rng = np.random.default_rng(number)
    kind = sorted(WRITERS)[number % len(WRITERS)]
    path, other = (paths[int(k)] for k in rng.integers(len(paths), size=2))
    image, words, more = photograph(path, rng)
    content = WRITERS[kind](image, more)
    draw = rng.random()
    if draw < 0.15:
        content, words = with_texts(content, rng), f"{words} texts"
    elif draw < 0.35:
        content, words = corpus.mutated(rng, content, other.read_bytes()), f"{words} damaged"
    elif draw < 0.5:
        content, words = flipped(content, rng), f"{words} damaged"
    elif draw < 0.55:
        content, words = content[: int(rng.integers(len(content)))], f"{words} damaged"
    return kind, words.strip(), content


def main(folder: Path, count: int, first: int) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".jpg")
    for number in range(first, first + count):
        kind, words, content = mutation(number, paths)
        try:
            picture = read(content)
        except pyvips.Error:
            picture = None
        pickle.dump((number, kind, words, content, picture), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
