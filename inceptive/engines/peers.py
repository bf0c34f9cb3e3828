"""Any torchvision or timm net as an engine, with its own preprocessing, to compare with ours.

torchvision:resnet18               its published weights, from torch's cache or a download
torchvision:resnet18@mine.pth      weights at hand: a state dict, for the classes of the data
timm:resnet50@model.safetensors
"""

import importlib
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import nn

from inceptive.engines.protocol import Engine, Size
from inceptive.errors import InceptiveError, reason
from inceptive.images import Interpolation, Preprocessing
from inceptive.io.paths import expand
from inceptive.weights.catalogue import numbered_labels
from inceptive.weights.readers.torch_file import state_dict

BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def package(name: str) -> Any:
    """Import the module `name` of torchvision or timm. Raises InceptiveError if that fails.

    With a CPU-only build of torch, torchvision's compiled operators are missing; two of them have to
    be declared before it is imported. No net of the family uses them.
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


class PeerEngine(Engine):
    """A peer's module as an engine; path is the file of its weights, None for the published ones."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        labels: tuple[str, ...],
        preprocessing: Preprocessing,
        path: Path | None = None,
    ):
        self.name, self.labels, self.preprocessing = name, labels, preprocessing
        self.path = path
        self.model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    @property
    def fingerprint(self) -> str:
        digest = sha256(repr((self.name, self.labels, self.preprocessing)).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def size(self) -> Size:
        """Parameters, and multiply-adds of one image as counted by torch."""
        from torch.utils.flop_counter import FlopCounterMode

        side = self.preprocessing.size
        with FlopCounterMode(display=False) as counter:
            self.logits(np.zeros((1, 3, side, side), np.uint8))
        return Size(
            sum(parameter.numel() for parameter in self.model.parameters()),
            int(counter.get_total_flops()) // 2,
            self.path.stat().st_size if self.path else None,
        )

    @torch.inference_mode()
    def logits(self, images: np.ndarray) -> np.ndarray:
        device = next(self.model.parameters()).device
        logits = self.model(self.preprocessing.normalise(torch.from_numpy(images).to(device)))
        if not isinstance(logits, torch.Tensor):
            raise InceptiveError("the peer's net answers with more than logits in evaluation")
        return logits.float().cpu().numpy()


def open_peer(model: str, classes: tuple[str, ...] = ()) -> PeerEngine:
    """Open the net that `model` names, in evaluation mode.

    With a FILE its classes are `classes` in order or, without any, one per row of its last tensor:
    ImageNet's if there are 1,000. Raises InceptiveError if the package is missing or has no such net,
    its weights cannot be fetched, or a file does not fit.
    """
    net, _, file = model.partition("@")
    package_name, _, name = net.partition(":")
    path = expand(file) if file else None
    try:
        tensors = state_dict(path) if path else None
        if tensors is not None and not classes:
            classes = numbered_labels(len(next(reversed(tensors.values()))))
        create = _torchvision if package_name == "torchvision" else _timm
        module, labels, preprocessing = create(name, tensors, classes)
    except InceptiveError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, StopIteration) as error:
        line = reason(error)  # each peer has exceptions of its own
        hint = "" if file else f"; weights at hand: {model}@FILE"
        raise InceptiveError(f"{model}: cannot be opened ({line}){hint}") from None
    if tensors is not None:
        try:
            module.load_state_dict(tensors)
        except RuntimeError as error:
            line = reason(error, 300)
            raise InceptiveError(
                f"{path}: does not fit a net of {len(classes)} classes ({line})"
            ) from None
    return PeerEngine(net, module, labels, preprocessing, path)


Opened = tuple[nn.Module, tuple[str, ...], Preprocessing]
Tensors = dict[str, torch.Tensor]


def _torchvision(name: str, tensors: Tensors | None, classes: tuple[str, ...]) -> Opened:
    models = package("torchvision.models")
    if name not in models.list_models(module=models):
        raise InceptiveError(f"torchvision has no classifier {name}")
    weights = models.get_model_weights(name).DEFAULT
    of = weights.transforms()
    preprocessing = _preprocessing(
        of.crop_size[0], of.resize_size[0], of.interpolation.value, of.mean, of.std
    )
    if tensors is None:
        labels = tuple(weights.meta["categories"])
        return models.get_model(name, weights=weights), labels, preprocessing
    # The heads of GoogLeNet and Inception v3 are kept where the file has them: nobody runs them.
    aux = {"aux_logits": any("aux" in key.lower() for key in tensors), "init_weights": False}
    options = aux if name in ("googlenet", "inception_v3") else {}
    return models.get_model(name, num_classes=len(classes), **options), classes, preprocessing


def _timm(name: str, tensors: Tensors | None, classes: tuple[str, ...]) -> Opened:
    timm, data = package("timm"), package("timm.data")
    if not timm.is_model(name):
        raise InceptiveError(f"timm has no net {name}")
    options: dict[str, Any] = (
        {"pretrained": True} if tensors is None else {"num_classes": len(classes)}
    )
    model = timm.create_model(name, **options)
    config = data.resolve_model_data_config(model)
    side = config["input_size"][1]
    preprocessing = _preprocessing(
        side, int(side / config["crop_pct"]), config["interpolation"], config["mean"], config["std"]
    )
    if tensors is None and model.num_classes != 1000:
        raise InceptiveError(f"timm:{name} does not answer with ImageNet's 1,000 classes")
    return model, classes if tensors is not None else numbered_labels(1000), preprocessing


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
