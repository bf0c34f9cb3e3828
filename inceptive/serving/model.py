"""A served model: its engine, its confidence threshold, and its explainer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.arch.account import parts_with_maps
from inceptive.engines.early_exit import EarlyExitEngine
from inceptive.engines.header import WEIGHTS
from inceptive.engines.open import is_exported, open_engine
from inceptive.engines.prediction import Decoded, load
from inceptive.engines.protocol import Engine
from inceptive.io.paths import as_unicode
from inceptive.metrics import EVEN, choose_threshold
from inceptive.serving.batching import Answer
from inceptive.serving.explainer import Explainer, can_explain


@dataclass(frozen=True)
class ServedModel:
    """An engine with a name, and the probability from which its answers count as sure.

    sure_from: that probability. accuracy: the share of right answers among the `sure_count` validation
    images above it; None if unknown. explainer: None if the model cannot be explained.
    """

    name: str
    engine: Engine
    sure_from: float = EVEN
    accuracy: float | None = None
    sure_count: int = 0
    explainer: Explainer | None = None

    @classmethod
    def open(
        cls,
        model: str,
        name: str,
        engine: str,
        early_exit: bool,
        accuracy: float | None,
        note: Callable[[str], None],
    ) -> "ServedModel":
        """Open `model` under its `name`, its engine warm. Raises InceptiveError as `open_engine` does,
        or if no threshold is known for `accuracy`."""
        opened = open_engine(model, engine, note, early_exit)
        sure = choose_threshold(name, opened.thresholds, accuracy)
        channels, size = opened.preprocessing.channels, opened.preprocessing.size
        opened.probs(np.zeros((1, channels, size, size), np.uint8))
        layers = parts_with_maps(net.net, size) if (net := opened.account()) else []
        # Exports alone cannot be explained: that takes gradients.
        folder = Path(model)
        exports_only = folder.is_dir() and not (folder / WEIGHTS).is_file()
        explainable = layers and can_explain() and not (is_exported(model) or exports_only)
        whole = opened.engine if isinstance(opened, EarlyExitEngine) else opened
        return cls(name, opened, *sure, Explainer(model, layers, whole) if explainable else None)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, also where they come from folders whose names are not UTF-8."""
        return tuple(map(as_unicode, self.engine.labels))

    def to_dict(self) -> dict[str, Any]:
        """The response of `/v1/model`."""
        account = self.engine.account()
        return {
            "name": self.name,
            "net": account.net.name if account else self.engine.name,
            "engine": self.engine.name,
            "data": {k: v for k, v in self.engine.data.items() if k != "pictures"},
            "early_exit": bool(self.engine.exit_shares()),
            "labels": list(self.labels),
            "preprocessing": self.engine.preprocessing.to_dict(),
            "temperature": self.engine.temperature,
            "sure_from": self.sure_from,
            "accuracy_when_sure": self.accuracy,
            "sure_count": self.sure_count,
            "explains": self.explainer is not None,
            "layers": self.explainer.layers if self.explainer else [],
        }

    def decode(self, name: str, content: bytes) -> Decoded:
        """Decode the image `content` as the net sees it (C, S, S), or say why it cannot be read."""
        return load(self.engine.preprocessing, content, name)

    def prediction(self, image: Decoded, answer: Answer | None, top: int) -> dict[str, Any]:
        """Format the answer for an image, None for one that cannot be read, as one of the `predictions`
        of `/v1/predict`."""
        values: dict[str, Any] = {"top": [], "sure": False, "novel": None, "error": image.square}
        if answer is not None:
            probs, novel = answer
            best = np.argsort(-probs, kind="stable")[:top]
            ranked = [{"label": self.labels[k], "prob": float(probs[k])} for k in best]
            sure = bool(probs[best[0]] >= self.sure_from) and not novel
            values = {"top": ranked, "sure": sure, "novel": novel, "error": ""}
        return {"image": image.name, **values, "notes": list(image.notes)}
