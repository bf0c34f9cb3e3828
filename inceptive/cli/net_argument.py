"""NET, the argument of `table` and `draw`, and the options that go with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

if TYPE_CHECKING:
    from inceptive.arch.spec import Net

NetArgument = Annotated[
    str,
    Argument(
        metavar="NET", help="a net (see `inceptive nets`), FILE.py:FUNCTION, or a model folder"
    ),
]
SizeOption = Annotated[int | None, Option(min=1, help="side of the image, in pixels")]
ClassesOption = Annotated[
    int | None, Option(min=1, help="number of classes [default: 1000, or the folder's]")
]
ChannelsOption = Annotated[
    int | None, Option(min=1, help="image channels; 1: greyscale [default: 3, or the folder's]")
]


def net_of(
    text: str, classes: int | None, channels: int | None, size: int | None
) -> tuple["Net", int | None]:
    """Return the net as `open_net` makes it, or that of a model folder, and the side of its images.

    Raises InceptiveError if there is none, or a folder's net is asked for with others' classes.
    """
    from inceptive.arch.nets import NETS, open_net
    from inceptive.errors import InceptiveError

    if text in NETS or not Path(text).expanduser().is_dir():
        return open_net(text, classes or 1000, channels or 3), size
    if classes or channels:
        raise InceptiveError(
            f"{text}: a model folder has its own classes and channels; leave out --classes and "
            "--channels"
        )
    from inceptive.engines.classifier import described

    net, preprocessing = described(Path(text).expanduser())
    return net, size or preprocessing.size
