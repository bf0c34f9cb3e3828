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
from inceptive.reference.layers import Array
from inceptive.reference.net import Named, Pass

Index = tuple[int, ...]
SOFTMAX = "softmax"
"""The layer behind the logits, which no net value has: it belongs to the loss."""
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

    weights are those of `Model.state_dict()`. "softmax" is the layer behind the logits, which gives the
    probabilities. Without `channel` and `at` the greatest value is
    taken, of what is left open; without `label` the class that the logits answer.
    Raises InceptiveError for a layer, channel, position or class that there is not.
    """
    softmax = named(net, layer) == SOFTMAX
    name, node = find(net, net.last if softmax else layer)
    head = name.split(".")[0]
    ends = head if head in net.heads() else net.last
    run = Pass(net, weights)
    logits = run.forward(image[None], heads=ends == head)
    index = _chosen_index(SOFTMAX if softmax else name, run.values[name][0], channel, at)
    z = logits[ends]
    if label is not None and not 0 <= label < net.num_classes:
        raise InceptiveError(f"{net.name} has classes 0 to {net.num_classes - 1}, not {label}")
    answer = int(z[0].argmax()) if label is None else label
    q = layers.targets(np.array([answer]), net.num_classes)
    zeros = {key: np.zeros_like(values) for key, values in logits.items()}
    run.backward(zeros | {ends: layers.cross_entropy_backward(z, q)})
    if softmax:
        stages: tuple[Stage, ...] = (_probability(ends, z[0], index[0], answer),)
        reads, name, shape = ends, SOFTMAX, z.shape[1:]
    else:
        stages = tuple(_stages(run, node, name, index))
        reads, shape = run.reads[name], run.values[name].shape[1:]
    return Trace(
        name, node, reads, run.values[reads].shape[1:], shape, stages, ends,
        answer, float(layers.softmax(z)[0, answer]), layers.cross_entropy(z, q),
        layer if layer != name else "", label is None,
    )  # fmt: skip


def _probability(of: str, z: Array, channel: int, label: int) -> Stage:
    """softmax(z)[channel] of the logits z (K,), and what each is given back by the loss of `label`.

    exp(z - m) with the greatest logit m gives the same as exp(z), and no overflow.
    """
    greatest = float(z.max())
    p, exponentials = layers.softmax(z[None])[0], np.exp(z - greatest)
    targets = layers.targets(np.array([label]), len(z))
    whole = layers.cross_entropy_backward(z[None], targets)[0]
    gradient = -1.0 / float(p[label]) if channel == label else 0.0
    alone = gradient * p[channel] * ((np.arange(len(z)) == channel) - p)
    order = np.argsort(-z, kind="stable")
    channels = [channel, *(int(k) for k in order if k != channel)][: CHANNELS["numbers"]]

    def number(value: float) -> Array:
        return np.full((1, 1), value)

    entries = tuple(
        Entries(
            of,
            k,
            0,
            0,
            number(z[k]),
            number(1) > 0,
            float(exponentials[k]),
            number(alone[k]),
            number(whole[k]),
        )
        for k in channels
    )
    others = np.delete(exponentials, channels)
    total, own = float(exponentials.sum()), float(exponentials[channel])
    steps = (
        Step(
            "e",
            "exp({z} - {greatest})",
            {"z": float(z[channel]), "greatest": greatest},
            own,
            gradient * (1 - float(p[channel])) / total,  # e is a term of the sum, too
        ),
        Step(
            "y",
            "{e} / {exponentials}",
            {"e": own, "exponentials": total},
            float(p[channel]),
            gradient,
        ),
    )
    return Stage(SOFTMAX, channel, None, entries, steps, (), len(others), float(others.sum()))


def named(net: Net, layer: str) -> str:
    """The name of what `trace` takes apart: as `find` says, or SOFTMAX where no layer is called so."""
    nodes = {name for name, *_ in net.nodes()}
    return SOFTMAX if layer == SOFTMAX and layer not in nodes else find(net, layer)[0]


def find(net: Net, layer: str) -> tuple[str, Node]:
    """The name and the node of `layer`; of a chain, those of its last part.

    Raises InceptiveError, naming layers with names like it.
    """
    nodes = {name: node for name, node, _ in net.nodes()}
    if layer not in nodes:
        near = get_close_matches(layer, nodes, n=4, cutoff=0.5)
        near += [name for name in nodes if layer in name and name not in near][: 4 - len(near)]
        hint = f"near it: {', '.join(near)}" if near else "`inceptive table` lists them"
        raise InceptiveError(f"{net.name} has no layer {layer!r}; {hint}")
    name = layer
    while isinstance(node := nodes[name], Chain):
        if not node.parts:
            raise InceptiveError(f"{name} passes its input on: there is nothing to trace")
        name = f"{name}.{node.parts[-1][0]}"
    return name, node


def _chosen_index(name: str, y: Array, channel: int | None, at: tuple[int, int] | None) -> Index:
    """(f,) of a vector y (C,), (f, i, j) of a map y (C, H, W): as asked, else of the greatest."""
    if channel is not None and not 0 <= channel < len(y):
        raise InceptiveError(f"{name} has channels 0 to {len(y) - 1}, not {channel}")
    if y.ndim == 1:
        if at is not None:
            raise InceptiveError(
                f"{name} gives {len(y)} numbers without rows and columns: leave at out"
            )
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


def _stages(run: Pass, node: Node, name: str, index: Index) -> Iterator[Stage]:
    """The value of the layer `name` at `index`, in a batch of one that went forward and backward."""
    if not isinstance(node, Separable):
        yield _Value(run, run.through(node, name, index), name, index).stage(node)
        return
    # The map that gives most, as the depthwise half makes it; then the 1x1 over all maps.
    first, last = f"{name}.depthwise", f"{name}.pointwise"
    across, maps = run.weights[f"{last}.weight"][index[0], :, 0, 0], run.values[first][0]
    strongest = int(np.abs(across * maps[:, *index[1:]]).argmax())
    at = strongest, *index[1:]
    yield _Value(run, run.through(None, first, at), first, at).products(
        strongest // node.multiplier
    )
    yield _Value(run, run.through(node.pointwise, last, index), last, index).products()


@dataclass(frozen=True)
class _Value:
    """One value of the layer `name`. alone: the gradients that come back through it only."""

    run: Pass
    alone: Pass
    name: str
    index: Index

    @property
    def reads(self) -> str:
        return self.run.reads[self.name]

    def stage(self, node: Node) -> Stage:
        name, (f, *at) = self.name, self.index
        match node:
            case Conv() | Linear():
                return self.products()
            case MaxPool():
                row, column, size = self._place()
                entries = self._entries(self.reads, f, row, column, size=size, outside=-np.inf)
                p, q = map(int, np.unravel_index(entries.x.argmax(), entries.x.shape))
                chosen = entries.row + p, entries.column + q
                return self._stage([replace(entries, gives=float(entries.x[p, q]), chosen=chosen)])
            case AvgPool(grid=grid, count_pad=count_pad):
                row, column, size = self._place(grid or 1)
                entries = self._entries(self.reads, f, row, column, size=size)
                area = entries.x.size if count_pad else int(entries.inside.sum())
                share = entries.inside / area
                entries = replace(entries, weight=share, gives=float((entries.x * share).sum()))
                return self._stage([entries], total=float(entries.x.sum()), count=area)
            case LRN(size=n):
                last = min(f + (n - 1) // 2, self.run.values[self.reads].shape[1] - 1)
                read = [
                    self._entries(self.reads, c, *at) for c in range(max(f - n // 2, 0), last + 1)
                ]
                squares = [replace(number, gives=number.gives**2) for number in read]
                return self._stage(squares, squares=sum(number.gives for number in squares))
            case BatchNorm() | Activation() | Dropout():
                return self._stage([self._entries(self.reads, *self.index)])
            case Concat():
                for part, _ in node:
                    of = f"{name}.{part}"
                    if f < (channels := self.run.values[of].shape[1]):
                        break
                    f -= channels
                return self._stage([self._entries(of, f, *at)])
            case Multiply():
                return self._stage(
                    [self._entries(f"{name}.{part}", *self.index) for part, _ in node]
                )
            case Add(shortcut=shortcut, scale=scale):
                terms = []
                for part, weight in ("shortcut", 1.0), ("branch", scale):
                    term = self._entries(f"{name}.{part}", *self.index)
                    weights = np.full((1, 1), weight)
                    terms.append(replace(term, gives=weight * term.gives, weight=weights))
                if shortcut is None:  # x itself, whose gradient comes by the branch too
                    itself = self._entries(self.reads, *self.index)
                    terms[0] = replace(terms[0], of=self.reads, dx_all=itself.dx_all)
                return self._stage(terms)
            case Chain() | Separable():
                raise AssertionError("a chain is traced by its last part")
            case _:
                assert_never(node)

    def products(self, channel: int | None = None) -> Stage:
        """Weights times all that is read, or times `channel` of it; those of most channels summed."""
        run, f, key = self.run, self.index[0], f"{self.name}.weight"
        x = _as_map(run.values[self.reads][0])
        if self.name in run.windows:
            row, column, size = self._place()
            channels = [*range(len(x))] if channel is None else [channel]
            read = _cut(x[channels], row, column, size)
            places = [(c, row, column) for c in channels]
        else:  # a linear layer reads a map number by number, channel by channel
            read, places, size = x.reshape(-1, 1, 1), [*np.ndindex(x.shape)], (1, 1)
        weight, dw, dw_all = (
            weights[key][f].reshape(read.shape)
            for weights in (run.weights, self.alone.weight_gradients, run.weight_gradients)
        )
        gives = (read * weight).sum((1, 2))
        order = np.argsort(-np.abs(gives), kind="stable")
        count = CHANNELS["windows" if weight[0].size > 1 else "numbers"]
        entries = [
            replace(self._entries(self.reads, *places[c], size=size), weight=weight[c],
                    gives=float(gives[c]), key=key, dw=dw[c], dw_all=dw_all[c])
            for c in map(int, order[:count])
        ]  # fmt: skip
        stage, others = self._stage(entries, products=float(gives.sum())), gives[order[count:]]
        return replace(stage, others=len(others), others_give=float(others.sum()))

    def _place(self, grid: int = 1) -> tuple[int, int, tuple[int, int]]:
        """First row, first column and size of the window; of an adaptive one on a grid."""
        _, i, j = self.index
        if self.name in self.run.windows:
            size, stride, ((above, _), (left, _)) = self.run.windows[self.name]
            return stride * i - above, stride * j - left, size
        high, wide = self.run.values[self.reads].shape[2:]
        rows, columns = layers.spans(high, grid)[i], layers.spans(wide, grid)[j]
        return rows.start, columns.start, (rows.stop - rows.start, columns.stop - columns.start)

    def _entries(
        self,
        of: str,
        channel: int,
        *at: int,
        size: tuple[int, int] = (1, 1),
        outside: float = 0.0,
    ) -> Entries:
        """What is read of the map `of`; x is `outside` in the padding."""
        row, column = at or (0, 0)
        x, dx, dx_all = (
            _cut(_as_map(values[of][0])[channel], row, column, size, padding)
            for values, padding in ((self.run.values, outside), (self.alone.gradients, 0.0),
                                    (self.run.gradients, np.nan))
        )  # fmt: skip
        high, wide = _as_map(self.run.values[of][0]).shape[1:]
        inside = _cut(np.ones((high, wide), bool), row, column, size, False)
        return Entries(of, channel, row, column, x, inside, float(x[0, 0]), dx, dx_all)

    def _stage(self, entries: list[Entries], **sums: float) -> Stage:
        """The recorded steps at this index; `sums` are those over the entries."""
        run, (f, *at) = self.run, self.index
        steps, weights = [], []
        for name, formula, holders, of in run.steps[self.name]:
            operands: dict[str, float] = {}
            for operand, holder in holders.items():
                if not isinstance(holder, str):
                    operands[operand] = sums[operand] if holder is None else holder
                elif holder not in run.weights:
                    operands[operand] = float(run.values[holder][0, *self.index])
                else:
                    operands[operand] = float(run.weights[holder][f])
                    if holder in run.weight_gradients:
                        alone, total = (float(gradients.weight_gradients[holder][f])
                                      for gradients in (self.alone, run))  # fmt: skip
                        weights.append(Weight(holder, f, operands[operand], alone, total))
            y, dy = (float(values[of][0, *self.index]) for values in (run.values, run.gradients))
            steps.append(Step(name, formula, operands, y, dy))
        where = (at[0], at[1]) if at else None
        return Stage(self.name, f, where, tuple(entries), tuple(steps), tuple(weights))


def _as_map(values: Array) -> Array:
    """(C, H, W) as it is, (C,) as (C, 1, 1)."""
    return values.reshape(len(values), *(values.shape[1:] or (1, 1)))


def _cut(x: Array, row: int, column: int, size: tuple[int, int], outside: float = 0.0) -> Array:
    """The window (..., P, Q) of x (..., H, W) from row and column on; `outside` in the padding."""
    high, wide = x.shape[-2:]
    rows, columns = row + np.arange(size[0])[:, None], column + np.arange(size[1])
    inside = (rows >= 0) & (rows < high) & (columns >= 0) & (columns < wide)
    return np.where(inside, x[..., rows.clip(0, high - 1), columns.clip(0, wide - 1)], outside)
