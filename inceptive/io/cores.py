"""What processor this is, and how many of its cores this process may use: in a container not all."""

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
CPUINFO = Path("/proc/cpuinfo")
FLAGS = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_bf16",
    "amx_int8", "asimd", "bf16", "i8mm",
)  # fmt: skip
"""Instructions that decide how fast a convolution can be; the last three are Arm's."""


def processor(cpuinfo: Path = CPUINFO) -> tuple[str, tuple[str, ...]]:
    """The processor's name and its FLAGS, from Linux's list; elsewhere the name alone."""
    lines = (line.partition(":") for line in _text(cpuinfo).splitlines())
    fields = {key.strip(): value.strip() for key, _, value in lines}
    flags = fields.get("flags", fields.get("Features", "")).split()
    name = fields.get("model name") or platform.processor() or platform.machine()
    return name, tuple(flag for flag in FLAGS if flag in flags)


def machine() -> str:
    """What decides how fast something runs here, in a line: processor, cores, instructions."""
    name, flags = processor()
    return f"{name}, {cores()} cores: {' '.join(flags) or 'instructions unknown'}"


def cores() -> int:
    """The cores that this process may use, at least 1: by its affinity and its cgroups' CPU quotas."""
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on; PYTHON_CPU_COUNT overrides it
        usable = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    return max(1, min([usable, *map(math.ceil, _quotas(CGROUPS, OWN_CGROUP))]))


def _quotas(root: Path, own: Path) -> Iterator[float]:
    """The CPUs' worth of time that each cgroup around this process grants; none where nothing says so.

    A container sees its own cgroup as `root`; on a host it is a folder inside, which `own` names.
    """
    for line in _text(own).splitlines() or ["0::/"]:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        group = top / path.lstrip("/")
        for folder in [group, *group.parents]:
            if controllers:  # version 1
                files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                numbers = " ".join(_text(folder / name) for name in files).split()
            else:
                numbers = _text(folder / "cpu.max").split()
            if len(numbers) == 2 and all(number.isdigit() for number in numbers):
                yield int(numbers[0]) / max(int(numbers[1]), 1)
            if folder == top:
                break


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
