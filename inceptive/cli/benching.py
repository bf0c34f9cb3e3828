"""What `inceptive bench` does once torch is loaded, and its tables."""

import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from inceptive.arch import nets
from inceptive.bench.report import SECTIONS, bench
from inceptive.bench.setting import Setting
from inceptive.cli import tables as output
from inceptive.cli.progress import say
from inceptive.errors import InceptiveError
from inceptive.images import printable
from inceptive.io.atomic import write_json
from inceptive.io.cores import cores

HEADER = ("candidate", "ms", "p99 ms", "images/s", "ratio", "quartiles", "GMAC/s", "of peak", "MB",
          "agrees")  # fmt: skip


@dataclass(frozen=True)
class Request:
    sections: Sequence[str]
    net: str
    rounds: int
    seconds: float
    threads: int
    images: Path | None
    model: str
    json: bool
    out: Path | None
    quick: bool


def measure(request: Request) -> None:
    """Measure as asked and answer. Raises KeyboardInterrupt after the answer if it was stopped."""
    nets.find(request.net)
    if request.images is not None and not request.images.is_dir():
        raise InceptiveError(f"{printable(request.images)}: there is no such folder")
    sections = [name for name in SECTIONS if not request.sections or name in request.sections]
    with tempfile.TemporaryDirectory(prefix="inceptive-bench-") as folder:
        setting = Setting(
            folder=Path(folder),
            net=request.net,
            rounds=request.rounds,
            seconds=request.seconds,
            threads=request.threads or cores(),
            device="cuda" if torch.cuda.is_available() else "cpu",
            images=request.images and request.images.absolute(),
            model=request.model,
            quick=request.quick,
        ).smaller()
        command = shlex.join(["inceptive", *sys.argv[1:]])
        report = bench(sections, setting, say, command, partial(keep, request.out))
    keep(request.out, report)
    if request.out:
        say(f"written: {printable(request.out)}")
    output.answer(output.as_json(report) if request.json else as_text(report))
    if report["stopped"]:
        raise KeyboardInterrupt("stopped; what was measured until then is above")


def keep(out: Path | None, report: dict[str, Any]) -> None:
    """Write the report to the file that was asked for."""
    if out:
        write_json(out, report)


def as_text(report: dict[str, Any]) -> str:
    """The whole report for a person to read."""
    blocks = ["\n".join(conditions(report))]
    for contest in contests(report):
        header, rows = cells(contest)
        lines = [f"{contest['section']}: {contest['title']}", output.columns(header, rows)]
        lines += [f"left out: {name}: {why}" for name, why in contest["skipped"].items()]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def contests(report: dict[str, Any]) -> list[dict[str, Any]]:
    """All that was measured, in order, the roofline first."""
    first = [report["roofline"]] if report["roofline"] else []
    return first + [contest for found in report["sections"].values() for contest in found]


def conditions(report: dict[str, Any]) -> list[str]:
    """The machine and the way of measuring, in lines."""
    machine, setting = report["machine"], report["setting"]
    memory = machine["memory_bytes"]
    accelerator = machine["accelerator"]
    versions = ", ".join(f"{name} {one}" for name, one in machine["versions"].items() if one)
    missing = [name for name, one in machine["versions"].items() if not one]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores"
        + (f", {memory / 2**30:.0f} GiB" if memory else "")
        + f"; threads: {setting['threads']}; load before: {machine['load']}",
        f"instructions: {' '.join(machine['flags']) or 'unknown'}; {machine['system']}",
        versions + (f"; not installed: {', '.join(missing)}" if missing else ""),
        f"{report['made']}: {report['command']}; {setting['rounds']} rounds of "
        f"{setting['seconds']:g} s a turn",
    ]
    if accelerator:
        lines.insert(1, f"{accelerator['name']}, {accelerator['memory_bytes'] / 2**30:.0f} GiB, "
                        f"CUDA {accelerator['cuda']}")  # fmt: skip
    if setting["quick"]:
        lines.append("quick: everything tiny, the figures say nothing")
    return lines


def cells(contest: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A contest's table: header and rows, without the columns in which nothing stands."""
    single = contest.get("batch_size") == 1
    whole = [
        (
            row["name"],
            f"{row['seconds'] * 1000:.4g}",
            f"{row['p99'] * 1000:.4g}" if single else "",
            f"{row['images_per_second']:.4g}" if row["images_per_second"] else "",
            f"{row['ratio']:.2f}",
            f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}",
            f"{row['macs_per_second'] / 1e9:.4g}" if row["macs_per_second"] else "",
            f"{row['roofline_share']:.0%}" if row["roofline_share"] else "",
            f"{row['peak_bytes'] / 1e6:.0f}" if row["peak_bytes"] else "",
            f"{row['agreement']:.1%}" if row.get("agreement") is not None else "",
        )
        for row in contest["rows"]
    ]
    kept = [k for k in range(len(HEADER)) if k == 0 or any(row[k] for row in whole)]
    if contest["section"] == "memory":  # a process's start is no speed: what it holds is the answer
        kept = [HEADER.index("candidate"), HEADER.index("MB")]
    header = tuple(HEADER[k] for k in kept)
    return header, [tuple(row[k] for k in kept) for row in whole]
