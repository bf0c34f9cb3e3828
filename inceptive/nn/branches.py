"""Parts side by side on one input: joined, multiplied or added; 1x1s that begin them run as one."""

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inceptive.nn.layers import ConvUnit, Norm


class Branches(nn.ModuleDict):
    """Named branches side by side on one input, joined along the channels.

    Where gradients are wanted the 1x1 convolutions with which branches begin run as one (`_as_one`):
    the input is read once instead of three times. Parameters, gradients and running statistics are
    those of each, to rounding. In evaluation every layer runs by itself, so logits are a peer's to
    the bit.
    """

    def forward(self, x: Tensor) -> Tensor:
        begun = self._begun(x) if self.training and torch.is_grad_enabled() else {}
        return torch.cat(
            [
                _rest(branch, begun[name]) if name in begun else branch(x)
                for name, branch in self.items()
            ],
            dim=1,
        )

    def _begun(self, x: Tensor) -> dict[str, Tensor]:
        """What the first 1x1 of each branch gives, where they can run as one; else {}."""
        units = {
            name: first
            for name, branch in self.items()
            if isinstance(first := _first(branch), ConvUnit)
            and (first.kernel_size, first.stride) == ((1, 1), (1, 1))
        }
        kinds = {(unit.relu, unit.bias is None, _kind(unit.bn)) for unit in units.values()}
        watched = any(unit._forward_hooks or unit._forward_pre_hooks for unit in units.values())
        if len(units) < 2 or len(kinds) > 1 or watched:
            return {}
        return dict(zip(units, _as_one(x, list(units.values())), strict=True))


def _first(branch: nn.Module) -> nn.Module:
    return branch[0] if isinstance(branch, nn.Sequential) else branch


def _rest(branch: nn.Module, x: Tensor) -> Tensor:
    for module in list(branch)[1:] if isinstance(branch, nn.Sequential) else ():
        x = module(x)
    return x


def _kind(norm: Norm | None) -> object:
    """What normalisations must share to run as one."""
    return norm and (norm.training, norm.momentum, norm.eps, norm.weight is None)


def _as_one(x: Tensor, units: list[ConvUnit]) -> list[Tensor]:
    """The outputs of 1x1 convolutions on one input, computed as one convolution of all channels."""
    biases = [unit.bias for unit in units if unit.bias is not None]
    weight = torch.cat([unit.weight for unit in units])
    y = F.conv2d(x, weight, torch.cat(biases) if biases else None)
    sizes = [unit.out_channels for unit in units]
    norms = [unit.bn for unit in units if unit.bn is not None]
    if norms:
        mean = torch.cat([norm.running_mean for norm in norms])  # type: ignore[misc]
        var = torch.cat([norm.running_var for norm in norms])  # type: ignore[misc]
        scaled = norms[0].weight is not None
        weights = torch.cat([norm.weight for norm in norms]) if scaled else None
        y = norms[0].normalise(y, mean, var, weights, torch.cat([norm.bias for norm in norms]))
        if norms[0].training:
            with torch.no_grad():
                for norm, a, b in zip(
                    norms, torch.split(mean, sizes), torch.split(var, sizes), strict=True
                ):
                    norm.running_mean.copy_(a)  # type: ignore[union-attr]
                    norm.running_var.copy_(b)  # type: ignore[union-attr]
                    norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
    if units[0].relu:
        y = F.relu(y, inplace=True)
    return list(torch.split(y, sizes, dim=1))


class Product(nn.ModuleDict):
    """Named branches side by side on one input, multiplied element by element."""

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = reduce(torch.mul, (branch(x) for branch in self.values()))
        return product


class Residual(nn.Module):
    """shortcut(x) + scale * branch(x), then ReLU where the value asks for it."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None, scale: float, relu: bool):
        super().__init__()
        self.branch, self.shortcut = branch, shortcut
        self.scale, self.relu = scale, relu

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(x)
        total = torch.add(shortcut, self.branch(x), alpha=self.scale)
        return F.relu(total, inplace=True) if self.relu else total
