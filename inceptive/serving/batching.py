"""Squares that wait are answered together: one thread runs the engine, as many at once as there are."""

import threading
from collections import deque
from concurrent.futures import Future

import numpy as np

from inceptive.engines.protocol import Engine


class Full(Exception):
    """More wait already than may."""


class Closed(Exception):
    """No more is answered: the server stops."""


class Batcher:
    """Answers squares (C, S, S) of uint8 with probabilities (K,), in the order in which they came.

    At most `waiting` may wait beside those that the engine works on; of these it takes up to `at_once`
    together, without waiting for company. For many threads.
    """

    def __init__(self, engine: Engine, at_once: int = 16, waiting: int = 256):
        self.engine, self.at_once, self.limit = engine, at_once, waiting
        self.batches: deque[int] = deque(maxlen=1000)
        """Sizes of the last batches."""
        self._queue: deque[tuple[np.ndarray, Future[np.ndarray]]] = deque()
        self._some = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="inceptive-batches", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._queue)

    def submit(self, squares: list[np.ndarray]) -> list[Future[np.ndarray]]:
        """A future for each; all wait or none. Raises Full or Closed."""
        futures: list[Future[np.ndarray]] = [Future() for _ in squares]
        with self._some:
            if self._closed:
                raise Closed
            if len(self._queue) + len(squares) > self.limit:
                raise Full
            self._queue.extend(zip(squares, futures, strict=True))
            self._some.notify()
        return futures

    def close(self) -> None:
        """Answer what waits, then stop."""
        with self._some:
            self._closed = True
            self._some.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._some:
                while not self._queue and not self._closed:
                    self._some.wait()
                if not self._queue:
                    return
                taken = [self._queue.popleft() for _ in range(min(self.at_once, len(self._queue)))]
            # Who gave up meanwhile is not answered.
            work = [(square, one) for square, one in taken if one.set_running_or_notify_cancel()]
            if not work:
                continue
            self.batches.append(len(work))
            try:
                probs = self.engine.probs(np.stack([square for square, _ in work]))
            except Exception as error:  # whoever asked is told; the next batch may do better
                for _, one in work:
                    one.set_exception(error)
                continue
            for (_, one), answer in zip(work, probs, strict=True):
                one.set_result(answer)
