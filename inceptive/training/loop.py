"""The training loop, to be read from top to bottom.

A run is a folder. At every new validation best the model folder is written, and next to it, at the
start too, after other epochs (SAVE_SHARE), in long ones every SAVE_SECONDS, and when asked to stop,
`checkpoint.pt`, which holds all that is needed to resume. A resumed run is bit-identical to an
uninterrupted one, unless minutes are given: what the clock decides, it decides anew.

Several processes may share a run (`distributed`): each takes its part of every batch, one writes.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inceptive.arch.codec import first_difference, net_from_dict, net_to_dict
from inceptive.arch.spec import Net
from inceptive.data.cache import user_cache
from inceptive.data.pictures import in_order
from inceptive.data.source import Data
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError, reason
from inceptive.io.atomic import write_text
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent
from inceptive.nn import build
from inceptive.training import checkpoint
from inceptive.training.augment import Augment
from inceptive.training.callbacks import Callback, ProgressCallback
from inceptive.training.distributed import World
from inceptive.training.frozen import FrozenMaps
from inceptive.training.history import (
    EpochState,
    RunState,
    as_csv,
    environment,
    record,
    validation_row,
)
from inceptive.training.learner import Learner
from inceptive.training.novelty import MOST, find_novelty
from inceptive.training.plan import seconds_to_learn
from inceptive.training.prepare import loaders_for, model_for, preprocessing_for
from inceptive.training.probe import Start
from inceptive.training.recipe import AugmentTable, Recipe, refuse_unresumable

LOOK_STEPS = 10
"""Steps between two looks at the loss: each look makes an accelerator wait."""
SAVE_SECONDS = 600.0
"""What is lost at most, if the process is killed."""
SAVE_SHARE = 0.02
"""Share of the time that goes to checkpoints of short epochs that found no better model."""


class Paused(Exception):
    """Training was asked to stop, and its checkpoint is written; the message says where it stopped."""


def computed_once(recipe: Recipe, world: World) -> str:
    """The last part whose maps are computed once per view of a picture; "" if none are."""
    return recipe.finetune.freeze if recipe.finetune.views and world.is_single else ""


class Run:
    """One training: the recipe's parts assembled, then epochs of steps. `began` is its start on the
    clock of time.monotonic(), by default now."""

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        out: Path,
        net: Net | None = None,
        resume: bool = False,
        progress: Progress | None = ON_STANDARD_ERROR,
        callbacks: Sequence[Callback] = (),
        should_stop: Callable[[], bool] = lambda: False,
        start: Start | None = None,
        began: float | None = None,
    ):
        self.recipe, self.data, self.out, self.should_stop = recipe, data, out, should_stop
        self.progress = progress or Silent()
        self.callbacks = [ProgressCallback(self.progress, recipe), *callbacks]
        torch.manual_seed(recipe.seed)
        self.started = time.monotonic() if began is None else began
        self.world = World()
        self.world.refuse_unless_alike(self._fingerprint(), "data")
        # The process that writes reads the checkpoint too, and tells the others.
        state = self.world.broadcast(lambda: checkpoint.load(out)) if resume else None
        if state:
            self._refuse_other(state, net)
        self.preprocessing = preprocessing_for(recipe, data)
        if state:
            model = build(net_from_dict(state["net"]))
        elif start:
            model = start.classifier.model
        else:
            model = model_for(recipe, data, self.preprocessing.channels, net)
        share, views = self.world.share, recipe.finetune.views
        after = computed_once(recipe, self.world)
        table = AugmentTable() if views else recipe.augment  # views are changed before
        augment = Augment(table, recipe.image_size, share)
        self.learner = Learner(recipe, data, model, self.preprocessing, augment, self.world, after)
        self.state = RunState()
        self.epoch_state: EpochState | None = None
        if state:  # before the maps of its frozen layers are computed
            self._restore(state)
        frozen = start.frozen if start and after else None
        if after and frozen is None:
            cache = user_cache() if recipe.data.cache else None
            options = self.preprocessing, recipe.speed, cache, self.progress
            frozen = FrozenMaps(model, after, *options)
        advance = partial(self.progress.advance, "reading images")
        self.loaders = loaders_for(recipe, data, self.preprocessing, advance, share, frozen)
        if recipe.speed.accumulate > len(self.loaders.train):
            raise InceptiveError(
                f"speed.accumulate = {recipe.speed.accumulate}: an epoch has "
                f"{len(self.loaders.train)} batches, so nothing would be learned; gather fewer, or set "
                "a smaller batch_size"
            )
        if start:
            self.state.begin_behind(start.row, len(data.split("val")))
            self.state.details = start.details
        self.judging = 0.0
        """Seconds that the last validation took."""
        self.best_logits = start.logits if start else None
        """Of the validation images, by the model that is kept; None if another process found it."""
        self.saved, self.saving = time.monotonic(), 0.0
        """When a checkpoint was written, and the seconds that it took."""
        if not state:  # from now on the training can be resumed, whatever ends it
            self.state.seconds = self.state.before = self.saved - self.started
            if start:
                start.save(out)
            self._write_checkpoint()

    def run(self) -> Classifier:
        """Train to the end, or raise Paused on `should_stop`; return the best model, as saved."""
        recipe, state = self.recipe, self.state
        self.started = started = time.monotonic() - state.seconds
        while state.epoch < self.most_epochs:
            row = self._epoch(state.epoch)
            before = time.monotonic()
            logits = self._validate()
            self.judging = time.monotonic() - before
            state.epoch += 1
            row |= validation_row(logits, self.loaders.val.labels)
            state.seconds = time.monotonic() - started
            row["seconds"] = round(state.seconds, 2)
            state.history.append(row)
            self.epoch_state = None
            better = state.better(row["val_top1"], row["val_loss"])
            if better:
                state.best_top1, state.best_loss = row["val_top1"], row["val_loss"]
                state.best_epoch = state.epoch
            if self.world.is_main:
                if better:
                    self._classifier(logits).save(self.out)
                    self.best_logits = logits
                write_text(self.out / "history.csv", as_csv(state.history))
            soon = min(self.saving / SAVE_SHARE, SAVE_SECONDS)
            # With a better model always: one that it does not know of would be replaced by a worse one.
            save = better or any(self.world.any(self._unsaved_for(soon)))
            if save:
                self._write_checkpoint()
            for callback in self.callbacks:
                callback.on_epoch_end(row, better)
            # What they added is read again without pickle.
            row.update({k: v.item() for k, v in row.items() if isinstance(v, np.generic)})
            if reason := self._stop_reason():
                self.progress.say(reason)
                break
            if state.epoch < self.most_epochs and any(self.world.any(self.should_stop())):
                if not save:
                    self._write_checkpoint()
                raise Paused(f"after epoch {state.epoch} of {max(state.epoch, recipe.epochs)}")
        if self.world.is_main:
            (self.out / checkpoint.CHECKPOINT).unlink(missing_ok=True)
        return self.world.broadcast(self._best)

    def _best(self) -> Classifier:
        """The best model, as its folder has it; that then also tells a picture of no class."""
        best = Classifier.load(self.out)
        if best.info["metrics"]["split"] == "val" and "novelty" not in best.info:
            try:
                novelty = find_novelty(
                    best.to(self.learner.device), self.data.split("val"), self.loaders.cache
                )
            except InceptiveError as error:  # the training stands
                self.progress.say(f"note: the model does not tell pictures of no class: {error}")
                novelty = None
            best.to("cpu")
            if novelty:
                best.info["novelty"] = novelty.to_dict()
                best.save_config(self.out)
        return best

    def _epoch(self, number: int) -> dict[str, Any]:
        """One pass over the training images, or what is left of it; the row of history that it gives."""
        learner, steps, world = self.learner, len(self.loaders.train), self.world.share.world
        learner.set_training()
        learner.set_size(self._moment(number))
        for callback in self.callbacks:
            callback.on_epoch_start(number, max(self.recipe.epochs, number + 1), steps)
        at = self.epoch_state = self.epoch_state or EpochState(
            torch.zeros(len(learner.heads), device=learner.device),
            torch.zeros((), device=learner.device),
        )
        draws, before = torch.Generator(), time.monotonic() - at.seconds
        for batch, labels in self.loaders.train.epoch(number, at.step):
            self._draw_for(number, at.step, draws)
            at.lr = learner.set_lr(self._moment(number + at.step / steps))
            at.step += 1
            losses, hits = learner.step(batch, labels.to(learner.device), draws)
            at.losses += losses / world
            at.hits += hits
            at.images += len(labels) * world
            if at.step == steps and not learner.did_step:
                learner.drop_partial_batch()
            at.seconds = time.monotonic() - before
            if at.step % LOOK_STEPS == 0 or at.step == steps:
                means, top1 = self._means(at)
                if not all(map(isfinite, means)):
                    raise self._diverged("the loss")
                for callback in self.callbacks:
                    callback.on_step(at.step, at.images, means, top1)
            if learner.did_step or at.step == steps:
                out_of_time, stop, save = self._poll_stop()
                if out_of_time:
                    break
                if stop or save:
                    self._save_checkpoint(stop)
        names = ["loss", *(f"loss_{head}" for head in learner.heads[1:])]
        means, top1 = self._means(at)
        row: dict[str, Any] = {"epoch": number + 1, "pixels": learner.size, "lr": round(at.lr, 8)}
        row |= {name: round(mean, 5) for name, mean in zip(names, means, strict=True)}
        row["top1"] = round(top1, 5)
        row["images_per_second"] = round(at.images / at.seconds, 1)
        return row

    @property
    def most_epochs(self) -> int:
        """Maximum number of epochs; if they were planned for the minutes, more than planned."""
        return max(self.recipe.epochs, self.recipe.stop.most_epochs)

    def _moment(self, epoch: float) -> float:
        """How far the training is, in the recipe's epochs: where time runs out before them, or they were
        planned for it, the time decides."""
        if not self.recipe.stop.minutes:
            return epoch
        epoch *= self.recipe.epochs / self.most_epochs
        before = self.state.before
        used = (time.monotonic() - self.started - before) / max(self._seconds() - before, 1e-3)
        return self.world.broadcast(lambda: max(epoch, min(used, 1.0) * self.recipe.epochs))

    def _seconds(self) -> float:
        once_more = min(1.0, MOST / len(self.loaders.val))  # see find_novelty
        return seconds_to_learn(self.recipe.stop.minutes, self.judging * (1 + once_more))

    def _draw_for(self, epoch: int, step: int, draws: torch.Generator) -> None:
        """Begin dropout and `draws`, of the changes to pictures, anew for a step.

        All that is drawn follows from (seed, epoch, step), so nothing of it has to be kept.
        """
        words = np.random.SeedSequence((self.recipe.seed, epoch, step)).generate_state(2, np.uint64)
        torch.manual_seed(int(words[0] >> 1))
        draws.manual_seed(int(words[1] >> 1))

    def _means(self, at: EpochState) -> tuple[list[float], float]:
        """Each head's loss and the share of right answers in this epoch, of all processes."""
        losses, hits = self.world.all_reduce(at.losses), self.world.all_reduce(at.hits)
        return (losses / at.step).tolist(), float(hits) / at.images

    def _poll_stop(self) -> list[bool]:
        """Whether any process is out of time, asked to stop, and in need of a checkpoint."""
        out_of_time = self._out_of_time(time.monotonic() - self.started)
        return self.world.any(out_of_time, self.should_stop(), self._unsaved_for(SAVE_SECONDS))

    def _unsaved_for(self, seconds: float) -> bool:
        return time.monotonic() - self.saved >= seconds

    def _save_checkpoint(self, stop: bool) -> None:
        """A checkpoint between two steps; then Paused is raised, if training is to stop."""
        assert self.epoch_state is not None
        self.state.seconds = time.monotonic() - self.started
        self._write_checkpoint()
        if stop:
            step, steps = self.epoch_state.step, len(self.loaders.train)
            raise Paused(f"after step {step} of {steps} of epoch {self.state.epoch + 1}")

    def _diverged(self, what: str) -> InceptiveError:
        epoch = self.state.epoch + (self.epoch_state is not None)
        rate = self.recipe.optimizer.lr / 3
        advice = (
            f"the last checkpoint is kept in {self.out}; go on from it with --resume and"
            if (self.out / checkpoint.CHECKPOINT).exists()
            else "no checkpoint was written yet; begin anew with"
        )
        return InceptiveError(
            f"training diverged in epoch {epoch}: {what} is no longer a number; {advice} a smaller "
            f"rate, --set optimizer.lr={rate:.3g} (if it diverges again at once, begin anew)"
        )

    def _validate(self) -> np.ndarray:
        """Logits (N, K) of the validation images, in float32; each process answers for its share."""
        loaders, size = self.loaders, max(self.recipe.batch_size, 128)
        mine = self.world.share.of(len(loaders.val))
        batches: Iterable[Tensor]
        if loaders.val_images is not None:
            batches = torch.split(loaders.val_images[mine], size)
        else:
            samples = loaders.val.take(np.arange(len(loaders.val))[mine])
            workers = self.recipe.data.workers
            decoded = in_order(samples, self.preprocessing, size, loaders.cache, workers)
            batches = map(torch.from_numpy, decoded)
        logits = self.world.all_gather(self.learner.logits(batches))
        if not np.isfinite(logits).all():
            raise self._diverged("an answer to a validation image")
        return logits

    def _classifier(self, logits: np.ndarray) -> Classifier:
        """The model as it is now, with all that its folder tells, measured by validation's `logits`."""
        temperature, info = record(
            self.recipe, self.data, self.state, logits, self.loaders.val.labels
        )
        info["training"] |= (
            self.state.details
            | environment()
            | {
                "device": str(self.learner.device),
                "precision": "bf16" if self.learner.bf16 else "f32",
                "processes": self.world.share.world,
            }
        )
        model = self.learner.eval_model
        return Classifier(model, self.preprocessing, self.data.classes, temperature, info)

    def _stop_reason(self) -> str:
        """Why to stop before the last epoch, or ""."""
        state, stop = self.state, self.recipe.stop
        if state.epoch >= self.most_epochs:
            return ""
        if stop.patience and state.epoch - state.best_epoch >= stop.patience:
            return f"stopped early: no better validation since epoch {state.best_epoch}"
        if any(self.world.any(self._out_of_time(state.seconds))):
            return (
                f"stopped after {state.seconds / 60:.1f} of {stop.minutes:g} minutes, as stop.minutes "
                "says: the rest is for writing"
            )
        return ""

    def _out_of_time(self, seconds: float) -> bool:
        return bool(self.recipe.stop.minutes) and seconds >= self._seconds()

    def _fingerprint(self) -> dict[str, Any]:
        pictures = hashlib.sha256()
        for samples in self.data.splits.values():
            pictures.update(np.sort(samples.images.digests()).tobytes())
        return {
            "classes": list(self.data.classes),
            "counts": {split: len(samples) for split, samples in self.data.splits.items()},
            "pictures": pictures.hexdigest(),
        }

    def _write_checkpoint(self) -> None:
        """Write all that is needed to go on; its sums are those of all processes.

        Raises InceptiveError if a weight is not finite: from such a checkpoint nobody could go on.
        """
        began = time.monotonic()
        tensors = self.learner.state()
        floats = (value for value in tensors["model"].values() if value.is_floating_point())
        finite = all(bool(value.isfinite().all()) for value in floats)
        if any(self.world.any(not finite)):
            raise self._diverged("a weight")
        epoch_state = vars(self.epoch_state).copy() if self.epoch_state else None
        if epoch_state:
            epoch_state |= {
                key: self.world.all_reduce(epoch_state[key]) for key in ("losses", "hits")
            }
        if self.world.is_main:
            state = {
                "run": asdict(self.state),
                "epoch_state": epoch_state,
                "recipe": self.recipe.model_dump(mode="json"),
                "net": net_to_dict(self.learner.model.net),
                "data": self._fingerprint(),
            }
            checkpoint.save(self.out, state | tensors)
        self.world.wait()
        self.saved = time.monotonic()
        self.saving = self.saved - began

    def _refuse_other(self, state: dict[str, Any], net: Net | None) -> None:
        """Raises InceptiveError if the checkpoint `state` is of other data, net or recipe."""
        now, before = self._fingerprint(), state["data"]
        if "pictures" not in before:  # written until 0.1
            del now["pictures"]
        if before != now:
            counts, others = before.get("counts"), now.get("counts")
            difference = "other images" if counts == others else f"{counts}, now {others}"
            raise InceptiveError(f"{self.out}: its checkpoint is of other data ({difference})")
        refuse_unresumable(Recipe.of_checkpoint(state["recipe"], self.out), self.recipe)
        trained = net_from_dict(state["net"])
        if net is not None and (difference := first_difference(net, trained)):
            raise InceptiveError(
                f"{self.out}: its checkpoint is of another net ({difference}); give another folder (out)"
            )

    def _restore(self, state: dict[str, Any]) -> None:
        """Go on where the checkpoint is."""
        try:
            self.learner.restore(state)
            run = state["run"]
            if "told" in run:  # written until 0.1
                run["details"] = run.pop("told")
            self.state = RunState(**run)
            if within := state["epoch_state"]:
                # The sums are of all processes: only one of them goes on from them.
                device, is_main = self.learner.device, self.world.is_main
                sums = {key: within[key].to(device) * is_main for key in ("losses", "hits")}
                self.epoch_state = EpochState(**within | sums)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InceptiveError(
                f"{self.out}: its checkpoint is damaged ({reason(error)})"
            ) from None
        steps = f" and {self.epoch_state.step} steps" if self.epoch_state else ""
        self.progress.say(f"going on after epoch {self.state.epoch} of {self.recipe.epochs}{steps}")
