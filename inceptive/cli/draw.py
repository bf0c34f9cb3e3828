"""inceptive draw: a net, or one of its parts, as a drawing."""

from pathlib import Path
from typing import Annotated

from typer import Option

from inceptive.cli.net_argument import (
    ChannelsOption,
    ClassesOption,
    NetArgument,
    SizeOption,
    net_of,
)
from inceptive.cli.tables import answer
from inceptive.errors import InceptiveError
from inceptive.io.atomic import write_text

NAME = "draw"


def run(
    net: NetArgument,
    part: Annotated[str | None, Option(help="one part, such as inception_3a or aux_4a")] = None,
    out: Annotated[Path | None, Option(help="the SVG file [default: standard output]")] = None,
    size: SizeOption = None,
    classes: ClassesOption = None,
    channels: ChannelsOption = None,
) -> None:
    """Draw NET, or one of its parts layer by layer, as SVG.

    Shapes are channels × height × width; consecutive identical modules share one box. Colours follow
    the viewer's light or dark setting.
    """
    from inceptive.arch.draw import draw

    if out and out.suffix.lower() not in ("", ".svg"):
        raise InceptiveError(f"{out}: a drawing is an SVG file; give it a name that ends in .svg")
    value, side = net_of(net, classes, channels, size)
    drawing = draw(value, part, side)
    if out is None:
        answer(drawing.rstrip("\n"))
    else:
        write_text(out, drawing)
