"""inceptive table: a net layer by layer."""

from typing import Annotated, Literal

from typer import Argument, Option

from inceptive.arch import nets
from inceptive.arch.account import Account, Line, account, modules
from inceptive.cli import tables as output
from inceptive.cli.against import answer as printed_beside
from inceptive.errors import InceptiveError

NAME = "table"
HEADER = ("layer", "kind", "output", "params", "multiply-adds", "field", "formula")


def run(
    net: Annotated[str, Argument(metavar="NET", help="a net: see `inceptive nets`")],
    format: Annotated[Literal["text", "json", "csv", "md"], Option("--format")] = "text",
    json: Annotated[bool, Option("--json", help="the same as --format json")] = False,
    aux: Annotated[bool, Option("--aux", help="the auxiliary heads too")] = False,
    modules: Annotated[bool, Option("--modules", help="one line for each module")] = False,
    size: Annotated[int | None, Option(min=1, help="side of the image, in pixels")] = None,
    classes: Annotated[int, Option(min=1)] = 1000,
    channels: Annotated[int, Option(min=1, help="channels of the image: 1 is grey")] = 3,
    against: Annotated[
        Literal["paper", "tutorial"] | None,
        Option(help="a printed table of NET, beside what is counted here"),
    ] = None,
) -> None:
    """Print each layer of NET: output shape, parameters with formula, multiply-adds, receptive field.

    The output is channels x height x width for one image; the field is in pixels of the image. With
    --against each printed cell instead: what is counted here, the difference, and the reason if known.
    """
    if against is not None:
        if aux or modules or size is not None or (classes, channels) != (1000, 3):
            raise InceptiveError(
                f"--against {against}: a printed table has its own rows and sizes; leave out "
                "--aux, --modules, --size, --classes and --channels"
            )
        kind = "json" if json else format
        output.answer(printed_beside(nets.find(net)(), against, kind))
        return
    made = account(nets.find(net)(classes, channels=channels), size)
    lines = list(made.body)
    if aux:
        lines += [line for head in made.aux.values() for line in head]
    if modules:
        lines = _gathered(tuple(lines))
    if json or format == "json":
        output.answer(output.as_json(_object(made, lines)))
    elif format == "csv":
        header = (
            "layer",
            "kind",
            "channels",
            "height",
            "width",
            "params",
            "macs",
            "field",
            "formula",
        )
        output.answer(
            output.as_csv(
                header,
                [
                    (x.name, x.kind, *x.view.shape, x.params, x.macs, x.view.field, x.formula)
                    for x in lines
                ],
            )
        )
    else:
        table = output.columns if format == "text" else output.markdown
        rows = [_row(line) for line in lines] + _totals(made, aux)
        bare = table(HEADER[:-1], [row[:-1] for row in rows], left=2)
        output.answer(output.with_last(bare, [HEADER[-1], *(row[-1] for row in rows)]))


def _row(line: Line) -> tuple[str, ...]:
    c, h, w = line.view.shape
    params, macs = (f"{number:,}" if number else "" for number in (line.params, line.macs))
    return (
        line.name,
        line.kind,
        f"{c} x {h} x {w}",
        params,
        macs,
        str(line.view.field),
        line.formula,
    )


def _totals(made: Account, aux: bool) -> list[tuple[str, ...]]:
    size = f"{made.image_size} x {made.image_size}"
    rows: list[tuple[str, ...]] = [
        ("total", "", size, f"{made.params:,}", f"{made.macs:,}", "", "")
    ]
    if aux and made.aux:
        macs = made.macs + sum(line.macs for head in made.aux.values() for line in head)
        with_aux = ("with heads", "", size, f"{made.params_with_aux:,}", f"{macs:,}", "", "")
        rows.append(with_aux)
    return rows


def _gathered(lines: tuple[Line, ...]) -> list[Line]:
    """One line for each module: what its layers cost together, and its own output."""
    gathered = []
    for name, inside in modules(lines):
        if len(inside) == 1:
            gathered.append(inside[0])
            continue
        params, macs = sum(x.params for x in inside), sum(x.macs for x in inside)
        gathered.append(Line(name, "module", inside[-1].view, "", params, macs))
    return gathered


def _object(made: Account, lines: list[Line]) -> dict[str, object]:
    """The table as one JSON object; shapes are [channels, height, width]."""
    return {
        "net": made.net.name,
        "source": made.net.source,
        "image_size": made.image_size,
        "channels": made.net.channels,
        "num_classes": made.net.num_classes,
        "params": made.params,
        "params_with_aux": made.params_with_aux,
        "macs": made.macs,
        "depth": made.depth,
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
