"""Pictures of two kinds that a tiny net can tell apart in seconds, as folders of files."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = """
net = "googlenet.bn"
image_size = 32
epochs = 3
batch_size = 8
seed = 1
[data]
val = 0.2
test = 0.2
[optimizer]
lr = 0.02
[schedule]
kind = "constant"
[augment]
flip = true
shift = 0.05
[ema]
decay = 0.8
"""


def picture(kind: str, number: int, size: int = 40) -> Image.Image:
    """Stripes that run across or down, in noise: no two are alike."""
    rng = np.random.default_rng([number, kind == "down"])
    phase, width = rng.uniform(0, 6), rng.uniform(3, 5)
    wave = 127 + 80 * np.sin(np.arange(size) / width * 3 + phase)
    plane = np.broadcast_to(wave[:, None] if kind == "across" else wave[None, :], (size, size))
    noisy = plane + rng.normal(0, 15, (size, size)) + rng.uniform(-20, 20)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def write_stripes(root: Path, count: int = 20) -> Path:
    for kind in ("across", "down"):
        folder = root / kind
        folder.mkdir(parents=True)
        for number in range(count):
            picture(kind, number).save(folder / f"{number:03}.png")
    return root


@pytest.fixture(scope="session")
def stripes(tmp_path_factory):
    """A folder of 20 pictures of stripes across and 20 of stripes down."""
    return write_stripes(tmp_path_factory.mktemp("data") / "stripes")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A recipe that trains on `stripes` in seconds."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return path


def command(*words: object, cwd: Path | None = None, **environment: str):
    """Run `inceptive` in a process of its own: its exit status, standard output and error."""
    return subprocess.run(
        [sys.executable, "-c", "from inceptive.cli import main; main()", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        check=False,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"} | environment,
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory, stripes, tiny):
    """A model folder that `inceptive train` wrote, and what the command printed."""
    out = tmp_path_factory.mktemp("model") / "stripes"
    return out, command("train", stripes, "--recipe", tiny, "--out", out)
