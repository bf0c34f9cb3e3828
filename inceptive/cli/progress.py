"""Progress shown on standard error while a command runs."""

import contextlib
from typing import TYPE_CHECKING

from inceptive.errors import printable_lines
from inceptive.io.progress import ON_STANDARD_ERROR

if TYPE_CHECKING:  # rich takes longer to import than `inceptive --help` may take in all
    from rich.progress import Progress, TaskID

say = ON_STANDARD_ERROR.say
"""One line on standard error."""


class Display(contextlib.AbstractContextManager["Display"]):
    """A live bar on a terminal; messages only elsewhere, so that logs stay readable.

    silent: print nothing, for processes other than the one that reports.
    """

    def __init__(self, silent: bool = False) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False, quiet=silent)
        self.live = self.console.is_terminal
        self.progress: Progress | None = None
        self.task: TaskID | None = None

    def say(self, text: str) -> None:
        if self.live:
            with contextlib.suppress(OSError):  # see `Lines.say`
                self.console.print(printable_lines(text), markup=False, soft_wrap=True)
        elif not self.console.quiet:
            say(text)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.progress:
            self.progress.stop()
            self.progress = None

    def advance(self, what: str, done: int, total: int, detail: str = "") -> None:
        if not self.live:
            return
        if self.progress is None or self.task is None:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self.progress = Progress(
                TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[detail]}"),
                TimeRemainingColumn(), console=self.console, transient=True,
            )  # fmt: skip
            self.progress.start()
            self.task = self.progress.add_task(what, total=total, detail="")
        self.progress.update(
            self.task, description=what, completed=done, total=total, detail=detail
        )
        if done == total:
            self.close()
