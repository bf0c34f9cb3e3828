"""ONNX Runtime: running an ONNX file, and int8 quantisation of one."""

import copy
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from inceptive.engines.exported import ExportedEngine, Run
from inceptive.engines.graph import INPUT, NOVELTY, OUTPUT, PLAIN, ending_at
from inceptive.engines.metadata import KEY, Metadata
from inceptive.engines.protocol import Compute
from inceptive.errors import InceptiveError, reason, requires

CALIBRATED = 16
"""Calibration images that go through the net at once."""


def package() -> Any:
    """Import onnxruntime with its telemetry disabled. Raises InceptiveError if it is missing.

    Since 1.29 it sends the names and sizes of models from Linux too, and writes an id into the
    user's cache, unless this variable is set during import, as is done here.
    """
    name = "ORT_DISABLE_TELEMETRY"
    before = os.environ.get(name)
    os.environ.setdefault(name, "1")
    try:
        with requires("the engine onnx needs ONNX Runtime", "export"):
            import onnxruntime
    finally:
        if before is None:
            del os.environ[name]
    onnxruntime.disable_telemetry_events()
    return onnxruntime


class OnnxEngine(ExportedEngine):
    """An ONNX file, or its bytes, run by ONNX Runtime."""

    kind = "onnx"

    @staticmethod
    def load(path: Path, threads: int = 0) -> tuple[str | None, Run]:
        """Return the metadata in the file (JSON, or None), and what runs it. See `session`."""
        return _loaded(session(path, threads))

    @staticmethod
    def cut(path: Path, tensor: str, threads: int = 0) -> Compute | None:
        file = ending_at(path.read_bytes(), tensor)
        part = session(file, threads) if file else None
        return part and (lambda images: np.asarray(part.run(None, {INPUT: images})[0]))

    @classmethod
    def from_session(cls, path: Path, session: Any, metadata: Metadata | None = None) -> Self:
        """As `open`, from the file's session; metadata: replaces what the file says."""
        text, run = _loaded(session)
        return cls(path, metadata or Metadata.from_json(text, str(path)), run)


def _loaded(session: Any) -> tuple[str | None, Run]:
    names = {output.name for output in session.get_outputs()}
    outputs = [name for name in (OUTPUT, NOVELTY) if name in names]

    def run(images: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(values) for values in session.run(outputs, {INPUT: images})]

    return session.get_modelmeta().custom_metadata_map.get(KEY), run


def is_foreign(session: Any) -> bool:
    """Whether ONNX Runtime's `session` runs a file that `inceptive export` did not write."""
    return KEY not in session.get_modelmeta().custom_metadata_map


def session(file: Path | bytes, threads: int = 0) -> Any:
    """Make an onnxruntime.InferenceSession on `threads` of the CPU (0: as many as it takes).

    Raises InceptiveError without ONNX Runtime, or for a file that it does not accept.
    """
    runtime = package()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors: its warnings are about its own optimisations
    options.intra_op_num_threads = threads
    try:
        return runtime.InferenceSession(
            file if isinstance(file, bytes) else str(file),
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:  # it has an exception class of its own for each kind of damage
        where = "the graph" if isinstance(file, bytes) else file
        raise InceptiveError(f"{where}: ONNX Runtime does not take it ({reason(error)})") from None


def quantised(graph: Any, images: np.ndarray, plain: Iterable[str] = ()) -> bytes:
    """Quantise the onnx.ModelProto `graph` to per-channel int8 weights and uint8 activations, as a file.

    The range of each activation is the mean over batches of `images` (N, C, S, S) of uint8. The
    nodes named in `plain` stay in float32, and so do those of `graph.PLAIN`. Weights have 7 bits: sums
    of those of 8 saturate on processors with AVX2 but no VNNI, and answers would depend on the machine.
    """
    package()
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[np.ndarray] = iter(
                np.array_split(images, -(-len(images) // CALIBRATED))
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.setLevel(logging.ERROR)  # it advises on the root logger, at every call
    try:
        with tempfile.TemporaryDirectory(prefix="inceptive-") as folder:
            file = Path(folder) / "int8.onnx"
            quantization.quantize_static(
                copy.deepcopy(graph),  # it moves the weights of what it is given into a file
                file,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=[*PLAIN, *plain],
                calibrate_method=quantization.CalibrationMethod.MinMax,
                extra_options={"CalibMovingAverage": True},
            )
            return file.read_bytes()
    except Exception as error:  # a full disk, or what it thinks of the graph
        raise InceptiveError(f"ONNX Runtime cannot make it int8 ({reason(error)})") from None
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers  # its first advice gives the root logger one
