"""Parallel parts on one input: concatenated, multiplied or added."""

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Branches(nn.ModuleDict):
    """Named parallel branches on one input, concatenated along the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.values()], dim=1)


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
