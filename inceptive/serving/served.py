"""What is served: the engine that answers, how sure it has to be, and what looks inside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inceptive.arch.account import parts_with_maps
from inceptive.engines.open import is_exported, open_engine
from inceptive.engines.prediction import class_number
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError
from inceptive.metrics import Threshold
from inceptive.serving.inside import Inside, can_look

ACCURACY = 0.95
"""Share of its answers that should be right, unless another is asked for."""
EVEN = 0.5
"""An answer less probable than all others together is never called sure."""


@dataclass(frozen=True)
class Served:
    """sure_from: how probable an answer has to be; in validation `sure_count` images had such answers,
    and a share `accuracy` of them was right (None: nobody knows). inside: None where nothing can look
    there."""

    name: str
    engine: Engine
    sure_from: float = EVEN
    accuracy: float | None = None
    sure_count: int = 0
    inside: Inside | None = None

    @classmethod
    def open(
        cls,
        model: str,
        name: str,
        engine: str,
        early_exit: bool,
        accuracy: float | None,
        note: Callable[[str], None],
    ) -> "Served":
        """`model` under its `name`, its engine warm. Raises InceptiveError as `open_engine` does, or
        if no threshold is known for `accuracy`."""
        opened = open_engine(model, engine, note, early_exit)
        sure = threshold(name, opened.thresholds, accuracy)
        shown = opened.preprocessing
        opened.probs(np.zeros((1, shown.channels, shown.size, shown.size), np.uint8))
        # An exported file alone cannot be looked into: that takes gradients.
        layers = parts_with_maps(net.net, shown.size) if (net := opened.account()) else []
        inside = Inside(model, layers) if layers and can_look() and not is_exported(model) else None
        return cls(name, opened, *sure, inside)

    def about(self) -> dict[str, Any]:
        """What `/v1/model` tells."""
        account = self.engine.account()
        return {
            "name": self.name,
            "net": account.net.name if account else self.engine.name,
            "engine": self.engine.name,
            "data": self.engine.data,
            "early_exit": bool(self.engine.exit_shares()),
            "labels": list(self.engine.labels),
            "preprocessing": self.engine.preprocessing.to_dict(),
            "temperature": self.engine.temperature,
            "sure_from": self.sure_from,
            "accuracy_when_sure": self.accuracy,
            "sure_count": self.sure_count,
            "explains": self.inside is not None,
            "layers": self.inside.layers if self.inside else [],
        }

    def decoded(self, name: str, content: bytes) -> np.ndarray | str:
        """The square that the net sees; or why there is none."""
        try:
            return self.engine.preprocessing.load(content, name)
        except InceptiveError as error:
            return str(error)

    def answer(self, name: str, probs: np.ndarray, top: int) -> dict[str, Any]:
        """probs (K,) of an image as `/v1/predict` tells them."""
        best = np.argsort(-probs, kind="stable")[:top]
        ranked = [{"label": self.engine.labels[k], "prob": float(probs[k])} for k in best]
        sure = bool(probs[best[0]] >= self.sure_from)
        return {"image": name, "top": ranked, "sure": sure, "error": ""}

    def label(self, asked: str) -> int:
        """The class that is asked for. Raises InceptiveError if there is none."""
        return class_number(asked, self.engine.labels, len(self.engine.labels))


def threshold(
    name: str, known: Sequence[Threshold], accuracy: float | None
) -> tuple[float, float | None, int]:
    """How probable answers of model `name` have to be for a share `accuracy` of them to be right, the
    share that was, and of how many; `known` are the thresholds that its training found.

    Unless told, ACCURACY or what comes nearest to it. Raises InceptiveError if `accuracy` is not held.
    """
    enough = [one for one in known if one.target >= (accuracy or ACCURACY)]
    if not enough and accuracy is not None:
        most = max((one.target for one in known), default=None)
        why = f"at most {most:.1%}" if most else "the model folder tells of no threshold"
        raise InceptiveError(f"{name}: no threshold is known for --accuracy {accuracy:g}: {why}")
    if not known:
        return EVEN, None, 0
    chosen = min(enough, key=lambda one: one.target) if enough else known[-1]
    return max(EVEN, chosen.threshold), chosen.accuracy, chosen.count
