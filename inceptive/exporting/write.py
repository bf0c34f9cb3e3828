"""Writing of a classifier as an exported file that is checked, timed and recorded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.engines import onnx as onnx_runtime
from inceptive.engines import openvino as open_vino
from inceptive.engines import records
from inceptive.engines.classifier import Classifier
from inceptive.engines.graph import onnx_graph, with_metadata
from inceptive.engines.graph import package as graph_package
from inceptive.engines.metadata import KEY, Metadata
from inceptive.engines.onnx import OnnxEngine
from inceptive.engines.open import PRECISIONS, file_name, open_exported
from inceptive.engines.records import ENGINES, Record
from inceptive.errors import InceptiveError, InvalidArgument, reason
from inceptive.exporting.calibration import ExportData
from inceptive.exporting.check import compare_outputs, speed
from inceptive.io.atomic import write_bytes
from inceptive.io.cores import machine
from inceptive.io.progress import ON_STANDARD_ERROR

Say = Callable[[str], None]
WEB = "web"
"""What a site is called where engines are named: its ONNX file runs in browsers."""
NO_IMAGES = "int8 is calibrated on images: name a set of them (calibrate)"


def check_runnable(to: str, precision: str) -> None:
    """Raise InceptiveError, before anything is read, for what cannot be written or run here."""
    if to not in (*ENGINES, WEB) or precision not in PRECISIONS:
        raise InvalidArgument(
            f"no engine is called {to}:{precision}; there are: {', '.join((*ENGINES, WEB))}, "
            f"in {', '.join(PRECISIONS)} (bf16 for openvino alone)"
        )
    graph_package()
    {"onnx": onnx_runtime, "openvino": open_vino, WEB: onnx_runtime}[to].package()
    if to == WEB and precision == "bf16":
        raise InceptiveError("browsers have no bf16 arithmetic; use f32 or int8")
    if to == "onnx" and precision == "bf16":
        raise InceptiveError(
            "ONNX Runtime has no bf16 convolutions for CPUs; use openvino:bf16, or int8"
        )
    if to == "openvino" and precision == "bf16" and not open_vino.has_bf16():
        raise InceptiveError("this CPU has no bf16 arithmetic; use f32 or int8")


def write_export(
    classifier: Classifier,
    folder: Path,
    to: str,
    precision: str,
    data: ExportData,
    max_drop: float = 0.5,
    weights: str = "",
    say: Say = ON_STANDARD_ERROR.say,
) -> Record:
    """Write `classifier` into `folder` for the engine `to` (onnx or openvino), and its record.

    web: the ONNX file that browsers run.

    weights is the sha256 of its `model.safetensors`. The file is kept whether or not it passes its
    check; until then it has no record. Raises InceptiveError if an optional package is missing, the
    disk write fails, or int8 lacks calibration images.
    """
    if precision == "int8" and not len(data.calibration):
        raise InceptiveError(NO_IMAGES)
    metadata = _metadata(classifier, to, precision, weights)
    path = folder / file_name("onnx" if to == WEB else to, precision)
    tensors = {key: value.cpu().numpy() for key, value in classifier.model.state_dict().items()}
    heads = [each.head for each in metadata.early_exit.exits] if metadata.early_exit else []
    graph = onnx_graph(
        classifier.model.net,
        tensors,
        classifier.preprocessing,
        heads=heads,
        cuts=heads,
        novelty=classifier.novelty,
    )
    records.drop(folder, path.name)
    if to in ("onnx", WEB):
        content = graph.SerializeToString()
        if precision == "int8":
            say(f"calibrating on {len(data.calibration)} images")
            content = _onnx_int8(classifier, graph, metadata, data, max_drop, say)
        write_bytes(path, with_metadata(content, {KEY: metadata.to_json()}))
    else:
        model = open_vino.from_onnx(graph.SerializeToString())
        if precision == "int8":
            say(f"calibrating on {len(data.calibration)} images: may take minutes")
            labels = _labels(classifier, data)
            model = open_vino.quantised(model, data.calibration, data.images, labels, max_drop, say)
        _write_pair(path, *open_vino.files(model, metadata))
    exported = open_exported(path)
    check = compare_outputs(classifier, exported, data, precision, max_drop)
    home, early_exit = classifier.path, metadata.early_exit is not None
    record = Record(
        file=path.name,
        engine=to,
        precision=precision,
        weights=weights,
        config=records.deployed(home.parent, early_exit) if home else "",
        passed=check.passed,
        check=check.to_dict(),
        speed=speed(classifier, exported, data.images),
        machine=machine(),
    )
    records.keep(folder, record)
    return record


def _metadata(classifier: Classifier, to: str, precision: str, weights: str) -> Metadata:
    info, net, trained_on = classifier.info, classifier.model.net, classifier.data
    early_exit = classifier.early_exit if to == "openvino" else None
    licence = trained_on.get("licence") or info.get("published", {}).get("licence") or ""
    return Metadata(
        net=net if early_exit else net.without_aux(),
        labels=classifier.labels,
        preprocessing=classifier.preprocessing,
        temperature=classifier.temperature,
        precision=precision,
        weights=weights,
        licence=licence,
        data={key: trained_on[key] for key in ("name", "shares", "pictures") if key in trained_on},
        early_exit=early_exit,
        thresholds=classifier.thresholds,
    )


def _write_pair(path: Path, xml: bytes, binary: bytes) -> None:
    """The weights first: where the .xml is, its own .bin is."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InceptiveError(f"{path}: cannot be written ({reason(error)})") from None
    write_bytes(path.with_suffix(".bin"), binary)
    write_bytes(path, xml)


def _labels(classifier: Classifier, data: ExportData) -> np.ndarray:
    """The labels; without any, torch's answers stand for them."""
    if data.labels is not None:
        return data.labels
    return np.asarray(classifier.logits(data.images).argmax(axis=1))


def _onnx_int8(
    classifier: Classifier,
    graph: Any,
    metadata: Metadata,
    data: ExportData,
    max_drop: float,
    say: Say,
) -> bytes:
    """int8 everywhere; if that costs too much, with the first and last layers in float32."""
    layers = [node.name for node in graph.graph.node if node.op_type in ("Conv", "Gemm")]
    candidates: list[tuple[float, bytes]] = []
    for plain in ([], [*layers[:3], layers[-1]]):
        content = onnx_runtime.quantised(graph, data.calibration, plain)
        exported = OnnxEngine.from_session(
            Path("model.int8.onnx"), onnx_runtime.session(content), metadata
        )
        check = compare_outputs(classifier, exported, data, "int8", max_drop)
        candidates.append((check.drop, content))
        if check.passed:
            break
        say(
            f"int8 costs {check.drop:.2f} points"
            + ("" if plain else ": first and last layers in f32")
        )
    return min(candidates)[1]
