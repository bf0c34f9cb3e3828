"""The words in which a net is written: a tree of frozen values that reads like the paper's table.

The set is closed. Every reader (`account`, `model`, ...) is one `match` over these words, so a word
it does not know is an error and never a silent default. Nothing else goes into a spec: no initial
weights, no learning rates, no device, no flags of training.

Shapes are (channels, height, width) of one image.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeAlias

from inceptive.errors import InceptiveError, printable

Kernel: TypeAlias = int | tuple[int, int]
"""The side of a square window, or its (height, width)."""

Pad: TypeAlias = Literal["same", "valid", "ceil", "tf"] | int
"""How a window meets the border. Convolutions pad with zeros, max pooling with -inf.

same   kernel // 2 on each side: stride 1 keeps the size of an odd kernel
valid  no padding, windows that do not fit are dropped
ceil   no padding, a last window may hang over the far border (Caffe's pooling)
tf     TensorFlow's SAME: as little as gives ceil(size / stride), the odd one at the far border
n      n on each side
"""


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation over N, H, W (arXiv:1502.03167). momentum is the share of the new batch.

    Without `scale` there is no gamma, as in TF-slim and Keras where a ReLU follows.
    """

    eps: float = 1e-3
    momentum: float = 0.1
    scale: bool = True


@dataclass(frozen=True)
class Conv:
    """Convolution to `out` channels, then `norm`, then ReLU.

    bias None: there is one where there is no `norm`, which would take it away again.
    """

    out: int
    kernel: Kernel
    stride: int = 1
    pad: Pad = "same"
    norm: BatchNorm | None = None
    relu: bool = True
    bias: bool | None = None

    @property
    def has_bias(self) -> bool:
        return self.norm is None if self.bias is None else self.bias


@dataclass(frozen=True)
class Separable:
    """A depthwise convolution, then a 1x1 across channels (arXiv:1610.02357), `norm`, ReLU.

    Each channel gets `multiplier` maps of its own; nothing stands between the two. A bias, where
    there is no `norm`, is the 1x1's.
    """

    out: int
    kernel: int
    stride: int = 1
    pad: Pad = "same"
    norm: BatchNorm | None = None
    relu: bool = True
    multiplier: int = 1


@dataclass(frozen=True)
class MaxPool:
    kernel: int
    stride: int = 1
    pad: Pad = "same"


@dataclass(frozen=True)
class AvgPool:
    """Average over windows; or, with `grid` and no kernel, adaptively to a grid x grid map.

    `AvgPool(grid=1)` is global average pooling. With both, the windows are used where they give
    the grid, and adaptive ones at any other input size: so a linear layer may follow at all sizes.
    count_pad: whether padded zeros count as samples (as in Caffe) or not (as in TensorFlow).
    """

    kernel: int | None = None
    stride: int = 1
    grid: int | None = None
    pad: Pad = "valid"
    count_pad: bool = False


@dataclass(frozen=True)
class LRN:
    """Local response normalisation across `size` channels: x / (k + alpha / size * sum x^2)^beta."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0


@dataclass(frozen=True)
class Linear:
    """A fully connected layer on the flattened input, then ReLU where `relu`."""

    out: int
    relu: bool = False
    bias: bool = True


@dataclass(frozen=True)
class Activation:
    """An activation that stands alone; most are the `relu` of a layer."""

    kind: Literal["relu", "sigmoid"] = "relu"


@dataclass(frozen=True)
class Dropout:
    """While training, `drop` is the share set to zero; the rest is scaled by 1 / (1 - drop)."""

    drop: float


@dataclass(frozen=True, init=False)
class Group:
    """Named parts in order. A part given as None is left out."""

    parts: tuple[tuple[str, "Node"], ...]

    def __init__(self, /, **parts: "Node | None"):
        present = tuple((name, node) for name, node in parts.items() if node is not None)
        object.__setattr__(self, "parts", present)

    @classmethod
    def of(cls, parts: "Iterable[tuple[str, Node]]") -> Self:
        """The group of such (name, part) pairs. Raises InceptiveError if two have one name."""
        pairs = tuple(parts)
        if len(named := dict(pairs)) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InceptiveError(f"two parts are called {printable(twice)}")
        return cls(**named)

    def __iter__(self) -> Iterator[tuple[str, "Node"]]:
        return iter(self.parts)


class Chain(Group):
    """Parts one after another."""


class Concat(Group):
    """Parts side by side on one input, their outputs joined along the channels."""


class Multiply(Group):
    """Parts side by side on one input, their outputs multiplied element by element (Hadamard)."""


@dataclass(frozen=True)
class Add:
    """A residual: shortcut(x) + scale * branch(x), then ReLU where `relu`.

    Without a shortcut of its own it is x itself.
    """

    branch: "Node"
    shortcut: "Node | None" = None
    scale: float = 1.0
    relu: bool = False


Node: TypeAlias = (
    Conv
    | Separable
    | MaxPool
    | AvgPool
    | LRN
    | BatchNorm
    | Linear
    | Activation
    | Dropout
    | Chain
    | Concat
    | Multiply
    | Add
)


@dataclass(frozen=True)
class Net:
    """A whole classifier: images (N, channels, H, W) to logits (N, num_classes).

    aux pairs the name of a part of `body` with the auxiliary head that reads its output while
    training; the head on `inception_4a` is called `aux_4a`, on `mixed_6e` `aux_6e`. image_size is
    the side that the source was written for.
    """

    name: str
    body: Chain
    num_classes: int
    source: str
    aux: tuple[tuple[str, Chain], ...] = ()
    channels: int = 3
    image_size: int = 224

    def heads(self) -> dict[str, tuple[str, Chain]]:
        """Name of each auxiliary head -> (the part it reads, the head)."""
        named = (at.removeprefix("inception_").removeprefix("mixed_") for at, _ in self.aux)
        return {f"aux_{name}": pair for name, pair in zip(named, self.aux, strict=True)}

    def without_aux(self) -> "Net":
        """The same net with its auxiliary heads thrown away, as at inference."""
        return replace(self, aux=())

    def with_heads(self, at: Iterable[str], head: Chain | None = None) -> "Net":
        """The same net with an auxiliary head after each part named in `at`, and none elsewhere.

        The head is the net's own unless another is given. Raises InceptiveError if the net has
        none, or no such part before its classifier.
        """
        if head is None and not self.aux:
            raise InceptiveError(f"{self.name} has no auxiliary head that could stand elsewhere")
        chain = head or self.aux[0][1]
        wanted, places = set(at), [name for name, _ in self.body.parts[:-1]]
        if unknown := wanted.difference(places):
            raise InceptiveError(
                f"{self.name} has no part {', '.join(sorted(unknown))} for a head to read; "
                f"there are: {', '.join(places)}"
            )
        return replace(self, aux=tuple((name, chain) for name in places if name in wanted))
