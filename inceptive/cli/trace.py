"""inceptive trace: the numbers that flow through one layer for one image, and back."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, BadParameter, Option

NAME = "trace"


def run(
    net: Annotated[str, Argument(metavar="NET", help="a net, a model folder or a published name")],
    image: Annotated[Path, Argument(metavar="IMAGE", help="an image file")],
    layer: Annotated[str, Option(help="as in `inceptive table`: inception_3a.b3x3.conv")],
    channel: Annotated[
        int | None, Option(min=0, help="of the layer's output [the strongest]")
    ] = None,
    at: Annotated[
        str | None, Option(metavar="ROW,COLUMN", help="position in its output [the strongest]")
    ] = None,
    label: Annotated[
        str | None, Option(help="class, by name or number, of the loss [the answer]")
    ] = None,
    format: Annotated[Literal["text", "json"], Option("--format")] = "text",
    json: Annotated[bool, Option("--json", help="the same as --format json")] = False,
    size: Annotated[
        int | None, Option(min=1, help="side of the image, in pixels [the net's own]")
    ] = None,
    seed: Annotated[int | None, Option(min=0, help="of a net's fresh weights [0]")] = None,
    classes: Annotated[int | None, Option(min=1, help="of a net [1000]")] = None,
    published: Annotated[
        bool, Option("--published", help="published weights where a net has the same name")
    ] = False,
) -> None:
    """Take one value of LAYER apart: what it reads of IMAGE, each step to it, and its gradient.

    Computed in NumPy in float64, as at inference. NET with a net's name has fresh weights (--seed);
    a model folder and a published name have their own. The gradient is of the cross-entropy of one
    class. Of a sum over many channels those that give most are shown, and the sum of the others.
    """
    from inceptive.cli.tracing import Request, answer

    position = None if at is None else _position(at)
    kind = "json" if json else format
    answer(
        Request(net, image, layer, channel, position, label, kind, size, seed, classes, published)
    )


def _position(text: str) -> tuple[int, int]:
    row, comma, column = text.partition(",")
    if not (comma and row.strip().isdecimal() and column.strip().isdecimal()):
        raise BadParameter(f"{text!r} is no ROW,COLUMN such as 5,9", param_hint="'--at'")
    return int(row), int(column)
