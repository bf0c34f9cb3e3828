"""A printed table beside what `account` counts, cell by cell."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from inceptive.arch.account import Account, Line, account
from inceptive.arch.nets.printed import Cell, Printed, Row, find
from inceptive.arch.spec import Net
from inceptive.cli import tables as output

UNITS = {1: "", 1024: "K", 10**6: "M"}
HEADER = ("layer", "count", "printed", "derived", "with biases", "difference", "agrees")
COLUMNS = (
    "layer", "count", "printed", "unit", "derived", "derived_with_biases", "difference", "agrees",
    "explained", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class Beside:
    """One printed cell and its count.

    count is "params" or "macs". derived counts the weights alone, with_biases the biases too (of
    macs both are one). explained is the count of another net that gives the cell, with its reason;
    None where the cell agrees, and where nothing known gives it.
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
        """Printed less derived, in the printed unit."""
        return self.printed.value - self.derived / self.printed.unit


def answer(net: Net, against: str, format: str) -> str:
    """The comparison as text, md, csv or json. Raises InceptiveError if there is no such table."""
    printed = find(net.name, against)
    cells, sums = compare(net, printed)
    if format == "json":
        about = {
            "net": net.name,
            "against": against,
            "source": printed.source,
            "image_size": net.image_size,
            "num_classes": net.num_classes,
            "cells": [_object(one) for one in cells],
            "sums": [_object(one) for one in sums],
            "notes": list(printed.notes),
        }
        return output.as_json(about)
    if format == "csv":
        rows = [[_object(one)[key] for key in COLUMNS] for one in cells + sums]
        return output.as_csv(COLUMNS, rows)
    table = output.columns if format == "text" else output.markdown
    bare = table(HEADER, [_text(one) for one in cells + sums], left=2)
    whole = output.with_last(bare, ["reason", *(_reason(one) for one in cells + sums)])
    agreeing = sum(one.agrees for one in cells)
    told = f"{agreeing} of {len(cells)} cells agree. Printed: {printed.source}."
    bullet = "- " if format == "md" else ""
    return "\n".join([whole, "", *(bullet + line for line in (told, *printed.notes))])


def compare(net: Net, printed: Printed) -> tuple[list[Beside], list[Beside]]:
    """Every printed cell, row by row; and the sums of the columns, heads left out."""
    made = account(net)
    others = [(reading.words, account(reading.make())) for reading in printed.readings]
    cells: list[Beside] = []
    for row in printed.rows:
        for count, cell in _cells(row):
            known = [(made, "with its biases")] if cell.value else []
            known += [(other, words[row.name]) for words, other in others if row.name in words]
            cells.append(_beside(row.name, count, cell, made, row.parts, known))
    inner = [one for one in cells if not one.layer.startswith("aux_")]
    body = tuple(name for name, _ in net.body)
    known = [(other, words["sum"]) for words, other in others if "sum" in words]
    sums = []
    for count in dict.fromkeys(one.count for one in inner):
        column = [one.printed for one in inner if one.count == count]
        # Each cell was rounded, so their sum may be off by as many halves.
        total = Cell(sum(one.value for one in column), column[0].unit, float(len(column)))
        one = _beside("sum", count, total, made, body, known)
        sums.append(one if one.agrees or one.reason else replace(one, reason="as its cells"))
    if printed.total is not None:
        one = _beside("total", "params", printed.total, made, body, [])
        added = f"the printed cells add up to {sums[0].printed.value:,.0f}"
        sums.append(one if one.agrees else replace(one, reason=added))
    return cells, sums


def _cells(row: Row) -> Iterator[tuple[str, Cell]]:
    yield "params", row.params
    if row.macs is not None:
        yield "macs", row.macs


def _beside(
    name: str,
    count: str,
    cell: Cell,
    made: Account,
    parts: tuple[str, ...],
    known: list[tuple[Account, str]],
) -> Beside:
    """The cell beside its count; where it disagrees, with the first of `known` that gives it."""
    derived, with_biases = _counts(made, parts, count)
    if not cell.agrees(derived):
        for other, words in known:
            for also, found in zip(
                ("", ", with biases"), _counts(other, parts, count), strict=True
            ):
                if cell.agrees(found):
                    reason = words + ("" if other is made else also)
                    return Beside(name, count, cell, derived, with_biases, found, reason)
    return Beside(name, count, cell, derived, with_biases)


def _counts(made: Account, parts: tuple[str, ...], count: str) -> tuple[int, int]:
    """What these parts count: without biases, and with them."""
    lines = [*made.body, *(line for head in made.aux.values() for line in head)]
    inside = [line for line in lines if line.name.split(".")[0] in parts]
    if count == "macs":
        macs = sum(line.macs for line in inside)
        return macs, macs
    return _weights(inside), sum(line.params for line in inside)


def _weights(lines: Iterable[Line]) -> int:
    """Parameters without biases: each weight is multiplied once at each position of the output."""
    return sum(line.macs // (line.view.shape[1] * line.view.shape[2]) for line in lines)


def _object(one: Beside) -> dict[str, Any]:
    return {
        "layer": one.layer,
        "count": one.count,
        "printed": round(one.printed.value, 6),
        "unit": one.printed.unit,
        "derived": one.derived,
        "derived_with_biases": one.with_biases,
        "difference": round(one.difference, 6),
        "agrees": one.agrees,
        "explained": one.explained,
        "reason": one.reason or None,
    }


def _text(one: Beside) -> tuple[str, ...]:
    unit = UNITS[one.printed.unit]
    exact = one.printed.unit == 1
    digits = 1 if one.printed.value % 1 else 0
    difference = f"{one.difference:+,.{0 if exact else 2}f}{unit}" if one.difference else "0"
    return (
        one.layer,
        {"params": "params", "macs": "multiply-adds"}[one.count],
        f"{one.printed.value:,.{digits}f}{unit}",
        f"{one.derived:,}",
        "" if one.with_biases == one.derived else f"{one.with_biases:,}",
        difference,
        "yes" if one.agrees else "no",
    )


def _reason(one: Beside) -> str:
    if one.explained is not None:
        return f"{one.reason}: {one.explained:,}"
    return one.reason or ("" if one.agrees else "not explained")
