"""Loading of samples for the net: an iterator over batches for each epoch.

Images are (N, C, S, S) of uint8 and targets (N,) of int64, or (N, K) where labels are soft. Order and
crops depend on (seed, epoch) alone, not on the number of workers, on whether the pictures lie in
memory, in the cache or in files, or on what ran before, so an epoch can be repeated. Threads prepare
the next batches while the net works on one: decoding, resizing and copying release the GIL, and no
picture is passed between processes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from inceptive.data.cache import Cache, decoders
from inceptive.data.pictures import CachedImages, ModelInputs
from inceptive.data.prefetch import prefetch
from inceptive.data.source import Samples
from inceptive.errors import InceptiveError
from inceptive.images import (
    AT_ONCE,
    FILTERS,
    Box,
    Interpolation,
    Preprocessing,
    Range,
    Source,
    as_array,
    decode,
    to_shorter,
)
from inceptive.io.progress import Advance

MEMORY_LIMIT = 4 * 2**30
"""Bytes of decoded images that are kept in memory; of a larger set none is."""
LARGEST = 1.7
"""Sides of what the net sees that a picture is kept at, at most, when crops are cut from it: as many
pixels as a photograph of ImageNet has (375) for a net of 224."""
ENOUGH = 1.1
"""Times the shorter side that is wanted: a picture decoded to no more than that is kept as it is."""


@dataclass(frozen=True)
class Resized:
    """Whole pictures, their shorter side `shorter` pixels or a little more: uint8 (H, W, C)."""

    channels: int
    shorter: int
    interpolation: Interpolation
    sample_range: Range | None = None

    @property
    def name(self) -> str:
        pixels = f"{self.channels} {self.sample_range} {self.interpolation}"
        return f"whole {self.shorter} {pixels} {decoders()}"

    def __call__(self, source: Source, name: str = "") -> np.ndarray:
        with AT_ONCE.decoding():
            # Half as much: `decode` keeps twice the pixels, but here each crop is resampled once more.
            half = -(-self.shorter // 2)
            image = decode(source, self.channels, half, name, self.sample_range)
            size = image.size
            if min(size) > ENOUGH * self.shorter:
                image, size = to_shorter(image, self.shorter)
            pixels = np.asarray(image)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if size != image.size:
            resized = resize(pixels, size, self.interpolation)
            pixels = resized.permute(1, 2, 0).contiguous().numpy()
        return pixels


@dataclass(frozen=True)
class Rank:
    """Process `rank` of the `world` that train together: each takes its part of every batch in turn."""

    rank: int = 0
    world: int = 1

    def __str__(self) -> str:
        return f"process {self.rank} of {self.world}"

    def of(self, count: int) -> slice:
        """This process's part of `count` consecutive items; parts differ by one at most."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)


@dataclass(frozen=True)
class RandomCrop:
    """How a training image becomes a square: decoded by `spec`, then a random part is resized.

    area is the part's share of the picture's, and aspect its width / height, both drawn uniformly: the
    paper's (arXiv:1409.4842, section 6) are 0.08-1 and 3/4-4/3. One of several `interpolations` is also
    drawn. With area and aspect 1 nothing is drawn, and the square is the one of evaluation.
    """

    preprocessing: Preprocessing
    area: tuple[float, float] = (1.0, 1.0)
    aspect: tuple[float, float] = (1.0, 1.0)
    interpolations: tuple[Interpolation, ...] = ()  # none: that of `preprocessing`

    @property
    def draws(self) -> bool:
        """Whether anything is random."""
        plain = self.area == self.aspect == (1.0, 1.0)
        return not plain or len(self.interpolations) > 1

    @property
    def spec(self) -> ModelInputs | Resized:
        """How the picture is decoded, as kept in memory and in the cache.

        A whole picture's shorter side is long enough for the smallest crop to have as many pixels as
        the net sees, but at most LARGEST times the net's: smaller crops are upsampled, as those of
        ImageNet's photographs are (most are 375 pixels high).
        """
        preprocessing = self.preprocessing
        if not self.draws:
            return ModelInputs(preprocessing)
        times = min(min(1.0, self.area[0]) ** -0.5, LARGEST)
        return Resized(
            preprocessing.channels,
            round(preprocessing.size * times),
            preprocessing.interpolation,
            preprocessing.sample_range,
        )

    def empty(self, count: int) -> np.ndarray:
        """Allocate `count` squares: (count, C, S, S) of uint8."""
        side = self.preprocessing.size
        return np.empty((count, self.preprocessing.channels, side, side), np.uint8)

    def __call__(self, pixels: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
        """Crop the square (C, S, S) of uint8 from the output of `spec`, with the seed `key`."""
        if not self.draws:
            return pixels
        rng = np.random.default_rng(key)
        box = self.box(pixels.shape[1], pixels.shape[0], rng)
        kinds = self.interpolations or (self.preprocessing.interpolation,)
        return cut(pixels, box, self.preprocessing.size, kinds[rng.integers(len(kinds))])

    def box(self, width: int, height: int, rng: np.random.Generator) -> Box:
        """Draw left, top, right, bottom in pixels; the centre square if none of ten draws fits."""
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


def fits_in_memory(pictures: CachedImages, share: Rank = Rank()) -> bool:
    """Whether `pictures`, decoded, take less than this process's part of MEMORY_LIMIT."""
    return pictures.expected_bytes() <= memory_for(share)


def memory_for(share: Rank) -> int:
    """Bytes of decoded images that each process training together keeps in memory."""
    return MEMORY_LIMIT // share.world


def in_memory(
    samples: Samples,
    preprocessing: Preprocessing,
    advance: Advance | None = None,
    cache: Cache | None = None,
) -> Tensor:
    """Preprocess every image: (N, C, S, S) of uint8."""
    pictures = CachedImages(samples, ModelInputs(preprocessing), cache)
    images = torch.empty(
        (len(samples), preprocessing.channels, preprocessing.size, preprocessing.size),
        dtype=torch.uint8,
    )
    for index, pixels in enumerate(pictures.decoded(advance)):
        images.numpy()[index] = pixels
    return images


def permutation(count: int, seed: int, epoch: int) -> Tensor:
    """The order of `count` samples in one epoch: (count,) of int64."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)


def batch_of(count: int, batch_size: int, share: Rank) -> int:
    """Images per batch, `batch_size` or all there are: a number that can be shared out evenly.

    Raises InceptiveError if there is none.
    """
    size = min(batch_size, count // share.world * share.world)
    if size % share.world or not size:
        raise InceptiveError(
            f"a batch of {min(batch_size, count)} images cannot be divided evenly among "
            f"{share.world} processes; choose another number of them, or batch_size="
            f"{-(-batch_size // share.world) * share.world}"
        )
    return size


class Batches:
    """Shuffled batches of pictures, this process's part of each; the last, incomplete batch of an epoch
    is dropped."""

    def __init__(
        self,
        pictures: CachedImages,
        crop: RandomCrop,
        batch_size: int,
        seed: int,
        workers: int,
        share: Rank = Rank(),
    ):
        self.pictures, self.crop, self.seed = pictures, crop, seed
        self.workers, self.share = workers, share
        self.batch_size = batch_of(len(pictures), batch_size, share)

    def __len__(self) -> int:
        return len(self.pictures) // self.batch_size

    def picture(self, number: int, index: int) -> np.ndarray:
        """Picture `index` as seen in epoch `number`: (C, S, S) of uint8."""
        return self.crop(self.pictures[index], (self.seed, number, index))

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, from batch `start` on."""
        order = permutation(len(self.pictures), self.seed, number).numpy()
        targets, part = self.pictures.samples.targets, self.share.of(self.batch_size)

        def cropped(step: int) -> tuple[Tensor, Tensor]:
            batch = order[(start + step) * self.batch_size : (start + step + 1) * self.batch_size]
            indices = batch[part]
            images = self.crop.empty(len(indices))
            for k, index in enumerate(indices.tolist()):
                images[k] = self.picture(number, index)
            return torch.from_numpy(images), torch.from_numpy(targets[indices])

        with self.pictures:
            yield from prefetch(cropped, range(len(self) - start), self.workers)


def cut(pixels: np.ndarray, box: Box, size: int, interpolation: Interpolation) -> np.ndarray:
    """Resize the part `box` of a picture (H, W, C) of uint8, in whole pixels, to (C, size, size)."""
    left, top, right, bottom = map(round, box)
    top, left = min(top, pixels.shape[0] - 1), min(left, pixels.shape[1] - 1)
    part = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
    return resize(part, (size, size), interpolation).numpy()


def resize(pixels: np.ndarray, size: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """Resize a picture (H, W, C) of uint8 to `size`, (width, height): (C, height, width).

    Bilinear and bicubic use torch, which matches Pillow to one or two of 255 levels in a quarter of the
    time; the others use Pillow.
    """
    if interpolation in ("bilinear", "bicubic"):
        x = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]  # they may be read-only
        return F.interpolate(x, size[::-1], mode=interpolation, antialias=True)[0]
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return torch.from_numpy(as_array(image.resize(size, FILTERS[interpolation])))
