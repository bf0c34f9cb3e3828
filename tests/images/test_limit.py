"""Many threads, large pictures: how much is decoded at the same time."""

import contextlib
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from inceptive.data.scan import scan_content
from inceptive.errors import InceptiveError
from inceptive.images import AT_ONCE, Preprocessing, decode, decoding
from inceptive.images.limit import PixelLimit


def png(width, height):
    content = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def seen(monkeypatch):
    """Pixels taken each time that a picture is finished; room for 20,000 of them."""
    seen = []
    finish = decoding._finish

    def slow(*arguments):
        seen.append(AT_ONCE.taken)
        time.sleep(0.02)
        return finish(*arguments)

    monkeypatch.setattr(AT_ONCE, "most", 20_000)
    monkeypatch.setattr(decoding, "_finish", slow)
    return seen


@pytest.mark.parametrize(
    "read", [decode, Preprocessing(32).load, lambda content: scan_content("a.png", content)]
)
def test_threads_wait_for_room_and_the_largest_picture_is_alone(seen, read):
    contents = [png(80, 100)] * 6 + [png(300, 200)] + [png(90, 100)] * 6
    with ThreadPoolExecutor(13) as pool:
        list(pool.map(read, contents))
    assert len(seen) == 13 and AT_ONCE.taken == 0
    assert set(seen) <= {8_000, 9_000, 16_000, 17_000, 18_000, 60_000}
    assert max(set(seen) - {60_000}) >= 16_000  # two at a time, where there is room


def test_what_cannot_be_read_gives_its_room_back(seen):
    whole = png(100, 100)
    damaged = whole[: len(whole) // 2]
    for content in (damaged, whole, damaged, whole):
        with contextlib.suppress(InceptiveError):
            decode(content)
        assert AT_ONCE.taken == 0


def test_who_holds_pixels_does_not_wait_for_more():
    limit, both = PixelLimit(100), threading.Barrier(2, timeout=10)

    def twice():
        with limit.decoding(), limit.decoding():
            limit.take(50)
            both.wait()  # all room is taken, half by each
            limit.take(80)
            limit.take(80)  # the same picture once more: nothing is added
            both.wait()
            return limit.taken

    with ThreadPoolExecutor(2) as pool:
        taken = [future.result(timeout=10) for future in [pool.submit(twice), pool.submit(twice)]]
    assert max(taken) == 160 and limit.taken == 0


def test_what_says_nothing_of_decoding_is_not_counted():
    decoding.read_picture(np.zeros((300, 300, 3), np.uint8))
    assert AT_ONCE.taken == 0
