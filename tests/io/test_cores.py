"""The cores that a process may use, against affinity set by the system and cgroups written by hand."""

import os
import subprocess
import sys

import pytest

from inceptive.io import cores as module
from inceptive.io.cores import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity cannot be set here")
def test_a_process_bound_to_one_core_uses_one():
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from inceptive.io.cores import cores; print(cores())"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert told.stdout == b"1\n"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/../outside\n", {"cpu.max": "10000 100000\n"}, 1),
        ("7:cpu,cpuacct:/job\n", {"cpu/job/cpu.cfs_quota_us": "400000\n",
                                  "cpu/job/cpu.cfs_period_us": "100000\n"}, 4),
        ("7:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("", {}, 64),
    ],
)  # fmt: skip
def test_a_quota_of_time_counts_as_cores(tmp_path, monkeypatch, own, files, expected):
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr(module, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(module, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(os, "process_cpu_count", lambda: 64, raising=False)
    assert cores() == expected
