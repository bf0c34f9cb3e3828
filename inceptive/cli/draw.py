"""inceptive draw: a net, or one of its parts, as a drawing."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

NAME = "draw"


def run(
    net: Annotated[
        str, Argument(metavar="NET", help="a net (see `inceptive nets`), or FILE.py:FUNCTION")
    ],
    part: Annotated[str | None, Option(help="one part, such as inception_3a or aux_4a")] = None,
    out: Annotated[Path | None, Option(help="the SVG file [default: standard output]")] = None,
    size: Annotated[int | None, Option(min=1, help="side of the image, in pixels")] = None,
    classes: Annotated[int, Option(min=1, help="number of classes")] = 1000,
    channels: Annotated[int, Option(min=1, help="image channels; 1: greyscale")] = 3,
) -> None:
    """Draw NET, or one of its parts layer by layer, as SVG.

    Shapes are channels × height × width; consecutive identical modules share one box. Colours follow
    the viewer's light or dark setting.
    """
    from inceptive.arch.draw import draw
    from inceptive.arch.nets import open_net
    from inceptive.cli.tables import answer
    from inceptive.errors import InceptiveError
    from inceptive.io.atomic import write_text

    if out and out.suffix.lower() not in ("", ".svg"):
        raise InceptiveError(f"{out}: a drawing is an SVG file; give it a name that ends in .svg")
    drawing = draw(open_net(net, classes, channels), part, size)
    if out is None:
        answer(drawing.rstrip("\n"))
    else:
        write_text(out, drawing)
