"""Writes docs/performance.md: how fast everything is beside the peers, as measured by benchmarks/.

    python -m tools.performance REPORT.json...

A report is what `python -m benchmarks --out` leaves; `make bench` does both. Of several a later one's
sections stand in place of an earlier one's. What was tried and did not help is written by hand in
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
from inceptive.io.atomic import write_text
from tools.bars import Bar, bars

ROOT = Path(__file__).parents[1]
OUT, NOTES = ROOT / "docs/performance.md", ROOT / "tools/performance_notes.md"
PICTURE = OUT.with_suffix(".svg")
HEAD = """\
# How fast

{result}Written by `make bench` (`python -m benchmarks`, then tools/performance.py) on this machine:

{runs}

Candidates alternate, A B C, A B C, and so on. `ratio` is how many times as fast a candidate is as the
first of its table, the median over the rounds, each round for itself; `quartiles` are those of the
rounds. GMAC/s are thousand millions of multiply-adds a second, counted by `inceptive table`; a training
step is taken for three forward passes. `of peak` is their share of the largest matrix product's in the
same precision, in the first table. MB is the most memory that a process held; of commands that start
others it is that of the largest one.
"""
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
        "exactly the work of torchvision's net.",
    ),
    "inference": (
        "Inference",
        "Ours from images of uint8 on, the peers' from normalised images.",
    ),
    "epochs": (
        "Images on their way into training",
        "First without a net: random crops, mirrored, their colours changed and normalised, as timm's "
        "train.py has them. `the first epoch` decodes and fills the cache, `later epochs` read it. Then "
        "with one: a ratio of 1 to steps on a batch in memory says that the net never waits.",
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


def headlines(measured: dict[str, list[dict[str, Any]]]) -> list[tuple[str, str, str, float]]:
    """Of each of HEADLINES that was measured: words, peer, our candidate, how many times as fast."""
    found = []
    for words, section, begins, *ends in HEADLINES:
        for benchmark in measured.get(section, []):
            rows = benchmark["rows"]
            ours = [
                row
                for row in rows
                if row["name"].startswith("inceptive") and row["name"].endswith(*ends or ("",))
            ]
            if re.match(rf"{re.escape(begins)}(?!\w)", benchmark["title"]) and ours:
                best = max(ours, key=lambda row: row["ratio"])
                found.append((words, rows[0]["name"], best["name"], best["ratio"]))
                break
    return found


def summary(shown: list[tuple[str, str, str, float]]) -> tuple[str, str]:
    """What `headlines` found as the page's first words, and as a picture in SVG; "" of nothing."""
    if not shown:
        return "", ""
    told = "; ".join(f"{words} {ratio:.1f} times ({ours})" for words, _, ours, ratio in shown)
    chart = [Bar(words, ratio, f"{ratio:.1f}", faint=ratio < 1) for words, _, _, ratio in shown]
    result = (
        "Speed relative to the peer's plain way (torchvision or timm, eager, in f32) on the same "
        f"machine: {told}.\n\n![{told}](performance.svg)\n\n"
    )
    return result, bars("Times as fast as the peer's plain way", told, chart)


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


def document(reports: list[dict[str, Any]], notes: str) -> tuple[str, str]:
    """The page, and its picture as SVG."""
    measured: dict[str, list[dict[str, Any]]] = {}
    whence: dict[str, int] = {}
    for number, report in enumerate(reports):
        found = {"roofline": [report["roofline"]] if report["roofline"] else []}
        for section, benchmarks in (found | report["sections"]).items():
            if benchmarks:
                measured[section], whence[section] = benchmarks, number
    runs = [
        f"{number}. {', '.join(name for name in TITLES if whence.get(name) == number - 1)}\n"
        + "\n".join(f"    - {line}" for line in conditions(report))
        for number, report in enumerate(reports, 1)
    ]
    result, picture = summary(headlines(measured))
    blocks = [HEAD.format(runs="\n".join(runs), result=result)]
    for section, (title, words) in TITLES.items():
        if section not in measured:
            continue
        blocks.append(f"## {title}\n\n{words}\n")
        for benchmark in measured[section]:
            blocks.append(f"**{benchmark['title']}**\n\n{markdown(*cells(benchmark))}\n")
            left = [f"{name} ({why})" for name, why in benchmark["skipped"].items()]
            if left:
                blocks.append(f"Left out: {'; '.join(left)}.\n")
    blocks.append(f"## What was tried and did not help\n\n{notes.strip()}\n")
    return "\n".join(blocks), picture


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    try:
        reports = [read(Path(path)) for path in sys.argv[1:]]
        page, picture = document(reports, NOTES.read_text(encoding="utf-8"))
        write_text(OUT, page)
        if picture:
            write_text(PICTURE, picture)
    except InceptiveError as error:
        sys.exit(str(error))
