"""What learns: the net with its objective and optimizer, and one step of it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from inceptive.data.source import Data
from inceptive.images import Preprocessing
from inceptive.nn import Model, Norm
from inceptive.training.augment import Augment
from inceptive.training.distributed import Team
from inceptive.training.objective import Objective, class_weights
from inceptive.training.prepare import (
    frozen_parts,
    model_for,
    optimizer_for,
    parameter_groups,
    wants_bf16,
)
from inceptive.training.recipe import Recipe
from inceptive.training.schedule import lr_factor
from inceptive.training.shared_layers import join


class Learner:
    """The net of a recipe for the classes of `data`, on the device that trains, ready for its steps.

    Weights are drawn from torch's global generator.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        preprocessing: Preprocessing,
        augment: Augment,
        team: Team,
    ):
        self.recipe, self.preprocessing, self.augment = recipe, preprocessing, augment
        self.accelerator = Accelerator(
            gradient_accumulation_steps=recipe.speed.accumulate, cpu=team.device.type == "cpu"
        )
        self.device = self.accelerator.device
        self.bf16 = wants_bf16(recipe.speed.precision, self.device)
        self.model = model_for(recipe, data, preprocessing.channels)
        if recipe.speed.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        groups = parameter_groups(self.model, recipe)
        self.model.to(self.device)
        if not team.alone:
            join(self.model, team.share, recipe.speed.sync_batch_norm)
        counts = torch.from_numpy(data.counts("train"))
        weights = class_weights(counts, recipe.data.balance)
        objective = Objective(self.model, recipe.aux.weight, recipe.loss.label_smoothing, weights)
        self.heads = objective.heads
        self.objective, self.optimizer = self.accelerator.prepare(
            objective, optimizer_for(recipe, groups)
        )
        self.base_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.average: AveragedModel | None = None
        if recipe.ema.decay:
            average = get_ema_multi_avg_fn(recipe.ema.decay)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)

    @property
    def judged(self) -> Model:
        """The model that is validated and kept: the averaged one, if the recipe averages."""
        averaged = self.average.module if self.average else self.model
        assert isinstance(averaged, Model)
        return averaged

    @property
    def stepped(self) -> bool:
        """Whether the last batch made a step, or will make one with those that follow it."""
        return bool(self.accelerator.sync_gradients)

    def set_training(self) -> None:
        """Everything learns but what the recipe freezes."""
        self.model.train()
        for name in frozen_parts(self.model, self.recipe.finetune.freeze):
            self.model.get_submodule(name).eval()  # batch norm keeps its statistics too
        if self.recipe.finetune.batch_norm == "frozen":
            for module in self.model.modules():
                if isinstance(module, Norm):
                    module.eval()

    def set_lr(self, epoch: float) -> float:
        """The rate of such a moment, for every group its own; that of new layers is returned."""
        factor = lr_factor(self.recipe.schedule, epoch, self.recipe.epochs)
        for group, base in zip(self.optimizer.param_groups, self.base_lr, strict=True):
            group["lr"] = base * factor
        return self.recipe.optimizer.lr * factor

    def step(self, batch: Tensor, labels: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Forward, backward, and where a whole batch is gathered a step: losses, right answers."""
        images = self._shown(self.augment(batch.to(self.device), draws))
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

    def leave_rest(self) -> None:
        """Forget what is gathered for a batch that will not be full, as any smaller one is left out."""
        self.model.zero_grad()
        self.accelerator.step = 0

    @torch.inference_mode()
    def logits(self, batches: Iterable[Tensor]) -> np.ndarray:
        """Logits (N, K) in float32 of the judged model, for images of 0-255 as they are judged."""
        self.judged.eval()
        found = [np.empty((0, self.judged.net.num_classes), np.float32)]
        for batch in batches:
            if not len(batch):
                continue  # the share of one process of more than there are images
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                logits = self.judged(self._shown(batch.to(self.device)))
            found.append(logits.float().cpu().numpy())
        return np.concatenate(found)

    def state(self) -> dict[str, Any]:
        """All tensors that a step changes."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Be as `state` told."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average and state["average"]:
            self.average.load_state_dict(state["average"])

    def _shown(self, images: Tensor) -> Tensor:
        """Images of 0-255 as the net takes them."""
        x = self.preprocessing.normalise(images)
        if self.recipe.speed.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return x
