"""The resizings of the peers: any picture to what the net of the FID reads, 3 x 299 x 299.

They differ, and so do the distances: see docs/fid.md. Each also has its own way from 0-255 to -1-1.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image

SIDE = 299
Resize = Literal["pytorch", "tensorflow", "clean"]


def square(pixels: np.ndarray, resize: Resize) -> np.ndarray:
    """Resize a picture (H, W, 3) of uint8 for the net: (3, 299, 299) of float32 from -1 to 1.

    pytorch: as pytorch-fid, bilinear between the centres of pixels, no antialiasing; x / 127.5 - 1.
    tensorflow: as TensorFlow 1 and torch-fidelity, bilinear from the corners of pixels, no
    antialiasing; (x - 128) / 128.
    clean: as clean-fid, Pillow's antialiased bicubic in float32; (x - 128) / 128.
    """
    values: np.ndarray = pixels.astype(np.float32)
    if resize == "pytorch":
        values = 2 * _bilinear(values / np.float32(255), _centres) - 1
    elif resize == "tensorflow":
        values = (_bilinear(values, _corners) - 128) / 128
    else:
        values = (_bicubic(values) - 128) / 128
    return values


Positions = Callable[[int], np.ndarray]
"""Where in a row of so many pixels each of the 299 lies: (299,) of float32."""


def _centres(side: int) -> np.ndarray:
    scale = np.float32(side / SIDE)
    at = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    return at.clip(0)


def _corners(side: int) -> np.ndarray:
    return np.arange(SIDE, dtype=np.float32) * np.float32(side / SIDE)


def _bilinear(pixels: np.ndarray, positions: Positions) -> np.ndarray:
    """Interpolate (H, W, 3) of float32 along rows, then along columns: (3, 299, 299)."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    for axis in (2, 1):
        at = positions(planes.shape[axis])
        low = at.astype(np.int64)
        high = np.minimum(low + 1, planes.shape[axis] - 1)
        share = (at - low.astype(np.float32)).reshape(-1, *[1] * (2 - axis))
        first, second = planes.take(low, axis), planes.take(high, axis)
        second -= first
        second *= share
        first += second
        planes = first
    return planes


def _bicubic(pixels: np.ndarray) -> np.ndarray:
    images = [Image.fromarray(np.ascontiguousarray(pixels[..., k])) for k in range(3)]
    planes = [image.resize((SIDE, SIDE), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(plane) for plane in planes]).clip(0, 255)
