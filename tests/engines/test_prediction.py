"""The loop from images to answers, with an engine that is a few lines of NumPy."""

import threading

import numpy as np
import pytest
from conftest import picture

from inceptive.engines.prediction import class_number, predictions
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.metrics import softmax


class Mean:
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
        def load(self, source):
            if source[0, 0] == 2:
                assert answered.wait(20)
            return super().load(source)

    engine = Mean(wait=answered.set)
    engine.preprocessing = Slow(size=8, channels=1, mean=(0.5,), std=(0.5,))
    found = list(predictions(engine, [grey(1), grey(2)]))
    assert engine.seen == [1, 1] and len(found) == 2


def test_decoding_goes_on_while_the_engine_works():
    """The engine waits, in its first batch, for an image that is decoded only while it works."""
    working, decoded = threading.Event(), threading.Event()

    class Slow(Preprocessing):
        def load(self, source):
            if source[0, 0] == 5:
                assert working.wait(20)
                decoded.set()
            return super().load(source)

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
