"""`exports.json`: the exports in a folder, how they compare with torch, and their speed."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inceptive.engines.header import CONFIG
from inceptive.engines.header import WEIGHTS as WEIGHTS
from inceptive.engines.header import fingerprint as fingerprint
from inceptive.engines.header import read as read_header
from inceptive.errors import InceptiveError, reason
from inceptive.io.atomic import write_json
from inceptive.io.locks import lock

EXPORTS = "exports.json"
LOCK = f".{EXPORTS}.lock"
ENGINES = {"onnx": ".onnx", "openvino": ".xml"}
"""The engines that run exported files, and the ending of their files."""


@dataclass(frozen=True)
class Record:
    """One exported file. weights are the `fingerprint` of the `model.safetensors` it was made
    from.

    check is what `check.Check` found, speed what `check.speed` measured, torch beside it, on such a
    machine (see `cores.machine`; "" in files of an earlier version). config is the digest of what the
    file holds of the model's config: see `deployed` ("" in files of an earlier version).
    """

    file: str
    engine: str
    precision: str
    weights: str
    passed: bool
    check: dict[str, Any]
    speed: dict[str, float]
    machine: str = ""
    config: str = ""

    @property
    def name(self) -> str:
        """The name for `--engine`: openvino:int8."""
        return f"{self.engine}:{self.precision}"

    @property
    def images_per_second(self) -> float:
        return float(self.speed["images_per_second"])


def files(path: Path) -> list[Path]:
    """All files of the export at `path`: for OpenVINO's .xml, also the weights next to it."""
    return [path, path.with_suffix(".bin")] if path.suffix == ENGINES["openvino"] else [path]


def read(folder: Path) -> list[Record]:
    """Read the records of `folder`, [] without any. Raises InceptiveError if the file is damaged."""
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
    texts = (record.file, record.engine, record.precision, record.weights, record.machine,
             record.config)  # fmt: skip
    plain = isinstance(record.passed, bool) and all(isinstance(text, str) for text in texts)
    speeds = record.speed.get("images_per_second") if isinstance(record.speed, dict) else None
    # A file of another folder is none of ours.
    return plain and isinstance(speeds, int | float) and Path(record.file).name == record.file


def keep(folder: Path, record: Record) -> None:
    """Write `record`, replacing an earlier one of the same file."""
    with lock(folder / LOCK):
        others = [each for each in read(folder) if each.file != record.file]
        write_json(folder / EXPORTS, [asdict(each) for each in [*others, record]])


def drop(folder: Path, file: str) -> None:
    """Remove the record of `file`, before the file is rewritten."""
    with lock(folder / LOCK):
        entries = read(folder)
        if any(each.file == file for each in entries):
            write_json(folder / EXPORTS, [asdict(each) for each in entries if each.file != file])


DEPLOYED = ("labels", "preprocessing", "temperature", "novelty")
"""What every export holds of a model's config, beside the net; some have `early_exit`, too."""


def deployed(folder: Path, early_exit: bool = False) -> str:
    """The digest of what an export holds of the config in `folder`; "" if that cannot be read."""
    try:
        with open(folder / WEIGHTS, "rb") as file:
            text, _ = read_header(file)
        config = json.loads(text or (folder / CONFIG).read_text(encoding="utf-8"))
        keys = (*DEPLOYED, "early_exit") if early_exit else DEPLOYED
        held = json.dumps([config.get(key) for key in keys], sort_keys=True)
    except (OSError, ValueError, AttributeError, RecursionError, InceptiveError):
        return ""
    return hashlib.sha256(held.encode()).hexdigest()


def usable(folder: Path, note: Callable[[str], None]) -> list[Record]:
    """The records that passed their check and match the weights in `folder`, fastest first.

    note is called for those left out because weights or config have changed since, and for a model
    folder without weights or with a damaged config. A folder without either holds only exports, and
    none is stale.
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
        now = {deployed(folder), deployed(folder, early_exit=True)}
        all_readable = "" not in now
        stale = [
            each.file for each in passed if all_readable and each.config and each.config not in now
        ]
        if stale:
            note(
                f"note: {', '.join(stale)}: made before labels, temperature or other settings of the "
                "model changed; export again to use them"
            )
        passed = [each for each in passed if each.file not in stale]
    return sorted(passed, key=lambda each: -each.images_per_second)
