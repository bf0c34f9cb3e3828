"""How publishers' tensors lie, brought to torch's way.

TensorFlow: kernels (H, W, in, out), depthwise ones (H, W, in, multiplier), linear (in, out).
Caffe: as torch, padded in front with dimensions of one in files of 2014.
"""

import numpy as np

from inceptive.weights.names.source import Layout


def to_torch(array: np.ndarray, key: str, layout: Layout, shape: tuple[int, ...]) -> np.ndarray:
    """`array`, their tensor for our `key`, laid out as torch does; `shape` tells linear from conv.

    The result may still be of another size than `shape`: the caller compares.
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
    """A classifier's rows (or biases) without row 0, "background", where there is one too many."""
    return array[1:] if array.shape[:1] == (classes + 1,) else array


def bgr_to_rgb(kernel: np.ndarray) -> np.ndarray:
    """A first convolution (out, 3, H, W) that read blue, green, red, reading red, green, blue."""
    return kernel[:, ::-1]
