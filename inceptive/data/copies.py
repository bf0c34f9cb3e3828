"""Pictures that show the same: copies, and copies that were resized, recompressed or brightened.

Two pictures are near-copies if their thumbnails agree everywhere once the brightness and the contrast
of one are fitted to the other's, and what thereby became brighter than white was cut off; or if, both
blurred and sharpness fitted too, they agree twice as well, as those of other sizes do. A small thing on
a white table, or a scratch on one of many parts before one camera, is a difference of few pixels and not
of the average. The figures behind the limits stand in docs/log.md.
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
WHITE, WHOLE = 250, 255
"""Levels: from the first on a pixel may have been cut off at white, the second."""
CUTS = 235, 215
"""Levels of a picture that are white in copies a tenth and a fifth brighter."""
CUT_OFF, PAIRS = 0.01, 5e8
"""Share of the pixels of one, at least, that are white: fewer do not hide that both are alike; and how
many pairs are looked at for it, at most: seconds each time."""
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
        self.white = self.pixels.max(1) >= WHITE

    def brighter(self, level: int) -> np.ndarray:
        """Whether CUT_OFF of a thumbnail's pixels have at least `level`: (N,) of bool."""
        return np.asarray((self.pixels >= level).mean(1) >= CUT_OFF)

    @property
    def clear(self) -> np.ndarray:
        """Whether a thumbnail has contrast enough to prove anything: (N,) of bool."""
        return np.asarray(self.contrast >= FLAT)

    @property
    def sine(self) -> np.ndarray:
        """Of the angle between a thumbnail and a near-copy, as vectors of no mean, at most: (N,).

        A fifth more than `near` allows: a chord takes the place of the sine, and CUTS that of what was
        cut off.
        """
        return np.asarray(1.2 * (RMS[0] + RMS[1] / np.maximum(self.contrast, FLAT)))

    def units(self, which: np.ndarray, cut: int = WHOLE) -> np.ndarray:
        """Those at `which`, cut off at a level and blurred, as vectors of mean 0 and length 1:
        (M, SIDE**2) of float32."""
        return _unit(_blurred(np.minimum(self.pixels[which], cut).astype(np.float32)))

    def near(self, i: int, others: np.ndarray) -> np.ndarray:
        """Those of `others` that are near-copies of thumbnail i."""
        found = [others[:0]]
        own = self.pixels[i].astype(np.float32)
        centred = own - self.mean[i]
        for start in range(0, len(others), COLUMNS):
            some = others[start : start + COLUMNS]
            levels, contrast = self.pixels[some].astype(np.float32), self.contrast[some]
            rest = levels - self.mean[some][:, None]
            gain = (rest @ centred) / (SIDE * self.contrast[i]) ** 2
            rest -= gain[:, None] * centred
            alike = _small(rest, contrast)
            cut = np.flatnonzero(~alike & (self.white[some] | self.white[i]))
            if len(cut):
                alike[cut] = _cut_off(own[None], levels[cut]) | _cut_off(levels[cut], own[None])
            softer = np.flatnonzero(~alike)
            if len(softer):
                soft, one = _blurred(levels[softer]), _blurred(own[None])
                alike[softer] = _sharpened(one, soft) | _sharpened(soft, one)
            alike &= np.abs(self.mean[some] - self.mean[i]) <= SHIFT
            alike &= np.maximum(contrast, self.contrast[i]) <= GAIN * np.minimum(
                contrast, self.contrast[i]
            )
            found.append(some[alike])
        return np.concatenate(found)


def _small(rest: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """Whether differences (N, SIDE**2) are those of near-copies of such contrast (N,): (N,) of bool."""
    average = np.sqrt((rest**2).mean(1)) <= RMS[0] * contrast + RMS[1]
    return np.asarray(average & (np.abs(rest).max(1) <= GREATEST[0] * contrast + GREATEST[1]))


def _blurred(levels: np.ndarray) -> np.ndarray:
    """Thumbnails (N, SIDE**2), each pixel averaged with its neighbours by 1, 2, 1 in both directions."""
    square: np.ndarray = levels.reshape(-1, SIDE, SIDE)
    for axis in (1, 2):
        before = np.concatenate([square.take([0], axis), square.take(range(SIDE - 1), axis)], axis)
        after = np.concatenate([square.take(range(1, SIDE), axis), square.take([-1], axis)], axis)
        square = (before + 2 * square + after) / 4
    return square.reshape(-1, SIDE**2)


def _unit(levels: np.ndarray) -> np.ndarray:
    """Rows as vectors of mean 0 and length 1."""
    centred = levels - levels.mean(1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6))


def _sharpened(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether `other` is `one` with another brightness, contrast and sharpness, within half of what
    near-copies may differ: (N,) of bool. Both are blurred, (N, SIDE**2) or (1, SIDE**2)."""
    plain = _unit(one)
    softer = _blurred(plain)
    softer = _unit(softer - (softer * plain).sum(1, keepdims=True) * plain)
    rest = other - other.mean(1, keepdims=True)
    for axis in (plain, softer):
        rest = rest - (rest * axis).sum(1, keepdims=True) * axis
    return _small(2 * rest, other.std(1))


def _cut_off(dark: np.ndarray, bright: np.ndarray) -> np.ndarray:
    """Whether `bright` is `dark` with another brightness and contrast, cut off at white: (N,) of bool.

    Both are (N, SIDE**2) or (1, SIDE**2). Fitted are the pixels that are not white.
    """
    seen = bright < WHITE
    count = np.maximum(seen.sum(1, keepdims=True), 1)
    x = np.where(seen, dark, 0)
    y = np.where(seen, bright, 0)
    mean_x, mean_y = x.sum(1, keepdims=True) / count, y.sum(1, keepdims=True) / count
    variance = (x * x).sum(1, keepdims=True) / count - mean_x**2
    gain = ((x * y).sum(1, keepdims=True) / count - mean_x * mean_y) / np.maximum(variance, 1e-6)
    rest = np.minimum(gain * (dark - mean_x) + mean_y, WHOLE) - bright
    fitted = (count >= SIDE) & (variance >= FLAT**2) & (gain >= 1 / GAIN) & (gain <= GAIN)
    return np.asarray(fitted[:, 0] & _small(rest, bright.std(1)))


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
    """Which pairs of `thumbnails` may be near-copies, a superset (but for some that were cut off far
    from CUTS, or are among more than PAIRS); work: multiply-adds until now.

    |p - q| <= chord as one product: p.q - |p|^2/2 - |q|^2/2 + chord^2/2 >= 0, of vectors of length 1 or,
    of many thumbnails, of their AXES principal components: distances become no longer by it.
    """

    def __init__(self, thumbnails: Thumbnails):
        self.thumbnails, self.work = thumbnails, 0
        n = len(thumbnails.pixels)
        blocks = np.array_split(np.arange(n), -(-n // COLUMNS))
        centre, axes = _axes(thumbnails) if n > 2 * COLUMNS else (0, None)
        every = np.ones(n, np.bool_)
        # Each: the levels at which a row and a column are cut off, and which rows and columns may be.
        self.ways = [(WHOLE, WHOLE, every, every)]
        white = thumbnails.brighter(WHITE)
        for cut in CUTS:
            dark = thumbnails.brighter(cut)
            if 0 < int(white.sum()) * int(dark.sum()) <= PAIRS:
                self.ways += [(cut, WHOLE, dark, white), (WHOLE, cut, white, dark)]
        self.of_rows, self.of_columns = {}, {}
        for cut in {way[0] for way in self.ways}:
            units = (thumbnails.units(which, cut) for which in blocks)
            points = np.concatenate([u if axes is None else (u - centre) @ axes for u in units])
            half = (points**2).sum(1) / 2
            ones = np.ones_like(half)
            self.of_rows[cut] = np.column_stack([points, ones, thumbnails.sine**2 / 2 - half])
            self.of_columns[cut] = np.column_stack([points, -half, ones])

    def among(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Whether each of `rows` and each of `columns` are one: (len(rows), len(columns)) of bool."""
        close = np.zeros((len(rows), len(columns)), np.bool_)
        for row_cut, column_cut, some_rows, some_columns in self.ways:
            of, to = np.flatnonzero(some_rows[rows]), np.flatnonzero(some_columns[columns])
            for start in range(0, len(to) if len(of) else 0, COLUMNS):
                some = to[start : start + COLUMNS]
                alike = self._alike(rows[of], columns[some], row_cut, column_cut)
                row, column = np.nonzero(alike)
                close[of[row], some[column]] = True
        return close

    def _alike(
        self, rows: np.ndarray, columns: np.ndarray, row_cut: int, column_cut: int
    ) -> np.ndarray:
        alike: np.ndarray = (
            self.of_rows[row_cut][rows] @ self.of_columns[column_cut][columns].T >= 0
        )
        self.work += alike.size * self.of_rows[row_cut].shape[1]
        if np.count_nonzero(alike) > DENSE * alike.size:
            sine, units = self.thumbnails.sine[rows], self.thumbnails.units
            least = np.sqrt(np.maximum(1 - sine**2, 0))[:, None]
            alike &= units(rows, row_cut) @ units(columns, column_cut).T >= least
            self.work += alike.size * SIDE**2
        return alike


def _axes(thumbnails: Thumbnails) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the thumbnails' vectors, and AXES principal axes of them (SIDE**2, AXES)."""
    n = len(thumbnails.pixels)
    sample = thumbnails.units(np.arange(0, n, -(-n // COLUMNS)))
    centre = sample.mean(0)
    sample -= centre
    _, axes = np.linalg.eigh(sample.T @ sample)
    return centre, axes[:, -AXES:]
