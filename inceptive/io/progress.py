"""Progress reporting of long-running functions to their callers.

One rule for every function of the library: its parameter is called `progress` and takes a `Progress`.
The default is `ON_STANDARD_ERROR`; None is silent. A callable that only counts, called with
(done, total), is named `advance`.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from inceptive.errors import printable_lines

Advance = Callable[[int, int], None]
"""Called with how much is done, and of how much."""
LINE_SECONDS = 10.0
"""Between two lines of `Lines` on one piece of work."""


@runtime_checkable
class Progress(Protocol):
    """Receives messages for the user, and the progress of work. None in its place means silence."""

    def say(self, text: str) -> None:
        """Report a message: what was found, what is left out, how an epoch went."""

    def advance(self, what: str, done: int, total: int, detail: str = "") -> None:
        """Report `done` of `total` parts of `what` ("reading images"), with current `detail`."""


class Lines:
    """Progress as plain lines on standard error; long work prints one every ten seconds."""

    def __init__(self) -> None:
        self._printed = time.monotonic()

    def say(self, text: str) -> None:
        """Print `text` on standard error, if there is one: a program without a terminal may have none,
        and work that takes hours may outlive its terminal."""
        if sys.stderr is not None:  # print would take standard output for it
            with contextlib.suppress(OSError, ValueError):
                print(printable_lines(text), file=sys.stderr, flush=True)

    def advance(self, what: str, done: int, total: int, detail: str = "") -> None:
        if done < total and time.monotonic() - self._printed >= LINE_SECONDS:
            self._printed = time.monotonic()
            self.say(f"{what}: {done} of {total}" + (f"  {detail}" if detail else ""))


ON_STANDARD_ERROR = Lines()
"""The default of what takes long."""


class Silent:
    """Progress that prints nothing: `progress or Silent()`."""

    def say(self, text: str) -> None: ...
    def advance(self, what: str, done: int, total: int, detail: str = "") -> None: ...


def duration(seconds: float) -> str:
    """Format seconds for people: 42 s, 3:05, 1:02:03."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    minutes, rest = divmod(rounded, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
