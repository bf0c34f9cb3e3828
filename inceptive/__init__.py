"""The Inception family of image classifiers: exact, trainable, explained and fast.

The public names are loaded when first used, so that `import inceptive` costs nothing: torch comes
with `build` and `Classifier`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inceptive.arch.nets import NETS as NETS
    from inceptive.engines.classifier import Classifier as Classifier
    from inceptive.errors import InceptiveError as InceptiveError
    from inceptive.images import Preprocessing as Preprocessing
    from inceptive.nn import build as build

__version__ = "0.1.0"

_HOME = {
    "Classifier": "inceptive.engines.classifier",
    "InceptiveError": "inceptive.errors",
    "NETS": "inceptive.arch.nets",
    "Preprocessing": "inceptive.images",
    "build": "inceptive.nn",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'inceptive' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
