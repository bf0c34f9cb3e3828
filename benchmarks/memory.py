"""Section memory: the most that a process holds which does only one candidate's work.

    python -m benchmarks.memory SECTION CANDIDATE SETTING

is that process: it prepares the candidate of the section's first benchmark and makes two calls.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import inference, training
from benchmarks.benchmark import Benchmark, Candidate, Peaks, run
from benchmarks.process import Process
from benchmarks.setting import Say, Setting, settle

SECTION = "memory"
MEASURED: dict[str, Callable[[Setting], list[Benchmark]]] = {
    training.SECTION: training.benchmarks,
    # An exported engine needs no torch, which this process has loaded: see the peaks of `startup`.
    inference.SECTION: lambda setting: inference.benchmarks(setting, exported=False),
}


def measure(setting: Setting, peaks: Peaks, say: Say) -> Iterator[dict[str, Any]]:
    """The first benchmark of train and of inference again, each candidate in a process of its own.

    peak_ratio is the candidate's peak as a share of the baseline's: below 1 is less. The seconds are
    those of the whole process, start included, and say little.
    """
    for section, benchmarks in MEASURED.items():
        first = benchmarks(setting)[0]
        alone = tuple(
            Candidate(one.name, lambda one=one, section=section: _process(section, one, setting))  # type: ignore[misc]
            for one in first.candidates
        )
        nothing = Candidate(
            "python, torch imported",
            lambda: Process([sys.executable, "-c", "import torch"], setting.threads),
        )
        title = f"{section}: {first.title}"
        benchmark = Benchmark(SECTION, title, (*alone, nothing), first.facts)
        result = run(benchmark, setting, {}, say, rounds=0)
        for row in result["rows"]:
            row["peak_ratio"] = row["peak_bytes"] / result["rows"][0]["peak_bytes"]
        yield result


def _process(section: str, candidate: Candidate, setting: Setting) -> Process:
    words = ["-m", "benchmarks.memory", section, candidate.name, setting.to_json()]
    return Process([sys.executable, *words], setting.threads)


def main(section: str, name: str, told: str) -> None:
    setting = Setting.from_json(told)
    candidates = MEASURED[section](setting)[0].candidates
    call = next(one for one in candidates if one.name == name).build()
    for _ in range(2):
        call()
        settle(setting.device)


if __name__ == "__main__":
    from inceptive.errors import InceptiveError

    try:
        main(*sys.argv[1:])
    except InceptiveError as error:
        sys.exit(str(error))
