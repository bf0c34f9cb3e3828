"""Samples on their way to the net: uint8 tensors in memory for small sets, files for large ones.

Both give the same thing: for each epoch an iterator over batches, images (N, C, S, S) of uint8 and
targets (N,) of int64, or (N, K) where labels are soft. Order and crops follow from (seed, epoch)
alone, never from the number of workers, from the cache or from what ran before, so an epoch can be
repeated. The next batches are made by threads while the net works on one: what decodes, resizes and
copies lets other threads run, and no picture is passed between processes.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from inceptive.data.cache import Cache
from inceptive.data.pictures import Pictures, Squares, Wholes
from inceptive.data.prefetch import ahead
from inceptive.data.share import Share
from inceptive.data.source import Samples
from inceptive.errors import InceptiveError
from inceptive.images import FILTERS, Box, Interpolation, Preprocessing, as_array
from inceptive.io.cores import cores

MEMORY_LIMIT = 4 * 2**30
"""Bytes of decoded images that are kept in memory; a larger set streams from its files."""
LARGEST = 2.0
"""Sides of what the net sees that a picture is kept at, at most, when crops are cut from it."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Crop:
    """A random part of the picture: its share of the area, and width / height, both uniform.

    The paper's (arXiv:1409.4842, section 6) is area 0.08-1 and aspect 3/4-4/3. With `flip` it is
    mirrored left and right half of the time.
    """

    area: tuple[float, float] = (1.0, 1.0)
    aspect: tuple[float, float] = (1.0, 1.0)
    flip: bool = False

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
    samples: Samples,
    preprocessing: Preprocessing,
    progress: Progress | None = None,
    cache: Cache | None = None,
) -> tuple[Tensor, Tensor]:
    """Every image through `preprocessing`: (N, C, S, S) of uint8, and the targets of `samples`."""
    size = preprocessing.size
    images = torch.empty((len(samples), preprocessing.channels, size, size), dtype=torch.uint8)
    squares = Pictures(samples, Squares(preprocessing), cache)

    def load(index: int) -> None:
        images.numpy()[index] = squares[index]

    with squares, ThreadPoolExecutor(cores()) as pool:
        for done, _ in enumerate(pool.map(load, range(len(samples))), 1):
            if progress and done % 64 == 0:
                progress(done, len(samples))
    return images, torch.from_numpy(samples.targets)


def permutation(count: int, seed: int, epoch: int) -> Tensor:
    """The order of `count` samples in one epoch: (count,) of int64."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)


def batch_of(count: int, batch_size: int, share: Share) -> int:
    """Images in a batch, `batch_size` or all that there are: one that can be shared out evenly.

    Raises InceptiveError if that cannot be.
    """
    size = min(batch_size, count // share.world * share.world)
    if size % share.world or not size:
        raise InceptiveError(
            f"a batch of {min(batch_size, count)} images cannot be divided evenly among "
            f"{share.world} processes; choose another number of them, or --set batch_size="
            f"{-(-batch_size // share.world) * share.world}"
        )
    return size


class MemoryBatches:
    """Shuffled batches of a set in memory, of each the part of this process; the last, smaller batch of
    an epoch is left out."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        seed: int,
        share: Share = Share(),
    ):
        self.images, self.labels, self.seed, self.share = images, labels, seed, share
        self.batch_size = batch_of(len(labels), batch_size, share)

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, from batch `start` on."""
        order = permutation(len(self.labels), self.seed, number)
        part = self.share.of(self.batch_size)

        def gathered(step: int) -> tuple[Tensor, Tensor]:
            whole = order[(start + step) * self.batch_size : (start + step + 1) * self.batch_size]
            chosen = whole[part]
            return self.images[chosen], self.labels[chosen]

        yield from ahead(gathered, len(self) - start, workers=1)


@dataclass(frozen=True)
class RandomResizedCrop:
    """How a training image becomes a square: decoded `whole`, then a part that is drawn, resized in
    one of several ways that is drawn too."""

    preprocessing: Preprocessing
    crop: Crop
    interpolations: tuple[Interpolation, ...]

    @property
    def whole(self) -> Wholes:
        """How the picture is decoded; what the cache keeps.

        Its shorter side is as long as the smallest crop needs to have as many pixels as the net sees,
        but LARGEST times the net's at most: smaller crops are magnified, as those of ImageNet's
        photographs are (most are 375 pixels high).
        """
        shown = self.preprocessing
        times = min(min(1.0, self.crop.area[0]) ** -0.5, LARGEST)
        return Wholes(shown.channels, round(shown.size * times), shown.interpolation)

    def empty(self, count: int) -> np.ndarray:
        """Room for so many squares: (count, C, S, S) of uint8."""
        shown = self.preprocessing
        return np.empty((count, shown.channels, shown.size, shown.size), np.uint8)

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The part of a picture (H, W, C) that `rng` draws, perhaps mirrored: uint8 (C, S, S)."""
        high, wide = pixels.shape[:2]
        box = self.crop.box(wide, high, rng)
        interpolation = self.interpolations[rng.integers(len(self.interpolations))]
        square = cut(pixels, box, self.preprocessing.size, interpolation)
        return square[:, :, ::-1] if self.crop.flip and rng.random() < 0.5 else square


class FileBatches:
    """Shuffled batches from files, each image cropped at random; of each batch this process's part."""

    def __init__(
        self,
        samples: Samples,
        crop: RandomResizedCrop,
        batch_size: int,
        seed: int,
        workers: int,
        cache: Cache | None = None,
        share: Share = Share(),
    ):
        self.samples, self.crop, self.seed = samples, crop, seed
        self.workers, self.share = workers, share
        self.batch_size = batch_of(len(samples), batch_size, share)
        self.pictures = Pictures(samples, crop.whole, cache)

    def __len__(self) -> int:
        return len(self.samples) // self.batch_size

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, from batch `start` on."""
        order = permutation(len(self.samples), self.seed, number).numpy()
        targets, part = self.samples.targets, self.share.of(self.batch_size)

        def decoded(step: int) -> tuple[Tensor, Tensor]:
            whole = order[(start + step) * self.batch_size : (start + step + 1) * self.batch_size]
            chosen = whole[part]
            images = self.crop.empty(len(chosen))
            for k, index in enumerate(chosen.tolist()):
                rng = np.random.default_rng((self.seed, number, index))
                images[k] = self.crop(self.pictures[index], rng)
            return torch.from_numpy(images), torch.from_numpy(targets[chosen])

        with self.pictures:
            yield from ahead(decoded, len(self) - start, self.workers)


def cut(pixels: np.ndarray, box: Box, size: int, interpolation: Interpolation) -> np.ndarray:
    """The part `box` of a picture (H, W, C) of uint8, to whole pixels, resized: (C, size, size).

    Bilinear and bicubic by torch, which gives what Pillow gives to one or two of 255 levels, in a
    quarter of the time; the others by Pillow.
    """
    left, top, right, bottom = map(round, box)
    part = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
    if interpolation in ("bilinear", "bicubic"):
        x = torch.from_numpy(part.copy()).permute(2, 0, 1)[None]  # what is cached is read-only
        return F.interpolate(x, (size, size), mode=interpolation, antialias=True)[0].numpy()
    image = Image.fromarray(part[..., 0] if part.shape[2] == 1 else part)
    return as_array(image.resize((size, size), FILTERS[interpolation]))


ALL_INTERPOLATIONS: tuple[Interpolation, ...] = tuple(FILTERS)
