"""The cost of a net: shapes, parameters with their formula, multiply-adds, receptive field.

Computed from the value alone: no tensor is created. One multiply-add (mac) is one multiplication and
one addition in a convolution or linear layer, or two FLOPs. Shapes are (C, H, W) of one image.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import NamedTuple, assert_never, overload

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
    Kernel,
    Linear,
    MaxPool,
    Multiply,
    Net,
    Node,
    Pad,
    Separable,
    refuse_impossible,
    refuse_others,
)
from inceptive.errors import InceptiveError

Shape = tuple[int, int, int]


class View(NamedTuple):
    """The view of the image from one position of a map, and the layers between.

    reach is the height and width, in pixels, of the image region that one position depends on;
    neighbours are `step` pixels apart. depth counts the layers with weights on the longest path.
    """

    shape: Shape
    reach: tuple[int, int] = (1, 1)
    step: int = 1
    depth: int = 0

    @property
    def field(self) -> int:
        """The receptive field: the longer side of `reach`."""
        return max(self.reach)

    def through(self, shape: Shape, kernel: Kernel, stride: int, depth: int = 0) -> "View":
        """The view of a window's output: `depth` is 1 for a layer with weights."""
        high, wide = sides(kernel)
        reach = self.reach[0] + (high - 1) * self.step, self.reach[1] + (wide - 1) * self.step
        return View(shape, reach, self.step * stride, self.depth + depth)


class Line(NamedTuple):
    """One layer of the account. formula shows how `params` is computed, in the paper's order."""

    name: str
    kind: str
    view: View
    formula: str = ""
    params: int = 0
    macs: int = 0


@dataclass(frozen=True)
class Costs:
    """Every layer of a net's body, or of a standalone module, in order."""

    body: tuple[Line, ...]

    @property
    def params(self) -> int:
        """Parameters without auxiliary heads: what inference needs."""
        return sum(line.params for line in self.body)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image, without auxiliary heads."""
        return sum(line.macs for line in self.body)

    @property
    def depth(self) -> int:
        """Layers with weights on the longest path from the image to the logits."""
        return self.body[-1].view.depth if self.body else 0


@dataclass(frozen=True, repr=False)
class Account(Costs):
    """Every layer of a net, `body` and then each head, for square images of side `image_size`.

    >>> costs = inceptive.account(inceptive.NETS["googlenet"]())
    >>> costs.body[0].name, costs.body[0].formula, costs.body[0].params
    ('conv1', '7·7·3·64 + 64', 9472)
    """

    aux: dict[str, tuple[Line, ...]]
    net: Net
    image_size: int

    @property
    def lines(self) -> list[Line]:
        """Every layer, those of the heads last."""
        return [*self.body, *(line for head in self.aux.values() for line in head)]

    def __repr__(self) -> str:
        return (
            f"<Account of {self.net.name}, {self.image_size} x {self.image_size} pixels: "
            f"{self.params:,} params, {self.macs:,} macs, {len(self.lines)} layers>"
        )

    @property
    def params_with_aux(self) -> int:
        return sum(line.params for line in self.lines)


@overload
def account(net: Net, image_size: int | None = None) -> Account: ...
@overload
def account(net: Node, image_size: int, channels: int) -> Costs: ...
def account(net: Net | Node, image_size: int | None = None, channels: int | None = None) -> Costs:
    """Count shapes and costs of `net` for one square image (net.image_size unless given).

    A standalone module is counted on square maps of side image_size with `channels` channels. Raises
    InceptiveError, naming the layer and the smallest size, if the image is too small.

    >>> inceptive.account(inceptive.NETS["googlenet"]()).params
    6998552
    >>> inceptive.account(inceptive.Conv(64, 1), image_size=28, channels=192).params
    12352
    """
    refuse_others(net, "account")
    if image_size is not None and type(image_size) is not int:
        raise InceptiveError(f"image_size is a whole number of pixels, not {image_size!r}")
    if not isinstance(net, Net):
        if image_size is None or channels is None:
            raise InceptiveError("the account of a module needs the size and channels of its maps")
        refuse_impossible(channels=channels, image_size=image_size)
        return Costs(tuple(_read(net, "", View((channels, image_size, image_size)))[0]))
    size = net.image_size if image_size is None else image_size
    try:
        view = View((net.channels, size, size))
        body: list[Line] = []
        aux: dict[str, tuple[Line, ...]] = {}
        for name, part, heads in net.walk():
            lines, view = _read(part, name, view)
            body += lines
            aux |= {head: tuple(_read(chain, head, view)[0]) for head, chain in heads.items()}
    except InceptiveError as error:
        least = minimum_size(net)
        if size < least:
            raise InceptiveError(f"{net.name}: {error}; the least size is {least}") from None
        fits = minimum_size(net, above=size)
        raise InceptiveError(f"{net.name}: {error}; {fits} pixels would fit") from None
    return Account(tuple(body), aux, net, size)


def minimum_size(net: Net, above: int = 0) -> int:
    """The smallest side over `above`, in pixels, of a square image that all of `net` accepts."""
    numbers: dict[Node, int] = {}  # equal parts have one
    parts = [
        [(numbers.setdefault(node, len(numbers)), node) for node in (part, *heads.values())]
        for _, part, heads in net.walk()
    ]
    computed: dict[
        tuple[int, Shape], Shape | None
    ] = {}  # most sizes give later parts the same maps

    def after(number: int, part: Node, shape: Shape) -> Shape | None:
        if (number, shape) not in computed:
            try:
                computed[number, shape] = out_shape(part, shape)
            except InceptiveError:
                computed[number, shape] = None
        return computed[number, shape]

    for size in range(above + 1, above + 1024):
        shape: Shape | None = (net.channels, size, size)
        for (number, part), *heads in parts:
            if shape:
                shape = after(number, part, shape)
            if shape and not all(after(number, head, shape) for number, head in heads):
                shape = None
        if shape:
            return size
    raise InceptiveError(
        f"{net.name} takes no square image of {above + 1} to {above + 1023} pixels"
    )


def out_shape(node: Node, shape: Shape) -> Shape:
    """The output shape of `node` for an input of `shape`. Raises InceptiveError if too small."""
    return _read(node, "", View(shape))[1].shape


def shapes(net: Net, image_size: int) -> dict[str, Shape]:
    """The output shape of every part, group and layer of `net`, heads included, by name."""
    by_name = {"images": (net.channels, image_size, image_size)}
    for name, node, reads in net.nodes():
        by_name[name] = out_shape(node, by_name[reads])
    return by_name


def parts_with_maps(net: Net, image_size: int) -> list[str]:
    """Names of the parts of the body whose output has more than one position, first to last; of a net
    that reads several modules (see `Net.reading`), those on the way to the last as well."""
    names, shape = [], (net.channels, image_size, image_size)
    for name, part in net.trunk():
        shape = out_shape(part, shape)
        if shape[1] > 1:
            names.append(name.rpartition(".")[2])
    return names


def modules(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Group lines by the first part of their name: a module, or a standalone layer."""
    gathered: dict[str, list[Line]] = {}
    for line in lines:
        gathered.setdefault(line.name.split(".")[0], []).append(line)
    return gathered


def _read(node: Node, name: str, view: View) -> tuple[list[Line], View]:
    """The lines of `node`, called `name`, on an input of `view`; and the view of its output."""
    c, h, w = view.shape
    match node:
        case Conv(out, kernel, stride, pad, norm) | Separable(out, kernel, stride, pad, norm):
            size = _slide(name, (h, w), kernel, stride, pad)
            after = view.through((out, *size), kernel, stride, depth=1)
            high, wide = sides(kernel)
            if isinstance(node, Conv):
                word, weights, bias = "conv", high * wide * c * out, node.has_bias
                formula = f"{high}·{wide}·{c}·{out}"
            else:
                maps = f"{c}·{node.multiplier}" if node.multiplier > 1 else str(c)
                weights, bias = (high * wide + out) * c * node.multiplier, norm is None
                word, formula = "separable", f"{high}·{wide}·{maps} + {maps}·{out}"
            more, extra = _per_channel(out, norm, bias)
            kind = f"{word} {high}×{wide}" + (f"/{stride}" if stride > 1 else "")
            macs = weights * prod(size)
            return [Line(name, kind, after, formula + extra, weights + more, macs)], after
        case MaxPool(kernel, stride, pad):
            if kernel is None:
                after = view.through((c, 1, 1), (h, w), 1)
                return [Line(name, "max global", after)], after
            after = view.through((c, *_slide(name, (h, w), kernel, stride, pad)), kernel, stride)
            return [Line(name, f"max {kernel}×{kernel}/{stride}", after)], after
        case AvgPool():
            return _average(node, name, view)
        case LRN(size=channels):
            return [Line(name, f"lrn {channels}", view)], view
        case BatchNorm():
            params, extra = _per_channel(c, node, bias=False)
            return [Line(name, "batch norm", view, extra.removeprefix(" + "), params)], view
        case Activation(kind):
            return [Line(name, kind, view)], view
        case Dropout(drop):
            return [Line(name, f"dropout {drop:g}", view)], view
        case Linear(out, bias=bias):
            # Every position of the map is read, so the reach grows to all of them.
            after = view.through((out, 1, 1), (h, w), 1, depth=1)._replace(step=view.step)
            weights = c * h * w * out
            more, extra = _per_channel(out, None, bias)
            formula = f"{c * h * w}·{out}{extra}"
            return [Line(name, "linear", after, formula, weights + more, weights)], after
        case Chain():
            lines: list[Line] = []
            for part, child in node:
                part_lines, view = _read(child, f"{name}.{part}".lstrip("."), view)
                lines += part_lines
            return lines, view
        case Concat():
            lines, views = _side_by_side(node.parts, name, view)
            if len({after.shape[1:] for after in views}) > 1:
                shapes = [after.shape for after in views]
                raise InceptiveError(f"{name}: branches of different sizes {shapes}")
            joined = _joined(views, sum(after.shape[0] for after in views))
            return [*lines, Line(name, "concat", joined)], joined
        case Multiply() | Add():
            lines, views = _side_by_side(node.parts, name, view)
            if len({after.shape for after in views}) > 1:
                differ = f"maps of different shapes {[after.shape for after in views]}"
                raise InceptiveError(f"{name}: added or multiplied {differ}")
            joined, kind = _joined(views, views[0].shape[0]), "multiply"
            if isinstance(node, Add):
                scale = f" ×{node.scale:g}" if node.scale != 1 else ""
                kind = f"add{scale}" + (" + relu" if node.relu else "")
            return [*lines, Line(name, kind, joined)], joined
        case _:
            assert_never(node)


def _per_channel(out: int, norm: BatchNorm | None, bias: bool) -> tuple[int, str]:
    """Parameters beside the weights, and the formula's end: bias, gamma and beta."""
    count = int(bias) + (0 if norm is None else 1 + norm.scale)
    return count * out, (f" + {count}·{out}" if count > 1 else f" + {out}" if count else "")


def sides(kernel: Kernel) -> tuple[int, int]:
    """Height and width of a window."""
    return (kernel, kernel) if isinstance(kernel, int) else kernel


def _side_by_side(
    parts: Iterable[tuple[str, Node]], name: str, view: View
) -> tuple[list[Line], list[View]]:
    read = [_read(child, f"{name}.{part}".lstrip("."), view) for part, child in parts]
    return [line for lines, _ in read for line in lines], [after for _, after in read]


def _joined(views: list[View], channels: int) -> View:
    """What a position sees through several branches at once: as far as the farthest."""
    high, wide = (max(after.reach[side] for after in views) for side in (0, 1))
    depth = max(after.depth for after in views)
    return View((channels, *views[0].shape[1:]), (high, wide), views[0].step, depth)


def _average(node: AvgPool, name: str, view: View) -> tuple[list[Line], View]:
    """Windows where the kernel gives the grid (or no grid is asked for), else adaptive ones."""
    c, h, w = view.shape
    if node.kernel is not None and windows_fit(node, (h, w)):
        size = _slide(name, (h, w), node.kernel, node.stride, node.pad)
        after = view.through((c, *size), node.kernel, node.stride)
        return [Line(name, f"avg {node.kernel}×{node.kernel}/{node.stride}", after)], after
    grid = node.grid or 1
    window = -(-h // grid), -(-w // grid)  # the widest adaptive window, in positions
    step = max(1, max(h, w) // grid)
    after = view.through((c, grid, grid), window, step)
    kind = "avg global" if grid == 1 else f"avg to {grid}×{grid}"
    return [Line(name, kind, after)], after


def windows_fit(node: AvgPool, size: tuple[int, int]) -> bool:
    """Whether `node` slides its windows over a map of `size`; otherwise it pools adaptively."""
    if node.kernel is None:
        return False
    slid = tuple(positions(side, node.kernel, node.stride, node.pad) for side in size)
    return node.grid is None or slid == (node.grid, node.grid)


def padding(side: int, kernel: int, stride: int, pad: Pad) -> tuple[int, int]:
    """Padding before and after `side` for windows of `kernel`; see `spec.Pad`."""
    match pad:
        case "same":
            return kernel // 2, kernel // 2
        case "valid":
            return 0, 0
        case "ceil":  # as far over the border as the last window hangs
            return 0, max(-(-(side - kernel) // stride) * stride + kernel - side, 0)
        case "tf":
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            return total // 2, total - total // 2
        case int():
            return pad, pad
        case _:
            assert_never(pad)


def positions(side: int, kernel: int, stride: int, pad: Pad) -> int:
    """Number of positions of a window of `kernel` along `side`; below 1 if it does not fit."""
    return (side + sum(padding(side, kernel, stride, pad)) - kernel) // stride + 1


def _slide(
    name: str, size: tuple[int, int], kernel: Kernel, stride: int, pad: Pad
) -> tuple[int, int]:
    """Positions of a window on a map of `size`. Raises InceptiveError if there is none."""
    high, wide = sides(kernel)
    slid = positions(size[0], high, stride, pad), positions(size[1], wide, stride, pad)
    if min(slid) < 1:
        raise InceptiveError(
            f"{name or 'a layer'}: no {high}×{wide} window fits on {size[0]}×{size[1]}"
        )
    return slid
