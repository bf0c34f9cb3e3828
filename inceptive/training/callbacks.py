"""Callbacks during training: progress for the user, events for TensorBoard."""

import time
from pathlib import Path
from typing import Any

from inceptive.errors import requires
from inceptive.io.progress import Progress, duration
from inceptive.training.recipe import Recipe
from inceptive.training.schedule import size_at


class Callback:
    """Receives events during training. Methods that are not overridden do nothing."""

    def on_epoch_start(self, epoch: int, epochs: int, steps: int) -> None:
        """Epoch `epoch` of `epochs`, counted from 0, begins; it has `steps` steps."""

    def on_step(self, step: int, images: int, losses: list[float], top1: float) -> None:
        """Every tenth step, and after an epoch's last: `step` steps of it are done, `images` seen; the
        rest are means.

        losses: of the logits, then of each auxiliary head.
        """

    def on_epoch_end(self, row: dict[str, Any], better: bool) -> None:
        """`row` is the epoch's row of history.csv; better: its model is the best so far."""


class ProgressCallback(Callback):
    """Reports each epoch's row to a `Progress`, and the progress and time left of the whole run."""

    def __init__(self, progress: Progress, recipe: Recipe):
        self.progress, self.recipe = progress, recipe
        self.epoch, self.epochs, self.steps, self.began = 0, 1, 1, 0.0

    def on_epoch_start(self, epoch: int, epochs: int, steps: int) -> None:
        self.epoch, self.epochs, self.steps = epoch, epochs, steps
        self.began = time.monotonic()
        self._advance(0)

    def on_step(self, step: int, images: int, losses: list[float], top1: float) -> None:
        speed = images / max(time.monotonic() - self.began, 1e-9)
        self._advance(step, f"{speed:6.1f} images/s  loss {_losses(losses)}  top1 {top1:.1%}")

    def on_epoch_end(self, row: dict[str, Any], better: bool) -> None:
        losses = [row[key] for key in row if key == "loss" or key.startswith("loss_")]
        pixels = [
            size_at(self.recipe.schedule, epoch, self.epochs, self.recipe.image_size) ** 2
            for epoch in range(self.epochs)
        ]
        done = row["epoch"]
        seconds_left = row["seconds"] * sum(pixels[done:]) / sum(pixels[:done])
        if self.recipe.stop.minutes:
            rest = max(0.0, 60 * self.recipe.stop.minutes - row["seconds"])
            seconds_left = rest if self.recipe.stop.most_epochs else min(seconds_left, rest)
        growing = row["pixels"] < self.recipe.image_size  # then the validation images are larger
        self.progress.say(
            f"epoch {row['epoch']}/{self.epochs}"
            + (f" ({row['pixels']} pixels)" if growing else "")
            + f"  loss {_losses(losses)}  top1 {row['top1']:.1%}"
            f"  val top1 {row['val_top1']:.2%} loss {row['val_loss']:.3f}"
            f"  {row['images_per_second']:.0f} images/s  {duration(row['seconds'])} gone, "
            f"{duration(seconds_left)} left" + ("  * best" if better else "")
        )

    def _advance(self, step: int, detail: str = "") -> None:
        done, total = self.epoch * self.steps + step, self.epochs * self.steps
        self.progress.advance(f"epoch {self.epoch + 1}/{self.epochs}", done, total, detail)


class TensorBoard(Callback):
    """Writes each epoch's numbers as TensorBoard events into `folder`."""

    def __init__(self, folder: str | Path):
        with requires("events for TensorBoard need tensorboard", "tensorboard"):
            from torch.utils.tensorboard import SummaryWriter
        self._folder, self._open = str(folder), SummaryWriter
        self._writer: Any = None

    def on_epoch_end(self, row: dict[str, Any], better: bool) -> None:
        if self._writer is None:  # the folder is made when there is something to write
            self._writer = self._open(self._folder)
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, row["epoch"])
        self._writer.flush()


def _losses(losses: list[float]) -> str:
    """The main loss, and the heads' in brackets."""
    main, *heads = (f"{loss:.3f}" for loss in losses)
    return f"{main} ({' '.join(heads)})" if heads else main
