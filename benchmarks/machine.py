"""What was measured on: processor, memory, accelerator, versions. Figures mean nothing without."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import inceptive
from inceptive.io.cores import cores

PACKAGES = (
    "torch", "numpy", "pillow", "onnxruntime", "openvino", "nncf", "torchvision", "timm",
)  # fmt: skip
FLAGS = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_bf16",
    "amx_int8", "asimd", "bf16", "i8mm",
)  # fmt: skip
"""Instructions that decide how fast a convolution can be; the last three are Arm's."""


def machine() -> dict[str, Any]:
    """The machine as it is now, for JSON; what cannot be found out is null.

    load is the number of processes that wanted a core in the last minute, before the measuring.
    """
    model, flags = _processor(Path("/proc/cpuinfo"))
    return {
        "processor": model,
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": _memory(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "accelerator": _accelerator(),
        "versions": {"inceptive": inceptive.__version__, "python": platform.python_version()}
        | {package: installed(package) for package in PACKAGES},
    }


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor(cpuinfo: Path) -> tuple[str, set[str]]:
    """The processor's name and its flags, of Linux's list; elsewhere the name alone."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = told.get("flags", told.get("Features", ""))
    return told.get("model name") or platform.machine(), set(flags.split())


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _accelerator() -> dict[str, Any] | None:
    if not torch.cuda.is_available():
        return None
    told = torch.cuda.get_device_properties(0)
    return {
        "name": told.name,
        "memory_bytes": told.total_memory,
        "capability": f"{told.major}.{told.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }
