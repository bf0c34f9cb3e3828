"""Colour profiles: against the formulas of the spaces, computed here in floating point."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms, features
from PIL.PngImagePlugin import PngInfo

from inceptive.images import Note, Preprocessing, decode, read_picture, to_eight_bits
from inceptive.images import colour as colour_module

D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), (0.3127, 0.3290)
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), (0.3127, 0.3290)
PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), (0.3457, 0.3585)
SWAPPED = (SRGB[0][1], SRGB[0][2], SRGB[0][0]), SRGB[1]
SPACES = {"Display P3": (P3, 2.2), "ProPhoto": (PROPHOTO, 1.8), "swapped": (SWAPPED, 2.2)}


def to_xyz(space):
    """The matrix from linear RGB to XYZ under D50: columns are the primaries' XYZ (ICC.1, annex E)."""
    primaries, white = (np.array(part) for part in space)

    def xyz(xy):
        return np.array([xy[0] / xy[1], 1, (1 - xy[0] - xy[1]) / xy[1]])

    columns = np.stack([xyz(xy) for xy in primaries], axis=1)
    matrix = columns * np.linalg.solve(columns, xyz(white))
    scale = np.diag(BRADFORD @ D50 / (BRADFORD @ xyz(white)))
    return np.linalg.inv(BRADFORD) @ scale @ BRADFORD @ matrix


def srgb_curve(linear):
    """IEC 61966-2-1, to 0-255."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def expected(array, space, gamma):
    """What an array (..., 3) of 0-255 in such a space is in sRGB."""
    linear = (np.asarray(array) / 255.0) ** gamma @ to_xyz(space).T
    return srgb_curve(linear @ np.linalg.inv(to_xyz(SRGB)).T)


def fixed(*numbers):
    return b"".join(struct.pack(">i", round(65536 * number)) for number in numbers)


def icc(colours, tags, kind=b"mntr", connection=b"XYZ "):
    """A profile of ICC version 2 with such tags."""
    at, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content
    size = struct.pack(">I", at + len(body))
    header = size + bytes(4) + b"\2\x10\0\0" + kind + colours + connection + bytes(12) + b"acsp"
    header = header.ljust(68, b"\0") + fixed(*D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz_tag(xyz):
    return b"XYZ \0\0\0\0" + fixed(*xyz)


def curve_tag(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * gamma))


def rgb_profile(space, gamma):
    tags = {b"wtpt": xyz_tag(D50)}
    for letter, column in zip("rgb", to_xyz(space).T, strict=True):
        tags[f"{letter}XYZ".encode()] = xyz_tag(column)
        tags[f"{letter}TRC".encode()] = curve_tag(gamma)
    return icc(b"RGB ", tags)


def grey_profile(gamma):
    return icc(b"GRAY", {b"wtpt": xyz_tag(D50), b"kTRC": curve_tag(gamma)})


def cmyk_profile(corners):
    """A press's: L*a*b* of each of its 16 full mixtures (C, M, Y, K slowest first), linear between."""
    identity = bytes(range(256))
    head = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lab = [(round(light * 2.55), round(a) + 128, round(b) + 128) for light, a, b in corners]
    table = head + identity * 4 + bytes(np.array(lab, np.uint8)) + identity * 3
    return icc(b"CMYK", {b"wtpt": xyz_tag(D50), b"A2B0": table}, b"prtr", b"Lab ")


def lab_of(rgb):
    """CIE L*a*b* under D50 of a colour of sRGB, 0-255."""
    share = np.array(rgb) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(np.maximum(to_xyz(SRGB) @ linear / D50, 1e-9))
    return (116 * y - 16, 500 * (x - y), 200 * (y - z)) if linear.any() else (0, 0, 0)


SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RAMP = np.stack(np.meshgrid(*3 * [np.linspace(0, 255, 6)]), -1).reshape(12, 18, 3).astype(np.uint8)
BLOCKS = RAMP.repeat(8, 0).repeat(8, 1)  # each colour fills blocks of a JPEG


def encoded(picture, form, **options):
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def shown(source, channels=3, **options):
    """The pixels, and the notes on them."""
    notes = []
    image = decode(source, channels, note=notes.append, **options)
    return np.asarray(image).astype(int), notes


FORMATS = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 100},
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("space", SPACES)
def test_a_photograph_with_a_profile_is_shown_in_srgb(form, space):
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow without AVIF")
    profile = rgb_profile(*SPACES[space])
    plain, _ = shown(encoded(RAMP, form, **FORMATS[form]))
    found, notes = shown(encoded(RAMP, form, icc_profile=profile, **FORMATS[form]))
    assert np.abs(found - expected(plain, *SPACES[space])).max() <= 2 and not notes
    assert np.abs(found - plain).max() > 80  # it is not nothing


def test_alpha_a_palette_and_a_transparent_colour_keep_what_shows():
    profile, want = rgb_profile(P3, 2.2), expected(RAMP, P3, 2.2)
    alpha = np.broadcast_to(np.linspace(0, 255, 18).astype(np.uint8)[None, :, None], (12, 18, 1))
    rgba = np.concatenate([RAMP, alpha], axis=2)
    share = alpha / 255
    found, _ = shown(encoded(rgba, "PNG", icc_profile=profile))
    assert np.abs(found - (share * want + 255 * (1 - share))).max() <= 2
    few = Image.fromarray(RAMP).quantize(16, dither=Image.Dither.NONE)
    found, _ = shown(encoded(few, "PNG", icc_profile=profile))
    assert np.abs(found - expected(few.convert("RGB"), P3, 2.2)).max() <= 2
    clear = tuple(RAMP[3, 5].tolist())
    found, _ = shown(encoded(RAMP, "PNG", icc_profile=profile, transparency=clear))
    want = np.where((clear == RAMP).all(2, keepdims=True), 255, want)
    assert np.abs(found - want).max() <= 2


@pytest.mark.parametrize("kind", ["grey", "RGB"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_follows_the_curve_of_its_profile(kind, channels, mode):
    profile = grey_profile(1.0) if kind == "grey" else rgb_profile(SRGB, 1.0)
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
    image = Image.fromarray(ramp).convert(mode)
    found, notes = shown(encoded(image, "PNG", icc_profile=profile), channels)
    want = srgb_curve(ramp / 255)
    assert np.abs(found - (want if channels == 1 else want[..., None])).max() <= 2 and not notes


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_inks_are_shown_as_their_profile_has_them(form):
    colours = np.random.default_rng(3).integers(60, 200, (16, 3))
    colours[0], colours[15] = 255, 0  # paper, and all inks
    inks = np.array([[255 * (k >> at & 1) for at in (3, 2, 1, 0)] for k in range(16)], np.uint8)
    image = Image.fromarray(inks.reshape(4, 4, 4).repeat(8, 0).repeat(8, 1), "CMYK")
    profile = cmyk_profile([lab_of(colour) for colour in colours])
    found, notes = shown(encoded(image, form, icc_profile=profile, **FORMATS[form]))
    # A level of a or b in the table is up to four of a channel.
    assert np.abs(found[4::8, 4::8].reshape(16, 3) - colours).max() <= 6 and not notes


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_converted_too(form):
    profile = grey_profile(1.0)
    ramp = np.arange(0, 65536, 256, dtype=np.uint16)[None]
    found, notes = shown(encoded(ramp, form, icc_profile=profile))
    assert np.abs(found - srgb_curve(ramp / 65535)[..., None])[:, 8:].max() <= 6 and not notes


SOUND = rgb_profile(P3, 2.2)
HOSTILE = {
    "garbage": b"no profile at all",
    "truncated": SOUND[:200],
    "header only": SOUND[:128] + bytes(4),
    "garbage tags": SOUND[:132] + bytes(range(256)) * 2,
    "of inks": cmyk_profile([lab_of((255, 255, 255))] * 15 + [(0, 0, 0)]),
    "of grey": grey_profile(2.2),
    "all black": icc(b"RGB ", {k: xyz_tag((0, 0, 0)) for k in (b"rXYZ", b"gXYZ", b"bXYZ")}
                     | {k: curve_tag(2.2) for k in (b"rTRC", b"gTRC", b"bTRC")}),
    "huge": SOUND.ljust(1 << 25, b"\0"),
}  # fmt: skip


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_profile_that_is_no_good_is_left_out_with_a_note(form, name):
    found, notes = shown(encoded(RAMP, form, icc_profile=HOSTILE[name]))
    assert np.array_equal(found, RAMP) and notes == [Note.PROFILE]


def test_a_jpeg_that_lost_a_part_of_its_profile_is_read_with_a_note():
    data = encoded(BLOCKS, "JPEG", icc_profile=SOUND.ljust(100_000, b"\0"))
    at = data.index(b"ICC_PROFILE\0\1") - 4
    part = 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    found, notes = shown(data[:at] + data[at + part :])
    assert np.array_equal(found, shown(encoded(BLOCKS, "JPEG"))[0]) and notes == [Note.PROFILE]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1"])
def test_without_a_profile_or_with_that_of_srgb_nothing_changes(mode):
    image = Image.fromarray(RAMP).convert(mode)
    plain, _ = shown(image)
    assert np.array_equal(shown(image.copy())[0], plain)
    image.info["icc_profile"] = SRGB_PROFILE
    found, notes = shown(image)
    assert np.array_equal(found, plain)
    assert notes == ([Note.PROFILE] if mode == "CMYK" else [])  # which is no profile of inks


def test_a_png_with_much_text_keeps_its_profile():
    text = PngInfo()
    text.add_text("workflow", "x" * 2_000_000, zip=True)
    found, notes = shown(encoded(RAMP, "PNG", icc_profile=SOUND, pnginfo=text))
    assert np.abs(found - expected(RAMP, P3, 2.2)).max() <= 2 and not notes


def test_a_turned_photograph_with_a_profile_stands_upright_in_srgb():
    exif = Image.Exif()
    exif[0x0112] = 6
    for form in ("TIFF", "PNG"):
        data = encoded(BLOCKS, form, icc_profile=SOUND, exif=exif)
        want = expected(np.rot90(BLOCKS, -1), P3, 2.2)
        assert np.abs(shown(data)[0] - want).max() <= 2
        # What is converted is reduced first: to the third, where three times as much is there.
        small, _ = shown(data, shorter=16)
        assert small.shape[:2] == (48, 32)


def test_threads_share_what_converts():
    profiles = [rgb_profile(P3, 1.5 + 0.1 * k) for k in range(4)]
    files = [encoded(BLOCKS, "PNG", icc_profile=profile) for profile in profiles]
    want = [decode(file).tobytes() for file in files]
    colour_module._converter.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda k: decode(files[k % 4]).tobytes(), range(64)))
    assert found == want * 16


# Pictures that come out blank


def white_on(alpha, colour=255):
    rgba = np.full((20, 20, 4), colour, np.uint8)
    rgba[..., 3] = alpha
    return rgba


CORNER = np.zeros((20, 20), np.uint8)
CORNER[:8, :8] = 255


@pytest.mark.parametrize(
    ("picture", "blank"),
    [
        (white_on(CORNER), True),
        (white_on(CORNER, colour=254), True),
        (np.dstack([np.arange(400, dtype=np.uint8).reshape(20, 20)] * 3 + [0 * CORNER]), True),
        (white_on(CORNER, colour=0), False),
        (white_on(255), False),  # the file is as blank
        (white_on(0), False),
        (np.full((20, 20, 3), 255, np.uint8), False),
    ],
    ids=["white logo", "nearly white", "all clear", "black logo", "white", "clear", "no alpha"],
)
def test_a_picture_that_comes_out_blank_though_its_file_is_not_is_noted(picture, blank):
    for form in ("PNG", "WEBP"):
        _, notes = shown(encoded(picture, form, lossless=True, exact=True))
        assert notes == [Note.BLANK] * blank


def test_sixteen_bits_that_come_out_black_are_noted():
    dark = np.arange(100, dtype=np.uint16).reshape(10, 10)
    assert shown(encoded(dark, "PNG"))[1] == [Note.BLANK]
    assert shown(encoded(dark, "PNG"), sample_range=(0.0, 99.0))[1] == []
    assert shown(encoded(dark * 0, "PNG"))[1] == []


def test_a_note_reaches_whoever_loads_a_picture_in_any_way():
    data, notes = encoded(white_on(CORNER), "PNG"), []
    Preprocessing(size=8).load(data, note=notes.append)
    to_eight_bits(read_picture(data), 3, None, "x", note=notes.append)
    assert notes == [Note.BLANK] * 2
