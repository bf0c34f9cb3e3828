"""Files that appear whole or not at all."""

import contextlib
import json
import os
from math import isfinite
from pathlib import Path
from typing import Any

from inceptive.errors import InceptiveError


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to a file beside `path`, then put it in its place in one step.

    A reader sees the old file or the new one, after a power cut too. Raises InceptiveError if the
    disk refuses; the old file is then untouched.
    """
    beside = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # else the new name itself may be lost
        finally:
            os.close(folder)
    except OSError as error:
        raise InceptiveError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        with contextlib.suppress(OSError):  # where nothing can be written, nothing is to be removed
            beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, as_json(value) + "\n")


def as_json(value: Any) -> str:
    """JSON, with nan and infinity (a share of nothing, say) as null: JSON has neither."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
