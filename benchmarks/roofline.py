"""The machine's own limit: multiply-adds per second of large matrix products, in each precision.

A convolution is a matrix product in the end, by the same libraries; what a net reaches is told as a
share of this.
"""

import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.benchmark import Benchmark, Candidate, Peaks, Precision, run
from benchmarks.setting import Say, Setting
from inceptive.engines import openvino as open_vino
from inceptive.errors import InceptiveError

SLOW = 4
"""Times as long as f32 takes: no product of matrices of its own, but a plain loop."""


def roofline(setting: Setting, say: Say) -> tuple[dict[str, Any], Peaks]:
    """The benchmark of all that multiply matrices here, and the most that each precision reaches."""
    side = 256 if setting.quick else 8192 if setting.device == "cuda" else 2048
    kinds: dict[Precision, torch.dtype] = {
        "f32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8,
    }  # fmt: skip
    candidates = [
        Candidate(
            f"torch {name}",
            lambda kind=kind: _fast(side, kind, setting.device),  # type: ignore[misc]
            side**3,
            precision=name,
        )
        for name, kind in kinds.items()
    ]
    if setting.device == "cpu":
        candidates.append(
            Candidate(
                "OpenVINO int8", lambda: _openvino(side, setting.threads), side**3, precision="int8"
            )
        )
    found = run(
        Benchmark("roofline", f"products of matrices {side} x {side}", tuple(candidates)),
        setting,
        {},
        say,
    )
    peaks: Peaks = {}
    for row in found["rows"]:
        kind = row["precision"]
        peaks[kind] = max(peaks.get(kind, 0.0), row["macs_per_second"])
    found["peaks"] = peaks
    return found, peaks


def _fast(side: int, kind: torch.dtype, device: str) -> Callable[[], object]:
    """`_torch`. Raises InceptiveError where it is SLOW: that is not the machine's limit."""
    few = min(side, 512)
    seconds = {each: _seconds(_torch(few, each, device)) for each in (torch.float32, kind)}
    if seconds[kind] > SLOW * seconds[torch.float32]:
        raise InceptiveError("torch has no fast product of this precision for this processor")
    return _torch(side, kind, device)


def _torch(side: int, kind: torch.dtype, device: str) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    if kind is torch.int8:
        a, b = (torch.randint(-128, 128, (side, side), generator=generator, dtype=kind, device="cpu")
                .to(device) for _ in range(2))  # fmt: skip
        product = getattr(torch, "_int_mm", None)  # not yet public: int8 in, int32 out
        if product is None:
            raise InceptiveError("this torch multiplies no matrices of int8")
        # Of several layouts only this one is taken by every accelerator: columns in a row.
        b = b.t().contiguous().t()
        return lambda: product(a, b)
    x, y = (torch.randn(side, side, generator=generator).to(device, kind) for _ in range(2))
    return lambda: x @ y


def _seconds(call: Callable[[], object]) -> float:
    """The fastest of three, after one that prepares."""
    call()
    return min(timeit.repeat(call, number=1, repeat=3))


def _openvino(side: int, threads: int) -> Callable[[], object]:
    """A product of one quantised matrix that changes and one that does not, as in a quantised layer."""
    openvino = open_vino.package()
    ops = openvino.opset13
    rng = np.random.default_rng(0)
    low, high = np.float32(-1), np.float32(127 / 128)

    def quantised(node: Any) -> Any:
        return ops.fake_quantize(node, low, high, low, high, 256)

    given = ops.parameter([side, side], np.float32, name="a")
    fixed = ops.constant(rng.uniform(-1, 0.99, (side, side)).astype(np.float32))
    product = ops.matmul(quantised(given), quantised(fixed), False, True)
    # A sum over everything, so that writing the product as f32 is not what is measured.
    total = ops.reduce_max(product, ops.constant(np.array([0, 1])), False)
    model = openvino.Model([total], [given], "product")
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(model, "CPU", hints).create_infer_request()
    request.set_input_tensor(
        openvino.Tensor(rng.uniform(-1, 0.99, (side, side)).astype(np.float32))
    )
    return lambda: request.infer()
