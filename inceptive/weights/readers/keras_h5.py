"""Keras's HDF5 files: .h5 of keras.applications and of model.save, and .weights.h5 of Keras 3."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.errors import InceptiveError, requires
from inceptive.weights.readers.safe_read import collect, reading

KIND = "Keras HDF5 weights"
PATIENCE = 30  # seconds, beside those that the size of the file asks for
TOP_LEVEL = "top_level_model_weights"  # the group for weights that belong to no layer


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the weights of a Keras HDF5 file, in the file's order of layers, as Keras lays them out.

    The names are the file's own, prefixed with the layer's where it is missing:
    "conv2d_1/kernel:0" (kernel height, kernel width, in, out) of Keras 2, "conv2d_1/kernel" where
    Keras 3 wrote the file, "inception_v3/conv2d_1/kernel:0" inside a model used as a layer. A
    .weights.h5 of Keras 3 has no names but places: "layers/conv2d/vars/0".
    Raises InceptiveError if it cannot be read, or h5py is missing.
    """
    _h5py()
    with reading(path, KIND):
        if not path.is_file():
            raise ValueError("there is no such file")
        try:
            done = _apart(path, PATIENCE + path.stat().st_size / 1e7)
        except subprocess.TimeoutExpired:
            raise ValueError("the HDF5 library does not come to an end with it") from None
        if done.returncode == 1 and done.stderr:
            raise InceptiveError(done.stderr.decode().splitlines()[-1])
        if done.returncode:
            raise ValueError("the HDF5 library crashed on it")
        with np.load(io.BytesIO(done.stdout)) as arrays:
            return {name: arrays[f"arr_{k}"] for k, name in enumerate(arrays["names"].tolist())}


def _apart(path: Path, seconds: float) -> subprocess.CompletedProcess[bytes]:
    """Run `read_here` in a process of its own: on damaged files HDF5 2.0 crashes or never ends."""
    paths = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-P", "-m", __name__, str(path.absolute())],
        env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
    )


def read_here(path: Path) -> dict[str, np.ndarray]:
    """Like `read`, but in this process, which a damaged file may crash."""
    h5py = _h5py()
    with reading(path, KIND), h5py.File(path, "r") as file:
        return collect(_limited(_weights(file), path.stat().st_size))


def _send(path: Path) -> None:
    """Write the weights to standard output as .npz, or the reason why not to standard error."""
    try:
        tensors = read_here(path)
    except InceptiveError as error:
        sys.exit(str(error))
    packed = io.BytesIO()
    np.savez(packed, *tensors.values(), names=np.array(list(tensors)))
    sys.stdout.buffer.write(packed.getvalue())


def _h5py() -> Any:
    with requires("reading .h5 needs h5py", "weights"):
        import h5py
    return h5py


def _weights(file: Any) -> Iterator[tuple[str, Any]]:
    root = _inside(file, "model_weights") if "model_weights" in file else file
    if not (layers := _names(root, "layer_names")):
        yield from _walk(file, "", {file})
        return
    for layer in layers + [TOP_LEVEL] * (TOP_LEVEL in root):
        group = _inside(root, layer)
        for name in _names(group, "weight_names"):
            full = name if name.startswith(f"{layer}/") else f"{layer}/{name}"
            yield full, _inside(group, name)


def _names(group: Any, key: str) -> list[str]:
    """An attribute that lists names; Keras cuts a long one up as key0, key1 and so on."""
    keys = takewhile(group.attrs.__contains__, (f"{key}{number}" for number in count()))
    parts = [group.attrs[each] for each in ([key] if key in group.attrs else keys)]
    names = [name for part in parts for name in part]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _inside(group: Any, name: str) -> Any:
    """What lies at `name`. Links are not followed: they may lead to other files."""
    for part in filter(None, name.split("/")):
        if type(group.get(part, getlink=True)).__name__ != "HardLink":
            raise ValueError(f"{name!r} is missing, or a link")
        group = group[part]
    return group


def _walk(group: Any, prefix: str, visited: set[Any]) -> Iterator[tuple[str, Any]]:
    """Every weight of a Keras 3 file below `group` by its path, the optimizer's apart."""
    for part in group:
        entry = _inside(group, part)
        if hasattr(entry, "shape"):
            yield f"{prefix}{part}", entry
        elif entry in visited:  # a path that leads back would have no end
            raise ValueError(f"{prefix}{part} is a group that is there twice")
        elif prefix or part != "optimizer":
            visited.add(entry)
            yield from _walk(entry, f"{prefix}{part}/", visited)


def _limited(weights: Iterator[tuple[str, Any]], size: int) -> Iterator[tuple[str, np.ndarray]]:
    """The datasets as arrays, as long as they claim no more bytes than the file has."""
    for name, data in weights:
        if not hasattr(data, "shape") or data.shape is None or data.dtype.kind not in "fiub":
            raise ValueError(f"{name!r} is not an array of numbers")
        if data.chunks or data.external or data.is_virtual:  # Keras writes plain datasets only
            raise ValueError(f"{name!r} is packed, or stored in another file")
        size -= data.nbytes
        if size < 0:
            raise ValueError("its weights claim more bytes than there are")
        yield name, np.asarray(data[()], data.dtype.newbyteorder("="))


if __name__ == "__main__":
    _send(Path(sys.argv[1]))
