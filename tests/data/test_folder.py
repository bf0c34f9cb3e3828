"""Folders of class folders, in every state that people leave them in."""

import io
import json
import os
import re
import tempfile
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import inceptive
from inceptive.data.folder import read_folder
from inceptive.data.open import open_data
from inceptive.data.scan import as_rows, from_row, scan
from inceptive.data.shards.writing import write_shards
from inceptive.data.source import SplitFractions
from inceptive.errors import InceptiveError
from inceptive.images import Note

BUILTIN_NAMES = ("digits", "fashion-mnist", "cifar10", "solar")


def picture(name, side=24):
    rng = np.random.default_rng(zlib.crc32(os.fsencode(name)))
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def put(root, *names, mode="RGB"):
    """One picture file for each name, each with a picture of its own, in `train` as in `val`."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(f"{root.name}/{name}").convert(mode).save(path)


def fill(root, **counts):
    """Class folders with so many pictures each: fill(root, cat=3) makes cat/0.png to cat/2.png."""
    put(root, *(f"{name}/{k}.png" for name, count in counts.items() for k in range(count)))


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def encoded(name, kind):
    buffer = io.BytesIO()
    picture(name, 64).save(buffer, kind)
    return buffer.getvalue()


def read(root, val=0.15, test=0.15, **options):
    return read_folder(root, SplitFractions(val, test), **options)


def files(data, split):
    return {os.path.relpath(path, data.name) for path in data.splits[split].images.paths.tolist()}


def placed(data):
    """Every file in any split, as often as it occurs."""
    return sorted(
        os.path.relpath(path, data.name)
        for samples in data.splits.values()
        for path in samples.images.paths.tolist()
    )


def labelled(data):
    return {
        os.path.relpath(path, data.name): data.classes[label]
        for samples in data.splits.values()
        for path, label in zip(samples.images.paths.tolist(), samples.labels.tolist(), strict=True)
    }


def refusal(call, *arguments, **options):
    with pytest.raises(InceptiveError) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert message.isprintable(), f"not one line of printable text: {message!r}"
    return message


def note(data, *words):
    """The one note that holds all of `words`."""
    found = [text for text in data.notes if all(word in text for word in words)]
    assert len(found) == 1, f"{len(found)} notes hold {words}: {data.notes}"
    assert found[0].isprintable()
    return found[0]


# -- layouts ------------------------------------------------------------------------------------


def test_class_folders_are_divided_class_by_class(tmp_path):
    fill(tmp_path, dog=20, cat=10)
    data = read(tmp_path, val=0.2, test=0.1)
    assert data.classes == ("cat", "dog")
    assert data.counts("val").tolist() == [2, 4]
    assert data.counts("test").tolist() == [1, 2]
    assert data.counts("train").tolist() == [7, 14]
    assert len(set(placed(data))) == len(placed(data)) == 30
    assert all(Path(name).parts[0] == label for name, label in labelled(data).items())
    assert not data.notes and not data.unreadable


def test_train_val_and_test_folders_are_used_as_they_are(tmp_path):
    fill(tmp_path / "train", cat=3, dog=4)
    fill(tmp_path / "val", cat=2, dog=1)
    fill(tmp_path / "test", cat=1, dog=2)
    data = read(tmp_path)
    for split in ("train", "val", "test"):
        given = {str(path.relative_to(tmp_path)) for path in (tmp_path / split).rglob("*.png")}
        assert files(data, split) == given
    assert data.classes == ("cat", "dog")
    assert data.counts("val").tolist() == [2, 1]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "valid", "test"),
        ("training", "validation", "testing"),
        ("Train", "Val", "Test"),
        ("TRAIN", "VALID", "TEST"),
        ("Training", "Validation", "Testing"),
    ],
)
def test_the_three_parts_go_by_several_names(tmp_path, train, val, test):
    for part in (train, val, test):
        fill(tmp_path / part, a=1, b=1)
    data = read(tmp_path)
    for split, part in (("train", train), ("val", val), ("test", test)):
        assert files(data, split) == {f"{part}/a/0.png", f"{part}/b/0.png"}


def test_what_lacks_for_validation_is_taken_out_of_the_train_folder(tmp_path):
    fill(tmp_path / "train", cat=10, dog=20)
    data = read(tmp_path, val=0.2, test=0.2)
    assert data.counts("val").tolist() == [2, 4]
    assert data.counts("train").tolist() == [8, 16]
    assert not files(data, "test")
    assert not files(data, "train") & files(data, "val")
    assert len(placed(data)) == 30


def test_a_given_test_folder_is_left_alone_when_validation_is_taken_out_of_train(tmp_path):
    fill(tmp_path / "train", cat=10, dog=10)
    fill(tmp_path / "test", cat=2, dog=1)
    data = read(tmp_path, val=0.2, test=0.3)
    assert files(data, "test") == {"test/cat/0.png", "test/cat/1.png", "test/dog/0.png"}
    assert data.counts("val").tolist() == [2, 2]
    assert data.counts("train").tolist() == [8, 8]


def test_a_given_validation_folder_is_used_as_it_is_and_no_test_part_is_made(tmp_path):
    fill(tmp_path / "train", cat=10, dog=10)
    fill(tmp_path / "val", cat=1, dog=1)
    data = read(tmp_path, val=0.4, test=0.4)
    assert files(data, "val") == {"val/cat/0.png", "val/dog/0.png"}
    assert len(files(data, "train")) == 20
    assert not files(data, "test")


def test_a_training_file_that_was_copied_into_the_validation_folder_is_told(tmp_path):
    fill(tmp_path / "train", cat=4, dog=4)
    fill(tmp_path / "val", cat=2, dog=2)
    copied = tmp_path / "val/cat/again.png"
    copied.write_bytes((tmp_path / "train/cat/1.png").read_bytes())
    data = read(tmp_path)
    text = note(data, "more than one side of the split")
    assert str(tmp_path / "train/cat/1.png") in text and str(copied) in text
    assert not files(data, "train") & files(data, "val")
    assert "val/cat/again.png" in files(data, "val")


def test_copies_of_one_picture_stay_on_one_side_of_an_undivided_set(tmp_path):
    fill(tmp_path, cat=12, dog=12)
    for name in ("cat", "dog"):
        for k in range(12):
            original = Image.open(tmp_path / name / f"{k}.png")
            copy = original.resize((48, 48), Image.Resampling.BICUBIC)
            copy.save(tmp_path / name / f"copy{k}.jpg", quality=90)
    data = read(tmp_path, val=0.25, test=0.25)
    for split in ("train", "val", "test"):
        inside = files(data, split)
        assert inside
        originals = {name for name in inside if name.endswith(".png")}
        copies = {name for name in inside if name.endswith(".jpg")}
        assert {f"{Path(n).parent}/copy{Path(n).stem}.jpg" for n in originals} == copies
    note(data, "copies or near-copies of other images: 24")


def test_a_train_folder_is_required_where_there_are_val_and_test(tmp_path):
    fill(tmp_path / "val", cat=1, dog=1)
    fill(tmp_path / "test", cat=1, dog=1)
    message = refusal(read, tmp_path)
    assert "no train folder" in message and "test, val" in message


def test_a_class_that_validation_lacks_is_told(tmp_path):
    fill(tmp_path / "train", cat=2, dog=2, owl=2)
    fill(tmp_path / "val", cat=1)
    assert "no image of dog, owl in val" in read(tmp_path).notes


def test_a_class_that_was_never_trained_on_cannot_be_validated(tmp_path):
    fill(tmp_path / "train", cat=2, dog=2)
    fill(tmp_path / "val", cat=1, dog=1, lynx=1)
    message = refusal(read, tmp_path)
    assert "lynx" in message and "dog" not in message


def test_part_folders_beside_another_folder_are_not_quietly_taken_for_classes(tmp_path):
    fill(tmp_path / "train", cat=3, dog=3)
    fill(tmp_path / "val", cat=1, dog=1)
    put(tmp_path, "unlabelled/0.png")
    try:
        data = read(tmp_path)
    except InceptiveError as error:
        assert "unlabelled" in str(error)
    else:
        assert data.classes == ("cat", "dog")
        note(data, "unlabelled")


def test_trains_are_a_class_among_vehicles(tmp_path):
    fill(tmp_path, train=4, bus=4, tram=4)
    data = read(tmp_path, val=0, test=0)
    assert data.classes == ("bus", "train", "tram")
    assert data.counts("train").tolist() == [4, 4, 4]


# -- the same content, the same side ---------------------------------------------------------------


def test_the_same_file_lands_on_the_same_side_whatever_its_name(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    fill(one, cat=15, dog=15)
    for path in sorted(one.rglob("*.png")):
        new = other / path.parent.name / "deeper" / f"{zlib.crc32(path.read_bytes()):08x}.PNG"
        write(new, path.read_bytes())

    def sides(root):
        data = read(root, val=0.2, test=0.2)
        return {
            Path(path).read_bytes(): split
            for split, samples in data.splits.items()
            for path in samples.images.paths.tolist()
        }

    first = sides(one)
    assert len(first) == 30 and sides(other) == first
    assert sorted(first.values()).count("val") == 6


def test_reading_twice_gives_the_same_set(tmp_path):
    fill(tmp_path, cat=9, dog=9)
    first, again = read(tmp_path), read(tmp_path)
    for split in ("train", "val", "test"):
        assert (
            first.splits[split].images.paths.tolist() == again.splits[split].images.paths.tolist()
        )
        assert first.splits[split].labels.tolist() == again.splits[split].labels.tolist()


# -- what is left out ------------------------------------------------------------------------------


def test_hidden_files_and_folders_are_left_out(tmp_path):
    fill(tmp_path, cat=3, dog=3)
    put(
        tmp_path,
        ".ipynb_checkpoints/0.png",
        "cat/.ipynb_checkpoints/0.png",
        "cat/.0.png",
        "cat/._0.png",
        "__MACOSX/cat/0.png",
        "dog/__MACOSX/0.png",
        ".hidden.png",
    )
    write(tmp_path / "cat/Thumbs.db", b"x")
    write(tmp_path / "cat/.DS_Store", b"x")
    data = read(tmp_path)
    assert data.classes == ("cat", "dog")
    assert placed(data) == sorted(f"{name}/{k}.png" for name in ("cat", "dog") for k in range(3))
    (note,) = data.notes
    assert note.startswith("2 images lie in folders of the system") and "__MACOSX" in note


def test_hidden_folders_do_not_hide_the_train_folder(tmp_path):
    fill(tmp_path / "train", cat=3, dog=3)
    fill(tmp_path / "val", cat=1, dog=1)
    put(tmp_path, ".ipynb_checkpoints/0.png", "__MACOSX/train/cat/0.png")
    assert read(tmp_path).classes == ("cat", "dog")


def test_an_empty_class_folder_is_told(tmp_path):
    fill(tmp_path, cat=3, dog=3)
    (tmp_path / "emu/inside").mkdir(parents=True)
    data = read(tmp_path)
    assert data.classes == ("cat", "dog")
    assert "empty" in note(data, str(tmp_path / "emu"))


def test_a_class_without_a_readable_image_is_told(tmp_path):
    fill(tmp_path, cat=3, dog=3)
    write(tmp_path / "emu/0.jpg", b"")
    data = read(tmp_path)
    assert data.classes == ("cat", "dog")
    note(data, "class emu has no readable image")
    assert len(data.unreadable) == 1


@pytest.mark.parametrize(
    ("loose", "parts"),
    [("loose.png", [""]), ("train/loose.png", ["train", "val"]), ("loose.png", ["train", "val"])],
    ids=["beside the classes", "in the train folder", "beside the train folder"],
)
def test_loose_images_are_told(tmp_path, loose, parts):
    for part in parts:
        fill(tmp_path / part, cat=2, dog=2)
    put(tmp_path, loose)
    data = read(tmp_path)
    note(data, "1 image", "outside any class folder", "loose.png")
    assert loose not in placed(data)


def test_files_that_are_not_named_as_images_are_told(tmp_path):
    fill(tmp_path, cat=3, dog=3)
    write(tmp_path / "cat/labels.csv", b"a,b")
    write(tmp_path / "cat/raw/photo.nef", b"x")
    data = read(tmp_path)
    text = note(data, "2 files", str(tmp_path / "cat"))
    assert "labels.csv" in text
    assert len(placed(data)) == 6


DAMAGED = {
    "empty.png": (b"", "is empty"),
    "zeros.png": (bytes(5000), "is not an image"),
    "text.jpg": (b"sorry, no photograph here", "it holds text"),
    "page.jpg": (b"<!DOCTYPE html><html>404</html>", "it holds HTML"),
    "cut.png": (encoded("cut", "PNG")[:2000], "truncated or damaged"),
    "cut.jpg": (encoded("cut", "JPEG")[:900], "truncated or damaged"),
    "head.jpg": (encoded("cut", "JPEG")[:30], ""),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_cannot_be_read_is_named_with_the_reason_and_left_out(tmp_path, name):
    content, reason = DAMAGED[name]
    fill(tmp_path, cat=3, dog=3)
    write(tmp_path / "dog" / name, content)
    data = read(tmp_path)
    (text,) = data.unreadable
    assert text.startswith(f"{tmp_path / 'dog' / name}: ") and reason in text
    assert f"dog/{name}" not in placed(data)
    assert len(placed(data)) == 6
    message = refusal(read, tmp_path, strict=True)
    assert "1 of 7 files" in message and text in message


def test_a_strict_reading_of_a_sound_folder_is_the_same(tmp_path):
    fill(tmp_path, cat=3, dog=3)
    assert placed(read(tmp_path, strict=True)) == placed(read(tmp_path))


def test_a_broken_link_is_an_unreadable_file(tmp_path):
    fill(tmp_path, cat=3, dog=3)
    (tmp_path / "cat/gone.png").symlink_to(tmp_path / "nowhere.png")
    (text,) = read(tmp_path).unreadable
    assert "gone.png: cannot be read" in text


def test_a_class_folder_that_is_a_broken_link_is_told(tmp_path):
    fill(tmp_path, cat=3, dog=3)
    (tmp_path / "emu").symlink_to(tmp_path / "nowhere")
    note(read(tmp_path), str(tmp_path / "emu"))


def test_a_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    fill(tmp_path, cat=3, dog=3)
    put(tmp_path, "cat/private/0.png")
    scandir = os.scandir

    def refusing(path="."):
        if str(path).endswith("private"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    try:
        data = read(tmp_path)
    except InceptiveError as error:
        assert "private" in str(error)
    else:
        assert any("private" in text for text in data.notes + data.unreadable)


def test_no_image_vanishes_without_a_word(tmp_path):
    fill(tmp_path, cat=6, dog=6)
    put(tmp_path, "dog/a/b/c/1.jpg", "dog/a/2.WEBP", "cat/one/3.bmp", "cat/two/3.gif", "cat/4.TIF")
    for name, (content, _) in DAMAGED.items():
        write(tmp_path / "cat/bad" / name, content)
    write(tmp_path / "dog/twin.png", (tmp_path / "dog/0.png").read_bytes())
    write(tmp_path / "cat/twin.png", (tmp_path / "dog/0.png").read_bytes())
    write(tmp_path / "dog/readme.txt", b"no image")
    data = read(tmp_path, val=0.3, test=0.3)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".txt"]
    assert len(written) == 12 + 5 + 7 + 2
    assert len(placed(data)) + len(data.unreadable) == len(written)
    assert len(set(placed(data))) == len(placed(data))
    assert sum(data.counts(split).sum() for split in data.splits) == len(placed(data))


# -- nesting and links -----------------------------------------------------------------------------


def test_nested_folders_belong_to_the_topmost_class(tmp_path):
    put(tmp_path, "cat/old/2019/1.png", "cat/2.png", "dog/cat/3.png", "dog/train/4.png")
    data = read(tmp_path, val=0, test=0)
    assert labelled(data) == {
        "cat/old/2019/1.png": "cat",
        "cat/2.png": "cat",
        "dog/cat/3.png": "dog",
        "dog/train/4.png": "dog",
    }


@pytest.mark.parametrize(
    ("link", "target"),
    [("cat/loop", "cat"), ("cat/a/loop", "cat"), ("cat/a/loop", "cat/a"), ("cat/loop", "."),
     ("loop", ".")],
)  # fmt: skip
def test_a_loop_of_links_ends_and_no_image_is_counted_twice(tmp_path, link, target):
    fill(tmp_path, cat=3, dog=3)
    put(tmp_path, "cat/a/0.png")
    (tmp_path / link).symlink_to(tmp_path / target, target_is_directory=True)
    data = read(tmp_path, val=0, test=0)
    real = sorted(os.path.realpath(path) for path in data.splits["train"].images.paths.tolist())
    assert real == sorted(str(path.resolve()) for path in tmp_path.rglob("*.png"))
    assert data.classes == ("cat", "dog")


def test_class_folders_and_files_may_be_links_to_elsewhere(tmp_path):
    root, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    fill(root, cat=2)
    put(elsewhere, "dogs/0.png", "dogs/1.png", "cats/0.png", "one.png")
    (root / "dog").symlink_to(elsewhere / "dogs", target_is_directory=True)
    (root / "cat/linked.png").symlink_to(elsewhere / "one.png")
    (root / "cat/more").symlink_to(elsewhere / "cats", target_is_directory=True)
    assert labelled(read(root, val=0, test=0)) == {
        "cat/0.png": "cat",
        "cat/1.png": "cat",
        "cat/linked.png": "cat",
        "cat/more/0.png": "cat",
        "dog/0.png": "dog",
        "dog/1.png": "dog",
    }


# -- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["猫", "قطة", "בית", "кошка", "बिल्ली", "🐈‍⬛", "가방", "a b", "it's \"one\"", "-rf", "#1 50%",
     "x.jpg", "[a]*?", "~", "0", "CON"],
)  # fmt: skip
def test_a_class_and_its_files_may_have_any_name(tmp_path, name):
    put(tmp_path, *(f"{name}/{name} {k}.png" for k in range(4)), "other/0.png", "other/1.png")
    data = read(tmp_path, test=0)
    assert set(data.classes) == {name, "other"}
    assert {path for path, label in labelled(data).items() if label == name} == {
        f"{name}/{name} {k}.png" for k in range(4)
    }
    assert all(Path(path).is_file() for path in data.split("all").images.paths.tolist())


def test_the_two_forms_of_an_accented_name_are_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Éléphant") for form in ("NFC", "NFD"))
    assert composed != decomposed
    put(tmp_path / "train", f"{decomposed}/0.png", f"{decomposed}/1.png", "owl/0.png")
    put(tmp_path / "val", f"{composed}/0.png", "owl/1.png")
    data = read(tmp_path)
    assert data.classes == ("owl", composed)
    assert data.counts("train").tolist() == [1, 2]
    assert data.counts("val").tolist() == [1, 1]


def test_both_forms_of_an_accented_name_beside_each_other_are_one_class(tmp_path):
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    put(tmp_path, *(f"{name}/{k}.png" for name in names for k in range(2)), "tea/0.png")
    data = read(tmp_path, val=0, test=0)
    assert data.classes == (names[0], "tea")
    assert data.counts("train").tolist() == [4, 1]


@pytest.mark.parametrize(
    "names", [("Cat", "cat"), ("cat ", "cat"), ("red fox", "red_fox"), ("Red-Fox", "red fox")]
)
def test_classes_that_may_be_one_are_named(tmp_path, names):
    fill(tmp_path, **dict.fromkeys([*names, "-1", "1"], 9))
    [note] = [note for note in read(tmp_path).notes if "differ in capitals" in note]
    assert all(f"'{name}'" in note for name in names) and "1" not in note


def test_names_that_are_no_text_at_all_are_read(tmp_path):
    fill(tmp_path, cat=2)
    odd = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(odd)
    for k in range(2):
        with open(odd + b"/\xff%d.png" % k, "wb") as file:
            file.write(encoded(f"odd{k}", "PNG"))
    with open(odd + b"/\xfe.png", "wb") as file:
        file.write(b"")
    data = read(tmp_path, val=0, test=0)
    assert data.counts("train").tolist() == [2, 2]
    assert all(Path(path).is_file() for path in data.splits["train"].images.paths.tolist())
    assert data.unreadable[0].isprintable()


def test_line_breaks_and_escapes_in_names_are_printed_escaped(tmp_path):
    name = "a\nb\x1b[31m"
    shown = "a\\nb\\x1b[31m"
    fill(tmp_path, cat=3, dog=3)
    put(tmp_path, f"{name}.png", "cat/" + name + "2.png")
    write(tmp_path / "cat" / f"{name}.jpg", b"")
    write(tmp_path / "cat" / f"{name}.txt", b"")
    write(tmp_path / "dog/same.png", (tmp_path / f"cat/{name}2.png").read_bytes())
    (tmp_path / name).mkdir()
    data = read(tmp_path)
    assert len(data.notes) >= 5 and all(text.isprintable() for text in data.notes)
    note(data, "outside any class folder", f"{shown}.png")
    note(data, "not named as images", f"{shown}.txt")
    note(data, "is empty", shown)
    note(data, "more than one class", f"{shown}2.png")
    (text,) = data.unreadable
    assert text.isprintable() and f"{shown}.jpg: is empty" in text
    assert f"{shown}.jpg" in refusal(read, tmp_path, strict=True)


def test_line_breaks_in_the_names_of_classes_are_printed_escaped(tmp_path):
    fill(tmp_path / "train", cat=2, dog=2)
    put(tmp_path / "val", "cat/0.png", "ly\nnx/0.png")
    assert "ly\\nnx can be tested" in refusal(read, tmp_path)
    put(tmp_path / "train", "ly\nnx/0.png", "o\nwl/0.png")
    assert any("o\\nwl in val" in text for text in read(tmp_path).notes)


def test_line_breaks_in_the_name_of_the_folder_are_printed_escaped(tmp_path):
    root = tmp_path / "my\nphotos"
    put(root, "0.png")
    assert "my\\nphotos" in refusal(read, root)
    fill(root, cat=2, dog=2)
    assert "my\\nphotos" in refusal(read(root, test=0).split, "test")


# -- colour ------------------------------------------------------------------------------------------


def test_a_folder_of_grey_pictures_has_one_channel(tmp_path):
    put(tmp_path, "cat/0.png", "dog/0.png", "dog/1.jpg", mode="L")
    grey = picture("grey").convert("L").convert("RGB")
    grey.save(tmp_path / "cat/grey stored as colour.png")
    grey.save(tmp_path / "cat/grey stored as colour.jpg")
    assert read(tmp_path).channels == 1


def test_one_picture_with_a_spot_of_colour_makes_three_channels(tmp_path):
    put(tmp_path, *(f"{name}/{k}.png" for name in ("cat", "dog") for k in range(5)), mode="L")
    spotted = picture("spotted", 96).convert("L").convert("RGB")
    spotted.paste((255, 0, 0), (10, 10, 16, 16))
    spotted.save(tmp_path / "dog/spotted.png")
    assert read(tmp_path).channels == 3


# -- copies -------------------------------------------------------------------------------------------


def test_one_picture_under_two_classes_is_told_with_both_names(tmp_path):
    fill(tmp_path, cat=4, dog=4)
    write(tmp_path / "dog/really a cat.png", (tmp_path / "cat/2.png").read_bytes())
    data = read(tmp_path)
    text = note(data, "more than one class")
    assert str(tmp_path / "cat/2.png") in text
    assert str(tmp_path / "dog/really a cat.png") in text
    assert len(placed(data)) == 9


def test_pictures_that_all_differ_need_no_note(tmp_path):
    fill(tmp_path, cat=12, dog=12)
    assert read(tmp_path).notes == ()


# -- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unreadable", [(), ("dog/0.png",)])
def test_a_single_class_is_not_learned(tmp_path, unreadable):
    fill(tmp_path / "data", cat=5)
    for name in unreadable:
        write(tmp_path / "data" / name, b"")
    with pytest.raises(InceptiveError, match=r"data: .*two classes or more .*; found cat$"):
        inceptive.train(tmp_path / "data", out=tmp_path / "out", weights="none", progress=None)
    with pytest.raises(InceptiveError, match=r"two classes or more"):
        write_shards(read(tmp_path / "data"), tmp_path / "shards")


def test_classes_without_a_readable_image_are_refused(tmp_path):
    write(tmp_path / "cat/0.png", b"")
    assert "no image in its class folders can be read" in refusal(read, tmp_path)


@pytest.mark.parametrize("inside", [[], ["cat", "dog"], ["train/cat", "val/dog"]])
def test_a_folder_without_images_is_refused(tmp_path, inside):
    for name in inside:
        (tmp_path / name).mkdir(parents=True)
    message = refusal(read, tmp_path)
    assert str(tmp_path) in message and "no images in class folders" in message


def test_images_without_class_folders_are_refused(tmp_path):
    put(tmp_path, "0.png", "1.png")
    assert "one folder for each class" in refusal(read, tmp_path)


def test_a_file_or_nothing_in_place_of_a_folder_is_refused(tmp_path):
    put(tmp_path, "photo.png")
    for name in ("photo.png", "nothing"):
        assert str(tmp_path / name) in refusal(read, tmp_path / name)


def test_a_set_too_small_to_divide_is_said_to_be(tmp_path):
    fill(tmp_path, cat=1, dog=2)
    data = read(tmp_path)
    assert refusal(data.split, "val") == (
        f"{tmp_path} has no val split: 3 images of 2 classes are too few to divide; add images, or give "
        "val/ beside train/ yourself; it has: train"
    )
    assert refusal(data.split, "nope") == f"{tmp_path} has no nope split; it has: train"
    fill(tmp_path, dog=3)
    assert len(read(tmp_path).split("val")) == 1


def test_a_split_that_is_not_there_is_refused_and_those_there_are_named(tmp_path):
    fill(tmp_path / "train", cat=5, dog=5)
    data = read(tmp_path)
    for name in ("nope", "test", "", "Train"):
        message = refusal(data.split, name)
        assert message == f"{tmp_path} has no {name} split; it has: train, val"
    assert len(data.split("train")) == 8 and len(data.split("val")) == 2
    assert sorted(data.split("all").images.paths.tolist()) == sorted(
        map(str, tmp_path.rglob("*.png"))
    )


def test_progress_is_told_up_to_the_last_file(tmp_path):
    fill(tmp_path, cat=4, dog=3)
    told = []
    read(tmp_path, advance=lambda done, total: told.append((done, total)))
    assert told == [(k, 7) for k in range(1, 8)]


# -- open_data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no-such-set", "/no/such/folder", "digit", "Digits ", "mnist:a"])
def test_a_name_that_is_nothing_is_refused_and_the_built_in_sets_are_named(
    tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    message = refusal(open_data, name)
    assert message.startswith(f"{name}: ")
    assert all(builtin in message for builtin in BUILTIN_NAMES)


def test_a_file_in_place_of_a_set_is_refused(tmp_path):
    put(tmp_path, "photo.png")
    message = refusal(open_data, str(tmp_path / "photo.png"))
    assert "is a file" in message and "digits" in message


@pytest.mark.parametrize("name", ["no\nsuch\x1b[31m", "~no-such-user-1/photos", "x" * 5000, "a\0b"])
def test_the_oddest_name_is_refused_in_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    refusal(open_data, name)


def test_a_folder_comes_before_a_built_in_set_of_its_name(tmp_path, monkeypatch):
    fill(tmp_path / "digits", cat=3, dog=3)
    monkeypatch.chdir(tmp_path)
    assert open_data("digits").classes == ("cat", "dog")


def test_a_tilde_stands_for_the_home_folder(tmp_path, monkeypatch):
    fill(tmp_path / "photos", cat=3, dog=3)
    monkeypatch.setenv("HOME", str(tmp_path))
    data = open_data("~/photos", SplitFractions(0, 0))
    assert sorted(data.split("all").images.paths.tolist()) == sorted(
        map(str, tmp_path.rglob("*.png"))
    )


def test_open_data_passes_shares_and_strictness_on(tmp_path):
    fill(tmp_path, cat=10, dog=10)
    data = open_data(str(tmp_path), SplitFractions(0.3, 0.1))
    assert data.counts("val").tolist() == [3, 3] and data.counts("test").tolist() == [1, 1]
    write(tmp_path / "cat/empty.png", b"")
    assert "1 of 21 files" in refusal(open_data, str(tmp_path), strict=True)


def test_pictures_that_are_odd_are_noted_with_an_example(tmp_path):
    fill(tmp_path, cat=4, dog=4)
    logo = Image.new("LA", (20, 20), (255, 0))
    for k in range(3):
        logo.paste((255, 255), (5, 5, 15 + k, 15))
        logo.save(tmp_path / f"dog/logo {k}.png")
    picture("odd").save(tmp_path / "cat/odd.png", icc_profile=b"no profile")
    assert note(read(tmp_path), "flat").startswith(f"{tmp_path}/dog/logo 0.png and 2 more: ")
    assert note(read(tmp_path), "profile").startswith(f"{tmp_path}/cat/odd.png: the colour profile")
    row = as_rows([scan(str(tmp_path / "cat/odd.png"))])[0]
    assert from_row("", row).notes == {Note.PROFILE}  # as the cache keeps it


def test_rarer_formats_are_images_of_their_class(tmp_path):
    names = [f"{kind}/{k}{end}" for kind in ("cat", "dog") for k in range(2)
             for end in (".jp2", ".j2k", ".tga", ".ico")]  # fmt: skip
    put(tmp_path, *names)
    data = read(tmp_path)
    assert placed(data) == sorted(names) and not data.unreadable


LAYOUTS = {
    "twice": ("training_set/training_set/{}", "test_set/test_set/{}"),
    "prefix": ("seg_train/seg_train/{}", "seg_test/seg_test/{}"),
    "suffix": ("archive/data/train_images/{}", "archive/data/test_images/{}"),
    "one word": ("trainset/{}", "testset/{}"),
    "numbered": ("train/{}", "test1/{}"),
    "inside the class": ("{}/train", "{}/test"),
}


@pytest.mark.parametrize("train, test", LAYOUTS.values(), ids=LAYOUTS)
def test_splits_that_archives_call_otherwise_are_used_as_they_are(tmp_path, train, test):
    for layout, count in ((train, 4), (test, 2)):
        for name in ("cat", "dog"):
            put(tmp_path, *(f"{layout.format(name)}/{k}.png" for k in range(count)))
    data = read(tmp_path, val=0)
    assert data.classes == ("cat", "dog") and not data.divided
    for split, layout, count in (("train", train, 4), ("test", test, 2)):
        expected = {f"{layout.format(c)}/{k}.png" for c in ("cat", "dog") for k in range(count)}
        assert files(data, split) == expected


def test_splits_inside_some_classes_only_are_refused(tmp_path):
    """Divided anew, what somebody kept to test with would be learned."""
    put(tmp_path, *(f"cat/{s}/{k}.png" for s in ("train", "test") for k in range(3)))
    fill(tmp_path, dog=3)
    message = refusal(read, tmp_path)
    assert "dog/0.png" in message and "put every image into one of them" in message


@pytest.mark.parametrize("classes", [("train_station", "bus_station"), ("test_tube", "train_tube")])
def test_classes_whose_names_hold_the_word_of_a_split_stay_classes(tmp_path, classes):
    fill(tmp_path, **dict.fromkeys(classes, 3))
    assert read(tmp_path).classes == tuple(sorted(classes))


def test_unlabelled_folders_beside_train_are_named(tmp_path):
    put(
        tmp_path,
        *(f"seg_{s}/{c}/{k}.png" for s in ("train", "test") for c in "ab" for k in range(2)),
    )
    put(tmp_path, "seg_pred/1.png")
    data = read(tmp_path)
    assert data.classes == ("a", "b") and any("seg_pred" in note for note in data.notes)


def test_folders_in_class_folders_are_named_since_they_may_be_the_classes(tmp_path):
    classes = "a/airfield", "a/alley", "b/bar", "b/cave", "cats"  # Places365's, and one of its own
    put(tmp_path, *(f"train/{name}/{k}.png" for name in classes for k in range(3)))
    put(tmp_path, *(f"val/{name}/{k}.png" for name in classes for k in range(3, 5)))
    data = read(tmp_path)
    assert data.classes == ("a", "b", "cats")
    told = note(data, "2 of 3 class folders hold their images in further folders", "move them up")
    assert "a/airfield" in told and "all in a are one class" in told


def test_a_further_folder_is_named_as_it_is_and_two_train_folders_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, *(f"in/{c}/{k}/0.png" for c in ("animals", "plants") for k in "abc"))
    [note] = [note for note in read(Path("in"), val=0).notes if "in further folders" in note]
    assert f"such as {Path('in/animals/a')}," in note
    put(
        tmp_path,
        *(f"of/{s}/{c}/{s}.png" for s in ("train1", "train2", "test1") for c in ("a", "b")),
    )
    assert not any("in further folders" in note for note in read(Path("of"), val=0).notes)


@pytest.mark.parametrize("names", [
    ("cat/1", "cat/blurred/2", "dog/1", "dog/blurred/2"),
    ("cat/images/1", "cat/images/2", "dog/images/1", "dog/2"),
    ("cat/train/1", "cat/test/1", "dog/train/1", "dog/test/1"),
])  # fmt: skip
def test_other_folders_in_class_folders_are_not_worth_a_word(tmp_path, names):
    put(tmp_path, *(f"{name}.png" for name in names))
    assert not [text for text in read(tmp_path).notes if "further folders" in text]


def listed(root, text, *names, encoding="utf-8"):
    put(root, *names)
    (root / "labels.csv").write_text(text, encoding=encoding)


def test_a_list_that_contradicts_the_folders_is_named(tmp_path):
    listed(tmp_path, "file,label\na/1.png,rose\na/2.png,oak\nb/1.png,rose\nb/2.png,b\n",
           "a/1.png", "a/2.png", "b/1.png", "b/2.png")  # fmt: skip
    data = read(tmp_path)
    assert data.classes == ("a", "b")
    assert "a/1.png is rose there" in note(data, "3 images have another label in a list")


def test_a_list_in_a_train_folder_that_contradicts_its_folders_is_named(tmp_path):
    listed(tmp_path / "train", "file,label\na/1.png,rose\nb/1.png,b\n", "a/1.png", "b/1.png")
    put(tmp_path, "test/a/2.png", "test/b/2.png")
    assert "a/1.png is rose there" in note(read(tmp_path), "1 images have another label in a list")


def test_a_list_that_says_what_the_folders_say_is_not_worth_a_word(tmp_path):
    listed(tmp_path, "file,label\na/1.png,a\nb/1.png,b\n", "a/1.png", "b/1.png")
    assert not [text for text in read(tmp_path).notes if "list" in text]


@pytest.mark.parametrize("way", ["x\\{}", "{root}/x/{}", "./x/{}", "{}"])
def test_files_are_named_in_a_list_as_systems_write_them(tmp_path, way):
    names = [f"{k}.png" for k in range(4)]
    rows = "".join(
        f"{way.format(name, root=tmp_path)},{'ab'[k % 2]}\n" for k, name in enumerate(names)
    )
    listed(tmp_path, "file,label\n" + rows, *(f"x/{name}" for name in names))
    data = read(tmp_path)
    assert data.classes == ("a", "b") and len(placed(data)) == 4


def test_a_list_without_header_keeps_its_first_row(tmp_path):
    listed(tmp_path, "0.png,oak\n1.png,rose\n2.png,oak\n", *(f"x/{k}.png" for k in range(3)))
    data = read(tmp_path)
    assert labelled(data) == {"x/0.png": "oak", "x/1.png": "rose", "x/2.png": "oak"}
    assert not [text for text in data.notes if "left out" in text]


def test_a_list_of_excel_is_read_and_another_encoding_is_refused_in_words(tmp_path):
    text = "file\tlabel\n0.png\tKöln\n1.png\tUlm\n"
    listed(tmp_path, text, "x/0.png", "x/1.png", encoding="utf-16")
    assert read(tmp_path).classes == ("Köln", "Ulm")
    (tmp_path / "labels.csv").write_text(text, encoding="cp1252")
    assert "its text is not UTF-8; save it as UTF-8" in refusal(read, tmp_path)


def test_a_list_that_names_no_image_is_named(tmp_path):
    listed(tmp_path, "file,label\nC:\\a\\0.png,oak\nC:\\a\\1.png,rose\n", "x/0.png", "x/1.png")
    assert note(read(tmp_path), "labels.csv", "names none of its images")


def test_files_named_by_their_class_are_refused_with_what_to_do(tmp_path):
    put(tmp_path, "train/cat.0.png", "train/dog.0.png", "test1/1.png")
    refused = refusal(read, tmp_path)
    assert "2 images lie in" in refused and "train/cat/" in refused


JUNK = (
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "lost+found",
    "System Volume Information",
    "runs/a",
    "out",
)


@pytest.mark.parametrize("place", ["", "cat/", "train/", "train/cat/"])
def test_what_systems_and_this_program_leave_is_never_data(tmp_path, place):
    root = "train/" if place.startswith("train") else ""
    put(tmp_path, *(f"{root}{c}/{k}.png" for c in ("cat", "dog") for k in range(3)))
    put(tmp_path, *(f"{place}{name}/x.png" for name in JUNK))
    write(tmp_path / place / "runs/a/model.safetensors", b"")
    write(tmp_path / place / "runs/a/config.json", b"{}")
    write(tmp_path / place / "out/.inceptive", b"")
    data = read(tmp_path)
    assert data.classes == ("cat", "dog") and len(placed(data)) == 6
    assert [note for note in data.notes if note.startswith(f"{len(JUNK)} images lie in")]


NAMES = [f"{k:02}.png" for k in range(8)]
COCO = {
    "images": [{"id": k, "file_name": name} for k, name in enumerate(NAMES)],
    "annotations": [{"image_id": k, "category_id": k % 2} for k in range(8)],
    "categories": [{"id": 1, "name": "cat"}, {"id": 0, "name": "dog"}],
}
PAIRS = [(name, "cat" if k % 2 else "dog") for k, name in enumerate(NAMES)]
LISTS = {
    "labels.csv": "id,label\n" + "".join(f"{n[:2]},{c}\n" for n, c in PAIRS),
    "labels.tsv": "a\tb\n" + "".join(f"images/{n}\t{c}\n" for n, c in PAIRS),
    "labels.json": json.dumps(dict(PAIRS)),
    "rows.json": json.dumps([{"file": n, "class": c} for n, c in PAIRS]),
    "coco.json": json.dumps(COCO),
    "_classes.csv": "filename, cat, dog\n"
    + "".join(f"{n}, {int(c == 'cat')}, {int(c == 'dog')}\n" for n, c in PAIRS),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_labels_takes_the_place_of_class_folders(tmp_path, name):
    put(tmp_path, *(f"images/{n}" for n in NAMES), "images/extra.png")
    (tmp_path / name).write_text(LISTS[name])
    data = read(tmp_path)
    assert labelled(data) == {f"images/{n}": c for n, c in PAIRS}
    assert any(note.startswith("1 images are not in") and "extra" in note for note in data.notes)


def coco(names):
    return json.dumps(COCO | {"images": [{"id": k, "file_name": n} for k, n in names]})


@pytest.mark.parametrize("place", ["", "annotations"])
def test_a_division_as_coco_has_it_is_kept(tmp_path, place):
    """They were one set, divided anew, or two classes called like the folders."""
    named = list(enumerate(NAMES))
    put(tmp_path, *(f"train2017/{n}" for n in NAMES[:6]), *(f"val2017/{n}" for n in NAMES[6:]))
    (tmp_path / place).mkdir(exist_ok=True)
    for split, some in (("train", named[:6]), ("val", named[6:])):
        (tmp_path / place / f"instances_{split}2017.json").write_text(coco(some))
    data = read(tmp_path, val=0)
    assert data.classes == ("cat", "dog")
    assert files(data, "val") == {f"val2017/{n}" for n in NAMES[6:]}
    assert files(data, "train") == {f"train2017/{n}" for n in NAMES[:6]}


def test_rows_in_json_may_begin_with_one_that_tells_less(tmp_path):
    put(tmp_path, *NAMES)
    rows = [
        {"file": n, "label": c} | ({"split": "test"} if k > 5 else {})
        for k, (n, c) in enumerate(PAIRS)
    ]
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    assert files(read(tmp_path, val=0), "test") == set(NAMES[6:])


@pytest.mark.parametrize("first", ["", "id", "Unnamed: 0"])
def test_a_column_of_numbers_is_not_taken_for_files_that_are_named_by_number(tmp_path, first):
    """A shuffled table written with its index named other images: 43 of 72 labels were wrong."""
    names = [f"{k}.png" for k in (3, 0, 7, 1, 5, 2, 6, 4)]
    put(tmp_path, *names)
    kinds = ["cat" if k % 3 else "dog" for k in range(8)]
    rows = [f"{k},{n},{c}" for k, (n, c) in enumerate(zip(names, kinds, strict=True))]
    (tmp_path / "labels.csv").write_text("\n".join([f"{first},file,label", *rows]))
    assert labelled(read(tmp_path)) == dict(zip(names, kinds, strict=True))


def test_numbers_without_suffix_name_files_unless_two_columns_do(tmp_path):
    put(tmp_path, *(f"{k}.png" for k in range(8)))
    rows = [f"{k},{k % 2}" for k in range(8)]
    (tmp_path / "labels.csv").write_text("\n".join(["id,label", *rows]))
    assert labelled(read(tmp_path)) == {f"{k}.png": str(k % 2) for k in range(8)}
    rows = [f"{k},{7 - k},{k % 2}" for k in range(8)]
    (tmp_path / "labels.csv").write_text("\n".join(["row,id,label", *rows]))
    assert "labels.csv: row and id both name images" in refusal(read, tmp_path)


@pytest.mark.parametrize("column", ["Split", "set", "Subset"])
def test_a_division_is_kept_however_its_column_is_called(tmp_path, column):
    put(tmp_path, *NAMES)
    rows = [f"{n},{c},{'Test' if k > 5 else 'train'}" for k, (n, c) in enumerate(PAIRS)]
    (tmp_path / "labels.csv").write_text("\n".join([f"file,label,{column}", *rows]))
    assert files(read(tmp_path, val=0), "test") == set(NAMES[6:])


@pytest.mark.parametrize("way", ["labels_{}.csv", "{}_labels.csv", "my-{}.csv"])
def test_a_division_by_the_names_of_lists_is_kept(tmp_path, way):
    put(tmp_path, *NAMES)
    for split, pairs in (("train", PAIRS[:6]), ("test", PAIRS[6:])):
        text = "".join(f"{n},{c}\n" for n, c in pairs)
        (tmp_path / way.format(split)).write_text("file,label\n" + text)
    assert files(read(tmp_path, val=0), "test") == set(NAMES[6:])


def test_numbers_in_json_are_labels_and_nothing_is_none(tmp_path):
    put(tmp_path, *NAMES)
    floats = [{"file": n, "label": float(k % 2)} for k, n in enumerate(NAMES)]
    (tmp_path / "labels.json").write_text(json.dumps(floats))
    assert set(labelled(read(tmp_path)).values()) == {"0", "1"}
    (tmp_path / "labels.json").write_text(json.dumps({n: [c] for n, c in PAIRS}))
    assert labelled(read(tmp_path)) == dict(PAIRS)
    (tmp_path / "labels.json").write_text(
        json.dumps([*floats[:7], {"file": NAMES[7], "label": None}])
    )
    assert "row 8 has no label" in refusal(read, tmp_path)
    (tmp_path / "labels.json").write_text(json.dumps(dict(PAIRS) | {NAMES[7]: ["cat", "dog"]}))
    assert "row 8 has no single label" in refusal(read, tmp_path)


ANSWERS = "image,label,prob\n" + "".join(f"{n},{c},0.9\n" for n, c in PAIRS)


def test_answers_of_a_model_are_no_labels(tmp_path):
    put(tmp_path, *NAMES)
    (tmp_path / "answers.csv").write_text(ANSWERS)
    assert "holds no images in class folders" in refusal(read, tmp_path)
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{n},{n[:2]}\n" for n in NAMES))
    data = read(tmp_path)
    assert len(data.classes) == 8
    assert "answers.csv holds answers of a model, no labels: left out" in data.notes


def test_a_table_of_something_else_does_not_hide_the_labels(tmp_path):
    put(tmp_path, *NAMES)
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{n},{c}\n" for n, c in PAIRS))
    (tmp_path / "sizes.csv").write_text(
        "file,width,height\n" + "".join(f"{n},9,8\n" for n in NAMES)
    )
    data = read(tmp_path)
    assert labelled(data) == dict(PAIRS)
    note(data, "not used as a list of labels", "sizes.csv")


def test_a_table_of_pairs_does_not_hide_the_labels(tmp_path):
    put(tmp_path, *NAMES)
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{n},{c}\n" for n, c in PAIRS))
    pairs = "".join(f"{n},{m}\n" for n, m in zip(NAMES, NAMES[::-1], strict=True))
    (tmp_path / "pairs.csv").write_text("first,second\n" + pairs)
    data = read(tmp_path)
    assert labelled(data) == dict(PAIRS)
    note(data, "not used as a list of labels", "pairs.csv")


def test_a_single_list_of_a_test_set_is_all_there_is_to_learn_from(tmp_path):
    put(tmp_path, *NAMES)
    (tmp_path / "test_labels.csv").write_text(
        "".join(f"{n},{c}\n" for n, c in [("file", "label"), *PAIRS])
    )
    assert labelled(read(tmp_path)) == dict(PAIRS)


def test_a_list_beside_its_images_in_a_folder_of_their_own_is_found(tmp_path):
    put(tmp_path, *(f"images/{n}" for n in NAMES))
    text = "file,label\n" + "".join(f"{n},{c}\n" for n, c in PAIRS)
    (tmp_path / "images/labels.csv").write_text(text)
    assert labelled(read(tmp_path)) == {f"images/{n}": c for n, c in PAIRS}


def test_the_two_forms_of_an_accented_label_are_one_class(tmp_path):
    put(tmp_path, *NAMES)
    words = ["caf\u00e9", "cafe\u0301", "tea", "tea"] * 2
    rows = [f"{n},{word}" for n, word in zip(NAMES, words, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]), encoding="utf-8")
    assert read(tmp_path).classes == ("caf\u00e9", "tea")


def test_a_list_gives_splits_and_files_it_names_in_vain_are_counted(tmp_path):
    put(tmp_path, *NAMES)
    rows = [f"{n},{c},{'test' if k > 5 else 'train'}" for k, (n, c) in enumerate(PAIRS)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *rows, "no.png,cat,train"]))
    data = read(tmp_path, val=0)
    assert files(data, "test") == set(NAMES[6:]) and len(files(data, "train")) == 6
    assert any("1 files that labels.csv names do not exist" in note for note in data.notes)


@pytest.mark.parametrize(
    "name, text, reason",
    [
        ("a.csv", "file,label\n00.png,\n", "row 1 has no label"),
        ("a.csv", "file,label\n00.png,cat\n00.png,dog\n", "row 2: 00.png has two labels"),
        ("a.csv", "file,cat,dog\n00.png,1,1\n", "row 1 has 2 classes"),
        ("a.csv", "file,age,sex\n00.png,31,f\n", "which column holds the class is not clear"),
        (
            "a.csv",
            "file,label,split\n00.png,cat,holdout\n",
            "row 1: split holdout is none of train",
        ),
        ("a.json", "{", "a.json: cannot be read"),
    ],
)
def test_a_list_that_is_not_clear_is_refused_by_the_row(tmp_path, name, text, reason):
    put(tmp_path, *NAMES)
    (tmp_path / name).write_text(text)
    assert reason in refusal(read, tmp_path)


def test_a_listed_image_in_a_test_folder_is_never_trained_on(tmp_path):
    put(tmp_path, *(f"{'test' if k > 5 else 'train'}/{n}" for k, n in enumerate(NAMES)))
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{n},{c}\n" for n, c in PAIRS))
    data = read(tmp_path, val=0)
    assert files(data, "test") == {f"test/{n}" for n in NAMES[6:]}
    assert len(files(data, "train")) == 6


PART = [
    "train",
    "val",
    "test",
    "cat",
    "dog",
    "old",
    "seg_train",
    "seg_test",
    "train_set",
    "test1",
    "@eaDir",
]


@settings(max_examples=60, deadline=None)
@given(
    files=st.sets(
        st.tuples(
            st.lists(st.sampled_from(PART), max_size=3).map("/".join),
            st.sampled_from(["0.png", "1.png", "bad.png", "note.txt"]),
        ),
        min_size=1,
        max_size=14,
    )
)
def test_every_image_is_in_one_split_or_counted_as_left_out_exactly_once(files):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        for where, name in files:
            path = root / where / name
            if name == "bad.png":
                write(path, b"no image")
            elif name.endswith(".png"):
                put(root, os.path.join(where, name))
        images = [str(path) for path in root.rglob("*.png")]
        try:
            data = read(root)
        except InceptiveError:
            return  # nothing is trained on, and a line says why
        placed_paths = [p for s in data.splits.values() for p in s.images.paths.tolist()]
        assert len(placed_paths) == len(set(placed_paths))
        assert set(placed_paths) <= set(images)
        left_out = sum(
            int(match[1])
            for note in data.notes
            if (match := re.search(r"(?:^|with its )(\d+) images(?: lie|$)", note))
        )
        assert len(placed_paths) + len(data.unreadable) + left_out == len(images), data.notes


def test_placeholders_for_answers_are_no_labels(tmp_path):
    """A competition's list of zeros was taken for the labels of its test images."""
    put(tmp_path, *(f"train/{n}" for n in NAMES), "test/90.png", "test/91.png")
    rows = "".join(f"{n[:2]},{c}\n" for n, c in PAIRS)
    (tmp_path / "train_labels.csv").write_text(f"id,label\n{rows}")
    (tmp_path / "sample_submission.csv").write_text("id,label\n90,0\n91,0\n")
    data = read(tmp_path, val=0)
    assert labelled(data) == {f"train/{n}": c for n, c in PAIRS}
    note(data, "sample_submission.csv holds answers of a model")


def test_a_test_folder_without_labels_and_another_folder_make_no_classes(tmp_path):
    """Its images, which lie in it directly, made classes of all three folders."""
    put(tmp_path, *(f"train/{c}/{k}.png" for c in "ab" for k in range(3)))
    put(tmp_path, "test/0.png", "extra/0.png")
    assert read(tmp_path).classes == ("a", "b")


def test_folders_named_by_a_split_and_listed_beside_are_no_classes(tmp_path):
    """As APTOS and Cassava come: the classes were train_images and test_images."""
    put(tmp_path, *(f"train_images/{n}" for n in NAMES), "test_images/90.png")
    rows = "".join(f"{n[:2]},{c}\n" for n, c in PAIRS)
    (tmp_path / "train.csv").write_text(f"id_code,diagnosis\n{rows}")
    data = read(tmp_path, val=0)
    assert labelled(data) == {f"train_images/{n}": c for n, c in PAIRS}
    (tmp_path / "train.csv").unlink()
    (tmp_path / "labels.csv").write_text(f"id,label\n{rows}90,cat\n")
    data = read(tmp_path, val=0)
    assert files(data, "test") == {"test_images/90.png"} and len(placed(data)) == 9


def test_a_list_that_is_not_clear_is_named_beside_folders(tmp_path):
    put(tmp_path, "part_1/1.png", "part_1/2.png", "part_2/3.png", "part_2/4.png")
    rows = "".join(f"lesion{k},{k},nv,{30 + k}\n" for k in range(1, 5))
    (tmp_path / "metadata.csv").write_text(f"lesion_id,image_id,dx,age\n{rows}")
    said = note(read(tmp_path), "not used as a list of labels", "metadata.csv")
    assert "which column holds the class is not clear" in said


@pytest.mark.parametrize("content", [b"caf\xe9,1\n", b"file,mask\n00.png," + b"1 " * 70000])
def test_a_list_that_cannot_be_read_does_not_hide_the_labels(tmp_path, content):
    put(tmp_path, *NAMES)
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{n},{c}\n" for n, c in PAIRS))
    write(tmp_path / "other.csv", content)
    data = read(tmp_path)
    assert labelled(data) == dict(PAIRS)
    note(data, "not used as a list of labels", "other.csv")


def test_a_list_names_files_in_either_form_of_unicode(tmp_path):
    """As a Mac unpacks them: all were "not in labels.csv"."""
    names = [unicodedata.normalize("NFD", f"caf\u00e9{k}.png") for k in range(8)]
    put(tmp_path, *names)
    rows = "".join(
        f"{unicodedata.normalize('NFC', n)},{'ab'[k % 2]}\n" for k, n in enumerate(names)
    )
    (tmp_path / "labels.csv").write_text("file,label\n" + rows, encoding="utf-8")
    assert labelled(read(tmp_path)) == {n: "ab"[k % 2] for k, n in enumerate(names)}


def test_a_split_folder_that_cannot_be_read_is_refused_in_a_line(tmp_path, monkeypatch):
    fill(tmp_path / "train", a=2, b=2)
    put(tmp_path, "test/a/1.png")
    inside = Path.iterdir

    def closed(folder):
        if folder.name == "test":
            raise PermissionError(13, "Permission denied", str(folder))
        return inside(folder)

    monkeypatch.setattr(Path, "iterdir", closed)
    assert "test: cannot be read (Permission denied)" in refusal(read, tmp_path)


def test_a_list_called_by_a_split_means_the_images_of_that_folder(tmp_path):
    """Kaggle's CIFAR-10 has numbers as names in both: no name was clear, and nothing labelled."""
    put(tmp_path, *(f"train/{k}.png" for k in range(8)), *(f"test/{k}.png" for k in range(8)))
    rows = "".join(f"{k},{'ab'[k % 2]}\n" for k in range(8))
    (tmp_path / "trainLabels.csv").write_text(f"id,label\n{rows}")
    (tmp_path / "sampleSubmission.csv").write_text("id,label\n0,a\n1,a\n")
    data = read(tmp_path, val=0)
    assert labelled(data) == {f"train/{k}.png": "ab"[k % 2] for k in range(8)}
