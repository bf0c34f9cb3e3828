"""Duplicate pictures: exact copies, and copies that were resized, recompressed or brightened.

Two pictures are near-copies if their thumbnails agree everywhere once the brightness and contrast of
one are fitted to the other's: a small object on a white table, or a scratch on one of many parts
before one camera, is a difference of few pixels, not of the average. The figures behind the limits
are in docs/log.md.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from inceptive.io.progress import Advance

SIDE = 32
"""Pixels of a thumbnail's side."""
RMS = 0.05, 0.5
"""How far thumbnails may differ on average: so much of their contrast, and so many levels of 255."""
GREATEST = 0.15, 6.0
"""The same of the pixel that differs most."""
FLAT = 2.0
"""Levels: thumbnails of less contrast prove nothing."""
SHIFT, GAIN = 40.0, 1.7
"""How much brighter (levels), and of how much more contrast, a copy may be."""
WHITE = 250
"""Levels: from here on a pixel may have been brighter before a copy was cut off at white."""
OPEN = 0.02
"""Share of pixels below WHITE that brightness and contrast are fitted by, at least."""
CUT_OFF = 0.3
"""Sine of the angle to a copy that was cut off at white, at most."""
AXES = 48
"""Principal axes along which many thumbnails are compared first."""
ROWS, COLUMNS = 512, 4096
"""Thumbnails that are compared with each other in one product."""
DENSE = 0.002
"""Share of pairs that are alike along the axes, from which on all pixels are multiplied out."""
WORK = 1.5e12
"""Multiply-adds that are spent at most: half a minute on two cores."""


def copies(
    digests: np.ndarray,
    thumbnails: np.ndarray,
    near: bool = True,
    advance: Advance | None = None,
) -> tuple[np.ndarray, int]:
    """A group number for each of N pictures, (N,), equal for copies; and how many were compared.

    digests (N,) of uint64 are of the pictures' pixels, thumbnails (N, 32, 32) of uint8. Pictures of
    one digest are copies. With `near`, a picture joins the group whose first member, in the order of
    digests, it is a near-copy of, or of half of whose members, so a chain of small steps joins no two
    pictures that differ. Memory grows with N, time with its square up to WORK: the rest, on any
    machine, is compared by digests only.
    """
    _, different, same = np.unique(digests, return_index=True, return_inverse=True)
    if not near or len(different) < 2:
        return different[same], len(different)
    first, compared = _stars(Thumbnails.of(thumbnails[different]), advance)
    return different[first][same], compared


@dataclass(frozen=True)
class Thumbnails:
    """N thumbnails: pixels (N, SIDE**2) of uint8; their mean and their contrast, which is the standard
    deviation, in levels of 255, (N,) of float32; white (N,): whether some pixels are WHITE."""

    pixels: np.ndarray
    mean: np.ndarray
    contrast: np.ndarray
    white: np.ndarray

    @classmethod
    def of(cls, thumbnails: np.ndarray) -> Self:
        """Make from (N, SIDE, SIDE) of uint8."""
        pixels = thumbnails.reshape(len(thumbnails), SIDE**2)
        blocks = [
            pixels[k : k + COLUMNS].astype(np.float32) for k in range(0, len(pixels), COLUMNS)
        ]
        mean, contrast = (
            np.concatenate([getattr(block, name)(1) for block in blocks])
            for name in ("mean", "std")
        )
        white = pixels.max(1) >= WHITE
        return cls(pixels, mean, contrast, white)

    @property
    def clear(self) -> np.ndarray:
        """Whether a thumbnail has enough contrast to prove anything: (N,) of bool."""
        return np.asarray(self.contrast >= FLAT)

    @property
    def sine(self) -> np.ndarray:
        """Upper bound of the sine between a thumbnail and a near-copy, as zero-mean vectors: (N,).

        2 % more than `near` allows, for rounding and because a chord replaces the sine.
        """
        sine = 1.02 * (RMS[0] + RMS[1] / np.maximum(self.contrast, FLAT))
        return np.asarray(np.where(self.white, np.maximum(sine, CUT_OFF), sine))

    def units(self, which: np.ndarray) -> np.ndarray:
        """Those at `which` as vectors of mean 0 and length 1: (len(which), SIDE**2) of float32."""
        levels: np.ndarray = self.pixels[which].astype(np.float32)
        levels -= self.mean[which][:, None]
        levels /= (np.maximum(self.contrast[which], 1e-6) * SIDE)[:, None]
        return levels

    def points(self) -> np.ndarray:
        """`units` of all; if many, their AXES principal components, which never lengthen distances."""
        n = len(self.pixels)
        if n <= 2 * COLUMNS:
            return self.units(np.arange(n))
        sample = self.units(np.arange(0, n, -(-n // COLUMNS)))
        centre = sample.mean(0)
        sample -= centre
        _, axes = np.linalg.eigh(sample.T @ sample)
        blocks = np.array_split(np.arange(n), -(-n // COLUMNS))
        return np.concatenate([(self.units(which) - centre) @ axes[:, -AXES:] for which in blocks])

    def near(self, i: int, others: np.ndarray) -> np.ndarray:
        """Those of `others` that are near-copies of thumbnail i."""
        found = [others[:0]]
        for start in range(0, len(others), ROWS):
            some = others[start : start + ROWS]
            some = some[np.abs(self.mean[some] - self.mean[i]) <= SHIFT]
            alike = self._alike(i, some)
            white = np.flatnonzero(~alike & (self.white[some] | self.white[i]))
            alike[white] = self._cut_off(i, some[white])
            found.append(some[alike])
        return np.concatenate(found)

    def _alike(self, i: int, some: np.ndarray) -> np.ndarray:
        """Whether thumbnail i, its brightness and contrast fitted, is each of `some`: (len(some),)."""
        own = self.pixels[i].astype(np.float32) - self.mean[i]
        rest = self.pixels[some].astype(np.float32) - self.mean[some][:, None]
        rest -= ((rest @ own) / (SIDE * self.contrast[i]) ** 2)[:, None] * own
        contrast = self.contrast[some]
        least = np.minimum(contrast, self.contrast[i])
        fitted = np.maximum(contrast, self.contrast[i]) <= GAIN * least
        return np.asarray(fitted & _little(rest, contrast))

    def _cut_off(self, i: int, some: np.ndarray) -> np.ndarray:
        """The same if the brighter of two was cut off at white: what is below tells how bright it is."""
        own = self.pixels[i].astype(np.float32)
        rest = self.pixels[some].astype(np.float32)
        brighter = self.mean[some] > self.mean[i]
        source = np.where(brighter[:, None], own, rest)
        target = np.where(brighter[:, None], rest, own)
        below = target < WHITE
        count = np.maximum(below.sum(1), 1)
        centre, level = ((x * below).sum(1) / count for x in (source, target))
        source -= centre[:, None]
        spread = (source**2 * below).sum(1)
        gain = (source * below * target).sum(1) / np.maximum(spread, 1e-6)
        target -= np.clip(level[:, None] + gain[:, None] * source, 0, 255)
        fitted = (count >= OPEN * SIDE**2) & (spread >= FLAT**2 * count)
        fitted &= (gain <= GAIN) & (gain >= 1 / GAIN)
        contrast = np.where(brighter, self.contrast[some], self.contrast[i])
        return np.asarray(fitted & _little(target, contrast))


def _little(rest: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """Whether what is left of thumbnails (N, SIDE**2), of such contrast (N,), is no difference: (N,)."""
    average = np.sqrt((rest**2).mean(1)) <= RMS[0] * contrast + RMS[1]
    return np.asarray(average & (np.abs(rest).max(1) <= GREATEST[0] * contrast + GREATEST[1]))


def _stars(thumbnails: Thumbnails, advance: Advance | None) -> tuple[np.ndarray, int]:
    """The index of the first member of each one's group, (N,); and how many of N were compared."""
    n, clear = len(thumbnails.pixels), thumbnails.clear
    leader = np.full(n, -1)
    members: dict[int, list[int]] = {}
    candidates, work = Candidates(thumbnails), 0
    for start in range(0, n, ROWS):
        rows = np.arange(start, min(start + ROWS, n))
        rows = rows[(leader[rows] < 0) & clear[rows]]
        # Of those before, single ones have had their turn.
        columns = np.flatnonzero(clear & ((np.arange(n) >= start) | _in_company(leader)))
        close = candidates.among(rows, columns)
        for row, i in zip(close, rows.tolist(), strict=True):
            if leader[i] >= 0:
                continue
            others = columns[row]
            others = others[others != i]
            work += len(others) * 8 * SIDE**2
            near = thumbnails.near(i, others)
            for head in np.unique(leader[near[leader[near] >= 0]]).tolist():
                if 2 * np.isin(members[head], near).sum() >= len(members[head]):
                    leader[i] = head
                    members[head].append(i)
                    break
            else:
                members[i] = [i, *near[leader[near] < 0].tolist()]
                leader[members[i]] = i
        compared = min(start + ROWS, n)
        if advance and n > ROWS:
            advance(compared, n)
        if work + candidates.work > WORK:
            break
    alone = leader < 0
    leader[alone] = np.flatnonzero(alone)
    return leader, compared


class Candidates:
    """Which pairs of `thumbnails` may be near-copies, a superset; work: multiply-adds so far.

    |p - q| <= chord as one product: p.q - |p|^2/2 - |q|^2/2 + chord^2/2 >= 0.
    """

    def __init__(self, thumbnails: Thumbnails):
        self.thumbnails, self.work = thumbnails, 0
        points = thumbnails.points()
        half = (points**2).sum(1) / 2
        ones, sine = np.ones_like(half), thumbnails.sine
        # Where one of a row and a column was cut off at white, its chord is what counts.
        more = np.where(thumbnails.white, sine**2, 0) / 2
        self.of_rows = np.column_stack([points, ones, sine**2 / 2 - half])
        self.of_columns = np.column_stack([points, more - half, ones])

    def among(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Whether each of `rows` and each of `columns` are one: (len(rows), len(columns)) of bool."""
        close = np.zeros((len(rows), len(columns)), np.bool_)
        for start in range(0, len(columns), COLUMNS):
            some = columns[start : start + COLUMNS]
            alike = self.of_rows[rows] @ self.of_columns[some].T >= 0
            self.work += alike.size * self.of_rows.shape[1]
            if np.count_nonzero(alike) > DENSE * alike.size:
                sine, units = self.thumbnails.sine, self.thumbnails.units
                white = np.where(self.thumbnails.white, sine, 0)
                greatest = np.maximum(sine[rows][:, None], white[some])
                alike &= units(rows) @ units(some).T >= np.sqrt(1 - greatest**2)
                self.work += alike.size * SIDE**2
            close[:, start : start + COLUMNS] = alike
        return close


def _in_company(leader: np.ndarray) -> np.ndarray:
    """Which of N are in a group of several: (N,) of bool."""
    grouped = leader >= 0
    counts = np.bincount(leader[grouped], minlength=len(leader))
    grouped[grouped] = counts[leader[grouped]] > 1
    return grouped
