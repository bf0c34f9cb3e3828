"""The learner: the net with its objective and optimizer, and one training step."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from inceptive.data.source import Data
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.nn import Model, Norm
from inceptive.training.augment import Augment
from inceptive.training.calibration import compute_in, laid_out, wants_bf16
from inceptive.training.distributed import World
from inceptive.training.objective import Objective, class_weights
from inceptive.training.prepare import (
    frozen_parts,
    optimizer_for,
    parameter_groups,
)
from inceptive.training.recipe import Recipe
from inceptive.training.schedule import lr_factor, size_at
from inceptive.training.shared_layers import join

FASTEST, RENEWALS = 0.1, 30
"""The momentum that batch norm's running statistics need at most, and how often a training renews them
at least: published nets have momenta for 100,000 steps and more."""


class Learner:
    """A model with its objective and optimizer, on the training device, ready for the recipe's steps.

    With `after`, it is given the maps of that part, the last frozen one, instead of images.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        model: Model,
        preprocessing: Preprocessing,
        augment: Augment,
        world: World,
        after: str = "",
    ):
        self.recipe, self.preprocessing, self.augment = recipe, preprocessing, augment
        self.model, self.device = model, world.device
        self.bf16 = wants_bf16(recipe.speed.precision, self.device)
        compute_in(self.model, recipe.speed)
        counts = torch.from_numpy(data.counts("train"))
        steps = recipe.epochs * max(1, int(counts.sum()) // recipe.batch_size)
        keep_statistics_current(self.model, steps)
        groups = parameter_groups(self.model, recipe)
        self.model.to(self.device)
        if not world.is_single:
            join(self.model, world.share, recipe.speed.sync_batch_norm)
        weights = class_weights(counts, recipe.data.balance)
        self.after, smoothing = after, recipe.loss.label_smoothing
        self.size = recipe.image_size
        objective = Objective(self.model, recipe.aux.weight, smoothing, weights, after)
        self.heads = objective.heads
        self.objective: nn.Module = objective.to(self.device)
        if not world.is_single:
            devices = None if self.device.type == "cpu" else [self.device]
            self.objective = DistributedDataParallel(self.objective, device_ids=devices)
        self.optimizer = optimizer_for(recipe, groups)
        self.base_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.gathered = 0
        """Batches since the last step, whose gradients are added up."""
        self.average: AveragedModel | None = None
        if recipe.ema.decay:
            average = partial(_average, recipe.ema.decay)
            self.average = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)

    @property
    def eval_model(self) -> Model:
        """The model to validate and keep: the averaged one, if the recipe averages."""
        averaged = self.average.module if self.average else self.model
        assert isinstance(averaged, Model)
        return averaged

    @property
    def did_step(self) -> bool:
        """Whether the last batch completed a step, rather than adding to the next one."""
        return self.gathered == 0

    def set_training(self) -> None:
        """Set everything to training mode except what the recipe freezes."""
        self.model.train()
        for name in frozen_parts(self.model.net, self.recipe.finetune.freeze):
            self.model.get_submodule(name).eval()  # batch norm keeps its statistics too
        if self.recipe.finetune.batch_norm == "frozen":
            for module in self.model.modules():
                if isinstance(module, Norm):
                    module.eval()

    def set_size(self, epoch: float) -> None:
        """Set the image size for that point of the training."""
        recipe = self.recipe
        self.size = size_at(recipe.schedule, epoch, recipe.epochs, recipe.image_size)
        self.augment = replace(self.augment, size=self.size)

    def set_lr(self, epoch: float) -> float:
        """Set every group's learning rate for that point; return that of new layers."""
        factor = lr_factor(self.recipe.schedule, epoch, self.recipe.epochs)
        for group, base in zip(self.optimizer.param_groups, self.base_lr, strict=True):
            group["lr"] = base * factor
        return self.recipe.optimizer.lr * factor

    def step(self, batch: Tensor, labels: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Forward, backward and, once a whole batch is gathered, a step: losses, right answers.

        Raises InceptiveError if so few images cannot be normalised.
        """
        batch = batch.to(self.device)
        images = self._inputs(batch if self.after else self.augment(self._resized(batch), draws))
        self.gathered = (self.gathered + 1) % self.recipe.speed.accumulate
        with self._unsent() if self.gathered else nullcontext():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                total, losses, logits = self._forward(images, labels)
            (total / self.recipe.speed.accumulate).backward()  # type: ignore[no-untyped-call]
        if self.did_step:
            if self.recipe.optimizer.clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optimizer.clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.average:
                self.average.update_parameters(self.model)
        hard = labels if labels.ndim == 1 else labels.argmax(1)
        return losses, (logits.argmax(1) == hard).sum()

    def _resized(self, images: Tensor) -> Tensor:
        """Images (N, C, S, S) as small as this moment's are."""
        if self.size == self.recipe.image_size:
            return images
        side = self.size, self.size
        return F.interpolate(images.float(), side, mode="bilinear", antialias=True)

    def _unsent(self) -> AbstractContextManager[None]:
        """In this block gradients stay in this process."""
        if isinstance(self.objective, DistributedDataParallel):
            return self.objective.no_sync()
        return nullcontext()

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        try:
            outputs: tuple[Tensor, Tensor, Tensor] = self.objective(images, labels)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InceptiveError(
                f"{self.model.net.name} cannot learn from a batch of {len(images)} image at "
                f"{images.shape[-1]} pixels: batch normalisation of 1 x 1 maps needs two values or "
                "more; set batch_size = 2 or more, or finetune.batch_norm = 'frozen'"
            ) from None
        return outputs

    def drop_partial_batch(self) -> None:
        """Discard what is gathered for an incomplete batch, since smaller ones are left out."""
        self.model.zero_grad()
        self.gathered = 0

    @torch.inference_mode()
    def logits(self, batches: Iterable[Tensor]) -> np.ndarray:
        """Logits (N, K) of `eval_model` for images of 0-255, or maps: in float32, as deployed."""
        self.eval_model.eval()
        rows = [np.empty((0, self.eval_model.net.num_classes), np.float32)]
        for batch in batches:
            if len(batch):  # else the share of one process of more than there are images
                logits, _ = self.eval_model.stage(self._inputs(batch.to(self.device)), self.after)
                rows.append(logits.cpu().numpy())
        return np.concatenate(rows)

    def state(self) -> dict[str, Any]:
        """All tensors that a step changes."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from `state`; learning rates and weight decays stay those of the recipe."""
        self.model.load_state_dict(state["model"])
        settings = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, setting in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(setting)
        if self.average and state["average"]:
            self.average.load_state_dict(state["average"])

    def _inputs(self, images: Tensor) -> Tensor:
        """Images of 0-255 as the net takes them; of maps the numbers, in float32."""
        x = images.float() if self.after else self.preprocessing.normalise(images)
        return laid_out(x, self.recipe.speed)


def keep_statistics_current(model: Model, steps: int) -> None:
    """Raise the momenta of batch norm that are too small for a training of so many steps."""
    needed = min(FASTEST, RENEWALS / max(steps, 1))
    for module in model.modules():
        if isinstance(module, Norm):
            module.momentum = max(module.momentum or 0.0, needed)


def _average(decay: float, averages: Any, values: Any, count: Tensor) -> None:
    """Move averages towards values, in the beginning quickly: the weights that all begins with tell
    nothing. As tf.train.ExponentialMovingAverage does it with num_updates, here their `count`."""
    share = min(decay, (1 + int(count)) / (10 + int(count)))
    get_ema_multi_avg_fn(share)(averages, values, count)  # type: ignore[no-untyped-call]
