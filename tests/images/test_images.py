"""Every file that is an image becomes the right pixels; every other becomes one line of error."""

import functools
import io
import json
import os
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin, features

from inceptive.errors import InceptiveError
from inceptive.images import MAX_PIXELS, Preprocessing, decode, decoding, resize_shorter

GOLDEN = Path(__file__).parents[1] / "golden"
COLOURS = [(220, 40, 40), (40, 180, 60), (40, 60, 200), (240, 220, 80)]


def quadrants(width=48, height=32):
    picture = np.empty((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    picture[:top, :left], picture[:top, left:] = COLOURS[:2]
    picture[top:, :left], picture[top:, left:] = COLOURS[2:]
    return picture


def noise(width, height, seed=0, channels=3):
    shape = (height, width, channels)[: 2 if channels == 1 else 3]
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photo(width, height):
    """Smooth colours with a little grain: something that a JPEG holds well."""
    smooth = Image.fromarray(noise(16, 12)).resize((width, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(1).normal(0, 4, (height, width, 1))
    return (np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8)


def encoded(picture, form, **options):
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def write(path, data):
    path.write_bytes(data)
    return path


def pixels(source, channels=3, **options):
    image = decode(source, channels, **options)
    assert image.mode == ("RGB" if channels == 3 else "L")
    return np.asarray(image).astype(int)


def complaint(source, **options):
    with pytest.raises(InceptiveError) as caught:
        decode(source, **options)
    message = str(caught.value)
    assert message.isprintable()
    return message


def png(width, height, depth, colour_type, raw, *chunks):
    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = [chunk(b"IHDR", header), *(chunk(*c) for c in chunks)]
    body += [chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def largest_error(found, seam=0):
    """Against `quadrants`, leaving out `seam` pixels on each side of where two colours meet."""
    height, width = found.shape[:2]
    wrong = np.abs(found - quadrants(width, height))
    wrong[height // 2 - seam : height // 2 + seam] = 0
    wrong[:, width // 2 - seam : width // 2 + seam] = 0
    return wrong.max()


def flat_jpeg(width, height):
    """Mid-grey, of any size: with the standard tables an 8 x 8 block is the six bits 001010."""
    small = encoded(Image.new("L", (16, 16), 128), "JPEG")
    frame, scan = small.index(b"\xff\xc0"), small.index(b"\xff\xda")
    data = scan + 2 + struct.unpack(">H", small[scan + 2 : scan + 4])[0]
    size = struct.pack(">HH", height, width)
    blocks = b"\x28\xa2\x8a" * (width * height // 256)
    return small[: frame + 5] + size + small[frame + 9 : data] + blocks + b"\xff\xd9"


# Formats


@pytest.mark.parametrize(
    ("form", "options", "tolerance", "seam"),
    [
        ("PNG", {}, 0, 0),
        ("WEBP", {"lossless": True}, 0, 0),
        ("BMP", {}, 0, 0),
        ("DIB", {}, 0, 0),
        ("PPM", {}, 0, 0),
        ("GIF", {}, 0, 0),
        ("TIFF", {}, 0, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 3, 0),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 3, 0),
        ("JPEG", {"quality": 95}, 3, 2),
        ("WEBP", {"quality": 95}, 3, 2),
        pytest.param(
            "AVIF",
            {"quality": 95, "subsampling": "4:4:4"},
            3,
            0,
            marks=pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF"),
        ),
    ],
)
def test_a_format_decodes_to_its_pixels(tmp_path, form, options, tolerance, seam):
    found = pixels(write(tmp_path / "picture", encoded(quadrants(64, 32), form, **options)))
    assert found.shape == (32, 64, 3)
    assert largest_error(found, seam) <= tolerance


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "PPM", "TIFF"])
def test_a_lossless_format_keeps_every_pixel_of_noise(tmp_path, form):
    picture = noise(37, 23)
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    file = write(tmp_path / "noise", encoded(picture, form, **options))
    assert np.array_equal(pixels(file), picture)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG2000", {}),
        ("JPEG2000", {"no_jp2": True}),
        ("TGA", {}),
        ("TGA", {"compression": "tga_rle"}),
        ("ICO", {"bitmap_format": "png"}),
        ("ICO", {"bitmap_format": "bmp"}),
    ],
    ids=["jp2", "j2k", "tga", "tga rle", "ico of png", "ico of bmp"],
)
def test_rarer_formats_decode_to_their_pixels_and_are_refused_when_cut_short(mode, form, options):
    picture = Image.fromarray(noise(64, 64, channels=4)).convert(mode)
    sizes = {"sizes": [(16, 16), (64, 64), (32, 32)]} if form == "ICO" else {}
    data = encoded(picture, form, **options, **sizes)
    assert np.array_equal(pixels(data), pixels(picture))
    data = data.removesuffix(b"TRUEVISION-XFILE.\0")
    for share in (0.1, 0.5, 0.9):
        cut = data[: int(len(data) * share)]
        assert "is truncated or damaged" in complaint(cut, name="a.tga")


def test_a_tga_is_taken_for_one_by_its_name_or_its_end():
    data = encoded(noise(9, 7), "TGA").removesuffix(b"TRUEVISION-XFILE.\0")[:-8]
    assert np.array_equal(pixels(data, name="a.TGA"), noise(9, 7))
    assert "is not an image in a known format" in complaint(data, name="a.png")
    assert "it holds text" in complaint(b"Nothing of the kind.\n" * 9, name="a.tga")


def test_what_a_tga_does_not_call_alpha_is_none():
    rgba = noise(9, 7, channels=4)
    rgba[..., 3] = 0
    data = bytearray(encoded(rgba, "TGA"))
    data[17] &= 0xF0  # bits of alpha
    assert np.array_equal(pixels(bytes(data)), rgba[..., :3])


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_of_several_pictures_in_a_file_the_first_is_taken(tmp_path, form):
    red, blue = Image.new("RGB", (24, 16), (255, 0, 0)), Image.new("RGB", (24, 16), (0, 0, 255))
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(red, form, save_all=True, append_images=[blue], **options)
    found = pixels(write(tmp_path / "two", data))
    assert found.shape == (16, 24, 3)
    assert np.abs(found - (255, 0, 0)).max() <= (2 if form == "MPO" else 0)


def test_the_content_decides_and_not_the_name(tmp_path):
    picture = noise(9, 7)
    assert np.array_equal(pixels(write(tmp_path / "a.jpg", encoded(picture, "PNG"))), picture)
    assert np.array_equal(pixels(write(tmp_path / "b.txt", encoded(picture, "BMP"))), picture)


def test_text_path_path_and_bytes_are_the_same_source(tmp_path):
    data = encoded(noise(9, 7), "PNG")
    file = write(tmp_path / "a.png", data)
    for source in (file, str(file), data, noise(9, 7), Image.fromarray(noise(9, 7))):
        assert np.array_equal(pixels(source), noise(9, 7))


def test_a_grey_array_becomes_three_equal_channels():
    grey = noise(9, 7, channels=1)
    assert np.array_equal(pixels(grey), np.stack([grey] * 3, axis=2))
    assert np.array_equal(pixels(grey, channels=1), grey)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint16),
        np.zeros((4, 4), bool),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_of_another_type_or_shape_is_refused(array):
    message = complaint(array)
    assert str(array.dtype) in message
    assert str(array.shape) in message


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0)])
def test_an_array_without_pixels_is_refused(shape):
    with pytest.raises(InceptiveError):
        Preprocessing(size=8).load(np.zeros(shape, np.uint8))


# Colour, transparency


def test_colour_becomes_grey_by_luma():
    picture = noise(20, 10)
    luma = picture @ np.array([0.299, 0.587, 0.114])
    for source in (picture, encoded(picture, "PNG")):
        assert np.abs(pixels(source, channels=1) - luma).max() <= 1


def test_two_or_four_channels_are_refused():
    for channels in (0, 2, 4):
        assert f"not {channels}" in complaint(noise(4, 4), channels=channels)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "GIF"])
def test_black_and_white_is_0_and_255(tmp_path, form):
    bits = noise(19, 11, channels=1) > 127
    file = write(tmp_path / "bits", encoded(Image.fromarray(bits), form))
    assert np.array_equal(pixels(file), np.where(bits, 255, 0)[..., None].repeat(3, axis=2))
    assert np.array_equal(pixels(file, channels=1), np.where(bits, 255, 0))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "PPM"])
def test_grey_keeps_its_values(tmp_path, form):
    grey = noise(19, 11, channels=1)
    file = write(tmp_path / "grey", encoded(grey, form))
    assert np.array_equal(pixels(file), grey[..., None].repeat(3, axis=2))
    assert np.array_equal(pixels(file, channels=1), grey)


def palette(indices, colours):
    array = np.array(indices, np.uint8)
    image = Image.frombytes("P", array.shape[::-1], array.tobytes())
    image.putpalette([value for colour in colours for value in colour])
    return image


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "GIF"])
def test_a_palette_is_looked_up(tmp_path, form):
    file = write(tmp_path / "palette", encoded(palette([[0, 1], [2, 3]], COLOURS), form))
    assert np.array_equal(pixels(file), np.array(COLOURS).reshape(2, 2, 3))


def on_white(colour, alpha):
    return np.asarray(colour) * (alpha / 255) + 255 - alpha


def test_a_palette_with_transparency_is_laid_on_white(tmp_path):
    image = palette([[0, 1], [2, 3]], COLOURS)
    alphas = [0, 128, 255, 60]
    file = write(tmp_path / "palette.png", encoded(image, "PNG", transparency=bytes(alphas)))
    expected = np.array([on_white(*pair) for pair in zip(COLOURS, alphas, strict=True)])
    found = pixels(file).reshape(4, 3)
    assert np.array_equal(found[0], [255, 255, 255])
    assert np.array_equal(found[2], COLOURS[2])
    assert np.abs(found - expected).max() <= 1


def test_the_transparent_colour_of_a_gif_is_white(tmp_path):
    image = palette([[0, 1], [2, 3]], COLOURS)
    found = pixels(write(tmp_path / "a.gif", encoded(image, "GIF", transparency=1)))
    assert np.array_equal(found.reshape(4, 3), [COLOURS[0], (255,) * 3, *COLOURS[2:]])


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_laid_on_white(tmp_path, form):
    picture = noise(32, 16, channels=4)
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    found = pixels(write(tmp_path / "rgba", encoded(picture, form, **options)))
    expected = on_white(picture[..., :3], picture[..., 3:].astype(float))
    assert np.abs(found - expected).max() <= 1


def test_the_colour_under_alpha_zero_does_not_show(tmp_path):
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[:4] = (200, 0, 90, 0)
    picture[4:] = (200, 0, 90, 255)
    found = pixels(write(tmp_path / "hidden.png", encoded(picture, "PNG")))
    assert (found[:4] == 255).all()
    assert (found[4:] == (200, 0, 90)).all()


def test_grey_with_alpha_is_laid_on_white(tmp_path):
    picture = noise(32, 16, channels=4)[..., :2].copy()
    picture[0, :, 1] = 0
    image = Image.frombytes("LA", (32, 16), picture.tobytes())
    file = write(tmp_path / "la.png", encoded(image, "PNG"))
    expected = on_white(picture[..., 0], picture[..., 1].astype(float))
    assert (pixels(file, channels=1)[0] == 255).all()
    assert np.abs(pixels(file, channels=1) - expected).max() <= 1
    assert np.abs(pixels(file) - expected[..., None]).max() <= 1


@pytest.mark.parametrize(
    ("depth", "colour_type", "raw", "transparent", "expected"),
    [
        (8, 2, bytes([9, 8, 7, 9, 8, 6]), (9, 8, 7), [(255,) * 3, (9, 8, 6)]),
        (8, 0, bytes([10, 200]), (10,), [(255,) * 3, (200,) * 3]),
        (16, 0, struct.pack(">HH", 1000, 65535), (1000,), [(255,) * 3, (255,) * 3]),
        (16, 0, struct.pack(">HH", 65535, 0), (65535,), [(255,) * 3, (0,) * 3]),
        (16, 0, struct.pack(">HH", 0, 65535), (0,), [(255,) * 3, (255,) * 3]),
    ],
    ids=["rgb8", "grey8", "grey16-dark", "grey16-bright", "grey16-black"],
)
def test_the_one_transparent_colour_of_a_png_is_white(
    tmp_path, depth, colour_type, raw, transparent, expected
):
    chunk = (b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    file = write(tmp_path / "trns.png", png(2, 1, depth, colour_type, b"\0" + raw, chunk))
    assert np.array_equal(pixels(file)[0], expected)


@pytest.mark.parametrize(("form", "tolerance"), [("TIFF", 1), ("JPEG", 4)])
def test_cmyk_becomes_rgb(tmp_path, form, tolerance):
    inks = np.zeros((32, 32, 4), np.uint8)
    inks[:16, :16], inks[:16, 16:] = (0, 255, 255, 0), (255, 0, 0, 0)
    inks[16:, :16], inks[16:, 16:] = (0, 0, 0, 255), (40, 80, 120, 60)
    options = {"quality": 95, "subsampling": 0} if form == "JPEG" else {}
    image = Image.frombytes("CMYK", (32, 32), inks.tobytes())
    file = write(tmp_path / "cmyk", encoded(image, form, **options))
    expected = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:].astype(float)) / 255
    assert np.abs(pixels(file) - expected).max() <= tolerance
    assert np.abs(pixels(file, 1) - expected @ (0.299, 0.587, 0.114)).max() <= tolerance + 1


# Orientation. EXIF names the sides of the upright picture where row 0 and column 0 are stored.

STORED = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def turned(upright, orientation, form, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](upright))
    return encoded(stored, form, exif=exif, **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("form", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 3),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("TIFF", {}, 0),
        pytest.param(
            "AVIF",
            {"quality": 95, "subsampling": "4:4:4"},
            3,
            marks=pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF"),
        ),
    ],
)
def test_a_turned_picture_is_shown_upright(tmp_path, form, options, tolerance, orientation):
    upright = quadrants(64, 32)
    found = pixels(write(tmp_path / "turned", turned(upright, orientation, form, **options)))
    assert found.shape == upright.shape
    assert np.abs(found - upright).max() <= tolerance


@pytest.mark.parametrize("orientation", STORED)
def test_a_turned_jpeg_is_upright_when_decoded_at_a_smaller_scale(tmp_path, orientation):
    data = turned(quadrants(1280, 960), orientation, "JPEG", quality=95)
    found = pixels(write(tmp_path / "large.jpg", data), shorter=50)
    assert found.shape == (120, 160, 3)
    assert largest_error(found) <= 4


def test_a_grey_picture_of_sixteen_bits_is_turned_too(tmp_path):
    upright = np.linspace(0, 65535, 96).round().astype(np.uint16).reshape(8, 12)
    found = pixels(write(tmp_path / "turned.png", turned(upright, 6, "PNG")), channels=1)
    assert np.abs(found - upright / 257).max() <= 1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("kept", [4, 20, 30, 66, 81])
def test_damaged_exif_does_no_harm(tmp_path, form, kept):
    exif = Image.Exif()
    exif[0x010F] = "maker" * 8
    options = {"lossless": True} if form == "WEBP" else {"quality": 95, "subsampling": 0}
    data = encoded(quadrants(), form, exif=exif.tobytes()[:kept], **options)
    assert largest_error(pixels(write(tmp_path / "exif", data))) <= 3


def test_an_orientation_beside_damaged_exif_still_counts(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker" * 8
    stored = np.ascontiguousarray(STORED[6](quadrants()))
    data = encoded(stored, "PNG", exif=exif.tobytes()[:-45])
    assert np.array_equal(pixels(write(tmp_path / "turned.png", data)), quadrants())


def exif_of(*entries):
    """EXIF of (tag, type, value) as they stand, however wrong: an orientation of 6 and `entries`."""
    rows = [struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries]
    rows.append(struct.pack("<HHII", 0x0112, 3, 1, 6))
    rows.sort()
    ifd = struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + ifd


@pytest.mark.parametrize(
    "entry",
    [
        (0x0100, 2, 0x41),  # a width that is a text
        (0x0128, 4, 70000),  # a short number that is a long one
        (0x0128, 2, 0x41),
        (0x8769, 4, 26),  # a part that is this one
        (0x8825, 4, 2**31),  # a part that is nowhere
        (0x011A, 5, 2**30),
    ],
)
def test_an_orientation_counts_whatever_the_other_tags_are(tmp_path, entry):
    """Another bad tag, and the picture stayed on its side."""
    stored = np.ascontiguousarray(STORED[6](quadrants()))
    for form in ("JPEG", "WEBP"):
        options = {"quality": 95, "subsampling": 0} if form == "JPEG" else {"lossless": True}
        data = encoded(stored, form, exif=exif_of(entry), **options)
        assert largest_error(pixels(write(tmp_path / "turned", data))) <= 3


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


@pytest.mark.parametrize("before", [True, False], ids=["before", "after the pixels"])
@pytest.mark.parametrize(
    "text",
    [
        chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(2**21))),
        chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(b"a" * 2**21)),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(2**21))),
        b"".join(chunk(b"tEXt", b"k%d\0" % k + b"a" * 2**20) for k in range(66)),
    ],
    ids=["zTXt", "iTXt", "iCCP", "many tEXt"],
)
def test_a_png_with_much_text_is_read(tmp_path, text, before):
    """It was called damaged: tools write their settings, scanners their profiles there."""
    data = encoded(quadrants(), "PNG")
    at = data.index(b"IDAT") - 4 if before else data.index(b"IEND") - 4
    file = write(tmp_path / "settings.png", data[:at] + text + data[at:])
    assert np.array_equal(pixels(file), quadrants())
    with pytest.raises(InceptiveError, match="truncated or damaged"):
        pixels(
            write(
                file, data[: data.index(b"IDAT") - 4] + text + data[data.index(b"IDAT") - 4 :][:20]
            )
        )


# Decoding a JPEG at a smaller scale


def test_a_large_jpeg_is_decoded_small_but_at_least_twice_as_large_as_needed(tmp_path):
    file = write(tmp_path / "photo.jpg", encoded(photo(2000, 1500), "JPEG", quality=90))
    assert decode(file).size == (2000, 1500)
    assert decode(file, shorter=100).size == (500, 375)
    assert decode(file, shorter=94).size == (500, 375)
    assert decode(file, shorter=93).size == (250, 188)
    assert decode(file, shorter=700).size == (2000, 1500)
    assert decode(file, channels=1, shorter=100).size == (500, 375)


def test_a_large_jpeg_looks_as_if_it_had_been_decoded_in_full(tmp_path):
    file = write(tmp_path / "photo.jpg", encoded(photo(2000, 1500), "JPEG", quality=90))
    with Image.open(file) as image:
        full = image.convert("RGB").resize((133, 100), Image.Resampling.BILINEAR)
    expected = np.asarray(full).astype(int)[:, 16:116].transpose(2, 0, 1)
    assert expected.std() > 20
    difference = np.abs(Preprocessing(size=100).load(file) - expected)
    assert difference.mean() < 1.5


def test_a_png_is_never_decoded_at_a_smaller_scale():
    assert decode(encoded(np.zeros((400, 600), np.uint8), "PNG"), shorter=10).size == (600, 400)


@pytest.mark.parametrize("side", [12_000, 13_600], ids=["144 megapixels", "185 megapixels"])
def test_a_jpeg_too_large_to_decode_in_full_is_read_at_a_smaller_scale(tmp_path, side):
    file = write(tmp_path / "camera.jpg", flat_jpeg(side, side))
    assert "too large" in complaint(file)
    found = decode(file, channels=1, shorter=224)
    assert found.size == (side // 8, side // 8)
    assert found.getextrema() == (128, 128)


# What is not a picture

PARTS = {
    "a.jpg": encoded(photo(120, 80), "JPEG", quality=90),
    "a.png": encoded(photo(120, 80), "PNG"),
    "a.bmp": encoded(photo(120, 80), "BMP"),
    "a.tif": encoded(photo(120, 80), "TIFF"),
    "a.gif": encoded(photo(120, 80), "GIF"),
    "a.ppm": encoded(photo(120, 80), "PPM"),
    "a.webp": encoded(photo(120, 80), "WEBP"),
}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.jpg", b"", "is empty (0 bytes)"),
        ("note.jpg", b"Nothing to see here,\r\n\tmove on.\n", "it holds text"),
        ("page.png", b"\n<!DOCTYPE html><html><body>404</body></html>", "it holds HTML"),
        ("drawing.svg", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        ("paper.jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "is a PDF document"),
        ("zeros.png", bytes(1000), "nothing but zero bytes"),
        ("noise.jpg", noise(10, 10).tobytes(), "is not an image in a known format"),
        (
            "a.jxl",
            b"\xff\x0a\xfa\x1f",
            "is a JPEG XL image, which is not read; save it as JPEG or PNG",
        ),
        ("b.jxl", b"\0\0\0\x0cJXL \r\n\x87\n", "is a JPEG XL image"),
        ("a.psd", b"8BPS\0\1" + bytes(20), "is a Photoshop document"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(90), "is a camera's raw file"),
        ("a.cr3", b"\0\0\0\x18ftypcrx " + bytes(90), "is a camera's raw file"),
        ("a.mp4", b"\0\0\0\x18ftypisom" + bytes(90), "is a video"),
        ("a.avi", b"RIFF\x90\0\0\0AVI LIST" + bytes(90), "is a video"),
        ("a.zip", b"PK\3\4\x14\0" + bytes(90), "is a ZIP archive"),
        ("a.svg", b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- -->\n<svg>", "is an SVG drawing"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "is a PostScript drawing"),
        ("a.dcm", bytes(128) + b"DICM" + bytes(90), "is a DICOM image"),
        (
            "lfs.jpg",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146",
            "git lfs pull",
        ),
        ("b64.jpg", b"/9j/4AAQSkZJRgABAQ", "is a JPEG in base64"),
        ("page.jpg", b"HTTP/1.1 200 OK\r\n\r\n\xff\xd8", "is a web server's answer"),
        ("magic.png", b"\x89PNG\r\n\x1a\n", "is not an image in a known format"),
        ("magic.jpg", b"\xff\xd8\xff", "is not an image in a known format"),
    ],
)
def test_a_file_that_is_no_image_is_named_with_the_reason(tmp_path, name, data, reason):
    message = complaint(write(tmp_path / name, data))
    assert message.startswith(f"{tmp_path / name}: ")
    assert reason in message.removeprefix(f"{tmp_path / name}: ")


def test_a_raw_file_is_not_taken_for_the_small_picture_at_its_start():
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 1  # "reduced-resolution version of another image in this file"
    assert np.array_equal(pixels(encoded(noise(9, 7), "TIFF", tiffinfo=tags)), noise(9, 7))
    tags[330], tags.tagtype[330] = (8,), 4
    assert "is a camera's raw file" in complaint(encoded(noise(9, 7), "TIFF", tiffinfo=tags))


def test_bytes_without_a_name_are_called_the_image():
    assert complaint(b"") == "the image: is empty (0 bytes)"


def test_a_missing_file_is_named(tmp_path):
    message = complaint(tmp_path / "gone.jpg")
    assert message.startswith(f"{tmp_path / 'gone.jpg'}: ")
    assert os.strerror(2) in message


def test_a_folder_is_no_image(tmp_path):
    message = complaint(tmp_path)
    assert message.startswith(f"{tmp_path}: ")
    assert os.strerror(21) in message


@pytest.mark.parametrize("name", ["a\0b.jpg", "a\ud800b.jpg"], ids=["null", "surrogate"])
def test_a_name_that_no_file_can_have_is_an_error_of_one_line(tmp_path, name):
    assert "b.jpg: " in complaint(f"{tmp_path}/{name}")


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_named_with_the_reason(tmp_path, name, share):
    data = PARTS[name][: int(len(PARTS[name]) * share)]
    message = complaint(write(tmp_path / name, data))
    assert message.startswith(f"{tmp_path / name}: is truncated or damaged (")


def test_a_truncated_jpeg_is_refused_at_a_smaller_scale_too(tmp_path):
    data = encoded(photo(800, 600), "JPEG")
    message = complaint(write(tmp_path / "half.jpg", data[: len(data) // 2]), shorter=50)
    assert "half.jpg: is truncated" in message


@pytest.mark.parametrize("level", [0, 6])
def test_a_png_with_damaged_pixels_is_refused(tmp_path, level):
    data = bytearray(encoded(noise(60, 40), "PNG", compress_level=level))
    data[len(data) // 2] ^= 0x55
    message = complaint(write(tmp_path / "flipped.png", data))
    assert "flipped.png: is truncated or damaged" in message


def test_a_pillow_image_whose_file_is_truncated_is_refused(tmp_path):
    data = PARTS["a.jpg"]
    with Image.open(write(tmp_path / "half.jpg", data[: len(data) // 2])) as image:
        assert "truncated" in complaint(image)


GIF = encoded(noise(8, 8), "GIF")


J2K = encoded(noise(8, 8), "JPEG2000", no_jp2=True)


def icon(content):
    """An icon file that says that its one picture has 16 x 16 pixels."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(content), 22)
    return b"\0\0\1\0\1\0" + entry + content


def bmp_header(width, height):
    size = struct.pack("<IIHH", 54 + 100, 0, 54, 0)[:12]
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + size + info + bytes(100)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rgb.png", png(60_000, 60_000, 8, 2, b"\0")),
        ("bits.png", png(12_000, 12_000, 1, 0, b"\0")),
        ("just.png", png(10_001, 10_000, 1, 0, b"\0")),
        ("a.bmp", bmp_header(60_000, 60_000)),
        ("just.bmp", bmp_header(10_001, 10_000)),
        ("a.gif", GIF[:6] + struct.pack("<HH", 60_000, 60_000) + GIF[10:]),
        ("just.gif", GIF[:6] + struct.pack("<HH", 10_001, 10_000) + GIF[10:]),
        ("a.ppm", b"P6 60000 60000 255\n" + bytes(100)),
        ("just.ppm", b"P6 10001 10000 255\n" + bytes(100)),
        ("a.jpg", flat_jpeg(160, 160).replace(struct.pack(">HH", 160, 160), b"\xea\x60" * 2)),
        ("a.jp2", J2K[:8] + struct.pack(">II", 60_000, 60_000) + J2K[16:]),
        ("a.tga", encoded(noise(8, 8), "TGA").replace(b"\x08\0\x08\0", b"\xea\xea" * 2)),
        ("png.ico", icon(png(60_000, 60_000, 8, 2, b"\0"))),
        ("bmp.ico", icon(struct.pack("<IiiHHIIiiII", 40, 10_001, 20_000, 1, 32, *[0] * 6))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_decompression_bomb_is_refused(tmp_path, name, data):
    message = complaint(write(tmp_path / name, data))
    assert message.startswith(f"{tmp_path / name}: is too large to decode safely")
    assert f"{MAX_PIXELS // 1_000_000} million" in message


def test_the_pixels_allowed_are_counted_exactly(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1000)
    assert decode(encoded(noise(40, 25), "PNG")).size == (40, 25)
    assert "40 x 26 pixels" in complaint(encoded(noise(40, 26), "PNG"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb\x1b[31mc.jpg", "a\\nb\\x1b[31mc.jpg: is empty"),
        ("tab\tdel\x7f.jpg", "tab\\tdel\\x7f.jpg: is empty"),
        ("line\u2028.jpg", "line\\u2028.jpg: is empty"),
        ("bildgröße 図.jpg", "bildgröße 図.jpg: is empty"),
    ],
    ids=["escape", "tab", "separator", "letters"],
)
def test_a_name_is_shown_on_one_line(tmp_path, name, shown):
    assert shown in complaint(write(tmp_path / name, b""))


def test_a_name_that_is_not_text_is_escaped(tmp_path):
    assert "\\udcff.jpg: " in complaint(os.fsdecode(bytes(tmp_path) + b"/\xff.jpg"))


@pytest.mark.parametrize("junk", [b"P6\n\x1b[31mx 5 255\n", b"P3 2 2 255\n1 2 \x1b]0;x\x07 4\n"])
def test_nothing_in_a_file_reaches_the_message_unescaped(tmp_path, junk):
    assert "damaged" in complaint(write(tmp_path / "a.ppm", junk + bytes(100)))


def test_decoding_leaves_the_warning_filters_and_limits_of_its_host_alone(monkeypatch):
    before, inside = list(warnings.filters), []
    upright = decoding._upright

    def spied(image):
        inside.append(list(warnings.filters))
        return upright(image)

    monkeypatch.setattr(decoding, "_upright", spied)
    decode(encoded(noise(4, 4), "PNG"))
    assert inside == [before] and list(warnings.filters) == before
    assert Image.MAX_IMAGE_PIXELS == 2**30 // 4 // 3  # Pillow's own


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "PPM", "WEBP", "AVIF"])
def test_the_limit_of_pixels_is_ours_and_pillow_does_not_warn_of_its_own(monkeypatch, form):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(encoded(noise(10, 8), form)).size == (10, 8)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_picture_without_pixels_is_refused(size):
    with pytest.raises(InceptiveError, match=r"^photo: has no pixels \(\d x \d\)$"):
        Preprocessing(size=8).load(Image.new("RGB", size), "photo")


def test_an_error_calls_the_picture_what_the_caller_calls_it(tmp_path):
    for source in (b"", b"junk", encoded(noise(4, 4), "PNG")[:60], Image.new("L", (0, 5))):
        with pytest.raises(InceptiveError, match=r"^a\\x1bb\.png: "):
            Preprocessing(size=200).load(source, "a\x1bb.png")
    (tmp_path / "b.png").write_bytes(b"junk")
    with pytest.raises(InceptiveError, match=r"/b\.png: is not an image"):
        Preprocessing(size=200).load(tmp_path / "b.png")


ARITHMETIC = bytes.fromhex(
    "ffd8ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b"
    "0b1016101113141515150c0f171816141812141514ffdb00430103040405040509050509140d0b0d14141414141414141414"
    "14141414141414141414141414141414141414141414141414141414141414141414141414141414ffc90011080010001003"
    "011100021101031101ffcc000a0010100501101105ffda000c03010002110311003f00ff00b924dafc5990cc79d6a63428b6"
    "db9ff339fb10ffd9"
)
"""16 x 16 pixels, red left and blue right: a JPEG of Pillow's, rewritten by jpegtran -arithmetic."""


@pytest.mark.parametrize("size", [0, 65_536 + 10])
def test_a_jpeg_in_arithmetic_coding_is_decoded_however_long(size):
    """Pillow hands libjpeg 64 KB at a time, and of these files the first of several is refused."""
    start, rest = ARITHMETIC[:2], ARITHMETIC[2:]
    padding = bytes(max(size - len(ARITHMETIC) - 8, 0))
    half = len(padding) // 2
    for part in (padding[:half], padding[half:]) if padding else ():
        start += b"\xff\xfe" + (len(part) + 2).to_bytes(2, "big") + part
    data = start + rest
    assert len(data) == size or not size
    found = pixels(data)
    assert np.abs(found[:, :7] - (220, 40, 40)).max() <= 8
    assert np.abs(found[:, 9:] - (40, 60, 200)).max() <= 8


def test_a_png_whose_pixels_were_damaged_is_refused():
    """Pillow shows noise, without a word, where all rows are there before their sum is read."""
    rows = np.pad(noise(90, 60).reshape(60, 270), ((0, 0), (1, 0)))  # each after its filter, none
    packed = zlib.compress(rows.tobytes(), 0)
    sound = png(90, 60, 8, 2, b"", (b"IDAT", packed[:9000]), (b"IDAT", packed[9000:-4]))
    assert (pixels(sound) == noise(90, 60)).all()
    for at in np.linspace(60, len(sound) - 100, 30).astype(int):
        damaged = bytearray(sound)
        damaged[at] ^= 16
        assert "is truncated or damaged" in complaint(bytes(damaged))


@pytest.mark.parametrize("kind", [str, Path])
def test_a_web_address_is_called_one(kind):
    assert "a web address is not fetched" in complaint(kind("https://example.org/a.jpg"))


@pytest.mark.parametrize("turn", [0, 1])
def test_of_a_picture_however_long_and_thin_the_middle_is_seen(turn):
    thin = np.zeros((1, 60_000, 3), np.uint8)
    thin[:, 20_000:40_000] = 9, 200, 30
    image = Image.fromarray(np.ascontiguousarray(np.rot90(thin, turn)))
    square = Preprocessing(size=300).load(image)
    assert square.shape == (3, 300, 300)
    assert (square == np.array([9, 200, 30])[:, None, None]).all()
    assert max(resize_shorter(image, 300, "bilinear").size) <= MAX_PIXELS // 300


# HEIC, and AVIF under the brand that the two share


def test_heic_is_decoded():
    found = pixels(GOLDEN / "tiny.heic")
    assert found.shape == (48, 64, 3)
    assert largest_error(found, seam=4) <= 4
    assert pixels(GOLDEN / "tiny.heic", channels=1).shape == (48, 64)


def test_without_its_package_a_heic_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    message = complaint(GOLDEN / "tiny.heic")
    assert message.startswith(f"{GOLDEN / 'tiny.heic'}: is a HEIC image")
    assert "pip install 'inceptive[heic]'" in message


@pytest.mark.parametrize("share", [0.03, 0.2, 0.5, 0.9])
def test_a_truncated_heic_is_refused(tmp_path, share):
    data = (GOLDEN / "tiny.heic").read_bytes()
    message = complaint(write(tmp_path / "half.heic", data[: int(len(data) * share)]))
    assert "half.heic: is truncated or damaged" in message


def test_a_heic_of_too_many_pixels_is_refused(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 64 * 48 - 1)
    assert "64 x 48 pixels" in complaint(GOLDEN / "tiny.heic")


@pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
@pytest.mark.parametrize("package", [True, False], ids=["with pi_heif", "without"])
def test_an_avif_under_the_brand_of_all_heif_files_is_decoded(monkeypatch, package):
    data = encoded(quadrants(), "AVIF", quality=95, subsampling="4:4:4")
    if not package:
        monkeypatch.setitem(sys.modules, "pi_heif", None)
    assert data[4:12] == b"ftypavif"
    found = pixels(data[:8] + b"mif1" + data[12:])
    assert largest_error(found) <= 3


# What the net sees


@pytest.mark.parametrize(
    ("size", "options", "resized", "corner"),
    [
        ((400, 200), {"size": 200}, (400, 200), (100, 0)),
        ((200, 401), {"size": 200}, (200, 401), (0, 100)),
        ((200, 100), {"size": 50, "crop": 0.5}, (200, 100), (75, 25)),
        ((100, 201), {"size": 50, "crop": 0.5}, (100, 201), (25, 75)),
        ((300, 200), {"size": 64}, (96, 64), (16, 0)),
        ((200, 300), {"size": 64}, (64, 96), (0, 16)),
        ((300, 200), {"size": 64, "crop": 0.5}, (192, 128), (64, 32)),
        ((30, 20), {"size": 64, "crop": 0.875}, (110, 73), (23, 4)),
        ((80, 80), {"size": 40, "interpolation": "bicubic"}, (40, 40), (0, 0)),
        ((90, 60), {"size": 40, "interpolation": "nearest"}, (60, 40), (10, 0)),
        ((90, 60), {"size": 40, "interpolation": "box"}, (60, 40), (10, 0)),
        ((1, 1), {"size": 8}, (8, 8), (0, 0)),
    ],
)
def test_the_shorter_side_is_resized_and_the_centre_square_kept(size, options, resized, corner):
    picture = noise(*size)
    method = Image.Resampling[options.get("interpolation", "bilinear").upper()]
    whole = Image.fromarray(picture)
    whole = np.asarray(whole if size == resized else whole.resize(resized, method))
    (left, top), side = corner, options["size"]
    expected = whole[top : top + side, left : left + side].transpose(2, 0, 1)
    assert np.array_equal(Preprocessing(**options).load(picture), expected)


@pytest.mark.parametrize("upright", [False, True], ids=["landscape", "portrait"])
@pytest.mark.parametrize(("crop", "seen"), [(1.0, 200), (0.5, 100)])
def test_the_square_is_the_middle_of_the_picture(upright, crop, seen):
    picture = np.zeros((200, 400, 3), np.uint8)
    picture[..., 0] = np.arange(400) // 2
    picture[..., 1] = np.arange(200)[:, None]
    picture = picture.swapaxes(0, 1) if upright else picture
    found = Preprocessing(size=50, crop=crop).load(np.ascontiguousarray(picture)).astype(float)
    found = found.swapaxes(1, 2) if upright else found
    step = seen / 50
    centres = (np.arange(50) + 0.5) * step - 0.5
    across, down = (centres + 200 - seen / 2) / 2, centres + 100 - seen / 2
    assert np.abs(found[0] - across).max() <= 1.5
    assert np.abs(found[1] - down[:, None]).max() <= 1.5


@pytest.mark.parametrize(("channels", "mean"), [(1, (0.5,)), (3, (0.5,) * 3)])
def test_the_square_is_a_contiguous_array_that_may_be_written(channels, mean):
    preprocessing = Preprocessing(size=32, channels=channels, mean=mean, std=mean)
    square = preprocessing.load(noise(60, 40))
    assert square.dtype == np.uint8
    assert square.shape == (channels, 32, 32)
    assert square.flags.c_contiguous
    assert square.flags.writeable


def test_a_picture_is_seen_alike_from_every_kind_of_source(tmp_path):
    picture = noise(300, 200)
    data = encoded(picture, "PNG")
    file = write(tmp_path / "a.png", data)
    preprocessing = Preprocessing(size=64, crop=0.875)
    expected = preprocessing.load(file)
    for source in (str(file), data, Image.fromarray(picture), picture):
        assert np.array_equal(preprocessing.load(source), expected)


@pytest.mark.parametrize("size", [(4, 60_000), (60_000, 4)], ids=["tall", "wide"])
def test_a_long_thin_picture_is_never_blown_up_beyond_what_is_safe(monkeypatch, size):
    resize = Image.Image.resize

    def watched(image, size, *arguments, **options):
        assert size[0] * size[1] <= MAX_PIXELS
        return resize(image, size, *arguments, **options)

    picture = Image.new("RGB", size, (0, 0, 255))
    left, top = size[0] // 2 - 2, size[1] // 2 - 2
    picture.paste((255, 0, 0), (left, top, left + 4, top + 4))
    monkeypatch.setattr(Image.Image, "resize", watched)
    try:
        square = Preprocessing(size=224).load(picture)
    except InceptiveError as error:
        assert f"{size[0]} x {size[1]}" in str(error)
    else:
        assert square.shape == (3, 224, 224)
        assert square[:, 112, 112].tolist() == [255, 0, 0]


def test_arrays_and_tensors_are_normalised_alike():
    import torch

    shown = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4), dtype=np.uint8)
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (shown.mean, shown.std))
    expected = (images / 255 - mean) / std
    array, tensor = shown.normalise(images), shown.normalise(torch.from_numpy(images))
    assert array.dtype == np.float32 and tensor.dtype == torch.float32
    np.testing.assert_allclose(array, expected, atol=2e-6)
    np.testing.assert_array_equal(tensor.numpy(), array)
    np.testing.assert_array_equal(shown.normalise(images[0]), array[0])


def test_scale_and_shift_show_each_channel_as_the_net_wants_it():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    scale, shift = Preprocessing(mean=mean, std=std).scale_and_shift()
    assert scale.dtype == shift.dtype == np.float32
    assert scale.shape == shift.shape == (3, 1, 1)
    values = np.arange(256, dtype=np.float32)
    for channel in range(3):
        expected = (np.arange(256) / 255 - mean[channel]) / std[channel]
        found = values * scale[channel, 0] + shift[channel, 0]
        assert np.abs(found - expected).max() < 2e-6


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(),
        Preprocessing(299, 3, 0.875, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        Preprocessing(28, 1, mean=(0.13,), std=(0.31,)),
    ],
)
def test_preprocessing_survives_json(preprocessing):
    text = json.dumps(preprocessing.to_dict())
    assert Preprocessing.from_dict(json.loads(text)) == preprocessing


def test_what_is_not_said_keeps_its_default():
    assert Preprocessing.from_dict({"size": 96}) == Preprocessing(size=96)
    assert Preprocessing.from_dict({}) == Preprocessing()


@pytest.mark.parametrize(
    "values",
    [
        {"sise": 224},
        {"size": 224, "colour": "blue"},
        {1: 2},
        [224],
        None,
        "size\n224",
        {"size": 0},
        {"size": -1},
        {"size": 22.5},
        {"size": "224"},
        {"size": None},
        {"channels": 0, "mean": [], "std": []},
        {"channels": 2, "mean": [0.5, 0.5], "std": [0.5, 0.5]},
        {"channels": "3"},
        {"channels": 1},
        {"crop": 0},
        {"crop": -0.5},
        {"crop": 1.5},
        {"crop": float("nan")},
        {"crop": "half"},
        {"interpolation": "lanczos"},
        {"interpolation": None},
        {"interpolation": {}},
        {"mean": 0.5},
        {"mean": [0.5, 0.5]},
        {"mean": ["a", "b", "c"]},
        {"mean": "abc"},
        {"mean": [0.5, float("nan"), 0.5]},
        {"std": [0.5, 0.5, 0.5, 0.5]},
        {"std": [0.5, 0, 0.5]},
        {"std": [0.5, float("nan"), 0.5]},
    ],
    ids=str,
)
def test_preprocessing_that_makes_no_sense_is_refused(values):
    with pytest.raises(InceptiveError) as caught:
        Preprocessing.from_dict(values)
    assert str(caught.value).isprintable()


def test_an_unknown_key_is_named():
    with pytest.raises(InceptiveError, match="sise"):
        Preprocessing.from_dict({"sise": 224})


# Anything at all

FUZZ = settings(max_examples=30, deadline=None, database=None, derandomize=True)


def decodes_or_complains(data):
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoding, "MAX_PIXELS", 1_000_000)
            image = decode(data, shorter=8)
    except InceptiveError as error:
        assert str(error).isprintable()
        assert str(error).startswith("the image: ")
    else:
        assert image.mode == "RGB"
        assert np.asarray(image).shape == (image.height, image.width, 3)


@functools.cache
def small_files():
    picture = noise(12, 9)
    grey = np.linspace(0, 65535, 108).astype(np.uint16).reshape(9, 12)
    files = [encoded(picture, form) for form in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")]
    files += [encoded(grey, "TIFF"), encoded(grey, "PNG"), turned(picture, 6, "JPEG")]
    files += [encoded(palette([[0, 1], [2, 3]], COLOURS), "PNG", transparency=b"\0\x80")]
    files += [encoded(grey, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})]
    files += [encoded(picture, form) for form in ("JPEG2000", "TGA")]
    files += [
        encoded(picture, "ICO", sizes=[(9, 9)], bitmap_format=kind) for kind in ("bmp", "png")
    ]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files += [encoded(picture, form, icc_profile=profile) for form in ("TIFF", "JPEG")]
    return files


@given(data=st.binary(max_size=200))
@FUZZ
def test_random_bytes_decode_or_complain(data):
    decodes_or_complains(data)


@pytest.mark.parametrize("index", range(17))
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
@FUZZ
def test_a_damaged_file_decodes_or_complains(index, edits, kept):
    data = bytearray(small_files()[index])
    for position, value in edits:
        data[int(position * len(data))] = value
    decodes_or_complains(bytes(data[: round(kept * len(data))]))
