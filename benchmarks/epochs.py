"""Section epochs: a folder's images on their way into training, and whether the net waits for them."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.apart import maybe_apart
from benchmarks.benchmark import Benchmark, Candidate, Peaks, run
from benchmarks.pictures import photographs
from benchmarks.setting import Say, Setting
from benchmarks.training import learner_of, our_step
from inceptive.__main__ import environment_for_speed
from inceptive.arch import nets
from inceptive.arch.account import minimum_size
from inceptive.data.cache import Cache
from inceptive.data.loading import Batches as TrainBatches
from inceptive.data.loading import RandomCrop
from inceptive.data.pictures import CachedImages
from inceptive.data.source import PathImages, Samples
from inceptive.images import Preprocessing
from inceptive.training.augment import Augment
from inceptive.training.recipe import AugmentTable

SECTION = "epochs"
AREA, ASPECT, JITTER = (0.08, 1.0), (3 / 4, 4 / 3), 0.4
"""Crops and changes of colour as timm's train.py has them unless told otherwise."""
SIZES, COUNT = ((1024, 768), (500, 375)), 192
BATCH = 32
Batches = Callable[[int], Iterator[tuple[Tensor, Tensor]]]
"""The batches of epoch `number`: images (N, 3, S, S) of uint8, cropped, and labels."""


def measure(setting: Setting, peaks: Peaks, say: Say) -> Iterator[dict[str, Any]]:
    """Epochs without a net, beside timm's loader; then with one, beside steps on a batch at hand."""
    sizes, count = (((64, 48),), 2 * setting.batch_size) if setting.quick else (SIZES, COUNT)
    side = minimum_size(nets.NETS[setting.net]()) if setting.quick else 224
    for size in sizes[:1] if setting.images else sizes:
        files, origin = photographs(setting, size, count)
        yield run(loading(setting, files, origin, side), setting, peaks, say)
    yield run(steps(setting, files, origin, side), setting, peaks, say)


def loading(setting: Setting, files: list[Path], origin: str, side: int) -> Benchmark:
    """A whole epoch of crops, mirrored, their colours changed and normalised, and no net."""
    workers = max(1, setting.threads)
    batch = min(BATCH, len(files))
    count = len(files) // batch * batch  # both leave a smaller last batch out
    args = setting, files, side
    candidates = (
        Candidate(
            f"timm's loader, {workers} workers",
            partial(theirs, files, side, batch, workers),
            images=count,
        ),
        Candidate("inceptive, the first epoch", as_command(setting, first, *args), images=count),
        Candidate("inceptive, later epochs", as_command(setting, later, *args), images=count),
    )
    facts = {"images": origin, "image_size": side}
    return Benchmark(SECTION, f"training batches of {side} px: {origin}", candidates, facts)


def as_command(setting: Setting, build: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    """Build in a process of its own that is started as `inceptive train` is."""
    return maybe_apart(setting.quick, environment_for_speed(os.environ), build, *args)


def first(setting: Setting, files: list[Path], side: int) -> Callable[[], object]:
    """An epoch whose images are all decoded, into a cache that is empty."""
    folder, augmented = setting.folder / "first-epoch", augmentation(side)

    def epoch() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        augmented(ours(setting, files, side, folder)(0))

    return epoch


def later(setting: Setting, files: list[Path], side: int) -> Callable[[], object]:
    """An epoch whose images are all in the cache."""
    augmented = augmentation(side)
    batches = ours(setting, files, side, setting.folder / "later-epochs")
    augmented(batches(0))
    return lambda: augmented(batches(1))


def augmentation(side: int) -> Callable[[Iterator[tuple[Tensor, Tensor]]], None]:
    """What makes of an epoch's batches those that the net sees."""
    table = AugmentTable(flip=True, brightness=JITTER, contrast=JITTER, saturation=JITTER)
    augment, draws = Augment(table, side), torch.Generator().manual_seed(0)
    scale, shift = map(torch.from_numpy, Preprocessing(side).scale_and_shift())

    def augmented(batches: Iterator[tuple[Tensor, Tensor]]) -> None:
        for images, _ in batches:
            augment(images, draws).mul_(scale).add_(shift)

    return augmented


def steps(setting: Setting, files: list[Path], origin: str, side: int) -> Benchmark:
    """As many training steps as an epoch has: on one batch in memory, and on the folder's images."""
    batch, net = setting.batch_size, setting.net
    count = len(files) // batch
    candidates = (
        Candidate(
            "one batch in memory, again and again",
            as_command(setting, at_hand, setting, count, side),
            images=count * batch,
        ),
        Candidate(
            "inceptive, a later epoch from files",
            as_command(setting, from_files, setting, files, side),
            images=count * batch,
        ),
    )
    facts = {"images": origin, "image_size": side, "batch_size": batch, "net": net}
    title = f"{count} training steps of {net}, {side} px, batch {batch}: {origin}"
    return Benchmark(SECTION, title, candidates, facts)


def at_hand(setting: Setting, count: int, side: int) -> Callable[[], object]:
    """So many steps on one batch."""
    step = our_step(setting.net, side, setting.batch_size, setting.num_classes, heads=False)
    return lambda: [step() for _ in range(count)]


def from_files(setting: Setting, files: list[Path], side: int) -> Callable[[], object]:
    """An epoch's steps on images of the cache."""
    batch = setting.batch_size
    learner = learner_of(setting.net, side, batch, setting.num_classes, heads=False)
    batches = ours(setting, files, side, setting.folder / "later-epochs", batch)
    for _ in batches(0):
        pass

    def epoch() -> None:
        for images, labels in batches(1):
            learner.step(images, labels.to(learner.device), torch.Generator())

    return epoch


def ours(
    setting: Setting, files: list[Path], side: int, cache: Path, batch: int = BATCH
) -> Batches:
    """Batches as `inceptive train` has them of a set too large for memory; decoded images in `cache`."""
    samples = Samples(
        PathImages.of([str(file) for file in files], "files"), np.zeros(len(files), np.int64)
    )
    crop = RandomCrop(Preprocessing(side), AREA, ASPECT, ("bilinear", "bicubic"))
    workers = max(1, setting.threads)
    pictures = CachedImages(samples, crop.spec, Cache(cache))
    batches = TrainBatches(pictures, crop, batch, 1, workers)
    return batches.epoch


def theirs(files: list[Path], side: int, batch: int, workers: int) -> Callable[[], object]:
    """An epoch of timm's loader with its train.py's defaults, in processes that stay."""
    data = peers.package("timm.data")
    dataset = data.create_dataset("", root=str(files[0].parent))
    dataset.reader.samples = [(str(file), 0) for file in files]  # the same ones, wherever they lie
    loader = data.create_loader(
        dataset, (3, side, side), batch, is_training=True, use_prefetcher=False, num_workers=workers,
        color_jitter=JITTER, scale=AREA, ratio=ASPECT, hflip=0.5, interpolation="random",
    )  # fmt: skip

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch
