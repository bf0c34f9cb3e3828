"""inceptive trace: the numbers that flow through one layer for one image, and back."""

from math import floor, isfinite, log10
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, BadParameter, Option

from inceptive.cli.progress import Display
from inceptive.cli.tables import answer, as_json, columns

if TYPE_CHECKING:
    from inceptive.explaining.trace import ModelTrace
    from inceptive.reference.layers import Array
    from inceptive.reference.trace import Entries, Stage, Step

NAME = "trace"
WIDTH = 80  # characters of a terminal's line
WIDEST = 11  # entries side by side that fit in it


def run(
    net: Annotated[
        str,
        Argument(metavar="NET", help="a net, FILE.py:FUNCTION, a model folder or a published name"),
    ],
    image: Annotated[Path, Argument(metavar="IMAGE", help="an image file")],
    layer: Annotated[
        str, Option(help="layer, as in `inceptive table`: inception_3a.b3x3.conv; or softmax")
    ],
    channel: Annotated[
        int | None, Option(min=0, help="channel of the layer's output [the strongest]")
    ] = None,
    at: Annotated[
        str | None, Option(metavar="ROW,COLUMN", help="position in its output [the strongest]")
    ] = None,
    label: Annotated[
        str | None, Option(help="target class of the loss, by name or number [the answer]")
    ] = None,
    format: Annotated[
        Literal["text", "json"], Option("--format", help="the output format")
    ] = "text",
    json: Annotated[bool, Option("--json", help="the same as --format json")] = False,
    size: Annotated[
        int | None, Option(min=1, help="side of the image, in pixels [the net's own]")
    ] = None,
    seed: Annotated[int | None, Option(min=0, help="random seed of a net's weights [0]")] = None,
    classes: Annotated[int | None, Option(min=1, help="number of classes of a net [1000]")] = None,
    published: Annotated[
        bool, Option("--published", help="use published weights where a net has the same name")
    ] = False,
) -> None:
    """Break down one output value of LAYER for IMAGE: its inputs, each step to it, and its gradient.

    Computed with NumPy in float64, in inference mode. A net's name has random weights (--seed);
    a model folder and a published name have their own. The gradient is that of the cross-entropy of
    one class. Of a sum over many channels, the largest terms are shown, and the sum of the others.
    """
    from inceptive.explaining.trace import trace

    position = None if at is None else _position(at)
    traced = trace(
        net, image, layer, channel=channel, at=position, label=label, size=size, seed=seed,
        classes=classes, published=published, progress=Display(),
    )  # fmt: skip
    answer(as_json(traced.to_dict()) if json or format == "json" else as_text(traced))


def _position(text: str) -> tuple[int, int]:
    row, comma, column = text.partition(",")
    if not (comma and row.strip().isdecimal() and column.strip().isdecimal()):
        raise BadParameter(f"{text!r} is not ROW,COLUMN such as 5,9", param_hint="'--at'")
    return int(row), int(column)


def as_text(model_trace: "ModelTrace") -> str:
    """The arithmetic, in lines that fit a terminal."""
    traced, side = model_trace.trace, model_trace.image_size
    source = "the net's own answer" if traced.answered else "as asked"
    read, out = (" x ".join(map(str, shape)) for shape in (traced.input_shape, traced.shape))
    chain = f" ({traced.chain} ends in it)" if traced.chain else ""
    label = ", ".join([str(traced.label), *model_trace.labels[traced.label :][:1]])
    lines = [
        f"{model_trace.net} ({model_trace.weights}) on {model_trace.image}, {side} x {side} pixels",
        f"{traced.layer}{chain}: {read} of {traced.reads} -> {out}",
        f"L = {_g(traced.loss)}, cross-entropy of class {label} ({source}), "
        f"which {traced.logits_of} gives {traced.prob:.2%}",
    ]
    for number, stage in enumerate(traced.stages):
        last = number == len(traced.stages) - 1
        lines += ["", *_stage(stage, traced.layer if last else stage.name)]
    return "\n".join(lines)


def _stage(stage: "Stage", name: str) -> list[str]:
    where = "" if stage.at is None else f", row {stage.at[0]}, column {stage.at[1]}"
    lines = [f"y = {name}, channel {stage.channel}{where} = {_g(stage.value)}",
             f"dL/dy = {_g(stage.gradient)}", ""]  # fmt: skip
    if all(entries.x.size == 1 for entries in stage.entries):
        lines += _numbers(stage)
    else:
        for entries in stage.entries:
            lines += _windows(entries)
        if stage.others:
            lines.append(f"the other {stage.others} channels give {_g(stage.others_give)}")
    operands = {name for step in stage.steps for name in step.operands}
    if summed := operands & {"products", "exponentials"}:
        terms = [entries.gives for entries in stage.entries]
        terms += [stage.others_give] * bool(stage.others)
        added = " + ".join(map(_operand, terms))
        lines += ["", *wrap(f"{summed.pop()} = {added}", WIDTH, subsequent_indent="    ")]
    else:
        lines.append("")
    for step in stage.steps:
        lines.append(f"{step.name} = {step.words}")
        if step.words not in step.operands:  # else it would say the value twice
            lines.append(f"    = {_with_numbers(step)}")
        lines.append(f"    = {_g(step.value)}     dL/d{step.name} = {_g(step.gradient)}")
    if stage.weights:
        lines.append("")
        rows = [
            (w.key, str(w.index), _g(w.value), _g(w.gradient), _g(w.gradient_all))
            for w in stage.weights
        ]
        header = ("weight w", "channel", "w", "dL/dw from y", "dL/dw in all")
        lines += columns(header, rows).split("\n")
    return lines


def _numbers(stage: "Stage") -> list[str]:
    """Entries of one number each, one a line: what they give, then their gradients."""
    entries = stage.entries
    weighted = any(entry.weight is not None for entry in entries)
    learned = any(entry.dw is not None for entry in entries)
    places = {(entry.of, entry.row, entry.column) for entry in entries}
    where, lines = ["x of", "channel", "row", "column"], []
    place = [[entry.of, str(entry.channel), str(entry.row), str(entry.column)] for entry in entries]
    if len(places) == 1:  # said once, before the table
        [(of, row, column)] = places
        lines.append(f"x = {of}, row {row}, column {column}" if stage.at else f"x = {of}")
        where, place = where[1:2], [place_of[1:2] for place_of in place]
    elif len({entry.of for entry in entries}) == 1:
        lines.append(f"x = {entries[0].of}")
        where, place = where[1:], [place_of[1:] for place_of in place]
    header = [*where, "x", *["w", "w · x"] * weighted]
    numbers = [[entry.x, *([entry.weight, entry.gives] if weighted else [])] for entry in entries]
    rows = [[*at, *map(_cell, cells)] for at, cells in zip(place, numbers, strict=True)]
    if stage.others:
        blank = [""] * (len(header) - 2)
        rows.append([f"{stage.others} others", *blank, _g(stage.others_give)])
    lines += columns(header, rows).split("\n")
    header = [*where, "dL/dx from y", "dL/dx in all"]
    header += ["dL/dw from y", "dL/dw in all"] * learned
    back = [
        [entry.dx, entry.dx_all, *([entry.dw, entry.dw_all] if learned else [])]
        for entry in entries
    ]
    rows = [[*at, *map(_cell, cells)] for at, cells in zip(place, back, strict=True)]
    return [*lines, "", *columns(header, rows).split("\n")]


def _cell(number: "Array | float | None") -> str:
    if number is None:
        return ""
    return _g(number if isinstance(number, float) else float(number.reshape(-1)[0]))


def _windows(entries: "Entries") -> list[str]:
    """A window's entries and weights side by side, and their gradients."""
    high, wide = entries.x.shape
    rows = f"rows {entries.row} to {entries.row + high - 1}"
    columns_read = f"columns {entries.column} to {entries.column + wide - 1}"
    lines = [f"x = {entries.of}, channel {entries.channel}, {rows}, {columns_read}"]
    if entries.chosen:
        place = f"row {entries.chosen[0]}, column {entries.chosen[1]}"
        lines.append(f"  the greatest is {_g(entries.gives)} in {place}")
    else:
        lines.append(f"  gives {_g(entries.gives)}")
    if wide > WIDEST:
        return [*lines, f"  {high} x {wide} entries: --format json prints them"]
    parts = (
        ("x", entries.x, True), ("w", entries.weight, False), ("dL/dx from y", entries.dx, True),
        ("dL/dx in all", entries.dx_all, True), ("dL/dw from y", entries.dw, False),
        ("dL/dw in all", entries.dw_all, False),
    )  # fmt: skip
    blocks = [
        _block(title, part, entries.inside, with_pad)
        for title, part, with_pad in parts
        if part is not None
    ]
    across: list[list[str]] = []
    for block in blocks:
        joined = [f"{a}   {b}" for a, b in zip(across[-1], block, strict=True)] if across else []
        if joined and len(joined[0]) <= WIDTH:
            across[-1] = joined
        else:
            across.append([f"  {line}" for line in block])
    return lines + [line.rstrip() for block in across for line in block]


def _block(title: str, part: "Array", inside: "Array", with_pad: bool) -> list[str]:
    """A matrix under its title, with one power of ten for all; "pad" where there is no entry."""
    numbers = zip(part.flat, inside.flat, strict=True)
    finite = [abs(x) for x, within in numbers if isfinite(x) and (within or not with_pad)]
    greatest = max(finite, default=0.0)
    power = floor(log10(greatest)) if greatest else 0
    if power in (-1, 0):
        power = 0
    else:
        title = f"{title} · 1e{power}"
    cells = [
        ["pad" if with_pad and not inside[p, q] else f"{part[p, q] / 10.0**power + 0.0:.3f}"
         for q in range(part.shape[1])]
        for p in range(part.shape[0])
    ]  # fmt: skip
    lines = [" ".join(f"{cell:>6}" for cell in row) for row in cells]
    width = max(len(title), *(len(line) for line in lines))
    return [line.ljust(width) for line in [title, *lines]]


def _with_numbers(step: "Step") -> str:
    return step.formula.format(**{key: _operand(number) for key, number in step.operands.items()})


def _operand(number: float) -> str:
    return _g(number) if number >= 0 else f"({_g(number)})"


def _g(number: float) -> str:
    return f"{number + 0.0:.6g}"  # no minus before a zero
