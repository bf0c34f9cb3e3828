"""Third-party ONNX files as engines; what they do not specify is assumed to be as for ImageNet."""

import ast
import contextlib
import json
import re
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.engines import graph
from inceptive.engines.protocol import Engine, Size
from inceptive.errors import InceptiveError, reason
from inceptive.images import Preprocessing
from inceptive.weights.catalogue import numbered_labels

USUAL, CROP = 224, 224 / 256
"""Side of the images where the file leaves it open, and the share of the shorter side that is seen."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class ForeignEngine(Engine):
    """channels_last: it takes (N, H, W, C); batch: the only batch size it accepts, None for any;
    softmaxed: it outputs probabilities."""

    path: Path
    session: Any
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    channels_last: bool
    batch: int | None
    softmaxed: bool = False
    name = "onnx"

    @property
    def fingerprint(self) -> str:
        decides = repr((self.labels, self.preprocessing, self.softmaxed))
        return sha256(decides.encode() + self.path.read_bytes()).hexdigest()

    def size(self) -> Size:
        """Numbers in the tensors of the file, including unfolded running statistics; multiply-adds in
        convolutions and matrix products, 0 where shapes are unknown."""
        tensors = _graph(self.path).initializer
        params = sum(prod(tensor.dims) for tensor in tensors if tensor.data_type == 1)
        return Size(params, self._macs(), self.path.stat().st_size)

    def _macs(self) -> int:
        channels, side = self.preprocessing.channels, self.preprocessing.size
        shape = (1, side, side, channels) if self.channels_last else (1, channels, side, side)
        graph = _graph(self.path, shape)
        shapes = {
            value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            for value in (*graph.value_info, *graph.output, *graph.input)
        } | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        total = 0
        for node in graph.node:
            if node.op_type not in ("Conv", "Gemm", "MatMul"):
                continue
            left, right = (shapes.get(name, ()) for name in node.input[:2])
            outputs = prod(shapes.get(node.output[0], (0,)))
            if node.op_type == "Conv":
                total += outputs * prod(right[1:])
            elif left:
                total += outputs * left[-1]
        return total

    def logits(self, images: np.ndarray) -> np.ndarray:
        outputs = self.outputs(images)
        return np.log(np.maximum(outputs, 1e-12)) if self.softmaxed else outputs

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """The raw outputs of the file for preprocessed images: (N, K) of float32."""
        x = self.preprocessing.normalise(images)
        if self.channels_last:
            x = x.transpose(0, 2, 3, 1)
        name = self.session.get_inputs()[0].name
        step = self.batch or len(x)
        outputs = []
        for at in range(0, len(x), step):
            part = np.ascontiguousarray(x[at : at + step])
            spare = step - len(part)  # a file of a fixed batch takes no smaller one
            if self.batch and spare:
                part = np.concatenate([part, np.repeat(part[-1:], spare, axis=0)])
            outputs.append(self.session.run(None, {name: part})[0][: step - spare])
        return np.concatenate(outputs).reshape(len(x), -1).astype(np.float32, copy=False)


def open_foreign(path: Path, session: Any, classes: tuple[str, ...] = ()) -> ForeignEngine:
    """Open the net of the file at `path`, whose session this is.

    Its classes are those that the file's metadata name, else `classes` in order, else ImageNet's 1,000.
    Images are preprocessed as for torchvision's nets.
    Raises InceptiveError, naming the file, if it is not an image classifier.
    """
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
    preprocessing = Preprocessing(size, crop=CROP, mean=MEAN, std=STD)
    if channels == 1:
        preprocessing = Preprocessing(size, 1, CROP, mean=(0.5,), std=(0.5,))
    fixed = batch if isinstance(batch, int) else None
    engine = ForeignEngine(path, session, (), preprocessing, channels_last, fixed)
    noise = np.random.default_rng(0).integers(0, 256, (4, channels, size, size), dtype=np.uint8)
    try:
        outputs = engine.outputs(noise)
    except Exception as error:  # ONNX Runtime has a class for each kind
        raise InceptiveError(
            f"{path}: does not classify images of {size} pixels ({reason(error)})"
        ) from None
    engine.softmaxed = bool((outputs >= 0).all() and np.allclose(outputs.sum(1), 1, atol=1e-3))
    count = outputs.shape[1]
    if names := _names(session, count):
        engine.labels = names
    elif count == len(classes):
        engine.labels = classes
    elif classes and count != 1000:
        raise InceptiveError(f"{path}: answers with {count} classes, the data has {len(classes)}")
    else:
        engine.labels = numbered_labels(count)
    return engine


def _names(session: Any, count: int) -> tuple[str, ...]:
    """The names of its `count` classes that the file holds, under whatever key of its metadata.

    Literals and JSON: a list, or numbers with names, or names with numbers ({0: 'cat', 1: 'dog'}, as
    Ultralytics writes them, or id2label or class_to_idx), also inside a configuration; or plain text
    with commas or in lines.
    """
    metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    for key, text in metadata.items():
        if names := _read_names(key, _literal(text), count):
            return names
    return ()


NAMING = re.compile(r"class|label|categor|idx|^names?$", re.IGNORECASE)
"""Keys under which classes are named; not `input_names` and the like."""


def _read_names(key: str, value: Any, count: int) -> tuple[str, ...]:
    if isinstance(value, dict) and not NAMING.search(key):
        inner = (_read_names(str(k), v, count) for k, v in value.items() if NAMING.search(str(k)))
        return next(filter(None, inner), ())
    if not NAMING.search(key):
        return ()
    if isinstance(value, str):
        value = [name.strip() for name in re.split(r"[\n,;]", value.strip())]
    if isinstance(value, dict):
        if all(str(number).isdigit() for number in value.values()):
            value = {number: name for name, number in value.items()}
        if sorted(str(k) for k in value) != sorted(map(str, range(count))):
            return ()
        value = [value[number] for number in sorted(value, key=int)]
    if (
        not isinstance(value, list | tuple)
        or len(value) != count
        or len(set(map(str, value))) != count
    ):
        return ()
    return tuple(value) if all(isinstance(name, str) and name for name in value) else ()


def _literal(text: str) -> Any:
    """What a text of Python or JSON stands for; the text itself if it is neither."""
    for read in (ast.literal_eval, json.loads):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return read(text)
    return text


def _graph(path: Path, shape: tuple[int, ...] = ()) -> Any:
    """The graph of a file; with the `shape` of its input, those of all it computes."""
    onnx = graph.package()
    model = onnx.load(path)
    if shape:
        tensors = {tensor.name for tensor in model.graph.initializer}
        [images] = [value for value in model.graph.input if value.name not in tensors]
        for dimension, side in zip(images.type.tensor_type.shape.dim, shape, strict=True):
            dimension.dim_value = side
        del model.graph.value_info[:]  # shapes of the batch that it was written with
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
        model = onnx.shape_inference.infer_shapes(model)
    return model.graph
