"""The Inception family of image classifiers: exact, trainable, explained and fast.

The public names are loaded when first used, so that `import inceptive` costs nothing: torch comes
with `build`, `train` and `Classifier`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inceptive.arch.account import Account as Account
    from inceptive.arch.account import account as account
    from inceptive.arch.draw import draw as draw
    from inceptive.arch.nets import NETS as NETS
    from inceptive.arch.spec import LRN as LRN
    from inceptive.arch.spec import Activation as Activation
    from inceptive.arch.spec import Add as Add
    from inceptive.arch.spec import AvgPool as AvgPool
    from inceptive.arch.spec import BatchNorm as BatchNorm
    from inceptive.arch.spec import Chain as Chain
    from inceptive.arch.spec import Concat as Concat
    from inceptive.arch.spec import Conv as Conv
    from inceptive.arch.spec import Dropout as Dropout
    from inceptive.arch.spec import Linear as Linear
    from inceptive.arch.spec import MaxPool as MaxPool
    from inceptive.arch.spec import Multiply as Multiply
    from inceptive.arch.spec import Net as Net
    from inceptive.arch.spec import Separable as Separable
    from inceptive.comparison.compare import Comparison as Comparison
    from inceptive.comparison.compare import compare as compare
    from inceptive.comparison.similar import NearCopies as NearCopies
    from inceptive.comparison.similar import Similar as Similar
    from inceptive.comparison.similar import near_copies as near_copies
    from inceptive.comparison.similar import similar as similar
    from inceptive.data.open import open_data as open_data
    from inceptive.data.source import Data as Data
    from inceptive.data.source import SplitFractions as SplitFractions
    from inceptive.engines.classifier import Classifier as Classifier
    from inceptive.engines.embedding import Embeddings as Embeddings
    from inceptive.engines.embedding import embed as embed
    from inceptive.engines.prediction import Prediction as Prediction
    from inceptive.errors import InceptiveError as InceptiveError
    from inceptive.evaluation.evaluate import Evaluation as Evaluation
    from inceptive.evaluation.evaluate import evaluate as evaluate
    from inceptive.explaining.explain import Explanation as Explanation
    from inceptive.explaining.explain import explain as explain
    from inceptive.explaining.trace import trace as trace
    from inceptive.exporting.export import Export as Export
    from inceptive.exporting.export import export as export
    from inceptive.exporting.export import export_all as export_all
    from inceptive.fidelity.fid import Fidelity as Fidelity
    from inceptive.fidelity.fid import fid as fid
    from inceptive.images import Preprocessing as Preprocessing
    from inceptive.nn import build as build
    from inceptive.serving.serve import serve as serve
    from inceptive.training.recipe import Recipe as Recipe
    from inceptive.training.train import train as train

__version__ = "0.1.0"

_NAMES = {
    "inceptive.arch.account": "Account account",
    "inceptive.arch.draw": "draw",
    "inceptive.arch.nets": "NETS",
    "inceptive.arch.spec": "Activation Add AvgPool BatchNorm Chain Concat Conv Dropout Linear LRN "
    "MaxPool Multiply Net Separable",
    "inceptive.comparison.compare": "Comparison compare",
    "inceptive.comparison.similar": "NearCopies Similar near_copies similar",
    "inceptive.data.open": "open_data",
    "inceptive.data.source": "Data SplitFractions",
    "inceptive.engines.classifier": "Classifier",
    "inceptive.engines.embedding": "Embeddings embed",
    "inceptive.engines.prediction": "Prediction",
    "inceptive.errors": "InceptiveError",
    "inceptive.evaluation.evaluate": "Evaluation evaluate",
    "inceptive.explaining.explain": "Explanation explain",
    "inceptive.explaining.trace": "trace",
    "inceptive.exporting.export": "Export export export_all",
    "inceptive.fidelity.fid": "Fidelity fid",
    "inceptive.images": "Preprocessing",
    "inceptive.nn": "build",
    "inceptive.serving.serve": "serve",
    "inceptive.training.recipe": "Recipe",
    "inceptive.training.train": "train",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'inceptive' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
