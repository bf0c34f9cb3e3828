"""The training objective: the main loss and a share of each auxiliary head's."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inceptive.nn import Model


class Objective(nn.Module):
    """(images, labels) -> (total loss, each head's loss (1 + heads,), main logits (N, K)).

    total = loss of the logits + aux_weight * the sum of the auxiliary heads' losses
    (arXiv:1409.4842, section 5: 0.3). Cross-entropy with label smoothing; class_weight (K,) scales
    the loss of each class and averages to 1 over the training images. labels are (N,) of int64, or
    (N, K) of probabilities. With `after`, images are the maps of that part (see `Model.endpoints`), and
    heads count that read a later one.
    """

    def __init__(
        self,
        model: Model,
        aux_weight: float,
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        after: str = "",
    ):
        super().__init__()
        self.after = after
        self.model, self.aux_weight, self.label_smoothing = model, aux_weight, label_smoothing
        self.class_weight: Tensor | None
        self.register_buffer("class_weight", class_weight, persistent=False)
        self.main = model.net.last
        parts = [name for name, _ in model.net.body]
        behind = parts[parts.index(after) + 1 :] if after else parts
        heads = [head for head, (part, _) in model.net.heads().items() if part in behind]
        self.heads = [self.main, *heads] if aux_weight else [self.main]

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs = self.model.endpoints(images, self.heads, self.after)
        losses = torch.stack([self._loss(outputs[head].float(), labels) for head in self.heads])
        total = losses[0] + self.aux_weight * losses[1:].sum()
        return total, losses.detach(), outputs[self.main].detach()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        each = F.cross_entropy(
            logits, labels, reduction="none", label_smoothing=self.label_smoothing
        )
        if self.class_weight is not None:
            hard = labels.ndim == 1
            each = each * (self.class_weight[labels] if hard else labels @ self.class_weight)
        return each.mean()


def class_weights(counts: Tensor, balance: float) -> Tensor | None:
    """Weights (K,) proportional to counts^-balance, with mean 1 over the images; None for 0.

    balance 1 makes every class count alike, 0 every image.
    """
    if not balance:
        return None
    weights = counts.clamp(min=1).float() ** -balance
    return weights * (counts.sum() / (weights * counts).sum())
