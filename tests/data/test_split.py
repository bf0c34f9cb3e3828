"""Dividing a set: what counts as a copy, and which side of the split each image lands on."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

import inceptive.data.split as split_module
from inceptive.data.scan import scan
from inceptive.data.source import SplitFractions
from inceptive.data.split import digest, divide, near_duplicates
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
    return near_duplicates(
        np.stack([one.thumbnail for one in scanned]), [one.digest for one in scanned]
    ).tolist()


def contents(count, start=0):
    return [hashlib.sha256(str(start + k).encode()).hexdigest() for k in range(count)]


def of_classes(*sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


def count(split, labels, label):
    return Counter(split[labels == label].tolist())


ALTERED = {
    "exact copy": (lambda image: image, "png", {}),
    "half the size": (lambda image: image.resize((48, 48), Image.Resampling.BICUBIC), "png", {}),
    "twice the size": (lambda image: image.resize((192, 192), Image.Resampling.BICUBIC), "png", {}),
    "recompressed": (lambda image: image, "jpg", {"quality": 60}),
    "brightened": (lambda image: ImageEnhance.Brightness(image).enhance(1.03), "png", {}),
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


def test_groups_are_transitive_in_whatever_order_their_members_come():
    base = np.random.default_rng(0).integers(60, 160, (16, 17)).astype(np.uint8)
    chain = [base + 5 * k for k in range(6)]
    assert np.abs(chain[0].astype(int) - chain[5]).mean() == 25
    for order in ([0, 1, 2, 3, 4, 5], [5, 0, 3, 1, 4, 2], [0, 5, 1, 4, 2, 3]):
        groups = near_duplicates(np.stack([chain[k] for k in order]), contents(6))
        assert len(set(groups.tolist())) == 1
    ends = near_duplicates(np.stack([chain[0], chain[5]]), contents(2))
    assert len(set(ends.tolist())) == 2


def test_the_same_bytes_are_one_group_even_if_thumbnails_are_not_compared():
    thumbnails = np.random.default_rng(0).integers(0, 256, (4, 16, 17)).astype(np.uint8)
    groups = near_duplicates(thumbnails, ["a", "b", "a", "c"]).tolist()
    assert groups[0] == groups[2]
    assert len(set(groups)) == 3


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
            digests += [digest(f"{group}/{k // 2}".encode()) for k in range(size)]
    return np.array(labels, dtype=np.int64), digests, np.array(groups, dtype=np.int64)


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
        [digests[i] for i in order],
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


def test_blank_pictures_are_not_paired_one_with_each_other(monkeypatch):
    """2,000 white pictures were two million pairs; groups are those of the pairs, found slowly."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 256, (5, 16, 17), dtype=np.uint8)
    near = np.clip(kinds[0].astype(int) + 2, 0, 255).astype(np.uint8)
    thumbnails = np.concatenate([np.full((2000, 16, 17), 255, np.uint8), kinds, kinds, near[None]])
    digests = [str(k) for k in range(len(thumbnails))]
    counted = []
    pairs = split_module._near_pairs
    monkeypatch.setattr(split_module, "_near_pairs", lambda t: counted.append(len(t)) or pairs(t))
    groups = near_duplicates(thumbnails, digests)
    assert counted == [7]
    assert groups[:2000].tolist() == [0] * 2000
    assert groups[2000:].tolist() == [2000, 2001, 2002, 2003, 2004] * 2 + [2000]
