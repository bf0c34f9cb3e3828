"""Section pipeline: a folder of JPEG files to a CSV of answers, as whole commands."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Benchmark, Candidate, Peaks, run
from benchmarks.classify import Classified
from benchmarks.pictures import CAMERA, photographs
from benchmarks.setting import Say, Setting

SECTION = "pipeline"


def measure(setting: Setting, peaks: Peaks, say: Say) -> Iterator[dict[str, Any]]:
    """The benchmark, and beside it the share of photographs that each calls as the baseline does."""
    size, count = ((200, 150), 3) if setting.quick else (CAMERA, 64)
    files, origin = photographs(setting, size, count)
    classified = Classified(setting)
    folder = setting.images or files[0].parent
    made = benchmark(setting, classified, folder, len(files), origin)
    found = run(made, setting, peaks, say, rounds=min(setting.rounds, 5))
    answers = {
        row["name"]: read(_out(setting, row["name"]), classified.labels) for row in found["rows"]
    }
    for row in found["rows"]:
        row["agreement"] = agreement(answers[found["baseline"]], answers[row["name"]])
    yield found


def benchmark(
    setting: Setting, classified: Classified, folder: Path, count: int, origin: str
) -> Benchmark:
    """timm's script with its defaults, and with its fastest options; then ours."""
    candidates = []
    for fast in (False, True):
        name = "timm inference.py" + (", --channels-last --amp (bf16)" if fast else "")
        candidates.append(
            Candidate(
                name,
                lambda name=name, fast=fast: classified.theirs(  # type: ignore[misc]
                    "timm", "folder", folder, _out(setting, name), fast
                ),
                images=count,
            )
        )
    for engine in classified.engines():
        name = f"inceptive predict --engine {engine}"
        candidates.append(
            Candidate(
                name,
                lambda name=name, engine=engine: classified.ours(  # type: ignore[misc]
                    folder, _out(setting, name), engine
                ),
                images=count,
            )
        )
    facts = {"net": classified.net, "image_size": classified.preprocessing.size, "images": origin}
    return Benchmark(SECTION, f"{origin}; {classified.told}", tuple(candidates), facts)


def _out(setting: Setting, name: str) -> Path:
    return setting.folder / f"{''.join(c if c.isalnum() else '-' for c in name)}.csv"


def read(path: Path, labels: tuple[str, ...]) -> dict[str, int]:
    """The class of each image by its file's name, of our CSV (image, label) or a peer's (index)."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if rows and "index" in rows[0]:
        return {row["filename"]: int(row["index"]) for row in rows}
    number = {label: k for k, label in enumerate(labels)}
    return {Path(row["image"]).name: number.get(row["label"], -1) for row in rows}


def agreement(one: dict[str, int], other: dict[str, int]) -> float | None:
    """The share of images that both name and call alike; None if there are none."""
    shared = one.keys() & other.keys()
    return sum(one[name] == other[name] for name in shared) / len(shared) if shared else None
