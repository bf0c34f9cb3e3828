"""The crop protocols show the views that they say, and nothing else."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from inceptive.errors import InceptiveError
from inceptive.evaluation.crops import crops
from inceptive.images import MAX_PIXELS, Preprocessing

GREY = {"channels": 1, "mean": (0.5,), "std": (0.5,)}


def noise(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def resized(picture, width, height):
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def views(found):
    return Counter(view.tobytes() for view in found)


def cut(picture, left, top, size):
    return picture[top : top + size, left : left + size].transpose(2, 0, 1)


def corners_and_centre(picture, size):
    height, width = picture.shape[:2]
    for top in (0, height - size):
        for left in (0, width - size):
            yield cut(picture, left, top, size)
    yield cut(picture, (width - size) // 2, (height - size) // 2, size)


def protocol_of_144(picture, size, sides):
    """The text of section 7, step by step."""
    height, width = picture.shape[:2]
    for side in sides:
        if width >= height:
            at_scale = resized(picture, round(width * side / height), side)
            free = at_scale.shape[1] - side
            squares = [at_scale[:, left : left + side] for left in (0, free // 2, free)]
        else:
            at_scale = resized(picture, side, round(height * side / width))
            free = at_scale.shape[0] - side
            squares = [at_scale[top : top + side] for top in (0, free // 2, free)]
        for square in squares:
            for view in (
                *corners_and_centre(square, size),
                resized(square, size, size).transpose(2, 0, 1),
            ):
                yield view
                yield view[:, :, ::-1]


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (64, 64)])
@pytest.mark.parametrize("options", [{}, {"crop": 0.875}, {"interpolation": "bicubic"}, GREY])
def test_one_crop_is_what_the_net_is_trained_on(size, options):
    preprocessing = Preprocessing(size=56, **options)
    found = crops(preprocessing, noise(*size), 1)
    assert found.shape == (1, preprocessing.channels, 56, 56)
    assert np.array_equal(found[0], preprocessing.load(noise(*size)))


def test_eight_views_are_the_square_turned_and_mirrored():
    shown = Preprocessing(size=16)
    picture = noise(40, 30)
    [square] = crops(shown, picture, 1)
    found = views(crops(shown, picture, 8))
    image = Image.fromarray(np.ascontiguousarray(square.transpose(1, 2, 0)))
    wanted = [image, *(image.transpose(way) for way in Image.Transpose)]
    assert found == views(np.asarray(one).transpose(2, 0, 1) for one in wanted) and len(found) == 8


@pytest.mark.parametrize(
    ("picture", "size", "at_scale", "positions"),
    [
        ((320, 240), 56, (85, 64), [(0, 0), (29, 0), (0, 8), (29, 8), (14, 4)]),
        ((240, 320), 56, (64, 85), [(0, 0), (8, 0), (0, 29), (8, 29), (4, 14)]),
        ((300, 300), 56, (64, 64), [(0, 0), (8, 0), (0, 8), (8, 8), (4, 4)]),
        ((50, 40), 224, (320, 256), [(0, 0), (96, 0), (0, 32), (96, 32), (48, 16)]),
        ((400, 200), 112, (256, 128), [(0, 0), (144, 0), (0, 16), (144, 16), (72, 8)]),
    ],
)
def test_ten_crops_are_four_corners_the_centre_and_their_mirrors(
    picture, size, at_scale, positions
):
    whole = resized(noise(*picture), *at_scale)
    expected = [cut(whole, left, top, size) for left, top in positions]
    expected += [view[:, :, ::-1] for view in expected]
    found = crops(Preprocessing(size=size), noise(*picture), 10)
    assert found.shape == (10, 3, size, size)
    assert found.dtype == np.uint8
    assert len(views(expected)) == 10
    assert views(found) == views(expected)


def test_the_mirrors_follow_in_the_order_of_what_they_mirror():
    for count in (10, 144):
        found = crops(Preprocessing(size=28), noise(60, 40), count)
        assert np.array_equal(found[count // 2 :], found[: count // 2, :, :, ::-1])


@pytest.mark.parametrize("count", [1, 8, 10, 144])
def test_crops_are_contiguous(count):
    found = crops(Preprocessing(size=28), noise(60, 40), count)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("picture", "size", "sides"),
    [
        ((400, 300), 224, (256, 288, 320, 352)),
        ((300, 400), 112, (128, 144, 160, 176)),
        ((400, 300), 112, (128, 144, 160, 176)),
        ((161, 67), 56, (64, 72, 80, 88)),
        ((67, 161), 56, (64, 72, 80, 88)),
        ((40, 30), 28, (32, 36, 40, 44)),
    ],
)
def test_144_crops_are_those_of_the_paper(picture, size, sides):
    expected = list(protocol_of_144(noise(*picture), size, sides))
    found = crops(Preprocessing(size=size), noise(*picture), 144)
    assert found.shape == (144, 3, size, size)
    assert len(expected) == 144
    assert len(views(expected)) == 144
    assert views(found) == views(expected)


def test_of_a_square_picture_the_three_squares_coincide():
    expected = protocol_of_144(noise(90, 90), 56, (64, 72, 80, 88))
    found = views(crops(Preprocessing(size=56), noise(90, 90), 144))
    assert len(found) == 48
    assert set(found.values()) == {3}
    assert found == views(expected)


def test_crops_do_not_depend_on_the_crop_that_one_view_takes():
    for count in (10, 144):
        whole = crops(Preprocessing(size=28), noise(60, 40), count)
        assert np.array_equal(crops(Preprocessing(size=28, crop=0.5), noise(60, 40), count), whole)


def test_the_crops_of_a_grey_net_are_grey():
    grey = np.asarray(Image.fromarray(noise(60, 40)).convert("L"))
    at_scale = Image.fromarray(grey).resize((48, 32), Image.Resampling.BILINEAR)
    expected = [view[:1] for view in corners_and_centre(np.asarray(at_scale)[..., None], 28)]
    found = crops(Preprocessing(size=28, **GREY), noise(60, 40), 10)
    assert found.shape == (10, 1, 28, 28)
    assert views(found[:5]) == views(expected)


def test_a_large_jpeg_gives_the_crops_of_the_full_picture(tmp_path):
    smooth = Image.fromarray(noise(16, 12)).resize((1600, 1200), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "photo.jpg", quality=90)
    with Image.open(tmp_path / "photo.jpg") as image:
        whole = resized(image.convert("RGB"), 171, 128)
    expected = np.stack([cut(whole, *at, 112) for at in ((0, 0), (59, 0), (0, 16), (59, 16))])
    found = crops(Preprocessing(size=112), tmp_path / "photo.jpg", 10)
    differences = np.abs(found[:, None].astype(int) - expected).mean(axis=(2, 3, 4))
    assert (differences.min(axis=0) < 1.5).all()


@pytest.mark.parametrize("count", [0, -1, 2, 11, 12, 143, 145, 10.5, "10", None])
def test_another_count_is_refused_with_those_there_are(count):
    with pytest.raises(InceptiveError) as caught:
        crops(Preprocessing(size=28), noise(60, 40), count)
    assert str(caught.value) == f"crops are 1, 8, 10, 144, not {count}"


@pytest.mark.parametrize("count", [1, 8, 10, 144])
def test_a_truncated_file_is_named(tmp_path, count):
    file = io.BytesIO()
    Image.fromarray(noise(60, 40)).save(file, "PNG")
    (tmp_path / "half.png").write_bytes(file.getvalue()[:1000])
    with pytest.raises(InceptiveError) as caught:
        crops(Preprocessing(size=28), tmp_path / "half.png", count)
    assert str(caught.value).startswith(f"{tmp_path / 'half.png'}: is truncated or damaged")


@pytest.mark.parametrize("count", [10, pytest.param(144, marks=pytest.mark.scale)])
def test_a_long_thin_picture_is_never_blown_up_beyond_what_is_safe(monkeypatch, count):
    resize = Image.Image.resize

    def watched(image, size, *arguments, **options):
        assert size[0] * size[1] <= MAX_PIXELS
        return resize(image, size, *arguments, **options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    picture = Image.new("RGB", (4, 200_000), (0, 0, 255))
    try:
        found = crops(Preprocessing(size=56), picture, count)
    except InceptiveError as error:
        assert "4 x 200000" in str(error)
    else:
        assert (found == np.array([0, 0, 255])[:, None, None]).all()
