"""The set that Python gives: a path, arrays, paths of files with labels, or a set opened before."""

import numpy as np
import pytest
from PIL import Image

import inceptive
from inceptive.errors import InceptiveError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 12, 12), dtype=np.uint8)
LABELS, CLASSES = np.arange(40) % 2, ("even", "odd")


def test_arrays_are_a_set_divided_by_content():
    data = inceptive.open_data((PIXELS, LABELS, CLASSES))
    assert data.classes == CLASSES and data.channels == 1
    assert sorted(data.splits) == ["test", "train", "val"] and len(data.split("all")) == 40
    everything = data.split("all")
    label_of = {pixels.tobytes(): label for pixels, label in zip(PIXELS, LABELS, strict=True)}
    for k in range(40):
        assert label_of[everything.source(k).tobytes()] == everything.labels[k]
    order = np.random.default_rng(1).permutation(40)
    again = inceptive.open_data((PIXELS[order], LABELS[order], CLASSES))
    tests = [{x.tobytes() for x in d.split("test").images.pixels} for d in (data, again)]
    assert tests[0] == tests[1]
    assert inceptive.open_data((np.stack([PIXELS] * 3, 3), LABELS.tolist(), CLASSES)).channels == 3


def test_labels_may_be_names_of_classes():
    names = np.array(CLASSES)[LABELS]
    data = inceptive.open_data((PIXELS, LABELS, CLASSES))
    for labels in (names, names.tolist(), names.astype(object)):
        named = inceptive.open_data((PIXELS, labels, CLASSES))
        for split in ("train", "val", "test"):
            assert (named.split(split).labels == data.split(split).labels).all()
    with pytest.raises(InceptiveError, match=r"labels are names of classes .*; 'neither' is none"):
        inceptive.open_data((PIXELS, [*names[:-1], "neither"], CLASSES))


def test_paths_with_labels_are_a_set(tmp_path):
    paths = [tmp_path / f"{k}.png" for k in range(20)]
    for path, pixels in zip(paths, PIXELS, strict=False):
        Image.fromarray(pixels).save(path)
    data = inceptive.open_data((paths, LABELS[:20], CLASSES))
    assert data.channels == 1 and len(data.split("all")) == 20
    everything = data.split("all")
    for k in range(20):
        assert (
            int(everything.name(k).removesuffix(".png").rpartition("/")[2]) % 2
            == everything.labels[k]
        )
    paths[3].write_bytes(b"")
    with pytest.raises(
        InceptiveError, match=r"^1 files cannot be read, the first: .*3\.png: is empty"
    ):
        inceptive.open_data((paths, LABELS[:20], CLASSES))


def test_a_path_and_a_set_are_taken_as_they_are(tmp_path):
    for k in range(12):
        path = tmp_path / CLASSES[k % 2] / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(PIXELS[k]).save(path)
    data = inceptive.open_data(tmp_path)
    assert data.classes == CLASSES and inceptive.open_data(data) is data
    assert inceptive.open_data(str(tmp_path)).classes == CLASSES


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ((PIXELS, LABELS), r"data = \(array.*: expected .*\(images, labels, classes\)"),
        (
            (PIXELS, LABELS[:-1], CLASSES),
            "labels are one whole number, or name of a class, for each of 40 images",
        ),
        ((PIXELS, LABELS / 2, CLASSES), "labels are one whole number"),
        ((PIXELS, LABELS + 1, CLASSES), "labels are 0 to 1"),
        ((PIXELS, LABELS, ("one",)), "classes are two names or more"),
        ((PIXELS, LABELS, ("one", "one")), "classes are two names or more"),
        ((PIXELS.astype(np.float32), LABELS, CLASSES), "images are uint8"),
        ((PIXELS[:0], LABELS[:0], CLASSES), "labels are one whole number"),
    ],
)
def test_arrays_that_are_no_set_are_refused_in_one_line(arrays, reason):
    with pytest.raises(InceptiveError, match=reason) as caught:
        inceptive.open_data(arrays)
    assert str(caught.value).isprintable() and "\\n" not in str(caught.value)
