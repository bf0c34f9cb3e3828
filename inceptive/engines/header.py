"""The config of a model, inside the header of its `model.safetensors`. Nothing here imports torch.

A safetensors file is the length of its header in 8 bytes, the header (JSON) and the tensors' bytes. The
header's `__metadata__` is up to the writer: ours is the text of `config.json`.
"""

import hashlib
import json
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from inceptive.errors import readable

WEIGHTS, CONFIG = "model.safetensors", "config.json"
METADATA, KEY = "__metadata__", "inceptive"
MAX_HEADER = 100_000_000
"""Bytes; safetensors reads no longer one."""


def read(file: IO[bytes]) -> tuple[str | None, bytes]:
    """Return the text of the config (or None), and all bytes before the tensors without it.

    `file` is read from its beginning up to the first byte of the tensors.
    """
    start = file.read(8)
    if (length := int.from_bytes(start, "little")) > MAX_HEADER:
        return None, start
    start += file.read(length)
    try:
        header = json.loads(start[8:])
        config = header[METADATA].pop(KEY)
        return (config, _start(header)) if isinstance(config, str) else (None, start)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None, start


def folder_of(path: Path) -> Path:
    """The model folder that `path` is, or whose weights or config it is; otherwise `path` itself."""
    if path.name in (WEIGHTS, CONFIG) and path.is_file() and (path.parent / WEIGHTS).is_file():
        if (path.parent / CONFIG).is_file():
            return path.parent
        with open(path.parent / WEIGHTS, "rb") as file:
            return path.parent if read(file)[0] is not None else path
    return path


def insert(config: str, start: bytes) -> bytes:
    """Insert the text `config` into `start`, all bytes before the tensors: the inverse of `read`."""
    header = json.loads(start[8:])
    header.setdefault(METADATA, {})[KEY] = config
    return _start(header)


def _start(header: dict[str, Any]) -> bytes:
    """As safetensors itself writes it, so that taking the config out gives the bytes before it."""
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def digest(file: BufferedReader, start: bytes) -> str:
    """SHA-256, in hexadecimal, of the file whose `start` was returned by `read`, without its config."""
    sha256 = hashlib.sha256(start)
    return hashlib.file_digest(file, lambda: sha256).hexdigest()


def fingerprint(path: Path) -> str:
    """SHA-256, in hexadecimal, of the weights in the file at `path`: `digest` of it."""
    with readable(path), open(path, "rb") as file:
        _, start = read(file)
        return digest(file, start)
