"""What an exported file says of itself: enough to use it where there is no model folder."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import inceptive
from inceptive.engines.early_exit import EarlyExit
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.metrics import Threshold

KEY = "inceptive"
"""The property of an ONNX file, and the runtime information of an OpenVINO file, that holds it."""


@dataclass(frozen=True)
class Metadata:
    """net is its name; labels[k] names logit k. weights are the sha256 of the `model.safetensors`
    that the file was made from. data: name, licence and shares of the images it was trained on.
    early_exit: the heads that the file has beside the net, and when they answer. thresholds: how sure an
    answer has to be for a share of them to be right, as the training found (see metrics.thresholds)."""

    net: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    precision: str
    weights: str = ""
    licence: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    early_exit: EarlyExit | None = None
    thresholds: tuple[Threshold, ...] = ()

    def to_json(self) -> str:
        """One JSON object on one line."""
        return json.dumps(
            {
                "inceptive": inceptive.__version__,
                "net": self.net,
                "num_classes": len(self.labels),
                "labels": list(self.labels),
                "preprocessing": self.preprocessing.to_dict(),
                "temperature": self.temperature,
                "precision": self.precision,
                "weights": self.weights,
                "licence": self.licence,
                "data": self.data,
                "early_exit": self.early_exit and self.early_exit.to_dict(),
                "thresholds": [asdict(threshold) for threshold in self.thresholds],
            }
        )

    @classmethod
    def from_json(cls, text: str | None, where: str) -> "Metadata":
        """Raises InceptiveError, naming the file `where`, if `text` is not what `to_json` gives."""
        if not text:
            raise InceptiveError(f"{where}: was not written by `inceptive export`")
        try:
            told = json.loads(text)
            return cls(
                str(told["net"]),
                tuple(str(label) for label in told["labels"]),
                Preprocessing.from_dict(told["preprocessing"]),
                float(told["temperature"]),
                str(told["precision"]),
                str(told["weights"]),
                str(told["licence"]),
                dict(told["data"]),
                EarlyExit.from_dict(told["early_exit"]) if told.get("early_exit") else None,
                tuple(Threshold.from_dict(one) for one in told.get("abstain", ())),
            )
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            OverflowError,
            RecursionError,
        ) as error:
            raise InceptiveError(f"{where}: missing or invalid {error}") from None
