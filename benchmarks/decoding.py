"""Section decode: a photograph's file to the square that a net sees, in one thread."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Benchmark, Candidate, Peaks, run
from benchmarks.peers import Job, transform_of
from benchmarks.pictures import CAMERA, photographs
from benchmarks.setting import Say, Setting
from inceptive.images import Preprocessing

SECTION = "decode"


def measure(setting: Setting, peaks: Peaks, say: Say) -> Iterator[dict[str, Any]]:
    """Photographs of a camera's size, and small ones as in data sets."""
    sizes = [(200, 150)] if setting.quick else [CAMERA, (500, 375)]
    for size in sizes[:1] if setting.images else sizes:
        files, origin = photographs(setting, size, 2 if setting.quick else 8)
        yield run(benchmark(files, origin), setting, peaks, say)


def benchmark(files: list[Path], origin: str) -> Benchmark:
    """timm's and torchvision's way for evaluation, and ours; one file after the other."""
    shown = Preprocessing(224, crop=0.875, interpolation="bicubic")
    job = Job(
        "inception_v3", "timm", "", 0, shown.size, shown.resize, shown.interpolation,
        shown.mean, shown.std, (), "",
    )  # fmt: skip

    def theirs(package: str) -> Callable[[], object]:
        load, names = transform_of(replace(job, package=package)), cycle(map(str, files))
        return lambda: load(next(names))

    def ours() -> Callable[[], object]:
        names = cycle(map(str, files))
        # To float and normalised, as the peers' transforms end; we do that later, a batch at once.
        return lambda: shown.normalise(shown.load(next(names)))

    candidates = (
        Candidate("timm's transform", lambda: theirs("timm"), images=1),
        Candidate("torchvision's transform", lambda: theirs("torchvision"), images=1),
        Candidate("inceptive", ours, images=1),
    )
    facts = {"images": origin, "image_size": shown.size}
    return Benchmark(SECTION, f"JPEG files to {shown.size} px: {origin}", candidates, facts)
