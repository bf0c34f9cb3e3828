"""TIFF files whose samples Pillow does not read, or truncates: over 8 bits, and of rarer kinds.

Pillow decompresses the bytes (it has libtiff's codecs): it is given the file as if every byte of a row
were a grey pixel. They are interpreted here, following TIFF 6.0 and Adobe's technical notes.
"""

import io
import struct
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from inceptive.errors import InceptiveError
from inceptive.images.deep import DeepPicture, Range

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
COLOURS_OF = {0: 1, 1: 1, 2: 3}
"""How many samples are colour, by the photometric interpretations that are read."""
COLOURS = {
    0: "WhiteIsZero",
    1: "BlackIsZero",
    2: "RGB",
    3: "palette",
    5: "CMYK",
    6: "YCbCr",
    8: "Lab",
}
FORMATS = {1: "", 2: "signed ", 3: "float ", 4: ""}
LOSSLESS = frozenset(
    ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "lzma", "zstd")
)
"""Compressions of bytes, whatever they mean."""
CODECS = frozenset(TiffImagePlugin.COMPRESSION_INFO.values()) - {"webp"}
"""Compressions that Pillow reads, whatever its libtiff was built with."""
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
OFFSETS, SAMPLES, ROWS, COUNTS, PLANES, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
EXTRA, FORMAT, LOWEST, HIGHEST = 338, 339, 340, 341
KIND, MAX_SAMPLE, FURTHER, PROFILE = 254, 281, 330, 34675

SEVERAL = frozenset(
    (BITS, OFFSETS, COUNTS, TILE_OFFSETS, TILE_COUNTS, EXTRA, FORMAT, LOWEST, HIGHEST, MAX_SAMPLE)
)
"""Tags that have several numbers, one a sample or a strip."""

Tags = dict[int, Any]
"""Those that are numbers: tuples of SEVERAL, of the others the first. The bytes of PROFILE."""


def read_tags(data: bytes) -> Tags | None:
    """The tags of the first picture of a TIFF file; None if `data` is not TIFF, or unreadable."""
    if not data.startswith(STARTS):
        return None
    try:
        long = data[2:4] in (b"+\0", b"\0+")
        directory = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if long else 8])
        file = io.BytesIO(data)
        file.seek(directory.next or 0)
        directory.load(file)
        tags: Tags = {}
        for tag, value in directory.items():
            several = value if isinstance(value, tuple) else (value,)
            numbers = tuple(v for v in several if isinstance(v, int | float))
            if tag == PROFILE and isinstance(value, bytes):
                tags[tag] = value
            elif numbers:
                tags[tag] = numbers if tag in SEVERAL else numbers[0]
        whole = all(type(tags.get(tag)) is int and tags[tag] > 0 for tag in (WIDTH, HEIGHT))
        return tags if whole and tags.keys() & {OFFSETS, TILE_OFFSETS} else None
    except Exception:  # a damaged file may raise anything
        return None


def bits_of(tags: Tags) -> tuple[int, ...]:
    """The bits of each sample of a pixel."""
    bits: tuple[int, ...] = tags.get(BITS, (1,))
    count = tags.get(SAMPLES, len(bits))
    return bits * count if len(bits) == 1 and 0 < count < 100 else bits


def is_deep(tags: Tags) -> bool:
    """Whether this module handles a file: grey or RGB of more than 8 bits, or not plain integers."""
    deep = max(bits_of(tags)) > 8 or tags.get(FORMAT, (1,))[0] != 1
    # Of other colours Pillow cuts 16 bits to 8, if they do not lie in planes.
    return deep and (tags.get(PHOTOMETRIC, 0) in COLOURS_OF or tags.get(PLANES, 1) == 2)


def is_preview(tags: Tags) -> bool:
    """Whether the first picture is a preview of others in the file, as in raw files (NEF, ARW, DNG)."""
    return bool(tags.get(KIND, 0) & 1) and FURTHER in tags


def is_plain(tags: Tags) -> bool:
    """Whether Pillow reads undamaged files with such samples."""
    forms = tags.get(FORMAT, (1,))
    form = forms[:1] if len(set(forms)) == 1 else forms
    kind = (tags.get(PHOTOMETRIC, 0), form, bits_of(tags), tags.get(EXTRA, ()))
    is_pillows = any((*key[1:3], *key[4:]) == kind for key in TiffImagePlugin.OPEN_INFO)
    return is_pillows and _packed(tags) in CODECS


def kind_of(tags: Tags) -> str:
    """Describe a file of an unsupported kind."""
    bits = bits_of(tags)
    form = FORMATS.get(tags.get(FORMAT, (1,))[0], "complex ")
    colour = COLOURS.get(tags.get(PHOTOMETRIC, 0), f"photometric {tags.get(PHOTOMETRIC, 0)}")
    number = f"{len(bits)} " if len(bits) > 1 else ""
    planes = ", in planes" if tags.get(PLANES, 1) == 2 else ""
    packed = "" if _packed(tags) == "raw" else f", {_packed(tags).removeprefix('tiff_')}"
    return (
        f"is a TIFF of {number}{'/'.join(map(str, sorted(set(bits))))}-bit {form}samples a pixel, "
        f"{colour}{planes}{packed}: a kind that is not read; save it as grey or RGB of 8 or 16 bits"
    )


def read_tiff(data: bytes, tags: Tags, most: int, name: str) -> DeepPicture:
    """The raw samples of a grey or RGB picture, and its alpha if any.

    Raises InceptiveError, calling it `name`, if it is of another kind, or takes more than `most` bytes;
    any decoder error if it is damaged.
    """
    bits, extra = bits_of(tags), tags.get(EXTRA, ())
    colours, forms = COLOURS_OF.get(tags.get(PHOTOMETRIC, 0), 0), set(tags.get(FORMAT, (1,)))
    if colours == 3 and len(bits) == 4 and not extra:
        extra = (2,)  # as it is often left out
    form = forms.pop()
    depth = bits[0]
    sound = (
        colours
        and not forms
        and len(set(bits)) == 1
        and len(bits) == colours + len(extra)
        and len(extra) <= colours
        and _packed(tags) in LOSSLESS
        and ((form in (1, 4) and depth in UNSIGNED) or (form, depth) in OTHERS)
        and tags.get(PREDICTOR, 1) in (1, 2, 3)
    )
    if not sound:
        raise InceptiveError(f"{name}: {kind_of(tags)}")
    width, height = tags[WIDTH], tags[HEIGHT]
    if width * height * len(bits) * depth > 8 * most:
        raise InceptiveError(
            f"{name}: is too large to decode safely ({width} x {height} pixels of {len(bits)} samples)"
        )
    planes = len(bits) if tags.get(PLANES, 1) == 2 else 1
    parts = [_plane(data, tags, plane, planes, len(bits) // planes) for plane in range(planes)]
    samples = parts[0] if planes == 1 else np.concatenate(parts, axis=2)
    alpha = None
    if extra and extra[0] in (1, 2):
        with np.errstate(all="ignore"):  # a damaged file's floats may be anything
            alpha = samples[..., colours : colours + 1].astype(np.float32)
            alpha /= 1 if form == 3 else 2.0 ** (depth - (form == 2)) - 1
    inverted = tags.get(PHOTOMETRIC, 0) == 0
    return DeepPicture(
        np.ascontiguousarray(samples[..., :colours]),
        _declared(tags, form, depth, samples[..., :colours]),
        alpha,
        bool(extra) and extra[0] == 1,
        inverted,
        profile=tags.get(PROFILE, b""),
    )


UNSIGNED = (*range(8, 17), 32, 64)
OTHERS = frozenset([(2, 8), (2, 16), (2, 32), (2, 64), (3, 16), (3, 32), (3, 64)])
"""Bits of samples that are read, of whole numbers; formats and bits of signed ones and of floats."""


def _declared(tags: Tags, form: int, depth: int, samples: np.ndarray) -> Range | None:
    """The range that a file says its samples have.

    Less than 16 bits a sample are all that there is of them. MaxSampleValue is no range by the standard
    (the "value used", which is "not to be used to affect the visual appearance"): it is taken for one
    where it is all bits of a depth below 16, as cameras write it. SMin- and SMaxSampleValue are one for
    floats, unless they only count what this picture holds.
    """
    if form in (1, 4) and depth < 16:
        return 0.0, 2.0**depth - 1
    lowest, highest = (tags.get(tag, ()) for tag in (LOWEST, HIGHEST))
    if lowest and highest and form == 3 and np.isfinite([*lowest, *highest]).all():
        low, high = float(min(lowest)), float(max(highest))
        finite = samples[np.isfinite(samples)]
        counted = finite.size and np.allclose((low, high), (finite.min(), finite.max()), 1e-6, 0)
        return (low, high) if low < high and not counted else None
    top = max([*highest, *tags.get(MAX_SAMPLE, ())], default=0)
    if form in (1, 4) and depth == 16 and top in [2**n - 1 for n in range(9, 16)]:
        return 0.0, float(top)
    return None


def _plane(data: bytes, tags: Tags, plane: int, planes: int, count: int) -> np.ndarray:
    """The samples of one of the `planes`, `count` in a pixel: (H, W, count)."""
    depth, width, height = bits_of(tags)[0], tags[WIDTH], tags[HEIGHT]
    tiled = TILE_OFFSETS in tags
    across, down = (tags[TILE_WIDTH], tags[TILE_HEIGHT]) if tiled else (width, height)
    columns, lines = -(-width // across), -(-height // down)
    if columns * across * lines * down > 4 * (width * height + across * down):
        raise ValueError("its tiles are out of all proportion")
    row_bytes = -(-across * count * depth // 8)
    offsets = tags[TILE_OFFSETS if tiled else OFFSETS]
    counts = tags.get(TILE_COUNTS if tiled else COUNTS, ())
    some = slice(plane * len(offsets) // planes, (plane + 1) * len(offsets) // planes)
    entries = {
        WIDTH: (columns * row_bytes,),
        HEIGHT: (lines * down,) if tiled else (height,),
        BITS: (8,),
        COMPRESSION: (tags.get(COMPRESSION, 1),),
        PHOTOMETRIC: (1,),
        FILL_ORDER: (tags.get(FILL_ORDER, 1),),
        SAMPLES: (1,),
        TILE_OFFSETS if tiled else OFFSETS: offsets[some],
    }
    if tiled:
        entries |= {TILE_WIDTH: (row_bytes,), TILE_HEIGHT: (down,)}
    else:
        entries[ROWS] = (min(tags.get(ROWS, height), height),)
    if counts:
        entries[TILE_COUNTS if tiled else COUNTS] = counts[some]
    start = len(data) + len(data) % 2
    file = b"II*\0" + struct.pack("<I", start) + data[8:] + bytes(len(data) % 2)
    image: Image.Image = TiffImagePlugin.TiffImageFile(
        io.BytesIO(file + _directory(entries, start))
    )
    image.load()
    rows = np.asarray(image).reshape(-1, columns, row_bytes)
    samples = _samples(rows, tags, "<" if data.startswith(b"II") else ">", across, count)
    return samples.reshape(len(rows), -1, count)[:height, :width]


def _samples(rows: np.ndarray, tags: Tags, order: str, width: int, count: int) -> np.ndarray:
    """The samples (H, tiles, width, count) in the bytes (H, tiles, bytes) of the rows of tiles."""
    depth, form = bits_of(tags)[0], tags.get(FORMAT, (1,))[0]
    shape = (*rows.shape[:2], width, count)
    if depth % 8:
        return _unpacked(rows, depth)[..., : width * count].reshape(shape)
    predictor = tags.get(PREDICTOR, 1) if _packed(tags) != "raw" else 1
    if predictor == 3:  # the upper bytes of a row's floats first, each byte as a difference
        sums = np.cumsum(rows.reshape(*rows.shape[:2], -1, count), axis=2, dtype=np.uint8)
        sums = sums.reshape(*rows.shape[:2], depth // 8, -1).swapaxes(2, 3)
        return np.ascontiguousarray(sums).view(f">f{depth // 8}").reshape(shape)
    whole = rows.view(f"{order}u{depth // 8}").reshape(shape)
    if predictor == 2:
        whole = np.cumsum(whole, axis=2, dtype=f"u{depth // 8}")
    letter = {2: "i", 3: "f"}.get(form, "u")
    return whole.view(whole.dtype.str[0] + letter + whole.dtype.str[2:])


def _unpacked(rows: np.ndarray, depth: int) -> np.ndarray:
    """The numbers of `depth` bits, 9 to 15, in rows of bytes: uint16."""
    numbers = rows.shape[2] * 8 // depth
    result = np.empty((*rows.shape[:2], numbers), np.uint16)
    for out, row in zip(result, rows, strict=True):  # row by row: bits take eight times the memory
        bits = np.unpackbits(row, axis=1)[:, : numbers * depth].reshape(len(row), numbers, depth)
        whole = np.packbits(np.pad(bits, ((0, 0), (0, 0), (16 - depth, 0))), axis=2)
        out[:] = whole.view(">u2")[..., 0]
    return result


def _directory(entries: dict[int, tuple[int, ...]], start: int) -> bytes:
    """A TIFF directory, least byte first, that will lie at byte `start`."""
    rows, rest = b"", b""
    after = start + 2 + 12 * len(entries) + 4
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) != 1:
            packed, rest = struct.pack("<I", after + len(rest)), rest + packed
        rows += struct.pack("<HHI", tag, 4, len(values)) + packed
    return struct.pack("<H", len(entries)) + rows + bytes(4) + rest


def _packed(tags: Tags) -> str:
    """How a file is compressed, as Pillow calls it."""
    number = tags.get(COMPRESSION, 1)
    return str(TiffImagePlugin.COMPRESSION_INFO.get(number, f"compression {number}"))
