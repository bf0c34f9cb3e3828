"""Any net of torchvision or timm as an engine, with its own preprocessing: to compare with ours.

torchvision:resnet18               its published weights, from torch's cache or a download
torchvision:resnet18@mine.pth      weights at hand: a state dict, for the classes of the data
timm:resnet50@model.safetensors
"""

import importlib
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import nn

from inceptive.errors import InceptiveError
from inceptive.images import Interpolation, Preprocessing
from inceptive.io.paths import expand
from inceptive.metrics import softmax
from inceptive.weights.catalogue import imagenet_labels

PACKAGES = ("torchvision", "timm")
BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def package(name: str) -> Any:
    """The module `name` of torchvision or timm. Raises InceptiveError if it does not import here.

    Beside a build of torch for processors alone, torchvision's compiled operators are missing; two
    of them have to be declared before it imports. No net of the family uses them.
    """
    first = name.partition(".")[0]
    for needed in dict.fromkeys(("torchvision", first)):
        if find_spec(needed) is None:
            raise InceptiveError(
                f"{needed} is not installed (pip install --no-deps torchvision timm)"
            )
    try:
        try:
            importlib.import_module("torchvision")
        except RuntimeError:
            for operator in ("nms", "qnms"):
                if not hasattr(torch.ops.torchvision, operator):
                    torch.library.define(f"torchvision::{operator}", BOXES)
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        raise InceptiveError(f"{first} does not import here ({error})") from None


@dataclass
class PeerEngine:
    """A peer's module that answers as ours do (see `prediction.Engine`); bytes of its weights' file."""

    model: nn.Module
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    bytes: int | None = None
    temperature: float = field(default=1.0, init=False)

    @property
    def params(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    def macs(self) -> int:
        """Multiply-adds of one image, as torch counts its products."""
        from torch.utils.flop_counter import FlopCounterMode

        size = self.preprocessing.size
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            self._run(np.zeros((1, 3, size, size), np.uint8))
        return int(counter.get_total_flops()) // 2

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Preprocessed images (N, 3, S, S) of uint8 to logits (N, K) of float32."""
        with torch.inference_mode():
            return self._run(images).float().cpu().numpy()

    def probs(self, images: np.ndarray) -> np.ndarray:
        """Preprocessed images (N, 3, S, S) of uint8 to probabilities (N, K)."""
        return softmax(self.logits(images))

    def _run(self, images: np.ndarray) -> torch.Tensor:
        device = next(self.model.parameters()).device
        scale, shift = map(torch.from_numpy, self.preprocessing.scale_and_shift())
        x = torch.from_numpy(images).to(device).float() * scale.to(device) + shift.to(device)
        found = self.model(x)
        if not isinstance(found, torch.Tensor):
            raise InceptiveError("the peer's net answers with more than logits in evaluation")
        return found


def is_peer(model: str) -> bool:
    """Whether `model` names a net of a peer: PACKAGE:NAME, or PACKAGE:NAME@FILE."""
    return model.partition(":")[0] in PACKAGES and ":" in model


def open_peer(model: str, classes: tuple[str, ...]) -> PeerEngine:
    """The net that `model` names, in evaluation mode; with a FILE it answers with `classes`.

    Raises InceptiveError if the package is missing or has no such net, its weights are not to be
    had, or a file does not fit.
    """
    name, _, file = model.partition("@")
    where, _, name = name.partition(":")
    opened = _torchvision if where == "torchvision" else _timm
    try:
        engine = opened(name, expand(file) if file else None, classes)
    except InceptiveError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:  # each peer has its own
        line = " ".join(str(error).split())[:200]
        hint = "" if file else f"; weights at hand: {model}@FILE"
        raise InceptiveError(f"{model}: cannot be opened ({line}){hint}") from None
    engine.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return engine


def _torchvision(name: str, file: Path | None, classes: tuple[str, ...]) -> PeerEngine:
    models = package("torchvision.models")
    if name not in models.list_models(module=models):
        raise InceptiveError(f"torchvision has no classifier {name}")
    weights = models.get_model_weights(name).DEFAULT
    shown = weights.transforms()
    preprocessing = _preprocessing(
        shown.crop_size[0], shown.resize_size[0], shown.interpolation.value, shown.mean, shown.std
    )
    if file is None:
        model = models.get_model(name, weights=weights)
        return PeerEngine(model, tuple(weights.meta["categories"]), preprocessing)
    # The heads of GoogLeNet and Inception v3 are kept where the file has them: nobody runs them.
    tensors = _read(file)
    aux = {"aux_logits": any("aux" in key.lower() for key in tensors), "init_weights": False}
    made = models.get_model(
        name, num_classes=len(classes), **(aux if name in ("googlenet", "inception_v3") else {})
    )
    return _with_file(made, file, tensors, classes, preprocessing)


def _timm(name: str, file: Path | None, classes: tuple[str, ...]) -> PeerEngine:
    timm, data = package("timm"), package("timm.data")
    if not timm.is_model(name):
        raise InceptiveError(f"timm has no net {name}")
    more: dict[str, Any] = {"pretrained": True} if file is None else {"num_classes": len(classes)}
    model = timm.create_model(name, **more)
    shown = data.resolve_model_data_config(model)
    side = shown["input_size"][1]
    preprocessing = _preprocessing(
        side, int(side / shown["crop_pct"]), shown["interpolation"], shown["mean"], shown["std"]
    )
    if file is not None:
        return _with_file(model, file, _read(file), classes, preprocessing)
    if model.num_classes != 1000:
        raise InceptiveError(f"timm:{name} does not answer with ImageNet's 1,000 classes")
    return PeerEngine(model, imagenet_labels(), preprocessing)


def _preprocessing(
    size: int, resize: int, interpolation: str, mean: Any, std: Any
) -> Preprocessing:
    if interpolation not in get_args(Interpolation):
        interpolation = "bicubic"  # timm's "random" and lanczos
    return Preprocessing(
        size,
        3,
        size / max(size, resize),
        cast(Interpolation, interpolation),
        tuple(mean),
        tuple(std),
    )


def _read(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file; no code in it runs."""
    if not file.is_file():
        raise InceptiveError(f"{file}: there is no such file")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file anything may come
        line = " ".join(str(error).split())[:120]
        raise InceptiveError(f"{file}: cannot be read as weights ({line})") from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]  # as training scripts save it
    if not isinstance(found, dict) or not all(torch.is_tensor(one) for one in found.values()):
        raise InceptiveError(f"{file}: holds no state dict")
    return {key.removeprefix("module."): value for key, value in found.items()}


def _with_file(
    model: nn.Module,
    file: Path,
    tensors: dict[str, torch.Tensor],
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
) -> PeerEngine:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        line = " ".join(str(error).split())[:300]
        raise InceptiveError(
            f"{file}: does not fit a net of {len(classes)} classes ({line})"
        ) from None
    return PeerEngine(model, classes, preprocessing, file.stat().st_size)
