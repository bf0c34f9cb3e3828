"""Candidates that do the same work, measured side by side; the first that runs is the baseline."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.process import Process
from benchmarks.setting import Say, Setting, settle
from inceptive.engines.timing import Sampler, Timing, interleave, ratio, repeated, timing
from inceptive.errors import InceptiveError

Precision = Literal["f32", "bf16", "int8"]
Peaks = dict[str, float]
"""Multiply-adds per second of a matrix product in each precision: see `roofline`."""


@dataclass(frozen=True)
class Candidate:
    """One way of doing the work. macs and images are what one call takes; 0 where that says nothing.

    build gets everything ready and returns what one call does, or a Process. It raises
    InceptiveError where it cannot run here: the candidate is left out, with that reason.
    """

    name: str
    build: Callable[[], Callable[[], object] | Process]
    macs: int = 0
    images: int = 0
    precision: Precision | None = None


@dataclass(frozen=True)
class Benchmark:
    """facts say what the work is: net, image_size, batch_size, ..."""

    section: str
    title: str
    candidates: tuple[Candidate, ...]
    facts: dict[str, Any] = field(default_factory=dict)


def torch_imported(setting: Setting) -> Candidate:
    """A process that does nothing but import torch: what stands in every command that needs it."""
    words = [sys.executable, "-c", "import torch"]
    return Candidate("python, torch imported", lambda: Process(words, setting.threads))


def run(
    benchmark: Benchmark, setting: Setting, peaks: Peaks, say: Say, rounds: int | None = None
) -> dict[str, Any]:
    """The benchmark's result for JSON: its facts, the rows of all that ran, and why others did not.

    Each row has the seconds of one call (the median of the rounds), the ratio to the baseline with
    its spread (above 1 is faster), and what follows: images and multiply-adds a second, the share of
    the peak in that precision, the most memory held. rounds: another number than the setting's; with
    0 the sample that warms up is the only one.
    """
    say(f"{benchmark.section}: {benchmark.title}")
    samplers: dict[str, Sampler] = {}
    warm: dict[str, Timing] = {}
    skipped: dict[str, str] = {}
    for candidate in benchmark.candidates:
        try:
            sampler = _sampler(candidate, setting)
            warm[candidate.name] = timing([sampler()])
            samplers[candidate.name] = sampler
        except InceptiveError as error:
            skipped[candidate.name] = str(error)
            say(f"  left out: {candidate.name}: {error}")
    count = setting.rounds if rounds is None else rounds
    timings = interleave(samplers, count) if count else warm
    rows = []
    baseline = next(iter(samplers), None)
    for candidate in benchmark.candidates:
        if baseline is None or candidate.name not in timings:
            continue
        taken, sampler = timings[candidate.name], samplers[candidate.name]
        against = asdict(ratio(timings[baseline], taken))
        row: dict[str, Any] = {
            "name": candidate.name,
            "precision": candidate.precision,
            "seconds": taken.seconds,
            "p50": taken.percentile(0.5),
            "p99": taken.percentile(0.99),
            "calls": len(taken.calls),
            "ratio": against.pop("median"),
            **{f"ratio_{key}": value for key, value in against.items()},
            "images_per_second": candidate.images / taken.seconds if candidate.images else None,
            "macs": candidate.macs or None,
            "macs_per_second": candidate.macs / taken.seconds if candidate.macs else None,
            "roofline_share": None,
            "peak_bytes": getattr(sampler, "peak_bytes", 0) or None,
        }
        if candidate.macs and candidate.precision in peaks:
            row["roofline_share"] = row["macs_per_second"] / peaks[candidate.precision]
        rows.append(row)
        say(f"  {candidate.name}: {taken.seconds * 1000:.4g} ms, ratio {row['ratio']:.2f}")
    return {
        "section": benchmark.section,
        "title": benchmark.title,
        **benchmark.facts,
        "baseline": baseline,
        "rows": rows,
        "skipped": skipped,
    }


def _sampler(candidate: Candidate, setting: Setting) -> Sampler:
    call = candidate.build()
    if isinstance(call, Process):
        return call

    def call_and_wait() -> None:
        call()
        settle(setting.device)

    return repeated(call_and_wait, setting.seconds)
