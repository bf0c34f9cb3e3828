"""What a person sees on standard error while a command works."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from inceptive.errors import printable_lines


def say(text: str) -> None:
    """One line on standard error."""
    print(printable_lines(text), file=sys.stderr, flush=True)


class Display:
    """A live bar on a terminal; elsewhere a line an epoch, so that a log stays readable. silent: nothing
    at all, for a process beside the one that speaks."""

    def __init__(self, silent: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, quiet=silent)
        self.live = self.console.is_terminal
        self.progress: Progress | None = None
        self.task = TaskID(0)
        self.epochs, self.steps, self.number, self.began = 1, 1, 0, time.monotonic()

    def say(self, text: str) -> None:
        self.console.print(printable_lines(text), markup=False, soft_wrap=True)

    def advance(self, what: str, done: int, total: int, detail: str = "") -> None:
        self._show(what, done, total, detail)

    def load(self, done: int, total: int) -> None:
        self._show("reading images", done, total)

    def epoch(self, number: int, epochs: int, steps: int) -> None:
        """The bar is of the whole run, so that the time left is too."""
        self.epochs, self.steps, self.number = epochs, steps, number
        self.began = time.monotonic()
        self._show(f"epoch {number + 1}/{epochs}", number * steps, epochs * steps)

    def step(self, done: int, images: int, losses: list[float], top1: float) -> None:
        if self.progress:
            speed = images / max(time.monotonic() - self.began, 1e-9)
            text = f"{speed:6.1f} images/s  loss {_losses(losses)}  top1 {top1:.1%}"
            at = self.number * self.steps + done
            self.progress.update(self.task, completed=at, told=text)

    def row(self, row: dict[str, Any], better: bool) -> None:
        losses = [row[key] for key in row if key == "loss" or key.startswith("loss_")]
        left = row["seconds"] / row["epoch"] * (self.epochs - row["epoch"])
        self.say(
            f"epoch {row['epoch']}/{self.epochs}  loss {_losses(losses)}"
            f"  top1 {row['top1']:.1%}  val top1 {row['val_top1']:.2%} loss {row['val_loss']:.3f}"
            f"  {row['images_per_second']:.0f} images/s  {duration(row['seconds'])} gone, "
            f"{duration(left)} left" + ("  * best" if better else "")
        )

    def close(self) -> None:
        if self.progress:
            self.progress.stop()
            self.progress = None

    def _show(self, text: str, done: int, total: int, detail: str = "") -> None:
        if not self.live:
            return
        if self.progress is None:
            self.progress = Progress(
                TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[told]}"),
                TimeRemainingColumn(), console=self.console, transient=True,
            )  # fmt: skip
            self.progress.start()
            self.task = self.progress.add_task(text, total=total, told="")
        self.progress.update(self.task, description=text, completed=done, total=total, told=detail)
        if done == total:
            self.close()


def _losses(losses: list[float]) -> str:
    """The main loss, and the heads' in brackets."""
    main, *heads = (f"{loss:.3f}" for loss in losses)
    return f"{main} ({' '.join(heads)})" if heads else main


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42 s, 3:05, 1:02:03."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
