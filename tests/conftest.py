"""Pictures of two kinds that a tiny net can tell apart in seconds, as folders of files."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO, NamedTuple
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from inceptive.cli import main
from inceptive.engines import header
from inceptive.io.atomic import write_bytes, write_text
from inceptive.io.locks import lock
from inceptive.io.paths import cache_folder
from inceptive.training.callbacks import Callback

TINY = """
net = "googlenet.bn"
image_size = 32
epochs = 8
batch_size = 12
seed = 1
[data]
val = 0.2
test = 0.2
[optimizer]
lr = 0.01
[schedule]
kind = "linear"
[augment]
flip = true
shift = 0.05
"""


def picture(kind: str, number: int, size: int = 40) -> Image.Image:
    """Stripes that run across or down, in noise: no two are alike."""
    rng = np.random.default_rng([number, kind == "down"])
    phase, width = rng.uniform(0, 6), rng.uniform(3, 5)
    wave = 127 + 80 * np.sin(np.arange(size) / width * 3 + phase)
    plane = np.broadcast_to(wave[:, None] if kind == "across" else wave[None, :], (size, size))
    noisy = plane + rng.normal(0, 15, (size, size)) + rng.uniform(-20, 20)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def logo(file: Path | BinaryIO) -> None:
    """Write a white square on transparency, which comes out blank, as PNG."""
    image = Image.new("LA", (20, 20), (255, 0))
    image.paste((255, 255), (5, 5, 15, 15))
    image.save(file, "PNG")


def rewrite_config(folder: Path, text: str | None) -> None:
    """Put `text` in place of a model folder's config, both copies of it.

    None: the weights file loses its own, and config.json alone has it, as until 0.1.
    """
    path = folder / "model.safetensors"
    with path.open("rb") as file:
        _, start = header.read(file)
        tensors = file.read()
    write_bytes(path, (start if text is None else header.insert(text, start)) + tensors)
    if text is not None:
        write_text(folder / "config.json", text)


def write_stripes(root: Path, count: int = 30) -> Path:
    for kind in ("across", "down"):
        folder = root / kind
        folder.mkdir(parents=True)
        for number in range(count):
            picture(kind, number).save(folder / f"{number:03}.png")
    return root


class Recorder(Callback):
    """Remembers the history, and what is said."""

    def __init__(self):
        self.rows, self.said = [], []

    def say(self, text):
        self.said.append(text)

    def advance(self, what, done, total, detail=""): ...

    def on_epoch_end(self, row, better):
        self.rows.append(row)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache of images of this run's own; published weights stay where the user has them."""
    mine, own = tmp_path_factory.mktemp("cache"), cache_folder()
    for name in ("weights", "web"):  # "web": npm's package, of which a site takes its files
        if (own / name).exists():
            (mine / name).symlink_to((own / name).resolve())
    with mock.patch.dict(os.environ, {"INCEPTIVE_CACHE": str(mine)}):
        yield mine


@pytest.fixture(scope="session")
def stripes(tmp_path_factory):
    """A folder of 30 pictures of stripes across and 30 of stripes down."""
    return write_stripes(tmp_path_factory.mktemp("data") / "stripes")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A recipe that trains on `stripes` in seconds."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return path


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def command(*words: object, cwd: Path | None = None) -> Done:
    """Run `inceptive` in this process, where torch is loaded already: status, output and error."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    status = 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(cwd or "."),
        mock.patch.object(sys, "argv", ["inceptive", *map(str, words)]),
        mock.patch.dict(os.environ, {"COLUMNS": "200", "NO_COLOR": "1"}),
    ):
        try:
            main()
        except SystemExit as left:
            status = int(left.code or 0)
    return Done(status, *(stream.buffer.getvalue().decode() for stream in (out, err)))


@pytest.fixture(scope="session")
def trained(tmp_path_factory, stripes, tiny):
    """A model folder that `inceptive train` wrote, and what the command printed.

    The first of the suite's processes that asks for it trains it; each has a copy of its own.
    """
    own = tmp_path_factory.getbasetemp()
    suite = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    original, printed = suite / "trained" / "stripes", suite / "trained.json"
    with lock(suite / "trained.lock"):
        if not printed.exists():
            done = command("train", stripes, "--recipe", tiny, "--out", original)
            printed.write_text(json.dumps(done))
    out = tmp_path_factory.mktemp("model") / "stripes"
    shutil.copytree(original, out)
    return out, Done(*json.loads(printed.read_text().replace(str(original), str(out))))


@pytest.fixture(autouse=True)
def trained_is_left_alone(request):
    """All tests of a process have one copy: what one writes there, another would find."""
    yield
    if "trained" in request.fixturenames:
        folder, _ = request.getfixturevalue("trained")
        names = {path.name for path in folder.iterdir()}
        assert names == {
            "model.safetensors",
            "config.json",
            "README.md",
            "history.csv",
            "report.html",
        }


SERVER = """
import signal
from inceptive.cli import main
from inceptive.engines import header
from inceptive.io.atomic import write_bytes, write_text
from inceptive.training.callbacks import Callback
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell starts all with &
main()
"""


@contextlib.contextmanager
def serving(*words):
    """A server for as long as the block: its port, and its process."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, "serve", *map(str, words), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        said = ""
        for line in process.stderr:
            said += line
            if found := re.search(r"listening on http://127\.0\.0\.1:(\d+);", line):
                break
        else:
            raise AssertionError(said)
        yield int(found[1]), process
    finally:
        process.kill()
        process.communicate(timeout=30)
