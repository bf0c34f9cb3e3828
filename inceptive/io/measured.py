"""What was measured on this machine, kept in the cache: what is fast elsewhere need not be fast here."""

import contextlib
import json
import math
from typing import Any

from inceptive.errors import InceptiveError
from inceptive.io.atomic import write_json
from inceptive.io.paths import cache_folder

MOST = 1000
"""Numbers that are kept for a machine; the oldest go first."""


def recall(kind: str, machine: str) -> dict[str, float]:
    """The measurements of `kind` on `machine`, by key; {} if there are none, or the file is damaged."""
    measured = _read(kind).get(machine)
    if not isinstance(measured, dict):
        return {}
    return {
        key: value
        for key, value in measured.items()
        if isinstance(value, float) and 0 < value < math.inf
    }


def keep(kind: str, machine: str, measured: dict[str, float]) -> None:
    """Keep the measurements of `kind` on `machine`; where that fails, they are made again."""
    numbers = _read(kind) | {machine: dict(list(measured.items())[-MOST:])}
    with contextlib.suppress(InceptiveError):
        write_json(cache_folder() / f"{kind}.json", numbers)


def _read(kind: str) -> dict[str, Any]:
    try:
        numbers = json.loads((cache_folder() / f"{kind}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return numbers if isinstance(numbers, dict) else {}
