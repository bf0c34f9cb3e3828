"""Binary .caffemodel files: a NetParameter message of BVLC's caffe.proto."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inceptive.weights.readers.safe_read import array, collect, content, reading
from inceptive.weights.readers.wire import as_bytes, as_int, as_ints, fields, text

# Fields of NetParameter that hold layers: the number of a layer's name, and of its blobs.
LAYERS = {100: (1, 7), 2: (4, 6)}  # LayerParameter, and V1LayerParameter of 2014


def read(path: Path) -> dict[str, np.ndarray]:
    """The blobs of a .caffemodel as "layer/index", in the file's order, as Caffe lays them out.

    "conv1/7x7_s2/0" is a convolution's weight (out, in, kernel height, kernel width) and
    "conv1/7x7_s2/1" its bias. float32, or float64 where the file has it. Files of 2014 give every
    blob four dimensions, a bias (1, 1, 1, n): these are kept. A file truncated exactly between two
    layers cannot be told from a shorter net; its tensors are correct, but fewer.
    Raises InceptiveError if the file cannot be read.
    """
    with reading(path, "a .caffemodel"):
        return collect(_net(memoryview(content(path))))


def _net(message: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    for number, value in fields(message):
        if number in LAYERS:
            yield from _layer(as_bytes(value), *LAYERS[number])


def _layer(
    message: memoryview, name_field: int, blob_field: int
) -> Iterator[tuple[str, np.ndarray]]:
    name, blobs = "", []
    for number, value in fields(message):
        if number == name_field:
            name = text(value)
        elif number == blob_field:
            blobs.append(_blob(as_bytes(value)))
    for index, blob in enumerate(blobs):
        yield f"{name}/{index}", blob


def _blob(message: memoryview) -> np.ndarray:
    shape: list[int] | None = None
    legacy = [0, 0, 0, 0]  # num, channels, height, width
    single, double = bytearray(), bytearray()
    for number, value in fields(message):
        match number:
            case 1 | 2 | 3 | 4:
                legacy[number - 1] = as_int(value)
            case 5:
                single += as_bytes(value)  # packed or one by one: the same bytes in the same order
            case 7:
                shape = _shape(as_bytes(value))
            case 8:
                double += as_bytes(value)
    data, dtype = (double, "<f8") if double else (single, "<f4")
    return array(data, np.dtype(dtype), legacy if shape is None else shape)


def _shape(message: memoryview) -> list[int]:
    return [size for number, value in fields(message) if number == 1 for size in as_ints(value)]
