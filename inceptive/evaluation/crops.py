"""Several views of one image: the crop protocols of the paper, and the symmetries of the square.

Source: arXiv:1409.4842, section 7. The sizes there are for a net that sees 224 pixels; for other
sizes they are scaled in proportion. Every protocol averages the softmax over the crops.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing, Source, as_array, resize_box, resize_shorter

PROTOCOLS = (1, 8, 10, 144)
SCALES = (256, 288, 320, 352)  # shorter side, for a net of 224


def crops(preprocessing: Preprocessing, source: Source, count: int) -> np.ndarray:
    """Make `count` views of the picture in `source`: (count, C, S, S) of uint8.

    1: the centre, as in training and prediction. 8: its four quarter turns and their mirror images,
    for pictures without a natural orientation (not in the paper). 10: shorter side 256, four corners
    and centre, and their mirror images. 144: four scales, at each the left, centre and right square
    (top, centre and bottom of a portrait picture), in each square four corners, the centre and the
    whole square resized, and their mirror images: 4 * 3 * 6 * 2.

    Raises InceptiveError for another count, or if the picture cannot be decoded.
    """
    if count not in PROTOCOLS:
        raise InceptiveError(f"crops are {', '.join(map(str, PROTOCOLS))}, not {count}")
    if count == 1:
        return preprocessing.load(source)[None]
    if count == 8:
        pixels = preprocessing.load(source)
        turned = np.stack([np.rot90(pixels, turn, (1, 2)) for turn in range(4)])
        return np.concatenate([turned, turned[..., ::-1]])
    size = preprocessing.size
    scales = SCALES[:1] if count == 10 else SCALES
    sides = [round(scale * size / 224) for scale in scales]
    image = preprocessing.decode(source, max(sides))
    views = []
    for side in sides:
        resized = resize_shorter(image, side, preprocessing.interpolation)
        if count == 10:
            views += list(_five(resized, size))
        else:
            for square in _squares(resized):
                views += list(_five(square, size))
                whole = (0.0, 0.0, float(square.width), float(square.height))
                views.append(resize_box(square, whole, size, preprocessing.interpolation))
    arrays = np.stack([as_array(view) for view in views])
    return np.concatenate([arrays, arrays[..., ::-1]])


def _five(image: Image.Image, size: int) -> Iterator[Image.Image]:
    """The four corners and the centre, squares of `size` pixels."""
    right, bottom = image.width - size, image.height - size
    for left, top in ((0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)):
        yield image.crop((left, top, left + size, top + size))


def _squares(image: Image.Image) -> Iterator[Image.Image]:
    """Left, centre and right square of a picture; top, centre and bottom if it is upright."""
    side = min(image.size)
    right, bottom = image.width - side, image.height - side
    for left, top in ((0, 0), (right // 2, bottom // 2), (right, bottom)):
        yield image.crop((left, top, left + side, top + side))
