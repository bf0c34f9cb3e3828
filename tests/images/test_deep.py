"""Pictures of more than 8 bits: the right brightness, whatever one picture happens to hold."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from test_images import complaint, encoded, pixels, png, write

from inceptive.errors import InceptiveError
from inceptive.images import Note, Preprocessing, decode

RNG = np.random.default_rng(0)


def tiff(samples, order="<", planar=False, tile=None, packed=False, predictor=1, **more):
    """A TIFF of samples (H, W, S), made by hand: tags by name or, as t280, by number."""
    height, width, count = samples.shape
    kind = samples.dtype
    form = {"u": 1, "i": 2, "f": 3, "c": 6}[kind.kind]
    planes = np.moveaxis(samples, 2, 0)[..., None] if planar else samples[None]
    chunks = []
    high, wide = tile or (height, width)
    for plane in planes:
        for top in range(0, height, high):
            for left in range(0, width, wide):
                part = plane[top : top + high, left : left + wide]
                edge = [(0, high - part.shape[0]), (0, wide - part.shape[1]), (0, 0)]
                chunks.append(_bytes(np.pad(part, edge), order, predictor))
    if packed:
        chunks = [zlib.compress(chunk) for chunk in chunks]
    offsets = np.cumsum([8, *map(len, chunks)]).tolist()
    data = b"".join(chunks) + b"\0" * (offsets[-1] % 2)
    tags = {
        256: width, 257: height, 258: (8 * kind.itemsize,) * count, 259: 8 if packed else 1,
        262: 2 if count >= 3 else 1, 277: count, 284: 2 if planar else 1, 317: predictor,
        339: (form,) * count,
    }  # fmt: skip
    first, second = (324, 325) if tile else (273, 279)
    tags |= {first: tuple(offsets[:-1]), second: tuple(map(len, chunks))}
    tags |= {322: wide, 323: high} if tile else {278: height}
    tags |= {int(name[1:]): value for name, value in more.items()}
    entries, rest, after = b"", b"", 8 + len(data) + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else (value,)
        letter, number = ("d", 12) if any(isinstance(v, float) for v in values) else ("I", 4)
        content = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(content) > 4:
            rest, content = rest + content, struct.pack(f"{order}I", after + len(rest))
        entries += struct.pack(f"{order}HHI", tag, number, len(values)) + content
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + rest
    return head + data + directory


def _bytes(part, order, predictor):
    """The rows of a strip or tile (H, W, S), each sample as the difference to the one before it (2), or
    the bytes of floats by their weight, so too (3)."""
    height, width, count = part.shape
    size = part.dtype.itemsize
    if predictor == 2:
        whole = part.view(f"u{size}")
        part = np.diff(whole, axis=1, prepend=whole.dtype.type(0))
    if predictor == 3:
        split = part.astype(part.dtype.newbyteorder(">")).view(np.uint8)
        split = split.reshape(height, width * count, size).swapaxes(1, 2).reshape(height, -1, count)
        return np.diff(split, axis=1, prepend=np.uint8(0)).tobytes()
    return part.astype(part.dtype.newbyteorder(order)).tobytes()


def deep_png(samples):
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2]]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png(samples.shape[1], samples.shape[0], 16, kind, raw)


def pnm(samples, top):
    height, width, count = samples.shape
    head = f"P{5 if count == 1 else 6} {width} {height} {top}\n".encode()
    return head + samples.astype(">u2").tobytes()


def grey(samples, **options):
    return pixels(samples, channels=1, **options)


CONTAINERS = {
    "png": (1, deep_png),
    "rgb png": (3, deep_png),
    "tiff": (1, tiff),
    "rgb tiff": (3, tiff),
    "pgm": (1, lambda samples: pnm(samples, 65535)),
    "ppm": (3, lambda samples: pnm(samples, 65535)),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("brightest", [1023, 1024, 4095])
def test_brightness_does_not_follow_from_the_brightest_sample(container, brightest):
    channels, write_file = CONTAINERS[container]
    samples = RNG.integers(0, 1000, (6, 8, channels), dtype=np.uint16)
    samples[2, 3] = brightest
    data = write_file(samples)
    for shown, top in (((0, 4095), 4095), (None, 65535)):
        found = pixels(data, channels, sample_range=shown).reshape(samples.shape)
        assert np.abs(found - samples * (255 / top)).max() <= 0.51


@pytest.mark.parametrize(
    ("data", "shown", "expected"),
    [
        (deep_png(RNG.integers(0, 4096, (8, 8, 1))), None, [Note.DARK]),
        (deep_png(RNG.integers(28_000, 29_000, (8, 8, 3))), None, [Note.DARK]),
        (deep_png(RNG.integers(0, 4096, (8, 8, 1))), (0, 4095), []),
        (deep_png(RNG.integers(0, 65536, (8, 8, 1))), None, []),
        (deep_png(np.full((8, 8, 1), 100)), None, []),
        (pnm(RNG.integers(0, 4096, (8, 8, 1)), 4095), None, []),
        (pnm(RNG.integers(0, 500, (8, 8, 1)), 4095), None, []),
    ],
)
def test_a_picture_that_is_dark_for_want_of_a_range_is_noted(data, shown, expected):
    notes = []
    decode(data, sample_range=shown, note=notes.append)
    assert notes == expected


def test_levels_around_28000_stay_levels_and_what_lies_beyond_is_clipped():
    thermal = np.arange(27_990, 28_918, dtype=np.uint16).reshape(32, 29, 1)
    found = grey(deep_png(thermal), sample_range=(28_000, 28_900)).ravel()
    assert len(np.unique(found)) == 256
    assert (found[:11] == 0).all() and (found[-18:] == 255).all()


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("write_file", [deep_png, tiff], ids=["png", "tiff"])
def test_alpha_of_sixteen_bits_is_full_range_beside_samples_of_twelve(channels, write_file):
    samples = RNG.integers(0, 4096, (6, 8, channels), dtype=np.uint16)
    samples[..., -1] = RNG.integers(0, 65536, (6, 8))
    options = {"t338": 2} if write_file is tiff else {}
    data = write_file(samples, **options)
    colour, alpha = samples[..., :-1] * (255 / 4095), samples[..., -1:] / 65535
    found = pixels(data, 3, sample_range=(0, 4095))
    assert np.abs(found - (colour * alpha + 255 * (1 - alpha))).max() <= 1


def test_a_colour_that_was_multiplied_with_its_alpha_is_not_multiplied_again():
    samples = np.full((2, 2, 4), (10_000, 20_000, 30_000, 32_768), np.uint16)
    found = pixels(tiff(samples, t338=1))
    assert np.abs(found - (samples[..., :3] / 257 + 127.5)).max() <= 1


def test_the_transparent_colour_of_an_rgb_png_of_sixteen_bits_is_white():
    samples = np.array([[[1000, 2000, 3000], [1000, 2000, 3001]]], np.uint16)
    raw = b"\0" + samples.astype(">u2").tobytes()
    chunk = (b"tRNS", struct.pack(">3H", 1000, 2000, 3000))
    assert pixels(png(2, 1, 16, 2, raw, chunk)).tolist() == [[[255] * 3, [4, 8, 12]]]


# What a file declares


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shown", [None, (0, 1023)])
def test_the_maxval_of_a_pnm_is_its_range(channels, shown):
    samples = RNG.integers(0, 4096, (5, 7, channels), dtype=np.uint16)
    found = pixels(pnm(samples, 4095), channels, sample_range=shown).reshape(samples.shape)
    assert np.abs(found - samples * (255 / 4095)).max() <= 0.51


def test_a_plain_pgm_is_read_by_its_maxval():
    data = b"P2 3 1 4095\n0 2048 4095\n"
    assert grey(data, sample_range=(0, 1023)).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("order", "<>")
def test_samples_packed_in_fewer_than_sixteen_bits_are_read_by_their_depth(bits, order):
    samples = RNG.integers(0, 2**bits // 4, (5, 7), dtype=np.uint16)
    rows = ["".join(f"{value:0{bits}b}" for value in row) for row in samples]
    rows = [row + "0" * (-len(row) % 8) for row in rows]
    packed = np.array([[int(r[k : k + 8], 2) for k in range(0, len(r), 8)] for r in rows], np.uint8)
    data = tiff(packed[..., None], order, t256=7, t258=bits)
    assert np.abs(grey(data) - samples * (255 / (2**bits - 1))).max() <= 0.51


@pytest.mark.parametrize(
    ("tags", "low", "top"),
    [
        ({"t281": 4095}, 0, 4095),
        ({"t341": 1023}, 0, 1023),
        ({"t280": 100, "t281": 3000}, 0, 65535),  # statistics, not to be used by the standard
    ],
)
def test_a_depth_that_a_tiff_declares_counts_and_its_statistics_do_not(tags, low, top):
    samples = RNG.integers(0, 1000, (5, 7, 1), dtype=np.uint16)
    assert np.abs(grey(tiff(samples, **tags)) - samples[..., 0] * (255 / top)).max() <= 0.51


def test_the_range_that_a_float_tiff_declares_is_its_own_unless_it_counts_what_is_in_it():
    samples = np.linspace(280, 320, 35, dtype=np.float32).reshape(5, 7, 1)
    found = grey(tiff(samples, t340=260.0, t341=360.0), sample_range=(0, 1))
    assert np.abs(found - (samples[..., 0] - 260) * 2.55).max() <= 0.51
    found = grey(tiff(samples, t340=280.0, t341=320.0), sample_range=(260, 360))
    assert np.abs(found - (samples[..., 0] - 260) * 2.55).max() <= 0.51


# Floats, and whole numbers of more than 16 bits


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.25, 0.5), (-0.001, 1.001), (0, 1e-3)])
def test_floats_are_of_0_to_1_and_clipped_where_they_lie_a_little_beyond(low, high):
    ramp = np.linspace(low, high, 256, dtype=np.float32).reshape(4, 64)
    found = grey(encoded(ramp, "TIFF"))
    assert np.abs(found - (ramp * 255).clip(0, 255)).max() <= 0.51


def test_one_hot_pixel_does_not_make_floats_unknown():
    ramp = np.linspace(0, 1, 4096, dtype=np.float32).reshape(64, 64)
    ramp[5, 5] = 1e6
    found = grey(encoded(ramp, "TIFF"))
    assert np.abs(found - (ramp * 255).clip(0, 255)).max() <= 0.51


@pytest.mark.parametrize(
    "samples",
    [
        np.linspace(0, 255, 256, dtype=np.float32),
        np.linspace(-2, 2, 256, dtype=np.float32),
        np.full(256, -3e30, np.float32),
        np.linspace(0, 70_000, 256).astype(np.int32),
        np.linspace(-1000, 3000, 256).astype(np.int16),
        np.linspace(-128, 127, 256).astype(np.int8),
        np.linspace(0, 2**32 - 1, 256).astype(np.uint32),
    ],
    ids=lambda samples: f"{samples.dtype} {samples[0]:g} to {samples[-1]:g}",
)
def test_samples_of_no_known_range_are_refused_and_read_by_a_range_that_is_given(samples):
    data = tiff(samples.reshape(4, 64, 1))
    low, high = float(samples.min()), float(samples.max()) if np.ptp(samples) else 0.0
    message = complaint(data)
    assert "nothing says" in message and "data.sample_range" in message
    assert f"{low:g}"[:3] in message
    found = grey(data, sample_range=(low, high))
    expected = (samples.astype(float) - low) * (255 / (high - low))
    assert np.abs(found - expected.reshape(4, 64)).max() <= 0.51


def test_integers_of_32_bits_in_the_range_of_16_are_read_as_those():
    ramp = np.linspace(0, 65535, 256).round().astype(np.int32).reshape(4, 64)
    assert np.abs(grey(encoded(ramp, "TIFF")) - ramp / 257).max() <= 0.51


def test_samples_that_are_not_finite_are_black_and_leave_the_others_alone():
    ramp = np.linspace(300, 1000, 256, dtype=np.float32).reshape(4, 64)
    expected = (ramp.astype(float) - 300) * (255 / 700)
    ramp[0, 10], ramp[1, 20], ramp[3, 30] = np.nan, np.inf, -np.inf
    expected[~np.isfinite(ramp)] = 0
    assert np.abs(grey(encoded(ramp, "TIFF"), sample_range=(300, 1000)) - expected).max() <= 1
    assert (grey(encoded(np.full((4, 4), np.nan, np.float32), "TIFF")) == 0).all()


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_numbers_of_a_damaged_file_are_read_without_a_warning(kind):
    raw = RNG.integers(0, 256, (64, 64, 4 * int(kind[1])), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pixels(tiff(raw.view(kind), t338=2), sample_range=(-1e38, 1e38))
    assert found.shape == (64, 64, 3)


def test_floats_of_0_to_1_are_not_shown_by_the_range_of_whole_numbers_nor_these_by_theirs():
    floats = tiff(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8, 1))
    assert "lie from 0 to 1" in complaint(floats, sample_range=(0, 4095))
    whole = deep_png(np.full((4, 4, 1), 30_000, np.uint16))
    assert (grey(whole, sample_range=(0, 1)) == round(30_000 / 257)).all()


# Kinds of TIFF


LAYOUTS = [
    {},
    {"planar": True},
    {"tile": (16, 16)},
    {"packed": True, "predictor": 2},
    {"packed": True, "predictor": 2, "tile": (16, 32), "planar": True},
    {"packed": True, "predictor": 3},
    {"packed": True, "predictor": 3, "tile": (32, 16)},
]
"""Of predictor 3 floats only."""


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u2", "u4", "i2", "f2", "f4", "f8"])
def test_rgb_of_any_numbers_and_layout_gives_the_samples_that_were_written(kind, order):
    samples = RNG.integers(0, 2000, (21, 35, 3)).astype(kind)
    for layout in LAYOUTS if kind[0] == "f" else LAYOUTS[:-2]:
        found = pixels(tiff(samples, order, **layout), sample_range=(0, 2000))
        assert np.abs(found - samples.astype(float) * (255 / 2000)).max() <= 0.51, layout


def test_libtiff_s_own_lzw_with_a_predictor_is_read():
    ramp = RNG.integers(0, 65536, (9, 12), dtype=np.uint16)
    data = encoded(ramp, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    assert np.abs(grey(data) - ramp / 257).max() <= 0.51


@pytest.mark.parametrize("order", "<>")
def test_where_zero_is_white_sixteen_bits_are_as_eight(order):
    eight = np.arange(48, dtype=np.uint8).reshape(6, 8)
    sixteen = tiff(eight.astype(np.uint16)[..., None] * 257, order, t262=0)
    assert np.array_equal(grey(sixteen), 255 - eight)
    assert np.array_equal(grey(tiff(eight[..., None], order, t262=0)), 255 - eight)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_deep_tiff_is_turned_as_it_says(orientation):
    upright = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
    stored = {1: upright, 3: upright[::-1, ::-1], 6: np.rot90(upright)}[orientation]
    found = pixels(tiff(np.ascontiguousarray(stored), t274=orientation))
    assert np.abs(found - upright / 257).max() <= 0.51


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (tiff(np.zeros((4, 4, 3), np.uint8), t262=1), "3 8-bit samples a pixel, BlackIsZero"),
        (tiff(np.zeros((4, 4, 3), np.uint16), t262=1), "3 16-bit samples a pixel, BlackIsZero"),
        (tiff(np.zeros((4, 4, 8), np.uint8), t338=(0,) * 5), "8 8-bit samples a pixel, RGB"),
        (tiff(np.zeros((4, 4, 8), np.uint16), t262=1, t338=(0,) * 7), "8 16-bit samples"),
        (tiff(np.zeros((4, 4, 1), np.complex64)), "64-bit complex samples"),
        (tiff(np.zeros((4, 4, 4), np.float32), t262=5), "4 32-bit float samples a pixel, CMYK"),
        (
            tiff(np.zeros((4, 4, 4), np.uint16), planar=True, t262=5),
            "4 16-bit samples a pixel, CMYK, in planes",
        ),
        (tiff(np.zeros((4, 4, 1), np.uint8), t258=24), "24-bit samples"),
        (tiff(np.zeros((4, 4, 1), np.uint16), t259=34712), "compression 34712"),
        (tiff(np.zeros((4, 4, 3), np.uint16), t258=(16, 16, 8)), "8/16-bit samples"),
        (tiff(np.zeros((4, 4, 3), np.uint8), t259=50001), "RGB, webp"),
        (tiff(np.zeros((4, 4, 3), np.uint8), t259=34887), "RGB, compression 34887"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_kind_of_tiff_that_is_not_read_is_named_and_not_called_damaged(data, kind):
    message = complaint(data)
    assert message.startswith("the image: is a TIFF of") and kind in message
    assert "a kind that is not read; save it as" in message
    assert "damaged" not in message


def test_a_deep_tiff_that_is_cut_short_is_called_damaged():
    data = tiff(RNG.integers(0, 65536, (64, 64, 3), dtype=np.uint16))
    body = data[8 : 8 + 64 * 64 * 6]
    cut = data.replace(body, body[:100] + bytes(len(body) - 100))  # sound: only other pixels
    assert pixels(cut).shape == (64, 64, 3)
    far = tiff(np.zeros((64, 64, 3), np.uint16), t273=1 << 30)
    assert "damaged" in complaint(far)
    assert "too large" in complaint(tiff(np.zeros((4, 4, 3), np.uint16), t256=100_000, t257=1001))


# Arrays, and the value


def test_an_array_of_sixteen_bits_is_shown_as_its_file_is_by_a_model_that_has_a_range(tmp_path):
    samples = RNG.integers(0, 4096, (40, 40), dtype=np.uint16)
    file = write(tmp_path / "a.png", deep_png(samples[..., None]))
    preprocessing = Preprocessing(32, 1, mean=(0.5,), std=(0.5,), sample_range=(0, 4095))
    assert np.array_equal(preprocessing.load(samples), preprocessing.load(file))
    with pytest.raises(InceptiveError, match="uint8"):
        decode(samples)


@pytest.mark.parametrize(
    "value", [(1, 1), (2, 1), (0,), (0, 1, 2), (0, float("nan")), (0, 1e40), (False, True), "01", 5]
)
def test_a_range_is_two_numbers_in_order(value):
    with pytest.raises(InceptiveError, match="sample_range is two numbers"):
        Preprocessing(sample_range=value)


def test_a_range_travels_and_configs_without_one_still_load():
    preprocessing = Preprocessing(sample_range=(0, 4095))
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing
    old = Preprocessing().to_dict()
    old.pop("sample_range")
    assert Preprocessing.from_dict(old).sample_range is None


def test_eight_bits_are_as_they_are_whatever_the_range():
    picture = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    for data in (encoded(picture, "PNG"), picture):
        assert np.array_equal(pixels(data, sample_range=(0, 4095)), picture)
