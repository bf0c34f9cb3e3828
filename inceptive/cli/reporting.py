"""`report.html` beside what a command has found."""

import csv
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.arch.account import Account
from inceptive.data.source import Data
from inceptive.io.atomic import write_text
from inceptive.report.page import Compared, Told, page

REPORT = "report.html"


def write_report(
    folder: Path,
    model: str,
    accounts: Sequence[Account],
    data: Data,
    split: str,
    probs: tuple[np.ndarray, np.ndarray],
    judged: Mapping[str, Any],
    facts: Mapping[str, str],
    compared: Compared | None = None,
) -> None:
    """Write the page on what `model`, one or several together, makes of a split of `data`.

    probs (N, K): plain and calibrated. What the training remembers is read from the model folder;
    compared are other models on the same images.
    """
    told = Told(
        model=model,
        data=data,
        split=split,
        samples=data.split(split),
        plain=probs[0],
        scaled=probs[1],
        judged=judged,
        accounts=accounts,
        command=shlex.join(["inceptive", *sys.argv[1:]]),
        history=history(Path(model)),
        facts=facts,
        compared=compared,
    )
    write_text(folder / REPORT, page(told))


def history(folder: Path) -> list[dict[str, float]]:
    """The rows of `history.csv` in a model folder; [] without one, or if it is damaged: a page without
    curves is better than none."""
    try:
        with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error):
        return []
    return rows if all("epoch" in row for row in rows) else []


def facts_of(info: Mapping[str, Any], more: Mapping[str, str]) -> dict[str, str]:
    """What a model folder tells of how it came to be, in words."""
    found = dict(more)
    recipe, training = info.get("recipe", {}), info.get("training", {})
    if recipe:
        seed = recipe.get("seed")
        found["trained"] = (
            f"{recipe.get('net')} at {recipe.get('image_size')} px, batches of "
            f"{recipe.get('batch_size')}, seed {seed}, best epoch {training.get('epoch')}, "
            f"{training.get('seconds')} s on {training.get('device')} in {training.get('precision')}"
        )
    if published := info.get("published"):
        found["weights"] = f"{published.get('name')}, licence {published.get('licence')}"
    return found
