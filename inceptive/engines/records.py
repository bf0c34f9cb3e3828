"""`exports.json`: what was exported into a folder, how it compares with torch, how fast it is."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inceptive.errors import InceptiveError, reason
from inceptive.io.atomic import write_json

EXPORTS = "exports.json"
WEIGHTS = "model.safetensors"
ENGINES = {"onnx": ".onnx", "openvino": ".xml"}
"""The engines that run exported files, and the ending of their files."""


@dataclass(frozen=True)
class Record:
    """One exported file. weights are the sha256 of the `model.safetensors` it was made from.

    check is what `check.Check` found, speed what `check.speed` measured: torch beside it.
    """

    file: str
    engine: str
    precision: str
    weights: str
    passed: bool
    check: dict[str, Any]
    speed: dict[str, float]

    @property
    def name(self) -> str:
        """As `--engine` takes it: openvino:int8."""
        return f"{self.engine}:{self.precision}"

    @property
    def images_per_second(self) -> float:
        return float(self.speed["images_per_second"])


def files(path: Path) -> list[Path]:
    """All that belongs to the exported file at `path`: of OpenVINO's .xml the weights beside it too."""
    return [path, path.with_suffix(".bin")] if path.suffix == ENGINES["openvino"] else [path]


def read(folder: Path) -> list[Record]:
    """The records of `folder`, [] without any. Raises InceptiveError if the file is damaged."""
    path = folder / EXPORTS
    try:
        found = [Record(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
        if not all(_sound(one) for one in found):
            raise ValueError("a value of the wrong kind")
        return found
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, TypeError, RecursionError):
        raise InceptiveError(f"{path}: is damaged; remove it and export again") from None


def _sound(record: Record) -> bool:
    """Whether the values are of the kinds that are read again."""
    kinds = {"file": str, "engine": str, "precision": str, "weights": str, "passed": bool}
    plain = all(isinstance(getattr(record, key), kind) for key, kind in kinds.items())
    speeds = record.speed.get("images_per_second") if isinstance(record.speed, dict) else None
    # A file of another folder is none of ours.
    return plain and isinstance(speeds, int | float) and Path(record.file).name == record.file


def keep(folder: Path, record: Record) -> None:
    """Write `record`, in place of an earlier one of the same file."""
    others = [one for one in read(folder) if one.file != record.file]
    write_json(folder / EXPORTS, [asdict(one) for one in [*others, record]])


def drop(folder: Path, file: str) -> None:
    """Forget the record of `file`, as before it is written anew."""
    found = read(folder)
    if any(one.file == file for one in found):
        write_json(folder / EXPORTS, [asdict(one) for one in found if one.file != file])


def usable(folder: Path, note: Callable[[str], None]) -> list[Record]:
    """The records that passed their check and are of the weights that lie in `folder`, fastest first.

    note is told of those left out because the weights have changed since. A folder without weights
    holds only exports: they are all there is, and none is stale.
    """
    passed = [one for one in read(folder) if one.passed and (folder / one.file).is_file()]
    if passed and (folder / WEIGHTS).is_file():
        weights = fingerprint(folder / WEIGHTS)
        stale = [one.file for one in passed if one.weights != weights]
        if stale:
            note(f"note: {', '.join(stale)}: made from other weights; export again to use them")
        passed = [one for one in passed if one.weights == weights]
    return sorted(passed, key=lambda one: -one.images_per_second)


def fingerprint(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InceptiveError(f"{path}: cannot be read ({reason(error)})") from None
