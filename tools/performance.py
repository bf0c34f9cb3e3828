"""Writes docs/performance.md: how fast everything is beside the peers, as measured by benchmarks/.

    python -m tools.performance [REPORT.json...]

A report is what `python -m benchmarks --out` leaves; `make bench` does both. Its sections are kept in
docs/measured, a file for each kind of machine, in place of what that file had of them; the page shows
all machines side by side. What was tried and did not help is written by hand in
tools/performance_notes.md.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.tables import cells, conditions
from inceptive.cli.tables import markdown
from inceptive.errors import InceptiveError
from inceptive.io.atomic import write_json, write_text
from tools.bars import Bar, bars

ROOT = Path(__file__).parents[1]
OUT, NOTES = ROOT / "docs/performance.md", ROOT / "tools/performance_notes.md"
MEASURED = ROOT / "docs/measured"
PICTURE = OUT.with_suffix(".svg")
HEAD = """\
# How fast

{result}Written by `make bench` (`python -m benchmarks`, then tools/performance.py) on each of:

{machines}

Candidates alternate, A B C, A B C, and so on. `ratio` is how many times as fast a candidate is as the
first of its table, the median over the rounds, each round for itself; `quartiles` are those of the
rounds. GMAC/s are billions (10⁹) of multiply-adds a second, counted by `inceptive table`; a training
step counts as three forward passes. `of peak` is their share of the largest matrix product's in the
same precision, in the first table; above 100% a net's library multiplies faster than that. MB is the
most memory that a process held; of commands that start others it is that of the largest one. Tables of
several machines leave some columns out; docs/measured has all of them.
"""
COLUMNS_SIDE_BY_SIDE = ("ms", "ratio", "quartiles", "of peak", "MB", "agrees")
"""The columns of a table of several machines."""
TITLES = {
    "roofline": (
        "The machine's limit",
        "Large matrix products by each library. What a net reaches is set beside the best of each "
        "precision.",
    ),
    "train": (
        "A training step",
        "Ours is the step of `inceptive train`, from images of uint8 on; the peers' begin with "
        "normalised images. Of each peer: a plain loop with its defaults, and the same in "
        "channels-last and bf16 (timm's train.py has options for both). `googlenet.torchvision` does "
        "exactly the work of torchvision's net. Since 30 November each has a process of its own, ours "
        "with memory kept as the command keeps it (docs/training.md), the peer's best setting without "
        "and with it.",
    ),
    "inference": (
        "Inference",
        "Ours from images of uint8 on, the peers' from normalised images.",
    ),
    "epochs": (
        "Images on their way into training",
        "First without a net: random crops, mirrored, their colours changed and normalised, as timm's "
        "train.py has them. `the first epoch` decodes and fills the cache, `later epochs` read it. Then "
        "with one: a ratio of 1 to steps on a batch in memory says that the net never waits. Each of "
        "ours has a process of its own, started as the command starts itself (not yet on the AMD "
        "machines); timm's loader takes as long, started so.",
    ),
    "pipeline": (
        "A folder of photographs to answers",
        "Whole commands, start included, with the same weights; timm's way is that of its "
        "inference.py. `agrees` is the share of photographs that a candidate calls as the first does; "
        "made weights, which were never trained, exaggerate small differences.",
    ),
    "decode": ("Decoding", "From a file to a normalised square, in one thread."),
    "startup": ("Start", "From the command to its end, nothing loaded before."),
    "waiting": (
        "What a person waits for",
        "From the command to the line that is waited for, each line a run of its own, so that a later "
        "one less an earlier one is what lies between them. Training begins with an empty cache.",
    ),
    "memory": (
        "Memory",
        "A process that does only this, two calls. What whole commands hold, of exported engines too, "
        "stands in the tables above.",
    ),
    "growth": (
        "How the cost grows",
        "Ours, one thing varied at a time. `ratio` is to the first line of each table, for one call: "
        "at 0.50 it takes twice as long.",
    ),
}

HEADLINES = (
    ("a training step at 224 px", "train", "googlenet.bn, 224 px, batch 16, no heads"),
    ("a training step at 64 px", "train", "googlenet.bn, 64 px, batch 16, no heads"),
    ("answers to a batch of images", "inference", "googlenet.bn, 224 px, batch 16"),
    ("answers to one image", "inference", "googlenet.bn, 224 px, batch 1"),
    ("a folder of 12-megapixel photographs", "pipeline", "64 of 4000 x 3000 pixels"),
    ("one photograph, start included", "startup", "one photograph"),
    ("batches from a folder, the first epoch", "epochs", "training batches", "the first epoch"),
    ("batches from a folder, later epochs", "epochs", "training batches", "later epochs"),
)
"""What the picture shows: in words, the section, how the benchmark's title begins, and how the candidate
ends where it is not the fastest of ours."""


Sections = dict[str, dict[str, Any]]
"""What was measured on a machine: of each section `conditions`, lines, and `benchmarks`."""


def headlines(measured: Sections) -> dict[str, tuple[str, float]]:
    """Of each of HEADLINES that was measured, by its words: our candidate, how many times as fast."""
    found = {}
    for words, section, begins, *ends in HEADLINES:
        for benchmark in measured.get(section, {}).get("benchmarks", []):
            ours = [
                row
                for row in benchmark["rows"]
                if row["name"].startswith("inceptive") and row["name"].endswith(*ends or ("",))
            ]
            if re.match(rf"{re.escape(begins)}(?!\w)", benchmark["title"]) and ours:
                best = max(ours, key=lambda row: row["ratio"])
                found[words] = best["name"], best["ratio"]
                break
    return found


def summary(machines: dict[str, Sections]) -> tuple[str, str]:
    """The headlines of all machines as the page's first words, and as SVG those where most
    was measured; or ""."""
    found = {name: headlines(measured) for name, measured in machines.items()}
    found = {name: lines for name, lines in found.items() if lines}
    if not found:
        return "", ""
    rows = []
    for words, *_ in HEADLINES:
        row = [
            f"{of[words][1]:.1f} ({of[words][0]})" if words in of else "" for of in found.values()
        ]
        if any(row):
            rows.append((words, *row))
    name, lines = max(found.items(), key=lambda each: len(each[1]))
    told = "; ".join(
        f"{words} {ratio:.1f} times ({ours})" for words, (ours, ratio) in lines.items()
    )
    chart = [
        Bar(words, ratio, f"{ratio:.1f}", faint=ratio < 1) for words, (_, ratio) in lines.items()
    ]
    result = (
        "How many times as fast as the peer's plain way (torchvision or timm, eager, in f32) on the "
        f"same machine:\n\n{markdown(('', *found), rows, left=1 + len(found))}\n\n"
        f"![{told}](performance.svg)\n\n"
    )
    return result, bars(f"Times as fast as the peer's plain way, {name}", told, chart)


def read(path: Path) -> dict[str, Any]:
    """A report of `python -m benchmarks`. Raises InceptiveError if it is none, or not whole."""
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        whole = not report["stopped"] and not report["setting"]["quick"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InceptiveError(f"{path}: is no report of `python -m benchmarks` ({error})") from None
    if not whole:
        raise InceptiveError(f"{path}: was stopped or --quick; its figures are not to be printed")
    return report


def machine_name(machine: dict[str, Any]) -> str:
    """A kind of machine: its accelerator, or its processor and the best instructions that it has."""
    if machine["accelerator"]:
        return str(machine["accelerator"]["name"])
    best = [flag for flag in machine["flags"] if flag != "fma"][-1:]
    return ", ".join([machine["processor"], *best])


def store(report: dict[str, Any], folder: Path) -> None:
    """Put a report's sections into its machine's file, in place of those that were there."""
    name = machine_name(report["machine"])
    path = folder / (re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-") + ".json")
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"sections": {}}
    first = {"roofline": [report["roofline"]] if report["roofline"] else []}
    for section, found in (first | report["sections"]).items():
        if found:
            kept["sections"][section] = {"conditions": conditions(report), "benchmarks": found}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {"machine": name, "date": report["date"], "sections": kept["sections"]})


def machines(folder: Path) -> dict[str, Sections]:
    """What `store` has put there, by the machine's name, the latest first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    found.sort(key=lambda each: each["date"], reverse=True)
    return {each["machine"]: each["sections"] for each in found}


def conditions_of(measured: Sections) -> str:
    """The conditions of each run, with the sections that are of it."""
    told: dict[tuple[str, ...], list[str]] = {}
    for section in TITLES:
        if section in measured:
            told.setdefault(tuple(measured[section]["conditions"]), []).append(section)
    return "\n".join(
        f"    - {', '.join(sections)}\n" + "\n".join(f"        - {line}" for line in lines)
        for lines, sections in told.items()
    )


def side_by_side(
    benchmarks: dict[str, dict[str, Any]],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """One benchmark of several machines as a table: header and rows."""
    header: list[str] = ["candidate"]
    names = dict.fromkeys(row["name"] for each in benchmarks.values() for row in each["rows"])
    rows = {name: [name] for name in names}
    for machine, benchmark in benchmarks.items():
        titles, measured = cells(benchmark)
        shown = [k for k, title in enumerate(titles) if title in COLUMNS_SIDE_BY_SIDE]
        header += [f"{machine}: {titles[k]}" if k == shown[0] else titles[k] for k in shown]
        by_name = {row[0]: row for row in measured}
        for name, row in rows.items():
            row += [by_name[name][k] if name in by_name else "" for k in shown]
    return tuple(header), [tuple(row) for row in rows.values()]


def document(machines: dict[str, Sections], notes: str) -> tuple[str, str]:
    """The page, and its picture as SVG."""
    result, picture = summary(machines)
    told = "\n".join(
        f"{number}. {name}\n{conditions_of(measured)}"
        for number, (name, measured) in enumerate(machines.items(), 1)
    )
    blocks = [HEAD.format(machines=told, result=result)]
    for section, (title, words) in TITLES.items():
        by_title: dict[str, dict[str, dict[str, Any]]] = {}
        for name, measured in machines.items():
            for benchmark in measured.get(section, {}).get("benchmarks", []):
                by_title.setdefault(benchmark["title"], {})[name] = benchmark
        if by_title:
            blocks.append(f"## {title}\n\n{words}\n")
        for heading, found in by_title.items():
            alone = f", on {next(iter(found))}" if len(found) == 1 < len(machines) else ""
            table = cells(*found.values()) if len(found) == 1 else side_by_side(found)
            blocks.append(f"**{heading}**{alone}\n\n{markdown(*table)}\n")
            for name, benchmark in found.items():
                left = [f"{each} ({why})" for each, why in benchmark["skipped"].items()]
                if left:
                    on = f" on {name}" if len(machines) > 1 else ""
                    blocks.append(f"Left out{on}: {'; '.join(left)}.\n")
    blocks.append(f"## What was tried and did not help\n\n{notes.strip()}\n")
    return "\n".join(blocks), picture


if __name__ == "__main__":
    try:
        for word in sys.argv[1:]:
            store(read(Path(word)), MEASURED)
        page, picture = document(machines(MEASURED), NOTES.read_text(encoding="utf-8"))
        write_text(OUT, page)
        if picture:
            write_text(PICTURE, picture)
    except InceptiveError as error:
        sys.exit(str(error))
