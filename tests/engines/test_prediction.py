"""The loop from images to answers, with an engine that is a few lines of NumPy."""

import gzip
import io
import re
import tempfile
import threading
import zipfile

import numpy as np
import pytest
import torch
from conftest import picture
from PIL import Image

from inceptive.engines.prediction import Prediction, class_number, predict, predictions
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.metrics import softmax


class Mean(Engine):
    """Logits are the picture's mean and its complement; `seen` are the sizes of its batches."""

    labels, temperature = ("dark", "light"), 1.0
    preprocessing = Preprocessing(size=8, channels=1, mean=(0.5,), std=(0.5,))

    def __init__(self, wait=None):
        self.seen, self.wait = [], wait

    def logits(self, images):
        assert images.dtype == np.uint8 and images.shape[1:] == (1, 8, 8)
        self.seen.append(len(images))
        if self.wait:
            self.wait()
        x = images.mean(axis=(1, 2, 3)) / 255
        return np.stack([-x, x], axis=1).astype(np.float32)

    def probs(self, images):
        return softmax(self.logits(images), self.temperature)


def grey(value):
    return np.full((8, 8), value, dtype=np.uint8)


def test_answers_come_in_order_whatever_is_decoded_first():
    values = np.random.default_rng(0).permutation(200)
    found = list(predictions(Mean(), map(grey, values), top=2, batch_size=16))
    assert [one.image for one in found] == [f"image {k}" for k in range(200)]
    for one, value in zip(found, values, strict=True):
        wanted = softmax(np.array([[-value / 255, value / 255]]))[0]
        assert dict(one.top)["light"] == pytest.approx(wanted[1], abs=1e-6)
        assert one.top[0][1] >= one.top[1][1]


def test_an_image_that_cannot_be_read_is_told_in_its_place(tmp_path):
    picture("down", 1).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    names = ["a.png", "none.png", "b.png", "a.png"]
    found = list(predictions(Mean(), [tmp_path / name for name in names], top=1))
    assert [bool(one.top) for one in found] == [True, False, False, True]
    assert "none.png: cannot be read" in found[1].error and "holds text" in found[2].error
    engine = Mean()
    assert all(one.error for one in predictions(engine, [tmp_path / "none.png"] * 5))
    assert engine.seen == []


def test_batches_are_what_is_ready_and_no_more_than_asked_for():
    engine = Mean()
    list(predictions(engine, map(grey, range(100)), batch_size=12))
    assert sum(engine.seen) == 100
    assert set(engine.seen) <= {1, 2, 4, 8, 12}


def test_a_single_image_does_not_wait_for_company():
    """The second image is decoded only after the first has been answered."""
    answered = threading.Event()

    class Slow(Preprocessing):
        def load(self, source, name="", note=None):
            if source[0, 0] == 2:
                assert answered.wait(20)
            return super().load(source, name, note)

    engine = Mean(wait=answered.set)
    engine.preprocessing = Slow(size=8, channels=1, mean=(0.5,), std=(0.5,))
    found = list(predictions(engine, [grey(1), grey(2)]))
    assert engine.seen == [1, 1] and len(found) == 2


def test_decoding_goes_on_while_the_engine_works():
    """The engine waits, in its first batch, for an image that is decoded only while it works."""
    working, decoded = threading.Event(), threading.Event()

    class Slow(Preprocessing):
        def load(self, source, name="", note=None):
            if source[0, 0] == 5:
                assert working.wait(20)
                decoded.set()
            return super().load(source, name, note)

    def wait():
        working.set()
        assert decoded.wait(20)

    engine = Mean(wait)
    engine.preprocessing = Slow(size=8, channels=1, mean=(0.5,), std=(0.5,))
    assert len(list(predictions(engine, map(grey, range(12)), batch_size=8))) == 12


def test_no_more_than_two_batches_wait_in_memory():
    taken = []

    def images():
        for k in range(10_000):
            taken.append(k)
            yield grey(k % 256)

    found = predictions(Mean(), images(), batch_size=8)
    for answered in range(1, 100):
        next(found)
        assert len(taken) <= answered + 3 * 8  # two that wait, one that is being answered
    found.close()


def test_an_engine_that_fails_ends_the_loop_and_its_threads():
    def fail():
        raise InceptiveError("no more")

    before = threading.active_count()
    with pytest.raises(InceptiveError, match="no more"):
        list(predictions(Mean(wait=fail), map(grey, range(200))))
    assert threading.active_count() == before


def test_a_class_is_found_by_name_first_and_then_by_number():
    labels = ("cat", "1", "dog")
    assert [class_number(one, labels, 3) for one in ("dog", "1", "2", "0")] == [2, 1, 2, 0]
    assert class_number("7", (), 10) == 7
    for asked in ("owl", "3", "-1", "", "²", "9" * 5000):
        with pytest.raises(InceptiveError, match="is none of the classes 0 to 2, cat, 1, dog"):
            class_number(asked, labels, 3)
    with pytest.raises(InceptiveError, match=r"several classes are called so; by number: \[0, 2\]"):
        class_number("a", ("a", "b", "a"), 3)


# One image or many


RGB = np.random.default_rng(4).integers(0, 256, (40, 30, 3), dtype=np.uint8)


class Colour(Mean):
    preprocessing = Preprocessing(size=8)

    def logits(self, images):
        x = images.mean(axis=(1, 2, 3)) / 255
        return np.stack([-x, x], axis=1).astype(np.float32)


def as_png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file  # as it is left: at its end


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """One picture in every form that is one image."""
    path = tmp_path_factory.mktemp("one") / "photo.png"
    path.write_bytes(as_png(RGB).getvalue())
    opaque = np.concatenate([RGB, np.full((40, 30, 1), 255, np.uint8)], axis=2)
    with path.open("rb") as file:
        yield {
        "str": str(path), "Path": path, "bytes": path.read_bytes(),
        "bytearray": bytearray(path.read_bytes()), "memoryview": memoryview(path.read_bytes()),
        "BytesIO": as_png(RGB), "open file": file, "Pillow": Image.fromarray(RGB),
        "array": RGB, "RGBA array": opaque, "tensor": torch.from_numpy(RGB).permute(2, 0, 1),
    }  # fmt: skip


def test_one_image_in_whatever_form_gives_one_prediction(single):
    answers = {form: predict(Colour(), image, top=2) for form, image in single.items()}
    expected = answers["array"]
    assert expected.label == expected.top[0][0] and expected.probability == expected.top[0][1]
    for form, answer in answers.items():
        assert isinstance(answer, Prediction) and answer.top == expected.top, (form, answer)
    assert answers["str"].image == str(single["str"]) and len(repr(answers["bytes"])) < 60


class Stream(io.RawIOBase):
    """A socket, or an answer of the web: what comes, once, from where it is."""

    def __init__(self, content):
        self.content = content

    def read(self):
        return self.content


class Wrapped:
    """A file of somebody's own that has `read` and nothing else."""

    def __init__(self, content):
        self.content = content

    def read(self):
        return self.content


class Awaited:
    """FastAPI's upload: `read` and `seek` are coroutines, and the file is inside."""

    def __init__(self, file=None):
        self.file = file

    async def read(self, size=-1): ...

    async def seek(self, offset): ...


def uploads(content):
    """The bytes of a file in what web frameworks, archives and sockets hand over."""
    spooled = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    spooled.write(content)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as into:
        into.writestr("a.png", content)
    return {
        "spooled": spooled, "gzip": gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(content))),
        "zip": zipfile.ZipFile(archive).open("a.png"), "stream": Stream(content),
        "view": Wrapped(memoryview(content)), "bytearray": Wrapped(bytearray(content)),
        "upload": Awaited(io.BytesIO(content)), "buffered": io.BufferedReader(io.BytesIO(content)),
    }  # fmt: skip


def test_open_files_of_every_kind_are_read():
    images = uploads(as_png(RGB).getvalue())
    expected = predict(Colour(), RGB).top
    answers = predict(Colour(), list(images.values()))
    assert {k: one.top for k, one in zip(images, answers, strict=True)} == dict.fromkeys(
        images, expected
    )
    assert predict(Colour(), images["upload"]).top == expected
    for image in (images["spooled"], images["zip"]):
        image.close()


def test_a_damaged_open_file_loses_no_other():
    content = as_png(RGB).getvalue()
    damaged = [
        gzip.GzipFile(fileobj=io.BytesIO(b"\x1f\x8b\x08no gzip at all")),
        gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(content)[:60])),
        Stream(None),
        Stream(content[:40]),
        Wrapped(b""),
    ]
    first, *others, last = predict(Colour(), [RGB, *damaged, RGB])
    assert first.top == last.top == predict(Colour(), RGB).top
    for answer in others:
        assert answer.error and not answer.top and "\n" not in answer.error


def test_an_awaited_file_is_refused_by_what_to_do(recwarn):
    with pytest.raises(InceptiveError, match=r"^image 0: Awaited is read with await: give"):
        predict(Colour(), [Awaited()])
    assert not recwarn.list


@pytest.mark.parametrize("many", [list, tuple, iter], ids=["list", "tuple", "iterator"])
def test_many_images_give_a_list_whatever_their_forms(single, many):
    answers = predict(Colour(), many(list(single.values())))
    expected = predict(Colour(), RGB)
    assert [answer.top for answer in answers] == [expected.top] * len(single)
    assert (
        predict(Colour(), many([RGB]))[0].top == expected.top and predict(Colour(), many([])) == []
    )


def test_arrays_and_tensors_are_one_or_many_by_their_shape():
    grey_one, greys = RGB[:, :, 0], RGB[None, :, :, :1]
    expected = predict(Colour(), grey_one)
    for one in (RGB[:, :, :1], torch.from_numpy(grey_one), torch.from_numpy(grey_one)[None]):
        assert predict(Colour(), one).top == expected.top
    assert [one.top for one in predict(Colour(), greys)] == [expected.top]
    two = np.stack([RGB, 255 - RGB])
    both = predict(Colour(), two)
    assert [one.top for one in both] == [predict(Colour(), image).top for image in two]
    assert both == predict(Colour(), torch.from_numpy(two).permute(0, 3, 1, 2))


@pytest.mark.parametrize(("wrong", "said"), [
    (7, "int is no image and no list of images"), (None, "NoneType is no image"),
    ({"a": RGB}, "dict is no image"), (RGB.transpose(2, 0, 1), r"shape \(3, 40, 30\) is not clear"),
    (RGB[0, 0], r"shape \(3,\) is not clear"), (torch.from_numpy(RGB), "is not clear"),
    (np.zeros((1, 1, 1, 1, 3), np.uint8), "is not clear"), (np.uint8(3), "uint8 is no image"),
])  # fmt: skip
def test_what_is_no_image_is_refused_in_one_line(wrong, said):
    with pytest.raises(InceptiveError, match=said) as refused:
        predict(Colour(), wrong)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("wrong", "said"), [
    (7, "int is no image"), (None, "NoneType is no image"), (RGB.astype(float), "must be uint8"),
    (RGB.transpose(2, 0, 1), "is not clear"), (io.StringIO("text"), 'mode "rb"'),
    (np.stack([RGB, RGB]), "more than one image"), ([RGB], "list is no image"),
])  # fmt: skip
def test_an_item_of_no_kind_of_image_is_refused_by_its_number(wrong, said):
    with pytest.raises(InceptiveError, match=f"^image 1: .*{said}"):
        predict(Colour(), [RGB, wrong, RGB])


def test_a_file_that_cannot_be_read_has_an_error_and_the_others_an_answer(tmp_path):
    closed = as_png(RGB)
    closed.close()
    answers = predict(Colour(), [RGB, tmp_path / "none.png", b"", closed, as_png(RGB)])
    assert [bool(one.top) for one in answers] == [True, False, False, False, True]
    for answer, said in zip(answers[1:-1], ("none.png: cannot be read", "is empty",
                            "the open file cannot be read"), strict=True):  # fmt: skip
        assert said in answer.error and said in repr(answer)
        with pytest.raises(InceptiveError, match=re.escape(said)):
            _ = answer.label
    assert "none.png" in predict(Colour(), tmp_path / "none.png").error


@pytest.mark.parametrize(
    "options", [{"top": 0}, {"top": -1}, {"batch_size": 0}, {"batch_size": 2.5}]
)
def test_numbers_that_mean_nothing_are_refused(options):
    [name] = options
    for ask in (predict, predictions):
        with pytest.raises(InceptiveError, match=f"{name} = .*: expected a whole number from 1"):
            ask(Colour(), [RGB], **options)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_a_tensor_of_a_type_that_numpy_lacks_is_one_of_float32(dtype):
    for tensor in (torch.ones(3, 8, 8), torch.ones(3, 8, 8).to(dtype)):
        with pytest.raises(InceptiveError, match=r"must be uint8 .*, not float32 \(8, 8, 3\)"):
            predict(Mean(), tensor)


def test_a_tensor_that_is_no_array_is_refused_by_name():
    with pytest.raises(InceptiveError, match=r"a tensor of torch\.float32 is no image"):
        predict(Mean(), torch.ones(8, 8).to_sparse())
