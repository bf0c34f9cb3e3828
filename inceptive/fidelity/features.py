"""The net of the FID, and the features that it has of pictures."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from inceptive.data.prefetch import prefetch
from inceptive.engines.classifier import Classifier
from inceptive.engines.graph import onnx_graph
from inceptive.engines.openvino import endpoint
from inceptive.errors import InceptiveError
from inceptive.fidelity.pictures import Pictures
from inceptive.fidelity.resizing import SIDE, Resize, square
from inceptive.io.cores import cores
from inceptive.io.progress import Advance

NET = "inception_v3.fid"
LAYERS: dict[int, str] = {64: "pool_3a", 192: "pool_5a", 768: "mixed_6e", 2048: "pool"}
"""pytorch-fid's blocks by their number of features: the maps whose averages these are."""
Runner = Literal["auto", "torch", "openvino"]
BATCH, BATCH_PER_CORE = 32, 4
"""Pictures that torch computes at once, on all cores; and OpenVINO, on each of them."""


@dataclass(frozen=True)
class FeatureNet:
    """The net, cut after one layer.

    compute maps normalised images (N, 3, 299, 299) of float32 to features (N, F), N at most `batch`.
    parallel: several threads may call it at once, and should. last: the weights (K, F) of the layer that
    gives the logits. digest: differs for other weights, layers and resizings.
    """

    compute: Callable[[np.ndarray], np.ndarray]
    runner: str
    batch: int
    parallel: bool
    resize: Resize
    dims: int
    last: np.ndarray
    digest: str

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (N, K) of features (N, 2048), without the last layer's bias: see `score`."""
        logits: np.ndarray = features @ self.last.T
        return logits


def open_net(
    weights: str | Path | None, dims: int, resize: Resize, runner: Runner = "auto"
) -> FeatureNet:
    """Load the net with the weights in a file (None: the published ones), to be run by `runner`.

    auto: torch where there is a GPU or no OpenVINO. Raises InceptiveError if the weights do not fit.
    """
    classifier = Classifier.load(NET, weights)
    model, layer = classifier.model.eval().requires_grad_(False), LAYERS[dims]
    marks = f"{classifier.fingerprint} {layer} {resize}"
    last = model.get_submodule(model.net.last).weight.numpy()  # type: ignore[union-attr, operator]
    if runner == "auto":
        installed = find_spec("openvino") and find_spec("onnx")
        runner = "openvino" if installed and not torch.cuda.is_available() else "torch"
    digest = sha256(marks.encode()).hexdigest()
    if runner == "openvino":
        tensors = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
        graph = onnx_graph(model.net, tensors, classifier.preprocessing).SerializeToString()
        maps = endpoint(graph, layer, (BATCH_PER_CORE, 3, SIDE, SIDE), cores())

        def compute(images: np.ndarray) -> np.ndarray:
            filled = np.zeros((BATCH_PER_CORE, 3, SIDE, SIDE), np.float32)
            filled[: len(images)] = images
            means: np.ndarray = maps(filled)[: len(images)].mean(axis=(2, 3))
            return means

        return FeatureNet(compute, "OpenVINO", BATCH_PER_CORE, True, resize, dims, last, digest)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def compute_by_torch(images: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
        maps = model.endpoints(x, [layer])[layer]
        return maps.mean(dim=(2, 3)).cpu().numpy()

    name = f"torch on {device}"
    return FeatureNet(compute_by_torch, name, BATCH, False, resize, dims, last, digest)


@dataclass(frozen=True)
class Features:
    """Features (N, F) of float32 of the pictures that can be read; why the others cannot."""

    values: np.ndarray
    unreadable: tuple[str, ...] = ()


def extract(net: FeatureNet, pictures: Pictures, advance: Advance) -> Features:
    """The features of `pictures` in their order; those that cannot be decoded are left out.

    Decoded on all cores while the net computes; in memory are the features and a few batches.
    """
    values = np.empty((len(pictures), net.dims), np.float32)
    unreadable: list[str] = []
    count = done = 0

    def load(batch: range) -> tuple[np.ndarray, list[str]]:
        squares, errors = [], []
        for index in batch:
            try:
                squares.append(square(pictures.load(index), net.resize))
            except InceptiveError as error:
                errors.append(str(error))
        shape = (len(squares), 3, SIDE, SIDE)
        return np.stack(squares) if squares else np.empty(shape, np.float32), errors

    def features(loaded: tuple[np.ndarray, list[str]]) -> tuple[np.ndarray, list[str]]:
        images, errors = loaded
        return net.compute(images) if len(images) else values[:0], errors

    def results() -> Generator[tuple[np.ndarray, list[str]], None, None]:
        every = range(len(pictures))
        batches = (every[start : start + net.batch] for start in every[:: net.batch])
        if net.parallel:
            yield from prefetch(lambda batch: features(load(batch)), batches, cores())
        else:
            yield from map(features, prefetch(load, batches, cores()))

    with closing(results()) as each:
        for rows, errors in each:
            values[count : count + len(rows)] = rows
            count += len(rows)
            done += len(rows) + len(errors)
            unreadable += errors
            advance(done, len(pictures))
    return Features(values[:count], tuple(unreadable))
