"""What was measured on: processor, memory, accelerator, versions. Figures mean nothing without."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import inceptive
from inceptive.io.cores import cores, processor

PACKAGES = (
    "torch", "numpy", "pillow", "onnxruntime", "openvino", "nncf", "torchvision", "timm",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """The machine as it is now, for JSON; what cannot be found out is null.

    load is the number of processes that wanted a core in the last minute, before the measuring.
    """
    name, flags = processor()
    return {
        "processor": name,
        "flags": list(flags),
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
