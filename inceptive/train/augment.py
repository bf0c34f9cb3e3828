"""Random changes to a batch of pictures, all at once, on the device that trains.

Every change of shape (crop, shift, turn, mirror) is one map from the output square to the picture
and one resampling. Inside, values are 0-1; what comes out is 0-255 again, to be normalised as ever.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inceptive.train.recipe import AugmentTable


@dataclass(frozen=True)
class Augment:
    """images (N, C, S, S) of uint8 -> (N, C, size, size) of float32, 0-255, changed at random.

    `cropped` says that the pictures were cropped at random already, by the workers that read them.
    """

    table: AugmentTable
    size: int
    cropped: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        x = images.float().div_(255)
        draw = _Draw(len(x), x.device, generator)
        if self._moves or x.shape[-1] != self.size:
            x = self._move(x, draw)
        if self._colours:
            x = self._colour(x, draw)
        if self.table.erase:
            x = self._erase(x, draw)
        return x.mul_(255)

    @property
    def _moves(self) -> bool:
        t = self.table
        cropped = not self.cropped and (t.area != (1.0, 1.0) or t.aspect != (1.0, 1.0))
        return bool(t.flip or t.dihedral or t.shift or t.rotate or cropped)

    @property
    def _colours(self) -> bool:
        t = self.table
        return bool(t.brightness or t.contrast or t.saturation or t.hue)

    def _move(self, x: Tensor, draw: "_Draw") -> Tensor:
        """One affine map a picture: output coordinates in -1..1 to input coordinates in -1..1."""
        t, n = self.table, len(x)
        area, aspect = (t.area, t.aspect) if not self.cropped else ((1.0, 1.0), (1.0, 1.0))
        part = draw.uniform(*area)
        ratio = draw.uniform(*aspect).sqrt()
        w, h = (part.sqrt() * ratio).clamp(max=1), (part.sqrt() / ratio).clamp(max=1)
        turns = draw.integers(4) if t.dihedral else torch.zeros(n, device=x.device)
        # A quarter turn lays the crop's width down the picture.
        across, down = torch.where(turns % 2 == 1, h, w), torch.where(turns % 2 == 1, w, h)
        # A crop lies inside the picture; a shift may leave it, by so much of the side.
        free_x, free_y = 1 - across + 2 * t.shift, 1 - down + 2 * t.shift
        centre = torch.stack([draw.uniform(-1, 1) * free_x, draw.uniform(-1, 1) * free_y], 1)
        angle = draw.uniform(-t.rotate, t.rotate).deg2rad() + turns * (torch.pi / 2)
        mirror = torch.ones(n, device=x.device)
        if t.flip or t.dihedral:
            mirror = 1 - 2.0 * draw.integers(2)
        cos, sin = angle.cos(), angle.sin()
        rows = [
            torch.stack([cos * w * mirror, -sin * h], 1),
            torch.stack([sin * w * mirror, cos * h], 1),
        ]
        theta = torch.cat([torch.stack(rows, 1), centre[:, :, None]], 2)
        grid = F.affine_grid(theta, [n, x.shape[1], self.size, self.size], align_corners=False)
        return F.grid_sample(x, grid, "bilinear", t.border, align_corners=False)

    def _colour(self, x: Tensor, draw: "_Draw") -> Tensor:
        """Brightness, contrast, saturation and hue, each by a random amount about none."""
        t = self.table
        if t.brightness:
            x = x + draw.uniform(-t.brightness, t.brightness)[:, None, None, None]
        if t.contrast:
            mean = x.mean((1, 2, 3), keepdim=True)
            x = (
                mean
                + (x - mean) * draw.uniform(1 - t.contrast, 1 + t.contrast)[:, None, None, None]
            )
        if x.shape[1] == 3 and (t.saturation or t.hue):
            x = self._saturate_and_turn(x, draw)
        return x.clamp(0, 1)

    def _saturate_and_turn(self, x: Tensor, draw: "_Draw") -> Tensor:
        """Scale the colour differences in YIQ and turn them about grey: saturation and hue."""
        t = self.table
        to_yiq = x.new_tensor(
            [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]
        )
        scale = draw.uniform(1 - t.saturation, 1 + t.saturation)
        turn = draw.uniform(-t.hue, t.hue) * (2 * torch.pi)
        cos, sin = scale * turn.cos(), scale * turn.sin()
        one, zero = torch.ones_like(cos), torch.zeros_like(cos)
        rotation = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], 1).view(-1, 3, 3)
        change = torch.linalg.inv(to_yiq) @ rotation @ to_yiq
        return torch.einsum("nij,njhw->nihw", change, x)

    def _erase(self, x: Tensor, draw: "_Draw") -> Tensor:
        """A grey rectangle of 2-33 % of the area over the pictures drawn (arXiv:1708.04896)."""
        side = (torch.arange(x.shape[-1], device=x.device) + 0.5) / x.shape[-1]
        area, ratio = draw.uniform(0.02, 0.33), draw.uniform(-1.2, 1.2).exp().sqrt()
        w, h = (area.sqrt() * ratio).clamp(max=1), (area.sqrt() / ratio).clamp(max=1)
        left, top = draw.uniform(0, 1) * (1 - w), draw.uniform(0, 1) * (1 - h)
        hit = draw.uniform(0, 1) < self.table.erase
        across = (side >= left[:, None]) & (side < (left + w)[:, None])
        down = (side >= top[:, None]) & (side < (top + h)[:, None])
        inside = across[:, None, :] & down[:, :, None] & hit[:, None, None]
        return torch.where(inside[:, None], x.new_tensor(0.5), x)


class _Draw:
    """Random numbers, one for each of n pictures. Drawn on the CPU: the same on every device."""

    def __init__(self, n: int, device: torch.device, generator: torch.Generator):
        self.n, self.device, self.generator = n, device, generator

    def uniform(self, low: float, high: float) -> Tensor:
        drawn = torch.rand(self.n, generator=self.generator) * (high - low) + low
        return drawn.to(self.device)

    def integers(self, high: int) -> Tensor:
        return torch.randint(high, (self.n,), generator=self.generator).to(self.device)
