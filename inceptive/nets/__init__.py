"""Every net of the family by name. `NETS["googlenet"](num_classes=10, channels=3)` gives a value."""

from collections.abc import Callable
from functools import partial

from inceptive.errors import InceptiveError
from inceptive.nets.googlenet import googlenet
from inceptive.spec import Net

NETS: dict[str, Callable[..., Net]] = {
    "googlenet": partial(googlenet, "googlenet"),
    "googlenet.bn": partial(googlenet, "googlenet.bn"),
    "googlenet.torchvision": partial(googlenet, "googlenet.torchvision"),
}


def find(name: str) -> Callable[..., Net]:
    """The maker of the net called `name`. Raises InceptiveError, naming those there are."""
    if name not in NETS:
        raise InceptiveError(f"no net is called {name!r}; there are: {', '.join(NETS)}")
    return NETS[name]
