"""Arguments and options that several commands share."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from inceptive.errors import InceptiveError
from inceptive.io.paths import expand

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

SplitOption = Annotated[
    str, Option(help="train, val, test or all [default: images not learned: test, else val]")
]
EngineOption = Annotated[
    str,
    Option(
        help="auto (the fastest export that passed its check), torch, openvino or onnx; "
        "openvino:int8 selects a precision"
    ),
]
EarlyExitOption = Annotated[
    bool, Option("--early-exit", help="heads answer when confident (see early-exit)")
]
StrictOption = Annotated[bool, Option("--strict", help="stop if any image cannot be read")]


def net_of(
    text: str, classes: int | None, channels: int | None, size: int | None
) -> tuple["Net", int | None]:
    """Return the net as `open_net` makes it, or that of a model folder, and the side of its images.

    Raises InceptiveError if there is none, or a folder's net is asked for with others' classes.
    """
    from inceptive.arch.nets import NETS, open_net

    if text in NETS or not (folder := expand(text)).is_dir():
        return open_net(text, classes or 1000, channels or 3), size
    if classes or channels:
        raise InceptiveError(
            f"{text}: a model folder has its own classes and channels; leave out --classes and "
            "--channels"
        )
    from inceptive.engines.classifier import described

    net, preprocessing = described(folder)
    return net, size or preprocessing.size
