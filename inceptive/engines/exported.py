"""An exported file as an engine: the common part of ONNX Runtime's and OpenVINO's."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from inceptive.arch.account import account
from inceptive.arch.spec import Net
from inceptive.engines import records
from inceptive.engines.graph import tensor_of
from inceptive.engines.metadata import Metadata
from inceptive.engines.protocol import Compute, Engine, Size
from inceptive.errors import InceptiveError
from inceptive.metrics import Threshold

Run = Callable[[np.ndarray], list[np.ndarray]]
"""Images (N, C, S, S) of uint8 -> logits (N, K) of float32 and, where the file has them, the scores (N,)
of `Engine.scored`, from any thread."""


class ExportedEngine(Engine):
    """A file that `inceptive export` wrote, ready to answer without torch."""

    kind: ClassVar[str]
    threads = 0

    def __init__(self, path: Path, metadata: Metadata, run: Run):
        self.path, self.metadata, self._run = path, metadata, run
        self.name = f"{self.kind}:{metadata.precision}"
        self.labels, self.preprocessing = metadata.labels, metadata.preprocessing
        self.temperature = metadata.temperature
        self.info = {"data": metadata.data}

    @classmethod
    def open(cls, path: Path, threads: int = 0) -> Self:
        """Open for inference on `threads` of the CPU (0: as many as the engine takes).

        Raises InceptiveError, naming the file, if it is not one of ours, is damaged or cannot be run.
        """
        if not path.is_file():
            raise InceptiveError(f"{path}: there is no such file")
        text, run = cls.load(path, threads)
        engine = cls(path, Metadata.from_json(text, str(path)), run)
        engine.threads = threads
        return engine

    @staticmethod
    def load(path: Path, threads: int = 0) -> tuple[str | None, Run]:
        """Return the metadata in the file (JSON, or None), and what runs it."""
        raise NotImplementedError

    @staticmethod
    def cut(path: Path, tensor: str, threads: int = 0) -> Compute | None:
        """Return what computes `tensor` of the file, and no more; None if it is not in there."""
        raise NotImplementedError

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        return self.metadata.thresholds

    @property
    def fingerprint(self) -> str:
        digest = sha256()
        for path in records.files(self.path):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    @property
    def net(self) -> Net:
        """The value of the net in the file, with its heads; the file may lack their weights."""
        return self.metadata.net

    def size(self) -> Size:
        net = account(self.net.without_aux(), self.preprocessing.size)
        return Size(
            net.params, net.macs, sum(path.stat().st_size for path in records.files(self.path))
        )

    def computing(self, layer: str) -> Compute:
        compute = self.cut(self.path, tensor_of(self.metadata.net, layer), self.threads)
        if compute is None:
            raise InceptiveError(
                f"{self.path}: does not give {layer} (a quantiser merged it, or the head was not "
                "exported); the engine torch does"
            )
        return compute

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Map preprocessed images (N, C, S, S) of uint8 to logits (N, K) of float32.

        Raises InceptiveError for images of another shape or type.
        """
        return self.scored(images)[0]

    def scored(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """As `Engine.scored`, from the file's own outputs. Raises InceptiveError as `logits` does."""
        shape = (self.preprocessing.channels, self.preprocessing.size, self.preprocessing.size)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
            raise InceptiveError(
                f"{self.path} takes images (N, {', '.join(map(str, shape))}) of uint8, "
                f"not {images.shape} of {images.dtype}"
            )
        logits, *scores = self._run(images)
        return logits, scores[0] if scores else None
