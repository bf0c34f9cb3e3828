"""inceptive draw: a net, or one of its parts, as a drawing."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from inceptive.arch import nets
from inceptive.arch.account import account
from inceptive.arch.draw import draw_net, draw_part
from inceptive.cli import tables as output
from inceptive.io.atomic import write_text

NAME = "draw"


def run(
    net: Annotated[str, Argument(metavar="NET", help="a net: see `inceptive nets`")],
    part: Annotated[str | None, Option(help="one part, as inception_3a or aux_4a")] = None,
    out: Annotated[Path | None, Option(help="the SVG file [standard output]")] = None,
    size: Annotated[int | None, Option(min=1, help="side of the image, in pixels")] = None,
    classes: Annotated[int, Option(min=1)] = 1000,
    channels: Annotated[int, Option(min=1, help="channels of the image: 1 is grey")] = 3,
) -> None:
    """Draw NET, or one of its parts layer by layer, as SVG; shapes are channels × height × width.

    Equal modules in a row are one box. Colours follow the reader's light or dark setting.
    """
    made = account(nets.find(net)(classes, channels=channels), size)
    drawn = draw_net(made) if part is None else draw_part(made, part)
    if out is None:
        output.answer(drawn.rstrip("\n"))
    else:
        write_text(out, drawn)
