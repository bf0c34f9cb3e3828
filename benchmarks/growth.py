"""Section growth: how the cost of ours grows with the image's size, the batch and the classes."""

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks import inference, training
from benchmarks.benchmark import Benchmark, Candidate, Peaks, Precision, run
from benchmarks.setting import Say, Setting
from inceptive.arch import nets
from inceptive.arch.account import account, minimum_size
from inceptive.training.calibration import wants_bf16

SECTION = "growth"
SIZES = (64, 96, 128, 160, 192, 224, 256, 320)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
CLASSES = (2, 10, 100, 1000, 10000)


def measure(setting: Setting, peaks: Peaks, say: Say) -> Iterator[dict[str, Any]]:
    for benchmark in benchmarks(setting):
        yield run(benchmark, setting, peaks, say)


def benchmarks(setting: Setting) -> list[Benchmark]:
    """Training steps and forward passes, one thing varied at a time; ratios are to the first of each."""
    least = minimum_size(nets.NETS[setting.net]())
    base = (least if setting.quick else 128, setting.batch_size, setting.num_classes)
    sizes = [size for size in SIZES if size >= least]
    varied = {
        "image size": [(size, *base[1:]) for size in (sizes[:2] if setting.quick else sizes)],
        "batch": [(base[0], n, base[2]) for n in (BATCHES[1:3] if setting.quick else BATCHES)],
        "classes": [(*base[:2], k) for k in (CLASSES[:2] if setting.quick else CLASSES)],
    }
    kind: Precision = "bf16" if wants_bf16("auto", torch.device(setting.device)) else "f32"
    found = []
    for name, points in varied.items():
        for work in ("training step", "forward pass"):
            candidates = tuple(_candidate(setting, work, kind, *point) for point in points)
            facts = {"net": setting.net, "varied": name, "work": work, "precision": kind}
            about = f"{base[0]} px, batch {base[1]}, {base[2]} classes"
            title = f"{work}, {kind}, {name} varied about {about}"
            found.append(Benchmark(SECTION, title, candidates, facts))
    return found


def _candidate(
    setting: Setting, work: str, kind: Precision, size: int, batch: int, classes: int
) -> Candidate:
    name = f"{size} px, batch {batch}, {classes} classes"
    if work == "training step":
        macs = training.step_macs(setting.net, size, batch, classes, heads=False)
        return Candidate(
            name,
            lambda: training.our_step(setting.net, size, batch, classes, heads=False),
            macs, batch, kind,
        )  # fmt: skip
    macs = batch * account(nets.NETS[setting.net](classes), size).macs
    images = torch.zeros((batch, 3, size, size), dtype=torch.uint8)
    return Candidate(
        name,
        lambda: inference.our_forward(setting, setting.net, size, images, kind, classes),
        macs, batch, kind,
    )  # fmt: skip
