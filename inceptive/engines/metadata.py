"""The metadata of an exported file: enough to use it without its model folder."""

import json
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

import inceptive
from inceptive.arch import nets
from inceptive.arch.account import account
from inceptive.arch.codec import net_from_dict, net_to_dict
from inceptive.arch.spec import Net
from inceptive.engines.early_exit import EarlyExit
from inceptive.errors import InceptiveError, valid_values
from inceptive.images import Preprocessing
from inceptive.metrics import Threshold

MAX_VALUES = 1 << 30
"""Values of the largest map of one image, at most: a file of others could ask for any."""
KEY = "inceptive"
"""The property of an ONNX file, and the runtime information of an OpenVINO file, that holds it."""


@dataclass(frozen=True)
class Metadata:
    """labels[k] names logit k. weights are the sha256 of the `model.safetensors`
    that the file was made from. data: name, licence and shares of the images it was trained on.
    early_exit: the heads in the file besides the net, and when they answer. thresholds: confidence
    thresholds that reach given accuracies, found in training (see metrics.thresholds)."""

    net: Net
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
        """Convert to one JSON object on one line."""
        return json.dumps(
            {
                "inceptive": inceptive.__version__,
                "net": net_to_dict(self.net),
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
        """Raises InceptiveError, naming the file `where`, if `text` is not what `to_json` returns."""
        if not text:
            raise InceptiveError(f"{where}: was not written by `inceptive export`")
        with valid_values(where):
            values = json.loads(text)
            labels = tuple(str(label) for label in values["labels"])
            preprocessing = Preprocessing.from_dict(values["preprocessing"])
            thresholds = values.get("thresholds", values.get("abstain", ()))  # as written until 0.1
            return cls(
                read_net(values["net"], len(labels), preprocessing),
                labels,
                preprocessing,
                float(values["temperature"]),
                str(values["precision"]),
                str(values["weights"]),
                str(values["licence"]),
                dict(values["data"]),
                EarlyExit.from_dict(values["early_exit"]) if values.get("early_exit") else None,
                tuple(map(Threshold.from_dict, thresholds)),
            )


def read_net(values: Any, classes: int, preprocessing: Preprocessing) -> Net:
    """Read the net in a file, for as many classes as it has labels, at its preprocessing's size.

    `values` are what `codec.net_to_dict` returns or, in files written until 0.1, a name alone or with
    its heads. Raises InceptiveError if it is not a net, is in NETS only by name, or has maps that take
    gigabytes; KeyError, TypeError or ValueError if a part is missing or invalid.
    """
    if isinstance(values, dict) and "body" in values:
        net = net_from_dict(values)
    elif isinstance(values, dict):
        count, channels = values["num_classes"], values["channels"]
        if type(count) is not int or count != classes:
            raise ValueError(f"'num_classes' ({count!r} for {classes} labels)")
        if type(channels) is not int or channels not in (1, 3):
            raise ValueError(f"'channels' ({channels!r} is not 1 or 3)")
        net = nets.NETS[str(values["name"])](classes, channels)
        heads = values.get("aux", True)
        if heads is not True:
            net = net.with_heads(heads) if heads else net.without_aux()
    else:
        net = nets.NETS[str(values)](classes, preprocessing.channels)
    if net.num_classes != classes:
        raise ValueError(f"'num_classes' ({net.num_classes} for {classes} labels)")
    if net.channels != preprocessing.channels:
        raise ValueError(f"'channels' ({net.channels} for images of {preprocessing.channels})")
    nets.refuse_imitation(net)
    largest = max(
        prod(line.view.shape) for line in account(net.without_aux(), preprocessing.size).body
    )
    if largest > MAX_VALUES:
        raise ValueError(f"'net' (a map of {largest:,} values for one image)")
    return net
