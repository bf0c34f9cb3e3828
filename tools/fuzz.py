"""Bytes that reach ever more of a reader's code, until one breaks it: atheris on one target.

    python tools/fuzz.py TARGET [SECONDS]    decoder, weights, model, checkpoint, recipe or pickle

`make fuzz` runs each in turn. A target may raise InceptiveError and nothing else, and a single input
may take ten seconds. What is found is kept in build/fuzz/TARGET, the input that broke it beside it, and
is begun with the next time.
"""

import os
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "inceptive/recipes"
SECONDS = 120
INSTRUMENTED = [
    "inceptive",
    "PIL",
    "tomllib",
    "tarfile",
    "zipfile",
    "torch._weights_only_unpickler",
]
sys.path.insert(0, str(ROOT / "tests"))

with atheris.instrument_imports(include=INSTRUMENTED):
    import corpus
    import numpy as np
    import safetensors.numpy
    import torch

    from inceptive.arch import nets
    from inceptive.data.builtin import plain_pickle
    from inceptive.engines.classifier import Classifier
    from inceptive.errors import InceptiveError
    from inceptive.images import Preprocessing, decode, decoding
    from inceptive.io.atomic import as_json
    from inceptive.nn import build
    from inceptive.training import checkpoint
    from inceptive.training.recipe import Recipe
    from inceptive.weights import readers
    from inceptive.weights.readers import caffe, table, tensorflow_ckpt, tfjs, torch_file, wire

READERS = (caffe, table, tensorflow_ckpt, tfjs, torch_file, wire)  # imported here, to be watched
SCRATCH = Path(tempfile.mkdtemp(prefix="inceptive-fuzz-"))
NAMES = ("x.pth", "x.safetensors", "x.caffemodel", "x.ckpt", "x.tar.gz", "x.json")
"""The first byte of an input says which of these it is called. HDF5 is read in a process of its own."""


def one_decoded(data: bytes) -> None:
    image = decode(data, shorter=16)
    assert image.mode == "RGB" and np.asarray(image).shape == (image.height, image.width, 3)


def one_weights(data: bytes) -> None:
    path = SCRATCH / NAMES[data[0] % len(NAMES)] if data else SCRATCH / "x"
    path.write_bytes(data[1:])
    readers.read(path)


def one_model(data: bytes) -> None:
    config, _, weights = data.partition(b"\0\0")
    (SCRATCH / "config.json").write_bytes(config)
    (SCRATCH / "model.safetensors").write_bytes(weights)
    Classifier.load(SCRATCH)


def one_checkpoint(data: bytes) -> None:
    (SCRATCH / checkpoint.CHECKPOINT).write_bytes(data)
    checkpoint.load(SCRATCH)


def one_recipe(data: bytes) -> None:
    path = SCRATCH / "recipe.toml"
    path.write_bytes(data)
    Recipe.read(path)


def _weights() -> list[bytes]:
    """Small files of the formats that are written here."""
    tensors = {"conv1.weight": np.ones((2, 3, 1, 1), np.float32), "bias": np.zeros(2, np.float32)}
    path, made = SCRATCH / "seed", []
    state = {key: torch.from_numpy(value) for key, value in tensors.items()}
    for zipped in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        made.append(b"\0" + path.read_bytes())
    made.append(b"\1" + safetensors.numpy.save(tensors))
    blob = b"\x2a\x08" + np.ones(2, "<f4").tobytes() + b"\x3a\x02\x08\x02"
    made.append(
        b"\2\xa2\x06" + bytes([len(blob) + 5]) + b"\x0a\x01a\x3a" + bytes([len(blob)]) + blob
    )
    for name in ("tf_v1.ckpt", "tf_v2.index"):
        made.append(b"\3" + (ROOT / "tests/fixtures" / name).read_bytes())
    made.append(b"\5" + b'{"weightsManifest": [{"paths": ["a.bin"], "weights": []}]}')
    return made


def _models() -> list[bytes]:
    """The config of a model folder, with weights of another net."""
    net = nets.NETS["googlenet.bn"](num_classes=2)
    model = Classifier(build(net), Preprocessing(size=32), ("cat", "dog"), 1.5)
    return [as_json(model.config()).encode() + b"\0\0" + one[1:] for one in _weights()[2:3]]


TARGETS: dict[str, tuple[Callable[[bytes], object], Callable[[], list[bytes]]]] = {
    "decoder": (one_decoded, lambda: list(corpus.sound().values())),
    "weights": (one_weights, _weights),
    "model": (one_model, _models),
    "checkpoint": (one_checkpoint, lambda: [one[1:] for one in _weights()[:2]]),
    "recipe": (one_recipe, lambda: [p.read_bytes() for p in RECIPES.glob("*.toml")]),
    "pickle": (plain_pickle, lambda: [b"\x80\x02}q\0U\x04dataq\1]q\2K\1as."]),
}  # fmt: skip


def main(name: str, seconds: int) -> None:
    target, seeds = TARGETS[name]
    decoding.MAX_PIXELS = 1_000_000  # so that what is allowed takes milliseconds
    folder = ROOT / "build/fuzz" / name
    folder.mkdir(parents=True, exist_ok=True)
    for content in seeds():
        (folder / f"seed-{zlib.crc32(content):08x}").write_bytes(content)

    def once(data: bytes) -> None:
        try:
            target(data)
        except InceptiveError as error:
            if "\n" in str(error):
                raise AssertionError(f"more than one line: {error}") from error

    atheris.Setup(
        [sys.argv[0], str(folder), f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=4096",
         "-max_len=65536", "-print_final_stats=1", f"-artifact_prefix={folder.parent}/{name}-"],
        once,
    )  # fmt: skip
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else SECONDS)
