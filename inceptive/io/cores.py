"""How many cores this process may use, which in a container is fewer than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def cores() -> int:
    """The cores that this process may use, 1 or more: by its affinity and by its cgroups' CPU quotas."""
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
