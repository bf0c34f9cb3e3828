"""A classifier: a model, the preprocessing its weights expect, and its class names.

On disk it is a model folder: `model.safetensors`, `config.json` and a model card `README.md`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from math import inf
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, overload

import numpy as np
import torch
from torch import Tensor

import inceptive
from inceptive.arch.account import Account, account
from inceptive.arch.codec import net_to_dict
from inceptive.arch.nets import refuse_imitation
from inceptive.arch.spec import Net
from inceptive.arguments import Allowed, checked
from inceptive.engines import folder as model_folder
from inceptive.engines.early_exit import EarlyExit
from inceptive.engines.header import CONFIG, WEIGHTS
from inceptive.engines.metadata import read_net
from inceptive.engines.novelty import Novelty
from inceptive.engines.prediction import KIND, Image, Prediction, SingleImage, predict, predictions
from inceptive.engines.protocol import Compute, Engine, Size, Stage
from inceptive.errors import InceptiveError, printable, reason, valid_values
from inceptive.images import Preprocessing
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress
from inceptive.metrics import Threshold, softmax
from inceptive.nn import Model
from inceptive.nn.net import evaluating
from inceptive.weights.catalogue import (
    Published,
    catalogue,
    numbered_labels,
    published_labels,
)
from inceptive.weights.load import by_hand, fetch, hub_folder, is_published, named_weights
from inceptive.weights.load import load as load_published

if TYPE_CHECKING:
    from inceptive.data.source import Data
    from inceptive.engines.embedding import Embeddings, Pool
    from inceptive.evaluation.evaluate import Evaluation
    from inceptive.explaining.explain import Explanation
    from inceptive.exporting.export import Export

OneImage = Annotated[Image | Tensor, Allowed(KIND, lambda _: True)]
"""One image, as `Classifier.predict` takes it."""
JUDGED = {
    "val": ("validation", "the epoch was chosen on these images"),
    "train": ("training", "it has learned from these very images"),
    "folds": ("cross-validated", "the modules that it reads were chosen by these images"),
}
"""The images that a training's own accuracy is of, and why another one is needed."""
HUB = "hf:"  # before an id of the Hugging Face hub, so that a mistyped folder asks no network


@dataclass(repr=False)
class Classifier(Engine):
    """A trained model that predicts. labels[k] names logit k.

    `temperature` divides the logits before softmax (see metrics). info is what else the model folder
    records: how and on what it was trained, its metrics. path is its weights file, if read from a
    model folder.

    >>> clf = inceptive.Classifier.load("runs/mine")
    >>> clf.labels[:3], clf.preprocessing.size
    (('0', '1', '2'), 32)
    """

    name = "torch"

    model: Model
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    temperature: float = 1.0
    info: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        """Raise InceptiveError if its parts do not fit each other."""
        if len(self.labels) != self.model.net.num_classes:
            raise InceptiveError(
                f"{len(self.labels)} labels for a net of {self.model.net.num_classes} classes"
            )
        self.labels = tuple(self.labels)
        if not all(isinstance(label, str) for label in self.labels):
            raise InceptiveError(f"labels are names, not {self.labels!r}")
        if not (isinstance(self.temperature, Real) and 0 < self.temperature < inf):
            raise InceptiveError(
                f"temperature is a finite number above 0, which divides the logits, not "
                f"{self.temperature!r}"
            )
        if self.preprocessing.channels != self.model.net.channels:
            raise InceptiveError(
                f"preprocessing makes {self.preprocessing.channels} channels, the net takes "
                f"{self.model.net.channels}"
            )
        refuse_imitation(self.model.net)

    def __repr__(self) -> str:
        first_labels = ", ".join(self.labels[:5]) + (", ..." if len(self.labels) > 5 else "")
        side, channels = self.preprocessing.size, self.preprocessing.channels
        return (
            f"<Classifier {self.model.net.name}: {len(self.labels)} classes ({first_labels}), images of "
            f"{side} x {side} pixels, {channels} channel{'s' if channels > 1 else ''}>"
        )

    @classmethod
    @checked
    def load(
        cls,
        model: str | Path,
        file: str | Path | None = None,
        progress: Progress | None = ON_STANDARD_ERROR,
        labels: Sequence[str] = (),
    ) -> "Classifier":
        """Load a classifier ready to predict: in evaluation mode, on the CPU.

        model is a model folder, a published name (`inceptive nets` lists them) or, after "hf:", the
        id of a repository on the Hugging Face Hub that holds a model folder. file: local weights in
        that format, instead of the download; NAME@FILE is equivalent, as is FILE alone if its tensors
        identify the net. labels name the classes of such a file, in order; the default is
        "class 0", ..., or the published labels if there are as many.
        Raises InceptiveError, naming the file, if a part is missing, damaged or does not fit.

        >>> clf = inceptive.Classifier.load("runs/mine")
        """
        folder = model_folder.folder_of(expand(model))
        weights = None if folder.is_dir() or file is not None else named_weights(str(model))
        if weights and weights[1]:
            return cls._from_published(*weights, progress, labels)
        if labels and file is None:
            raise InceptiveError(
                f"{model}: names its classes itself; labels are for a file of weights"
            )
        if folder.is_dir() and file is None:
            return cls._from_folder(folder)
        for published in catalogue().values():
            hub = (published.hub, HUB + published.hub) if published.hub else ()
            if str(model) in (published.name, *hub):
                return cls._from_published(published, file, progress, labels)
        if file is not None:
            raise InceptiveError(f"no published weights are called {model}; see `inceptive nets`")
        if str(model).startswith(HUB):
            return cls._from_folder(hub_folder(str(model).removeprefix(HUB)))
        return cls._from_folder(folder)

    @classmethod
    def _from_published(
        cls,
        published: Published,
        file: str | Path | None,
        progress: Progress | None,
        labels: Sequence[str] = (),
    ) -> "Classifier":
        path = fetch(published, progress) if file is None else by_hand(published, file)
        try:
            model = load_published(published, path)
        except InceptiveError as error:
            again = "; remove it, and it is fetched again" if file is None else ""
            raise InceptiveError(f"{error}{again}") from None
        count = model.net.num_classes
        own = published_labels(published) if count == published.classes else numbered_labels(count)
        info: dict[str, Any] = {}
        if file is None or is_published(published, path):  # of others nobody has said anything
            info["published"] = {"name": published.name, "licence": published.licence}
            if published.top1 is not None:
                info["published"] |= {
                    "top1": published.top1 / 100,
                    "accuracy_source": published.accuracy_source,
                }
        return cls(model, published.preprocessing, tuple(labels) or own, info=info)

    @classmethod
    def _from_folder(cls, folder: Path) -> "Classifier":
        config, tensors = model_folder.read(folder)
        with valid_values(str(folder / CONFIG)):
            net, preprocessing, labels = _net(config)
            temperature, info = float(config["temperature"]), _info(config)
            if not 0 < temperature < inf:
                raise ValueError(f"'temperature' ({temperature} is no number above 0)")
        model = model_folder.model_of(net, tensors, folder / WEIGHTS)
        path = (folder / WEIGHTS).absolute()  # wherever the process goes meanwhile
        return cls(model.eval(), preprocessing, labels, temperature, info, path)

    @checked
    def save(self, folder: str | Path) -> None:
        """Write the model folder: see `model_folder.write`. Raises InceptiveError for what could not be
        loaded again, such as labels of another number than the net's classes.

        >>> inceptive.Classifier.load("runs/mine").save("runs/copy")
        """
        self._check()
        tensors = {key: value.contiguous() for key, value in self.model.state_dict().items()}
        model_folder.write(Path(folder), self.config(), tensors, model_card(self))

    def save_config(self, folder: str | Path) -> None:
        """Write only `config.json`: labels, preprocessing, temperature, and `info`."""
        model_folder.write_config(Path(folder), self.config())

    def config(self) -> dict[str, Any]:
        """The content of `config.json`, except for the hash of the weights."""
        return {
            "inceptive": inceptive.__version__,
            "torch": torch.__version__,
            "labels": list(self.labels),
            "preprocessing": self.preprocessing.to_dict(),
            "temperature": float(self.temperature),
            "net": net_to_dict(self.model.net),
        } | {key: value for key, value in self.info.items() if key not in ("inceptive", "torch")}

    def to(self, device: str | torch.device) -> "Classifier":
        """Move the model to `device` ("cpu", "cuda", "cuda:1") and return this classifier.

        Raises InceptiveError if there is no such device. Weights stay float32: what else computes fast
        is an export's (`export`).
        """
        try:
            if not isinstance(device, str | torch.device) or torch.device(device).type == "meta":
                raise TypeError("it is no device with memory")
            self.model.to(torch.device(device))
        except (AssertionError, RuntimeError, TypeError) as error:
            raise InceptiveError(
                f"cannot move the model to {device!r}: {reason(error, 80)}; give cpu, or cuda where "
                "torch has it"
            ) from None
        return self

    def normalise(self, images: Tensor | np.ndarray) -> Tensor:
        """Normalise images (N, C, S, S), uint8 or 0-255, for the net: float32, on its device.

        Raises InceptiveError for images of other dimensions.
        """
        if isinstance(images, np.ndarray):
            # A copy of what torch cannot share, such as a reversed view.
            images = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        if images.ndim != 4 or images.shape[1] != self.preprocessing.channels:
            raise InceptiveError(
                f"{self.net.name} takes images (N, {self.preprocessing.channels}, H, W), "
                f"not {tuple(images.shape)}"
            )
        images = images.to(next(self.model.parameters()).device)
        return self.preprocessing.normalise(images).contiguous(memory_format=torch.channels_last)

    @overload
    def logits(self, images: Tensor) -> Tensor: ...
    @overload
    def logits(self, images: np.ndarray) -> np.ndarray: ...

    @torch.inference_mode()
    def logits(self, images: Tensor | np.ndarray) -> Tensor | np.ndarray:
        """Map preprocessed images (N, C, S, S) of uint8 to logits (N, K) in float32, on the CPU.

        Returns an array for an array, a tensor for a tensor.
        """
        with evaluating(self.model):
            logits: Tensor = self.model(self.normalise(images)).float().cpu()
        return logits.numpy() if isinstance(images, np.ndarray) else logits

    @torch.inference_mode()
    def features_and_logits(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map preprocessed images (N, C, S, S) of uint8 to the input of the last layer (N, F), and its
        logits (N, K)."""
        model = self.model
        with evaluating(model):
            features = model.features(self.normalise(images))
            logits = model.get_submodule(model.net.last)(features)
        return features.float().cpu().numpy(), logits.float().cpu().numpy()

    def computing(self, layer: str) -> Compute:
        return partial(self._output, layer)

    @torch.inference_mode()
    def _output(self, layer: str, images: np.ndarray) -> np.ndarray:
        """The output of `layer`, any part, group or layer; nothing after its part is computed."""
        with evaluating(self.model):
            output = self.model.endpoints(self.normalise(images), [layer])[layer]
        return np.asarray(output.float().cpu().numpy())

    def scored(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return `logits`, and how unlike all classes each image is (N,), or None if unknown."""
        novelty = self.novelty
        if novelty is None:
            return self.logits(images), None
        features, logits = self.features_and_logits(images)
        return logits, novelty.scores(features, logits)

    @property
    def novelty(self) -> Novelty | None:
        """The criterion for images like none of the classes; None if training found none."""
        if "novelty" not in self.info:
            return None
        with valid_values(f"{CONFIG}: novelty"):
            novelty = Novelty.from_dict(self.info["novelty"])
            last = self.model.get_submodule(self.model.net.last)
            if novelty.mean.shape != (last.in_features,):
                raise ValueError(
                    f"for {len(novelty.mean)} features, the net has {last.in_features}"
                )
            return novelty

    @property
    def net(self) -> Net:
        """The value of the net, with its heads."""
        return self.model.net

    def account(self) -> Account:
        """Shapes, parameters and multiply-adds of the net without its heads."""
        return account(self.model.net.without_aux(), self.preprocessing.size)

    @property
    def early_exit(self) -> EarlyExit | None:
        """When its heads answer, if `inceptive early-exit` chose it. InceptiveError if invalid."""
        values = self.info.get("early_exit")
        return EarlyExit.from_dict(values) if values else None

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """Confidence thresholds that reach given accuracies, found in training; () if there are none.
        InceptiveError if invalid."""
        with valid_values(f"{CONFIG}: metrics.thresholds"):
            metrics = self.info.get("metrics", {})
            values = metrics.get("thresholds", metrics.get("abstain", ()))  # as written until 0.1
            return tuple(map(Threshold.from_dict, values))

    @property
    def fingerprint(self) -> str:
        net = json.dumps(net_to_dict(self.model.net.without_aux()))
        decides = (net, self.labels, self.preprocessing, self.temperature)
        digest = sha256(repr(decides).encode())
        if "novelty" in self.info:
            digest.update(json.dumps(self.info["novelty"], sort_keys=True).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def size(self) -> Size:
        net = self.account()
        file = self.path if self.path and self.path.is_file() else None
        return Size(net.params, net.macs, file.stat().st_size if file else None)

    def stages(self, heads: Sequence[str]) -> list[Stage]:
        """The model cut after the parts that `heads` read: see `early_exit.answer`."""
        places_of = self.model.net.heads()
        if unknown := [head for head in heads if head not in places_of]:
            raise InceptiveError(f"{self.model.net.name} has no head {', '.join(unknown)}")
        places = ["", *(places_of[head][0] for head in heads)]
        return [
            partial(self._stage, after, head)
            for after, head in zip(places, [*heads, ""], strict=True)
        ]

    @torch.inference_mode()
    def _stage(self, after: str, head: str, maps: Any) -> tuple[Tensor, np.ndarray]:
        x = maps.contiguous(memory_format=torch.channels_last) if after else self.normalise(maps)
        with evaluating(self.model):
            onwards, logits = self.model.stage(x, after, head)
        return onwards, logits.float().cpu().numpy()

    def probs(self, images: Tensor | np.ndarray) -> np.ndarray:
        """Map preprocessed images (N, C, S, S) of uint8 to calibrated probabilities (N, K)."""
        return softmax(np.asarray(self.logits(images)), self.temperature)

    @overload  # a str is an Iterable too, and one image
    def predict(  # type: ignore[overload-overlap]
        self, images: SingleImage, top: int = 5, batch_size: int = 32
    ) -> Prediction: ...
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, images: np.ndarray | Tensor, top: int = 5, batch_size: int = 32
    ) -> Prediction | list[Prediction]: ...
    @overload
    def predict(
        self, images: Iterable[Image | Tensor], top: int = 5, batch_size: int = 32
    ) -> list[Prediction]: ...

    def predict(self, images: Any, top: int = 5, batch_size: int = 32) -> Any:
        """Classify images: a Prediction for one image, a list of them for several.

        An image is a path, the bytes of a file, an open binary file, a Pillow image, an array (H, W) or
        (H, W, C) with 1, 3 or 4 channels, or a tensor (C, H, W) of uint8. Several are a list, tuple or
        iterator of these, an array (N, H, W, C) or a tensor (N, C, H, W). An unreadable file has
        `error` set and no answer; the others are answered. Raises InceptiveError for any other type,
        alone or among others, and unless `top` and `batch_size` are 1 or more.

        >>> clf = inceptive.Classifier.load("runs/mine")
        >>> clf.predict("photo.jpg").label in clf.labels
        True
        >>> len(clf.predict(["photo.jpg", np.zeros((64, 48, 3), np.uint8)]))
        2
        """
        return predict(self, images, top, batch_size)

    def predictions(
        self, images: Iterable[Image | Tensor], top: int = 5, batch_size: int = 32
    ) -> Iterator[Prediction]:
        """Like `predict` of several, but yield each when done; at most two batches are in memory."""
        return predictions(self, images, top, batch_size)

    def embed(
        self, images: Any, layer: str = "", pool: "Pool" = "mean", batch_size: int = 32
    ) -> "Embeddings":
        """Return the features of `layer` for one image or several: see `inceptive.embed`.

        >>> inceptive.Classifier.load("runs/mine").embed("photo.jpg").features.shape
        (1, 1024)
        """
        from inceptive.engines.embedding import embed

        return embed(self, images, layer, pool, batch_size=batch_size)

    def evaluate(self, data: "str | Path | Data", split: str = "", **options: Any) -> "Evaluation":
        """Evaluate on labelled images: `inceptive.evaluate` of this model, with its options.

        >>> inceptive.Classifier.load("runs/mine").evaluate("digits").split
        'test'
        """
        from inceptive.evaluation.evaluate import evaluate

        return evaluate(self, data, split, **options)

    def export(
        self,
        to: str = "onnx",
        precision: str = "f32",
        *,
        calibrate: "str | Path | Data | None" = None,
        max_drop: float = 0.5,
        out: str | Path | None = None,
        progress: Progress | None = ON_STANDARD_ERROR,
    ) -> "Export":
        """Export to a file for the engine `to`, checked against torch: see `inceptive.export`.

        >>> inceptive.Classifier.load("runs/mine").export("onnx").passed
        True
        """
        from inceptive.exporting.export import export

        return export(
            self, to, precision, calibrate=calibrate, max_drop=max_drop, out=out, progress=progress
        )

    def explain(
        self,
        image: "OneImage | None" = None,
        method: str = "gradcam",
        *,
        layer: str = "",
        channel: int | None = None,
        label: str | int | None = None,
        progress: Progress | None = ON_STANDARD_ERROR,
    ) -> "Explanation":
        """Explain what this classifier sees in `image`: see `inceptive.explain` for more options.

        >>> files = inceptive.Classifier.load("runs/mine").explain("photo.jpg").save("explained")
        """
        from inceptive.explaining.explain import explain

        return explain(
            self, image, method, layer=layer, channel=channel, label=label, progress=progress
        )


def _net(config: dict[str, Any]) -> tuple[Net, Preprocessing, tuple[str, ...]]:
    labels = config["labels"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError("'labels' (not a list of names)")
    preprocessing = Preprocessing.from_dict(config["preprocessing"])
    return read_net(config["net"], len(labels), preprocessing), preprocessing, tuple(labels)


def _info(config: dict[str, Any]) -> dict[str, Any]:
    """What a config tells beside."""
    own = ("net", "preprocessing", "labels", "temperature", model_folder.HASH)
    info = {key: value for key, value in config.items() if key not in own}
    for key in ("data", "recipe", "metrics", "training", "published"):
        if not isinstance(info.get(key, {}), dict):
            raise ValueError(f"{key!r} (not a table)")
    for key in ("name", "licence"):
        if not isinstance(info.get("data", {}).get(key, ""), str):
            raise ValueError(f"'data.{key}' (not a text)")
    return info


def described(folder: Path) -> tuple[Net, Preprocessing]:
    """Read the net in a model folder and its preprocessing, but no weights."""
    folder = model_folder.folder_of(folder)
    config = model_folder.read_config(folder)
    with valid_values(str(folder / CONFIG)):
        net, preprocessing, _ = _net(config)
        return net, preprocessing


def _markdown(text: object) -> str:
    """A name as Markdown shows it, whatever its characters."""
    return re.sub(r"([\\`*\[\]<>#|&])", r"\\\1", printable(str(text)))


def model_card(classifier: Classifier) -> str:
    """The model folder's README: what it is, how it was trained, how well it does, how to use it."""
    net, info = classifier.model.net, classifier.info
    cost = account(net, classifier.preprocessing.size)
    data, metrics = info.get("data", {}), info.get("metrics", {})
    lines = [
        "---", "library_name: inceptive", "pipeline_tag: image-classification", "---", "",
        f"# {net.name} for {len(classifier.labels)} classes", "",
        f"- Classes: {', '.join(map(_markdown, classifier.labels[:20]))}"
        f"{' ...' if len(classifier.labels) > 20 else ''}",
        f"- Net: {net.source}; {cost.params:,} parameters, {cost.macs / 1e6:,.1f} M multiply-adds "
        f"for one image of {cost.image_size} x {cost.image_size} pixels",
    ]  # fmt: skip
    if data:
        licence = f"; licence of the images: {data['licence']}" if data.get("licence") else ""
        name = _markdown(data.get("name"))
        lines.append(f"- Trained on {data.get('train')} images of {name}{licence}")
    if published := info.get("published"):
        lines.append(
            f"- From weights {_markdown(published['name'])}, licence: {published['licence']}"
        )
    if "top1" in metrics:
        low, high = metrics["top1_interval"]
        kind, because = JUDGED.get(str(metrics.get("split")), JUDGED["val"])
        lines.append(
            f"- Accuracy on {metrics['count']} {kind} images: {metrics['top1']:.2%} "
            f"(95 % interval {low:.2%} to {high:.2%}); {because}, so judge it on a test split"
        )
    lines += [
        "", "```python", "import inceptive", 'clf = inceptive.Classifier.load("this/folder")',
        'clf.predict("photo.jpg").label', "```", "",
    ]  # fmt: skip
    return "\n".join(lines)
