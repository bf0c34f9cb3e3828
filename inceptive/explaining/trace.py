"""`reference.trace` for a model and an image file: the choice of weights, preprocessing and class."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inceptive.arch.account import account
from inceptive.arch.nets import NETS, open_net
from inceptive.arch.spec import Count, Net
from inceptive.arguments import NonNegativeInt, checked
from inceptive.engines.classifier import Classifier, OneImage
from inceptive.engines.prediction import as_source, class_number
from inceptive.errors import InceptiveError, InvalidArgument, printable
from inceptive.images import Preprocessing
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent
from inceptive.nn import build
from inceptive.reference import trace as reference
from inceptive.reference.layers import Array
from inceptive.reference.trace import Stage, Trace
from inceptive.weights.catalogue import catalogue


@dataclass(frozen=True)
class ModelTrace:
    """The breakdown of one value (`trace`), with its image and model.

    weights says whose they are; labels is empty if classes have only numbers. repr is one line.
    """

    net: str
    weights: str
    image: str
    image_size: int
    labels: tuple[str, ...]
    trace: Trace

    def __repr__(self) -> str:
        trace = self.trace
        at = "" if trace.at is None else f", at {trace.at}"
        place = f"{trace.layer}, channel {trace.channel}{at}"
        return f"<{self.net} on {self.image}: {place} = {trace.value:.6g}>"

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON-compatible values; arrays are lists of rows."""
        trace, model, labels = self.trace, ("net", "weights", "image", "image_size"), self.labels
        value = ("layer", "reads", "input_shape", "shape", "channel", "at", "value", "gradient")
        return {key: getattr(self, key) for key in model} | {
            **{key: _plain(getattr(trace, key)) for key in value},
            "logits": trace.logits_of,
            "label": trace.label,
            "label_name": labels[trace.label] if labels else None,
            "answered": trace.answered,
            "prob": trace.prob,
            "loss": trace.loss,
            "stages": [_stage_object(stage) for stage in trace.stages],
        }


@checked
def trace(
    model: str | Path | Net | Classifier,
    image: OneImage,
    layer: str,
    *,
    channel: NonNegativeInt | None = None,
    at: tuple[int, int] | None = None,
    label: str | int | None = None,
    size: Count | None = None,
    seed: NonNegativeInt | None = None,
    classes: Count | None = None,
    published: bool = False,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> ModelTrace:
    """Break down one value of `layer` for `image`: its inputs, each step to it, and its gradient.

    Computed with NumPy in float64, in inference mode (see `reference.trace.trace`). A net, by name or
    as a value, has random weights by `seed`, images of `size` pixels and `classes` (0, its own, 1000);
    a model folder, a published name and a classifier have their own. With `published`, a name shared
    with a net means published weights. channel and at (row, column): by default of the largest value;
    label, by name or number: target of the loss, by default the answer. Raises InceptiveError for
    anything that does not exist, and options that do not fit the model.

    >>> traced = inceptive.trace("googlenet", "photo.jpg", "inception_3a.b3x3.conv", size=64)
    >>> traced.trace.shape
    (128, 8, 8)
    """
    net, weights, preprocessing, labels, source = _open(
        model, size, seed, classes, published, progress or Silent()
    )
    name = reference.named(net, layer)
    number = None if label is None else class_number(str(label), labels, net.num_classes)
    pixels = preprocessing.load(as_source(image))
    x = preprocessing.normalise(pixels)
    side = preprocessing.size
    (progress or Silent()).say(
        f"{net.name} forward to the loss and back to {name}, in NumPy, at {side} x {side}"
    )
    traced = reference.trace(net, weights, x.astype(float), layer, channel, at, number)
    file = printable(image) if isinstance(image, str | Path) else "the image"
    return ModelTrace(net.name, source, file, side, labels, traced)


_Subject = tuple[Net, dict[str, Array], Preprocessing, tuple[str, ...], str]
"""A net, its weights in float64, how it sees an image, the labels, and whose the weights are."""


def _open(
    model: str | Path | Net | Classifier,
    size: int | None,
    seed: int | None,
    classes: int | None,
    published: bool,
    progress: Progress,
) -> _Subject:
    """The net, its weights in float64, and how it sees an image."""
    options = {"size": size, "seed": seed, "classes": classes, "published": published or None}

    def refuse_all_but(takes: tuple[str, ...], why: str) -> None:
        options_given = [option for option, value in options.items() if value is not None]
        if unused := [option for option in options_given if option not in takes]:
            raise InvalidArgument(f"{why}: leave out {', '.join(unused)}")

    if isinstance(model, Net):
        refuse_all_but(("size", "seed"), f"{model.name} is a value, with its own classes")
        return _fresh(model, size, seed)
    if isinstance(model, Classifier):
        refuse_all_but((), f"{model.model.net.name} has its own weights and size")
        return _trained(model, model.model.net.name)
    name, exists = str(model), expand(model).exists()
    if (name in NETS or ".py:" in name) and not (exists or published):
        return _fresh(open_net(name, 1000 if classes is None else classes), size, seed)
    refuse_all_but(("published",), f"{name} has its own weights and size")
    weights = {key for entry in catalogue().values() for key in (entry.name, entry.hub) if key}
    if published and name not in weights:
        raise InceptiveError(f"no published weights are called {name}; see `inceptive nets`")
    if not (exists or name in weights or name.startswith("hf:")):
        raise InceptiveError(
            f"{name}: is not a net, a published name or a model folder; see `inceptive nets`"
        )
    return _trained(Classifier.load(model, progress=progress), name)


def _fresh(net: Net, size: int | None, seed: int | None) -> _Subject:
    side = account(net, size).image_size  # too small an image is refused here
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        arrays = _arrays(build(net))
    grey = (0.5,) * net.channels
    preprocessing = Preprocessing(side, net.channels, mean=grey, std=grey)
    return net, arrays, preprocessing, (), f"fresh, seed {seed or 0}"


def _trained(classifier: Classifier, source: str) -> _Subject:
    model = classifier.model
    return model.net, _arrays(model), classifier.preprocessing, classifier.labels, source


def _arrays(model: torch.nn.Module) -> dict[str, Array]:
    return {key: value.double().cpu().numpy() for key, value in model.state_dict().items()}


def _stage_object(stage: Stage) -> dict[str, Any]:
    stage_object: dict[str, Any] = _plain(asdict(stage))
    for step, formula in zip(stage_object["steps"], stage.steps, strict=True):
        step["formula"] = formula.words
    for entries in stage_object["entries"]:
        entries["key"] = entries["key"] or None
    return stage_object | {"value": stage.value, "gradient": stage.gradient}


def _plain(value: Any) -> Any:
    """Dicts, lists, numbers and text of what may hold arrays and tuples."""
    match value:
        case np.ndarray():
            return value.tolist()
        case dict():
            return {key: _plain(part) for key, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case _:
            return value
