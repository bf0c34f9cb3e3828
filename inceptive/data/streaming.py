"""Training images streamed from tar shards, read sequentially and shuffled in a buffer.

An epoch is planned before anything is read, from the places in the index: the shards in an order of
their own, image by image, and which images leave the buffer together. So order and crops depend on
(seed, epoch) alone, an epoch can resume midway without rereading what is past, and no image is repeated
or left out except those of a last, incomplete batch.

Each of several processes takes one stretch of that sequence, in proportion to its part of a batch, and
reads the shards in it: at most two of them are also read by another process. All have the same number
of steps. The price: batches differ with the number of processes, and two images are mixed only if they
lie within a buffer of each other, or in shards that are read close together.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from inceptive.data.loading import RandomCrop, Rank, batch_of
from inceptive.data.prefetch import prefetch
from inceptive.data.shards.member import Member, TarImages, read_at
from inceptive.data.source import Samples

BUFFER = 256 * 2**20
"""Bytes of image files, as they lie in the tars, that wait to be mixed."""
AHEAD = 2**23
"""Bytes of a tar that are read at once."""
Batch = tuple[Tensor, Tensor]


class StreamBatches:
    """Shuffled batches from tars, each image cropped at random from a whole, downscaled picture.

    Like `loading.Batches`; yields only this process's `share` of a batch. One thread reads,
    `workers` others decode.
    """

    def __init__(
        self,
        samples: Samples,
        crop: RandomCrop,
        batch_size: int,
        seed: int,
        workers: int,
        share: Rank = Rank(),
    ):
        assert isinstance(samples.images, TarImages)
        self.samples, self.crop, self.seed = samples, crop, seed
        self.images, self.places = samples.images, samples.images.places
        self.workers, self.share = workers, share
        self.batch_size = batch_of(len(samples), batch_size, share)
        part = share.of(self.batch_size)
        self.part = part.stop - part.start
        mean = int(self.places["length"].mean())
        self.buffer = max(BUFFER // max(mean, 1), 1)

    def __len__(self) -> int:
        return len(self.samples) // self.batch_size

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """This process's part of the batches of one epoch, from batch `start` on."""
        targets = self.samples.targets

        def decoded(batch: list[tuple[int, Member]]) -> Batch:
            images = self.crop.empty(self.part)
            for k, (index, member) in enumerate(batch):
                images[k] = self.crop(self.crop.spec(member), (self.seed, number, index))
            indices = [index for index, _ in batch]
            return torch.from_numpy(images), torch.from_numpy(targets[indices])

        reading = self._read(self.line(number), self.order(number), start)
        with closing(reading):
            # The reader is asked for one batch after another, so one thread of its own is enough.
            steps = range(len(self) - start)
            members = prefetch(lambda _: next(reading), steps, min(self.workers, 1))
            with closing(members), closing(prefetch(decoded, members, self.workers)) as batches:
                yield from batches

    def line(self, epoch: int) -> np.ndarray:
        """The images of this process in one epoch, in reading order: indices of `samples`."""
        places = self.places
        numbers = np.unique(places["tar"])
        turn = np.empty(int(numbers.max()) + 1, np.int64)
        turn[numbers] = np.random.default_rng((self.seed, epoch)).permutation(len(numbers))
        line = np.lexsort((places["offset"], turn[places["tar"]]))
        part, steps = self.share.of(self.batch_size), len(self)
        return line[part.start * steps : part.stop * steps]

    def order(self, epoch: int) -> np.ndarray:
        """The order in which the images of `line` leave the buffer: positions in it."""
        count = self.part * len(self)
        # The 1 sets these draws apart from those of crops, (seed, epoch, index).
        rng = np.random.default_rng((self.seed, epoch, self.share.rank, 1))
        buffer = list(range(min(self.buffer, count)))
        order = np.empty(count, np.int64)
        later = range(len(buffer), count)
        for k, (slot, new) in enumerate(
            zip(rng.integers(len(buffer), size=len(later)).tolist(), later, strict=True)
        ):
            order[k] = buffer[slot]
            buffer[slot] = new
        order[len(later) :] = rng.permutation(buffer)
        return order

    def _read(
        self, line: np.ndarray, order: np.ndarray, start: int
    ) -> Generator[list[tuple[int, Member]], None, None]:
        """The image files of each batch from `start` on, each read once, in the order of `line`."""
        rest = order[start * self.part :]
        positions = np.sort(rest)
        buffer: dict[int, Member] = {}
        with closing(self._members(map(int, line[positions]))) as members:
            coming = zip(positions.tolist(), members, strict=True)
            for at in range(0, len(rest), self.part):
                batch = []
                for position in rest[at : at + self.part].tolist():
                    while position not in buffer:
                        buffer |= [next(coming)]
                    batch.append((int(line[position]), buffer.pop(position)))
                yield batch

    def _members(self, indices: Iterable[int]) -> Generator[Member, None, None]:
        """The image files at `indices`, with their content; one tar at a time is open."""
        for tar, members in groupby(map(self.images.source, indices), lambda member: member.tar):
            with tar.open(AHEAD) as file:
                for member in members:
                    yield replace(member, content=read_at(file, member))
