"""Writes docs/reliability.md: what was done to inceptive, and what it survived, as the tests found it.

    python tools/reliability.py REPORT.xml... [COST.json...]

A test tells with `record_property("reliability", json)`: an object with table ("faults", "inputs" or
"scaling"), what, and tried, survived, lost, note; of scaling ratio and note. `make reliability` runs the
tests that do and then this. COST.json is what tools/scoring_cost.py and tools/training_cost.py wrote.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from inceptive.cli.tables import markdown
from inceptive.errors import InceptiveError

OUT = Path(__file__).parents[1] / "docs/reliability.md"
HEAD = """\
# What it survives

Written by `make reliability`: the tests named there, slow ones too, then tools/reliability.py. A row is
here only if its test passed. Skipped on this machine: {skipped}.
"""
NONE = "Nothing was recorded."
Row = tuple[str, ...]
TABLES: dict[str, tuple[str, str, Row, Callable[[dict[str, Any]], Row]]] = {
    "faults": (
        "Faults",
        "Kills are SIGKILL in the middle of the work; disks are small or read-only mounts. Survived: "
        "what was good before could be used, and the work went on or said in one line why not.",
        ("fault", "tried", "survived", "lost", "note"),
        lambda one: (one["what"], str(one["tried"]), str(one["survived"]), one["lost"], one["note"]),
    ),
    "inputs": (
        "Inputs",
        "A failure is a crash, a hang, a traceback, a file written elsewhere, code that ran, or an "
        "error of more than a line.",
        ("input", "tried", "failures", "note"),
        lambda one: (one["what"], str(one["tried"]), str(one["tried"] - one["survived"]), one["note"]),
    ),
    "scaling": (
        "Scaling",
        "Ratios within one run.",
        ("what", "ratio", "note"),
        lambda one: (one["what"], str(one["ratio"]), one["note"]),
    ),
}  # fmt: skip


def recorded(reports: Iterable[Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """What the tests recorded, and the names of those skipped; of a test in two reports the last counts.

    Raises InceptiveError if one failed.
    """
    last = {
        (case.get("classname"), case.get("name")): case
        for path in reports for case in ElementTree.parse(path).getroot().iter("testcase")
    }  # fmt: skip
    cases = list(last.values())
    bad = [name(case) for case in cases if has(case, "failure", "error")]
    if bad:
        raise InceptiveError(f"docs/reliability.md is not written, failed: {', '.join(bad)}")
    found = [
        json.loads(one.get("value", "")) for case in cases
        for one in case.iter("property") if one.get("name") == "reliability"
    ]  # fmt: skip
    if unknown := {one["table"] for one in found} - set(TABLES):
        raise InceptiveError(f"docs/reliability.md has no table {', '.join(sorted(unknown))}")
    return found, [name(case) for case in cases if has(case, "skipped")]


def costs(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The rows of the table of scaling that were measured beside the tests."""
    return [row for path in files for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def name(case: ElementTree.Element) -> str:
    return str(case.get("name"))


def has(case: ElementTree.Element, *kinds: str) -> bool:
    return any(case.find(kind) is not None for kind in kinds)


def document(found: list[dict[str, Any]], skipped: list[str]) -> str:
    """The page; rows keep the order in which the tests ran."""
    parts = [HEAD.format(skipped=", ".join(f"`{one}`" for one in skipped) or "nothing")]
    for key, (title, told, header, row) in TABLES.items():
        rows = [row(one) for one in summed(one for one in found if one["table"] == key)]
        left = len(header) if key == "scaling" else 1
        table = markdown(header, rows, left) if rows else NONE
        parts.append(f"## {title}\n\n{told}\n\n{_right(table) if rows else table}\n")
    return "\n".join(parts)


def summed(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, of those that say the same but for their counts one, with the sums."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in rows:
        key = tuple(one.get(name) for name in ("what", "lost", "note", "ratio"))
        before = found.get(key, {"tried": 0, "survived": 0})
        counts = {name: before[name] + one.get(name, 0) for name in ("tried", "survived")}
        found[key] = {"note": ""} | one | counts
    return list(found.values())


def _right(table: str, numbers: int = 2) -> str:
    """Only the columns of numbers, behind the first, to the right."""
    head, rule, *rows = table.split("\n")
    cells = rule.strip("| ").split(" | ")
    rule = " | ".join("---" if k > numbers else cell for k, cell in enumerate(cells))
    return "\n".join([head, f"| {rule} |", *rows])


if __name__ == "__main__":
    try:
        given = [Path(one) for one in sys.argv[1:]]
        found, skipped = recorded(one for one in given if one.suffix == ".xml")
        measured = costs(one for one in given if one.suffix == ".json")
        OUT.write_text(document(found + measured, skipped))
    except InceptiveError as error:
        sys.exit(f"reliability: {error}")
