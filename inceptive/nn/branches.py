"""Parallel parts on one input: concatenated, multiplied or added; their leading 1x1s run as one."""

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inceptive.nn.layers import ConvUnit, Norm, watched


class Branches(nn.ModuleDict):
    """Named parallel branches on one input, concatenated along the channels.

    When gradients are needed, the 1x1 convolutions that begin branches run as one (`_merge`): the
    input is read once instead of three times. Parameters, gradients and running statistics are those
    of each, to rounding. With hooks or replaced modules, and in evaluation, every layer runs
    separately: then logits are bit-identical to a peer's.
    """

    merge = True
    """False: every layer runs separately in training too."""

    def forward(self, x: Tensor) -> Tensor:
        first = self._merged(x) if self.merge and self.training and torch.is_grad_enabled() else {}
        return torch.cat(
            [
                _rest(branch, first[name]) if name in first else branch(x)
                for name, branch in self.items()
            ],
            dim=1,
        )

    def _merged(self, x: Tensor) -> dict[str, Tensor]:
        """What the first 1x1 of each branch gives, where they can run as one; else {}."""
        units = {
            name: unit for name, branch in self.items() if (unit := _mergeable(branch)) is not None
        }
        kinds = {(unit.relu, unit.bias is None, _kind(unit.bn)) for unit in units.values()}
        if len(units) < 2 or len(kinds) > 1:
            return {}
        return dict(zip(units, _merge(x, list(units.values())), strict=True))


def _mergeable(branch: nn.Module) -> ConvUnit | None:
    """The 1x1 convolution with which a branch begins, if nobody can tell that it is not called."""
    unit = branch[0] if type(branch) is nn.Sequential and len(branch) else branch
    if type(unit) is not ConvUnit:  # nor is one whose weights are parametrized
        return None
    if (unit.kernel_size, unit.stride, unit.padding) != ((1, 1), (1, 1), (0, 0)):
        return None
    norm = unit.bn
    if norm is not None and not (
        isinstance(norm, Norm)
        and type(norm).forward is Norm.forward
        and norm.moves_statistics
        and not norm._modules  # of parametrizations
    ):
        return None
    modules = {branch, unit} if norm is None else {branch, unit, norm}
    return None if any(map(watched, modules)) else unit


def _rest(branch: nn.Module, x: Tensor) -> Tensor:
    for module in list(branch)[1:] if isinstance(branch, nn.Sequential) else ():
        x = module(x)
    return x


def _kind(norm: Norm | None) -> object:
    """What normalisations must share to run as one."""
    return norm and (norm.training, norm.momentum, norm.eps, norm.weight is None)


def _merge(x: Tensor, units: list[ConvUnit]) -> list[Tensor]:
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
                    norm.count_batch()
    if units[0].relu:
        y = F.relu(y, inplace=True)
    return list(torch.split(y, sizes, dim=1))


class Product(nn.ModuleDict):
    """Named parallel branches on one input, multiplied element-wise."""

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = reduce(torch.mul, (branch(x) for branch in self.values()))
        return product


class Residual(nn.Module):
    """shortcut(x) + scale * branch(x), then ReLU if specified."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None, scale: float, relu: bool):
        super().__init__()
        self.branch, self.shortcut = branch, shortcut
        self.scale, self.relu = scale, relu

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(x)
        total = torch.add(shortcut, self.branch(x), alpha=self.scale)
        return F.relu(total, inplace=True) if self.relu else total
