"""The black and white levels of a set's deep pictures: one range, from its training pictures.

Pictures of more than 8 bits per sample often use only part of the range: a camera's 12 bits are stored
in 16, a thermal camera's few hundred levels lie around 28,000. One picture says nothing (a lamp or a hot
pixel may be its brightest sample); all of them together do.
"""

from collections.abc import Iterable

import numpy as np

from inceptive.data.scan import ScannedImage
from inceptive.data.source import SampleDepth
from inceptive.errors import InceptiveError
from inceptive.images import Range
from inceptive.images.deep import NEAR

DEPTHS = (8, 10, 12, 14, 16)
"""Bits of samples, as cameras have them."""
OUTLIERS = 1.0
"""Per cent of the pictures that may lie outside: one from elsewhere is not to darken all others."""
FAR = 0.25
"""Share of a range by which samples may go beyond it, or that they are to fill at least."""
USUAL = {False: (0.0, 65535.0), True: (0.0, 1.0)}
"""What is shown of samples that nothing is known of: whole numbers, and floats."""


def depth_of(images: Iterable[ScannedImage]) -> SampleDepth | None:
    """The depth of such training pictures; None if none is deep and without a range of its own."""
    deep = [image for image in images if image.samples is not None]
    if not deep:
        return None
    kinds = {
        floats: np.array([image.samples for image in deep if image.floats == floats])
        for floats in {image.floats for image in deep}
    }
    ranges = {floats: _range_of(extents, floats) for floats, extents in kinds.items()}
    mixed = len(ranges) > 1 and any(ranges[floats] != USUAL[floats] for floats in ranges)
    floats = max(ranges)
    (low, high), extents = ranges[floats], kinds[floats]
    near = NEAR if floats else 0
    beyond = int(((extents[:, 0] < low - near) | (extents[:, 1] > high + near)).sum())
    # Said, the usual range of floats clips what lies beyond: only where training pictures do.
    usual = (low, high) == USUAL[floats] and not beyond
    unsaid = mixed or (usual and (floats or len(ranges) > 1))
    return SampleDepth(len(deep), floats, None if unsaid else (low, high), mixed, beyond)


def _range_of(extents: np.ndarray, floats: bool) -> Range:
    """One range for pictures whose samples lie in `extents` (N, 2)."""
    low = float(np.percentile(extents[:, 0], OUTLIERS, method="lower"))
    high = float(np.percentile(extents[:, 1], 100 - OUTLIERS, method="higher"))
    if floats:
        near = {1.0: NEAR, 255.0: 0.0}
        tops = [top for top in near if -near[top] <= low and top / 4 < high <= top + near[top]]
    else:
        tops = [2.0**bits - 1 for bits in DEPTHS if 0 <= low <= high / 2 and high < 2**bits]
    if tops:
        return 0.0, tops[0]
    return (low, high) if low < high else (low - 1, low + 1)


def range_for(depth: SampleDepth | None, wanted: Range | None) -> Range | None:
    """The range for a set's pictures: the one `wanted`, else the one found.

    Raises InceptiveError if it has both integers and floats, and no range in common.
    """
    if wanted or depth is None:
        return wanted
    if depth.mixed:
        raise InceptiveError(
            "the samples of some images are whole numbers of more than 8 bits, of others floats, with "
            "no range in common; save them alike, or set data.sample_range"
        )
    return depth.sample_range


def training_notes(depth: SampleDepth | None, sample_range: Range | None) -> list[str]:
    """Notes on how a set's deep pictures are scaled for training; none if it has none."""
    if depth is None:
        return []
    actual, shown = _both(depth, sample_range)
    note = f"{_of(depth)}; {_words(shown)} are shown as black to white"
    if misfit(depth, sample_range):
        return [f"{note}, though the training images have {_words(actual)}"]
    if shown != actual:
        return [f"{note}, as data.sample_range says"]
    clipped = f", beyond which {depth.beyond} images go" if depth.beyond else ""
    return [f"{note}, as found in the training images{clipped} (data.sample_range sets it)"]


def evaluation_notes(
    depth: SampleDepth | None, sample_range: Range | None, model: str
) -> list[str]:
    """A note if `model` scales a set's deep pictures by a range that is not theirs, or none."""
    if depth is None or not misfit(depth, sample_range):
        return []
    actual, shown = _both(depth, sample_range)
    return [
        f"{_of(depth)}, which lie in {_words(actual)}; {model} takes {_words(shown)} for black to white"
    ]


def misfit(depth: SampleDepth, sample_range: Range | None) -> bool:
    """Whether deep pictures come out far too dark, flat or clipped with such a range."""
    (low, high), (black, white) = _both(depth, sample_range)
    far = FAR * (white - black)
    return not depth.mixed and (low < black - far or high > white + far or high - low < far)


def _both(depth: SampleDepth, sample_range: Range | None) -> tuple[Range, Range]:
    """Where the samples lie, and which are shown."""
    usual = USUAL[depth.floats]
    return depth.sample_range or usual, sample_range or usual


def _of(depth: SampleDepth) -> str:
    kind = "are floats" if depth.floats else "have more than 8 bits"
    return f"the samples of {depth.pictures} images {kind}"


def _words(samples: Range) -> str:
    return f"{samples[0]:.9g} to {samples[1]:.9g}"
