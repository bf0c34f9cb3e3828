"""ONNX Runtime: running an ONNX file, and making one of int8 arithmetic."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.engines.graph import INPUT, NORMALISE, OUTPUT
from inceptive.engines.metadata import KEY
from inceptive.errors import InceptiveError

Run = Callable[[np.ndarray], np.ndarray]
CALIBRATED = 16
"""Calibration images that go through the net at once."""


def package() -> Any:
    """The package onnxruntime, kept from reporting to its makers.

    Since 1.29 it sends the names and sizes of models from Linux too, and writes an id into the
    user's cache, unless this is set before it is imported. Raises InceptiveError if it is missing.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise InceptiveError(
            "the engine onnx needs ONNX Runtime: pip install 'inceptive[export]'"
        ) from None
    return onnxruntime


def opened(file: Path | bytes, threads: int = 0) -> tuple[str | None, Run]:
    """What a file, on disk or in memory, says of itself (JSON; None: nothing), and what runs it on
    `threads` (0: as many as ONNX Runtime takes).

    The latter takes images (N, C, S, S) of uint8 to logits (N, K) of float32, from any thread. Raises
    InceptiveError as `session` does.
    """
    running = session(file, threads)

    def run(images: np.ndarray) -> np.ndarray:
        [logits] = running.run([OUTPUT], {INPUT: images})
        return np.asarray(logits)

    return running.get_modelmeta().custom_metadata_map.get(KEY), run


def session(file: Path | bytes, threads: int = 0) -> Any:
    """onnxruntime.InferenceSession on the CPU, on `threads` of it (0: as many as it takes).

    Raises InceptiveError without ONNX Runtime, or for a file that it does not take.
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
        raise InceptiveError(f"{where}: ONNX Runtime does not take it ({_line(error)})") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def quantised(graph: Any, images: np.ndarray, plain: Iterable[str] = ()) -> bytes:
    """The onnx.ModelProto `graph` with int8 weights, by channel, and uint8 activations, as a file.

    The range of each activation is the mean over batches of `images` (N, C, S, S) of uint8. The
    nodes named in `plain` stay in float32, and so does the normalisation.
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
    level = root.level
    root.setLevel(logging.ERROR)  # it advises on the root logger, at every call
    try:
        with tempfile.TemporaryDirectory(prefix="inceptive-") as folder:
            there = Path(folder) / "int8.onnx"
            quantization.quantize_static(
                graph,
                there,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=[*NORMALISE, *plain],
                calibrate_method=quantization.CalibrationMethod.MinMax,
                extra_options={"CalibMovingAverage": True},
            )
            return there.read_bytes()
    except Exception as error:  # a full disk, or what it thinks of the graph
        raise InceptiveError(f"ONNX Runtime cannot make it int8 ({_line(error)})") from None
    finally:
        root.setLevel(level)
