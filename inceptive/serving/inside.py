"""Looking inside a served model: heat over an image, and the maps of a layer, as PNG.

Torch is loaded when somebody first looks: a server of an exported file starts and answers without.
"""

import threading
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from inceptive.engines.classifier import Classifier

CHANNELS, COLUMNS = 16, 4
"""Maps on one sheet, and beside one another: legible on a phone."""
NEEDED = ("captum", "matplotlib")


def can_look() -> bool:
    """Whether what it takes is installed: the extra `explain`."""
    return all(map(find_spec, NEEDED))


class Inside:
    """What looks into `model`, a model folder or a published name; layers are the parts of it that
    give maps. For many threads; one looks at a time, at whatever model: Matplotlib is made for one."""

    _one_at_a_time = threading.Lock()

    def __init__(self, model: str, layers: list[str]):
        self.model, self.layers = model, layers

    @cached_property
    def _classifier(self) -> "Classifier":
        from inceptive.engines.classifier import Classifier

        return Classifier.load(self.model)

    def heat(self, square: np.ndarray, label: int) -> bytes:
        """What speaks for class `label` over a preprocessed image (C, S, S) of uint8 (Grad-CAM)."""
        with self._one_at_a_time:
            from inceptive.explaining import attribution, figures

            layer = attribution.last_maps(self._classifier)
            found = attribution.gradcam(self._classifier, square, layer, label)
            return figures.heatmap(square, found)

    def features(self, square: np.ndarray, layer: str) -> bytes:
        """The maps of `layer` that a preprocessed image (C, S, S) of uint8 excites most."""
        with self._one_at_a_time:
            from inceptive.explaining import figures, maps

            found = maps.maps_of(self._classifier, square[None], layer)[0]
            return figures.sheet(found, maps.top_channels(found, CHANNELS), "", COLUMNS)
