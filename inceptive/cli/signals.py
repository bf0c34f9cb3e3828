"""Signals that ask training to stop: it saves its state after the current step, and ends."""

import os
import signal
import threading
from types import FrameType
from typing import Any

from inceptive.io import store as storage

ASKING = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Inside the block, the first SIGINT or SIGTERM only sets `received`.

    Calling the object tells whether one arrived. A second signal, or one before the first call, has its
    usual effect: before that call there is nothing to lose.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._begun = False
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        self._begun = True
        return self.received is not None

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in ASKING:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            if before is not None:  # None: set by other than Python, who alone can set it again
                signal.signal(number, before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._begun and self.received is None:
            self.received = signal.Signals(number)
            message = f"\n{self.received.name}: stopping after this step; once more stops at once\n"
            os.write(2, message.encode())  # a stream may be in the middle of a line of its own
            return
        storage.stop_retrying()  # a thread may be waiting for a store, and is waited for
        before = self._before[signal.Signals(number)]
        if callable(before):
            before(number, frame)
        elif before != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
