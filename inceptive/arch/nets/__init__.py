"""Every net of the family by name. `NETS["googlenet"](num_classes=10, channels=3)` makes one."""

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Never

from inceptive.arch.codec import first_difference
from inceptive.arch.nets import (
    baselines,
    bn_inception,
    googlenet,
    hadamard,
    inception_resnet,
    inception_small,
    inception_v3,
    inception_v4,
    xception,
)
from inceptive.arch.spec import Count, Net
from inceptive.arguments import checked
from inceptive.errors import InceptiveError, printable


class UnknownNet(InceptiveError, KeyError):
    """No net has that name. Its str is one line, unlike a KeyError's, which is a repr."""

    __str__ = Exception.__str__


@dataclass(frozen=True)
class Maker:
    """Factory of the net called `name`."""

    name: str
    function: Callable[..., Net]

    @checked
    def __call__(self, num_classes: Count = 1000, channels: Count = 3, **unknown: Never) -> Net:
        """Make the net for `num_classes` classes and images of `channels` channels."""
        if unknown:
            raise InceptiveError(
                f"{self.name} takes num_classes and channels, not {', '.join(unknown)}"
            )
        return self.function(num_classes=num_classes, channels=channels)

    def __repr__(self) -> str:
        return f"NETS[{self.name!r}], to be called: NETS[{self.name!r}](num_classes=10)"


class Nets(dict[str, Maker]):
    """Net factories by name. An unknown name raises an InceptiveError that is also a KeyError."""

    def __repr__(self) -> str:
        return f"<NETS: {', '.join(self)}>"

    def __missing__(self, name: object) -> Maker:
        near = get_close_matches(str(name).lower(), self, n=1)
        hint = f"; the nearest is {near[0]!r}" if near else ""
        there = ", ".join(net for net in self if "." not in net)
        raise UnknownNet(
            f"no net is called {printable(repr(name))}; there are: {there} and variants of these, all "
            f"listed by `inceptive nets`{hint}"
        )


_FAMILY: tuple[tuple[Callable[..., Net], tuple[str, ...]], ...] = (
    (googlenet.googlenet, tuple(googlenet.VARIANTS)),
    (bn_inception.bn_inception, tuple(bn_inception.VARIANTS)),
    (inception_v3.inception_v3, tuple(inception_v3.VARIANTS)),
    (inception_v4.inception_v4, tuple(inception_v4.VARIANTS)),
    (inception_resnet.inception_resnet, tuple(inception_resnet.VARIANTS)),
    (xception.xception, tuple(xception.VARIANTS)),
    (inception_small.inception_small, tuple(inception_small.DEPARTURES)),
)
_SINGLE = (hadamard.hadamard_inception, baselines.alexnet, baselines.vgg16)
NETS = Nets(
    {name: Maker(name, partial(net, name)) for net, names in _FAMILY for name in names}
    | {net.__name__: Maker(net.__name__, net) for net in _SINGLE}
)


def open_net(text: str, num_classes: int = 1000, channels: int = 3) -> Net:
    """Make the net that `text` names: one of NETS, or FILE.py:FUNCTION, a custom net.

    The function takes num_classes, and channels if it has such a parameter, and returns a Net. The
    file is executed as Python code. Raises InceptiveError for anything that fails.
    """
    path, colon, function = text.rpartition(":")
    if text.endswith(".py"):
        raise InceptiveError(f"{text}: name the function that returns the net: {text}:FUNCTION")
    if not colon or not path.endswith(".py"):
        return NETS[text](num_classes, channels)
    make = getattr(_run(Path(os.path.expanduser(path))), function, None)
    if not callable(make):
        raise InceptiveError(f"{path}: there is no function {function!r}")
    try:
        takes = inspect.signature(make).parameters
        options = {"num_classes": num_classes, "channels": channels}
        if "channels" not in takes:
            del options["channels"]
        net = make(**options)
    except (Exception, SystemExit) as error:
        raise InceptiveError(f"{text}: {_reason(error)}") from None
    if not isinstance(net, Net):
        raise InceptiveError(f"{text}: returned {type(net).__name__}, not an inceptive.Net")
    for name, wanted in (("num_classes", num_classes), ("channels", channels)):
        if (has := getattr(net, name)) != wanted:
            raise InceptiveError(f"{text}: returned a net with {name}={has}, not {wanted}")
    refuse_imitation(net)
    return net


def _run(path: Path) -> ModuleType:
    """The module in the file at `path`, under a name that no other module can have."""
    module = ModuleType(f"{path.stem} in {path.absolute()}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        code = path.read_bytes()
    except FileNotFoundError:
        raise InceptiveError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InceptiveError(f"{path}: {_reason(error)}") from None
    try:
        exec(compile(code, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise InceptiveError(f"{path}: {_reason(error)}") from None
    return module


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return printable(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)


def refuse_imitation(net: Net) -> None:
    """Raise InceptiveError, with the first difference, if `net` is not the one in NETS of its name.

    Auxiliary heads may be anywhere, and `source` and `image_size` are only descriptive. A modified
    net has a name of its own.
    """
    if net.name not in NETS:
        return
    ours = NETS[net.name](net.num_classes, channels=net.channels)
    if difference := first_difference(net.body, ours.body, "body"):
        raise InceptiveError(
            f"this net is called {net.name} and is another ({difference}); give it a name of its own: "
            'dataclasses.replace(net, name="mine")'
        )
