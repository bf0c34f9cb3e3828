"""Samples on their way to the net: uint8 tensors in memory for small sets, workers for large ones.

Both give the same thing: for each epoch an iterator over batches, images (N, C, S, S) of uint8 and
targets (N,) of int64, or (N, K) where labels are soft. Order and crops follow from (seed, epoch)
alone, never from the number of workers or from what ran before, so an epoch can be repeated.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from inceptive.data.source import Samples
from inceptive.errors import InceptiveError
from inceptive.images import FILTERS, Box, Interpolation, Preprocessing, as_array, resize_box

MEMORY_LIMIT = 4 * 2**30
"""Bytes of decoded images that are kept in memory; a larger set streams from its files."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Crop:
    """A random part of the picture: its share of the area, and width / height, both uniform.

    The paper's (arXiv:1409.4842, section 6) is area 0.08-1 and aspect 3/4-4/3.
    """

    area: tuple[float, float] = (1.0, 1.0)
    aspect: tuple[float, float] = (1.0, 1.0)

    def box(self, width: int, height: int, rng: np.random.Generator) -> Box:
        """left, top, right, bottom in pixels; the centre square if no draw of ten fits."""
        for _ in range(10):
            area = width * height * rng.uniform(*self.area)
            aspect = rng.uniform(*self.aspect)
            w, h = (area * aspect) ** 0.5, (area / aspect) ** 0.5
            if w <= width and h <= height:
                left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
                return left, top, left + w, top + h
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, left + side, top + side


def fits_in_memory(samples: Samples, preprocessing: Preprocessing) -> bool:
    """Whether `samples`, decoded to squares, stay under MEMORY_LIMIT."""
    return len(samples) * preprocessing.channels * preprocessing.resize**2 <= MEMORY_LIMIT


def in_memory(
    samples: Samples, preprocessing: Preprocessing, progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    """Every image through `preprocessing`: (N, C, S, S) of uint8, and the targets of `samples`."""
    size = preprocessing.size
    images = torch.empty((len(samples), preprocessing.channels, size, size), dtype=torch.uint8)

    def load(index: int) -> None:
        images.numpy()[index] = preprocessing.load(samples.source(index))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(load, range(len(samples))), 1):
            if progress and done % 64 == 0:
                progress(done, len(samples))
    return images, torch.from_numpy(samples.targets)


def permutation(count: int, seed: int, epoch: int) -> Tensor:
    """The order of `count` samples in one epoch: (count,) of int64."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)


class MemoryBatches:
    """Shuffled batches of a set in memory; the last, smaller batch of an epoch is left out."""

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int, seed: int):
        self.images, self.labels, self.seed = images, labels, seed
        self.batch_size = min(batch_size, len(labels))

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = permutation(len(self.labels), self.seed, number)
        for step in range(len(self)):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield self.images[chosen], self.labels[chosen]


class FileBatches:
    """Shuffled batches decoded from files by worker processes, each image cropped at random."""

    def __init__(
        self,
        samples: Samples,
        preprocessing: Preprocessing,
        crop: Crop,
        batch_size: int,
        seed: int,
        workers: int,
        interpolations: tuple[Interpolation, ...],
    ):
        self.samples, self.seed, self.workers = samples, seed, workers
        self.preprocessing, self.crop, self.interpolations = preprocessing, crop, interpolations
        self.batch_size = min(batch_size, len(samples))

    def __len__(self) -> int:
        return len(self.samples) // self.batch_size

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = permutation(len(self.samples), self.seed, number).tolist()
        size = self.batch_size
        loader = DataLoader(
            _Cropped(self, number),
            batch_sampler=[order[k * size : (k + 1) * size] for k in range(len(self))],
            num_workers=self.workers,
        )
        yield from _told_in_one_line(loader)


class _Cropped(Dataset[tuple[Tensor, np.ndarray]]):
    """One epoch's view of the files: image `index` with the crop that (seed, epoch, index) draws."""

    def __init__(self, batches: FileBatches, epoch: int):
        self.batches, self.epoch, self.targets = batches, epoch, batches.samples.targets

    def __getitem__(self, index: int) -> tuple[Tensor, np.ndarray]:
        b = self.batches
        rng = np.random.default_rng((b.seed, self.epoch, index))
        # The smallest crop is to have as many pixels as the net sees.
        shorter = round(b.preprocessing.size / min(1.0, b.crop.area[0]) ** 0.5)
        image = b.preprocessing.decode(b.samples.source(index), shorter)
        box = b.crop.box(*image.size, rng)
        interpolation = b.interpolations[rng.integers(len(b.interpolations))]
        square = resize_box(image, box, b.preprocessing.size, interpolation)
        return torch.from_numpy(as_array(square)), self.targets[index]


def in_order(
    samples: Samples, preprocessing: Preprocessing, batch_size: int, workers: int = 0
) -> Iterator[Tensor]:
    """Batches of images (N, C, S, S) of uint8 in the order of `samples`, as they are judged."""
    loader = DataLoader(_Judged(samples, preprocessing), batch_size=batch_size, num_workers=workers)
    yield from _told_in_one_line(loader)


def _told_in_one_line(loader: DataLoader[Any]) -> Iterator[Any]:
    """What `loader` gives; of a worker's InceptiveError only the line itself, not its traceback."""
    try:
        yield from loader
    except InceptiveError as error:
        last = str(error).strip().splitlines()[-1]
        raise InceptiveError(last.removeprefix("inceptive.errors.InceptiveError: ")) from None


class _Judged(Dataset[Tensor]):
    def __init__(self, samples: Samples, preprocessing: Preprocessing):
        self.samples, self.preprocessing = samples, preprocessing

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.preprocessing.load(self.samples.source(index)))


ALL_INTERPOLATIONS: tuple[Interpolation, ...] = tuple(FILTERS)
