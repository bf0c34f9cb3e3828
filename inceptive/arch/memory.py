"""Memory for the maps of a net, in training and at inference, counted from its value.

In numbers for one image: times 4 bytes for float32, 2 for bfloat16. What torch keeps is within a fifth
of this, plus indices of maxima, copies in other layouts and workspaces.
"""

from dataclasses import dataclass
from math import prod

from inceptive.arch.account import Shape, out_shape
from inceptive.arch.spec import (
    Activation,
    Add,
    Chain,
    Concat,
    Conv,
    Dropout,
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


def memory(node: Net | Node, image_size: int | None = None, channels: int = 3) -> Memory:
    """Count the numbers in the maps of `node`, a net without heads or a module, for one image.

    image_size: the image side, by default the net's, required for a module; channels: of a module's
    input. Raises InceptiveError if the image is too small.
    """
    if isinstance(node, Net):
        image_size, channels = image_size or node.image_size, node.channels
    if not image_size:
        raise InceptiveError("what a module takes in memory needs the size of its maps")
    shape = (channels, image_size, image_size)
    _, held, most = _maps(node.body if isinstance(node, Net) else node, shape)
    return Memory(prod(shape) + held, most)


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
                _, more, at_once = _maps(child, shape)
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
            return after, prod(after) + normed + between, given + prod(after) + between
        case Dropout():
            return shape, given, given  # at inference it does nothing
        case _:
            after = out_shape(node, shape)
            return after, prod(after), given + prod(after)
