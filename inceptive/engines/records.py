"""`exports.json`: what was exported into a folder, how it compares with torch, how fast it is."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inceptive.engines.header import CONFIG
from inceptive.engines.header import WEIGHTS as WEIGHTS
from inceptive.engines.header import fingerprint as fingerprint
from inceptive.errors import InceptiveError, reason
from inceptive.io.atomic import write_json

EXPORTS = "exports.json"
ENGINES = {"onnx": ".onnx", "openvino": ".xml"}
"""The engines that run exported files, and the ending of their files."""


@dataclass(frozen=True)
class Record:
    """One exported file. weights are the `fingerprint` of the `model.safetensors` it was made
    from.

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
        entries = [Record(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
        if not all(_sound(entry) for entry in entries):
            raise ValueError("a value of the wrong kind")
        return entries
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
    others = [each for each in read(folder) if each.file != record.file]
    write_json(folder / EXPORTS, [asdict(each) for each in [*others, record]])


def drop(folder: Path, file: str) -> None:
    """Forget the record of `file`, as before it is written anew."""
    entries = read(folder)
    if any(each.file == file for each in entries):
        write_json(folder / EXPORTS, [asdict(each) for each in entries if each.file != file])


def usable(folder: Path, note: Callable[[str], None]) -> list[Record]:
    """The records that passed their check and are of the weights that lie in `folder`, fastest first.

    note is told of those left out because the weights have changed since, and of a model folder that
    has lost its weights or whose config is damaged. A folder without either holds only exports: they
    are all there is, and none is stale.
    """
    passed = [each for each in read(folder) if each.passed and (folder / each.file).is_file()]
    if passed:
        try:
            json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            if not (folder / WEIGHTS).exists():
                note(
                    f"note: {folder}: its {WEIGHTS} is missing; only exports made from it are left"
                )
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RecursionError) as error:
            note(
                f"note: {folder / CONFIG}: is damaged ({reason(error)}); the exports do without it"
            )
    if passed and (folder / WEIGHTS).is_file():
        weights = fingerprint(folder / WEIGHTS)
        stale = [each.file for each in passed if each.weights != weights]
        if stale:
            note(f"note: {', '.join(stale)}: made from other weights; export again to use them")
        passed = [each for each in passed if each.weights == weights]
    return sorted(passed, key=lambda each: -each.images_per_second)
