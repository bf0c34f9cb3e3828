"""The training loop, to be read from top to bottom.

A run is a folder. After every epoch, in long ones every KEEP_SECONDS, and when it is asked to pause,
`checkpoint.pt` holds all that is needed to go on, and whenever validation is better than ever the
model folder is written beside it. A run that goes on ends with the bits of one that never stopped.

Several processes may share a run (`together`): each takes its part of every batch, one writes.
"""

import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from inceptive.data.pictures import in_order
from inceptive.data.source import Data
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.io.atomic import write_text
from inceptive.training import checkpoint
from inceptive.training.distributed import Team
from inceptive.training.history import Progress, Within, as_csv, judged, record
from inceptive.training.learner import Learner
from inceptive.training.prepare import loaders_for, preprocessing_for
from inceptive.training.recipe import Recipe

LOOK_STEPS = 10
"""Steps between two looks at the loss: each look makes an accelerator wait."""
KEEP_SECONDS = 600.0
"""What is lost of a long epoch at most, if the process is killed."""


class Paused(Exception):
    """Training was asked to pause, and where it is was kept; says where that is."""


class Watch(Protocol):
    """Who is told what happens; see `commands.display` for the one that draws a progress bar."""

    def say(self, text: str) -> None: ...
    def load(self, done: int, total: int) -> None: ...
    def epoch(self, number: int, epochs: int, steps: int) -> None: ...
    def step(self, done: int, images: int, losses: list[float], top1: float) -> None: ...
    def row(self, row: dict[str, Any], better: bool) -> None: ...


def train(
    recipe: Recipe,
    data: Data,
    out: Path,
    watch: Watch,
    resume: bool = False,
    pause: Callable[[], bool] = lambda: False,
) -> Classifier | None:
    """Train `recipe` on `data` in the folder `out`; returns the best model, as it lies there.

    With `resume`, go on from the checkpoint in `out`. `pause` is asked after each step; if it wants
    one, Paused is raised once the checkpoint is written. Where several processes train, `out` is that
    of the one that leads; the others get None. Raises InceptiveError if the data lacks a split, if the
    checkpoint is of other data, or if the loss stops being a number.
    """
    return Run(recipe, data, out, watch, pause).run(resume)


class Run:
    """One training: the recipe's parts put together, then epochs of steps."""

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        out: Path,
        watch: Watch,
        pause: Callable[[], bool] = lambda: False,
    ):
        self.recipe, self.data, self.out, self.watch, self.pause = recipe, data, out, watch, pause
        torch.manual_seed(recipe.seed)
        self.team = Team()
        self.team.refuse_unless_alike(self._fingerprint(), "data")
        self.preprocessing = preprocessing_for(recipe, data)
        self.loaders = loaders_for(recipe, data, self.preprocessing, watch.load, self.team.share)
        self.learner = Learner(recipe, data, self.preprocessing, self.loaders.augment, self.team)
        self.progress = Progress()
        self.within: Within | None = None
        self.started = self.kept = time.monotonic()

    def run(self, resume: bool) -> Classifier | None:
        if resume:
            self._restore()
        recipe, p = self.recipe, self.progress
        self.started = started = time.monotonic() - p.seconds
        while p.epoch < recipe.epochs:
            row = self._epoch(p.epoch)
            p.epoch += 1
            logits = self._validate()
            row |= judged(logits, self.loaders.val.labels)
            p.seconds = time.monotonic() - started
            row["seconds"] = round(p.seconds, 2)
            p.history.append(row)
            self.within = None
            better = p.better(row["val_top1"], row["val_loss"])
            if better:
                p.best_top1, p.best_loss, p.best_epoch = row["val_top1"], row["val_loss"], p.epoch
            if self.team.leads:
                if better:
                    self._classifier(logits).save(self.out)
                write_text(self.out / "history.csv", as_csv(p.history))
            self._checkpoint()
            self.watch.row(row, better)
            if reason := self._enough():
                self.watch.say(reason)
                break
            if p.epoch < recipe.epochs and any(self.team.any(self.pause())):
                raise Paused(f"after epoch {p.epoch} of {recipe.epochs}")
        if not self.team.leads:
            return None
        (self.out / checkpoint.CHECKPOINT).unlink(missing_ok=True)
        return Classifier.load(self.out)

    def _epoch(self, number: int) -> dict[str, Any]:
        """One pass over the training images, or what is left of it; the row of history that it gives."""
        learner, steps, world = self.learner, len(self.loaders.train), self.team.share.world
        learner.set_training()
        self.watch.epoch(number, self.recipe.epochs, steps)
        at = self.within = self.within or Within(
            torch.zeros(len(learner.heads), device=learner.device),
            torch.zeros((), device=learner.device),
        )
        draws, before = torch.Generator(), time.monotonic() - at.seconds
        for batch, labels in self.loaders.train.epoch(number, at.done):
            self._draw_for(number, at.done, draws)
            at.lr = learner.set_lr(number + at.done / steps)
            at.done += 1
            each, right = learner.step(batch, labels.to(learner.device), draws)
            at.losses += each / world
            at.hits += right
            at.images += len(labels) * world
            if at.done == steps and not learner.stepped:
                learner.leave_rest()
            at.seconds = time.monotonic() - before
            if at.done % LOOK_STEPS == 0 or at.done == steps:
                losses, top1 = self._means(at)
                self._refuse_nan(losses, number)
                self.watch.step(at.done, at.images, losses, top1)
            if learner.stepped or at.done == steps:
                late, pause, keep = self._wishes()
                if late:
                    break
                if pause or keep:
                    self._keep(pause)
        names = ["loss", *(f"loss_{head}" for head in learner.heads[1:])]
        losses, top1 = self._means(at)
        row: dict[str, Any] = {"epoch": number + 1, "lr": round(at.lr, 8)}
        row |= {name: round(mean, 5) for name, mean in zip(names, losses, strict=True)}
        row["top1"] = round(top1, 5)
        row["images_per_second"] = round(at.images / at.seconds, 1)
        return row

    def _draw_for(self, epoch: int, step: int, draws: torch.Generator) -> None:
        """Begin dropout and `draws`, of the changes to pictures, anew for a step.

        All that is drawn follows from (seed, epoch, step), so nothing of it has to be kept.
        """
        words = np.random.SeedSequence((self.recipe.seed, epoch, step)).generate_state(2, np.uint64)
        torch.manual_seed(int(words[0] >> 1))
        draws.manual_seed(int(words[1] >> 1))

    def _means(self, at: Within) -> tuple[list[float], float]:
        """Each head's loss and the share of right answers in this epoch, of all processes."""
        losses, hits = self.team.summed(at.losses), self.team.summed(at.hits)
        return (losses / at.done).tolist(), float(hits) / at.images

    def _wishes(self) -> list[bool]:
        """Whether the training is late, asked to pause, and in need of a checkpoint, in any process."""
        now = time.monotonic()
        late, keep = self._late(now - self.started), now - self.kept >= KEEP_SECONDS
        return self.team.any(late, self.pause(), keep)

    def _keep(self, pause: bool) -> None:
        """A checkpoint between two steps; then Paused is raised, if a pause is wanted."""
        assert self.within is not None
        self.progress.seconds = time.monotonic() - self.started
        self._checkpoint()
        if pause:
            done, steps, epoch = self.within.done, len(self.loaders.train), self.progress.epoch + 1
            raise Paused(f"after step {done} of {steps} of epoch {epoch}")

    def _refuse_nan(self, losses: list[float], epoch: int) -> None:
        if not all(map(isfinite, losses)):
            kept = (
                f"the checkpoint of epoch {epoch} is kept in {self.out}; go on from it with --resume"
                if epoch
                else "nothing was written yet"
            )
            raise InceptiveError(
                f"training diverged in epoch {epoch + 1}: the loss is no longer a number; {kept} "
                f"and a smaller rate, --set optimizer.lr={self.recipe.optimizer.lr / 3:.3g}"
            )

    def _validate(self) -> np.ndarray:
        """Logits (N, K) of the validation images, in float32; each process answers for its share."""
        loaders, size = self.loaders, max(self.recipe.batch_size, 128)
        mine = self.team.share.of(len(loaders.val))
        batches: Iterable[Tensor]
        if loaders.val_images is not None:
            batches = torch.split(loaders.val_images[mine], size)
        else:
            samples = loaders.val.take(np.arange(len(loaders.val))[mine])
            workers = self.recipe.data.workers
            decoded = in_order(samples, self.preprocessing, size, loaders.cache, workers)
            batches = map(torch.from_numpy, decoded)
        return self.team.joined(self.learner.logits(batches))

    def _classifier(self, logits: np.ndarray) -> Classifier:
        """The model as it is now, with all that its folder tells, judged on validation `logits`."""
        temperature, info = record(
            self.recipe, self.data, self.progress, logits, self.loaders.val.labels
        )
        info["training"] |= {
            "device": str(self.learner.device),
            "precision": "bf16" if self.learner.bf16 else "f32",
            "threads": torch.get_num_threads(),
            "processes": self.team.share.world,
            "versions": {name: version(name) for name in ("torch", "numpy", "pillow", "accelerate")}
            | {"python": platform.python_version()},
            "cpu": torch.backends.cpu.get_cpu_capability(),
        }
        model = self.learner.judged
        return Classifier(model, self.preprocessing, self.data.classes, temperature, info)

    def _enough(self) -> str:
        """Why to stop before the last epoch, or ""."""
        p, stop = self.progress, self.recipe.stop
        if p.epoch >= self.recipe.epochs:
            return ""
        if stop.patience and p.epoch - p.best_epoch >= stop.patience:
            return f"stopped early: no better validation since epoch {p.best_epoch}"
        if any(self.team.any(self._late(p.seconds))):
            return f"stopped after {p.seconds / 60:.1f} minutes, as stop.minutes says"
        return ""

    def _late(self, seconds: float) -> bool:
        return bool(self.recipe.stop.minutes) and seconds >= 60 * self.recipe.stop.minutes

    def _fingerprint(self) -> dict[str, Any]:
        counts = {split: len(samples) for split, samples in self.data.splits.items()}
        return {"classes": list(self.data.classes), "counts": counts}

    def _checkpoint(self) -> None:
        """Write all that is needed to go on; its sums are those of all processes."""
        within = vars(self.within).copy() if self.within else None
        if within:
            within |= {key: self.team.summed(within[key]) for key in ("losses", "hits")}
        if self.team.leads:
            state = {
                "epoch": self.progress.epoch,
                "progress": asdict(self.progress),
                "recipe": self.recipe.model_dump(mode="json"),
                "data": self._fingerprint(),
                "within": within,
            }
            checkpoint.save(self.out, state | self.learner.state())
        self.team.wait()
        self.kept = time.monotonic()

    def _restore(self) -> None:
        """Go on where the checkpoint is: the process that leads reads it and tells the others."""
        state = self.team.told(lambda: checkpoint.load(self.out))
        if state["data"] != self._fingerprint():
            raise InceptiveError(
                f"{self.out}: its checkpoint is of other data "
                f"({state['data'].get('counts')}, now {self._fingerprint()['counts']})"
            )
        try:
            self.learner.restore(state)
            self.progress = Progress(**state["progress"])
            if told := state["within"]:
                # The sums are of all processes: only the leader goes on from them.
                device, leads = self.learner.device, self.team.leads
                sums = {key: told[key].to(device) * leads for key in ("losses", "hits")}
                self.within = Within(**told | sums)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InceptiveError(f"{self.out}: its checkpoint is damaged ({reason})") from None
        steps = f" and {self.within.done} steps" if self.within else ""
        self.watch.say(f"going on after epoch {self.progress.epoch} of {self.recipe.epochs}{steps}")
