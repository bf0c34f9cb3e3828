"""What `inceptive explain` does once torch is loaded."""

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inceptive.cli import tables as output
from inceptive.cli.dataset import as_learned
from inceptive.cli.progress import Display
from inceptive.data.cache import user_cache
from inceptive.engines.classifier import Classifier
from inceptive.engines.prediction import class_number
from inceptive.errors import InceptiveError
from inceptive.explaining import attribution, branches, dream, figures, maps
from inceptive.images import decode, printable
from inceptive.io.atomic import write_bytes, write_json

EXAMPLES, ROWS = 8, 12
"""Images for each channel, and channels that get them."""
LONGEST = 1024
"""Pixels of the longer side of a photograph that is dreamed on."""


@dataclass(frozen=True)
class Request:
    model: str
    image: Path | None
    method: str
    layer: str
    channel: int | None
    label: str
    data: str
    count: int
    steps: int
    seed: int
    out: Path
    json: bool


@dataclass(frozen=True)
class Shown:
    """The image as the net sees it, and its answer."""

    file: Path
    square: np.ndarray
    probs: np.ndarray


Result = tuple[dict[str, bytes], dict[str, Any]]
"""PNG files by name, and what the JSON tells beside them."""


def explain(request: Request) -> None:
    """Explain as asked, write the files, and say where they are."""
    display = Display()
    classifier = Classifier.load(request.model)
    if request.image is None and request.method != "visualise":
        raise InceptiveError(f"{request.method} needs an image: name one after MODEL")
    pictures, told = METHODS[request.method](request, classifier, display)
    display.close()
    about: dict[str, Any] = {"model": request.model, "method": request.method} | told
    about["files"] = [str(request.out / name) for name in pictures]
    for name, content in pictures.items():
        write_bytes(request.out / name, content)
    write_json(request.out / f"{request.method}.json", about)
    names = [*pictures, f"{request.method}.json"]
    display.say(f"written: {', '.join(str(request.out / name) for name in names)}")
    output.answer(output.as_json(about) if request.json else as_text(about))


def shown(request: Request, classifier: Classifier) -> Shown:
    assert request.image
    square = classifier.preprocessing.load(request.image)
    return Shown(request.image, square, classifier.probs(square[None])[0])


def label_of(request: Request, classifier: Classifier, probs: np.ndarray) -> int:
    """The class asked for, by name or number; else the answer."""
    labels = classifier.labels
    if not request.label:
        return int(probs.argmax())
    return class_number(request.label, labels, len(labels), "--label")


def _told(shown: Shown, classifier: Classifier, label: int) -> dict[str, Any]:
    return {
        "image": printable(shown.file),
        "label": classifier.labels[label],
        "prob": float(shown.probs[label]),
        "answer": classifier.labels[int(shown.probs.argmax())],
    }


def gradcam(request: Request, classifier: Classifier, display: Display) -> Result:
    one = shown(request, classifier)
    label = label_of(request, classifier, one.probs)
    layer = request.layer or attribution.last_maps(classifier)
    heat = attribution.gradcam(classifier, one.square, layer, label)
    told = _told(one, classifier, label) | {"layer": layer} | _where(heat)
    title = f"{told['label']} {told['prob']:.1%}: Grad-CAM of {layer}"
    png = figures.overlay(one.square, heat, title, "speaks for the class", signed=False)
    return {"gradcam.png": png}, told


def occlusion(request: Request, classifier: Classifier, display: Display) -> Result:
    one = shown(request, classifier)
    label = label_of(request, classifier, one.probs)
    side = classifier.preprocessing.size
    window, stride = max(2, side // 7), max(1, side // 28)
    display.say(f"covering {window} x {window} pixels at every {stride}th place")
    heat = attribution.occlusion(classifier, one.square, label, window, stride)
    told = _told(one, classifier, label) | {"window": window, "stride": stride} | _where(heat)
    title = f"{told['label']} {told['prob']:.1%}: what covering takes from it"
    png = figures.overlay(one.square, heat, title, "logit lost when covered", signed=True)
    return {"occlusion.png": png}, told


def _where(heat: np.ndarray) -> dict[str, Any]:
    """The heat in numbers: its largest value, where that is, and its centre, as shares of the image."""
    weight = np.maximum(heat, 0)
    high, wide = heat.shape
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    total = float(weight.sum())
    rows, columns = np.mgrid[:high, :wide]
    centre = (
        [
            float((weight * rows).sum() / total / high),
            float((weight * columns).sum() / total / wide),
        ]
        if total
        else None
    )
    return {
        "largest": float(heat.max()),
        "at": [float((row + 0.5) / high), float((column + 0.5) / wide)],
        "centre": centre,
    }


def features(request: Request, classifier: Classifier, display: Display) -> Result:
    one = shown(request, classifier)
    layer = request.layer or attribution.last_maps(classifier)
    found = maps.maps_of(classifier, one.square[None], layer)[0]
    channels = maps.strongest(found, request.count)
    title = f"{layer}: the {len(channels)} strongest of {len(found)} channels, with their means"
    pictures = {"features.png": figures.sheet(found, channels, title)}
    told: dict[str, Any] = {
        "image": printable(one.file),
        "layer": layer,
        "shape": list(found.shape),
        "channels": [asdict(each) for each in channels],
    }
    if request.data:
        data = as_learned(request.data, classifier.info.get("data", {}), display)
        samples = data.split("all")
        display.say(f"looking at {len(samples)} images of {data.name}")
        wanted = [each.channel for each in channels[:ROWS]]
        best = maps.exciting(classifier, samples, layer, wanted, EXAMPLES, user_cache())
        load = classifier.preprocessing.load
        rows = [
            (channel, [(load(samples.source(i)), value) for i, value in images])
            for channel, images in best.items()
        ]
        pictures["exciting.png"] = figures.excited(rows, f"{layer}: what excites each channel most")
        told["exciting"] = {
            str(channel): [{"image": samples.name(i), "mean": value} for i, value in images]
            for channel, images in best.items()
        }
    return pictures, told


def by_branch(request: Request, classifier: Classifier, display: Display) -> Result:
    one = shown(request, classifier)
    label = label_of(request, classifier, one.probs)
    modules = branches.branches(classifier, one.square, label)
    told = _told(one, classifier, label)
    title = f"{told['label']} {told['prob']:.1%}: what each branch carries"
    return {"branches.png": figures.shares(modules, title)}, told | {
        "modules": [asdict(each) for each in modules]
    }


def deepdream(request: Request, classifier: Classifier, display: Display) -> Result:
    assert request.image
    target = _target(request, classifier)
    channels = classifier.preprocessing.channels
    picture = decode(request.image, channels, LONGEST)
    if max(picture.size) > LONGEST:
        picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    array = np.asarray(picture)
    before = array[..., None] if array.ndim == 2 else array
    steps = {"steps": request.steps} if request.steps else {}
    display.say(f"dreaming of {_named(target)} on {before.shape[1]} x {before.shape[0]} pixels")
    after = dream.deepdream(
        classifier, target, before, seed=request.seed, progress=display.load, **steps
    )
    told = {"image": printable(request.image), "layer": target.layer, "channel": target.channel,
            "seed": request.seed} | _raised(classifier, target, before, after)  # fmt: skip
    return {"deepdream.png": _png(after)}, told


def visualise(request: Request, classifier: Classifier, display: Display) -> Result:
    target = _target(request, classifier)
    if target.channel is None:
        target = dream.Target(target.layer, 0)
    steps = {"steps": request.steps} if request.steps else {}
    display.say(f"looking for what {_named(target)} answers to")
    found = dream.visualise(classifier, target, seed=request.seed, progress=display.load, **steps)
    noise = np.random.default_rng(request.seed).integers(0, 256, found.shape, dtype=np.uint8)
    told = {"layer": target.layer, "channel": target.channel, "seed": request.seed} | _raised(
        classifier, target, noise, found
    )
    return {"visualise.png": _png(found)}, told


def _target(request: Request, classifier: Classifier) -> dream.Target:
    """A layer and channel; a class is the channel of the last layer."""
    if request.label:
        last = classifier.model.net.body.parts[-1][0]
        labels = classifier.labels
        return dream.Target(last, class_number(request.label, labels, len(labels), "--label"))
    return dream.Target(request.layer or attribution.last_maps(classifier), request.channel)


def _named(target: dream.Target) -> str:
    return f"{target.layer}" + ("" if target.channel is None else f", channel {target.channel}")


def _raised(
    classifier: Classifier, target: dream.Target, before: np.ndarray, after: np.ndarray
) -> dict[str, float]:
    one, other = (dream.activation(classifier, target, image) for image in (before, after))
    return {"activation_before": one, "activation_after": other}


def _png(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(content, "PNG")
    return content.getvalue()


def as_text(about: dict[str, Any]) -> str:
    """The answer in a few lines."""
    if "modules" in about:
        names = sorted({name for one in about["modules"] for name in one["share"]})
        rows = [
            (
                one["name"],
                *(f"{one['share'][name]:.1%}" if name in one["share"] else "" for name in names),
            )
            for one in about["modules"]
        ]
        return output.columns((f"what speaks for {about['label']}", *names), rows)
    if "channels" in about:
        rows = [
            (str(one["channel"]), f"{one['mean']:.4g}", f"{one['most']:.4g}",
             f"{one['at'][0]}, {one['at'][1]}")
            for one in about["channels"]
        ]  # fmt: skip
        return output.columns((f"channel of {about['layer']}", "mean", "most", "at"), rows)
    if "activation_after" in about:
        return f"{about['activation_before']:.4g} -> {about['activation_after']:.4g}, mean of the target"
    row, column = about["at"]
    where = f"{row:.0%} from the top, {column:.0%} from the left"
    return f"{about['label']} {about['prob']:.1%}; most at {where}"


METHODS: dict[str, Callable[[Request, Classifier, Display], Result]] = {
    "gradcam": gradcam,
    "occlusion": occlusion,
    "features": features,
    "branches": by_branch,
    "deepdream": deepdream,
    "visualise": visualise,
}
