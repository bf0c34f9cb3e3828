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

from inceptive.data.loading import (
    ALL_INTERPOLATIONS,
    Crop,
    FileBatches,
    MemoryBatches,
    RandomResizedCrop,
    cut,
    fits_in_memory,
    in_memory,
    permutation,
)
from inceptive.data.pictures import in_order
from inceptive.data.source import ArrayImages, PathImages, Samples
from inceptive.errors import InceptiveError
from inceptive.images import FILTERS, Preprocessing, resize_box

SHOWN = Preprocessing(size=16)
GREY = Preprocessing(size=16, channels=1, mean=(0.5,), std=(0.5,))
PART = Crop((0.2, 1.0), (0.75, 1.33))
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


def streamed(samples, batch_size=4, seed=0, workers=0, crop=PART, shown=SHOWN):
    crop = RandomResizedCrop(shown, crop, ("bilinear", "bicubic"))
    return FileBatches(samples, crop, batch_size, seed, workers)


def kept(count, batch_size, seed=0):
    """A set in memory whose images say which they are."""
    labels = torch.arange(count)
    images = labels.to(torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    return MemoryBatches(images, labels, batch_size, seed)


def both(tmp_path, kind, count, batch_size, seed=0):
    if kind == "memory":
        return kept(count, batch_size, seed)
    return streamed(noise(tmp_path, count), batch_size, seed)


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
    images, labels = in_memory(samples, shown)
    assert images.dtype == torch.uint8 and images.shape == (9, shown.channels, 16, 16)
    for k in range(9):
        assert np.array_equal(images[k].numpy(), shown.load(tmp_path / f"{k}.png"))
    assert labels.dtype == torch.int64 and labels.tolist() == list(range(9))


def test_a_set_of_arrays_is_kept_pixel_by_pixel():
    arrays = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    samples = Samples(ArrayImages(arrays), np.array([3, 1, 4, 1, 5]))
    images, labels = in_memory(samples, SHOWN)
    assert np.array_equal(images.numpy(), arrays.transpose(0, 3, 1, 2))
    assert labels.tolist() == [3, 1, 4, 1, 5]


def test_a_file_that_cannot_be_read_stops_a_set_in_memory_with_its_name(tmp_path):
    samples = noise(tmp_path, 5)
    (tmp_path / "3.png").write_bytes(b"")
    with pytest.raises(InceptiveError, match=r"3\.png: is empty"):
        in_memory(samples, SHOWN)


def test_a_set_fits_in_memory_up_to_four_gibibytes():
    def samples(count):
        return Samples(PathImages.of([""] * count), np.zeros(count, dtype=np.int64))

    large = Preprocessing(size=1024)  # 3 MiB each
    assert fits_in_memory(samples(1365), large)
    assert not fits_in_memory(samples(1366), large)
    assert fits_in_memory(samples(0), large)


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
        assert images.shape == (8, 3, 2, 2)
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


def test_half_of_the_crops_are_mirrored_exactly(tmp_path):
    samples = noise(tmp_path, 8)
    mirrored = 0
    for epoch in range(20):
        plain = streamed(samples, 8, crop=PART).epoch(epoch)
        flipped = streamed(samples, 8, crop=dataclasses.replace(PART, flip=True)).epoch(epoch)
        for (a, _), (b, _) in zip(plain, flipped, strict=True):
            for one, other in zip(a, b, strict=True):
                assert torch.equal(other, one) or torch.equal(other, one.flip(2))
                mirrored += not torch.equal(other, one)
    assert 55 <= mirrored <= 105  # of 160; 4 standard deviations


def test_a_whole_crop_of_a_square_picture_is_the_picture(tmp_path):
    arrays = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    samples = Samples(ArrayImages(arrays), np.arange(6))
    (batch,) = streamed(samples, 6, crop=Crop()).epoch(0)
    images, labels = batch
    assert np.array_equal(images.numpy(), arrays[labels].transpose(0, 3, 1, 2))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", ALL_INTERPOLATIONS)
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
    made = streamed(noise(tmp_path, 1), crop=Crop((area, 2.0)))
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
    box = Crop(tuple(area), tuple(aspect)).box(width, height, np.random.default_rng(seed))
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
    crop = Crop((0.08, 1.0), (3 / 4, 4 / 3))
    box = crop.box(width, height, np.random.default_rng(seed))
    assert resize_box(Image.new("L", (width, height)), box, 8, "bilinear").size == (8, 8)


@pytest.mark.parametrize(
    ("width", "height", "crop"),
    [
        (300, 100, Crop((1.0, 1.0), (1.0, 1.0))),
        (100, 300, Crop()),
        (1000, 1, Crop((0.08, 1.0), (3 / 4, 4 / 3))),
        (100, 100, Crop((0.9, 1.0), (2.0, 3.0))),
    ],
)
def test_the_centre_square_is_taken_if_no_draw_fits(width, height, crop):
    box = crop.box(width, height, np.random.default_rng(0))
    assert box == pytest.approx(centre_square(width, height))


def test_crops_are_drawn_evenly_over_area_and_place():
    rng = np.random.default_rng(0)
    boxes = np.array([Crop((0.1, 0.9)).box(100, 100, rng) for _ in range(2000)])
    shares = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 10_000
    quarters = np.histogram(shares, 4, (0.1, 0.9))[0]
    assert np.abs(quarters - 500).max() < 80
    room = 100 - (boxes[:, 2] - boxes[:, 0])
    for side in (0, 1):
        assert np.abs(np.histogram(boxes[:, side] / room, 4, (0, 1))[0] - 500).max() < 80


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
    assert np.array_equal(judged, in_memory(samples, shown)[0].numpy())


@pytest.mark.parametrize("shown", [SHOWN, GREY])
def test_torch_may_write_to_what_a_net_is_shown(tmp_path, shown):
    samples = noise(tmp_path, 1)
    assert shown.load(samples.source(0)).flags.writeable
