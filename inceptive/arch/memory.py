"""Memory for the maps of a net, in training and at inference, counted from its value.

In numbers for one image: times 4 bytes for float32, 2 for bfloat16. What torch holds in float32 is
within a tenth of this, beside the weights and their gradients.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import prod

from inceptive.arch.account import Shape, out_shape, padding, sides
from inceptive.arch.spec import (
    LRN,
    Activation,
    Add,
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
)
from inceptive.errors import InceptiveError


@dataclass(frozen=True)
class Memory:
    """Numbers in maps for one image. training: all that the backward pass needs, the image included;
    inference: those needed simultaneously, at the layer where they peak."""

    training: int
    inference: int


BLOCK = 3
"""Parts in a row that activation checkpointing computes again together."""


def blocks(
    net: Net, wanted: Collection[str] = (), after: str = "", size: int = BLOCK
) -> Iterator[list[str]]:
    """Names of the body's parts after the part `after`, `size` in a row; fewer where one ends that is
    `wanted` itself or read by a wanted head."""
    block: list[str] = []
    skip = bool(after)
    for name, _, readers in net.walk():
        if skip:
            skip = name != after
            continue
        block.append(name)
        if len(block) == size or name in wanted or any(head in wanted for head in readers):
            yield block
            block = []
    if block:
        yield block


def memory(
    node: Net | Node,
    image_size: int | None = None,
    channels: int = 3,
    checkpointing: bool = False,
) -> Memory:
    """Count the numbers in the maps of `node`, a net without heads or a module, for one image.

    image_size: the image side, by default the net's, required for a module; channels: of a module's
    input. checkpointing: of a net whose training computes cheap layers again (`speed.checkpointing`).
    Raises InceptiveError if the image is too small, and for a module with `checkpointing`.
    """
    if isinstance(node, Net):
        image_size, channels = image_size or node.image_size, node.channels
    if not image_size:
        raise InceptiveError("what a module takes in memory needs the size of its maps")
    shape = (channels, image_size, image_size)
    _, held, most = _maps(node.body if isinstance(node, Net) else node, shape)
    if checkpointing:
        if not isinstance(node, Net):
            raise InceptiveError("activations are checkpointed in a net, not in a module by itself")
        held = _held_in_blocks(node, shape)
    return Memory(prod(shape) + held, most)


def _held_in_blocks(net: Net, shape: Shape) -> int:
    """The most that is held at one time: what convolutions and blocks give, and one block as a whole."""
    parts = dict(net.body)
    kept = most = 0
    for block in blocks(net):
        chain = Chain.of(tuple((name, parts[name]) for name in block))
        products = _products(chain, shape)
        shape, whole, _ = _maps(chain, shape)
        most = max(most, kept + whole)
        kept += products + prod(shape)
    return most


def _padded(node: Conv | Separable | MaxPool, shape: Shape) -> int:
    """The numbers of a padded copy of the input, where padding depends on its size; else 0."""
    if node.pad != "tf" or node.kernel is None:
        return 0
    channels, *high_wide = shape
    around = [
        sum(padding(side, kernel, node.stride, "tf"))
        for side, kernel in zip(high_wide, sides(node.kernel), strict=True)
    ]
    return channels * prod(map(sum, zip(high_wide, around, strict=True))) if any(around) else 0


def _is_linear(node: Node) -> bool:
    """Whether `node` ends with a convolution without ReLU."""
    while isinstance(node, Chain) and node.parts:
        node = node.parts[-1][1]
    return isinstance(node, Conv | Separable) and not node.relu


def _products(node: Node, shape: Shape) -> int:
    """The numbers that the convolutions and linear layers of `node` give."""
    match node:
        case Chain():
            total = 0
            for _, part in node:
                total += _products(part, shape)
                shape = out_shape(part, shape)
            return total
        case Concat() | Multiply() | Add():
            return sum(_products(child, shape) for _, child in node.parts)
        case Conv() | Separable() | Linear():
            after = out_shape(node, shape)
            multiplier = node.multiplier if isinstance(node, Separable) else 0
            return prod(after) + multiplier * shape[0] * prod(after[1:])
        case _:
            return 0


def _maps(node: Node, shape: Shape) -> tuple[Shape, int, int]:
    """The shape that `node` gives, the numbers that training keeps of it, and the most at one time at
    inference, its input included."""
    given = prod(shape)
    match node:
        case Chain():
            held = 0
            most = given
            for k, (_, part) in enumerate(node):
                if k and isinstance(part, Activation):
                    held -= prod(shape)  # its gradient needs what it gives, not what it was given
                shape, more, at_once = _maps(part, shape)
                held, most = held + more, max(most, at_once)
            return shape, held, most
        case Concat() | Multiply() | Add():
            held = most = done = 0
            for _, child in node.parts:
                after, more, at_once = _maps(child, shape)
                if isinstance(node, Add) and _is_linear(child):
                    more -= prod(after)  # nobody's gradient needs what is added
                held, most = held + more, max(most, done + at_once)
                done += prod(out_shape(child, shape)) if child != Chain() else 0
            shape = out_shape(node, shape)
            joined = prod(shape)
            kept = given if isinstance(node, Add) and node.shortcut is None else 0
            return shape, held + joined, max(most, kept + done + joined)
        case Conv() | Separable():
            # Normalisation keeps what it was given, and gives as much; at inference it is folded away.
            after = out_shape(node, shape)
            multiplier = node.multiplier if isinstance(node, Separable) else 0
            between = multiplier * shape[0] * prod(after[1:])  # what the depthwise part gives
            normed = prod(after) if node.norm else 0
            held = prod(after) + normed + between + _padded(node, shape)
            return after, held, given + prod(after) + between
        case Dropout():
            return shape, given, given  # at inference it does nothing
        case MaxPool():
            # Where each maximum was is an integer of 64 bits: as much as two numbers.
            after = out_shape(node, shape)
            return after, 3 * prod(after) + _padded(node, shape), given + prod(after)
        case LRN():
            # Squares, their windows, the power of these and the quotient.
            return shape, 4 * given, 2 * given
        case _:
            after = out_shape(node, shape)
            return after, prod(after), given + prod(after)
