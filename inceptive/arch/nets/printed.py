"""Published tables of parameters and operations, compared with the counts of `account`.

A `Reading` is a net that reproduces printed cells where the printed widths do not. The command is
`inceptive table NET --against paper`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from inceptive.arch.account import Account, account
from inceptive.arch.nets.googlenet import googlenet
from inceptive.arch.spec import Chain, Conv, Net, Node, Separable
from inceptive.errors import InceptiveError


@dataclass(frozen=True)
class Cell:
    """A printed number: `value` times `unit`, rounded to a multiple of `step` of its units."""

    value: float
    unit: int = 1
    step: float = 1

    def agrees(self, count: int) -> bool:
        """Whether `count` rounds to this cell; of a tie both neighbours do."""
        return abs(self.value - count / self.unit) <= self.step / 2


@dataclass(frozen=True)
class Row:
    """One row of a table: the parts of the net it counts, and its cells."""

    name: str
    parts: tuple[str, ...]
    params: Cell
    macs: Cell | None = None


@dataclass(frozen=True)
class Reading:
    """An alternative net, and in words which part of it is behind each row it may explain."""

    make: Callable[[], Net]
    words: Mapping[str, str]


@dataclass(frozen=True)
class Printed:
    """A table as printed. total is the sum of parameters that the source itself states, if any."""

    source: str
    rows: tuple[Row, ...]
    readings: tuple[Reading, ...]
    notes: tuple[str, ...]
    total: Cell | None = None


def _exchanged(net: Net, **parts: Node) -> Net:
    """`net` with some parts of its body exchanged for others."""
    return replace(net, body=Chain(**(dict(net.body.parts) | parts)))


def separable_inception5h() -> Net:
    """Google's inception5h graph with a separable conv1 of depth multiplier 8, as BN-Inception has.

    It reproduces every operations cell of the paper; the authors do not say that they counted it.
    """
    conv1 = Separable(64, 7, stride=2, pad="tf", multiplier=8)
    return _exchanged(googlenet("googlenet.inception5h"), conv1=conv1)


def conv2_of_5x5() -> Net:
    """The paper's net with a 5×5 in place of the 3×3 of conv2."""
    return _exchanged(googlenet(), conv2=Conv(192, 5))


def _k(value: float, step: float = 1) -> Cell:
    return Cell(value, 1024, step)


def _m(value: float, step: float = 1) -> Cell:
    return Cell(value, 10**6, step)


def _module(name: str, params: Cell, macs: Cell | None = None) -> Row:
    return Row(f"inception_{name}", (f"inception_{name}",), params, macs)


PAPER = Printed(
    source="arXiv:1409.4842v1, Table 1, columns params and ops",
    rows=(
        Row("conv1", ("conv1",), _k(2.7, step=0.1), _m(34)),
        Row("conv2", ("conv2_reduce", "conv2"), _k(112), _m(360)),
        _module("3a", _k(159), _m(128)),
        _module("3b", _k(380), _m(304)),
        _module("4a", _k(364), _m(73)),
        _module("4b", _k(437), _m(88)),
        _module("4c", _k(463), _m(100)),
        _module("4d", _k(580), _m(119)),
        _module("4e", _k(840), _m(170)),
        _module("5a", _k(1072), _m(54)),
        _module("5b", _k(1388), _m(71)),
        Row("linear", ("fc",), _k(1000), _m(1)),
    ),
    readings=(
        Reading(
            separable_inception5h,
            {
                "conv1": "separable, 8 maps a channel",
                "inception_4a": "3×3 of 204, as in inception5h",
                "inception_4b": "508 channels from 4a, as in inception5h",
                "inception_5a": "5×5 reduce of 48, as in inception5h",
                "sum": "separable conv1 and the widths of inception5h",
            },
        ),
    ),
    notes=(
        "K is 1,024 (112K and 1000K are then exact), M is 1,000,000.",
        "The paper prints no totals: the sums are of its cells.",
        "A reason is an explanation that fits, derived from a net, not a statement by the authors.",
    ),
)
TUTORIAL = Printed(
    source="a table that tutorials of GoogLeNet print, column of parameters",
    rows=(
        Row("conv1", ("conv1",), Cell(9_408)),
        Row("pool1", ("pool1",), Cell(0)),
        Row("conv2_reduce", ("conv2_reduce",), Cell(4_096)),
        Row("conv2", ("conv2",), Cell(307_392)),
        Row("pool2", ("pool2",), Cell(0)),
        _module("3a", Cell(159_936)),
        _module("3b", Cell(376_320)),
        Row("pool3", ("pool3",), Cell(0)),
        _module("4a", Cell(364_544)),
        Row("aux_4a", ("aux_4a",), _m(1)),
        _module("4b", Cell(437_952)),
        _module("4c", Cell(462_592)),
        _module("4d", Cell(580_544)),
        Row("aux_4d", ("aux_4d",), _m(1)),
        _module("4e", Cell(840_896)),
        Row("pool4", ("pool4",), Cell(0)),
        _module("5a", Cell(1_071_936)),
        _module("5b", Cell(1_382_400)),
        Row("pool5", ("pool5",), Cell(0)),
        Row("dropout", ("dropout",), Cell(0)),
        Row("linear", ("fc",), Cell(1_024_000)),
        Row("softmax", (), Cell(0)),
    ),
    readings=(Reading(conv2_of_5x5, {"conv2": "a 5×5 in place of the 3×3"}),),
    notes=(
        "The heads are printed as about 1M, M being 1,000,000; they are not in the sum.",
        "The rows that agree count weights without biases.",
        "A reason is an explanation that fits, derived from a net, not a statement by the authors.",
    ),
    total=_m(6.8, step=0.1),
)
PRINTED = {"googlenet": {"paper": PAPER, "tutorial": TUTORIAL}}


@dataclass(frozen=True)
class ComparedCell:
    """One printed cell and its count.

    count is "params" or "macs". derived counts the weights alone, with_biases also the biases (equal
    for macs). explained is the count of another net that reproduces the cell, with its reason; None
    where the cell agrees, or no known net reproduces it.
    """

    layer: str
    count: str
    printed: Cell
    derived: int
    with_biases: int
    explained: int | None = None
    reason: str = ""

    @property
    def agrees(self) -> bool:
        return self.printed.agrees(self.derived)

    @property
    def difference(self) -> float:
        """Printed minus derived, in the printed unit."""
        return self.printed.value - self.derived / self.printed.unit


@dataclass(frozen=True)
class PrintedComparison:
    """Every printed cell of a table, row by row, and the sums of its columns, without heads."""

    net: Net
    name: str
    printed: Printed
    cells: tuple[ComparedCell, ...]
    sums: tuple[ComparedCell, ...]


def compare_printed(net: Net, name: str) -> PrintedComparison:
    """Compare the printed table `name` ("paper", "tutorial") of `net` with the counts of `account`.

    Raises InceptiveError if there is no such table.
    """
    if name not in PRINTED.get(net.name, {}):
        available = "; ".join(f"{each} ({', '.join(held)})" for each, held in PRINTED.items())
        raise InceptiveError(f"{net.name} has no printed table {name!r}; there are: {available}")
    printed, counted = PRINTED[net.name][name], account(net)
    readings = [(reading.words, account(reading.make())) for reading in printed.readings]
    cells: list[ComparedCell] = []
    for row in printed.rows:
        for count, cell in (("params", row.params), ("macs", row.macs)):
            if cell is not None:
                reasons = [(counted, "with its biases")] if cell.value else []
                reasons += [
                    (other, words[row.name]) for words, other in readings if row.name in words
                ]
                cells.append(_compare_cell(row.name, count, cell, counted, row.parts, reasons))
    inner = [cell for cell in cells if not cell.layer.startswith("aux_")]
    body = tuple(part for part, _ in net.body)
    reasons = [(other, words["sum"]) for words, other in readings if "sum" in words]
    sums = []
    for count in dict.fromkeys(cell.count for cell in inner):
        column = [cell.printed for cell in inner if cell.count == count]
        # Each cell was rounded, so their sum may be off by as many halves.
        total = Cell(sum(cell.value for cell in column), column[0].unit, float(len(column)))
        added = _compare_cell("sum", count, total, counted, body, reasons)
        sums.append(
            added if added.agrees or added.reason else replace(added, reason="as its cells")
        )
    if printed.total is not None:
        total_cell = _compare_cell("total", "params", printed.total, counted, body, [])
        reason = f"the printed cells add up to {sums[0].printed.value:,.0f}"
        sums.append(total_cell if total_cell.agrees else replace(total_cell, reason=reason))
    return PrintedComparison(net, name, printed, tuple(cells), tuple(sums))


def _compare_cell(
    layer: str,
    count: str,
    printed: Cell,
    counted: Account,
    parts: tuple[str, ...],
    reasons: list[tuple[Account, str]],
) -> ComparedCell:
    """The cell beside its count; where it disagrees, with the first of `reasons` that gives it."""
    derived, with_biases = _counts(counted, parts, count)
    if not printed.agrees(derived):
        for other, words in reasons:
            for suffix, number in zip(
                ("", ", with biases"), _counts(other, parts, count), strict=True
            ):
                if printed.agrees(number):
                    reason = words + ("" if other is counted else suffix)
                    return ComparedCell(layer, count, printed, derived, with_biases, number, reason)
    return ComparedCell(layer, count, printed, derived, with_biases)


def _counts(counted: Account, parts: tuple[str, ...], count: str) -> tuple[int, int]:
    """What these parts count: without biases, and with them."""
    part_lines = [line for line in counted.lines if line.name.split(".")[0] in parts]
    macs = sum(line.macs for line in part_lines)
    if count == "macs":
        return macs, macs
    # Each weight is multiplied once at each position of the output.
    weights = sum(line.macs // (line.view.shape[1] * line.view.shape[2]) for line in part_lines)
    return weights, sum(line.params for line in part_lines)
