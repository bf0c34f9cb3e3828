"""The three resizings, beside torch's and Pillow's own and beside TensorFlow's formula."""

import numpy as np
import pytest
import torch
from PIL import Image

from inceptive.fidelity.resizing import SIDE, square


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(256, 256), (32, 48), (500, 301), (299, 299), (1, 7)])
def test_pytorch_is_torchs_interpolation(size):
    pixels = picture(*size)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    resized = torch.nn.functional.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
    ours = square(pixels, "pytorch")
    assert ours.dtype == np.float32 and ours.shape == (3, SIDE, SIDE)
    np.testing.assert_allclose(ours, (2 * resized - 1)[0], atol=1e-5)


def test_tensorflow_reads_from_corners():
    """Pixel k of 299 lies at k * size / 299, and what is beyond the last pixel is the last."""
    pixels = picture(100, 200)
    ours = square(pixels, "tensorflow") * 128 + 128
    for row, column in ((0, 0), (5, 17), (150, 149), (298, 298)):
        y, x = row * 100 / SIDE, column * 200 / SIDE
        top, left = int(y), int(x)
        bottom, right = min(top + 1, 99), min(left + 1, 199)
        dy, dx = y - top, x - left
        here = pixels.astype(float)
        expected = (here[top, left] * (1 - dx) + here[top, right] * dx) * (1 - dy)
        expected += (here[bottom, left] * (1 - dx) + here[bottom, right] * dx) * dy
        np.testing.assert_allclose(ours[:, row, column], expected, atol=1e-2)


def test_clean_is_pillows_bicubic_without_rounding():
    pixels = picture(400, 350)
    ours = square(pixels, "clean") * 128 + 128
    for channel in range(3):
        plane = Image.fromarray(pixels[..., channel].astype(np.float32))
        expected = np.asarray(plane.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).clip(0, 255)
        np.testing.assert_allclose(ours[channel], expected, atol=1e-4)
    assert not np.allclose(ours, np.rint(ours), atol=1e-3)


def test_a_picture_of_299_pixels_is_only_scaled():
    pixels = picture(SIDE, SIDE)
    planes = pixels.transpose(2, 0, 1).astype(np.float32)
    np.testing.assert_allclose(square(pixels, "pytorch"), planes / 127.5 - 1, atol=1e-6)
    for resize in ("tensorflow", "clean"):
        np.testing.assert_allclose(square(pixels, resize), (planes - 128) / 128, atol=1e-6)
