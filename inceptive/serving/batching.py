"""Batching of waiting squares: one thread runs the engine on as many at once as are waiting."""

import threading
from collections import deque
from concurrent.futures import Future

import numpy as np

from inceptive.engines.protocol import Engine

Answer = tuple[np.ndarray, bool | None]
"""Probabilities (K,), and whether the image is like none of the classes."""


class Full(Exception):
    """The queue has no room for that many."""


class Closed(Exception):
    """No more requests are answered: the server is stopping."""


class Batcher:
    """Answers squares (C, S, S) of uint8 as `Engine.answers` does, in order of arrival.

    At most `waiting` may wait besides those being processed, or the squares of one request if these are
    more. The engine takes up to `batch_size` together, without waiting for more. Thread-safe.
    """

    def __init__(self, engine: Engine, batch_size: int = 16, waiting: int = 256):
        self.engine, self.batch_size, self.limit = engine, batch_size, waiting
        self._queue: deque[tuple[np.ndarray, Future[Answer]]] = deque()
        self._arrived = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="inceptive-batches", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many are waiting."""
        return len(self._queue)

    def submit(self, squares: list[np.ndarray]) -> list[Future[Answer]]:
        """A future for each; all wait or none does. Raises Full or Closed."""
        futures: list[Future[Answer]] = [Future() for _ in squares]
        with self._arrived:
            if self._closed:
                raise Closed
            if self._queue and len(self._queue) + len(squares) > self.limit:
                raise Full
            self._queue.extend(zip(squares, futures, strict=True))
            self._arrived.notify()
        return futures

    def close(self) -> None:
        """Answer what waits, then stop."""
        with self._arrived:
            self._closed = True
            self._arrived.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._arrived:
                while not self._queue and not self._closed:
                    self._arrived.wait()
                if not self._queue:
                    return
                taken = [
                    self._queue.popleft() for _ in range(min(self.batch_size, len(self._queue)))
                ]
            # Who gave up meanwhile is not answered.
            work = [pair for pair in taken if pair[1].set_running_or_notify_cancel()]
            if not work:
                continue
            try:
                answers = self.engine.answers(np.stack([square for square, _ in work]))
            except Exception as error:  # whoever asked is told; the next batch may do better
                for _, future in work:
                    future.set_exception(error)
                continue
            for (_, future), answer in zip(work, answers, strict=True):
                future.set_result(answer)
