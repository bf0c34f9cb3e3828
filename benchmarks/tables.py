"""The tables of a report, for people and for docs/performance.md."""

from typing import Any

from inceptive.cli import tables as output

HEADER = ("candidate", "ms", "p99 ms", "images/s", "ratio", "quartiles", "GMAC/s", "of peak", "MB",
          "agrees")  # fmt: skip


def as_text(report: dict[str, Any]) -> str:
    """The whole report for a person to read."""
    blocks = ["\n".join(conditions(report))]
    for benchmark in benchmarks(report):
        header, rows = cells(benchmark)
        lines = [f"{benchmark['section']}: {benchmark['title']}", output.columns(header, rows)]
        lines += [f"left out: {name}: {why}" for name, why in benchmark["skipped"].items()]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def benchmarks(report: dict[str, Any]) -> list[dict[str, Any]]:
    """All that was measured, in order, the roofline first."""
    first = [report["roofline"]] if report["roofline"] else []
    return first + [benchmark for found in report["sections"].values() for benchmark in found]


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
        f"{report['date']}: {report['command']}; {setting['rounds']} rounds of "
        f"{setting['seconds']:g} s a candidate",
    ]
    if accelerator:
        lines.insert(1, f"{accelerator['name']}, {accelerator['memory_bytes'] / 2**30:.0f} GiB, "
                        f"CUDA {accelerator['cuda']}")  # fmt: skip
    if setting["quick"]:
        lines.append("quick: everything tiny, the figures say nothing")
    return lines


def cells(benchmark: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A benchmark's table: header and rows, without the columns in which nothing stands."""
    single = benchmark.get("batch_size") == 1
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
        for row in benchmark["rows"]
    ]
    kept = [k for k in range(len(HEADER)) if k == 0 or any(row[k] for row in whole)]
    if (
        benchmark["section"] == "memory"
    ):  # a process's start is no speed: what it holds is the answer
        kept = [HEADER.index("candidate"), HEADER.index("MB")]
    header = tuple(HEADER[k] for k in kept)
    return header, [tuple(row[k] for k in kept) for row in whole]
