"""One value of one layer taken apart: what it reads, each step to it, and the gradient coming back.

The numbers are those of `net.Pass`, at inference. A layer's value y[f, i, j] is made of `Entries`, the
window it reads in each channel of its input, and of `Step`s, each a formula with its operands. L is
the cross-entropy of one class: of the logits, or of a head's for a layer in a head.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import assert_never

import numpy as np

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
)
from inceptive.errors import InceptiveError
from inceptive.reference import layers
from inceptive.reference.layers import Array, Pads
from inceptive.reference.net import (
    Named,
    Pass,
    conv_pads,
    window_pads,
    windows_give_the_grid,
)

IMAGES = "images"
Reads = dict[str, tuple[Node, str]]
Index = tuple[int, ...]
CHANNELS = {"windows": 2, "numbers": 8}  # channels shown of a sum over many: what a terminal holds


@dataclass(frozen=True)
class Entries:
    """The window that a value reads in one channel of the map `of`.

    Arrays are (P, Q). row and column are the window's first in the map, below 0 in the padding;
    inside is False where an entry is padding. weight is what multiplies each entry and gives what
    the entries add to the sum (of a maximum and a product: the value itself). dx and dw are this
    value's share in the gradients, dx_all and dw_all the gradients whole: dx over everything that
    reads the map (nan in the padding), dw over all positions. chosen is the entry that is the
    maximum, by its row and column in the map.
    """

    of: str
    channel: int
    row: int
    column: int
    x: Array
    inside: Array
    gives: float
    dx: Array
    dx_all: Array
    weight: Array | None = None
    key: str = ""  # of the weights in the state dict
    dw: Array | None = None
    dw_all: Array | None = None
    chosen: tuple[int, int] | None = None


@dataclass(frozen=True)
class Step:
    """One step: name = formula, in which each {operand} is a name or its number."""

    name: str
    formula: str
    operands: dict[str, float]
    value: float
    gradient: float

    @property
    def words(self) -> str:
        """The formula in the names of its operands."""
        return self.formula.replace("{", "").replace("}", "")


@dataclass(frozen=True)
class Weight:
    """A weight of one channel (a bias, gamma, beta) and its gradient: this value's share, and all."""

    key: str
    index: int
    value: float
    gradient: float
    gradient_all: float


@dataclass(frozen=True)
class Stage:
    """From entries to a value. others and others_give: channels read beside those in `entries`."""

    name: str
    channel: int
    at: tuple[int, int] | None
    entries: tuple[Entries, ...]
    steps: tuple[Step, ...]
    weights: tuple[Weight, ...] = ()
    others: int = 0
    others_give: float = 0.0

    @property
    def value(self) -> float:
        return self.steps[-1].value

    @property
    def gradient(self) -> float:
        return self.steps[-1].gradient


@dataclass(frozen=True)
class Trace:
    """A value of `layer`. stages ends with the one that gives it; a separable layer has two.

    Shapes are (C, H, W), or (C,) of a vector. loss is that of `label` in `logits_of`, prob its
    probability there.
    """

    layer: str
    node: Node
    reads: str
    input_shape: tuple[int, ...]
    shape: tuple[int, ...]
    stages: tuple[Stage, ...]
    logits_of: str
    label: int
    prob: float
    loss: float
    chain: str = ""  # the group that ends in `layer`, where it was named instead
    answered: bool = False  # whether the label is the net's own answer

    @property
    def channel(self) -> int:
        return self.stages[-1].channel

    @property
    def at(self) -> tuple[int, int] | None:
        return self.stages[-1].at

    @property
    def value(self) -> float:
        return self.stages[-1].value

    @property
    def gradient(self) -> float:
        return self.stages[-1].gradient


def trace(
    net: Net,
    weights: Named,
    image: Array,
    layer: str,
    channel: int | None = None,
    at: tuple[int, int] | None = None,
    label: int | None = None,
) -> Trace:
    """The value of `layer` at one position for one image (C, H, W), taken apart.

    weights are those of `Model.state_dict()`. Without `channel` and `at` the greatest value is
    taken, of what is left open; without `label` the class that the logits answer.
    Raises InceptiveError for a layer, channel, position or class that there is not.
    """
    name, node, reads = find(net, layer)
    head = name.split(".")[0]
    ends = head if head in net.heads() else net.last
    run = Pass(net, weights)
    logits = run.forward(image[None], heads=ends == head)
    index = _chosen_index(name, run.values[name][0], channel, at)
    z = logits[ends]
    if label is not None and not 0 <= label < net.num_classes:
        raise InceptiveError(f"{net.name} has classes 0 to {net.num_classes - 1}, not {label}")
    own = int(z[0].argmax()) if label is None else label
    q = layers.targets(np.array([own]), net.num_classes)
    zeros = {key: np.zeros_like(values) for key, values in logits.items()}
    run.backward(zeros | {ends: layers.cross_entropy_backward(z, q)})
    stages = tuple(_Position(run, name, node, reads, index).stages())
    return Trace(
        name, node, reads, run.values[reads].shape[1:], run.values[name].shape[1:], stages, ends,
        own, float(layers.softmax(z)[0, own]), layers.cross_entropy(z, q),
        layer if layer != name else "", label is None,
    )  # fmt: skip


def find(net: Net, layer: str) -> tuple[str, Node, str]:
    """The name, the node and what it reads of `layer`; of a chain, those of its last part.

    Raises InceptiveError, naming layers with names like it.
    """
    layers_by_name = layers_of(net)
    if layer not in layers_by_name:
        near = get_close_matches(layer, layers_by_name, n=4, cutoff=0.5)
        near += [name for name in layers_by_name if layer in name and name not in near][
            : 4 - len(near)
        ]
        hint = f"near it: {', '.join(near)}" if near else "`inceptive table` lists them"
        raise InceptiveError(f"{net.name} has no layer {layer!r}; {hint}")
    node, reads = layers_by_name[layer]
    while isinstance(node, Chain):
        if not node.parts:
            raise InceptiveError(f"{layer} passes its input on: there is nothing to trace")
        layer = f"{layer}.{node.parts[-1][0]}"
        node, reads = layers_by_name[layer]
    return layer, node, reads


def layers_of(net: Net) -> Reads:
    """Every layer and group by name, with the name of the map it reads (`images` at first)."""
    layers_by_name: Reads = {}
    reads = IMAGES
    for name, part, heads in net.walk():
        layers_by_name |= _inside(part, name, reads)
        reads = name
        for head, chain in heads.items():
            layers_by_name |= _inside(chain, head, name)
    return layers_by_name


def _inside(node: Node, name: str, reads: str) -> Reads:
    layers_by_name: Reads = {name: (node, reads)}
    match node:
        case Chain():
            for part, child in node:
                layers_by_name |= _inside(child, f"{name}.{part}", reads)
                reads = f"{name}.{part}"
        case Concat() | Multiply():
            for part, child in node:
                layers_by_name |= _inside(child, f"{name}.{part}", reads)
        case Add(branch, shortcut):
            layers_by_name |= _inside(branch, f"{name}.branch", reads)
            if shortcut is not None:
                layers_by_name |= _inside(shortcut, f"{name}.shortcut", reads)
        case _:
            pass
    return layers_by_name


def _chosen_index(name: str, y: Array, channel: int | None, at: tuple[int, int] | None) -> Index:
    """(f,) of a vector y (C,), (f, i, j) of a map y (C, H, W): as asked, else of the greatest."""
    if channel is not None and not 0 <= channel < len(y):
        raise InceptiveError(f"{name} has channels 0 to {len(y) - 1}, not {channel}")
    if y.ndim == 1:
        if at is not None:
            raise InceptiveError(f"{name} gives {len(y)} numbers without rows and columns: no --at")
        return (int(y.argmax()) if channel is None else channel,)
    high, wide = y.shape[1:]
    if at is not None and not (0 <= at[0] < high and 0 <= at[1] < wide):
        raise InceptiveError(
            f"{name} has rows 0 to {high - 1} and columns 0 to {wide - 1}, not {at[0]},{at[1]}"
        )
    allowed = np.full(y.shape, -np.inf)
    rows, columns = (slice(None), slice(None)) if at is None else at
    allowed[slice(None) if channel is None else channel, rows, columns] = 0
    return tuple(int(k) for k in np.unravel_index((y + allowed).argmax(), y.shape))


@dataclass(frozen=True)
class _Position:
    """One value of one layer in a batch of one, forward and backward done."""

    run: Pass
    name: str
    node: Node
    reads: str
    index: Index

    @property
    def x(self) -> Array:
        return self.run.values[self.reads]

    @property
    def f(self) -> int:
        return self.index[0]

    @property
    def at(self) -> tuple[int, int]:
        """Row and column; 0, 0 of a vector."""
        return (self.index[1], self.index[2]) if len(self.index) == 3 else (0, 0)

    def value(self, step: str = "") -> float:
        return float(self.run.values[self.name + step][(0, *self.index)])

    def gradient(self, step: str = "") -> float:
        return float(self.run.gradients[self.name + step][(0, *self.index)])

    def stages(self) -> Iterator[Stage]:
        node, name = self.node, self.name
        match node:
            case Conv(stride=stride, norm=norm, relu=relu):
                w, pads = self._weight(f"{name}.weight"), conv_pads(node, self.x)
                placed = self._window(self.x, w.shape[1:], stride, pads)
                yield self._sum(placed, w, f"{name}.weight", norm, relu)
            case Linear(relu=relu):
                w = self._weight(f"{name}.weight")
                yield self._sum(None, w, f"{name}.weight", None, relu)
            case Separable():
                yield from self._separable(node)
            case MaxPool(kernel, stride, pad):
                pads = window_pads(pad, (kernel, kernel), stride, self.x)
                yield self._maximum(*self._window(self.x, (0, kernel, kernel), stride, pads))
            case AvgPool():
                yield self._average(node)
            case LRN():
                yield self._lrn(node)
            case BatchNorm():
                read = self._number(self.reads, self.index)
                steps, weights, slope = self._norm("y", name, node, "x", read.gives, "")
                yield self._end([self._with(read, slope)], steps, weights=weights)
            case Activation(kind):
                x, y = float(self.x[(0, *self.index)]), self.value()
                slope = y * (1 - y) if kind == "sigmoid" else float(y > 0)
                formula = "1 / (1 + exp(-{x}))" if kind == "sigmoid" else "max({x}, 0)"
                read = self._with(self._number(self.reads, self.index), slope)
                yield self._end([read], [self._step("y", formula, {"x": x})])
            case Dropout():
                read = self._with(self._number(self.reads, self.index), 1.0)
                yield self._end([read], [self._step("y", "{x}", {"x": read.gives})])
            case Concat():
                read = self._with(self._number(*self._branch(node)), 1.0)
                yield self._end([read], [self._step("y", "{x}", {"x": read.gives})])
            case Multiply():
                yield self._product(node)
            case Add():
                yield self._added(node)
            case Chain():
                raise AssertionError("a chain is traced by its last part")
            case _:
                assert_never(node)

    # Layers that sum over channels

    def _sum(
        self,
        window: tuple[Array, Array, int, int] | None,
        w: Array,
        key: str,
        norm: BatchNorm | None,
        relu: bool,
    ) -> Stage:
        """sum = b + w · x over the window in every channel (of a linear layer: over all it reads)."""
        dsum = self.gradient("/sum")
        if window is None:
            flat = self.x[0].reshape(-1)
            read, inside = flat[:, None, None], np.ones((len(flat), 1, 1), bool)
            row = column = 0
        else:
            read, inside, row, column = window
        kernel = w[self.f].reshape(read.shape)
        gives = (read * kernel).sum((1, 2))
        order = np.argsort(-np.abs(gives), kind="stable")
        channels = order[: CHANNELS["windows" if kernel[0].size > 1 else "numbers"]]
        dw_all = self.run.weight_gradients[key][self.f].reshape(kernel.shape)
        entries = []
        for c in map(int, channels):
            of, first, last = self.reads, row, column
            channel = c
            if window is None and self.x.ndim == 4:  # a map is read channel by channel
                channel, first, last = (int(k) for k in np.unravel_index(c, self.x.shape[1:]))
            dx_all = self._back(of, channel, first, last, inside[c])
            entries.append(
                Entries(
                    of, channel, first, last, read[c], inside[c], float(gives[c]),
                    dsum * kernel[c] * inside[c], dx_all, kernel[c], key, dsum * read[c], dw_all[c],
                )
            )  # fmt: skip
        products = float(gives.sum())
        key = key.removesuffix(".weight")
        steps, weights = self._unit(key, "products", products, norm, relu)
        others = len(gives) - len(channels)
        return self._end(
            entries, steps, weights, others, float(gives[order[len(channels) :]].sum())
        )

    def _unit(
        self, key: str, of: str, products: float, norm: BatchNorm | None, relu: bool
    ) -> tuple[list[Step], list[Weight]]:
        """From the products to y: the bias, batch normalisation and ReLU where there are any."""
        weights = []
        operands, formula = {of: products}, f"{{{of}}}"
        if f"{key}.bias" in self.run.weights:
            weights.append(self._own(f"{key}.bias", self.gradient("/sum")))
            operands["b"], formula = weights[0].value, formula + " + {b}"
        steps = [self._step("sum", formula, operands, "/sum")]
        if norm is not None:
            normed, more, _ = self._norm(
                "norm", f"{key}.bn", norm, "sum", self.value("/sum"), "/norm"
            )
            steps, weights = steps + normed, weights + more
        if relu:
            before = steps[-1]
            steps.append(self._step("y", f"max({{{before.name}}}, 0)", {before.name: before.value}))
        return steps, weights

    def _norm(
        self, called: str, key: str, norm: BatchNorm, of: str, x: float, step: str
    ) -> tuple[list[Step], list[Weight], float]:
        """Batch normalisation of the number x, called `of`; and its slope dy/dx."""
        weights_by_key = self.run.weights
        mean, var = (
            float(weights_by_key[f"{key}.running_{what}"][self.f]) for what in ("mean", "var")
        )
        dy, standard = self.gradient(step), (x - mean) / np.sqrt(var + norm.eps)
        weights, formula, operands = [], f"({{{of}}} - {{mean}}) / sqrt({{var}} + {{eps}})", {of: x}
        gamma = 1.0
        if f"{key}.weight" in weights_by_key:
            weights.append(self._own(f"{key}.weight", float(dy * standard)))
            gamma = operands["gamma"] = weights[0].value
            formula = "{gamma} · " + formula
        weights.append(self._own(f"{key}.bias", dy))
        operands |= {"mean": mean, "var": var, "eps": norm.eps, "beta": weights[-1].value}
        slope = float(gamma / np.sqrt(var + norm.eps))
        return [self._step(called, formula + " + {beta}", operands, step)], weights, slope

    def _separable(self, node: Separable) -> Iterator[Stage]:
        """The map that gives most, as the depthwise half makes it; then the 1x1 over all maps."""
        run, (i, j) = self.run, self.at
        between = run.values[f"{self.name}/depthwise"]
        first, key = f"{self.name}.depthwise", f"{self.name}.pointwise"
        across = self._weight(f"{key}.weight")[:, :, 0, 0]
        dmaps = run.gradients[f"{self.name}/depthwise"]
        halves = Pass(run.net, run.weights, values=dict(run.values), gradients=dict(run.gradients))
        halves.weight_gradients = run.weight_gradients
        halves.values[first], halves.gradients[first] = between, dmaps
        halves.values[f"{first}/sum"], halves.gradients[f"{first}/sum"] = between, dmaps
        strongest = int(np.abs(across[self.f] * between[0, :, i, j]).argmax())
        yield _Position(halves, first, node, self.reads, (strongest, i, j))._depthwise(node)
        for step in ("", "/sum", "/norm"):
            if f"{self.name}{step}" in run.values:
                halves.values[key + step] = run.values[self.name + step]
                halves.gradients[key + step] = run.gradients[self.name + step]
        last = _Position(halves, key, node, first, self.index)
        w = last._weight(f"{key}.weight")
        placed = last._window(between, w.shape[1:], 1, layers.NO_PADS)
        yield last._sum(placed, w, f"{key}.weight", node.norm, node.relu)

    def _depthwise(self, node: Separable) -> Stage:
        """One map: its own kernel over one channel of the input."""
        key, c = f"{self.name}.weight", self.f // node.multiplier
        w, pads = self._weight(key)[self.f, 0], conv_pads(node, self.x)
        read, inside, row, column = self._window(self.x, (0, *w.shape), node.stride, pads)
        dm, gives = self.gradient(), float((read[c] * w).sum())
        dx_all = self._back(self.reads, c, row, column, inside[c])
        entries = Entries(
            self.reads, c, row, column, read[c], inside[c], gives, dm * w * inside[c], dx_all, w, key,
            dm * read[c], self.run.weight_gradients[key][self.f, 0],
        )  # fmt: skip
        return self._end([entries], [self._step("m", "{products}", {"products": gives})])

    # Pooling, normalisation across channels

    def _maximum(self, read: Array, inside: Array, row: int, column: int) -> Stage:
        window, inside = read[self.f], inside[self.f]
        window = np.where(inside, window, -np.inf)
        p, q = (int(k) for k in np.unravel_index(window.argmax(), window.shape))
        dx = np.zeros_like(window)
        dx[p, q] = self.gradient()
        dx_all = self._back(self.reads, self.f, row, column, inside)
        gives = float(window[p, q])
        entries = Entries(
            self.reads, self.f, row, column, window, inside, gives, dx, dx_all,
            chosen=(row + p, column + q),
        )  # fmt: skip
        return self._end([entries], [self._step("y", "{maximum}", {"maximum": gives})])

    def _average(self, node: AvgPool) -> Stage:
        if node.kernel is None or not windows_give_the_grid(node, self.x):
            grid = node.grid or 1
            spans = [layers.spans(side, grid)[k]
                     for side, k in zip(self.x.shape[2:], self.at, strict=True)]  # fmt: skip
            window = self.x[0, self.f, spans[0], spans[1]]
            inside, row, column = np.ones(window.shape, bool), spans[0].start, spans[1].start
            area = window.size
        else:
            size, stride = (node.kernel, node.kernel), node.stride
            pads = window_pads(node.pad, size, stride, self.x)
            read, within, row, column = self._window(self.x, (0, *size), stride, pads)
            window, inside = read[self.f], within[self.f]
            area = window.size if node.count_pad else int(inside.sum())
        share = inside / area
        gives = float((window * share).sum())
        dx_all = self._back(self.reads, self.f, row, column, inside)
        entries = Entries(
            self.reads, self.f, row, column, window, inside, gives, self.gradient() * share, dx_all,
            share,
        )  # fmt: skip
        total = float(window.sum())
        return self._end(
            [entries], [self._step("y", "{total} / {count}", {"total": total, "count": area})]
        )

    def _lrn(self, node: LRN) -> Stage:
        """y = x m^-beta: x stands in its numerator, it and its neighbours in its denominator."""
        (i, j), dy, n = self.at, self.gradient(), node.size
        first, last = self.f - n // 2, self.f + (n - 1) // 2
        own = float(self.x[0, self.f, i, j])
        channels = range(max(first, 0), min(last, self.x.shape[1] - 1) + 1)
        squares = float(sum(self.x[0, c, i, j] ** 2 for c in channels))
        m = node.k + node.alpha / n * squares
        dm = -dy * node.beta * own * m ** (-node.beta - 1)
        entries = []
        for c in channels:
            read = self._number(self.reads, (c, i, j))
            slope = 2 * node.alpha / n * read.gives * dm + (
                dy * m**-node.beta if c == self.f else 0
            )
            dx = np.full((1, 1), slope)
            entries.append(replace(read, gives=read.gives**2, dx=dx))
        energy = Step(
            "m", "{k} + {alpha} / {n} · {squares}",
            {"k": node.k, "alpha": node.alpha, "n": n, "squares": squares}, m, dm,
        )  # fmt: skip
        scaled = self._step("y", "{x} · {m}^-{beta}", {"x": own, "m": m, "beta": node.beta})
        return self._end(entries, [energy, scaled])

    # Where branches meet

    def _branch(self, node: Concat) -> tuple[str, Index]:
        """The branch that holds this channel, and the index in it."""
        f = self.f
        for part, _ in node:
            count = self.run.values[f"{self.name}.{part}"].shape[1]
            if f < count:
                return f"{self.name}.{part}", (f, *self.index[1:])
            f -= count
        raise AssertionError("the branches have the channels of the whole")

    def _product(self, node: Multiply) -> Stage:
        read = [self._number(f"{self.name}.{part}", self.index) for part, _ in node]
        factors = [entries.gives for entries in read]
        entries = [
            self._with(factor, float(np.prod(factors[:k] + factors[k + 1 :])))
            for k, factor in enumerate(read)
        ]
        operands = dict(zip((part for part, _ in node), factors, strict=True))
        formula = " · ".join(f"{{{part}}}" for part in operands)
        return self._end(entries, [self._step("y", formula, operands)])

    def _added(self, node: Add) -> Stage:
        shortcut = self.reads if node.shortcut is None else f"{self.name}.shortcut"
        read = [self._number(shortcut, self.index), self._number(f"{self.name}.branch", self.index)]
        dsum, scales = self.gradient("/sum"), (1.0, node.scale)
        entries = [
            replace(term, gives=scale * term.gives, weight=np.full((1, 1), scale),
                      dx=np.full((1, 1), scale * dsum))
            for term, scale in zip(read, scales, strict=True)
        ]  # fmt: skip
        operands = {"shortcut": read[0].gives, "scale": node.scale, "branch": read[1].gives}
        steps = [self._step("sum", "{shortcut} + {scale} · {branch}", operands, "/sum")]
        if node.relu:
            steps.append(self._step("y", "max({sum}, 0)", {"sum": steps[0].value}))
        return self._end(entries, steps)

    # What all of them are made of

    def _weight(self, key: str) -> Array:
        return self.run.weights[key]

    def _own(self, key: str, gradient: float) -> Weight:
        """A weight of this channel."""
        value, whole = self.run.weights[key][self.f], self.run.weight_gradients[key][self.f]
        return Weight(key, self.f, float(value), gradient, float(whole))

    def _step(self, name: str, formula: str, operands: dict[str, float], of: str = "") -> Step:
        return Step(name, formula, operands, self.value(of), self.gradient(of))

    def _end(
        self,
        entries: list[Entries],
        steps: list[Step],
        weights: list[Weight] | None = None,
        others: int = 0,
        others_give: float = 0.0,
    ) -> Stage:
        at = self.at if len(self.index) == 3 else None
        return Stage(
            self.name, self.f, at, tuple(entries), tuple(steps), tuple(weights or ()), others,
            others_give,
        )  # fmt: skip

    def _window(
        self, x: Array, kernel: tuple[int, ...], stride: int, pads: Pads
    ) -> tuple[Array, Array, int, int]:
        """What this position reads in each channel of x (C, P, Q) with zeros in the padding, which
        entries are not padding, and the first row and column in x."""
        (i, j), (high, wide) = self.at, kernel[-2:]
        top, left = stride * i, stride * j
        read = layers.padded(x, pads)[0, :, top : top + high, left : left + wide]
        inside = layers.padded(np.ones_like(x), pads)[0, :, top : top + high, left : left + wide]
        return read, inside > 0, top - pads[0][0], left - pads[1][0]

    def _back(self, of: str, channel: int, row: int, column: int, inside: Array) -> Array:
        """dL/dx of a window in the map `of`, from everything that reads it; nan in the padding."""
        dx = self.run.gradients[of][0, channel]
        gradients = np.full(inside.shape, np.nan)
        for p, q in np.argwhere(inside):
            gradients[p, q] = dx[row + p, column + q] if dx.ndim else dx
        return gradients

    def _number(self, of: str, index: Index) -> Entries:
        """One number that is read, its gradient left open."""
        x = float(self.run.values[of][(0, *index)])
        whole = float(self.run.gradients[of][(0, *index)])
        row, column = index[1:] if len(index) == 3 else (0, 0)
        return Entries(
            of, index[0], row, column, np.full((1, 1), x), np.ones((1, 1), bool), x,
            np.zeros((1, 1)), np.full((1, 1), whole),
        )  # fmt: skip

    def _with(self, read: Entries, slope: float) -> Entries:
        """`read` with its gradient: dy/dx is `slope`."""
        return replace(read, dx=np.full((1, 1), slope * self.gradient()))
