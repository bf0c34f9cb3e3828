"""Layers that mix or draw over a batch, when several processes hold parts of it."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from inceptive.data.loading import Rank
from inceptive.nn import Norm

aten = torch.ops.aten


def join(model: nn.Module, share: Rank, batch_norm: bool) -> None:
    """Make the layers of `model` that mix or draw over a batch do so over all processes' parts.

    Parameters, buffers and their names are unchanged, as is evaluation. `batch_norm`: include it, which
    costs two messages per layer and direction.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.__class__ = SharedDropout
            module.share = share  # type: ignore[assignment]
        elif isinstance(module, Norm) and batch_norm:
            module.__class__ = SharedNorm


class SharedDropout(nn.Dropout):
    """Dropout whose mask is part of the one a single process would draw for the whole batch."""

    share: Rank

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        count = len(x) * self.share.world
        last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        order = torch.channels_last if last else torch.contiguous_format
        ones = torch.empty(
            (count, *x.shape[1:]), dtype=x.dtype, device=x.device, memory_format=order
        ).fill_(1)
        return x * F.dropout(ones, self.p)[self.share.of(count)]


class SharedNorm(Norm):
    """Batch normalisation with the mean and variance of all processes' parts of a batch."""

    def normalise(self, x: Tensor) -> Tensor:
        normalised: Tensor = _Normalised.apply(  # type: ignore[no-untyped-call]
            x, self.running_mean, self.running_var, self.weight, self.bias, self.pace, self.eps
        )
        return normalised


class _Normalised(torch.autograd.Function):
    """x (N, C, ...) less the mean, over the deviation, of all processes' x; all have as many.

    Ioffe and Szegedy, arXiv:1502.03167, section 3: the gradients are those of its page 4 with sums over
    the whole batch. The processes send each other (2, C) numbers in either direction. Pixels are only
    touched by torch's own kernels of batch normalisation, which are many times as fast as the same
    arithmetic in single operations (and sum bfloat16 in float32).
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        momentum: float,
        eps: float,
    ) -> Tensor:
        # With running statistics handed in, which stay, its results are in their precision, not in x's.
        own = torch.stack(aten.batch_norm_update_stats(x, running_mean, running_var, 0.0))
        means, variances = _of_all(own).unbind(1)
        mean = means.mean(0)
        var = (variances + (means - mean).square()).mean(0)
        count = len(means) * x.numel() // x.shape[1]
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * (count / max(count - 1, 1)), momentum)
        ctx.save_for_backward(x, mean, var, weight)
        ctx.count, ctx.eps, ctx.has_bias = count, eps, bias is not None
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, var, weight = ctx.saved_tensors
        scale = torch.ones_like(mean) if weight is None else weight
        # The gradients as if mean and variance did not depend on x, then what they add.
        back, grad_weight, grad_bias = aten.native_batch_norm_backward(
            grad, x, scale, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        sums = _of_all(torch.stack([grad_weight, grad_bias])).sum(0)
        sums *= -scale * torch.rsqrt(var + ctx.eps) / ctx.count
        back += F.batch_norm(x, mean, var, sums[0], sums[1], False, 0.0, ctx.eps)
        return (
            back, None, None,
            None if weight is None else grad_weight, grad_bias if ctx.has_bias else None, None, None,
        )  # fmt: skip


def _of_all(own: Tensor) -> Tensor:
    """Such a tensor of every process: (processes, *shape).

    Gathered and not reduced: gloo takes less time for it, and everyone adds up in the same order.
    """
    every = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(every, own)
    return torch.stack(every)
