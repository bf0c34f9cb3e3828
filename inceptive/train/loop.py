"""The training loop, to be read from top to bottom.

A run is a folder. After every epoch, in long ones every KEEP_SECONDS, and when it is asked to pause,
`checkpoint.pt` holds all that is needed to go on, and whenever validation is better than ever the
model folder is written beside it. A run that goes on ends with the bits of one that never stopped.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from inceptive.classifier import Classifier
from inceptive.data.pictures import in_order
from inceptive.data.source import Data
from inceptive.errors import InceptiveError
from inceptive.files import write_text
from inceptive.metrics import (
    calibration_error,
    fit_temperature,
    softmax,
    thresholds,
    top_k,
)
from inceptive.model import Model, Norm
from inceptive.train import checkpoint
from inceptive.train.history import Progress, Within, as_csv, record
from inceptive.train.objective import Objective, class_weights
from inceptive.train.prepare import (
    feed_for,
    frozen_parts,
    model_for,
    parameter_groups,
    preprocessing_for,
)
from inceptive.train.recipe import Recipe
from inceptive.train.schedule import lr_factor

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
) -> Classifier:
    """Train `recipe` on `data` in the folder `out`; returns the best model, as it lies there.

    With `resume`, go on from the checkpoint in `out`. `pause` is asked after each step; if it wants
    one, Paused is raised once the checkpoint is written. Raises InceptiveError if the data lacks a
    split, if the checkpoint is of other data, or if the loss stops being a number.
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
        self.accelerator = Accelerator(gradient_accumulation_steps=recipe.speed.accumulate)
        self.device = self.accelerator.device
        self.bf16 = wants_bf16(recipe.speed.precision, self.device)
        self.preprocessing = preprocessing_for(recipe, data)
        self.model = model_for(recipe, data, self.preprocessing.channels)
        self.feed = feed_for(recipe, data, self.preprocessing, watch.load)
        if recipe.speed.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        groups = parameter_groups(self.model, recipe)
        self.model.to(self.device)
        counts = torch.from_numpy(data.counts("train"))
        self.objective, self.optimizer = self.accelerator.prepare(
            Objective(
                self.model,
                recipe.aux.weight,
                recipe.loss.label_smoothing,
                class_weights(counts, recipe.data.balance),
            ),
            optimizer_for(recipe, groups),
        )
        self.base_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.average: AveragedModel | None = None
        if recipe.ema.decay:
            average = get_ema_multi_avg_fn(recipe.ema.decay)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        self.progress = Progress()
        self.within: Within | None = None
        self.started = self.kept = time.monotonic()

    @property
    def judged(self) -> Model:
        """The model that is validated and kept: the averaged one, if the recipe averages."""
        averaged = self.average.module if self.average else self.model
        assert isinstance(averaged, Model)
        return averaged

    def run(self, resume: bool) -> Classifier:
        if resume:
            self._restore()
        recipe, p = self.recipe, self.progress
        self.started = started = time.monotonic() - p.seconds
        while p.epoch < recipe.epochs:
            row = self._epoch(p.epoch)
            p.epoch += 1
            logits = self._validate()
            row |= self._judge(logits)
            p.seconds = time.monotonic() - started
            row["seconds"] = round(p.seconds, 2)
            p.history.append(row)
            self.within = None
            better = p.better(row["val_top1"], row["val_loss"])
            if better:
                p.best_top1, p.best_loss, p.best_epoch = row["val_top1"], row["val_loss"], p.epoch
                self._classifier(logits).save(self.out)
            write_text(self.out / "history.csv", as_csv(p.history))
            self._checkpoint()
            self.watch.row(row, better)
            if reason := self._enough():
                self.watch.say(reason)
                break
            if p.epoch < recipe.epochs and self.pause():
                raise Paused(f"after epoch {p.epoch} of {recipe.epochs}")
        (self.out / checkpoint.CHECKPOINT).unlink(missing_ok=True)
        return Classifier.load(self.out)

    def _epoch(self, number: int) -> dict[str, Any]:
        """One pass over the training images, or what is left of it; the row of history that it gives."""
        steps = len(self.feed.train)
        self.set_training()
        self.watch.epoch(number, self.recipe.epochs, steps)
        heads = self.accelerator.unwrap_model(self.objective).heads
        at = self.within = self.within or Within(
            torch.zeros(len(heads), device=self.device), torch.zeros((), device=self.device)
        )
        draws, before = self._chance(number, at), time.monotonic() - at.seconds
        for batch, labels in self.feed.train.epoch(number, at.done):
            at.lr = self._set_lr(number + at.done / steps)
            at.done += 1
            each, right = self.step(batch, labels.to(self.device), draws)
            at.losses += each
            at.hits += right
            at.images += len(labels)
            if at.done == steps and not self.accelerator.sync_gradients:
                self.model.zero_grad()  # a batch that is not full is left out, as any smaller one is
                self.accelerator.step = 0
            at.seconds = time.monotonic() - before
            if at.done % LOOK_STEPS == 0 or at.done == steps:
                self._refuse_nan(at.losses, number)
                means = (at.losses / at.done).tolist()
                self.watch.step(at.done, at.images, means, float(at.hits) / at.images)
            if self._late(time.monotonic() - self.started):
                break
            if self.accelerator.sync_gradients or at.done == steps:
                self._keep(draws)
        names = ["loss", *(f"loss_{head}" for head in heads[1:])]
        means = (at.losses / at.done).tolist()
        row: dict[str, Any] = {"epoch": number + 1, "lr": round(at.lr, 8)}
        row |= {name: round(mean, 5) for name, mean in zip(names, means, strict=True)}
        row["top1"] = round(float(at.hits) / at.images, 5)
        row["images_per_second"] = round(at.images / at.seconds, 1)
        return row

    def _chance(self, number: int, at: Within) -> torch.Generator:
        """Where chance stands at a step of an epoch: dropout's is set, that of the changes returned.

        Order, crops, changes and dropout follow from (seed, epoch) and the steps since.
        """
        draws = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + number)
        torch.manual_seed(self.recipe.seed * 1_000_003 + number)
        if at.draws is not None and at.chance is not None:
            draws.set_state(at.draws)
            torch.set_rng_state(at.chance[0])
            if len(at.chance) > 1 and self.device.type == "cuda":
                torch.cuda.set_rng_state(at.chance[1], self.device)
        return draws

    def _keep(self, draws: torch.Generator) -> None:
        """A checkpoint between two steps, if it is time or a pause is wanted: then Paused is raised."""
        paused = self.pause()
        if not paused and time.monotonic() - self.kept < KEEP_SECONDS:
            return
        at = self.within
        assert at is not None
        at.draws, at.chance = draws.get_state(), [torch.get_rng_state()]
        if self.device.type == "cuda":
            at.chance.append(torch.cuda.get_rng_state(self.device))
        self.progress.seconds = time.monotonic() - self.started
        self._checkpoint()
        if paused:
            raise Paused(
                f"after step {at.done} of {len(self.feed.train)} of epoch {self.progress.epoch + 1}"
            )

    def step(self, batch: Tensor, labels: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Forward, backward, and where a whole batch is gathered a step: losses, right answers."""
        images = self._shown(self.feed.augment(batch.to(self.device), draws))
        with self.accelerator.accumulate(self.objective):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                total, each, logits = self.objective(images, labels)
            self.accelerator.backward(total)
            if self.recipe.optimizer.clip and self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(
                    self.model.parameters(), self.recipe.optimizer.clip
                )
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.average and self.accelerator.sync_gradients:
            self.average.update_parameters(self.model)
        hard = labels if labels.ndim == 1 else labels.argmax(1)
        return each, (logits.argmax(1) == hard).sum()

    def _shown(self, images: Tensor) -> Tensor:
        """Images of 0-255 as the net takes them."""
        scale, shift = self.preprocessing.scale_and_shift()
        x = images.float() * torch.from_numpy(scale).to(self.device)
        x += torch.from_numpy(shift).to(self.device)
        if self.recipe.speed.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return x

    def set_training(self) -> None:
        """Everything learns but what the recipe freezes."""
        self.model.train()
        for name in frozen_parts(self.model, self.recipe.finetune.freeze):
            self.model.get_submodule(name).eval()  # batch norm keeps its statistics too
        if self.recipe.finetune.batch_norm == "frozen":
            for module in self.model.modules():
                if isinstance(module, Norm):
                    module.eval()

    def _set_lr(self, epoch: float) -> float:
        factor = lr_factor(self.recipe.schedule, epoch, self.recipe.epochs)
        for group, base in zip(self.optimizer.param_groups, self.base_lr, strict=True):
            group["lr"] = base * factor
        return self.recipe.optimizer.lr * factor

    def _refuse_nan(self, losses: Tensor, epoch: int) -> None:
        if not bool(torch.isfinite(losses).all()):
            kept = (
                f"the checkpoint of epoch {epoch} is kept in {self.out}; go on from it with --resume"
                if epoch
                else "nothing was written yet"
            )
            raise InceptiveError(
                f"training diverged in epoch {epoch + 1}: the loss is no longer a number; {kept} "
                f"and a smaller rate, --set optimizer.lr={self.recipe.optimizer.lr / 3:.3g}"
            )

    @torch.inference_mode()
    def _validate(self) -> np.ndarray:
        """Logits (N, K) of the validation images, in float32."""
        self.judged.eval()
        feed, size = self.feed, max(self.recipe.batch_size, 128)
        if feed.val_images is not None:
            batches = iter(torch.split(feed.val_images, size))
        else:
            workers = self.recipe.data.workers
            batches = map(
                torch.from_numpy, in_order(feed.val, self.preprocessing, size, feed.cache, workers)
            )
        found = []
        for batch in batches:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                found.append(self.judged(self._shown(batch.to(self.device))).float().cpu())
        return torch.cat(found).numpy()

    def _judge(self, logits: np.ndarray) -> dict[str, float]:
        labels, probs = self.feed.val.labels, softmax(logits)
        chosen = np.maximum(probs[np.arange(len(labels)), labels], 1e-12)
        return {
            "val_loss": round(float(-np.log(chosen).mean()), 5),
            "val_top1": round(float(top_k(probs, labels, 1).mean()), 5),
        }

    def _classifier(self, logits: np.ndarray) -> Classifier:
        """The model as it is now, with all that its folder tells, judged on validation `logits`."""
        labels = self.feed.val.labels
        temperature = fit_temperature(logits, labels)
        hits = top_k(softmax(logits), labels, 1)
        scaled = softmax(logits, temperature)
        info = record(self.recipe, self.data, self.progress, hits)
        info["metrics"] |= {
            "calibration_error": calibration_error(softmax(logits), labels),
            "calibration_error_scaled": calibration_error(scaled, labels),
            "abstain": [asdict(one) for one in thresholds(scaled, labels)],
        }
        info["training"] |= {
            "device": str(self.device),
            "precision": "bf16" if self.bf16 else "f32",
            "threads": torch.get_num_threads(),
        }
        return Classifier(self.judged, self.preprocessing, self.data.classes, temperature, info)

    def _enough(self) -> str:
        """Why to stop before the last epoch, or ""."""
        p, stop = self.progress, self.recipe.stop
        if p.epoch >= self.recipe.epochs:
            return ""
        if stop.patience and p.epoch - p.best_epoch >= stop.patience:
            return f"stopped early: no better validation since epoch {p.best_epoch}"
        if self._late(p.seconds):
            return f"stopped after {p.seconds / 60:.1f} minutes, as stop.minutes says"
        return ""

    def _late(self, seconds: float) -> bool:
        return bool(self.recipe.stop.minutes) and seconds >= 60 * self.recipe.stop.minutes

    def _fingerprint(self) -> dict[str, Any]:
        counts = {split: len(samples) for split, samples in self.data.splits.items()}
        return {"classes": list(self.data.classes), "counts": counts}

    def _checkpoint(self) -> None:
        checkpoint.save(
            self.out,
            {
                "epoch": self.progress.epoch,
                "progress": asdict(self.progress),
                "recipe": self.recipe.model_dump(mode="json"),
                "data": self._fingerprint(),
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.state_dict() if self.average else None,
                "within": vars(self.within) if self.within else None,
            },
        )
        self.kept = time.monotonic()

    def _restore(self) -> None:
        state = checkpoint.load(self.out)
        if state["data"] != self._fingerprint():
            raise InceptiveError(
                f"{self.out}: its checkpoint is of other data "
                f"({state['data']['counts']}, now {self._fingerprint()['counts']})"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average and state["average"]:
            self.average.load_state_dict(state["average"])
        self.progress = Progress(**state["progress"])
        where = f"epoch {self.progress.epoch} of {self.recipe.epochs}"
        if told := state.get("within"):
            sums = {key: told[key].to(self.device) for key in ("losses", "hits")}
            self.within = Within(**told | sums)
            where += f" and {self.within.done} steps"
        self.watch.say(f"going on after {where}")


def wants_bf16(precision: str, device: torch.device) -> bool:
    """Whether to train in bfloat16: as asked, or where the hardware multiplies it directly."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.backends.cpu.get_cpu_capability()
    flags = torch.cpu.get_capabilities() if capabilities.startswith("AVX512") else {}
    return bool(flags.get("avx512_bf16") or flags.get("amx_bf16"))


def optimizer_for(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    table = recipe.optimizer
    if table.kind == "adamw":
        return torch.optim.AdamW(groups, lr=table.lr, fused=True)
    return torch.optim.SGD(
        groups, lr=table.lr, momentum=table.momentum, nesterov=table.nesterov, fused=True
    )
