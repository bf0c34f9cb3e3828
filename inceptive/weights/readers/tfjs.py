"""TensorFlow.js layers models: a folder with model.json and its shards, or the npm package nsfwjs.

That package keeps each file as a JavaScript module: the model an object literal, a shard a base64
string. The literals are cut out of the text and read as data; no JavaScript is executed.
Source of the manifest: tensorflow/tfjs, tfjs-core/src/io/types.ts and io_utils.ts.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from inceptive.weights.readers.marks import GZIP
from inceptive.weights.readers.safe_read import (
    Buffer,
    array,
    collect,
    content,
    elements,
    reading,
    untar,
)

TYPES = {"float32": "<f4", "int32": "<i4", "bool": "?", "uint8": "u1",
         "uint16": "<u2", "float16": "<f2"}  # fmt: skip
MODELS = ("model.json", "model.min.js")
PLAIN = re.compile(r"\w[\w.-]*")  # a file name that leads to no other folder
TOKEN = re.compile(
    r"""("(?:[^"\\]|\\.)*")"""  # text
    r"|(-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"  # numbers, .5 and 1e3 among them
    r"|(!0|!1)"  # true and false to a minifier
    r"|([A-Za-z_$][\w$]*)"  # keys without quotes
    r"|([\[\]{}:,])"
)


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the weights of a TensorFlow.js layers model by the manifest's names, in its order.

    "conv2d_1/kernel" is (kernel height, kernel width, in, out). path is model.json with its shards
    beside it, their folder, or a .tgz from `npm pack nsfwjs`; of several models in one .tgz,
    the one in a folder named after Inception is read. Quantised weights (8 or 16 bits, times scale,
    plus min) and 16-bit floats come back as float32.
    Raises InceptiveError if it cannot be read.
    """
    with reading(path, "a TensorFlow.js model"):
        path = path / MODELS[0] if path.is_dir() else path
        data = content(path)
        model, shard = _package(path) if data[:2] == GZIP else _folder(path, data)
        groups = model["weightsManifest"]
        return collect(pair for group in groups for pair in _group(group, shard))


Shard = Callable[[str], Buffer]


def _folder(path: Path, data: bytes) -> tuple[Any, Shard]:
    return json.loads(data), lambda name: content(path.with_name(name))


def _package(path: Path) -> tuple[Any, Shard]:
    files = untar(path)
    models = [name for name in files if PurePosixPath(name).name in MODELS]
    if len(models) > 1:
        models = [name for name in models if "inception" in name.lower()]
    if len(models) != 1:
        raise ValueError("it does not hold one model, or one in a folder named after Inception")
    name = models[0]
    folder = name[: name.rindex("/") + 1] if "/" in name else ""
    if name.endswith(".json"):
        return json.loads(bytes(files[name])), lambda shard: files[folder + shard]
    model = {"weightsManifest": _literal(str(files[name], "utf-8"), "weightsManifest")}
    return model, lambda shard: _base64(files[f"{folder}{shard}.min.js"])


def _literal(script: str, key: str) -> Any:
    """The value of `key` in a minified object literal."""
    match = re.search(rf'\b{key}"?:', script)
    if not match:
        raise ValueError(f"it has no {key}")
    at, depth, out = match.end(), 0, list[str]()
    while depth or not out:
        if not (token := TOKEN.match(script, at)):
            raise ValueError(f"{key} is not plain data")
        at = token.end()
        quoted, number, flag, word, mark = token.groups()
        if number:
            quoted = json.dumps(float(number)) if set(number) & set(".eE") else number
        elif flag:
            quoted = "true" if flag == "!0" else "false"
        elif word:
            quoted = word if word in ("true", "false", "null") else f'"{word}"'
        elif mark:
            depth += (mark in "[{") - (mark in "]}")
        out.append(quoted or mark)
    return json.loads("".join(out))


def _base64(script: memoryview) -> bytes:
    """The one string that a shard's module exports."""
    texts = re.findall(rb'\.exports="([A-Za-z0-9+/=]*)"', script)
    if len(texts) != 1:
        raise ValueError("a shard is not a module that exports one text")
    return base64.b64decode(texts[0], validate=True)


def _group(group: Any, shard: Shard) -> Iterator[tuple[str, np.ndarray]]:
    """The weights of one group: its shards laid end to end, cut up in the manifest's order."""
    paths = [str(path) for path in group["paths"]]
    if len(set(paths)) < len(paths) or not all(PLAIN.fullmatch(path) for path in paths):
        raise ValueError("the shards' names are not plain, different names")
    data, at = memoryview(b"".join(shard(path) for path in paths)), 0
    for weight in group["weights"]:
        how = weight.get("quantization")
        kind = (how or weight)["dtype"]
        if kind not in TYPES:
            raise ValueError(f"{weight['name']!r} is of type {kind!r}")
        dtype, shape = np.dtype(TYPES[kind]), [_size(size) for size in weight["shape"]]
        end = at + elements(shape) * dtype.itemsize
        tensor = array(data[at:end], dtype, shape)
        at = end
        yield str(weight["name"]), _restored(tensor, how) if how else tensor
    if at != len(data):
        raise ValueError(f"the shards have {len(data):,} bytes, the weights {at:,}")


def _size(size: Any) -> int:
    if size != int(size) or size < 0:
        raise ValueError("a tensor's shape makes no sense")
    return int(size)


def _restored(tensor: np.ndarray, how: Any) -> np.ndarray:
    """float32 of a quantised tensor, computed in float64 and rounded once, as TensorFlow.js does."""
    if tensor.dtype.kind == "f":
        return tensor.astype(np.float32)
    with np.errstate(all="ignore"):
        values = (tensor * float(how["scale"]) + float(how["min"])).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a quantised tensor's scale or min is beyond float32")
    return values
