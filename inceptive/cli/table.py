"""inceptive table: a net layer by layer."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from inceptive.cli import tables
from inceptive.cli.net_argument import (
    ChannelsOption,
    ClassesOption,
    NetArgument,
    SizeOption,
    net_of,
)
from inceptive.cli.tables import answer, as_csv, as_json, one_format
from inceptive.errors import InceptiveError

if TYPE_CHECKING:
    from inceptive.arch.account import Account, Line
    from inceptive.arch.nets.printed import ComparedCell, PrintedComparison

NAME = "table"
HEADER = ("layer", "kind", "output", "params", "multiply-adds", "field", "formula")
CSV_HEADER = (
    "layer", "kind", "channels", "height", "width", "params", "macs", "field", "formula",
)  # fmt: skip
PRINTED_HEADER = (
    "layer", "count", "printed", "derived", "with biases", "difference", "agrees", "reason",
)  # fmt: skip
UNITS = {1: "", 1024: "K", 10**6: "M"}


def run(
    net: NetArgument,
    format: Annotated[
        Literal["text", "json", "csv", "md"], Option("--format", help="the output format")
    ] = "text",
    json: Annotated[bool, Option("--json", help="the same as --format json")] = False,
    aux: Annotated[bool, Option("--aux", help="include the auxiliary heads")] = False,
    modules: Annotated[bool, Option("--modules", help="one line per module")] = False,
    size: SizeOption = None,
    classes: ClassesOption = None,
    channels: ChannelsOption = None,
    memory: Annotated[
        bool, Option("--memory", help="memory for the maps in training and at inference")
    ] = False,
    against: Annotated[
        Literal["paper", "tutorial"] | None,
        Option(help="compare a published table of NET with the counts here"),
    ] = None,
) -> None:
    """Print the layers of NET with shapes, parameters and costs.

    One line per layer: the output as channels x height x width for one image, parameters with their
    formula, multiply-adds, and the receptive field in image pixels. --memory adds a line on the memory
    for the maps, without heads. --against shows each published cell instead, with the count here, the
    difference, and the reason if known.
    """
    from inceptive.arch.account import account

    kind = one_format(format, json, "text")
    if against is None:
        counted = account(*net_of(net, classes, channels, size))
        answer(_as_text(counted, _lines(counted, aux, modules), aux, kind, memory))
        return
    if aux or modules or memory or any(x is not None for x in (size, classes, channels)):
        raise InceptiveError(
            f"--against {against}: a printed table has its own rows and sizes; leave out "
            "--aux, --modules, --memory, --size, --classes and --channels"
        )
    from inceptive.arch.nets import open_net
    from inceptive.arch.nets.printed import compare_printed

    answer(_printed_as_text(compare_printed(open_net(net), against), kind))


def _lines(counted: "Account", aux: bool, by_module: bool) -> "list[Line]":
    from inceptive.arch.account import Line, modules

    lines = counted.lines if aux else list(counted.body)
    if not by_module:
        return lines
    # One line for each module: what its layers cost together, and its own output.
    return [
        module_lines[0] if len(module_lines) == 1 else Line(
            name, "module", module_lines[-1].view, "",
            sum(line.params for line in module_lines), sum(line.macs for line in module_lines),
        )
        for name, module_lines in modules(lines).items()
    ]  # fmt: skip


def _as_text(counted: "Account", lines: "list[Line]", aux: bool, format: str, memory: bool) -> str:
    if format == "json":
        return as_json(_object(counted, lines) | (_memory(counted) if memory else {}))
    if format == "csv":
        rows = [
            (x.name, x.kind, *x.view.shape, x.params, x.macs, x.view.field, x.formula)
            for x in lines
        ]
        return as_csv(CSV_HEADER, rows)
    table = _columns(format, HEADER, [_row(line) for line in lines] + _totals(counted, aux))
    if not memory:
        return table
    numbers = _memory(counted)["memory"]
    megabytes = {key: f"{4 * value / 1e6:.1f} MB" for key, value in numbers.items()}
    return (
        f"{table}\n\nOne image in float32: {megabytes['training']} of maps in training, kept for the "
        f"backward pass ({megabytes['checkpointing']} with speed.checkpointing); "
        f"{megabytes['inference']} at once at inference. The weights: {megabytes['weights']}."
    )


def _memory(counted: "Account") -> dict[str, dict[str, int]]:
    """In numbers, without heads: a float32 has 4 bytes."""
    from inceptive.arch.memory import memory

    maps = memory(counted.net, counted.image_size)
    less = memory(counted.net, counted.image_size, checkpointing=True)
    return {
        "memory": {
            "training": maps.training, "checkpointing": less.training, "inference": maps.inference,
            "weights": counted.params,
        }
    }  # fmt: skip


def _columns(format: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table as text or Markdown whose last column reads from the left."""
    table = tables.columns if format == "text" else tables.markdown
    return table(header, rows, left=2, last=True)


def _row(line: "Line") -> tuple[str, ...]:
    shape = " x ".join(map(str, line.view.shape))
    params, macs = (f"{number:,}" if number else "" for number in (line.params, line.macs))
    return (line.name, line.kind, shape, params, macs, str(line.view.field), line.formula)


def _totals(counted: "Account", aux: bool) -> list[tuple[str, ...]]:
    size = f"{counted.image_size} x {counted.image_size}"
    rows: list[tuple[str, ...]] = [
        ("total", "", size, f"{counted.params:,}", f"{counted.macs:,}", "", "")
    ]
    if aux and counted.aux:
        macs = sum(line.macs for line in counted.lines)
        params = f"{counted.params_with_aux:,}"
        rows.append(("with heads", "", size, params, f"{macs:,}", "", ""))
    return rows


def _object(counted: "Account", lines: "list[Line]") -> dict[str, object]:
    """The table as one JSON object; shapes are [channels, height, width]."""
    return {
        "net": counted.net.name,
        "source": counted.net.source,
        "image_size": counted.image_size,
        "channels": counted.net.channels,
        "num_classes": counted.net.num_classes,
        "params": counted.params,
        "params_with_aux": counted.params_with_aux,
        "macs": counted.macs,
        "depth": counted.depth,
        "layers": [
            {
                "name": line.name,
                "kind": line.kind,
                "shape": list(line.view.shape),
                "params": line.params,
                "formula": line.formula,
                "macs": line.macs,
                "receptive_field": line.view.field,
            }
            for line in lines
        ],
    }


def _printed_as_text(compared: "PrintedComparison", format: str) -> str:
    net, printed, cells = compared.net, compared.printed, compared.cells + compared.sums
    if format == "json":
        return as_json(
            {
                "net": net.name,
                "against": compared.name,
                "source": printed.source,
                "image_size": net.image_size,
                "num_classes": net.num_classes,
                "cells": [_cell_object(cell) for cell in compared.cells],
                "sums": [_cell_object(cell) for cell in compared.sums],
                "notes": list(printed.notes),
            }
        )
    if format == "csv":
        rows = [list(_cell_object(cell).values()) for cell in cells]
        return as_csv(list(_cell_object(cells[0])), rows)
    table = _columns(format, PRINTED_HEADER, [_cell_row(cell) for cell in cells])
    agreeing = sum(cell.agrees for cell in compared.cells)
    summary = f"{agreeing} of {len(compared.cells)} cells agree. Printed: {printed.source}."
    bullet = "- " if format == "md" else ""
    return "\n".join([table, "", *(bullet + line for line in (summary, *printed.notes))])


def _cell_object(cell: "ComparedCell") -> dict[str, Any]:
    return {
        "layer": cell.layer,
        "count": cell.count,
        "printed": round(cell.printed.value, 6),
        "unit": cell.printed.unit,
        "derived": cell.derived,
        "derived_with_biases": cell.with_biases,
        "difference": round(cell.difference, 6),
        "agrees": cell.agrees,
        "explained": cell.explained,
        "reason": cell.reason or None,
    }


def _cell_row(cell: "ComparedCell") -> tuple[str, ...]:
    unit, exact = UNITS[cell.printed.unit], cell.printed.unit == 1
    digits = 1 if cell.printed.value % 1 else 0
    reason = cell.reason or ("" if cell.agrees else "not explained")
    if cell.explained is not None:
        reason = f"{cell.reason}: {cell.explained:,}"
    return (
        cell.layer,
        {"params": "params", "macs": "multiply-adds"}[cell.count],
        f"{cell.printed.value:,.{digits}f}{unit}",
        f"{cell.derived:,}",
        "" if cell.with_biases == cell.derived else f"{cell.with_biases:,}",
        f"{cell.difference:+,.{0 if exact else 2}f}{unit}" if cell.difference else "0",
        "yes" if cell.agrees else "no",
        reason,
    )
