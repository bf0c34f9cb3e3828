"""Section startup: from a typed command to its answer, nothing loaded before."""

import sys
from collections.abc import Iterator
from typing import Any

from benchmarks import peers
from benchmarks.benchmark import Benchmark, Candidate, Peaks, run, torch_imported
from benchmarks.classify import Classified
from benchmarks.pictures import photographs
from benchmarks.process import Process, inceptive
from benchmarks.setting import Say, Setting

SECTION = "startup"


def measure(setting: Setting, peaks: Peaks, say: Say) -> Iterator[dict[str, Any]]:
    for make in (loading, answering):
        yield run(make(setting), setting, peaks, say)


def loading(setting: Setting) -> Benchmark:
    """What it takes until a first word can be said: imports, help, a table."""

    def imports(package: str) -> Process:
        peers.package(package)
        words = ["-m", "benchmarks.peers", f"import:{package}"]
        return Process([sys.executable, *words], setting.threads)

    def runs(*words: str) -> Process:
        return Process(words, setting.threads)

    candidates = (
        Candidate("import timm", lambda: imports("timm")),
        Candidate("import torchvision", lambda: imports("torchvision")),
        torch_imported(setting),
        Candidate("inceptive --help", lambda: runs(*inceptive("--help"))),
        Candidate("inceptive table", lambda: runs(*inceptive("table", setting.net))),
        Candidate("python, nothing", lambda: runs(sys.executable, "-c", "pass")),
    )
    return Benchmark(SECTION, "the first word", candidates)


def answering(setting: Setting) -> Benchmark:
    """One photograph, of a data set's size, to its class, with the same weights."""
    classified = Classified(setting)
    files, origin = photographs(setting, (500, 375), 1)
    out = setting.folder / "one.csv"

    def theirs(package: str) -> Process:
        peers.package(package)
        return classified.theirs(package, "photograph", files[0], out)

    candidates = (
        Candidate("timm, one photograph", lambda: theirs("timm"), images=1),
        Candidate("torchvision, one photograph", lambda: theirs("torchvision"), images=1),
        *(
            Candidate(
                f"inceptive predict --engine {engine}",
                lambda engine=engine: classified.ours(files[0], out, engine),  # type: ignore[misc]
                images=1,
            )
            for engine in classified.engines()
        ),
    )
    facts = {"net": classified.net, "image_size": classified.preprocessing.size, "images": origin}
    return Benchmark(SECTION, f"one photograph; {classified.told}", candidates, facts)
