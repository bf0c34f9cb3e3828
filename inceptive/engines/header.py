"""The config of a model, inside the header of its `model.safetensors`. Nothing here imports torch.

A safetensors file is the length of its header in 8 bytes, the header (JSON) and the tensors' bytes. What
the header holds under `__metadata__` is the writer's own: ours is the text of `config.json`.
"""

import hashlib
import json
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from inceptive.errors import InceptiveError, reason

WEIGHTS, CONFIG = "model.safetensors", "config.json"
METADATA, KEY = "__metadata__", "inceptive"
MAX_HEADER = 100_000_000
"""Bytes; safetensors reads no longer one."""


def read(file: IO[bytes]) -> tuple[str | None, bytes]:
    """The text of the config (None: there is none), and all before the tensors as it is without it.

    `file` stands at its beginning, and then at the first byte of the tensors.
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
    """The model folder that `path` is, or whose weights or config it is; else `path` itself."""
    if path.name in (WEIGHTS, CONFIG) and path.is_file() and (path.parent / WEIGHTS).is_file():
        if (path.parent / CONFIG).is_file():
            return path.parent
        with open(path.parent / WEIGHTS, "rb") as file:
            return path.parent if read(file)[0] is not None else path
    return path


def insert(config: str, start: bytes) -> bytes:
    """`start`, all before the tensors, with the text `config` in it: `read` gives both back."""
    header = json.loads(start[8:])
    header.setdefault(METADATA, {})[KEY] = config
    return _start(header)


def _start(header: dict[str, Any]) -> bytes:
    """As safetensors itself writes it, so that taking the config out gives the bytes before it."""
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def digest(file: BufferedReader, start: bytes) -> str:
    """SHA-256, in hexadecimal, of the file that `read` gave `start` of, without the config in it."""
    sha256 = hashlib.sha256(start)
    return hashlib.file_digest(file, lambda: sha256).hexdigest()


def fingerprint(path: Path) -> str:
    """SHA-256, in hexadecimal, of the weights in the file at `path`: `digest` of it."""
    try:
        with open(path, "rb") as file:
            _, start = read(file)
            return digest(file, start)
    except OSError as error:
        raise InceptiveError(f"{path}: cannot be read ({reason(error)})") from None
