"""Pictures that show the same: copies, and copies that were resized, recompressed or brightened.

Two pictures are near-copies if their thumbnails agree everywhere once the brightness and the contrast
of one are fitted to the other's: a small thing on a white table, or a scratch on one of many parts
before one camera, is a difference of few pixels and not of the average. The figures behind the limits
stand in docs/log.md.
"""

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
    """A group number for each of N pictures, (N,): equal for copies; and how many were compared.

    digests (N,) of uint64 are of the pictures' pixels, thumbnails (N, 32, 32) of uint8. Pictures of
    one digest are copies. With `near`, a picture joins the group whose first member, in the order of
    digests, it is a near-copy of, or of half of whose members: so a chain of small steps joins no two
    pictures that differ. Memory grows with N, time with its square up to WORK: the rest, whatever the
    machine, is compared by digests only.
    """
    _, different, same = np.unique(digests, return_index=True, return_inverse=True)
    if not near or len(different) < 2:
        return different[same], len(different)
    first, compared = _stars(Thumbnails(thumbnails[different]), advance)
    return different[first][same], compared


class Thumbnails:
    """N thumbnails (N, SIDE, SIDE) of uint8: pixels (N, SIDE**2), and their mean and contrast, which is
    the standard deviation, in levels of 255, (N,) of float32."""

    def __init__(self, thumbnails: np.ndarray):
        n = len(thumbnails)
        self.pixels: np.ndarray = thumbnails.reshape(n, SIDE**2)
        blocks = [self.pixels[k : k + COLUMNS].astype(np.float32) for k in range(0, n, COLUMNS)]
        self.mean: np.ndarray = np.concatenate([block.mean(1) for block in blocks])
        self.contrast: np.ndarray = np.concatenate([block.std(1) for block in blocks])

    @property
    def clear(self) -> np.ndarray:
        """Whether a thumbnail has contrast enough to prove anything: (N,) of bool."""
        return np.asarray(self.contrast >= FLAT)

    @property
    def sine(self) -> np.ndarray:
        """Of the angle between a thumbnail and a near-copy, as vectors of no mean, at most: (N,).

        2 % more than `near` allows, for rounding and since a chord takes the place of the sine.
        """
        return np.asarray(1.02 * (RMS[0] + RMS[1] / np.maximum(self.contrast, FLAT)))

    def units(self, which: np.ndarray) -> np.ndarray:
        """Those at `which` as vectors of mean 0 and length 1: (len(which), SIDE**2) of float32."""
        levels: np.ndarray = self.pixels[which].astype(np.float32)
        levels -= self.mean[which][:, None]
        levels /= (np.maximum(self.contrast[which], 1e-6) * SIDE)[:, None]
        return levels

    def points(self) -> np.ndarray:
        """`units` of all; of many their AXES principal components: distances become no longer by it."""
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
        own = self.pixels[i].astype(np.float32) - self.mean[i]
        for start in range(0, len(others), COLUMNS):
            some = others[start : start + COLUMNS]
            rest = self.pixels[some].astype(np.float32) - self.mean[some][:, None]
            gain = (rest @ own) / (SIDE * self.contrast[i]) ** 2
            rest -= gain[:, None] * own
            contrast = self.contrast[some]
            alike = np.sqrt((rest**2).mean(1)) <= RMS[0] * contrast + RMS[1]
            alike &= np.abs(rest).max(1) <= GREATEST[0] * contrast + GREATEST[1]
            alike &= np.abs(self.mean[some] - self.mean[i]) <= SHIFT
            alike &= np.maximum(contrast, self.contrast[i]) <= GAIN * np.minimum(
                contrast, self.contrast[i]
            )
            found.append(some[alike])
        return np.concatenate(found)


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
        counts = np.bincount(leader[leader >= 0], minlength=n)
        company = (leader >= 0) & (counts[leader] > 1)
        columns = np.flatnonzero(clear & ((np.arange(n) >= start) | company))
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
    """Which pairs of `thumbnails` may be near-copies, a superset; work: multiply-adds until now.

    |p - q| <= chord as one product: p.q - |p|^2/2 - |q|^2/2 + chord^2/2 >= 0.
    """

    def __init__(self, thumbnails: Thumbnails):
        self.thumbnails, self.work = thumbnails, 0
        points = thumbnails.points()
        half = (points**2).sum(1) / 2
        ones = np.ones_like(half)
        self.of_rows = np.column_stack([points, ones, thumbnails.sine**2 / 2 - half])
        self.of_columns = np.column_stack([points, -half, ones])

    def among(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Whether each of `rows` and each of `columns` are one: (len(rows), len(columns)) of bool."""
        close = np.zeros((len(rows), len(columns)), np.bool_)
        for start in range(0, len(columns), COLUMNS):
            some = columns[start : start + COLUMNS]
            alike = self.of_rows[rows] @ self.of_columns[some].T >= 0
            self.work += alike.size * self.of_rows.shape[1]
            if np.count_nonzero(alike) > DENSE * alike.size:
                least = np.sqrt(np.maximum(1 - self.thumbnails.sine[rows] ** 2, 0))
                units = self.thumbnails.units
                alike &= units(rows) @ units(some).T >= least[:, None]
                self.work += alike.size * SIDE**2
            close[:, start : start + COLUMNS] = alike
        return close
