"""Conversion of a picture to the square array that a net sees, in one place.

Training, evaluation, prediction, serving and every exported file use it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from math import inf
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from PIL import Image

from inceptive.errors import InceptiveError
from inceptive.images.decoding import AT_ONCE, MAX_PIXELS, Note, Source, decode
from inceptive.images.deep import MOST, Range

if TYPE_CHECKING:
    from torch import Tensor

Interpolation = Literal["nearest", "box", "bilinear", "bicubic"]
FILTERS: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
MAX_SIDE = 4096
"""Pixels of a square's side at most: a net's maps for one of these take gigabytes."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of a picture to the square array that a net sees.

    The shorter side is resized to size / crop, the centre square of `size` pixels is kept, and each
    channel is normalised as (value / 255 - mean) / std. With crop 1.0 the whole shorter side is seen.
    With `squash`, the centre `crop` of each side becomes the square instead, without keeping the aspect
    ratio, as in TF-slim.

    sample_range: the samples of pictures deeper than 8 bits that become 0 and 255, clipped beyond: one
    range for every picture, so that brightness means the same in all. A range declared by the file takes
    precedence; None: see `decode`. Pictures of 8 bits are unaffected.

    >>> inceptive.Preprocessing(size=224).load("photo.jpg").shape
    (3, 224, 224)
    """

    size: int = 224
    channels: int = 3
    crop: float = 1.0
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    squash: bool = False
    sample_range: Range | None = None

    def __post_init__(self) -> None:
        """Raises InceptiveError for a value that no preprocessing can have."""
        if problem := self._problem():
            raise InceptiveError(f"preprocessing: {problem}")

    def _problem(self) -> str:
        if type(self.size) is not int or not 1 <= self.size <= MAX_SIDE:
            return f"size is a number of pixels, 1 to {MAX_SIDE}, not {self.size!r}"
        if self.channels not in (1, 3):
            return f"channels are 1 or 3, not {self.channels!r}"
        if not isinstance(self.interpolation, str) or self.interpolation not in FILTERS:
            return f"interpolation is one of {', '.join(FILTERS)}, not {self.interpolation!r}"
        if not (_all_numbers((self.crop,)) and 0.01 <= self.crop <= 1):
            return f"crop is a share of the shorter side, 0.01 to 1, not {self.crop!r}"
        if self.resize**2 > MAX_PIXELS:
            return (
                f"size {self.size} at crop {self.crop} needs pictures of {self.resize} x "
                f"{self.resize} pixels; at most {MAX_PIXELS / 1e6:.0f} million"
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not _all_numbers(values) or len(values) != self.channels:
                return f"{name} is one number for each of {self.channels} channels, not {values!r}"
        if self.sample_range is not None and not is_range(self.sample_range):
            return f"sample_range is two numbers, the lower one first, not {self.sample_range!r}"
        if type(self.squash) is not bool:
            return f"squash is true or false, not {self.squash!r}"
        if not 1e-6 <= min(self.std) <= max(self.std) <= 1e6 or max(map(abs, self.mean)) > 1e6:
            return (
                "std is above 0, 1e-6 to 1e6, and mean at most 1e6, "
                f"not {self.std!r} and {self.mean!r}"
            )
        return ""

    @property
    def resize(self) -> int:
        """The shorter side, in pixels, from which the square is cut."""
        return round(self.size / self.crop)

    def load(
        self, source: Source, name: str = "", note: Callable[[Note], object] | None = None
    ) -> np.ndarray:
        """Load the picture in `source` as the net's square: uint8 (C, size, size).

        Raises InceptiveError with the reason if it cannot be decoded, calling it `name`, or by its own
        name. Remarks about a picture that can be read are passed to `note`.
        """
        with AT_ONCE.decoding():
            return self.fit(self.decode(source, self.resize, name, note))

    def decode(
        self,
        source: Source,
        shorter: int,
        name: str = "",
        note: Callable[[Note], object] | None = None,
    ) -> Image.Image:
        """Decode in this net's channels, for resizing to about `shorter` pixels."""
        return decode(source, self.channels, shorter, name, self.sample_range, note)

    def fit(self, image: Image.Image) -> np.ndarray:
        """Resize the shorter side, crop the centre square: uint8 (C, size, size)."""
        if self.squash:
            wide, high = image.width * self.crop, image.height * self.crop
            left, top = (image.width - wide) / 2, (image.height - high) / 2
            box = (left, top, left + wide, top + high)
            return as_array(resize_box(image, box, self.size, self.interpolation))
        image = resize_shorter(image, self.resize, self.interpolation)
        return as_array(_middle(image, self.size))

    @overload
    def normalise(self, images: np.ndarray) -> np.ndarray: ...
    @overload
    def normalise(self, images: "Tensor") -> "Tensor": ...

    def normalise(self, images: Any) -> Any:
        """Normalise an array or tensor (..., C, H, W) of 0-255 for the net: float32, same shape."""
        scale, shift = self.scale_and_shift()
        if isinstance(images, np.ndarray):
            return images.astype(np.float32) * scale + shift
        x = images.float()
        return x * x.new_tensor(scale) + x.new_tensor(shift)  # on its device

    def scale_and_shift(self) -> tuple[np.ndarray, np.ndarray]:
        """Return scale, shift (C, 1, 1) in float32: net input = uint8 value * scale + shift."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        scale, shift = 1 / (255 * std), -mean / std
        return scale.astype(np.float32)[:, None, None], shift.astype(np.float32)[:, None, None]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Build from `values`. Raises InceptiveError if they name an unknown field."""
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) - names:
            raise InceptiveError(
                f"preprocessing takes {', '.join(sorted(names))}; found {values!r}"
            )
        lists: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in values.items()
        }
        try:
            return cls(**lists)
        except TypeError as error:
            raise InceptiveError(f"preprocessing: {error}") from None


def _all_numbers(values: Any) -> bool:
    return isinstance(values, tuple | list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) and -inf < one < inf
        for one in values
    )


def is_range(values: Any) -> bool:
    """Whether `values` are a `sample_range`: two numbers, the lower one first."""
    return _all_numbers(values) and len(values) == 2 and -MOST <= values[0] < values[1] <= MOST


def resize_shorter(image: Image.Image, side: int, interpolation: Interpolation) -> Image.Image:
    """Resize `image` to a shorter side of `side` pixels: see `to_shorter`."""
    image, size = to_shorter(image, side)
    return image if image.size == size else image.resize(size, FILTERS[interpolation])


def to_shorter(image: Image.Image, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """What to resize for a shorter side of `side` pixels, and to which (width, height).

    The aspect ratio is kept. If `image` is so long and thin that the result would exceed MAX_PIXELS,
    only its middle is used.
    """
    scale = side / min(image.size)
    longest = max(side, MAX_PIXELS // side)
    if max(image.size) * scale > longest:
        image = _middle(image, max(min(image.size), int(longest / scale)))
    return image, (max(side, round(image.width * scale)), max(side, round(image.height * scale)))


def _middle(image: Image.Image, most: int) -> Image.Image:
    """The middle of `image`, no side longer than `most` pixels."""
    wide, high = min(image.width, most), min(image.height, most)
    left, top = (image.width - wide) // 2, (image.height - high) // 2
    return image.crop((left, top, left + wide, top + high))


def resize_box(
    image: Image.Image, box: Box, side: int, interpolation: Interpolation
) -> Image.Image:
    """Resize the part of `image` in `box` (left, top, right, bottom) to a square of `side` pixels."""
    return image.resize((side, side), FILTERS[interpolation], box=box)


def as_array(image: Image.Image) -> np.ndarray:
    """Convert a grey or RGB image to uint8 (C, H, W)."""
    array = np.asarray(image)
    planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return planes.copy()
