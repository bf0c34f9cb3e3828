"""Conversion of publishers' tensor layouts to torch's.

TensorFlow: kernels (H, W, in, out), depthwise ones (H, W, in, multiplier), linear (in, out).
Caffe: as torch, with leading dimensions of one in files of 2014.
"""

import numpy as np

from inceptive.weights.names.source import Layout


def to_torch(array: np.ndarray, key: str, layout: Layout, shape: tuple[int, ...]) -> np.ndarray:
    """Convert `array`, their tensor for our `key`, to torch's layout; `shape` tells linear from conv.

    The result may still differ in size from `shape`: the caller compares.
    """
    if layout == "tensorflow":
        if key.endswith("depthwise.weight") and array.ndim == 4:
            high, wide = array.shape[:2]
            return array.transpose(2, 3, 0, 1).reshape(-1, 1, high, wide)
        if array.ndim == 4 and len(shape) == 2 and array.shape[:2] == (1, 1):
            return array.reshape(array.shape[2:]).T  # a classifier kept as a 1x1 convolution
        if array.ndim == 4:
            return array.transpose(3, 2, 0, 1)
        if array.ndim == 2:
            return array.T
    while array.ndim > len(shape) and array.shape[0] == 1:
        array = array[0]
    return array


def without_background(array: np.ndarray, classes: int) -> np.ndarray:
    """Drop row 0, "background", of a classifier's rows (or biases) if there is one too many."""
    return array[1:] if array.shape[:1] == (classes + 1,) else array


def bgr_to_rgb(kernel: np.ndarray) -> np.ndarray:
    """Reorder a first convolution (out, 3, H, W) from blue, green, red to red, green, blue."""
    return kernel[:, ::-1]
