"""Tables of parameters and operations that others printed, as printed.

Nothing here is counted: `account` counts, and `inceptive table NET --against` sets one beside the
other. A `Reading` is a net that gives printed cells where the printed widths do not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

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
    """Another net, and in words what of it stands behind each of the rows it may explain."""

    make: Callable[[], Net]
    words: Mapping[str, str]


@dataclass(frozen=True)
class Printed:
    """A table as printed. total is the sum of parameters that the source gives itself, if it does."""

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

    It gives every cell of the paper's operations; the authors do not say that they counted it.
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


def find(net: str, against: str) -> Printed:
    """The table `against` of the net called `net`. Raises InceptiveError, naming those there are."""
    if against not in PRINTED.get(net, {}):
        there = "; ".join(f"{name} ({', '.join(tables)})" for name, tables in PRINTED.items())
        raise InceptiveError(f"{net} has no printed table {against!r}; there are: {there}")
    return PRINTED[net][against]
