"""Training, exporting and predicting speak to nobody."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import picture

import inceptive

pytestmark = pytest.mark.faults

RUN = """
import socket, sys
from inceptive.cli import main

def guard(event, given):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        with open(sys.argv_told, "a") as file:
            file.write(f"{event} {given[-1]!r}\\n")

sys.argv_told = sys.argv.pop(1)
sys.addaudithook(guard)
main()
"""


def commands(folder, data, recipe):
    model, image = folder / "model", folder / "one.png"
    return [
        ("train", data, "--recipe", recipe, "--out", model, "--set", "epochs=1"),
        ("export", model, "--to", "onnx"),
        ("export", model, "--to", "openvino", "--precision", "int8", "--max-drop", "100"),
        *(("predict", model, image, "--engine", e) for e in ("torch", "onnx", "openvino:int8")),
        ("evaluate", model, data, "--out", folder / "judged"),
        ("explain", model, image, "--out", folder / "seen"),
    ]


def test_no_connection_is_tried_and_no_name_is_asked_for(stripes, tiny, tmp_path, record_property):
    """By an audit hook in each process, which hears what Python opens."""
    picture("down", 3).save(tmp_path / "one.png")
    told, home = tmp_path / "told", tmp_path / "home"
    home.mkdir()
    environment = {
        k: v for k, v in os.environ.items() if "TELEMETRY" not in k and k != "DO_NOT_TRACK"
    }
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    runs = commands(tmp_path, stripes, tiny)
    for words in runs:
        code = [sys.executable, "-c", RUN, str(told), *map(str, words)]
        done = subprocess.run(code, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
        assert done.returncode == 0 or "over the bound" in done.stderr, done.stderr
    assert not told.exists(), told.read_text()
    ours = {path.relative_to(home).parts[0] for path in home.rglob("*") if path.is_file()}
    assert ours <= {"cache"}, ours  # no id of anybody's in the home folder
    record_property("reliability", json.dumps({
        "table": "inputs", "what": "commands that were listened to for connections and names asked for",
        "tried": len(runs), "survived": len(runs), "lost": "nothing", "note": "none",
    }))  # fmt: skip


def test_the_guard_hears_a_connection(tmp_path):
    code = RUN.replace(
        "main()", "try: socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError: 0"
    )
    told = tmp_path / "told"
    subprocess.run([sys.executable, "-c", code, str(told)], check=True)
    assert "socket.connect ('127.0.0.1', 9)" in told.read_text()


def test_what_libraries_ask_the_kernel_for(trained, tmp_path):
    """Compiled code opens sockets that Python does not see: every system call is listened to."""
    if not shutil.which("strace"):
        pytest.skip("there is no strace here")
    picture("down", 3).save(tmp_path / "one.png")
    log = tmp_path / "calls"
    for words in (("export", trained[0], "--to", "onnx", "--out", tmp_path),
                  ("predict", tmp_path / "model.f32.onnx", tmp_path / "one.png")):  # fmt: skip
        done = subprocess.run(
            ["strace", "-f", "-e", "trace=connect,sendto", "-o", str(log), sys.executable, "-m",
             "inceptive", *map(str, words)], capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "ptrace" in done.stderr:
            pytest.skip("processes cannot be traced here")
        assert done.returncode == 0, done.stderr
        assert not re.search(r"AF_INET", log.read_text())


def test_it_works_where_there_is_no_network_at_all(trained, tmp_path):
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel gives no namespace without a network")
    picture("down", 3).save(tmp_path / "one.png")
    for words in (("predict", trained[0], tmp_path / "one.png"),
                  ("export", trained[0], "--to", "onnx", "--out", tmp_path / "made")):  # fmt: skip
        done = subprocess.run(
            ["unshare", "-rn", sys.executable, "-m", "inceptive", *map(str, words)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_every_package_that_would_report_is_told_not_to():
    """Where a run-time package that has such a switch is imported, the switch is in the same file."""
    switches = {"onnxruntime": "ORT_DISABLE_TELEMETRY", "openvino": "openvino_telemetry",
                "huggingface_hub": "NO_TELEMETRY"}  # fmt: skip
    found = set()
    for path in Path(inceptive.__file__).parent.rglob("*.py"):
        text = path.read_text()
        for package, switch in switches.items():
            if re.search(rf"^\s+(import {package}|from {package} import)", text, re.MULTILINE):
                assert switch in text, (path, package)
                found.add(package)
    assert found == set(switches)
