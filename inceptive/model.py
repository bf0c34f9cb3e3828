"""The torch reading of a net: modules, state-dict keys, logits and endpoints by name.

Legend: N images, C channels, H, W; K classes. Every part is named as in the value, so a layer, its
hook and its checkpoint key are one word: `inception_3a.b5x5.conv.weight`.
"""

from collections.abc import Iterable, Iterator
from math import sqrt
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inceptive.account import Shape, account, out_shape, windows_fit
from inceptive.errors import InceptiveError
from inceptive.spec import (
    LRN,
    AvgPool,
    Chain,
    Concat,
    Conv,
    Dropout,
    Linear,
    MaxPool,
    Net,
    Node,
)


def build(net: Net) -> "Model":
    """A torch module of `net` with fresh weights: images (N, C, H, W) to logits (N, K).

    Weights are drawn from torch's global generator: see `initialise`. Any image size works that
    the stages allow (`account.minimum_size`); auxiliary heads are part of the module.
    """
    return Model(net)


class Model(nn.Module):
    """A net that runs. `net` is the value it was read from."""

    def __init__(self, net: Net):
        super().__init__()
        account(net)  # an impossible net fails here, with the layer's name
        self.net = net
        self._at: dict[str, list[str]] = {}  # part of the body -> heads that read it
        shape: Shape = (net.channels, net.image_size, net.image_size)
        for name, node in net.body:
            self.add_module(name, _module(node, shape))
            shape = out_shape(node, shape)
            for head, (at, chain) in net.heads().items():
                if at == name:
                    self._at.setdefault(at, []).append(head)
                    self.add_module(head, _module(chain, shape))
        self._last = net.body.parts[-1][0]
        self.apply(initialise)
        last = self.get_submodule(self._last)
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K), in training and in evaluation; auxiliary heads are not run."""
        for name, x in self._run(images, heads=()):
            if name == self._last:
                return x
        raise AssertionError("a net ends in its last part")

    def endpoints(self, images: Tensor, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Outputs by name: each part of the body (N, C, H, W) and each auxiliary head (N, K).

        `names` limits what is kept, and what is computed: nothing after the last name asked for.
        The logits are the endpoint `fc`. Raises InceptiveError, naming those there are.
        """
        known = [name for name, _ in self.net.body] + list(self.net.heads())
        wanted = set(known if names is None else names)
        if unknown := wanted.difference(known):
            raise InceptiveError(
                f"{self.net.name} has no endpoint {', '.join(sorted(unknown))}; "
                f"there are: {', '.join(known)}"
            )
        found: dict[str, Tensor] = {}
        if not wanted:
            return found
        for name, x in self._run(images, heads=wanted):
            if name in wanted:
                found[name] = x
            if len(found) == len(wanted):
                break
        return found

    def _run(self, images: Tensor, heads: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        if images.ndim != 4 or images.shape[1] != self.net.channels:
            raise InceptiveError(
                f"{self.net.name} takes images (N, {self.net.channels}, H, W), "
                f"not {tuple(images.shape)}"
            )
        x = images
        for name, _ in self.net.body:
            x = self.get_submodule(name)(x)
            yield name, x
            for head in self._at.get(name, ()):
                if head in heads:
                    yield head, self.get_submodule(head)(x)


def initialise(module: nn.Module) -> None:
    """Draw fresh weights that keep the signal's size through 22 layers of ReLU.

    He et al., arXiv:1502.01852, equation 10: normal with variance 2 / fan-in, biases 0. The paper
    of GoogLeNet does not print its own; torch's default (variance 1 / (3 fan-in)) shrinks the
    signal by sqrt(6) a layer, and the logits of different images become equal. A linear layer
    that ends in logits has no ReLU: variance 1 / fan-in there, and 0.01 squared for the last one,
    so that the first loss is not far from ln K.
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        fan_in = module.weight[0].numel()
        gain = 2.0 if getattr(module, "relu", False) else 1.0
        nn.init.normal_(module.weight, std=sqrt(gain / fan_in))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _module(node: Node, shape: Shape) -> nn.Module:
    """The module of `node` for inputs of `shape` (C, H, W)."""
    match node:
        case Conv():
            return ConvUnit(shape[0], node)
        case MaxPool(kernel, stride, pad):
            padding = kernel // 2 if pad == "same" else 0
            return nn.MaxPool2d(kernel, stride, padding, ceil_mode=pad == "ceil")
        case AvgPool():
            return Average(node)
        case LRN(size, alpha, beta, k):
            return nn.LocalResponseNorm(size, alpha, beta, k)
        case Dropout(drop):
            return nn.Dropout(drop)
        case Linear(out, relu):
            return LinearUnit(shape[0] * shape[1] * shape[2], out, relu)
        case Chain():
            chain = nn.Sequential()
            for name, child in node:
                chain.add_module(name, _module(child, shape))
                shape = out_shape(child, shape)
            return chain
        case Concat():
            return Branches({name: _module(child, shape) for name, child in node})
        case _:
            assert_never(node)


class ConvUnit(nn.Conv2d):
    """Convolution, then batch normalisation `bn` where the value asks for it, then ReLU."""

    def __init__(self, channels: int, conv: Conv):
        if conv.pad == "ceil":
            raise InceptiveError("a convolution has no ceil mode")
        padding = conv.kernel // 2 if conv.pad == "same" else 0
        bias = conv.norm is None
        super().__init__(channels, conv.out, conv.kernel, conv.stride, padding, bias=bias)
        self.relu = conv.relu
        self.bn: nn.Module | None = None
        if conv.norm:
            self.bn = nn.BatchNorm2d(conv.out, conv.norm.eps, conv.norm.momentum)

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        if self.bn is not None:
            x = self.bn(x)
        return F.relu(x, inplace=True) if self.relu else x


class LinearUnit(nn.Linear):
    """Flatten (N, ...) to (N, features), linear, then ReLU where the value asks for it."""

    def __init__(self, features: int, out: int, relu: bool):
        super().__init__(features, out)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        # channels-last maps hold the same values in another order in memory: flatten by index.
        x = super().forward(x.flatten(1))
        return F.relu(x, inplace=True) if self.relu else x


class Average(nn.Module):
    """Average pooling as `spec.AvgPool` says: windows where they give the grid, else adaptive."""

    def __init__(self, pool: AvgPool):
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        if windows_fit(self.pool, (x.shape[2], x.shape[3])):
            return F.avg_pool2d(x, self.pool.kernel or 1, self.pool.stride)
        return F.adaptive_avg_pool2d(x, self.pool.grid or 1)


class Branches(nn.ModuleDict):
    """Named branches side by side on one input, joined along the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.values()], dim=1)
