"""Section waiting: how long until a first accuracy, a first answer, a report; what it is made of."""

import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from re import Match
from typing import Any

from benchmarks.benchmark import Benchmark, Candidate, Peaks, run, torch_imported
from benchmarks.classify import Classified
from benchmarks.pictures import photographs
from benchmarks.process import Process, Until, inceptive
from benchmarks.setting import Say, Setting

SECTION = "waiting"
SIZE = (500, 375)


def measure(setting: Setting, peaks: Peaks, say: Say) -> Iterator[dict[str, Any]]:
    classified = Classified(setting)
    for benchmark in (training(setting), serving(classified), evaluating(classified)):
        yield run(benchmark, setting, peaks, say)


def labelled(setting: Setting, labels: tuple[str, ...], count: int) -> tuple[Path, str]:
    """A folder of `count` photographs, or all that are given if fewer, and where they are from."""
    files, origin = photographs(setting, SIZE, count)
    files = files[:count]
    folder = setting.folder / f"labelled-{len(labels)}-{len(files)}"
    for number, file in enumerate(files):
        kept = folder / labels[number % len(labels)] / f"{number:04}{file.suffix}"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, kept)
    return folder, origin


def training(setting: Setting) -> Benchmark:
    """From the command to the first accuracy, on a machine that has never trained: an empty cache."""
    folder, origin = labelled(setting, ("a", "b"), 24 if setting.quick else 120)
    place = setting.folder / "first"
    more = ["--set", "epochs=1", "--set", "image_size=64"] if setting.quick else []
    words = inceptive(
        "train", folder, "--weights", "none", "--minutes", 5, "--out", place / "model", *more
    )

    def until(said: str) -> Until:
        cache = {"INCEPTIVE_CACHE": str(place / "cache")}
        return Until(words, setting.threads, said, fresh=place, environment=cache)

    candidates = (
        torch_imported(setting),
        Candidate("inceptive train, its images known", lambda: until(r"images: \d+ train")),
        Candidate("inceptive train, its plan made", lambda: until(r"^plan: ")),
        Candidate("inceptive train, the first accuracy", lambda: until(r"^epoch 1/")),
    )
    return Benchmark(SECTION, "training from scratch, until", candidates, {"images": origin})


def serving(classified: Classified) -> Benchmark:
    """From the command to the first answer, of a photograph that is posted."""
    setting = classified.setting
    files, origin = photographs(setting, SIZE, 1)
    content = files[0].read_bytes()

    def post(listening: Match[str]) -> None:
        request = urllib.request.Request(
            f"{listening[1]}/v1/predict", content, {"Content-Type": "image/jpeg"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()

    def until(engine: str, answered: bool) -> Until:
        words = inceptive("serve", classified.folder_for(engine), "--engine", engine, "--port", 0)
        then = post if answered else lambda _: None
        return Until(words, setting.threads, r"listening on (http://[^;]+)", then)

    candidates = (
        torch_imported(setting),
        *(
            Candidate(
                f"inceptive serve --engine {engine}, {'the first answer' if answered else 'listening'}",
                lambda engine=engine, answered=answered: until(engine, answered),  # type: ignore[misc]
            )
            for engine in classified.engines()
            for answered in (False, True)
        ),
    )
    return Benchmark(SECTION, f"serving, until; {classified.told}", candidates, {"images": origin})


def evaluating(classified: Classified) -> Benchmark:
    """Whole commands: of one photograph they are the start, of many the time that each takes."""
    setting = classified.setting
    count = 8 if setting.quick else 128
    labels = classified.labels[:4]

    def evaluates(engine: str, count: int) -> Process:
        folder, _ = labelled(setting, labels, count)
        words = inceptive(
            "evaluate", classified.folder_for(engine), folder, "--split", "all", "--engine", engine
        )
        return Process(words, setting.threads)

    candidates = (
        torch_imported(setting),
        *(
            Candidate(
                f"inceptive evaluate --engine {engine}, {many} photographs",
                lambda engine=engine, many=many: evaluates(engine, many),  # type: ignore[misc]
                images=many,
            )
            for engine in classified.engines()
            for many in (len(labels), count)
        ),
    )
    return Benchmark(SECTION, f"evaluating; {classified.told}", candidates)
