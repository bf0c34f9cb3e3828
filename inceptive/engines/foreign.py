"""ONNX files that others have written, as engines; what they do not tell is taken to be ImageNet's."""

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.engines import graph
from inceptive.engines import onnx as onnx_runtime
from inceptive.engines.metadata import KEY
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.io.paths import expand
from inceptive.metrics import softmax
from inceptive.weights.catalogue import imagenet_labels

USUAL, CROP = 224, 224 / 256
"""Side of the images where the file leaves it open, and the share of the shorter side that is seen."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class ForeignEngine:
    """Answers as ours do (see `prediction.Engine`). channels_last: it takes (N, H, W, C); at_once: the
    only size of batch that it takes, None for any; softmaxed: it gives probabilities."""

    path: Path
    session: Any
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    channels_last: bool
    at_once: int | None
    softmaxed: bool = False
    temperature: float = field(default=1.0, init=False)

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size

    @property
    def params(self) -> int:
        """Numbers in the tensors of the file: running statistics, where they are not folded, too."""
        return sum(prod(one.dims) for one in _graph(self.path).initializer if one.data_type == 1)

    def macs(self) -> int:
        """Multiply-adds of one image in convolutions and matrix products; 0 if shapes are not known."""
        read = _graph(self.path, self._shape(1))
        held = {one.name: tuple(one.dims) for one in read.initializer}
        shapes = {
            one.name: tuple(d.dim_value for d in one.type.tensor_type.shape.dim)
            for one in (*read.value_info, *read.output, *read.input)
        } | held
        total = 0
        for node in read.node:
            if node.op_type not in ("Conv", "Gemm", "MatMul"):
                continue
            left, right = (shapes.get(name, ()) for name in node.input[:2])
            made = prod(shapes.get(node.output[0], (0,)))
            if node.op_type == "Conv":
                total += made * prod(right[1:])
            elif left:
                total += made * left[-1]
        return total

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Preprocessed images (N, C, S, S) of uint8 to logits (N, K) of float32."""
        given = self.outputs(images)
        return np.log(np.maximum(given, 1e-12)) if self.softmaxed else given

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """What the file itself gives for preprocessed images: (N, K) of float32."""
        scale, shift = self.preprocessing.scale_and_shift()
        x = (images * scale + shift).astype(np.float32)
        if self.channels_last:
            x = x.transpose(0, 2, 3, 1)
        asked = self.session.get_inputs()[0].name
        step = self.at_once or len(x)
        found = []
        for at in range(0, len(x), step):
            part = np.ascontiguousarray(x[at : at + step])
            spare = step - len(part)  # a file of a fixed batch takes no smaller one
            if self.at_once and spare:
                part = np.concatenate([part, np.repeat(part[-1:], spare, axis=0)])
            found.append(self.session.run(None, {asked: part})[0][: step - spare])
        return np.concatenate(found).reshape(len(x), -1).astype(np.float32, copy=False)

    def probs(self, images: np.ndarray) -> np.ndarray:
        """Preprocessed images (N, C, S, S) of uint8 to probabilities (N, K)."""
        return softmax(self.logits(images))

    def _shape(self, count: int) -> tuple[int, ...]:
        channels, size = self.preprocessing.channels, self.preprocessing.size
        return (
            (count, size, size, channels) if self.channels_last else (count, channels, size, size)
        )


def foreign_session(model: str) -> Any:
    """ONNX Runtime's session of `model` if it is an ONNX file that `inceptive export` did not write;
    else None."""
    path = expand(model)
    if path.suffix != ".onnx" or not path.is_file():
        return None
    session = onnx_runtime.session(path)
    return None if KEY in session.get_modelmeta().custom_metadata_map else session


def open_foreign(model: str, session: Any, classes: tuple[str, ...]) -> ForeignEngine:
    """The net of the file `model`, whose session this is. It answers with `classes` in their order, or
    with ImageNet's 1,000; images are shown as torchvision's nets see them.

    Raises InceptiveError, naming the file, if it is no classifier of images.
    """
    path = expand(model)
    inputs, shape = session.get_inputs(), session.get_inputs()[0].shape
    if len(inputs) != 1 or len(shape) != 4 or inputs[0].type != "tensor(float)":
        raise InceptiveError(f"{path}: takes no images: one input (N, C, H, W) of floats is needed")
    channels_last = shape[1] not in (1, 3) and shape[3] in (1, 3)
    batch, channels, high, wide = (shape[k] for k in ((0, 3, 1, 2) if channels_last else range(4)))
    if channels not in (1, 3) or (isinstance(high, int) and high != wide):
        raise InceptiveError(
            f"{path}: takes images of shape {shape}, not square ones in grey or RGB"
        )
    size = high if isinstance(high, int) else USUAL
    shown = Preprocessing(size, crop=CROP, mean=MEAN, std=STD)
    if channels == 1:
        shown = Preprocessing(size, 1, CROP, mean=(0.5,), std=(0.5,))
    fixed = batch if isinstance(batch, int) else None
    engine = ForeignEngine(path, session, classes, shown, channels_last, fixed)
    rng = np.random.default_rng(0)
    tried = engine.outputs(rng.integers(0, 256, (4, channels, size, size), dtype=np.uint8))
    engine.softmaxed = bool((tried >= 0).all() and np.allclose(tried.sum(axis=1), 1, atol=1e-3))
    count = tried.shape[1]
    if count == 1000 != len(classes):
        engine.labels = imagenet_labels()
    elif count != len(classes):
        raise InceptiveError(f"{path}: answers with {count} classes, the data has {len(classes)}")
    return engine


def _graph(path: Path, shape: tuple[int, ...] = ()) -> Any:
    """The graph of a file; with the `shape` of its input, those of all it computes."""
    onnx = graph.package()
    model = onnx.load(path)
    if shape:
        held = {one.name for one in model.graph.initializer}
        [asked] = [one for one in model.graph.input if one.name not in held]
        for one, side in zip(asked.type.tensor_type.shape.dim, shape, strict=True):
            one.dim_value = side
        del model.graph.value_info[:]  # shapes of the batch that it was written with
        for one in model.graph.output:
            one.type.tensor_type.ClearField("shape")
        model = onnx.shape_inference.infer_shapes(model)
    return model.graph
