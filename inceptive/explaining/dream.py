"""Pictures of what a net looks for, by gradient ascent on an activation.

Feature visualisation starts from noise (Olah, Mordvintsev and Schubert, distill.pub 2017): the image is
parametrised as a spectrum with equally weighted frequencies, in decorrelated colours, and is shifted and
scaled a little at each step, so that no single pixel can carry the answer. DeepDream starts from a
photograph and amplifies what is in it, from coarse to fine.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.io.progress import Advance
from inceptive.nn.net import evaluating

CONTRAST = 0.04
"""Of the spectrum of the noise to begin with: neither flat nor black and white."""
SOFT = 0.25
"""Of the way from the spectrum to a pixel: less, and fewer of them become black or white."""
LEAK = 0.1
"""Of a gradient that ReLU would stop, the share that passes while a target is silent."""
COLOURS = ((0.37, 0.0, 0.0), (0.26, 0.14, 0.0), (0.25, 0.2, 0.08))
"""Red, green and blue from three independent values: the Cholesky factor of the covariance of pixels of
0-1 in scikit-learn's two photographs."""


@dataclass(frozen=True)
class Target:
    """What to maximise: a channel of a layer, the whole layer (channel None), or a logit of the last."""

    layer: str
    channel: int | None = None

    def __str__(self) -> str:
        return self.layer + ("" if self.channel is None else f", channel {self.channel}")


@torch.enable_grad()
def visualise(
    classifier: Classifier,
    target: Target,
    steps: int = 256,
    side: int | None = None,
    seed: int = 0,
    lr: float = 0.05,
    advance: Advance | None = None,
) -> np.ndarray:
    """Find an image (S, S, C) of uint8 that activates `target` as much as possible.

    Raises InceptiveError if there is no such layer or channel.
    """
    channels, size = classifier.preprocessing.channels, classifier.preprocessing.size
    side = side or size
    generator = torch.Generator().manual_seed(seed)
    frequencies = _frequencies(side)
    spectrum = CONTRAST * torch.randn((channels, *frequencies.shape, 2), generator=generator)
    spectrum.requires_grad_()
    optimizer = torch.optim.Adam([spectrum], lr)
    for step in range(steps):
        image = _image(spectrum, frequencies, side)
        moved = _moved(image[None], generator, side)
        score = _score(classifier, target, moved)
        [gradient] = torch.autograd.grad(score, spectrum, retain_graph=True)
        if not gradient.any():  # the target is silent
            with _Leaking():
                score = _score(classifier, target, moved)
            [gradient] = torch.autograd.grad(score, spectrum)
        spectrum.grad = -gradient
        optimizer.step()
        if advance:
            advance(step + 1, steps)
    with torch.no_grad():
        return _bytes(_image(spectrum, frequencies, side))


@torch.enable_grad()
def deepdream(
    classifier: Classifier,
    target: Target,
    picture: np.ndarray,
    octaves: int = 4,
    scale: float = 1.4,
    steps: int = 20,
    lr: float = 0.01,
    seed: int = 0,
    advance: Advance | None = None,
) -> np.ndarray:
    """Amplify what activates `target` in `picture` (H, W, C) of uint8, from coarse to fine.

    Each octave is `scale` times as large as the previous one. Raises InceptiveError as `visualise`.
    """
    generator = torch.Generator().manual_seed(seed)
    photo = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    height, width = photo.shape[2:]
    least = classifier.preprocessing.size // 2
    sizes = [(round(height / scale**k), round(width / scale**k)) for k in reversed(range(octaves))]
    sizes = [size for size in sizes if min(size) >= least] or [(height, width)]
    grown = torch.zeros_like(F.interpolate(photo, sizes[0], mode="area"))
    for number, size in enumerate(sizes):
        grown = F.interpolate(grown, size, mode="bicubic", align_corners=False)
        base = F.interpolate(photo, size, mode="area") if size != (height, width) else photo
        image = (base + grown).clamp(0, 1)
        for step in range(steps):
            image = image.detach()
            right, down = (int(torch.randint(-16, 17, (), generator=generator)) for _ in range(2))
            rolled = torch.roll(image, (down, right), (2, 3)).requires_grad_()
            score = _score(classifier, target, rolled)
            [gradient] = torch.autograd.grad(score, rolled)
            gradient = _all_scales(torch.roll(gradient, (-down, -right), (2, 3)))
            image = (image + lr * gradient).clamp(0, 1)
            if advance:
                advance(number * steps + step + 1, len(sizes) * steps)
        grown = image.detach() - base
    return _bytes((photo + grown)[0])


def activation(classifier: Classifier, target: Target, image: np.ndarray) -> float:
    """Activation of `target` for an image (H, W, C) of uint8: the value that the search maximises."""
    x = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.no_grad():
        return float(_score(classifier, target, x))


def _score(classifier: Classifier, target: Target, images: Tensor) -> Tensor:
    """Mean of the target over images (N, C, H, W) of 0-1: of a channel, or of squares of all."""
    x = classifier.normalise(255 * images)
    with evaluating(classifier.model):
        maps = classifier.model.endpoints(x, [target.layer])[target.layer]
    if target.channel is None:
        return maps.square().mean()
    if not 0 <= target.channel < maps.shape[1]:
        raise InceptiveError(f"{target.layer} has channels 0 to {maps.shape[1] - 1}")
    score = maps[:, target.channel].mean()
    # Logits mean what they are above each other: all of them raised alike change no answer.
    return score - maps.mean() if maps.ndim == 2 else score


class _Relu(torch.autograd.Function):
    """ReLU that lets a part of the gradient through where it is shut."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x > 0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        [open_] = ctx.saved_tensors
        return torch.where(open_, gradients[0], LEAK * gradients[0])


class _Leaking(TorchFunctionMode):
    """Every ReLU as `_Relu`: a channel that noise does not excite has no gradient to climb else."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (F.relu, torch.relu, torch.relu_):
            return _Relu.apply(args[0])  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


def _frequencies(side: int) -> Tensor:
    """Cycles in a pixel of each entry of a real spectrum: (side, side // 2 + 1)."""
    rows, columns = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]
    return torch.sqrt(rows**2 + columns**2)


def _image(spectrum: Tensor, frequencies: Tensor, side: int) -> Tensor:
    """(C, side, side) of 0-1 from a spectrum (C, side, side // 2 + 1, 2)."""
    scaled = torch.view_as_complex(spectrum) / frequencies.clamp(min=1 / side)
    plane = torch.fft.irfft2(scaled, s=(side, side), norm="ortho")
    if plane.shape[0] == 3:
        plane = torch.einsum("ij,jhw->ihw", torch.tensor(COLOURS) / COLOURS[0][0], plane)
    return torch.sigmoid(SOFT * plane)


def _all_scales(gradient: Tensor) -> Tensor:
    """A gradient (1, C, H, W) whose fine, middle and coarse parts weigh alike, of mean size 1.

    Left as it is, the finest grain would drown the rest.
    """
    total = torch.zeros_like(gradient)
    for side in (1, 5, 13):
        if side > min(gradient.shape[2:]):
            continue
        pad = side // 2
        around = F.pad(gradient, (pad, pad, pad, pad), mode="replicate")
        smooth = F.avg_pool2d(around, side, stride=1)
        total += smooth / (smooth.abs().mean() + 1e-8)
    return total / (total.abs().mean() + 1e-8)


def _moved(images: Tensor, generator: torch.Generator, side: int) -> Tensor:
    """Shifted by a sixteenth of its side at most; every other time, as drawn, turned and scaled too.

    To turn and scale smooths, and a net must not be pleased by what is seen only when smoothed.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    right, down = uniform(-1 / 16, 1 / 16), uniform(-1 / 16, 1 / 16)
    if uniform(0, 1) < 0.5:
        return torch.roll(images, (round(down * side), round(right * side)), (2, 3))
    scale, turn = uniform(0.9, 1.1), uniform(-0.09, 0.09)  # five degrees
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    theta = torch.tensor([[[cos, -sin, 2 * right], [sin, cos, 2 * down]]], dtype=torch.float32)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _bytes(image: Tensor) -> np.ndarray:
    """(C, H, W) of 0-1 to (H, W, C) of uint8."""
    return np.asarray((image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())
