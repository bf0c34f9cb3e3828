"""Batches on their way to the net: what is in them, in which order, and that both repeat."""

import dataclasses
import functools
import operator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inceptive.data import loading
from inceptive.data.loading import (
    Batches,
    RandomCrop,
    Rank,
    cut,
    fits_in_memory,
    in_memory,
    permutation,
)
from inceptive.data.pictures import CachedImages, ModelInputs, in_order
from inceptive.data.source import ArrayImages, PathImages, Samples
from inceptive.errors import InceptiveError
from inceptive.images import FILTERS, Preprocessing, resize_box

SHOWN = Preprocessing(size=16)
GREY = Preprocessing(size=16, channels=1, mean=(0.5,), std=(0.5,))
PART = {"area": (0.2, 1.0), "aspect": (0.75, 1.33)}
fast = settings(max_examples=50, deadline=None)


def picture(seed, width=40, height=28):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def saved(folder, pictures, labels):
    paths = [folder / f"{k}.png" for k in range(len(pictures))]
    for path, image in zip(paths, pictures, strict=True):
        image.save(path)
    return Samples(PathImages.of(paths, folder), np.array(labels, dtype=np.int64))


def noise(folder, count):
    return saved(folder, [picture(k) for k in range(count)], range(count))


def coded(folder, count):
    """Pictures of one colour: image k has label k and the level 10 k everywhere."""
    levels = [Image.new("RGB", (24 + k, 24), (10 * k, 0, 10 * k)) for k in range(count)]
    return saved(folder, levels, range(count))


def streamed(samples, batch_size=4, seed=0, workers=0, crop=None, shown=SHOWN, limit=None):
    """Batches from files; with a limit, of that many bytes in memory."""
    crop = PART | {"interpolations": ("bilinear", "bicubic")} if crop is None else crop
    crop = RandomCrop(shown, **crop)
    pictures = CachedImages(samples, crop.spec, None)
    if limit:
        pictures.keep_in_memory(limit)
    return Batches(pictures, crop, batch_size, seed, workers)


def kept(count, batch_size, seed=0):
    """A set of arrays whose images say which they are."""
    labels = np.arange(count)
    pixels = np.broadcast_to(labels.astype(np.uint8)[:, None, None], (count, 16, 16))
    samples = Samples(ArrayImages(pixels), labels)
    return streamed(samples, batch_size, seed, crop={}, limit=2**30)


def both(tmp_path, kind, count, batch_size, seed=0):
    samples = noise(tmp_path, count)
    return streamed(samples, batch_size, seed, limit=2**30 if kind == "memory" else 0)


def order_of(batches, epoch):
    return [labels.tolist() for _, labels in batches.epoch(epoch)]


def same(left, right):
    left, right = list(left), list(right)
    return len(left) == len(right) and all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        for a, b in zip(left, right, strict=True)
    )


# -- in memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [SHOWN, GREY, Preprocessing(16, crop=0.8)])
def test_a_set_in_memory_is_what_preprocessing_gives_image_by_image(tmp_path, shown):
    samples = noise(tmp_path, 9)
    images = in_memory(samples, shown)
    assert images.dtype == torch.uint8 and images.shape == (9, shown.channels, 16, 16)
    for k in range(9):
        assert np.array_equal(images[k].numpy(), shown.load(tmp_path / f"{k}.png"))


def test_a_set_of_arrays_is_kept_pixel_by_pixel():
    arrays = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    samples = Samples(ArrayImages(arrays), np.array([3, 1, 4, 1, 5]))
    images = in_memory(samples, SHOWN)
    assert np.array_equal(images.numpy(), arrays.transpose(0, 3, 1, 2))


def test_a_file_that_cannot_be_read_stops_a_set_in_memory_with_its_name(tmp_path):
    samples = noise(tmp_path, 5)
    (tmp_path / "3.png").write_bytes(b"")
    with pytest.raises(InceptiveError, match=r"3\.png: is empty"):
        in_memory(samples, SHOWN)


def test_a_set_fits_in_memory_up_to_four_gibibytes():
    def pictures(count):
        samples = Samples(PathImages.of([""] * count), np.zeros(count, dtype=np.int64))
        return CachedImages(samples, ModelInputs(Preprocessing(size=1024)), None)  # 3 MiB each

    assert fits_in_memory(pictures(1365)) and not fits_in_memory(pictures(1366))
    assert fits_in_memory(pictures(682), Rank(1, 2))  # each process keeps as many itself
    assert not fits_in_memory(pictures(683), Rank(1, 2))
    assert fits_in_memory(pictures(0))


def test_whole_pictures_are_counted_as_large_as_they_are(tmp_path, monkeypatch):
    sizes = [(40, 20), (20, 40), (80, 20), (20, 20)]
    samples = saved(tmp_path, [picture(k, *size) for k, size in enumerate(sizes)], range(4))
    pictures = CachedImages(
        samples, RandomCrop(SHOWN, (0.64, 1.0)).spec, None
    )  # 20 pixels are enough
    monkeypatch.setattr(loading, "MEMORY_LIMIT", 3 * 20 * (40 + 40 + 80 + 20))
    assert fits_in_memory(pictures)
    monkeypatch.setattr(loading, "MEMORY_LIMIT", loading.MEMORY_LIMIT - 1)
    assert not fits_in_memory(pictures)


@pytest.mark.parametrize("images", [0, 2, 5])
def test_memory_holds_no_more_than_it_may_and_changes_nothing(tmp_path, images):
    samples = noise(tmp_path, 5)
    limit = images * 3 * 28 * 40
    crop = RandomCrop(SHOWN, **PART)
    pictures = CachedImages(samples, crop.spec, None)
    pictures.keep_in_memory(limit)
    assert sum(pixels.nbytes for pixels in pictures._memory.values()) == limit
    for number in range(2):
        batches = Batches(pictures, crop, 2, 3, 0).epoch(number)
        assert same(batches, streamed(samples, 2, 3, crop=PART).epoch(number))


def red_share(samples, crop, limit):
    """Of 6 epochs' images, those that show the red left fifth of the pictures."""
    batches = streamed(samples, 8, crop=crop, limit=limit)
    images = torch.cat([images for n in range(6) for images, _ in batches.epoch(n)]).int()
    return int(((images[:, 0] - images[:, 2]) > 100).flatten(1).any(1).sum())


@pytest.mark.parametrize("crop", [PART, {}, {"interpolations": ("box", "bicubic")}])
def test_crops_in_memory_are_those_from_files_and_of_the_whole_picture(tmp_path, crop):
    pixels = np.full((40, 80, 3), 90, np.uint8)
    pixels[:, :16] = 255, 0, 0
    samples = saved(tmp_path, [Image.fromarray(pixels)] * 8, range(8))
    for number in range(2):
        kept_in_memory = streamed(samples, 4, 1, crop=crop, limit=2**30).epoch(number)
        assert same(kept_in_memory, streamed(samples, 4, 1, crop=crop).epoch(number))
    seen = {red_share(samples, crop, limit) for limit in (0, 2**30)}
    assert len(seen) == 1 and (seen == {0}) == ("area" not in crop)


# -- the order ----------------------------------------------------------------------------------


@fast
@given(st.integers(1, 300), st.integers(0, 10_000), st.integers(0, 300))
def test_a_permutation_holds_each_index_once_and_repeats(count, seed, epoch):
    order = permutation(count, seed, epoch)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(count))
    assert torch.equal(order, permutation(count, seed, epoch))


def test_permutations_of_other_epochs_and_other_seeds_differ():
    found = {
        tuple(permutation(50, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)
    }
    assert len(found) == 25


@pytest.mark.parametrize("kind", ["memory", "files"])
@pytest.mark.parametrize(
    ("count", "batch_size", "batches", "size"),
    [(12, 4, 3, 4), (11, 4, 2, 4), (5, 4, 1, 4), (4, 4, 1, 4), (3, 4, 1, 3), (1, 9, 1, 1)],
)
def test_an_epoch_holds_each_sample_once_but_for_a_last_smaller_batch(
    tmp_path, kind, count, batch_size, batches, size
):
    made = both(tmp_path, kind, count, batch_size)
    assert len(made) == batches
    for epoch in range(2):
        order = order_of(made, epoch)
        assert [len(labels) for labels in order] == [size] * batches
        flat = functools.reduce(operator.iadd, order, [])
        assert len(set(flat)) == len(flat) and set(flat) <= set(range(count))


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_every_sample_comes_to_its_turn_in_some_epoch(tmp_path, kind):
    made = both(tmp_path, kind, 7, 4)
    assert {k for epoch in range(12) for k in order_of(made, epoch)[0]} == set(range(7))


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_the_order_follows_from_seed_and_epoch_alone(tmp_path, kind):
    made = both(tmp_path, kind, 20, 5, seed=3)
    first = order_of(made, 4)
    torch.manual_seed(99)
    torch.rand(10)
    order_of(made, 0)
    assert order_of(made, 4) == first
    assert order_of(both(tmp_path, kind, 20, 5, seed=3), 4) == first
    assert order_of(made, 5) != first
    assert order_of(both(tmp_path, kind, 20, 5, seed=4), 4) != first


def test_both_kinds_of_batches_come_in_the_same_order(tmp_path):
    files = streamed(noise(tmp_path, 10), 3, seed=7)
    assert order_of(kept(10, 3, seed=7), 2) == order_of(files, 2)


def test_images_in_memory_stay_with_their_labels():
    for images, labels in kept(50, 8).epoch(1):
        assert images.shape == (8, 3, 16, 16)
        assert torch.equal(images[:, 0, 0, 0].long(), labels)


# -- from files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_images_from_files_stay_with_their_labels(tmp_path, workers):
    made = streamed(coded(tmp_path, 20), 6, workers=workers)
    seen = []
    for images, labels in made.epoch(0):
        assert images.dtype == torch.uint8 and images.shape == (6, 3, 16, 16)
        assert labels.dtype == torch.int64
        expected = labels[:, None, None] * 10
        assert torch.equal(images[:, 0].long(), expected.expand(-1, 16, 16))
        assert not images[:, 1].any()
        seen += labels.tolist()
    assert len(set(seen)) == 18


def test_batches_are_the_same_whatever_the_number_of_workers(tmp_path):
    samples = noise(tmp_path, 14)
    alone, helped = streamed(samples, workers=0), streamed(samples, workers=2)
    assert same(alone.epoch(3), helped.epoch(3))


def test_crops_follow_from_seed_and_epoch_alone(tmp_path):
    samples = noise(tmp_path, 8)
    first = list(streamed(samples, seed=1).epoch(2))
    np.random.seed(5)
    torch.manual_seed(5)
    assert same(streamed(samples, seed=1).epoch(2), first)
    for batches, epoch in ((streamed(samples, seed=1), 3), (streamed(samples, seed=2), 2)):
        by_label = {
            int(label): image
            for images, labels in batches.epoch(epoch)
            for image, label in zip(images, labels, strict=True)
        }
        assert not any(
            torch.equal(by_label[int(label)], image)
            for images, labels in first
            for image, label in zip(images, labels, strict=True)
        )


def test_a_whole_crop_of_a_square_picture_is_the_picture(tmp_path):
    arrays = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    samples = Samples(ArrayImages(arrays), np.arange(6))
    (batch,) = streamed(samples, 6, crop={}).epoch(0)
    images, labels = batch
    assert np.array_equal(images.numpy(), arrays[labels].transpose(0, 3, 1, 2))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", FILTERS)
def test_a_part_is_resized_as_pillow_resizes_it(channels, interpolation):
    rng = np.random.default_rng(channels)
    waves = np.add.outer(np.sin(np.arange(90) / 7), np.cos(np.arange(120) / 9))[..., None]
    noisy = 127 + 50 * waves + rng.normal(0, 20, (90, 120, channels))
    pixels = noisy.clip(0, 255).astype(np.uint8)
    pixels.flags.writeable = False  # as what is mapped from the cache
    for box, size in (((3.4, 5.6, 80.2, 70.9), 32), ((0, 0, 120, 90), 48), ((10, 10, 30, 25), 64)):
        left, top, right, bottom = map(round, box)
        image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        part = image.crop((left, top, right, bottom))
        wanted = np.atleast_3d(part.resize((size, size), FILTERS[interpolation]))
        found = cut(pixels, box, size, interpolation)
        assert found.shape == (channels, size, size) and found.dtype == np.uint8
        gap = np.abs(found.transpose(1, 2, 0).astype(int) - wanted.astype(int))
        assert gap.max() <= 2 and gap.mean() < 0.05
    assert cut(pixels, (50.2, 50.2, 50.4, 50.4), 8, interpolation).shape == (channels, 8, 8)


@pytest.mark.parametrize(
    ("area", "shorter"), [(1.0, 16), (0.64, 20), (0.25, 32), (0.08, 32), (1.5, 16)]
)
def test_crops_are_cut_from_as_many_pixels_as_the_smallest_needs_up_to_twice_the_nets(
    tmp_path, area, shorter
):
    made = streamed(noise(tmp_path, 1), crop={"area": (area, 2.0), "aspect": (1.0, 1.5)})
    height, width, _ = made.pictures[0].shape
    assert (height, width) == ((shorter, round(shorter * 40 / 28)) if shorter < 28 else (28, 40))


def test_grey_batches_have_one_channel(tmp_path):
    for images, labels in streamed(coded(tmp_path, 8), shown=GREY).epoch(0):
        assert images.shape == (4, 1, 16, 16)
        luma = 10 * labels * (0.299 + 0.114)
        assert (images.float().mean((1, 2, 3)) - luma).abs().max() <= 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_vanished_is_named_in_one_line(tmp_path, workers):
    samples = noise(tmp_path, 4)
    (tmp_path / "2.png").unlink()
    with pytest.raises(InceptiveError) as caught:
        list(streamed(samples, workers=workers).epoch(0))
    message = str(caught.value)
    assert f"{tmp_path / '2.png'}: cannot be read" in message
    assert message.isprintable()


# -- the crop -----------------------------------------------------------------------------------

sides = st.integers(1, 2000)
areas = st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(sorted)
aspects = st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)).map(sorted)


def centre_square(width, height):
    side = min(width, height)
    return ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)


@fast
@given(sides, sides, areas, aspects, st.integers(0, 2**32))
def test_a_crop_lies_in_the_picture_with_area_and_aspect_in_bounds(
    width, height, area, aspect, seed
):
    box = RandomCrop(SHOWN, tuple(area), tuple(aspect)).box(
        width, height, np.random.default_rng(seed)
    )
    left, top, right, bottom = box
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    if box != pytest.approx(centre_square(width, height)):
        share = (right - left) * (bottom - top) / (width * height)
        assert area[0] * (1 - 1e-6) <= share <= area[1] * (1 + 1e-6)
        ratio = (right - left) / (bottom - top)
        assert aspect[0] * (1 - 1e-6) <= ratio <= aspect[1] * (1 + 1e-6)


@fast
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32))
def test_every_crop_can_be_cut(width, height, seed):
    crop = RandomCrop(SHOWN, (0.08, 1.0), (3 / 4, 4 / 3))
    box = crop.box(width, height, np.random.default_rng(seed))
    assert resize_box(Image.new("L", (width, height)), box, 8, "bilinear").size == (8, 8)


@pytest.mark.parametrize(
    ("width", "height", "crop"),
    [
        (300, 100, RandomCrop(SHOWN, (1.0, 1.0), (1.0, 1.0))),
        (100, 300, RandomCrop(SHOWN)),
        (1000, 1, RandomCrop(SHOWN, (0.08, 1.0), (3 / 4, 4 / 3))),
        (100, 100, RandomCrop(SHOWN, (0.9, 1.0), (2.0, 3.0))),
    ],
)
def test_the_centre_square_is_taken_if_no_draw_fits(width, height, crop):
    box = crop.box(width, height, np.random.default_rng(0))
    assert box == pytest.approx(centre_square(width, height))


def test_crops_are_drawn_evenly_over_area_and_place():
    rng = np.random.default_rng(0)
    boxes = np.array([RandomCrop(SHOWN, (0.1, 0.9)).box(100, 100, rng) for _ in range(2000)])
    shares = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 10_000
    quarters = np.histogram(shares, 4, (0.1, 0.9))[0]
    assert np.abs(quarters - 500).max() < 80
    room = 100 - (boxes[:, 2] - boxes[:, 0])
    for side in (0, 1):
        assert np.abs(np.histogram(boxes[:, side] / room, 4, (0, 1))[0] - 500).max() < 80


def ramps(side=64):
    """Brightness 4 a pixel: along columns in channel 0, along rows in channel 1; 2 is flat."""
    ramp = np.broadcast_to(np.arange(side) * 4, (side, side))
    return np.stack([ramp, ramp.T, np.full((side, side), 200)], 2).astype(np.uint8)


@pytest.mark.parametrize(
    ("area", "aspect", "width", "height"),
    [
        (0.25, 1.0, 0.5, 0.5),
        (0.64, 1.0, 0.8, 0.8),
        (0.25, 4.0, 1.0, 0.25),
        (0.32, 2.0, 0.8, 0.4),
        (0.32, 0.5, 0.4, 0.8),
    ],
)
def test_a_crop_shows_its_share_of_the_area_in_its_aspect(area, aspect, width, height):
    crop = RandomCrop(Preprocessing(64), (area, area), (aspect, aspect))
    squares = np.stack([crop(ramps(), (seed,)) for seed in range(50)]).astype(int)
    across = (squares[:, 0, :, -1] - squares[:, 0, :, 0]) / 4 / 64  # in shares of the side
    down = (squares[:, 1, -1, :] - squares[:, 1, 0, :]) / 4 / 64
    assert np.abs(across - width).max() < 0.04 and np.abs(down - height).max() < 0.04
    assert (squares[:, 2] == 200).all()


def test_a_crop_lies_anywhere_in_the_picture():
    crop = RandomCrop(Preprocessing(64), (0.25, 0.25))
    squares = np.stack([crop(ramps(), (seed,)) for seed in range(200)]).astype(float)
    for channel in (0, 1):
        centres = squares[:, channel].mean((1, 2)) / 4  # 15.5 to 47.5 in 0 to 63
        assert 15 < centres.min() < 18 and 45 < centres.max() < 48


# -- in order -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_judged_images_keep_the_order_of_their_samples(tmp_path, workers):
    samples = noise(tmp_path, 11)
    turned = dataclasses.replace(samples, images=samples.images.take(np.arange(11)[::-1]))
    batches = list(in_order(turned, SHOWN, 4, workers=workers))
    assert [len(images) for images in batches] == [4, 4, 3]
    everything = np.concatenate(batches)
    assert everything.dtype == np.uint8
    for k in range(11):
        assert np.array_equal(everything[k], SHOWN.load(tmp_path / f"{10 - k}.png"))


@pytest.mark.parametrize("shown", [SHOWN, GREY])
def test_judged_images_are_those_in_memory(tmp_path, shown):
    samples = noise(tmp_path, 6)
    judged = np.concatenate(list(in_order(samples, shown, 4)))
    assert np.array_equal(judged, in_memory(samples, shown).numpy())


@pytest.mark.parametrize("shown", [SHOWN, GREY])
def test_torch_may_write_to_what_a_net_is_shown(tmp_path, shown):
    samples = noise(tmp_path, 1)
    assert shown.load(samples.source(0)).flags.writeable


def test_a_picture_of_one_pixel_can_be_cropped():
    """One draw in twenty began behind it, and torch refused a picture of no width."""
    crop = RandomCrop(Preprocessing(8), (0.08, 1.0), (0.75, 1.3333))
    one = np.full((1, 1, 3), 7, np.uint8)
    assert all((crop(one, (0, 0, k)) == 7).all() for k in range(200))


def test_without_random_crops_a_net_learns_from_the_square_that_it_is_judged_by(tmp_path):
    """It learned from the whole picture, and was judged by its middle."""
    samples = noise(tmp_path, 2)
    middle = dataclasses.replace(SHOWN, crop=0.5)
    crop = RandomCrop(middle)
    for k in range(2):
        square = crop(crop.spec(samples.source(k)), (0, 0, k))
        assert np.array_equal(square, middle.load(samples.source(k)))
    assert crop.empty(3).shape == (3, *square.shape)
