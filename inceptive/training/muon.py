"""Muon: weight updates with equal weight in all directions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

A, B, C = 3.4445, -4.7750, 2.0315
"""Of the polynomial that brings singular values near 1 in few steps (Jordan)."""
STEPS = 3
"""Five bring small ones nearer to 1; nets learned as fast with three."""


def orthogonal(matrix: Tensor) -> Tensor:
    """(m, n) -> approximately U V' of its singular value decomposition U S V'.

    Newton-Schulz iteration x <- (A + B x x' + C (x x')^2) x, on the Gram matrix x x' instead of x:
    half the time of the plain form for convolution kernels, which are wide.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    gram = matrix @ matrix.T
    size = gram.diagonal().sum().clamp(min=1e-30)  # the sum of the squared singular values
    gram /= size
    turn = factor = _factor(gram)
    for _ in range(STEPS - 1):
        gram = factor @ gram @ factor
        factor = _factor(gram)
        turn = factor @ turn
    return turn @ matrix / size.sqrt()


def _factor(gram: Tensor) -> Tensor:
    """A + B gram + C gram^2, what x is multiplied by."""
    factor = B * gram + C * gram @ gram
    factor.diagonal().add_(A)
    return factor


class Muon(torch.optim.AdamW):
    """Jordan et al., "Muon" (2024), for groups with `orthogonal`, and AdamW for all others.

    The mean of a weight's gradients, with Nesterov momentum, is orthogonalised, as an (out, in x height
    x width) matrix, and scaled to the typical size of an AdamW step (Liu et al., arXiv:2502.16982), so
    that one learning rate and weight decay suit both. torch.optim.Muon does not accept convolution
    kernels, and computes in bf16, which many processors do not support.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float, nesterov: bool):
        self.momentum, self.nesterov = momentum, nesterov
        super().__init__(groups, lr=lr, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"] if group["orthogonal"] else ():
                if weight.grad is not None:
                    self._move(weight, group)
                    weight.grad = None  # so that AdamW leaves it as it is
        loss: float | None = super().step(closure)
        return loss

    def _move(self, weight: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.zeros(())  # what AdamW looks for when a state is loaded
            state["mean"] = torch.zeros_like(weight)
        mean = state["mean"].lerp_(gradient, 1 - self.momentum)
        wanted = gradient.lerp(mean, self.momentum) if self.nesterov else mean
        matrix = wanted.flatten(1)
        scale = 0.2 * max(matrix.shape) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.sub_(orthogonal(matrix).view(weight.shape), alpha=group["lr"] * scale)
