"""Explanations of a served model: a heatmap over an image, and the maps of a layer, as PNG.

Torch is loaded on the first request: a server of an exported file starts and answers without it.
"""

import threading
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from inceptive.engines.protocol import Engine

if TYPE_CHECKING:
    from inceptive.engines.classifier import Classifier

CHANNELS, COLUMNS = 16, 4
"""Maps on one sheet, and beside one another: legible on a phone."""


def can_explain() -> bool:
    """Whether what draws is installed, which the extra `explain` brings."""
    return find_spec("matplotlib") is not None


class Explainer:
    """Explains `model`, a model folder or a published name, for which `engine` answers.

    layers are its parts that output maps. Thread-safe, one call at a time for all models, since
    Matplotlib is not.
    """

    _lock = threading.Lock()

    def __init__(self, model: str, layers: list[str], engine: Engine):
        self.model, self.layers, self.engine = model, layers, engine

    @cached_property
    def _classifier(self) -> "Classifier":
        from inceptive.engines.classifier import Classifier

        if not isinstance(self.engine, Classifier):
            return Classifier.load(self.model)
        # Modules of their own, for hooks must not fire while the engine answers; the same tensors.
        model = self.engine.model
        tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        return replace(self.engine, model=deepcopy(model, tensors))

    def heat(self, square: np.ndarray, label: int) -> bytes:
        """Evidence for class `label` over a preprocessed image (C, S, S) of uint8 (Grad-CAM)."""
        with self._lock:
            from inceptive.explaining import attribution, figures

            layer = attribution.last_maps(self._classifier)
            heat = attribution.gradcam(self._classifier, square, layer, label)
            return figures.heatmap(square, heat)

    def features(self, square: np.ndarray, layer: str) -> bytes:
        """The maps of `layer` that a preprocessed image (C, S, S) of uint8 activates most."""
        with self._lock:
            from inceptive.explaining import figures, maps

            layer_maps = maps.maps_of(self._classifier, square[None], layer)[0]
            channels = maps.top_channels(layer_maps, CHANNELS)
            return figures.sheet(layer_maps, channels, "", COLUMNS)
