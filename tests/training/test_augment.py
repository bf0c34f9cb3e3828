"""Random changes to pictures, against NumPy's symmetries, torch's resizing and plain geometry."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from inceptive.training.augment import Augment, _workers
from inceptive.training.recipe import AugmentTable

# The NTSC matrix as printed in most textbooks: luma, and two differences of colour.
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def changed(images, size=0, seed=0, **table):
    augment = Augment(AugmentTable(**table), size or images.shape[-1])
    return augment(images, torch.Generator().manual_seed(seed))


def noise(count, channels=1, side=16, low=0, high=256, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, channels, side, side)
    return torch.randint(low, high, shape, generator=generator, dtype=torch.uint8)


def flat(value, count=200, channels=1, side=32):
    return torch.full((count, channels, side, side), value, dtype=torch.uint8)


def repeated(picture, count):
    return picture.to(torch.uint8).expand(count, *picture.shape).clone()


def spot(side, x, y, width=2.0):
    """A picture (side, side) with one soft bright spot at column x, row y."""
    at = torch.arange(side)
    near = -((at[None, :] - x) ** 2 + (at[:, None] - y) ** 2) / (2 * width**2)
    return (250 * near.exp()).round()


def centroid(pictures):
    """Column and row of the centre of brightness of pictures (N, S, S)."""
    at = torch.arange(pictures.shape[-1], dtype=torch.float32)
    mass = pictures.sum((1, 2))
    return (pictures.sum(1) * at).sum(1) / mass, (pictures.sum(2) * at).sum(1) / mass


def ramps(count, side=64):
    """Brightness 4 a pixel: along columns in channel 0, along rows in channel 1; 2 is flat."""
    ramp = torch.arange(side).expand(side, side) * 4
    return repeated(torch.stack([ramp, ramp.T, torch.full((side, side), 200)]), count)


# Nothing, and size


@pytest.mark.parametrize("channels", [1, 3])
def test_without_changes_every_pixel_stays_what_it_was(channels):
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(2, channels, 1, 1)
    found = changed(images)
    assert found.dtype == torch.float32
    assert torch.equal(found, images.float())


def test_pictures_cropped_before_are_not_cropped_again():
    images = noise(5, 3)
    assert torch.equal(changed(images, area=(0.2, 0.5), aspect=(0.5, 2.0)), images.float())


@pytest.mark.parametrize(("channels", "size"), [(1, 24), (3, 40)])
def test_everything_at_once_gives_pictures_of_the_size_asked_for(channels, size):
    found = changed(
        noise(20, channels, side=size), size, flip=True, dihedral=True, shift=0.2,
        rotate=30, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2,
        erase=0.5,
    )  # fmt: skip
    assert found.shape == (20, channels, size, size)
    assert found.min() >= 0
    assert found.max() <= 255


def test_the_pictures_given_are_left_alone():
    images = noise(4)
    before = images.clone()
    changed(images, flip=True, brightness=0.3, erase=1.0)
    assert torch.equal(images, before)


# Chance


ALL = {"dihedral": True, "shift": 0.1, "brightness": 0.2, "contrast": 0.2, "erase": 0.5}


def test_changes_follow_from_the_generator_alone():
    images = noise(30, 3)
    first = changed(images, seed=7, **ALL)
    torch.manual_seed(123)
    assert torch.equal(changed(images, seed=7, **ALL), first)
    assert not torch.equal(changed(images, seed=8, **ALL), first)


def test_torch_s_own_random_state_is_not_touched():
    before = torch.get_rng_state()
    changed(noise(5, 3), **ALL)
    assert torch.equal(torch.get_rng_state(), before)


def test_pictures_keep_their_place_in_the_batch():
    values = torch.arange(0, 250, 5, dtype=torch.uint8)
    images = values[:, None, None, None].expand(-1, 1, 16, 16).clone()
    found = changed(images, flip=True, dihedral=True, shift=0.2, rotate=20)
    torch.testing.assert_close(found, images.float(), rtol=0, atol=0.01)


# Mirrors and turns


def nearest(found, candidates):
    """Index of the candidate that each picture equals."""
    gaps = (found[:, None] - candidates[None]).abs().flatten(2).amax(2)
    assert gaps.amin(1).max() < 0.01
    return gaps.argmin(1)


@pytest.mark.parametrize("side", [15, 32])
def test_a_flip_gives_the_picture_or_its_mirror(side):
    picture = noise(1, 3, side)[0]
    both = torch.stack([picture, picture.flip(2)]).float()
    which = nearest(changed(repeated(picture, 200), flip=True), both)
    assert 70 < int(which.sum()) < 130


@pytest.mark.parametrize("side", [15, 32])
def test_dihedral_gives_each_of_the_eight_symmetries(side):
    picture = noise(1, 3, side)[0]
    turns = [np.rot90(picture.numpy(), k, (1, 2)) for k in range(4)]
    eight = torch.from_numpy(np.stack([*turns, *(turn[..., ::-1] for turn in turns)])).float()
    which = nearest(changed(repeated(picture, 200), dihedral=True), eight)
    counts = torch.bincount(which, minlength=8)
    assert counts.min() >= 8  # 25 expected, deviation 4.7
    assert counts.max() <= 45


def test_dihedral_keeps_the_mean():
    images = noise(50, 3)
    means = changed(images, dihedral=True).mean((1, 2, 3))
    torch.testing.assert_close(means, images.float().mean((1, 2, 3)), rtol=0, atol=0.01)


@pytest.mark.parametrize("rotate", [10, 60])
def test_a_turn_goes_both_ways_by_at_most_what_was_asked_for(rotate):
    side, centre = 41, 20
    found = changed(
        repeated(spot(side, centre + 12, centre)[None], 200), rotate=rotate, border="zeros"
    )
    x, y = centroid(found[:, 0])
    angles = torch.atan2(y - centre, x - centre).rad2deg()
    assert angles.abs().max() <= rotate + 0.5
    assert angles.min() < -0.9 * rotate
    assert angles.max() > 0.9 * rotate
    assert ((x - centre).hypot(y - centre) - 12).abs().max() < 0.1


def test_a_turn_keeps_the_centre():
    images = noise(100, side=33)
    found = changed(images, rotate=180)
    torch.testing.assert_close(found[..., 16, 16], images[..., 16, 16].float(), rtol=0, atol=0.01)


# Shifts


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_a_shift_moves_the_content_by_at_most_its_share_and_leaves_black(share):
    side = 40
    picture = torch.stack([spot(side, 19.5, 19.5, 1.5), torch.full((side, side), 255)])
    found = changed(repeated(picture, 100), shift=share, border="zeros")
    x, y = centroid(found[:, 0])
    for moved in (x - 19.5, y - 19.5):
        assert moved.abs().max() <= share * side + 0.01
        assert moved.min() < -0.8 * share * side
        assert moved.max() > 0.8 * share * side
    at = torch.arange(side, dtype=torch.float32)
    for moved, white in ((x - 19.5, found[:, 1, 20]), (y - 19.5, found[:, 1, :, 20])):
        left, right = moved[:, None] - 0.5, moved[:, None] + side - 0.5  # of what is not black
        assert (white[(at < left - 0.51) | (at > right + 0.51)] < 0.01).all()
        assert (white[(at > left + 0.51) & (at < right - 0.51)] > 254.99).all()


def test_a_shift_is_by_whole_pixels_so_that_nothing_is_blurred():
    """Parts of a pixel were interpolated, and training saw pictures softer than validation does."""
    found = changed(noise(100, 3, side=32), flip=True, shift=0.125)
    torch.testing.assert_close(found, found.round(), rtol=0, atol=0.01)


# Brightness, contrast, colour


def test_brightness_adds_up_to_its_share():
    moved = changed(flat(128), brightness=0.2) - 128
    assert (moved.amax((1, 2, 3)) - moved.amin((1, 2, 3))).max() < 1e-3
    assert -51.01 <= moved.min() < -40
    assert 40 < moved.max() <= 51.01


def test_contrast_scales_about_the_mean():
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 20 + 118  # 118 and 138
    found = changed(repeated(board[None], 200), contrast=0.5)
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.full((200,), 128.0), rtol=0, atol=0.01)
    factor = (found.amax((1, 2, 3)) - found.amin((1, 2, 3))) / 20
    assert 0.499 < factor.min() < 0.6
    assert 1.4 < factor.max() < 1.501


@pytest.mark.parametrize("table", [{"brightness": 1.0}, {"contrast": 1.0}, {"saturation": 1.0}])
def test_changes_of_colour_end_at_black_and_white(table):
    found = changed(noise(100, 3), **table)
    assert found.min() == 0
    assert found.max() == 255


@pytest.mark.parametrize(
    "table", [{"saturation": 1.0}, {"hue": 0.5}, {"saturation": 0.5, "hue": 0.3}]
)
def test_saturation_and_hue_leave_grey_pictures_alone(table):
    grey = noise(50)
    for images in (grey, grey.repeat(1, 3, 1, 1)):
        torch.testing.assert_close(changed(images, **table), images.float(), rtol=0, atol=0.02)


def in_yiq(colours):
    """Luma, length and direction (degrees) of the colour difference, of pictures (N, 3, S, S)."""
    luma, i, q = torch.einsum("cj,njhw->cnhw", YIQ, colours)
    return luma, i.hypot(q), torch.atan2(q, i).rad2deg()


def twists(before, after):
    """Degrees from one direction to another, -180 to 180."""
    return (after - before + 180) % 360 - 180


MUTED = noise(300, 3, side=4, low=100, high=156)
RED = repeated(torch.tensor([160, 100, 100])[:, None, None].expand(3, 4, 4), 300)


@pytest.mark.parametrize("images", [MUTED, RED], ids=["muted", "red"])
def test_a_turn_of_hue_keeps_luma_and_the_strength_of_colour(images):
    luma, strength, angle = in_yiq(images.float())
    new_luma, new_strength, new_angle = in_yiq(changed(images, hue=0.1))
    torch.testing.assert_close(new_luma, luma, rtol=0, atol=0.1)
    torch.testing.assert_close(new_strength, strength, rtol=0, atol=0.5)
    turned = twists(angle, new_angle)[strength > 10]
    assert -36.5 < turned.min() < -33
    assert 33 < turned.max() < 36.5


@pytest.mark.parametrize("images", [MUTED, RED], ids=["muted", "red"])
def test_saturation_scales_the_strength_of_colour_alone(images):
    luma, strength, angle = in_yiq(images.float())
    new_luma, new_strength, new_angle = in_yiq(changed(images, saturation=0.4))
    torch.testing.assert_close(new_luma, luma, rtol=0, atol=0.1)
    coloured = strength > 10
    scale = (new_strength / strength)[coloured]
    assert 0.59 < scale.min() < 0.65
    assert 1.35 < scale.max() < 1.41
    assert twists(angle, new_angle)[coloured].abs().max() < 0.5


# Erasing


def test_erasing_hits_its_share_of_the_pictures():
    found = changed(flat(255, 2000, side=16), erase=0.25)
    hit = (found != 255).flatten(1).any(1)
    assert float(hit.float().mean()) == pytest.approx(0.25, abs=0.04)  # 4 deviations


def test_erasing_paints_one_grey_rectangle_and_nothing_else():
    images = noise(300, 3, side=64)
    found = changed(images, erase=1.0)
    grey = found == 127.5  # no picture of whole numbers holds it
    assert torch.equal(found[~grey], images.float()[~grey])
    assert torch.equal(grey, grey[:, :1].expand_as(grey))
    mask = grey[:, 0]
    assert torch.equal(mask, mask.any(1, keepdim=True) & mask.any(2, keepdim=True))
    for lines in (mask.any(1), mask.any(2)):  # each a single run
        starts = lines[:, :1].int().sum(1) + (lines[:, 1:] & ~lines[:, :-1]).sum(1)
        assert (starts == 1).all()


def test_erasing_covers_2_to_33_percent_of_a_picture():
    side = 128
    mask = changed(flat(0, 500, side=side), erase=1.0)[:, 0] == 127.5
    shares = mask.float().mean((1, 2))
    assert 0.01 < shares.min() < 0.05
    assert 0.29 < shares.max() < 0.36
    ratio = (mask.any(1).sum(1) / mask.any(2).sum(1)).log()
    assert ratio.min() < -1  # upright and lying ones, up to about 0.3 and 1 / 0.3
    assert ratio.max() > 1
    assert ratio.abs().max() < 1.4


def test_erased_rectangles_touch_the_four_borders_alike():
    mask = changed(flat(0, 4000, side=16), erase=1.0)[:, 0] == 127.5
    borders = (mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1])
    counts = [int(border.any(1).sum()) for border in borders]
    assert max(counts) < 1.5 * min(counts)


# Ways of computing


@pytest.mark.parametrize("more", [{}, {"dihedral": True}, {"brightness": 0.3, "contrast": 0.3}])
def test_turns_and_mirrors_that_move_pixels_are_those_that_interpolate(more, monkeypatch):
    images = noise(23, 3, side=24)
    exact = changed(images, flip=True, **more)
    monkeypatch.setattr(Augment, "_resamples", True)  # the way that every other move goes
    torch.testing.assert_close(changed(images, flip=True, **more), exact, rtol=0, atol=0.01)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_how_many_are_changed_at_a_time_changes_nothing(chunk, monkeypatch):
    asked = {
        "flip": True,
        "shift": 0.2,
        "rotate": 20,
        "contrast": 0.5,
        "hue": 0.2,
        "erase": 0.5,
    }
    images = noise(23, 3, side=24)
    expected = changed(images, **asked)
    monkeypatch.setattr("inceptive.training.augment.CHUNK", chunk)
    torch.testing.assert_close(changed(images, **asked), expected, rtol=0, atol=1e-3)


def test_what_changes_pictures_divides_no_operation():
    """Told to take one thread, it took two with its first operation: libgomp then counted three for two
    processors and put those of the training step to sleep 4,000 times in each."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        workers = _workers(os.getpid(), 3)
        for _ in range(12):
            assert (
                workers.submit(lambda: (noise(1).sum(), torch.get_num_threads())[1]).result() == 1
            )
    finally:
        torch.set_num_threads(before)


def test_torch_s_threads_are_left_as_they_are(monkeypatch):
    """Each change of their number costs the next training step its prepared convolutions."""
    before, changes = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        changed(noise(6), flip=True, contrast=0.2)  # begins the thread that changes pictures
        with monkeypatch.context() as patch:
            patch.setattr(torch, "set_num_threads", changes.append)
            changed(noise(6), flip=True, contrast=0.2)
        assert not changes and torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as another:
            assert another.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("table", [{}, {"flip": True}, {"brightness": 0.2}])
def test_images_of_another_size_are_no_pixels_that_nobody_wrote(table):
    images = torch.zeros((4, 3, 12, 12), dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="size"):
        Augment(AugmentTable(**{"flip": False} | table), 8)(images, torch.Generator())
