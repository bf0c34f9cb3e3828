"""Random augmentation of a batch of pictures, all at once, on the training device.

All geometric changes (shift, turn, mirror) are one map from the output square to the picture
and one resampling. Values are 0-255 throughout, to be normalised as usual.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import Barrier

import torch
from torch import Tensor
from torch.nn import functional as F

from inceptive.data.loading import Rank
from inceptive.training.recipe import AugmentTable

CHUNK = 8
"""Pictures that a thread changes at a time, at most: what they become on the way stays in its cache."""
Change = Callable[[Tensor, slice], object]
"""Changes some of a batch's pictures (n, C, H, W) in place, as was drawn for that part of the batch."""


@dataclass(frozen=True)
class Augment:
    """images (N, C, size, size) of 0-255 -> the same of float32, randomly augmented.

    They are already randomly cropped: area and aspect belong to `data.loading.RandomCrop`. If the images
    are a `share` of a batch, the same is drawn for them as in a single process.
    """

    table: AugmentTable
    size: int
    share: Rank = Rank()

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        draw = _Draw(len(images), images.device, generator, self.share)
        changes: list[Change] = []
        move: Callable[[Tensor, slice], Tensor] | None = None
        on_cpu = images.device.type == "cpu"
        if self._moves:
            move = self._move(draw, exact=on_cpu and not self._resamples)
        if self._colours:
            changes.append(self._colour(draw, images.shape[1]))
        if self.table.erase:
            changes.append(self._erase(draw))
        changed = torch.empty((*images.shape[:2], self.size, self.size), device=images.device)
        threads = torch.get_num_threads()
        step = min(CHUNK, -(-len(images) // threads)) if on_cpu else len(images)

        def change_some(at: int) -> None:
            some = slice(at, at + step)
            x = changed[some]
            x.copy_(move(images[some], some) if move else images[some])
            for change in changes:
                change(x, some)

        each = _workers(os.getpid(), threads).map if on_cpu else map
        list(each(change_some, range(0, len(images), step)))
        return changed

    @property
    def _moves(self) -> bool:
        return bool(self.table.flip or self.table.dihedral or self._resamples)

    @property
    def _resamples(self) -> bool:
        t = self.table
        return bool(t.shift or t.rotate)

    @property
    def _colours(self) -> bool:
        t = self.table
        return bool(t.brightness or t.contrast or t.saturation or t.hue)

    def _move(self, draw: "_Draw", exact: bool) -> Callable[[Tensor, slice], Tensor]:
        """One affine map a picture: output coordinates in -1..1 to input coordinates in -1..1. exact:
        it is nothing but quarter turns and a mirror, so bytes are moved and none is interpolated."""
        t = self.table
        draw.uniform(0, 1), draw.uniform(0, 1)  # once a crop's: a seed gives what it always gave
        turns = draw.integers(4) if t.dihedral else draw.zeros()
        # A shift may leave the picture, by so much of the side.
        centre = torch.stack([draw.uniform(-1, 1), draw.uniform(-1, 1)], 1) * (2 * t.shift)
        if not t.rotate:  # by whole pixels: parts of one would blur what validation sees sharp
            centre = (centre * (self.size / 2)).round() * (2 / self.size)
        angle = draw.uniform(-t.rotate, t.rotate).deg2rad() + turns * (torch.pi / 2)
        mirror = draw.zeros() + 1
        if t.flip or t.dihedral:
            mirror = 1 - 2.0 * draw.integers(2)
        if exact:
            return _turned(turns.int().tolist(), mirror.tolist())
        cos, sin = angle.cos(), angle.sin()
        rows = [
            torch.stack([cos * mirror, -sin], 1),
            torch.stack([sin * mirror, cos], 1),
        ]
        theta = torch.cat([torch.stack(rows, 1), centre[:, :, None]], 2)

        def moved(x: Tensor, some: slice) -> Tensor:
            shape = [*x.shape[:2], self.size, self.size]
            grid = F.affine_grid(theta[some], shape, align_corners=False)
            return F.grid_sample(x.float(), grid, "bilinear", t.border, align_corners=False)

        return moved

    def _colour(self, draw: "_Draw", channels: int) -> Change:
        """Brightness, contrast, saturation and hue, each by a random amount about none.

        Each is a linear map of a pixel's channels and a constant; so are all of them together, and every
        picture is passed over once.
        """
        t = self.table
        matrix = torch.eye(channels, device=draw.device).expand(draw.n, -1, -1)
        offset, scale = draw.zeros(), draw.zeros() + 1
        if t.brightness:
            offset = draw.uniform(-t.brightness, t.brightness) * 255
        if t.contrast:
            scale = draw.uniform(1 - t.contrast, 1 + t.contrast)
            matrix = matrix * scale[:, None, None]
        if channels == 3 and (t.saturation or t.hue):
            matrix = self._saturate_and_turn(draw) @ matrix  # grey stays grey: an offset is one

        def colour(x: Tensor, some: slice) -> None:
            constant = offset[some]
            if t.contrast:
                mean = x.mean((1, 2, 3)) + constant
                constant = mean + (constant - mean) * scale[some]
            flat = x.flatten(2)  # the same memory
            changed = torch.baddbmm(constant[:, None, None], matrix[some], flat)
            torch.clamp(changed, 0, 255, out=flat)

        return colour

    def _saturate_and_turn(self, draw: "_Draw") -> Tensor:
        """(N, 3, 3) that scales colour differences in YIQ and turns them about grey: saturation, hue."""
        t = self.table
        to_yiq = torch.tensor(
            [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]],
            device=draw.device,
        )
        scale = draw.uniform(1 - t.saturation, 1 + t.saturation)
        turn = draw.uniform(-t.hue, t.hue) * (2 * torch.pi)
        cos, sin = scale * turn.cos(), scale * turn.sin()
        one, zero = torch.ones_like(cos), torch.zeros_like(cos)
        rotation = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], 1).view(-1, 3, 3)
        change: Tensor = torch.linalg.inv(to_yiq) @ rotation @ to_yiq
        return change

    def _erase(self, draw: "_Draw") -> Change:
        """A grey rectangle of 2-33 % of the area over the pictures drawn (arXiv:1708.04896)."""
        side = (torch.arange(self.size, device=draw.device) + 0.5) / self.size
        area, ratio = draw.uniform(0.02, 0.33), draw.uniform(-1.2, 1.2).exp().sqrt()
        w, h = (area.sqrt() * ratio).clamp(max=1), (area.sqrt() / ratio).clamp(max=1)
        left, top = draw.uniform(0, 1) * (1 - w), draw.uniform(0, 1) * (1 - h)
        hit = draw.uniform(0, 1) < self.table.erase
        across = (side >= left[:, None]) & (side < (left + w)[:, None])
        down = (side >= top[:, None]) & (side < (top + h)[:, None])
        inside = across[:, None, :] & down[:, :, None] & hit[:, None, None]
        return lambda x, some: x.masked_fill_(inside[some, None], 127.5)


@cache
def _workers(process: int, threads: int) -> ThreadPoolExecutor:
    """So many threads, whose operations take one each: once a second thread has divided one, libgomp
    counts more threads than processors, and those of the training steps sleep between operations."""
    workers, all_begun = ThreadPoolExecutor(threads, "augment"), Barrier(threads)

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # else it takes the number of all threads when it first needs it
        all_begun.wait()

    for begun in [workers.submit(begin) for _ in range(threads)]:
        begun.result()
    torch.set_num_threads(threads)  # that of threads begun later
    return workers


def _turned(turns: list[int], mirrors: list[float]) -> Callable[[Tensor, slice], Tensor]:
    """Each picture mirrored left and right where `mirrors` is negative, after so many quarter turns."""

    def moved(x: Tensor, some: slice) -> Tensor:
        turned = torch.empty_like(x)
        for k, (turn, mirror) in enumerate(zip(turns[some], mirrors[some], strict=True)):
            picture = torch.rot90(x[k], turn, (1, 2)) if turn else x[k]
            turned[k] = picture.flip(2) if mirror < 0 else picture
        return turned

    return moved


class _Draw:
    """Random numbers, one for each of n pictures, which are a share of a batch. Drawn on the CPU: the
    same on every device."""

    def __init__(self, n: int, device: torch.device, generator: torch.Generator, share: Rank):
        self.n, self.device, self.generator = n, device, generator
        self.whole = n * share.world
        self.part = share.of(self.whole)

    def zeros(self) -> Tensor:
        """(n,) of float32."""
        return torch.zeros(self.n, device=self.device)

    def uniform(self, low: float, high: float) -> Tensor:
        drawn = torch.rand(self.whole, generator=self.generator)[self.part] * (high - low) + low
        return drawn.to(self.device)

    def integers(self, high: int) -> Tensor:
        drawn = torch.randint(high, (self.whole,), generator=self.generator)
        return drawn[self.part].to(self.device)
