"""Dividing a set: what counts as a copy, and which side of the split each image lands on."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from inceptive.data import copies as copies_module
from inceptive.data.copies import Thumbnails, copies
from inceptive.data.folder import assign_splits
from inceptive.data.scan import ScannedImage, scan
from inceptive.data.source import ArrayImages, Samples, SplitFractions, pixels_digest
from inceptive.data.split import FOLDS, digest, divide, folds_of
from inceptive.errors import InceptiveError

fast = settings(max_examples=50, deadline=None)


def picture(seed):
    coarse = np.random.default_rng(seed).integers(40, 200, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)


def save(image, path, **options):
    image.save(path, **options)
    return path


def groups_of(paths):
    scanned = [scan(str(path)) for path in paths]
    assert not any(one.error for one in scanned)
    digests = np.array([one.pixels for one in scanned], np.uint64)
    return copies(digests, np.stack([one.thumbnail for one in scanned]))[0].tolist()


def contents(count, start=0):
    return np.array([pixels_digest(str(start + k).encode()) for k in range(count)], np.uint64)


def of_classes(*sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


def count(split, labels, label):
    return Counter(split[labels == label].tolist())


ALTERED = {
    "exact copy": (lambda image: image, "png", {}),
    "half the size": (lambda image: image.resize((48, 48), Image.Resampling.BICUBIC), "png", {}),
    "twice the size": (lambda image: image.resize((192, 192), Image.Resampling.BICUBIC), "png", {}),
    "recompressed": (lambda image: image, "jpg", {"quality": 60}),
    "brightened": (lambda image: ImageEnhance.Brightness(image).enhance(1.1), "png", {}),
    "in grey": (lambda image: image.convert("L"), "png", {}),
}


@pytest.mark.parametrize("kind", ALTERED)
def test_a_copy_and_its_original_are_one_group_and_no_other_picture_is_in_it(tmp_path, kind):
    alter, suffix, options = ALTERED[kind]
    originals = [save(picture(seed), tmp_path / f"{seed}.png") for seed in range(5)]
    copies = [
        save(alter(picture(seed)), tmp_path / f"copy{seed}.{suffix}", **options)
        for seed in range(5)
    ]
    groups = groups_of(originals + copies)
    assert groups[:5] == groups[5:]
    assert len(set(groups)) == 5


def on_white(seed, low=40, high=220):
    """A thing that fills a part of a white table."""
    coarse = np.random.default_rng(seed).integers(low, high, (5, 5, 3), dtype=np.uint8)
    table = Image.new("RGB", (96, 96), "white")
    thing = Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC)
    table.paste(thing, (12 + seed % 4 * 8, 24))
    return table


def highlights(seed):
    """A picture with some places that a tenth more light makes white."""
    coarse = np.random.default_rng(seed).integers(60, 250, (6, 6), dtype=np.uint8)
    return Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("made", [on_white, highlights])
def test_a_brightened_copy_whose_highlights_are_cut_off_is_found(tmp_path, made):
    """Of the stamps of Tux Paint, drawings on white, 54 % were found, of Imagenette's photographs 69."""
    originals = [save(made(seed), tmp_path / f"{seed}.png") for seed in range(12)]
    brighter = [
        save(ImageEnhance.Brightness(made(seed)).enhance(1.1), tmp_path / f"copy{seed}.png")
        for seed in range(12)
    ]
    groups = groups_of(originals + brighter)
    assert groups[:12] == groups[12:]
    assert len(set(groups)) == 12


def detailed(seed):
    """A small photograph, sharp down to its pixels."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 200, (6, 6), dtype=np.uint8))
    fine = Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8))
    smooth = coarse.resize((128, 128), Image.Resampling.BICUBIC)
    return Image.blend(smooth, fine.resize((128, 128), Image.Resampling.NEAREST), 0.15)


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image.resize((32, 32), Image.Resampling.LANCZOS),
        lambda image: image.filter(ImageFilter.GaussianBlur(3)),
    ],
    ids=["a quarter of the size", "blurred"],
)
def test_a_copy_that_lost_detail_is_found(tmp_path, alter):
    """Of the stamps of Tux Paint, 41 % were found at a quarter of their size, of Imagenette's
    photographs, recompressed as well, 22."""
    originals = [save(detailed(seed), tmp_path / f"{seed}.png") for seed in range(12)]
    softer = [
        save(alter(detailed(seed)), tmp_path / f"copy{seed}.jpg", quality=75) for seed in range(12)
    ]
    groups = groups_of(originals + softer)
    assert groups[:12] == groups[12:]
    assert len(set(groups)) == 12


def test_different_pictures_are_all_in_groups_of_their_own(tmp_path):
    paths = [save(picture(seed), tmp_path / f"{seed}.png") for seed in range(40)]
    assert len(set(groups_of(paths))) == 40


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.transpose(Image.Transpose.ROTATE_90),
        lambda image: image.crop((24, 24, 72, 72)),
        lambda image: image.point(lambda value: 255 - value),
    ],
    ids=["mirrored", "turned", "cropped", "inverted"],
)
def test_a_merely_alike_picture_is_no_copy(tmp_path, alter):
    one = save(picture(1), tmp_path / "one.png")
    other = save(alter(picture(1)), tmp_path / "other.png")
    assert len(set(groups_of([one, other]))) == 2


def test_flat_pictures_of_different_brightness_are_no_copies(tmp_path):
    paths = [
        save(Image.new("L", (24, 24), level), tmp_path / f"{level}.png") for level in (0, 99, 255)
    ]
    assert len(set(groups_of(paths))) == 3


def test_faint_pictures_of_different_shapes_are_no_copies(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for k in range(5):
        coarse = Image.fromarray(rng.integers(122, 134, (6, 6), dtype=np.uint8))
        faint = coarse.resize((96, 96), Image.Resampling.BICUBIC)
        paths.append(save(faint, tmp_path / f"{k}.png"))
    assert len(set(groups_of(paths))) == 5


def test_a_chain_of_small_steps_joins_no_two_pictures_that_differ():
    """Single links joined 179 of 180 different pictures."""
    ends = np.random.default_rng(0).integers(60, 160, (2, 32, 32))
    steps = np.linspace(0, 1, 60)[:, None, None]
    chain = (ends[0] * (1 - steps) + ends[1] * steps).round().astype(np.uint8)
    groups, _ = copies(contents(60), chain)
    assert groups[0] != groups[59]
    for group in set(groups.tolist()):  # none reaches far
        members = chain[groups == group].astype(int)
        assert np.abs(members[:, None] - members[None]).mean((2, 3)).max() < 12


def test_the_same_pixels_are_one_group_even_if_thumbnails_are_not_compared():
    thumbnails = np.random.default_rng(0).integers(0, 256, (4, 32, 32)).astype(np.uint8)
    groups, _ = copies(np.array([5, 6, 5, 7], np.uint64), thumbnails, near=False)
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 3


def thing(k):
    """A small thing on a white table, in noise."""
    rng = np.random.default_rng(k)
    pixels = 245 + rng.normal(0, 2, (240, 320, 1)).repeat(3, 2)
    top, left, high, wide = rng.integers((80, 120, 12, 12), (140, 180, 40, 40))
    pixels[top : top + high, left : left + wide] = rng.integers(0, 200, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def drawing(k):
    """A thin line on white."""
    rng = np.random.default_rng(k)
    image = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(image).line([tuple(p) for p in rng.integers(10, 290, (10, 2)).tolist()], "black")
    return image


def part(k):
    """One of many parts before one camera: every second one has a dent somewhere."""
    coarse = np.random.default_rng(0).integers(60, 200, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)
    rng = np.random.default_rng(k)
    x, y = rng.integers((20, 20), (280, 200)).tolist()
    ImageDraw.Draw(image).ellipse((x, y, x + 22, y + 18), fill=(240, 230, 60))
    pixels = np.asarray(image) + rng.normal(0, 3, (240, 320, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def page(k):
    """A page of lines of text."""
    rng = np.random.default_rng(k)
    image = Image.new("RGB", (496, 700), "white")
    for y in range(40, 660, 13):
        words = ["".join(rng.choice(list("etaoinshr"), rng.integers(2, 10))) for _ in range(11)]
        ImageDraw.Draw(image).text((40, y), " ".join(words)[:70], fill="black")
    return image


@pytest.mark.parametrize(
    "made", [thing, drawing, part, pytest.param(page, marks=pytest.mark.scale)]
)
def test_pictures_that_differ_in_a_small_place_are_no_copies(tmp_path, made):
    """All but one of 180 were one group, and there was no validation part."""
    count = 40
    originals = [save(made(k), tmp_path / f"{k}.png") for k in range(count)]
    assert len(set(groups_of(originals))) == count
    again = [save(made(k), tmp_path / f"{k}.jpg", quality=60) for k in range(count)]
    groups = groups_of(originals + again)
    assert groups[:count] == groups[count:]


def test_other_metadata_are_no_other_picture(tmp_path):
    """Retagged photographs changed sides: 17 of 27 test images had been trained on."""
    image = picture(1)
    exif = Image.Exif()
    exif[0x010E] = "a holiday"
    plain, tagged = tmp_path / "plain.jpg", tmp_path / "tagged.jpg"
    save(image, plain, quality=80)
    save(image, tagged, quality=80, exif=exif, comment=b"seen")
    one, other = scan(str(plain)), scan(str(tagged))
    assert one.digest != other.digest
    assert one.pixels == other.pixels
    assert scan(str(save(picture(2), tmp_path / "other.jpg"))).pixels != one.pixels


def frames(count, noise):
    base = np.random.default_rng(0).integers(40, 200, (32, 32))
    drift = np.random.default_rng(1).normal(0, noise, (count, 32, 32))
    return (base + drift).round().clip(0, 255).astype(np.uint8)


def test_much_alike_frames_are_compared_with_one_of_them_only(monkeypatch):
    """10,000 frames of one camera were 50 million pairs, 3.3 GB and two minutes."""
    compared = []
    near = Thumbnails.near
    monkeypatch.setattr(Thumbnails, "near", lambda *a: compared.append(len(a[-1])) or near(*a))
    groups, count = copies(contents(3000), frames(3000, 0.5))
    assert len(set(groups.tolist())) == 1 and count == 3000
    assert sum(compared) == 2999


def test_what_is_too_much_work_is_not_looked_for_and_said(monkeypatch):
    monkeypatch.setattr(copies_module, "WORK", 1e6)
    monkeypatch.setattr(copies_module, "ROWS", 64)
    thumbnails = np.random.default_rng(0).integers(0, 256, (500, 32, 32)).astype(np.uint8)
    digests = contents(500)
    digests[[3, 400]] = digests[3]
    groups, count = copies(digests, thumbnails)
    assert groups[3] == groups[400]
    assert count < 499
    images = [
        ScannedImage(str(k), pixels=int(d), thumbnail=t)
        for k, (d, t) in enumerate(zip(digests, thumbnails, strict=True))
    ]
    _, _, notes = assign_splits(images, of_classes(250, 250), SplitFractions(), ("a", "b"))
    assert any(
        "near-copies were looked for among" in note and "of 499 only" in note for note in notes
    )


def scanned_frames(noise, *sizes):
    thumbnails = frames(sum(sizes), noise)
    digests = contents(sum(sizes))
    return [
        ScannedImage(str(k), pixels=int(d), thumbnail=t)
        for k, (d, t) in enumerate(zip(digests, thumbnails, strict=True))
    ]


def test_copies_that_are_most_of_a_class_are_divided_all_the_same_and_it_is_said():
    images, labels = scanned_frames(0.5, 40, 40), of_classes(40, 40)
    split, _, notes = assign_splits(images, labels, SplitFractions(), ("good", "bad"))
    for label in (0, 1):
        assert count(split, labels, label) == {"train": 28, "val": 6, "test": 6}
    assert any(
        "40 of 40 images of good look like copies of one another: too many" in n for n in notes
    )


def test_copies_that_are_much_of_a_class_stay_together_and_it_is_said():
    labels = of_classes(40, 40)
    images = scanned_frames(0.5, 15, 0) + scanned_frames(90, 25, 40)
    images = [replace(image, pixels=k + 1) for k, image in enumerate(images)]
    split, _, notes = assign_splits(images, labels, SplitFractions(), ("good", "bad"))
    assert len(set(split[:15].tolist())) == 1
    [note] = [n for n in notes if "15 of 40 images of good" in n]
    assert 'set data.copies = "ignore"' in note
    ignored, _, notes = assign_splits(
        images, labels, SplitFractions(copies="ignore"), ("good", "bad")
    )
    assert len(set(ignored[:15].tolist())) > 1
    assert not any("copies of one another" in n for n in notes)


def test_a_small_class_of_copies_alone_reaches_every_side():
    images, labels = scanned_frames(0.5, 5) + scanned_frames(90, 30), of_classes(5, 30)
    images = [replace(image, pixels=k + 1) for k, image in enumerate(images)]
    split, _, notes = assign_splits(images, labels, SplitFractions(), ("few", "many"))
    assert set(split[:5].tolist()) == {"train", "val", "test"}
    assert any("5 of 5 images of few" in note for note in notes)


def test_a_digest_is_the_sha_256_of_the_bytes():
    assert (
        digest(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.parametrize(
    ("size", "shares", "val", "test"),
    [
        (100, SplitFractions(0.15, 0.15), 15, 15),
        (20, SplitFractions(0.2, 0.1), 4, 2),
        (7, SplitFractions(0.15, 0.3), 1, 2),
        (3, SplitFractions(0.01, 0.01), 1, 1),
        (3, SplitFractions(0.15, 0.15), 1, 1),
        (3, SplitFractions(0.4, 0.4), 1, 1),
        (2, SplitFractions(0.15, 0.15), 0, 0),
        (1, SplitFractions(0.4, 0.4), 0, 0),
        (50, SplitFractions(0.0, 0.1), 0, 5),
        (50, SplitFractions(0.1, 0.0), 5, 0),
        (50, SplitFractions(0.0, 0.0), 0, 0),
        (10, SplitFractions(0.0, 0.9), 0, 9),
    ],
)
def test_each_class_gives_its_rounded_share(size, shares, val, test):
    labels = of_classes(size, 30, size)
    split = divide(labels, contents(len(labels)), np.arange(len(labels)), shares)
    for label in (0, 2):
        found = count(split, labels, label)
        assert (found["train"], found["val"], found["test"]) == (size - val - test, val, test)


@pytest.mark.parametrize(
    ("size", "shares"),
    [
        (3, SplitFractions(0.2, 0.5)),
        (3, SplitFractions(0.1, 0.8)),
        (4, SplitFractions(0.05, 0.9)),
        (3, SplitFractions(0.8, 0.1)),
    ],
)
def test_three_images_reach_every_wanted_split_however_large_one_share_is(size, shares):
    split = divide(of_classes(size), contents(size), np.arange(size), shares)
    assert set(split.tolist()) == {"train", "val", "test"}


def test_a_class_of_pairs_reaches_every_wanted_split():
    groups = np.repeat([0, 1, 2], 2)
    split = divide(of_classes(6), contents(6), groups, SplitFractions(0.15, 0.15))
    assert Counter(split.tolist()) == {"train": 2, "val": 2, "test": 2}


shares_ = st.tuples(
    st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.25, 0.3]), st.sampled_from([0.0, 0.1, 0.15, 0.2, 0.33])
).map(lambda pair: SplitFractions(*pair))


@fast
@given(sizes=st.lists(st.integers(0, 60), min_size=1, max_size=5), shares=shares_)
def test_shares_are_kept_class_by_class(sizes, shares):
    labels = of_classes(*sizes)
    split = divide(labels, contents(len(labels)), np.arange(len(labels)), shares)
    for label, size in enumerate(sizes):
        found = count(split, labels, label)
        assert sum(found.values()) == size
        assert found["train"] >= min(size, 1)
        for name, share in (("val", shares.val), ("test", shares.test)):
            if share == 0:
                assert found[name] == 0
            elif size >= 3:
                assert found[name] == 1 or abs(found[name] - share * size) <= 0.5 + 1e-9
            else:
                assert found[name] <= 1


@st.composite
def grouped(draw):
    """labels, digests and groups of a set whose groups lie within classes."""
    labels, digests, groups = [], [], []
    for label in range(draw(st.integers(1, 4))):
        for size in draw(st.lists(st.integers(1, 5), max_size=12)):
            group = len(set(groups))
            labels += [label] * size
            groups += [group] * size
            digests += [pixels_digest(f"{group}/{k // 2}".encode()) for k in range(size)]
    return (
        np.array(labels, dtype=np.int64),
        np.array(digests, dtype=np.uint64),
        np.array(groups, dtype=np.int64),
    )


@fast
@given(grouped(), shares_)
def test_a_group_is_never_torn_apart_nor_a_share_passed_by_more_than_a_group(data, shares):
    labels, digests, groups = data
    assume(len(labels))
    split = divide(labels, digests, groups, shares)
    for group in set(groups.tolist()):
        assert len(set(split[groups == group].tolist())) == 1
    for label in set(labels.tolist()):
        found = count(split, labels, label)
        total = sum(found.values())
        largest = Counter(groups[labels == label].tolist()).most_common(1)[0][1]
        assert found["train"]
        assert found["val"] <= max(1, shares.val * total + 0.5, largest)
        assert found["test"] <= max(1, shares.test * total + 0.5, largest)


@fast
@given(grouped(), shares_, st.randoms(use_true_random=False))
def test_the_side_of_each_content_is_the_same_in_whatever_order_it_comes(data, shares, random):
    labels, digests, groups = data
    assume(len(labels))
    split = divide(labels, digests, groups, shares)
    order = list(range(len(labels)))
    random.shuffle(order)
    renumbered = list(range(len(labels)))
    random.shuffle(renumbered)
    again = divide(
        3 - labels[order],
        digests[order],
        np.array([renumbered[groups[i]] for i in order]),
        shares,
    )
    assert again.tolist() == split[order].tolist()


def test_other_content_divides_in_another_way():
    labels = of_classes(40)
    sides = {
        tuple(divide(labels, contents(40, start), np.arange(40), SplitFractions()).tolist())
        for start in (0, 1000, 2000)
    }
    assert len(sides) == 3


@pytest.mark.parametrize(
    ("val", "test"),
    [
        (-0.1, 0.1),
        (0.1, -0.1),
        (0.5, 0.5),
        (1.0, 0.0),
        (0.0, 1.0),
        (0.9, 0.2),
        (float("inf"), 0.1),
        (float("nan"), 0.1),
        (0.1, float("nan")),
    ],
)
def test_shares_that_leave_nothing_to_train_on_are_refused(val, test):
    with pytest.raises(InceptiveError, match="leave some for training"):
        SplitFractions(val, test)


@pytest.mark.parametrize(("val", "test"), [(0, 0), (0.15, 0.15), (0.0, 0.99), (0.5, 0.49)])
def test_shares_that_leave_something_are_taken(val, test):
    assert (SplitFractions(val, test).val, SplitFractions(val, test).test) == (val, test)


def test_copies_are_in_one_fold_and_each_class_in_all():
    labels, groups = np.arange(40) % 2, np.arange(40)
    groups[[4, 6, 8]] = 4
    samples = Samples(ArrayImages(np.zeros((40, 8, 8), np.uint8)), labels, groups=groups)
    fold = folds_of(samples)
    assert len(set(fold[[4, 6, 8]].tolist())) == 1
    counts = [np.bincount(labels[fold == k], minlength=2).tolist() for k in range(FOLDS)]
    assert len(counts) == 5 and min(map(min, counts)) >= 3
    np.testing.assert_array_equal(folds_of(samples.take(np.arange(40))), fold)
    joined = samples.take(np.arange(10)).join([samples.take(np.arange(10, 40))], "both")
    np.testing.assert_array_equal(folds_of(joined), fold)
    assert len(set(folds_of(replace(samples, groups=None)).tolist())) == FOLDS
