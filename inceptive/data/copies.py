"""Pictures that show the same: copies, and copies that were resized, recompressed or brightened.

Two pictures are near-copies if their thumbnails agree everywhere once the brightness and the contrast
of one are fitted to the other's: a small thing on a white table, or a scratch on one of many parts
before one camera, is a difference of few pixels and not of the average. The figures behind the limits
stand in docs/log.md.
"""

from collections.abc import Callable

import numpy as np

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

Advance = Callable[[int, int], None]


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
    numbers, compared = _stars(thumbnails[different], advance)
    return different[numbers][same], compared


def _stars(thumbnails: np.ndarray, advance: Advance | None) -> tuple[np.ndarray, int]:
    """The index of the first member of each one's group, (N,); and how many of N were compared."""
    n = len(thumbnails)
    mean, contrast = _levels(thumbnails)
    clear = contrast >= FLAT
    # Two are alike if the angle between them, as vectors of no mean, has a sine of `sine` at most; the
    # chord of so small an angle is not 2 % longer. |p - q| <= chord as one product of rows and columns:
    # p.q - |p|^2/2 - |q|^2/2 + chord^2/2 >= 0.
    sine = RMS[0] + RMS[1] / np.maximum(contrast, FLAT)
    points = _projected(thumbnails, mean, contrast)
    half = (points**2).sum(1) / 2
    one = np.ones_like(half)
    left = np.column_stack([points, one, (1.02 * sine) ** 2 / 2 - half])
    right = np.column_stack([points, -half, one])
    leader = np.full(n, -1)
    members: dict[int, list[int]] = {}
    work = 0.0
    for start in range(0, n, ROWS):
        rows = np.arange(start, min(start + ROWS, n))
        rows = rows[(leader[rows] < 0) & clear[rows]]
        # Of those before, single ones have had their turn.
        columns = np.flatnonzero(clear & ((np.arange(n) >= start) | _in_company(leader)))
        close = np.zeros((len(rows), len(columns)), np.bool_)
        for first in range(0, len(columns), COLUMNS):
            some = columns[first : first + COLUMNS]
            alike = left[rows] @ right[some].T >= 0
            work += alike.size * left.shape[1]
            if np.count_nonzero(alike) > DENSE * alike.size:
                cosine = np.sqrt(np.maximum(1 - (1.02 * sine[rows]) ** 2, 0))
                both = [_units(thumbnails, mean, contrast, which) for which in (rows, some)]
                alike &= both[0] @ both[1].T >= cosine[:, None]
                work += alike.size * SIDE**2
            close[:, first : first + COLUMNS] = alike
        for row, i in enumerate(rows.tolist()):
            if leader[i] >= 0:
                continue
            others = columns[close[row]]
            others = others[others != i]
            work += len(others) * 8 * SIDE**2
            near = others[_near(thumbnails, mean, contrast, i, others)]
            for head in np.unique(leader[near[leader[near] >= 0]]).tolist():
                if 2 * np.isin(members[head], near).sum() >= len(members[head]):
                    leader[i] = head
                    members[head].append(i)
                    break
            else:
                joined = [i, *near[leader[near] < 0].tolist()]
                leader[joined] = i
                members[i] = joined
        if advance and n > ROWS:
            advance(min(start + ROWS, n), n)
        if work > WORK:
            break
    compared = min(start + ROWS, n)
    alone = leader < 0
    leader[alone] = np.flatnonzero(alone)
    return leader, compared


def _in_company(leader: np.ndarray) -> np.ndarray:
    """Which of N are in a group of several: (N,) of bool."""
    grouped = leader >= 0
    counts = np.bincount(leader[grouped], minlength=len(leader))
    grouped[grouped] = counts[leader[grouped]] > 1
    return grouped


def _levels(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each thumbnail and its standard deviation, in levels of 255: (N,) of float32."""
    flat = thumbnails.reshape(len(thumbnails), SIDE**2)
    parts = [flat[k : k + 4096].astype(np.float32) for k in range(0, len(flat), 4096)]
    return np.concatenate([p.mean(1) for p in parts]), np.concatenate([p.std(1) for p in parts])


def _units(
    thumbnails: np.ndarray, mean: np.ndarray, contrast: np.ndarray, which: np.ndarray
) -> np.ndarray:
    """Thumbnails as vectors of mean 0 and length 1: (len(which), SIDE**2)."""
    levels: np.ndarray = thumbnails[which].reshape(len(which), SIDE**2).astype(np.float32)
    levels -= mean[which][:, None]
    levels /= (np.maximum(contrast[which], 1e-6) * SIDE)[:, None]
    return levels


def _projected(thumbnails: np.ndarray, mean: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """`_units` of all, many of them along their principal axes: distances become no longer by it."""
    n = len(thumbnails)
    if n <= 2048:
        return _units(thumbnails, mean, contrast, np.arange(n))
    some = _units(thumbnails, mean, contrast, np.arange(0, n, -(-n // 4096)))
    centre = some.mean(0)
    some -= centre
    _, axes = np.linalg.eigh(some.T @ some)
    axes = axes[:, -AXES:]
    parts = [
        (_units(thumbnails, mean, contrast, which) - centre) @ axes
        for which in np.array_split(np.arange(n), -(-n // 4096))
    ]
    projected: np.ndarray = np.concatenate(parts)
    return projected


def _near(
    thumbnails: np.ndarray, mean: np.ndarray, contrast: np.ndarray, i: int, others: np.ndarray
) -> np.ndarray:
    """Whether each of `others` is a near-copy of picture i: (len(others),) of bool."""
    answers = []
    one = thumbnails[i].reshape(-1).astype(np.float32) - mean[i]
    for some in np.array_split(others, len(others) // 2048 + 1):
        them = thumbnails[some].reshape(len(some), SIDE**2).astype(np.float32) - mean[some][:, None]
        gain = (them @ one) / (SIDE**2 * contrast[i] ** 2)
        them -= gain[:, None] * one
        level = contrast[some]
        rms, most = np.sqrt((them**2).mean(1)), np.abs(them).max(1)
        answers.append(
            (rms <= RMS[0] * level + RMS[1])
            & (most <= GREATEST[0] * level + GREATEST[1])
            & (np.abs(mean[some] - mean[i]) <= SHIFT)
            & (level <= GAIN * contrast[i])
            & (contrast[i] <= GAIN * level)
        )
    return np.concatenate(answers)
