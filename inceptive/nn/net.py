"""A complete net as a module: its parts in order, its heads, and its initial weights."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from math import sqrt
from threading import Lock, get_ident
from typing import assert_never, overload

import torch
from torch import Tensor, nn

from inceptive.arch.account import Shape, account, out_shape
from inceptive.arch.memory import BLOCK, blocks
from inceptive.arch.spec import (
    LRN,
    Activation,
    Add,
    AvgPool,
    BatchNorm,
    Chain,
    Concat,
    Conv,
    Dropout,
    Linear,
    MaxPool,
    Multiply,
    Net,
    Node,
    Separable,
    gives_vector,
    refuse_impossible,
    refuse_others,
    words,
)
from inceptive.errors import InceptiveError
from inceptive.nn.branches import Branches, Product, Residual
from inceptive.nn.checkpointing import checkpointed
from inceptive.nn.layers import Average, ConvUnit, LinearUnit, Maximum, Norm


@overload
def build(net: Net) -> "Model": ...
@overload
def build(net: Node, channels: int, image_size: int | None = None) -> nn.Module: ...
def build(net: Net | Node, channels: int | None = None, image_size: int | None = None) -> nn.Module:
    """Build a torch module of `net` with random weights: images (N, C, H, W) to logits (N, K).

    Weights are drawn from torch's global generator: see `initialise`. Any image size that the stages
    allow works (`account.minimum_size`); auxiliary heads are part of the module.

    A standalone module is built for maps with `channels` channels; one that contains a Linear, for
    square maps of side image_size. Raises InceptiveError for anything else, and for an invalid net.

    >>> model = inceptive.build(inceptive.NETS["googlenet"](num_classes=10, channels=1))
    >>> model(torch.zeros(2, 1, 64, 64)).shape
    torch.Size([2, 10])
    >>> module = inceptive.Concat(b1x1=inceptive.Conv(64, 1), b3x3=inceptive.Conv(32, 3))
    >>> inceptive.build(module, channels=192)(torch.zeros(2, 192, 28, 28)).shape
    torch.Size([2, 96, 28, 28])
    """
    if isinstance(net, Net):
        if channels is not None or image_size is not None:
            raise InceptiveError("a net has its channels and size: build(net) takes no others")
        return Model(net)
    refuse_others(net, "build")
    if channels is None:
        raise InceptiveError("a module by itself needs the channels it reads: channels=64")
    refuse_impossible(channels=channels, image_size=image_size)
    gives_vector(net)
    if image_size is None and any(isinstance(word, Linear) for word, _ in words(net)):
        raise InceptiveError("a module with a Linear needs the size of its maps: image_size=28")
    shape = (channels, image_size or ANY_SIZE, image_size or ANY_SIZE)
    out_shape(net, shape)  # what does not fit is refused here, in words
    return _module(net, shape).apply(initialise)


ANY_SIZE = 2**12
"""Stands for the size of maps where no layer depends on it."""


class Model(nn.Module):
    """A net as a torch module. `net` is the value it was built from.

    checkpointing: in training, keep what convolutions give for the backward pass, which computes all
    else again: about half the memory. Hooks on modules are called again then.
    """

    checkpointing = False

    def __init__(self, net: Net):
        super().__init__()
        account(net)  # an impossible net fails here, with the layer's name
        self.net = net
        shape: Shape = (net.channels, net.image_size, net.image_size)
        for name, node, heads in net.walk():
            _add(self, name, _module(node, shape))
            shape = out_shape(node, shape)
            for head, chain in heads.items():
                _add(self, head, _module(chain, shape))
        last = self.get_submodule(net.last)
        assert isinstance(last, nn.Conv2d | nn.Linear)
        if not last.weight.is_meta:  # drawing there imports two seconds' worth of torch for nothing
            self.apply(initialise)
            nn.init.normal_(last.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K), in training and in evaluation; auxiliary heads are not run."""
        x = images
        for _, y in self._run(images, ()):
            x = y
        return x

    def features(self, images: Tensor) -> Tensor:
        """The input of the last layer, (N, features): for most nets, the averages of the last maps."""
        before = [name for name, _ in self.net.body][-2:-1]
        return next(iter(self.endpoints(images, before).values()), images).flatten(1)

    def endpoints(
        self, images: Tensor, names: Iterable[str] | None = None, after: str = ""
    ) -> dict[str, Tensor]:
        """Outputs by name: each part of the body (N, C, H, W) and each auxiliary head (N, K).

        `names` limits what is kept and computed: nothing after the last requested name. The logits
        are the endpoint `fc`. With `after`, a part's name, `images` are that part's maps (N, C, H, W),
        and only later endpoints exist. A group or layer in a part may be named, too: see `Net.layer`.
        Raises InceptiveError, naming the available ones, for an unknown name.
        """
        parts = [name for name, _ in self.net.body]
        if after and after not in parts:
            raise InceptiveError(
                f"{self.net.name} has no part {after}; there are: {', '.join(parts)}"
            )
        behind = parts[parts.index(after) + 1 if after else 0 :]
        every = behind + [head for head, (at, _) in self.net.heads().items() if at in behind]
        wanted = set(every if names is None else names)
        inside = {name: self.net.layer(name) for name in wanted.difference(every)}
        holding = {path.partition(".")[0] for path in inside.values()}
        if unknown := holding.difference(every):
            raise InceptiveError(
                f"{self.net.name} has no endpoint in {', '.join(sorted(unknown))}; "
                f"there are: {', '.join(every)}"
            )
        outputs: dict[str, Tensor] = {}
        ends = wanted.difference(inside) | holding
        left = set(ends)
        hooks = [
            self.get_submodule(path).register_forward_hook(
                partial(keep_output, outputs, name, get_ident())
            )
            for name, path in inside.items()
        ]
        try:
            for name, x in self._run(images, ends, after) if ends else ():
                if name in wanted:
                    outputs[name] = x
                left.discard(name)
                if not left:
                    break
        finally:
            for hook in hooks:
                hook.remove()
        return outputs

    def stage(self, maps: Tensor, after: str = "", head: str = "") -> tuple[Tensor, Tensor]:
        """Run the net from after the part `after` (from the images) up to `head` (to its own end).

        maps (N, C, H, W) are that part's. Returns the maps that the head reads and its logits
        (N, K); at the net's own end, the logits twice. Consecutive stages form the whole net.
        """
        heads = self.net.heads()
        if head and head not in heads:
            raise InceptiveError(
                f"{self.net.name} has no head {head}; there are: {', '.join(heads) or 'none'}"
            )
        stop = heads[head][0] if head else self.net.last
        outputs = self.endpoints(maps, {stop, head or stop}, after)
        return outputs[stop], outputs[head or stop]

    def _run(
        self, images: Tensor, wanted: Collection[str], after: str = ""
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield each part's output by its name, and that of each `wanted` head; of parts that are
        computed again together (`checkpointing`) only the last one's and the wanted ones'."""
        if not after and (images.ndim != 4 or images.shape[1] != self.net.channels):
            raise InceptiveError(
                f"{self.net.name} takes images (N, {self.net.channels}, H, W), "
                f"not {tuple(images.shape)}"
            )
        again = self.checkpointing and self.training and torch.is_grad_enabled()
        x = images
        for block in blocks(self.net, wanted, after, BLOCK if again else 1):
            parts = [self.get_submodule(name) for name in block]
            x = checkpointed(nn.Sequential(*parts), x) if again else parts[0](x)
            yield block[-1], x
            for head, (at, _) in self.net.heads().items():
                if at == block[-1] and head in wanted:
                    yield head, self.get_submodule(head)(x)


LOCK = Lock()
IN_USE: dict[nn.Module, tuple[int, list[nn.Module]]] = {}
"""How many threads evaluate a model, and which of its modules were in training mode before."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """`model` in evaluation mode; when no thread needs that any longer, what was in training mode is in
    that again."""
    with LOCK:
        users, learning = IN_USE.get(model, (0, []))
        if not users:
            learning = [module for module in model.modules() if module.training]
            model.eval()
        IN_USE[model] = users + 1, learning
    try:
        yield
    finally:
        with LOCK:
            users, learning = IN_USE.pop(model)
            if users > 1:
                IN_USE[model] = users - 1, learning
            else:
                for module in learning:
                    module.training = True


def keep_output(
    outputs: dict[str, Tensor],
    name: str,
    thread: int,
    module: nn.Module,
    inputs: object,
    output: Tensor,
) -> None:
    """Keep what a layer gives to the thread that asks: others may run the same model meanwhile."""
    if get_ident() == thread:
        outputs[name] = output


def initialise(module: nn.Module) -> None:
    """Initialise weights so that the signal keeps its scale through 22 layers of ReLU.

    He et al., arXiv:1502.01852, equation 10: normal with variance 2 / fan-in, biases 0. The paper
    of GoogLeNet does not state its own; torch's default (variance 1 / (3 fan-in)) shrinks the
    signal by sqrt(6) per layer, and the logits of different images become equal. A linear layer
    that leads to logits has no ReLU: variance 1 / fan-in there, and 0.01 squared for the last one,
    so that the initial loss is close to ln K.
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
        case Separable(_, kernel, stride, pad):
            maps = shape[0] * node.multiplier
            each = Conv(maps, kernel, stride, pad, relu=False, bias=False)
            separable = nn.Sequential()
            separable.add_module("depthwise", ConvUnit(shape[0], each, groups=shape[0]))
            separable.add_module("pointwise", ConvUnit(maps, node.pointwise))
            return separable
        case MaxPool(None):
            return nn.AdaptiveMaxPool2d(1)
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
                _add(chain, name, _module(child, shape))
                shape = out_shape(child, shape)
            return chain
        case Concat() | Multiply():
            branches: nn.ModuleDict = Branches() if isinstance(node, Concat) else Product()
            for name, child in node:
                _add(branches, name, _module(child, shape))
            return branches
        case Add(branch, shortcut, scale, relu):
            main = _module(branch, shape)
            side = None if shortcut is None else _module(shortcut, shape)
            return Residual(main, side, scale, relu)
        case _:
            assert_never(node)


def _add(parent: nn.Module, name: str, child: nn.Module) -> None:
    try:
        parent.add_module(name, child)
    except KeyError:
        raise InceptiveError(
            f"a part cannot be called {name}: torch's modules have an attribute of that name"
        ) from None
