"""The torch reading of a net: modules, state-dict keys, logits and endpoints by name.

Legend: N images, C channels, H, W; K classes. Every part is named as in the value, so a layer, its
hook and its checkpoint key are one word: `inception_3a.b5x5.conv.weight`.
"""

from collections.abc import Iterable, Iterator
from functools import reduce
from math import sqrt
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inceptive.account import Shape, account, out_shape, tf_padding, windows_fit
from inceptive.errors import InceptiveError
from inceptive.spec import (
    LRN,
    Activation,
    Add,
    AvgPool,
    BatchNorm,
    Chain,
    Concat,
    Conv,
    Dropout,
    Kernel,
    Linear,
    MaxPool,
    Multiply,
    Net,
    Node,
    Pad,
    Separable,
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

    def features(self, images: Tensor) -> Tensor:
        """What the last layer reads, (N, features): for most nets the averages of the last maps."""
        *_, before, _ = self.net.body.parts
        return self.endpoints(images, [before[0]])[before[0]].flatten(1)

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

    def stage(self, maps: Tensor, after: str = "", head: str = "") -> tuple[Tensor, Tensor]:
        """The net from behind the part `after` (from the images) up to `head` (to its own end).

        maps (N, C, H, W) are that part's. Returns the maps that the head reads and its logits
        (N, K); at the net's own end the logits twice. Stages one after another are the whole net.
        """
        parts = [name for name, _ in self.net.body]
        stop = self.net.heads()[head][0] if head else self._last
        x = maps
        for name in parts[parts.index(after) + 1 if after else 0 : parts.index(stop) + 1]:
            x = self.get_submodule(name)(x)
        return x, self.get_submodule(head)(x) if head else x

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
        # weight[0] holds what one output reads: of a depthwise layer, one channel.
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
        case Separable():
            return SeparableUnit(shape[0], node)
        case MaxPool():
            return Maximum(node)
        case AvgPool():
            return Average(node)
        case LRN(size, alpha, beta, k):
            return nn.LocalResponseNorm(size, alpha, beta, k)
        case BatchNorm():
            return Norm(shape[0], node)
        case Linear():
            return LinearUnit(shape[0] * shape[1] * shape[2], node)
        case Activation(kind):
            return nn.Sigmoid() if kind == "sigmoid" else nn.ReLU()
        case Dropout(drop):
            return nn.Dropout(drop)
        case Chain():
            chain = nn.Sequential()
            for name, child in node:
                chain.add_module(name, _module(child, shape))
                shape = out_shape(child, shape)
            return chain
        case Concat():
            return Branches({name: _module(child, shape) for name, child in node})
        case Multiply():
            return Product({name: _module(child, shape) for name, child in node})
        case Add():
            return Residual(node, shape)
        case _:
            assert_never(node)


def _padding(pad: Pad, kernel: Kernel) -> tuple[int, int]:
    """What torch itself pads, high and wide; `tf` depends on the map's size: see `_pad_tf`."""
    if isinstance(pad, int):
        return pad, pad
    high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
    return (high // 2, wide // 2) if pad == "same" else (0, 0)


def _pad_tf(x: Tensor, kernel: Kernel, stride: int, value: float = 0.0) -> Tensor:
    high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
    sides = (*tf_padding(x.shape[3], wide, stride), *tf_padding(x.shape[2], high, stride))
    return F.pad(x, sides, value=value) if any(sides) else x


class ConvUnit(nn.Conv2d):
    """Convolution, then batch normalisation `bn` where the value asks for it, then ReLU."""

    def __init__(self, channels: int, conv: Conv):
        if conv.pad == "ceil":
            raise InceptiveError("a convolution has no ceil mode")
        padding = _padding(conv.pad, conv.kernel)
        super().__init__(channels, conv.out, conv.kernel, conv.stride, padding, bias=conv.has_bias)
        self.tf_kernel = conv.kernel if conv.pad == "tf" else None
        self.relu = conv.relu
        self.bn = Norm(conv.out, conv.norm) if conv.norm else None

    def forward(self, x: Tensor) -> Tensor:
        if self.tf_kernel is not None:
            x = _pad_tf(x, self.tf_kernel, self.stride[0])
        x = super().forward(x)
        if self.bn is not None:
            x = self.bn(x)
        return F.relu(x, inplace=True) if self.relu else x


class SeparableUnit(nn.Module):
    """Depthwise, then 1x1 across channels, then `bn` and ReLU where the value asks for them."""

    def __init__(self, channels: int, node: Separable):
        super().__init__()
        width = channels * node.multiplier
        pad = "valid" if node.pad == "tf" else node.pad
        self.depthwise = nn.Conv2d(
            channels,
            width,
            node.kernel,
            node.stride,
            _padding(pad, node.kernel),
            groups=channels,
            bias=False,
        )
        self.pointwise = ConvUnit(width, Conv(node.out, 1, norm=node.norm, relu=node.relu))
        self.tf_kernel = node.kernel if node.pad == "tf" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.tf_kernel is not None:
            x = _pad_tf(x, self.tf_kernel, self.depthwise.stride[0])
        found: Tensor = self.pointwise(self.depthwise(x))
        return found


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


class LinearUnit(nn.Linear):
    """Flatten (N, ...) to (N, features), linear, then ReLU where the value asks for it."""

    def __init__(self, features: int, linear: Linear):
        super().__init__(features, linear.out, bias=linear.bias)
        self.relu = linear.relu

    def forward(self, x: Tensor) -> Tensor:
        # channels-last maps hold the same values in another order in memory: flatten by index.
        x = super().forward(x.flatten(1))
        return F.relu(x, inplace=True) if self.relu else x


class Maximum(nn.MaxPool2d):
    """Max pooling as `spec.MaxPool` says."""

    def __init__(self, pool: MaxPool):
        padding = _padding(pool.pad, pool.kernel)
        super().__init__(pool.kernel, pool.stride, padding, ceil_mode=pool.pad == "ceil")
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        if self.pool.pad == "tf":
            x = _pad_tf(x, self.pool.kernel, self.pool.stride, value=float("-inf"))
        found: Tensor = super().forward(x)
        return found


class Average(nn.Module):
    """Average pooling as `spec.AvgPool` says: windows where they give the grid, else adaptive."""

    def __init__(self, pool: AvgPool):
        super().__init__()
        if pool.pad == "tf" or pool.pad == "ceil":
            raise InceptiveError(f"average pooling takes no padding {pool.pad!r}")
        self.pool = pool
        self.padding = _padding(pool.pad, pool.kernel or 1)

    def forward(self, x: Tensor) -> Tensor:
        pool = self.pool
        if pool.kernel is not None and windows_fit(pool, (x.shape[2], x.shape[3])):
            return F.avg_pool2d(
                x, pool.kernel, pool.stride, self.padding, count_include_pad=pool.count_pad
            )
        return F.adaptive_avg_pool2d(x, pool.grid or 1)


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
        y = F.batch_norm(
            y, mean, var,
            torch.cat([norm.weight for norm in norms]) if scaled else None,
            torch.cat([norm.bias for norm in norms]),
            norms[0].training, norms[0].momentum or 0.0, norms[0].eps,
        )  # fmt: skip
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

    def __init__(self, node: Add, shape: Shape):
        super().__init__()
        self.branch = _module(node.branch, shape)
        self.shortcut = None if node.shortcut is None else _module(node.shortcut, shape)
        self.scale, self.relu = node.scale, node.relu

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(x)
        total = torch.add(shortcut, self.branch(x), alpha=self.scale)
        return F.relu(total, inplace=True) if self.relu else total
