"""A limit on the pixels decoded simultaneously, whatever the number of threads: memory is bounded."""

import contextlib
import threading
from collections.abc import Iterator


class PixelLimit:
    """Limits the pixels decoded at once; one picture, however large, may always be decoded alone.

    A decoder enters `decoding` and, once the size is known, reserves its pixels with `take`, which waits
    until others are done. They are released at the end of `decoding`. Thread-safe.
    """

    def __init__(self, most: int):
        self.most, self.taken = most, 0
        self._change = threading.Condition()
        self._own = threading.local()

    @contextlib.contextmanager
    def decoding(self) -> Iterator[None]:
        """Wrap whatever holds a picture's pixels; nested, it does nothing."""
        if getattr(self._own, "pixels", None) is not None:
            yield
            return
        self._own.pixels = 0
        try:
            yield
        finally:
            with self._change:
                self.taken -= self._own.pixels
                self._change.notify_all()
            self._own.pixels = None

    def take(self, pixels: int) -> None:
        """Wait for room for a picture; pixels already taken in the same `decoding` count towards it."""
        own = getattr(self._own, "pixels", None)
        if own is None or (more := pixels - own) <= 0:
            return
        with self._change:
            # Who holds some already does not wait for others, who might wait for it.
            while not own and self.taken and self.taken + more > self.most:
                self._change.wait()
            self.taken += more
            self._own.pixels = pixels
