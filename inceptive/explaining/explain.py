"""Explanation of one model on one image, by any method: pictures and figures."""

import io
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inceptive.arch.account import minimum_size
from inceptive.arguments import NonNegativeInt, PositiveInt, Seed, checked
from inceptive.data.cache import user_cache
from inceptive.data.layout import OUTPUT
from inceptive.data.open import open_data_for
from inceptive.data.source import Data
from inceptive.engines.classifier import Classifier, OneImage
from inceptive.engines.open import is_exported, is_peer, open_engine
from inceptive.engines.prediction import as_source, class_number
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError, InvalidArgument, printable
from inceptive.explaining import attribution, branches, dream, figures, maps
from inceptive.images import Source, resize_shorter
from inceptive.io.atomic import write_bytes, write_json
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent

METHODS: dict[str, Sequence[str]] = {
    "gradcam": ("image", "layer", "label"),
    "occlusion": ("image", "label"),
    "features": ("image", "layer", "data", "count"),
    "branches": ("image", "label"),
    "deepdream": ("image", "layer", "channel", "label", "steps", "seed"),
    "visualise": ("layer", "channel", "label", "steps", "seed"),
}
"""Each method with the options that it takes."""
EXAMPLES, ROWS = 8, 12
"""Images for each channel, and channels that get them."""
LONGEST = 1024
"""Pixels of the longer side of a photograph that is dreamed on."""


@dataclass(frozen=True)
class Explanation:
    """pictures: PNG files by name; details: the content of their JSON, which depends on the method.

    >>> list(inceptive.explain("runs/mine", "photo.jpg").pictures)
    ['gradcam.png']
    """

    method: str
    pictures: dict[str, bytes] = field(repr=False)
    details: dict[str, Any] = field(repr=False)

    def to_dict(self, folder: str | Path = "") -> dict[str, Any]:
        """Return details, and the names of the files in `folder`."""
        return self.details | {"files": [str(Path(folder) / name) for name in self.pictures]}

    @checked
    def save(self, folder: str | Path) -> list[Path]:
        """Write the pictures and METHOD.json into `folder` and return their paths.

        A previously empty folder is marked, so that its pictures are never taken for a class.
        """
        folder = expand(folder)
        if not os.path.isdir(folder) or not os.listdir(folder):
            write_bytes(Path(folder) / OUTPUT, b"")
        for name, content in self.pictures.items():
            write_bytes(Path(folder) / name, content)
        write_json(Path(folder) / f"{self.method}.json", self.to_dict(folder))
        return [Path(folder) / name for name in (*self.pictures, f"{self.method}.json")]


Result = tuple[dict[str, bytes], dict[str, Any]]
"""PNG files by name, and what the JSON tells beside them."""


@dataclass(frozen=True)
class _View:
    """An image as the net sees it, its answer, and the class that is explained."""

    image: str
    square: np.ndarray
    probs: np.ndarray
    label: int
    labels: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{self.labels[self.label]} {self.probs[self.label]:.1%}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "image": self.image,
            "label": self.labels[self.label],
            "prob": float(self.probs[self.label]),
            "answer": self.labels[int(self.probs.argmax())],
        }


@checked
def explain(
    model: str | Path | Engine,
    image: OneImage | None = None,
    method: str = "gradcam",
    *,
    layer: str = "",
    channel: NonNegativeInt | None = None,
    label: str | int | None = None,
    data: str | Path | Data | None = None,
    count: PositiveInt = 32,
    steps: PositiveInt | None = None,
    seed: Seed = 0,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Explanation:
    """Explain what `model` sees in `image`, by one of METHODS, with pictures and figures.

    gradcam and occlusion: the image regions behind the answer, or behind the class `label` (name or
    number). features: the `count` channels of `layer` with the largest mean, and the images of `data`
    that activate each most. branches: what 1x1, 3x3, 5x5 and pool contribute. deepdream: the image
    with what activates `layer` (or one `channel`, or a `label`) amplified. visualise: an image, grown
    from noise, that activates a channel or a label; it takes no `image`. layer is a part, as in
    `inceptive table`; by default the last with maps. steps: of deepdream per octave (20), of
    visualise (256).

    model is a classifier, or what `Classifier.load` accepts; for occlusion, which needs only logits,
    any engine, or what `open_engine` accepts. Raises InceptiveError for another method on an exported
    file or a torchvision or timm net, an unreadable image, a layer, channel or label that does not
    exist, or an option that the method does not take.

    >>> files = inceptive.explain("runs/mine", "photo.jpg").save("explained")
    """
    options = {"layer": layer, "channel": channel, "label": label, "data": data, "count": count,
               "steps": steps, "seed": seed}  # fmt: skip
    defaults = signature(explain).parameters
    used = [option for option, value in options.items() if value != defaults[option].default]
    _refuse_unfit(method, used + ["image"] * (image is not None))
    name = printable(image) if isinstance(image, str | Path) else "the image"
    source = None if image is None else as_source(image)
    progress = progress or Silent()
    engine = _open(model, method, progress)
    number = None if label is None else class_number(str(label), engine.labels, len(engine.labels))
    if method == "occlusion":
        assert source is not None
        result = _occlusion(engine, _view(engine, source, name, number), progress)
    elif not isinstance(engine, Classifier):
        raise _needs_gradients(engine.name, method)
    elif source is None or method in ("deepdream", "visualise"):
        target = _target(engine, layer, channel, number)
        result = _grow(engine, target, source, name, seed, steps, progress)
    else:
        view = _view(engine, source, name, number)
        match method:
            case "gradcam":
                result = _gradcam(engine, view, layer)
            case "branches":
                result = _branches(engine, view)
            case _:
                result = _features(engine, view, layer, count, data, progress)
    pictures, details = result
    if isinstance(model, str | Path):
        title = printable(model)
    else:
        title = model.model.net.name if isinstance(model, Classifier) else model.name
    return Explanation(method, pictures, {"model": title, "method": method} | details)


def _refuse_unfit(method: str, options: list[str]) -> None:
    """Raises InceptiveError for a method that there is not, or one that would leave an option unused."""
    if method not in METHODS:
        raise InvalidArgument(f"no method is called {method!r}; there are: {', '.join(METHODS)}")
    takes = METHODS[method]
    if "image" in takes and "image" not in options:
        raise InvalidArgument(f"{method} needs an image: name one after the model")
    if "label" in options and "channel" in takes:  # a label is a channel of the last layer
        takes = [option for option in takes if option not in ("layer", "channel")]
    if unused := [option for option in options if option not in takes]:
        raise InvalidArgument(f"{method} takes {', '.join(takes)}; leave out {', '.join(unused)}")


def _open(model: str | Path | Engine, method: str, progress: Progress) -> Engine:
    if not isinstance(model, str | Path):
        return model
    if not (is_exported(model) or is_peer(model)):
        return Classifier.load(model, progress=progress)
    if method != "occlusion":
        raise _needs_gradients(printable(model), method)
    return open_engine(model, note=progress.say)


def _needs_gradients(name: str, method: str) -> InceptiveError:
    return InceptiveError(
        f"{name}: {method} needs gradients or maps, which only a model folder, a published name or "
        f"hf:OWNER/NAME has (for an exported file: the folder it was exported from); "
        f"occlusion works with every model"
    )


def _view(engine: Engine, image: Source, name: str, label: int | None) -> _View:
    square = engine.preprocessing.load(image)
    probs = engine.probs(square[None])[0]
    label = int(probs.argmax()) if label is None else label
    return _View(name, square, probs, label, engine.labels)


def _gradcam(classifier: Classifier, view: _View, layer: str) -> Result:
    layer = layer or attribution.last_maps(classifier)
    heat = attribution.gradcam(classifier, view.square, layer, view.label)
    title = f"{view.title}: Grad-CAM of {layer}"
    png = figures.overlay(view.square, heat, title, "speaks for the class", signed=False)
    return {"gradcam.png": png}, view.to_dict() | {"layer": layer} | _where(heat)


def _occlusion(engine: Engine, view: _View, progress: Progress) -> Result:
    side = engine.preprocessing.size
    window, stride = max(2, side // 7), max(1, side // 28)
    progress.say(f"covering {window} x {window} pixels, {stride} pixels apart")
    heat = attribution.occlusion(engine, view.square, view.label, window, stride)
    title = f"{view.title}: what covering takes from it"
    png = figures.overlay(view.square, heat, title, "logit lost when covered", signed=True)
    details = view.to_dict() | {"window": window, "stride": stride} | _where(heat)
    return {"occlusion.png": png}, details


def _where(heat: np.ndarray) -> dict[str, Any]:
    """The heat in numbers: its largest value, where that is, and its centre, as shares of the image."""
    weight = np.maximum(heat, 0)
    high, wide = heat.shape
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    total = float(weight.sum())
    rows, columns = np.mgrid[:high, :wide]
    centre = [
        float((weight * places).sum() / total / side)
        for places, side in ((rows, high), (columns, wide))
        if total
    ]
    return {
        "largest": float(heat.max()),
        "at": [float((row + 0.5) / high), float((column + 0.5) / wide)],
        "centre": centre or None,
    }


def _features(
    classifier: Classifier,
    view: _View,
    layer: str,
    count: int,
    data: str | Path | Data | None,
    progress: Progress,
) -> Result:
    layer = layer or attribution.last_maps(classifier)
    layer_maps = maps.maps_of(classifier, view.square[None], layer)[0]
    channels = maps.top_channels(layer_maps, count)
    title = (
        f"{layer}: the {len(channels)} strongest of {len(layer_maps)} channels, with their means"
    )
    pictures = {"features.png": figures.sheet(layer_maps, channels, title)}
    details: dict[str, Any] = {
        "image": view.image,
        "layer": layer,
        "shape": list(layer_maps.shape),
        "channels": [asdict(channel) for channel in channels],
    }
    if data is None:
        return pictures, details
    labelled = open_data_for(data, classifier.info.get("data", {}), progress=progress)
    samples = labelled.split("all")
    progress.say(f"looking at {len(samples)} images of {labelled.name}")
    numbers = [channel.channel for channel in channels[:ROWS]]
    best = maps.top_activating(classifier, samples, layer, numbers, EXAMPLES, user_cache())
    load = classifier.preprocessing.load
    rows = [
        (channel, [(load(samples.source(i)), value) for i, value in images])
        for channel, images in best.items()
    ]
    title = f"{layer}: what excites each channel most"
    pictures["top_images.png"] = figures.top_images(rows, title)
    details["top_images"] = {
        str(channel): [{"image": samples.name(i), "mean": value} for i, value in images]
        for channel, images in best.items()
    }
    return pictures, details


def _branches(classifier: Classifier, view: _View) -> Result:
    modules = branches.branches(classifier, view.square, view.label)
    png = figures.shares(modules, f"{view.title}: what each branch carries")
    details = view.to_dict() | {"modules": [asdict(module) for module in modules]}
    return {"branches.png": png}, details


def _grow(
    classifier: Classifier,
    target: dream.Target,
    image: Source | None,
    name: str,
    seed: int,
    steps: int | None,
    progress: Progress,
) -> Result:
    """deepdream of `image`; visualise without one, from noise."""
    options = {"seed": seed} | ({"steps": steps} if steps else {})
    if image is None:
        target = dream.Target(target.layer, target.channel or 0)
        progress.say(f"looking for what {target} answers to")
        advance = partial(progress.advance, "searching")
        after = dream.visualise(classifier, target, advance=advance, **options)
        before = np.random.default_rng(seed).integers(0, 256, after.shape, dtype=np.uint8)
    else:
        picture = classifier.preprocessing.decode(image, LONGEST)
        if max(picture.size) > LONGEST:
            picture = picture.copy()  # it may be the caller's own
            picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        least, (short, long) = minimum_size(classifier.model.net), sorted(picture.size)
        if short < least:
            if long * least > LONGEST * short:
                raise InceptiveError(
                    f"{name}: is too long and thin for {classifier.model.net.name}"
                )
            picture = resize_shorter(picture, least, "bicubic")
        before = np.asarray(picture)
        before = before[..., None] if before.ndim == 2 else before
        progress.say(f"dreaming of {target} on {before.shape[1]} x {before.shape[0]} pixels")
        advance = partial(progress.advance, "dreaming")
        after = dream.deepdream(classifier, target, before, advance=advance, **options)
    content = io.BytesIO()
    Image.fromarray(after[..., 0] if after.shape[2] == 1 else after).save(content, "PNG")
    details = {} if image is None else {"image": name}
    return {"visualise.png" if image is None else "deepdream.png": content.getvalue()}, details | {
        "layer": target.layer,
        "channel": target.channel,
        "seed": seed,
        "activation_before": dream.activation(classifier, target, before),
        "activation_after": dream.activation(classifier, target, after),
    }


def _target(
    classifier: Classifier, layer: str, channel: int | None, label: int | None
) -> dream.Target:
    """A layer and channel; a class is the channel of the last layer."""
    if label is not None:
        return dream.Target(classifier.model.net.last, label)
    return dream.Target(layer or attribution.last_maps(classifier), channel)
