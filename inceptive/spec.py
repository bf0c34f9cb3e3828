"""The words in which a net is written: a tree of frozen values that reads like the paper's table.

The set is closed. Every reader (`account`, `model`, ...) is one `match` over these words, so a word
it does not know is an error and never a silent default. Nothing else goes into a spec: no initial
weights, no learning rates, no device, no flags of training.

Shapes are (channels, height, width) of one image.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Pad = Literal["same", "valid", "ceil"]
"""How a window meets the border.

same   kernel // 2 zeros on each side: stride 1 keeps the size of an odd kernel (max pooling: -inf)
valid  no padding, windows that do not fit are dropped
ceil   no padding, a last window may hang over the far border (Caffe's pooling)
"""


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation over N, H, W (arXiv:1502.03167). momentum is the share of the new batch."""

    eps: float = 1e-3
    momentum: float = 0.1


@dataclass(frozen=True)
class Conv:
    """Convolution to `out` channels, then `norm` (which takes the place of the bias), then ReLU."""

    out: int
    kernel: int
    stride: int = 1
    pad: Pad = "same"
    norm: BatchNorm | None = None
    relu: bool = True


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
    """

    kernel: int | None = None
    stride: int = 1
    grid: int | None = None


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


@dataclass(frozen=True)
class Dropout:
    """While training, `drop` is the share set to zero; the rest is scaled by 1 / (1 - drop)."""

    drop: float


@dataclass(frozen=True, init=False)
class _Group:
    """Named parts in order. A part given as None is left out."""

    parts: tuple[tuple[str, "Node"], ...]

    def __init__(self, **parts: "Node | None"):
        kept = tuple((name, node) for name, node in parts.items() if node is not None)
        object.__setattr__(self, "parts", kept)

    def __iter__(self) -> Iterator[tuple[str, "Node"]]:
        return iter(self.parts)


class Chain(_Group):
    """Parts one after another."""


class Concat(_Group):
    """Parts side by side on one input, their outputs joined along the channels."""


Node: TypeAlias = Conv | MaxPool | AvgPool | LRN | Linear | Dropout | Chain | Concat


@dataclass(frozen=True)
class Net:
    """A whole classifier: images (N, channels, H, W) to logits (N, num_classes).

    aux pairs the name of a part of `body` with the auxiliary head that reads its output while
    training; the head on `inception_4a` is called `aux_4a`. image_size is the side that the source
    was written for.
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
        return {f"aux_{at.removeprefix('inception_')}": (at, head) for at, head in self.aux}

    def without_aux(self) -> "Net":
        """The same net with its auxiliary heads thrown away, as at inference."""
        return replace(self, aux=())
