"""Readers of third-party checkpoint files, which keep the publisher's own names and layouts."""

from importlib import import_module
from pathlib import Path

import numpy as np

from inceptive.errors import InceptiveError
from inceptive.weights.readers import marks
from inceptive.weights.readers.safe_read import reading, untar

FORMATS = (
    "PyTorch .pth/.pt or a .zip of one, .safetensors, Keras .h5, .caffemodel, "
    "TensorFlow .ckpt/.index/.tar.gz, TensorFlow.js model.json or the nsfwjs .tgz"
)
BY_NAME = {".caffemodel": "caffe", ".json": "tfjs", ".ckpt": "tensorflow_ckpt",
           ".index": "tensorflow_ckpt", ".h5": "keras_h5", ".pth": "torch_file",
           ".pt": "torch_file", ".safetensors": "torch_file"}  # fmt: skip


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a published checkpoint by the publisher's names, in the file's order.

    The format is recognised from the first and last bytes; where those are inconclusive (Caffe has no
    magic number, a V2 checkpoint is a prefix of several names), the name decides. The readers
    describe each format's names and layouts.
    Raises InceptiveError, naming the file, if its format is unknown or it cannot be read.
    """
    with reading(path, "weights"):
        kind = _kind(path)
    module = import_module(f"{__name__}.{kind}")  # torch and h5py only where they are needed
    tensors: dict[str, np.ndarray] = module.read(path)
    return tensors


def _kind(path: Path) -> str:
    """The name of the module that reads `path`."""
    if path.is_dir():
        if (path / "model.json").is_file():
            return "tfjs"
        raise InceptiveError(f"{path}: is a folder without model.json; known are {FORMATS}")
    if path.with_name(f"{path.name}.index").is_file():
        return "tensorflow_ckpt"
    if not path.is_file():
        raise InceptiveError(f"{path}: there is no such weights file")
    with open(path, "rb") as file:
        start = file.read(16)
        file.seek(max(0, path.stat().st_size - len(marks.TABLE_END)))
        end = file.read()
    if start.startswith(marks.HDF5):
        return "keras_h5"
    if start.startswith((marks.ZIP, marks.PICKLE)) or marks.is_safetensors(start):
        return "torch_file"
    if start.startswith(marks.GZIP):
        script = any(name.endswith(("model.json", "model.min.js")) for name in untar(path))
        return "tfjs" if script else "tensorflow_ckpt"
    if end == marks.TABLE_END:
        return "tensorflow_ckpt"
    if path.suffix in BY_NAME:
        return BY_NAME[path.suffix]
    raise InceptiveError(f"{path}: is none of the weights files known here: {FORMATS}")
