"""What a net costs: shapes, parameters with their formula, multiply-adds, receptive field.

Read from the value alone: no tensor is made. One multiply-add (mac) is one multiplication and one
addition in a convolution or linear layer; FLOPs are two of them. Shapes are (C, H, W) of one image.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import assert_never

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
    Pad,
)

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class View:
    """What one position of a map sees: its shape, and of the image `field` pixels at `step` apart."""

    shape: Shape
    field: int = 1
    step: int = 1

    def through(self, shape: Shape, kernel: int, stride: int) -> "View":
        return View(shape, self.field + (kernel - 1) * self.step, self.step * stride)


@dataclass(frozen=True)
class Line:
    """One layer of the account. formula says where `params` comes from, in the paper's order."""

    name: str
    kind: str
    view: View
    formula: str = ""
    params: int = 0
    macs: int = 0


@dataclass(frozen=True)
class Account:
    """Every layer of a net, `body` and then each head, for square images of side `image_size`."""

    net: Net
    image_size: int
    body: tuple[Line, ...]
    aux: dict[str, tuple[Line, ...]]

    @property
    def params(self) -> int:
        """Parameters without auxiliary heads: what inference needs."""
        return sum(line.params for line in self.body)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image, without auxiliary heads."""
        return sum(line.macs for line in self.body)

    @property
    def params_with_aux(self) -> int:
        return self.params + sum(line.params for lines in self.aux.values() for line in lines)


def account(net: Net, image_size: int | None = None) -> Account:
    """The account of `net` for one square image (net.image_size unless given).

    Raises InceptiveError, naming the layer and the least size, if the image is too small.
    """
    size = net.image_size if image_size is None else image_size
    try:
        view = View((net.channels, size, size))
        body, aux = [], {}
        for name, part in net.body:
            lines, view = _read(part, name, view)
            body += lines
            for head, (at, chain) in net.heads().items():
                if at == name:
                    aux[head] = tuple(_read(chain, head, view)[0])
    except InceptiveError as error:
        raise InceptiveError(
            f"{net.name}: {error}; the least size is {minimum_size(net)}"
        ) from None
    return Account(net, size, tuple(body), aux)


def minimum_size(net: Net) -> int:
    """The least side, in pixels, of a square image that every stage of `net` can take."""
    for size in range(1, 1024):
        try:
            _read(net.body, "", View((net.channels, size, size)))
        except InceptiveError:
            continue
        return size
    raise InceptiveError(f"{net.name} takes no square image up to 1024 pixels")


def out_shape(node: Node, shape: Shape) -> Shape:
    """The shape that `node` makes of an input of `shape`. Raises InceptiveError if too small."""
    return _read(node, "", View(shape))[1].shape


def modules(lines: tuple[Line, ...]) -> Iterator[tuple[str, list[Line]]]:
    """Lines gathered by the first part of their name: a module, or a layer that stands alone."""
    gathered: dict[str, list[Line]] = {}
    for line in lines:
        gathered.setdefault(line.name.split(".")[0], []).append(line)
    yield from gathered.items()


def _read(node: Node, name: str, view: View) -> tuple[list[Line], View]:
    """The lines of `node`, called `name`, on an input of `view`; and the view of its output."""
    c, h, w = view.shape
    match node:
        case Conv(out, kernel, stride, pad, norm):
            size = _slide(name, (h, w), kernel, stride, pad)
            after = view.through((out, *size), kernel, stride)
            weights, per_channel = kernel * kernel * c * out, 2 if norm else 1
            extra = f"{per_channel}·{out}" if norm else f"{out}"
            formula = f"{kernel}·{kernel}·{c}·{out} + {extra}"
            kind = f"conv {kernel}×{kernel}" + (f"/{stride}" if stride > 1 else "")
            params = weights + per_channel * out
            return [Line(name, kind, after, formula, params, weights * prod(size))], after
        case MaxPool(kernel, stride, pad):
            after = view.through((c, *_slide(name, (h, w), kernel, stride, pad)), kernel, stride)
            return [Line(name, f"max {kernel}×{kernel}/{stride}", after)], after
        case AvgPool():
            return _average(node, name, view)
        case LRN(size=channels):
            return [Line(name, f"lrn {channels}", view)], view
        case Dropout(drop):
            return [Line(name, f"dropout {drop:g}", view)], view
        case Linear(out):
            # Every position of the map is read, so the field grows to all of them.
            after = View((out, 1, 1), view.field + (max(h, w) - 1) * view.step, view.step)
            given = c * h * w
            formula = f"{given}·{out} + {out}"
            return [Line(name, "linear", after, formula, (given + 1) * out, given * out)], after
        case Chain():
            lines: list[Line] = []
            for part, child in node:
                more, view = _read(child, f"{name}.{part}".lstrip("."), view)
                lines += more
            return lines, view
        case Concat():
            return _side_by_side(node, name, view)
        case _:
            assert_never(node)


def _side_by_side(node: Concat, name: str, view: View) -> tuple[list[Line], View]:
    read = [_read(child, f"{name}.{part}".lstrip("."), view) for part, child in node]
    views = [after for _, after in read]
    if len({after.shape[1:] for after in views}) > 1:
        raise InceptiveError(f"{name}: branches of different sizes {[v.shape for v in views]}")
    channels = sum(after.shape[0] for after in views)
    widest = max(views, key=lambda after: after.field)
    joined = replace(widest, shape=(channels, *widest.shape[1:]))
    return [*(line for lines, _ in read for line in lines), Line(name, "concat", joined)], joined


def _average(node: AvgPool, name: str, view: View) -> tuple[list[Line], View]:
    """Windows where the kernel gives the grid (or no grid is asked for), else adaptive ones."""
    c, h, w = view.shape
    if windows_fit(node, (h, w)):
        assert node.kernel is not None
        size = _slide(name, (h, w), node.kernel, node.stride, "valid")
        after = view.through((c, *size), node.kernel, node.stride)
        return [Line(name, f"avg {node.kernel}×{node.kernel}/{node.stride}", after)], after
    grid = node.grid or 1
    window = -(-max(h, w) // grid)  # the widest adaptive window, in positions
    step = max(1, max(h, w) // grid)
    after = view.through((c, grid, grid), window, step)
    kind = "avg global" if grid == 1 else f"avg to {grid}×{grid}"
    return [Line(name, kind, after)], after


def windows_fit(node: AvgPool, size: tuple[int, int]) -> bool:
    """Whether `node` slides its windows over a map of `size`; if not it pools adaptively."""
    if node.kernel is None:
        return False
    slid = tuple((side - node.kernel) // node.stride + 1 for side in size)
    return node.grid is None or slid == (node.grid, node.grid)


def _slide(name: str, size: tuple[int, int], kernel: int, stride: int, pad: Pad) -> tuple[int, int]:
    """Positions of a window on a map of `size`. Raises InceptiveError if there is none."""

    def one(side: int) -> int:
        match pad:
            case "same":
                return (side + 2 * (kernel // 2) - kernel) // stride + 1
            case "valid":
                return (side - kernel) // stride + 1
            case "ceil":
                return -(-(side - kernel) // stride) + 1
            case _:
                assert_never(pad)

    positions = one(size[0]), one(size[1])
    if min(positions) < 1:
        raise InceptiveError(
            f"{name or 'a layer'}: no {kernel}×{kernel} window fits on {size[0]}×{size[1]}"
        )
    return positions
