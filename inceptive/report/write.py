"""`report.html` and what a model folder contributes to it."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inceptive.errors import valid_values
from inceptive.io.atomic import write_text
from inceptive.report.page import ReportData, page

REPORT = "report.html"


def write_report(folder: Path, report: ReportData) -> None:
    """Write the page into `folder`. Raises InceptiveError if it cannot be written."""
    write_text(folder / REPORT, page(report))


def history(folder: Path) -> list[dict[str, float]]:
    """Read the rows of `history.csv` in a model folder; [] without one, or if it is damaged: a page
    without curves is better than none."""
    try:
        with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error):
        return []
    return rows if all("epoch" in row for row in rows) else []


def feedback(info: Mapping[str, Any]) -> dict[str, Any]:
    """Findings of training about its images: see `training.feedback`. InceptiveError if invalid."""
    values = info.get("training", {}).get("feedback")
    if not values:
        return {}
    with valid_values("config.json: training.feedback"):
        keys = ("file", "label", "answer")
        return {
            "curve": [(int(count), float(top1)) for count, top1 in values["curve"]],
            "suspects": [
                {key: str(row[key]) for key in keys} | {"prob": float(row["prob"])}
                for row in values["suspects"]
            ],
        }


def provenance(info: Mapping[str, Any]) -> dict[str, str]:
    """Describe a model's origin, from what is recorded with its weights."""
    facts = {}
    recipe, training = info.get("recipe", {}), info.get("training", {})
    if recipe:
        how = f"batches of {recipe.get('batch_size')}, best epoch {training.get('epoch')}"
        if training.get("epoch") == 0:
            how = "a linear probe"
        facts["trained"] = (
            f"{recipe.get('net')} at {recipe.get('image_size')} px, {how}, seed {recipe.get('seed')}, "
            f"{training.get('seconds')} s"
            + (f" on {training['device']}" if "device" in training else "")
            + f" in {training.get('precision')}"
        )
    if published := info.get("published"):
        facts["weights"] = f"{published.get('name')}, licence {published.get('licence')}"
    return facts
