"""`Engine`, the base class of torch, ONNX Runtime, OpenVINO, early-exit and peer engines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from inceptive.arch.account import Account, account
from inceptive.arch.spec import Net
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.metrics import Threshold, softmax

if TYPE_CHECKING:
    from inceptive.engines.early_exit import EarlyExit

Compute = Callable[[np.ndarray], np.ndarray]
"""Preprocessed images (N, C, S, S) of uint8 -> an array of float32 with a row for each."""
Stage = Callable[[Any], tuple[Any, np.ndarray]]
"""Maps of n images (images, for the first) -> maps for the next stage, logits (n, K) of its end."""


@dataclass(frozen=True)
class Size:
    """Parameters, multiply-adds of one image, and bytes of the files (None if no file is known)."""

    params: int
    macs: int
    bytes: int | None


class Engine:
    """A model ready to answer, whatever runs it: the interface of every engine.

    name: what runs the net: torch, onnx:f32, openvino:int8, torchvision:resnet18. labels[k] names logit
    k. preprocessing: how a picture becomes the net's input. temperature: divides the logits before
    softmax (see metrics). info: what is recorded with the weights: training, recipe, metrics, data; {}
    if nothing.
    """

    name: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float = 1.0
    info: Mapping[str, Any] = MappingProxyType({})

    @property
    def data(self) -> dict[str, Any]:
        """The images it was trained on: name, licence, shares; {} if unknown."""
        return dict(self.info.get("data", {}))

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """Confidence thresholds that reach given accuracies; () if unknown."""
        return ()

    @property
    def early_exit(self) -> "EarlyExit | None":
        """When its heads may answer early, if chosen and supported by this engine."""
        return None

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all that determines its answers: weights, net, preprocessing."""
        raise NotImplementedError

    @property
    def net(self) -> Net | None:
        """The value of the net, with its heads; None if not one of ours."""
        return None

    def account(self) -> Account | None:
        """Shapes, parameters and multiply-adds of the net without heads; None if not one of ours."""
        return account(self.net.without_aux(), self.preprocessing.size) if self.net else None

    def size(self) -> Size:
        """Its size and cost."""
        raise NotImplementedError

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Map preprocessed images (N, C, S, S) of uint8 to logits (N, K) of float32."""
        raise NotImplementedError

    def scored(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return `logits`, and how unlike all classes each image is (N,), above 0 if like none (see
        `novelty.Novelty`); None if unknown to this engine."""
        return self.logits(images), None

    def probs(self, images: np.ndarray) -> np.ndarray:
        """Map preprocessed images (N, C, S, S) of uint8 to calibrated probabilities (N, K)."""
        return softmax(self.logits(images), self.temperature)

    def answers(self, images: np.ndarray) -> list[tuple[np.ndarray, bool | None]]:
        """For each image, its `probs` (K,), and whether it is like no class (None: unknown)."""
        logits, scores = self.scored(images)
        novel = [None] * len(logits) if scores is None else (scores > 0).tolist()
        return list(zip(softmax(logits, self.temperature), novel, strict=True))

    def stages(self, heads: Sequence[str]) -> list[Stage]:
        """The net cut after the maps that each of `heads` reads: see `early_exit.answer`.

        Raises InceptiveError if this engine cannot stop at a head.
        """
        raise InceptiveError(f"{self.name}: only torch and OpenVINO can stop at a head")

    def computing(self, layer: str) -> Compute:
        """What computes the output of `layer`, a name of `account.shapes`: maps (N, C, H, W) or vectors
        (N, F). Raises InceptiveError if this engine cannot.
        """
        raise InceptiveError(f"{self.name}: features are taken from inceptive's own nets")

    def exit_shares(self) -> dict[str, float]:
        """Share of the images since the last call that each end answered, "" the whole net; {} without
        exits."""
        return {}
