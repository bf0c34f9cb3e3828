"""Layers that mix or draw over a batch, where several processes hold parts of it."""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from inceptive.data.share import Share
from inceptive.model import Norm


def join(model: nn.Module, share: Share, batch_norm: bool) -> None:
    """Let the layers of `model` that mix or draw over a batch do so over all processes' parts of it.

    Parameters, buffers and their names stay; in evaluation nothing changes. `batch_norm`: that too,
    which costs two messages a layer and direction.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.__class__ = SharedDropout
            module.share = share  # type: ignore[assignment]
        elif isinstance(module, Norm) and batch_norm:
            module.__class__ = SharedNorm


class SharedDropout(nn.Dropout):
    """Dropout whose mask is a part of the one that a single process would draw for the whole batch."""

    share: Share

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

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return self.normalise(x, self.running_mean, self.running_var, self.weight, self.bias)

    def normalise(
        self,
        x: Tensor,
        mean: Tensor | None,
        var: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        if not self.training:
            return super().normalise(x, mean, var, weight, bias)
        return cast(
            Tensor,
            _Normalised.apply(  # type: ignore[no-untyped-call]
                x, mean, var, weight, bias, self.momentum, self.eps
            ),
        )


class _Normalised(torch.autograd.Function):
    """x (N, C, ...) less the mean, over the deviation, of all processes' x; all have as many.

    Ioffe and Szegedy, arXiv:1502.03167, section 3: the gradients are those of its page 4 with sums over
    the whole batch. What is summed here over the processes is (C,) or (2, C) numbers.
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
        dims, shape = [d for d in range(x.ndim) if d != 1], [1, -1] + [1] * (x.ndim - 2)
        world, values = dist.get_world_size(), _wide(x)
        count = world * x.numel() // x.shape[1]
        mean = values.mean(dims)
        dist.all_reduce(mean)
        mean /= world
        centred = values - mean.view(shape)
        var = centred.square().mean(dims)
        dist.all_reduce(var)
        var /= world
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * (count / max(count - 1, 1)), momentum)
        inverse = torch.rsqrt(var + eps)
        normal = centred * inverse.view(shape)
        ctx.save_for_backward(normal, inverse, weight)
        ctx.count, ctx.has_bias = count, bias is not None
        if weight is not None:
            normal = normal * weight.view(shape)
        return (normal if bias is None else normal + bias.view(shape)).to(x.dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        normal, inverse, weight = ctx.saved_tensors
        dims, shape = [d for d in range(grad.ndim) if d != 1], [1, -1] + [1] * (grad.ndim - 2)
        given = _wide(grad)
        own = torch.stack([given.sum(dims), (given * normal).sum(dims)])
        sums = own.clone()
        dist.all_reduce(sums)
        sums /= ctx.count
        back = given - sums[0].view(shape) - normal * sums[1].view(shape)
        back *= (inverse if weight is None else inverse * weight).view(shape)
        return (
            back.to(grad.dtype), None, None,
            None if weight is None else own[1], own[0] if ctx.has_bias else None, None, None,
        )  # fmt: skip


def _wide(x: Tensor) -> Tensor:
    """In float32 at least: sums over a batch are not made in bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
