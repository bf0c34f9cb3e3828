"""The net that an argument of `table` and `draw` names."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inceptive.arch.spec import Net

HELP = "a net (see `inceptive nets`), FILE.py:FUNCTION, or a model folder"


def net_of(
    text: str, classes: int | None, channels: int | None, size: int | None
) -> tuple["Net", int | None]:
    """The net as `open_net` makes it, or that of a model folder, and the side of its images.

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
