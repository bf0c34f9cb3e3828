"""OpenVINO: conversion from ONNX, running its files, and int8 quantisation with NNCF."""

import contextlib
import io
import logging
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import numpy as np

from inceptive.engines.early_exit import EarlyExit
from inceptive.engines.exported import ExportedEngine, Run
from inceptive.engines.graph import NORMALISE, NOVELTY, OUTPUT, PLAIN, maps_of
from inceptive.engines.metadata import KEY, Metadata
from inceptive.engines.protocol import Compute, Stage
from inceptive.errors import InceptiveError, reason, requires

RESTORED, RANKED = 30, 100
"""Layers given back to float32 at most before int8 is given up; images that tell which cost most."""


def package() -> Any:
    """Import openvino with its telemetry disabled.

    Its telemetry package, which OpenVINO and NNCF do without if it is missing, would write an id into
    the home folder on import. There is no switch for it, and it is also imported late, so it stays
    hidden unless already imported. Raises InceptiveError without OpenVINO.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    with requires("the engine openvino needs OpenVINO", "export"):
        import openvino
    return openvino


def has_bf16() -> bool:
    """Whether this machine's CPU computes in bf16 (OpenVINO supports it only then)."""
    return "BF16" in package().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def from_onnx(graph: bytes) -> Any:
    """The openvino.Model of an ONNX file in memory."""
    return package().Core().read_model(graph)


def files(model: Any, metadata: Metadata) -> tuple[bytes, bytes]:
    """The .xml and the .bin of `model`, with `metadata` inside the first."""
    openvino = package()
    model.set_rt_info(metadata.to_json(), KEY)
    try:
        with tempfile.TemporaryDirectory(prefix="inceptive-") as folder:
            file = Path(folder) / "model.xml"
            openvino.save_model(model, file, compress_to_fp16=False)
            return file.read_bytes(), file.with_suffix(".bin").read_bytes()
    except (OSError, RuntimeError) as error:
        raise InceptiveError(f"OpenVINO cannot write its files ({reason(error)})") from None


class OpenVinoEngine(ExportedEngine):
    """An OpenVINO file and the weights next to it."""

    kind = "openvino"

    @staticmethod
    def load(path: Path, threads: int = 0) -> tuple[str | None, Run]:
        """Return the metadata in the file (JSON, or None), and what runs it.

        Heads in the file are not run. Raises InceptiveError without OpenVINO, or for a file that it
        does not accept.
        """
        model = _read(path)
        text = _metadata(model)
        names = {name for output in model.outputs for name in output.get_names()}
        outputs = [name for name in (OUTPUT, NOVELTY) if name in names]
        return text, _compiled(path, model, _hint(text, path), "", outputs, threads)

    @staticmethod
    def cut(path: Path, tensor: str, threads: int = 0) -> Compute | None:
        model = _read(path)
        if all(tensor not in output.get_names() for output in model.outputs):
            try:
                model.add_outputs(tensor)
            except RuntimeError:
                return None
        compute = _compiled(path, model, _hint(_metadata(model), path), "", [tensor], threads)
        return lambda images: compute(images)[0]

    @property
    def early_exit(self) -> EarlyExit | None:
        return self.metadata.early_exit

    def stages(self, heads: Sequence[str]) -> list[Stage]:
        model = _read(self.path)
        hint = _hint(_metadata(model), self.path)
        stages: list[Stage] = []
        for after, head in zip(["", *heads], [*heads, ""], strict=True):
            ends = [maps_of(head), head] if head else [OUTPUT, OUTPUT]
            start = maps_of(after) if after else ""
            stages.append(cast(Stage, _compiled(self.path, model.clone(), hint, start, ends)))
        return stages


def _read(path: Path) -> Any:
    if not path.with_suffix(".bin").is_file():
        raise InceptiveError(
            f"{path}: its weights {path.with_suffix('.bin').name} are not beside it"
        )
    core = package().Core()
    try:
        # Of what is no XML of its own, OpenVINO asks its readers of other formats, and those write what
        # they think of it, with its bytes, to standard error themselves.
        if not path.read_text(encoding="utf-8").lstrip().startswith(("<?xml", "<net")):
            raise RuntimeError("it does not begin as its XML does")
        return core.read_model(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InceptiveError(f"{path}: is damaged ({reason(error)})") from None
    except RuntimeError as error:
        raise InceptiveError(f"{path}: OpenVINO does not take it ({reason(error)})") from None


def _metadata(model: Any) -> str | None:
    """The metadata in the file, as JSON."""
    return model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else None


def _compiled(
    path: Path, model: Any, hint: str, start: str, ends: list[str], threads: int = 0
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """What computes the outputs `ends` of the file, from its input or from the output `start` on.

    hint says in which numbers. `model`, as it was read, is changed.
    """
    openvino = package()
    try:
        inputs = model.get_parameters()
        if start:
            source = model.output(start).get_node().input_value(0)
            while source.get_node().get_type_name() == "Identity":  # ONNX's name for an output
                source = source.get_node().input_value(0)
            maps = openvino.op.Parameter(source.get_element_type(), source.get_partial_shape())
            for target in source.get_target_inputs():
                target.replace_source_output(maps.output(0))
            inputs = [maps]
        outputs = [model.output(name).get_node() for name in dict.fromkeys(ends)]
        part = openvino.Model(outputs, inputs, "part")
        options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        compiled = openvino.Core().compile_model(part, "CPU", options)
        request = compiled.create_infer_request()
    except RuntimeError as error:
        raise InceptiveError(f"{path}: OpenVINO does not take it ({reason(error)})") from None
    one_at_a_time = threading.Lock()
    index = {name: k for k, name in enumerate(dict.fromkeys(ends))}

    def compute(values: np.ndarray) -> list[np.ndarray]:
        with one_at_a_time:
            results = request.infer([np.ascontiguousarray(values)], share_inputs=True)
            arrays = [np.array(results[k], dtype=np.float32) for k in range(len(index))]
        return [arrays[index[name]] for name in ends]

    return compute


def endpoint(
    graph: bytes, end: str, shape: tuple[int, int, int, int], streams: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what maps normalised images of `shape` (N, C, S, S) to the output of the node `end` of an
    ONNX file, in float32; `streams` threads can call it at once, each of which is given one core.

    Raises InceptiveError without OpenVINO.
    """
    openvino = package()
    model = from_onnx(graph)
    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    images = openvino.op.Parameter(openvino.Type.f32, openvino.PartialShape(shape))
    for target in nodes[NORMALISE[-1]].output(0).get_target_inputs():
        target.replace_source_output(images.output(0))
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": str(streams),
    }
    part = openvino.Model([nodes[end]], [images], "part")
    compiled = openvino.Core().compile_model(part, "CPU", options)
    requests: SimpleQueue[Any] = SimpleQueue()
    for _ in range(streams):
        requests.put(compiled.create_infer_request())

    def compute(values: np.ndarray) -> np.ndarray:
        request = requests.get()
        try:
            return np.array(request.infer([values], share_inputs=True)[0], np.float32)
        finally:
            requests.put(request)

    return compute


def _hint(text: str | None, path: Path) -> str:
    """In which numbers to compute: OpenVINO's own choice would be bf16 wherever the CPU has it.

    A bf16 file holds float32, so a CPU without bf16 runs it too. int8 layers are int8 either way;
    what stands between them is float32 (with bf16 some int8 nets of one channel do not compile).
    """
    precision = Metadata.from_json(text, str(path)).precision
    return "bf16" if precision == "bf16" and has_bf16() else "f32"


def quantised(
    model: Any,
    calibration: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    max_drop: float,
    say: Callable[[str], None],
) -> Any:
    """Quantise `model` to int8, with ranges from `calibration` (M, C, S, S) of uint8.

    If top-1 on `images` (N, C, S, S) with `labels` (N,) drops by more than `max_drop` points, the
    layers that cost most are restored to float32 one by one (NNCF's accuracy control), at most
    RESTORED of them; say is called when that begins. Raises InceptiveError without NNCF.
    """
    package()
    with requires("int8 for OpenVINO needs NNCF", "export"):
        import nncf

    top1s: list[float] = []  # top-1 in f32, in int8, and then with layers given back

    def right(compiled: Any, samples: Any) -> tuple[float, list[float]]:
        hits = [float(compiled(image)[OUTPUT].argmax() == label) for image, label in samples]
        top1 = sum(hits) / len(hits)
        if len(hits) == len(labels):
            top1s.append(top1)
            lost = 100 * (top1s[0] - top1)
            if len(top1s) == 2 and lost > max_drop:
                say(f"int8 loses {lost:.2f} points; looking for the layers that cost most")
        return top1, hits

    pairs = [(image[None], int(label)) for image, label in zip(images, labels, strict=True)]
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it draws progress bars on standard output
            nncf.set_log_level(logging.ERROR)
            return nncf.quantize_with_accuracy_control(
                model,
                calibration_dataset=nncf.Dataset([image[None] for image in calibration]),
                validation_dataset=nncf.Dataset(pairs, lambda pair: pair[0]),
                validation_fn=right,
                max_drop=max_drop / 100,
                drop_type=nncf.DropType.ABSOLUTE,
                subset_size=len(calibration),
                ignored_scope=nncf.IgnoredScope(names=list(PLAIN), validate=False),
                advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                    max_num_iterations=RESTORED, ranking_subset_size=RANKED
                ),
            )
    except Exception as error:  # it has an exception class of its own for each kind of trouble
        raise InceptiveError(f"NNCF cannot make it int8 ({reason(error)})") from None
