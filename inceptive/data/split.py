"""Dividing a set so that nothing is judged on what it was trained on.

Which side a file lands on follows from its content alone, not from its name, its folder's order or
a random state: the same folder divides in the same way on every machine.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from inceptive.data.source import DIVISIBLE, SplitFractions

HASH_SIDE = 16  # the difference hash has 16 x 16 = 256 bits
NEAR_BITS = 24  # two pictures are near-duplicates if at most so many bits differ ...
NEAR_LEVELS = (
    6.0  # ... and their 17 x 16 grey thumbnails differ by less than this of 255 on average
)
NEAR_LIMIT = 100_000  # images that are compared pair by pair; beyond, only exact copies are found


def digest(content: bytes) -> bytes:
    """SHA-256 of a file's bytes, or of an array's: 32 bytes."""
    return hashlib.sha256(content).digest()


def near_duplicates(thumbnails: np.ndarray, digests: list[bytes]) -> np.ndarray:
    """A group number for each of N images, (N,): equal for copies and near-copies.

    thumbnails is (N, 16, 17) of uint8. Near means resized, recompressed or slightly brightened, not
    merely alike: the difference hashes nearly agree and so do the thumbnails themselves. Groups are
    transitive.
    """
    n = len(digests)
    parent = np.arange(n)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(pairs: Iterable[tuple[int, int]]) -> None:
        for i, j in pairs:
            a, b = sorted((root(i), root(j)))
            parent[b] = a

    first: dict[bytes, int] = {}
    join((first.setdefault(content, i), i) for i, content in enumerate(digests))
    if 0 < n <= NEAR_LIMIT:
        # Of equal thumbnails one stands for all: n blank pictures would be n * n pairs.
        _, firsts, same = np.unique(
            thumbnails.reshape(n, -1), axis=0, return_index=True, return_inverse=True
        )
        join(zip(firsts[same.reshape(-1)].tolist(), range(n), strict=True))
        join(firsts[_near_pairs(thumbnails[firsts])].tolist())
    return np.array([root(i) for i in range(n)], dtype=np.int64)


def _near_pairs(thumbnails: np.ndarray) -> np.ndarray:
    """Pairs (P, 2) of indices i < j whose pictures nearly agree."""
    n = len(thumbnails)
    # The difference hash: where brightness falls from left to right, 256 bits.
    falls = (thumbnails[:, :, 1:] < thumbnails[:, :, :-1]).reshape(n, -1)
    signs = np.where(falls, 1.0, -1.0).astype(np.float32)  # dot product = bits - 2 * differing
    least = signs.shape[1] - 2 * NEAR_BITS if n else 0
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, n, 1024):
        agree = signs[start : start + 1024] @ signs.T
        i, j = np.nonzero(agree >= least)
        i += start
        pairs.append(np.stack([i[i < j], j[i < j]], axis=1))
    every = np.concatenate(pairs)
    near = [
        some[np.abs(thumbnails[some[:, 0]].astype(np.int16) - thumbnails[some[:, 1]]).mean((1, 2))
             < NEAR_LEVELS]
        for some in np.array_split(every, len(every) // 4096 + 1)
    ]  # fmt: skip
    return np.concatenate(near)


def divide(
    labels: np.ndarray, digests: list[bytes], groups: np.ndarray, shares: SplitFractions
) -> np.ndarray:
    """The split of each of N images: (N,) of "train", "val" or "test".

    Stratified: each class gives its shares, rounded, and at least one image to every wanted split
    if it has three or more. A group goes to one side whole, so a share may be passed by a group's size.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[int(group)].append(i)
    by_class: dict[int, list[tuple[bytes, list[int]]]] = defaultdict(list)
    for indices in members.values():
        key = min(digests[i] for i in indices)
        label = int(np.bincount(labels[indices]).argmax())
        by_class[label].append((key, indices))
    split = np.full(len(labels), "train", dtype="<U5")
    for of_class in by_class.values():
        of_class.sort()
        total = sum(len(indices) for _, indices in of_class)
        wanted = [(n, s) for n, s in (("test", shares.test), ("val", shares.val)) if s > 0]
        for position, (name, share) in enumerate(wanted):
            quota = max(round(total * share), int(total >= DIVISIBLE))
            spared = len(wanted) - position  # groups left to training and to the splits to come
            taken = 0
            while quota > 0 and len(of_class) > spared:
                # A group larger than what is still wanted stays for training, unless the split
                # would have nothing of this class: then it gets the smallest.
                fits = next((k for k, (_, g) in enumerate(of_class) if len(g) <= quota), None)
                if fits is None:
                    if taken or total < DIVISIBLE:
                        break
                    fits = min(range(len(of_class)), key=lambda k: len(of_class[k][1]))
                taken += 1
                _, indices = of_class.pop(fits)
                split[indices] = name
                quota -= len(indices)
    return split
