"""Pictures of more than 8 bits per sample: the raw samples of a file, and their conversion to 8 bits.

Black and white levels are what the file declares, or are set for a whole dataset (see
`Preprocessing.sample_range`), never the brightest sample that one picture happens to have.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, PngImagePlugin, PpmImagePlugin

from inceptive.errors import InceptiveError, printable

Range = tuple[float, float]
"""The samples that become 0 and 255."""

HOT = 0.1
"""Per cent of the samples at either end that say nothing of their range: pixels that are hot or dead."""
NEAR = 0.1
"""What floats may lie outside 0-1, which is taken for their range all the same; they are clipped."""
MOST = 1e38
"""What a range may hold, at most: floats of 64 bits hold more than can be reckoned with."""
BLOCK = 1 << 20
"""Samples that are scaled at once."""

PNG = b"\x89PNG\r\n\x1a\n"
PNG_LAYERS = {
    0: ("I;16", "I;16B"),
    2: ("RGB", "RGB;16B", "RGB;16L"),
    4: ("RGBA", "RGBA"),
    6: ("RGBA", "RGBA;16B", "RGBA;16L"),
}
"""By PNG's colour type: Pillow's mode and the raw modes that give 16-bit samples whole, or their upper
and their lower bytes (;16L takes the second byte for the upper). Unasked, it cuts all but grey ones."""

TURNED: dict[Image.Transpose, Callable[[np.ndarray], np.ndarray]] = {
    Image.Transpose.FLIP_LEFT_RIGHT: lambda x: x[:, ::-1],
    Image.Transpose.FLIP_TOP_BOTTOM: lambda x: x[::-1],
    Image.Transpose.ROTATE_180: lambda x: x[::-1, ::-1],
    Image.Transpose.ROTATE_90: np.rot90,
    Image.Transpose.ROTATE_270: lambda x: np.rot90(x, -1),
    Image.Transpose.TRANSPOSE: lambda x: x.swapaxes(0, 1),
    Image.Transpose.TRANSVERSE: lambda x: x[::-1, ::-1].swapaxes(0, 1),
}
"""Pillow's turns, of arrays (H, W, C)."""


@dataclass(frozen=True)
class DeepPicture:
    """The raw samples of a picture: (H, W, 1 or 3) of integers or floats.

    declared is the range stated by the file, if any. alpha is (H, W, 1), 0-1; colours already multiplied
    by it are `associated`. clear is a colour that means transparency.
    """

    samples: np.ndarray
    declared: Range | None = None
    alpha: np.ndarray | None = None
    associated: bool = False
    inverted: bool = False  # 0 is white
    clear: int | float | tuple[int, ...] | None = None
    profile: bytes | None = b""  # ICC, as for `to_srgb`

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as of a Pillow image."""
        height, width, _ = self.samples.shape
        return width, height

    @property
    def floats(self) -> bool:
        return self.samples.dtype.kind == "f"

    @property
    def type_range(self) -> Range:
        """The default black and white levels: all of 16 bits, or 0-1."""
        if self.floats:
            return 0.0, 1.0
        return 0.0, min(float(np.iinfo(self.samples.dtype).max), 65535.0)

    def extent(self) -> Range | None:
        """The minimum and maximum of the visible samples, without HOT; None if there are none."""
        step = slice(None, None, 1 + self.samples.size // BLOCK)
        samples = self.samples[step]
        visible = np.isfinite(samples) & ~self._cleared(samples)
        if self.alpha is not None:
            visible &= self.alpha[step] > 0
        values = samples[visible]
        if not values.size:
            return None
        low = np.percentile(values, HOT, method="lower")
        high = np.percentile(values, 100 - HOT, method="higher")
        return max(float(low), -MOST), min(float(high), MOST)

    def fills_little(self) -> bool:
        """Whether its integers fill less than a quarter of the range of their type, which is used where
        none is declared or learned."""
        low, high = self.extent() or self.type_range
        little = low < high and high - low < (self.type_range[1] - self.type_range[0]) / 4
        return little and not self.floats and not self.declared

    def shown_range(self, sample_range: Range | None, name: str) -> Range:
        """The samples that become 0 and 255: those declared, else those of `sample_range`, else those of
        the type.

        Raises InceptiveError, naming the picture, if its samples cannot have that range.
        """
        if self.declared:
            return self.declared
        of_floats = sample_range is not None and sample_range[0] >= 0 and sample_range[1] <= 1
        learned = None if of_floats and not self.floats else sample_range
        if (learned or self.samples.dtype.str[1:] == "u2") and not self.floats:
            return learned or self.type_range
        bottom, top = self.type_range
        low, high = self.extent() or (bottom, top)
        near = NEAR if self.floats else 0
        usual = bottom - near <= low and high <= top + near
        kind = "float" if self.floats else f"{8 * self.samples.dtype.itemsize}-bit"
        if learned is None:
            if usual:
                return bottom, top
            why = f"nothing says which of its {kind} samples, {low:g} to {high:g}, are black and white"
        else:
            if not usual or low == high or learned[1] - learned[0] <= 255:
                return learned
            why = (
                f"its samples lie from {low:g} to {high:g}, those that the model knows from "
                f"{learned[0]:g} to {learned[1]:g}"
            )
        raise InceptiveError(
            f"{printable(name)}: {why}; save it as 8- or 16-bit, or train on such pictures, with "
            "data.sample_range if need be"
        )

    def as_image(self, shown_range: Range) -> Image.Image:
        """Convert to 8-bit grey or RGB on white; `shown_range`: black and white. Non-finite is black."""
        out: np.ndarray = np.empty(self.samples.shape, np.uint8)
        rows = max(1, BLOCK // (out.size // len(out)))
        for at in range(0, len(out), rows):
            alpha = None if self.alpha is None else self.alpha[at : at + rows]
            with np.errstate(all="ignore"):  # a damaged file's floats may be anything
                out[at : at + rows] = self._scaled(self.samples[at : at + rows], alpha, shown_range)
        return Image.fromarray(out[..., 0] if out.shape[2] == 1 else out)

    def _scaled(self, part: np.ndarray, alpha: np.ndarray | None, shown_range: Range) -> np.ndarray:
        """Some rows, as floats of 0-255."""
        low, high = shown_range
        samples = part.astype(np.float64)
        finite = np.isfinite(samples)
        values = (np.where(finite, samples, low) - low) * (255 / (high - low or 1))
        values = np.rint(values).clip(0, 255)
        if self.inverted:
            values = 255 - values
        values[~finite] = 0
        values[np.broadcast_to(self._cleared(part), part.shape)] = 255
        if alpha is not None:
            alpha = np.nan_to_num(alpha).clip(0, 1)
            values = np.rint(values * (1 if self.associated else alpha) + 255 * (1 - alpha))
        return values.clip(0, 255)

    def is_flat(self) -> bool:
        """Whether all samples are equal, in the colours and in the alpha."""
        finite = self.samples[np.isfinite(self.samples)]
        parts = [finite] if self.alpha is None else [finite, self.alpha]
        return all(not part.size or part.min() == part.max() for part in parts)

    def turned(self, turn: Image.Transpose) -> "DeepPicture":
        """Return the same picture, turned."""
        alpha = None if self.alpha is None else TURNED[turn](self.alpha)
        return replace(self, samples=TURNED[turn](self.samples), alpha=alpha)

    def content(self) -> bytes:
        """Bytes that identify the picture."""
        parts = [self.samples] if self.alpha is None else [self.samples, self.alpha]
        facts = self.declared, self.associated, self.inverted, self.clear
        return b"".join(
            f"{part.shape} {part.dtype.str} {facts} ".encode() + part.tobytes() for part in parts
        )

    def _cleared(self, samples: np.ndarray) -> np.ndarray:
        """Where such samples are of the colour `clear`: (H, W, 1)."""
        if self.clear is None:
            return np.zeros((*samples.shape[:2], 1), np.bool_)
        return np.asarray((samples == np.asarray(self.clear)).all(axis=2, keepdims=True))


def of_image(image: Image.Image) -> DeepPicture:
    """The samples of a grey Pillow image of 16- or 32-bit integers or of floats."""
    clear = image.info.get("transparency")
    # Pillow scales to 16 bits what these declare to be less; of PGMs only those in text come here.
    scaled = image.mode.startswith("I") and image.format in ("JPEG2000", "PPM")
    declared = (0.0, 65535.0) if scaled else None
    clear = clear if isinstance(clear, int | float) else None
    return DeepPicture(np.asarray(image)[..., None], declared, clear=clear)


def is_deep_png(data: bytes) -> bool:
    return data.startswith(PNG) and data[24:25] == b"\x10" and data[25] in PNG_LAYERS


def read_png(data: bytes) -> tuple[DeepPicture, Image.Image]:
    """The samples of a 16-bit PNG, and its loaded Pillow image.

    By the standard its samples fill 16 bits, whatever sBIT says; those of many cameras do not.
    """
    mode, *rawmodes = PNG_LAYERS[data[25]]
    layers = []
    for rawmode in rawmodes:
        image = PngImagePlugin.PngImageFile(io.BytesIO(data))
        image._mode = mode
        image.tile = [tile._replace(args=rawmode) for tile in image.tile]
        image.load()
        layers.append(np.asarray(image))
    if data[25] == 0:
        return DeepPicture(layers[0][..., None], clear=image.info.get("transparency")), image
    if len(layers) == 1:  # the bytes of grey and alpha, each one's upper first
        samples = np.ascontiguousarray(layers[0]).view(">u2")
    else:
        samples = layers[0].astype(np.uint16) << 8 | layers[1]
    colours = 1 if data[25] == 4 else 3
    alpha = samples[..., colours:].astype(np.float32) / 65535 if data[25] & 4 else None
    clear = image.info.get("transparency")
    return DeepPicture(samples[..., :colours].astype(np.uint16), None, alpha, clear=clear), image


def read_pnm(image: PpmImagePlugin.PpmImageFile, data: bytes) -> DeepPicture | None:
    """The samples of a 16-bit PGM or PPM, of which only the header was read; None for another."""
    tile = image.tile[0]
    if data[:2] not in (b"P5", b"P6") or (tile.codec_name == "raw" and tile.args != "I;16B"):
        return None
    top = 65535 if tile.codec_name == "raw" else int(tile.args[-1])  # type: ignore
    if top < 256:
        return None
    channels = 3 if data[:2] == b"P6" else 1
    shape = image.height, image.width, channels
    samples = np.frombuffer(data, ">u2", image.height * image.width * channels, tile.offset)
    # The whole range is what is written where nobody has thought of it.
    return DeepPicture(samples.reshape(shape), (0.0, float(top)) if top < 65535 else None)
