"""Layers of the vocabulary that torch lacks: units with norm and activation, and poolings."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from inceptive.arch.account import padding, sides, windows_fit
from inceptive.arch.spec import AvgPool, BatchNorm, Conv, Kernel, Linear, MaxPool, Pad
from inceptive.nn.checkpointing import computing_again

FEW = 4096
"""Values of a channel in a batch, up to which a 1x1 convolution is faster as a product."""


def _padding(pad: Pad, kernel: Kernel) -> tuple[int, int]:
    """What torch itself pads, high and wide; what depends on the map's size it does not."""
    if pad in ("ceil", "tf"):
        return 0, 0
    high, wide = (padding(side, side, 1, pad)[0] for side in sides(kernel))
    return high, wide


def pad_tf(x: Tensor, kernel: Kernel, stride: int, value: float = 0.0) -> Tensor:
    """Maps (N, C, H, W) with `value` around them, as much as TensorFlow's SAME adds for their size."""
    high, wide = sides(kernel)
    around = *padding(x.shape[3], wide, stride, "tf"), *padding(x.shape[2], high, stride, "tf")
    return F.pad(x, around, value=value) if any(around) else x


def watched(module: nn.Module) -> bool:
    """Whether calling `module` does more than its class defines."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    listened = any(getattr(module, name) for name in hooks)
    everywhere = _has_any_global_hook()  # type: ignore[no-untyped-call]
    return bool(listened or everywhere or "forward" in vars(module))


class ConvUnit(nn.Conv2d):
    """Convolution, then batch normalisation `bn` if specified, then ReLU."""

    def __init__(self, channels: int, conv: Conv, groups: int = 1):
        pads = _padding(conv.pad, conv.kernel)
        super().__init__(
            channels, conv.out, conv.kernel, conv.stride, pads, groups=groups, bias=conv.has_bias
        )
        self.tf_kernel = conv.kernel if conv.pad == "tf" else None
        self.relu = conv.relu
        self.bn = Norm(conv.out, conv.norm) if conv.norm else None

    def forward(self, x: Tensor) -> Tensor:
        if self.tf_kernel is not None:
            x = pad_tf(x, self.tf_kernel, self.stride[0])
        x = self._product(x) if self._is_faster_as_product(x) else super().forward(x)
        inplace = True
        if self.bn is not None:
            x = self.bn(x)
            inplace = not watched(self.bn)  # a backward hook's view must not be written to
        return F.relu(x, inplace=inplace) if self.relu else x

    def _is_faster_as_product(self, x: Tensor) -> bool:
        """Whether it is 1x1, in bf16 on the CPU, and of so few values that a product of matrices takes
        less time than torch's convolution, which lays its weights out anew in each step."""
        return (
            self.kernel_size == self.stride == (1, 1)
            and self.groups == 1
            and self.padding == (0, 0)
            and torch.is_autocast_enabled("cpu")
            and x.device.type == "cpu"
            and x.numel() <= FEW * x.shape[1]  # last: torch.export keeps it as a bound of the batch
        )

    def _product(self, x: Tensor) -> Tensor:
        # Not weight.flatten(1): the gradient would lie otherwise than the weight, which torch warns of
        # where several processes train.
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(x.permute(0, 2, 3, 1), weight, self.bias).permute(0, 3, 1, 2)


class Norm(nn.BatchNorm2d):
    """Batch normalisation of maps (N, C, H, W) or vectors (N, C); no gamma without `scale`."""

    def __init__(self, channels: int, norm: BatchNorm):
        super().__init__(channels, norm.eps, norm.momentum)
        if not norm.scale:
            self.register_parameter("weight", None)

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        for parameter, value in ((self.weight, 1.0), (self.bias, 0.0)):
            if parameter is not None:
                nn.init.constant_(parameter, value)

    def _check_input_dim(self, input: Tensor) -> None:
        """Both (N, C, H, W) and (N, C) are normalised alike: there is nothing to refuse."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.track_running_stats or self.momentum is None:
            return super().forward(x)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(0 if computing_again() else 1)
        return self.normalise(x)

    @property
    def pace(self) -> float:
        """The momentum of this moment: computed again for the backward pass, statistics stay."""
        return 0.0 if computing_again() else self.momentum or 0.0

    def normalise(self, x: Tensor) -> Tensor:
        """Normalise `x` by the batch's own statistics, which move the running ones."""
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(x, mean, var, self.weight, self.bias, True, self.pace, self.eps)


class LinearUnit(nn.Linear):
    """Flatten (N, ...) to (N, features), linear, then ReLU if specified."""

    def __init__(self, features: int, linear: Linear):
        super().__init__(features, linear.out, bias=linear.bias)
        self.relu = linear.relu

    def forward(self, x: Tensor) -> Tensor:
        # channels-last maps hold the same values in another order in memory: flatten by index.
        x = super().forward(x.flatten(1))
        return F.relu(x, inplace=True) if self.relu else x


class Maximum(nn.MaxPool2d):
    """Max pooling as defined by `spec.MaxPool`."""

    def __init__(self, pool: MaxPool):
        assert pool.kernel is not None
        pads = _padding(pool.pad, pool.kernel)
        super().__init__(pool.kernel, pool.stride, pads, ceil_mode=pool.pad == "ceil")
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        if self.pool.pad == "tf":
            x = pad_tf(x, self.kernel_size, self.pool.stride, value=float("-inf"))
        y: Tensor = super().forward(x)
        return y


class Average(nn.Module):
    """Average pooling as defined by `spec.AvgPool`: windows if they produce the grid, else adaptive."""

    def __init__(self, pool: AvgPool):
        super().__init__()
        self.pool = pool
        self.padding = _padding(pool.pad, pool.kernel or 1)

    def forward(self, x: Tensor) -> Tensor:
        pool = self.pool
        if pool.kernel is not None and windows_fit(pool, (x.shape[2], x.shape[3])):
            return F.avg_pool2d(
                x, pool.kernel, pool.stride, self.padding, count_include_pad=pool.count_pad
            )
        return F.adaptive_avg_pool2d(x, pool.grid or 1)
