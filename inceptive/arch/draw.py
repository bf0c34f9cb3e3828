"""Drawings of a net, or of one of its parts, as SVG.

Drawn from the account: layers are boxes, shapes (C x H x W of one image) label the lines between
them, and everything flows downwards. Light and dark follow the viewer's settings. Text is laid out
with a width estimate that no common font exceeds, so nothing depends on fonts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self, TypeAlias, assert_never
from xml.sax.saxutils import escape

from inceptive.arch.account import Account, Line, Shape, account, modules, shapes
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
    children,
)
from inceptive.errors import InceptiveError

LIGHT = {
    "paper": "#ffffff", "ink": "#1d2329", "muted": "#57616b", "way": "#76818c",
    "conv": "#e2edf9", "pool": "#dff3e8", "quiet": "#eef0f2", "linear": "#ece5f8",
    "join": "#fdeecd", "module": "#d3e4f7", "edge": "#9aa7b4",
}  # fmt: skip
DARK = {
    "paper": "#14181d", "ink": "#e8ecf0", "muted": "#b4bec8", "way": "#8b97a3",
    "conv": "#1e3550", "pool": "#17402d", "quiet": "#2a3036", "linear": "#382b55",
    "join": "#4d3b14", "module": "#21456c", "edge": "#5f6d7a",
}  # fmt: skip
EM = 0.64  # of the font's size: the width of a character; DejaVu Sans, wide for its kind, has 0.636
TITLE, NAME, SMALL = 15.0, 12.0, 10.5
MARGIN, BETWEEN = 20.0, 18.0
BOX, JOIN = 40.0, 26.0  # heights
BEFORE, LABEL, AFTER = 7.0, 15.0, 13.0  # of a way with a shape on it: line, text, line with arrow
PLAIN = 20.0  # a way without
TURN = 6.0  # radius of a corner


@dataclass(frozen=True)
class Placed:
    x: float
    y: float

    def moved(self, x: float, y: float) -> Self:
        return replace(self, x=self.x + x, y=self.y + y)


@dataclass(frozen=True)
class Box(Placed):
    width: float
    height: float
    kind: str
    lines: tuple[str, ...]  # the first in bold


@dataclass(frozen=True)
class Way:
    """A line through points, each directly above, below or beside the previous one."""

    points: tuple[tuple[float, float], ...]
    arrow: bool = False
    dashed: bool = False

    def moved(self, x: float, y: float) -> "Way":
        return replace(self, points=tuple((px + x, py + y) for px, py in self.points))


@dataclass(frozen=True)
class Label(Placed):
    """One line of text around x, its middle at y."""

    text: str


Mark: TypeAlias = Box | Way | Label


@dataclass(frozen=True)
class Piece:
    """Marks around an axis, entered at (0, 0) and left at (0, height), from `left` to `right`.

    forks: the incoming line divides, so no arrow ends there.
    """

    left: float
    right: float
    height: float
    marks: tuple[Mark, ...]
    forks: bool = False

    def at(self, x: float, y: float) -> Iterator[Mark]:
        return (mark.moved(x, y) for mark in self.marks)


def draw(net: Net, part: str | None = None, size: int | None = None) -> str:
    """Draw a net, or one of its parts layer by layer, as the text of an SVG file.

    size: image side in pixels, the net's own if None. Raises InceptiveError if the net has no such
    part, or the images are too small for it.

    >>> svg = inceptive.draw(inceptive.NETS["googlenet"](), part="inception_3a")
    """
    counted = account(net, size)
    return draw_net(counted) if part is None else draw_part(counted, part)


def draw_part(counted: Account, part: str) -> str:
    """Draw one part of a net, or one of its auxiliary heads, as the text of an SVG file.

    Raises InceptiveError, naming those there are, if the net has no such part.
    """
    nodes = dict(counted.net.body) | {name: head for name, (_, head) in counted.net.heads().items()}
    if part not in nodes:
        raise InceptiveError(
            f"{counted.net.name} has no part called {part!r}; there are: {', '.join(nodes)}"
        )
    after = shapes(counted.net, counted.image_size)
    before = _inputs(counted, after)
    lines_by_name = {line.name: line for line in counted.lines}
    part_lines = [line for line in counted.lines if line.name.split(".")[0] == part]
    drawing = _draw(nodes[part], part, part, lines_by_name)
    into, out = before[part], after[part]
    marks: list[Mark] = [Label(0, LABEL / 2, _shape(into))]
    marks.append(Way(((0, LABEL), (0, LABEL + AFTER)), arrow=not drawing.forks))
    marks += drawing.at(0, LABEL + AFTER)
    marks += _labelled(LABEL + AFTER + drawing.height, out, onwards=False)
    title = f"{part} of {counted.net.name}"
    subtitle = f"{_cost(part_lines)}, images of {counted.image_size} × {counted.image_size}"
    desc = f"{_shape(into)} to {_shape(out)}. {subtitle}. {_sentence(nodes[part])}".rstrip()
    return _svg(marks, title, subtitle, desc)


def draw_net(counted: Account) -> str:
    """Draw a whole net as the text of an SVG file: one box per part, equal neighbours merged."""
    after = shapes(counted.net, counted.image_size)
    before = _inputs(counted, after)
    runs = _runs(counted, before)
    lines_by_part = modules(counted.body)
    boxes = [_summary(run, lines_by_part, dict(counted.net.body)) for run in runs]
    outs = [after[run[-1]] for run in runs]
    labels = [_label(dict(counted.net.body)[run[-1]]) for run in runs]
    heads = {at: name for name, (at, _) in counted.net.heads().items()}
    pitches = [BOX + (BEFORE + LABEL + AFTER if labelled else PLAIN) for labelled in labels]
    marks: list[Mark] = []
    column_left, top = 0.0, LABEL + AFTER
    columns = _columns(pitches)
    bottom = top + max(sum(pitches[k] for k in column) for column in columns)
    entry: tuple[tuple[float, float], ...] = ()
    for number, column in enumerate(columns):
        width = max(boxes[k].width for k in column)
        axis, y = column_left + width / 2, top
        if number == 0:
            marks.append(Label(axis, LABEL / 2, _shape(before[runs[0][0]])))
            marks.append(Way(((axis, LABEL), (axis, top)), arrow=True))
        else:
            marks.append(Way((*entry, (axis, 0.0), (axis, top)), arrow=True))
        right = column_left + width
        for k in column:
            box = replace(boxes[k], x=axis - width / 2, y=y, width=width)
            marks.append(box)
            if runs[k][-1] in heads:
                head = _head(counted, heads[runs[k][-1]], axis + width / 2, y)
                marks += head
                right = max(right, *(m.x + m.width for m in head if isinstance(m, Box)))
            y += BOX
            last = k == column[-1]
            if labels[k]:
                marks += [m.moved(axis, 0) for m in _labelled(y, outs[k], onwards=not last)]
                y += BEFORE + LABEL
            elif not last:
                marks.append(Way(((axis, y), (axis, y + PLAIN)), arrow=True))
            y += AFTER if labels[k] else PLAIN
        aside = right + 2 * BETWEEN
        start = y - AFTER if labels[column[-1]] else y - PLAIN
        entry = ((axis, start), (axis, bottom), (aside, bottom), (aside, 0.0))
        column_left = aside + 2 * BETWEEN
    title = f"{counted.net.name}: {counted.net.source}"
    subtitle = f"{_cost(list(counted.body))}, images of {counted.image_size} × {counted.image_size}"
    if counted.aux:
        subtitle += f"; {counted.params_with_aux:,} parameters with heads"
    desc = (
        f"{subtitle}. From {_shape(before[runs[0][0]])} to {_shape(outs[-1])} through "
        + ", ".join(box.lines[0] for box in boxes)
    )
    return _svg(marks, title, subtitle, f"{desc}.")


def _sentence(node: Node) -> str:
    """What a part is, in a sentence; nothing of a layer."""
    if isinstance(node, Add):
        return "A branch added to its shortcut."
    words: dict[type, str] = {
        Concat: "Branches joined by concat", Multiply: "Branches multiplied",
        Chain: "One after another",
    }  # fmt: skip
    parts = ", ".join(name for name, _ in children(node))
    if node == Chain():
        return "The identity."
    return f"{words[type(node)]}: {parts}." if type(node) in words else ""


def _inputs(counted: Account, after: dict[str, Shape]) -> dict[str, Shape]:
    """The shape that each part of the body, and each head, reads: what another has `after` it."""
    return {name: after[reads] for name, _, reads in counted.net.nodes()}


def _draw(node: Node, name: str, part: str, lines_by_name: dict[str, Line]) -> Piece:
    """`node`, called `name` in the account, as a piece; names are told relative to `part`."""
    match node:
        case Chain():
            return _chain(node, name, part, lines_by_name)
        case Concat() | Multiply() | Add():
            branches = [(child, f"{name}.{branch}") for branch, child in node.parts]
            return _join(branches, name, part, lines_by_name, straight=isinstance(node, Add))
        case _:
            label = name.removeprefix(f"{part}.").removeprefix("branch.")
            linear = isinstance(node, Conv | Separable) and not node.relu
            lines = (lines_by_name[name].kind, label + (", linear" if linear else ""))
            box = _boxed(lines, _kind(node), BOX)
            return Piece(box.width / 2, box.width / 2, BOX, (box,))


def _chain(node: Chain, name: str, part: str, lines_by_name: dict[str, Line]) -> Piece:
    paths = [(child, f"{name}.{inner}") for inner, child in node]
    pieces = [_draw(child, path, part, lines_by_name) for child, path in paths]
    left = right = y = 0.0
    marks: list[Mark] = []
    for k, piece in enumerate(pieces):
        if k:  # the way from the one before
            before, at = paths[k - 1]
            shape = _after(before, at, lines_by_name)
            if shape is not None and _label(before):
                marks += _labelled(y, shape, arrow=not piece.forks)
                half = _long(_shape(shape), SMALL) / 2
                left, right, y = max(left, half), max(right, half), y + BEFORE + LABEL + AFTER
            else:
                marks.append(Way(((0, y), (0, y + PLAIN)), arrow=not piece.forks))
                y += PLAIN
        marks += piece.at(0, y)
        left, right, y = max(left, piece.left), max(right, piece.right), y + piece.height
    return Piece(left, right, y, tuple(marks), forks=bool(pieces) and pieces[0].forks)


def _join(
    branches: list[tuple[Node, str]],
    name: str,
    part: str,
    lines_by_name: dict[str, Line],
    straight: bool = False,
) -> Piece:
    """Branches side by side under one line, and what joins them. straight: the first on the axis."""
    pieces = [_draw(child, path, part, lines_by_name) for child, path in branches]
    shapes = [_after(child, path, lines_by_name) for child, path in branches]
    sides = []
    for piece, shape in zip(pieces, shapes, strict=True):
        half = _long(_shape(shape), SMALL) / 2 if shape else TURN
        sides.append((max(piece.left, half), max(piece.right, half)))
    centres, x = [], 0.0
    for left, right in sides:
        centres.append(x + left)
        x += left + right + BETWEEN
    axis = centres[0] if straight else (x - BETWEEN) / 2
    top = PLAIN + TURN
    tails = [BEFORE + LABEL if shape else 0.0 for shape in shapes]
    bottom = top + max(p.height + tail for p, tail in zip(pieces, tails, strict=True))
    node = _boxed((lines_by_name[name].kind,), "join", JOIN)
    marks: list[Mark] = [node.moved(0, bottom + PLAIN + TURN)]
    for piece, shape, centre in zip(pieces, shapes, centres, strict=True):
        at = centre - axis
        enters = bool(piece.marks) and not piece.forks
        marks.append(Way(((0, 0), (0, top / 2), (at, top / 2), (at, top)), arrow=enters))
        marks += piece.at(at, top)
        end = top + piece.height
        if shape is not None:
            marks += [m.moved(at, 0) for m in _labelled(end, shape, onwards=False)]
            end += BEFORE + LABEL
        middle, low = bottom + top / 2, bottom + PLAIN + TURN
        marks.append(Way(((at, end), (at, middle), (0, middle), (0, low)), arrow=True))
    left, right = axis, x - BETWEEN - axis
    half = node.width / 2
    return Piece(
        max(left, half), max(right, half), bottom + PLAIN + TURN + JOIN, tuple(marks), True
    )


def _after(node: Node, name: str, lines_by_name: dict[str, Line]) -> Shape | None:
    """The shape that `node` ends in; None if there is nothing in it."""
    if isinstance(node, Chain):
        if not node.parts:
            return None
        inner, child = node.parts[-1]
        return _after(child, f"{name}.{inner}", lines_by_name)
    return lines_by_name[name].view.shape


def _label(node: Node) -> bool:
    """Whether the shape is told after `node`: not where it cannot have changed."""
    return not isinstance(node, LRN | BatchNorm | Activation | Dropout)


def _labelled(y: float, shape: Shape, onwards: bool = True, arrow: bool = True) -> list[Mark]:
    """A way down from y with `shape` on it, the text in a gap of the line; or what ends in it."""
    marks: list[Mark] = [
        Way(((0, y), (0, y + BEFORE))),
        Label(0, y + BEFORE + LABEL / 2, _shape(shape)),
    ]
    if onwards:
        low = y + BEFORE + LABEL
        marks.append(Way(((0, low), (0, low + AFTER)), arrow=arrow))
    return marks


def _runs(counted: Account, before: dict[str, Shape]) -> list[list[str]]:
    """Names of the parts, equal neighbours together; what a head reads ends a run."""
    read = {at for at, _ in counted.net.heads().values()}
    runs: list[list[str]] = []
    parts = list(counted.net.body)
    for (name, node), (earlier, other) in zip(parts, [("", None), *parts], strict=False):
        same = runs and node == other and before[name] == before[earlier] and earlier not in read
        if same and isinstance(node, Chain | Concat | Multiply | Add):
            runs[-1].append(name)
        else:
            runs.append([name])
    return runs


def _summary(run: list[str], lines_by_part: dict[str, list[Line]], nodes: dict[str, Node]) -> Box:
    """The box that stands for a whole part, or for a run of equal ones."""
    lines, node = lines_by_part.get(run[0], []), nodes[run[0]]
    params = sum(line.params for line in lines)
    name = run[0] if len(run) == 1 else f"{run[0]} … {run[-1]}"
    if len(lines) > 1:
        times = f"{len(run)} × " if len(run) > 1 else ""
        return _boxed((name, f"{times}{params:,} parameters"), "module", BOX)
    return _boxed((name, lines[0].kind if lines else "identity"), _kind(node), BOX)


def _head(counted: Account, name: str, x: float, y: float) -> list[Mark]:
    """An auxiliary head beside the box that ends at x: only training uses it."""
    params = sum(line.params for line in counted.aux[name])
    box = _boxed((name, f"{params:,} parameters"), "aux", BOX)
    at = x + 2 * BETWEEN
    marks: list[Mark] = [
        Way(((x, y + BOX / 2), (at, y + BOX / 2)), arrow=True, dashed=True),
        replace(box, x=at, y=y),
    ]
    out = _labelled(y + BOX, counted.aux[name][-1].view.shape, onwards=False)
    return marks + [mark.moved(at + box.width / 2, 0) for mark in out]


def _columns(heights: list[float]) -> list[list[int]]:
    """Consecutive rows in one to three columns, the tallest as low as can be."""
    count = 1 if len(heights) <= 6 else 2 if len(heights) <= 13 else 3
    limit = max(heights)
    while True:
        columns: list[list[int]] = [[]]
        for k, height in enumerate(heights):
            if columns[-1] and sum(heights[j] for j in columns[-1]) + height > limit:
                columns.append([])
            columns[-1].append(k)
        if len(columns) <= count:
            return columns
        limit += 4


def _kind(node: Node) -> str:
    """The class of a layer's box."""
    kinds = {Conv: "conv", Separable: "conv", MaxPool: "pool", AvgPool: "pool", Linear: "linear"}
    return kinds.get(type(node), "quiet")


def _boxed(lines: tuple[str, ...], kind: str, height: float) -> Box:
    """A box around the axis, wide enough for its text."""
    sizes = (NAME, *(SMALL for _ in lines[1:]))
    width = max(_long(text, size) for text, size in zip(lines, sizes, strict=True)) + 16
    return Box(-width / 2, 0, width, height, kind, lines)


def _long(text: str, size: float) -> float:
    """The width of a text, rather too large than too small."""
    return len(text) * EM * size


def _shape(shape: Shape) -> str:
    return " × ".join(map(str, shape))


def _cost(lines: list[Line]) -> str:
    params, macs = sum(line.params for line in lines), sum(line.macs for line in lines)
    return f"{params:,} parameters, {macs:,} multiply-adds"


def _svg(marks: list[Mark], title: str, subtitle: str, desc: str) -> str:
    """The file: marks moved to the page's margins, under a title."""
    lefts, rights, lows = zip(*map(_extent, marks), strict=True)
    words = max(_long(title, TITLE), _long(subtitle, SMALL))
    marks_width = max(rights) - min(lefts)
    width, top = max(marks_width, words) + 2 * MARGIN, MARGIN + TITLE + SMALL + 24
    moved = [mark.moved((width - marks_width) / 2 - min(lefts), top) for mark in marks]
    height = top + max(lows) + MARGIN
    order = {Way: 0, Box: 1, Label: 2}
    body = [line for mark in sorted(moved, key=lambda m: order[type(m)]) for line in _mark(mark)]
    wide, high = f"{width:.0f}", f"{height:.0f}"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" class="inceptive" width="{wide}" '
        f'height="{high}" viewBox="0 0 {wide} {high}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(desc)}</desc>",
        _style(),
        f'<rect class="paper" width="{wide}" height="{high}"/>',
        _text(MARGIN, MARGIN + TITLE, title, TITLE, "start", "bold"),
        _text(MARGIN, MARGIN + TITLE + SMALL + 8, subtitle, SMALL, "start", "muted"),
        *body,
        "</svg>\n",
    ])  # fmt: skip


def _extent(mark: Mark) -> tuple[float, float, float]:
    """How far a mark goes to the left, to the right and down."""
    match mark:
        case Box(x, y, width, height):
            return x, x + width, y + height
        case Way(points):
            return min(x for x, _ in points), max(x for x, _ in points), max(y for _, y in points)
        case Label(x, y, text):
            half = _long(text, SMALL) / 2
            return x - half, x + half, y + LABEL / 2
        case _:
            assert_never(mark)


def _mark(mark: Mark) -> Iterator[str]:
    match mark:
        case Box(x, y, width, height, kind, lines):
            corner = height / 2 if kind == "join" else 5
            yield (f'<rect class="box {kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                   f'height="{height:g}" rx="{corner:g}"/>')  # fmt: skip
            middle = x + width / 2
            if len(lines) == 1:
                yield _text(middle, y + height / 2 + 4, lines[0], NAME, "middle", "bold")
                return
            yield _text(middle, y + 17, lines[0], NAME, "middle", "bold")
            yield _text(middle, y + 32, lines[1], SMALL, "middle", "muted")
        case Label(x, y, text):
            yield _text(x, y + 4, text, SMALL, "middle", "shape")
        case Way(points, arrow, dashed):
            dash = " dashed" if dashed else ""
            yield f'<path class="way{dash}" d="{_path(points)}"/>'
            if arrow:
                (before, _), (x, y) = points[-2:]
                ends = (f"M{x:.1f} {y:.1f}l-7 -3.5v7z" if before < x else
                        f"M{x:.1f} {y:.1f}l-3.5 -7h7z")  # fmt: skip
                yield f'<path class="tip" d="{ends}"/>'


def _path(points: tuple[tuple[float, float], ...]) -> str:
    """Straight lines with rounded corners; points that lie on one line are passed by."""
    corners = [points[0]]
    for point in points[1:]:
        if point == corners[-1]:
            continue
        if len(corners) > 1 and (corners[-2][0] == corners[-1][0] == point[0]):
            corners.pop()
        corners.append(point)
    path = [f"M{corners[0][0]:.1f} {corners[0][1]:.1f}"]
    for (x0, y0), (x1, y1), (x2, y2) in zip(corners, corners[1:], corners[2:], strict=False):
        lengths = abs(x1 - x0) + abs(y1 - y0), abs(x2 - x1) + abs(y2 - y1)
        turn = min(TURN, *(length / 2 for length in lengths))
        near = [x1 + turn * _sign(x0 - x1), y1 + turn * _sign(y0 - y1)]
        far = [x1 + turn * _sign(x2 - x1), y1 + turn * _sign(y2 - y1)]
        path.append(f"L{near[0]:.1f} {near[1]:.1f}Q{x1:.1f} {y1:.1f} {far[0]:.1f} {far[1]:.1f}")
    return "".join([*path, f"L{corners[-1][0]:.1f} {corners[-1][1]:.1f}"])


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _text(x: float, y: float, text: str, size: float, anchor: str, kind: str) -> str:
    return (f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" '
            f'text-anchor="{anchor}">{escape(text)}</text>')  # fmt: skip


def _style() -> str:
    """Colours as custom properties; before each its light value, for viewers that know none."""

    def rule(selector: str, name: str, colour: str, more: str = "") -> str:
        return f".inceptive {selector}{{{name}:{LIGHT[colour]};{name}:var(--{colour});{more}}}"

    def properties(colours: dict[str, str]) -> str:
        return "".join(f"--{name}:{colour};" for name, colour in colours.items())

    kinds = ("conv", "pool", "quiet", "linear", "join", "module")
    ink = f"color:{LIGHT['ink']};color:var(--ink)"
    return "\n".join([
        "<style>",
        f".inceptive{{{properties(LIGHT)}{ink};max-width:100%;height:auto;"
        "font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif}",
        f"@media(prefers-color-scheme:dark){{.inceptive{{{properties(DARK)}}}}}",
        ".inceptive text{fill:currentColor}",
        ".inceptive .bold{font-weight:600}",
        rule(".muted", "color", "muted"),
        rule(".shape", "color", "ink"),
        rule(".paper", "fill", "paper"),
        rule(".box", "stroke", "edge"),
        *(rule(f".{kind}", "fill", kind) for kind in kinds),
        rule(".aux", "fill", "paper", "stroke-dasharray:4 3;"),
        rule(".way", "stroke", "way", "fill:none;stroke-width:1.3;"),
        ".inceptive .dashed{stroke-dasharray:4 3}",
        rule(".tip", "fill", "way"),
        "</style>",
    ])  # fmt: skip
