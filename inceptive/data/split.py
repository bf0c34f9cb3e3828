"""Splitting a set so that nothing is evaluated on what it was trained on.

The split of a picture depends on its pixels alone, not on its name, its metadata, its folder's order or
a random state: the same folder is split in the same way on every machine.
"""

import hashlib
from collections import defaultdict

import numpy as np

from inceptive.data.source import DIVISIBLE, Samples, SplitFractions

FOLDS = 5
"""Of a cross-validation."""


def digest(content: bytes) -> bytes:
    """SHA-256 of a file's bytes, or of an array's: 32 bytes."""
    return hashlib.sha256(content).digest()


def divide(
    labels: np.ndarray, digests: np.ndarray, groups: np.ndarray, shares: SplitFractions
) -> np.ndarray:
    """The split of each of N images, digests (N,) of uint64: (N,) of "train", "val" or "test".

    Stratified: each class gives its shares, rounded, and at least one image to every wanted split
    if it has three or more. A group stays whole, so a share may be exceeded by a group's size.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[int(group)].append(i)
    by_class: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
    for indices in members.values():
        key = int(digests[indices].min())
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


def folds_of(samples: Samples) -> np.ndarray:
    """The fold of each image in a cross-validation (N,): each class is in all, copies are in one."""
    groups = np.arange(len(samples)) if samples.groups is None else samples.groups
    numbers, first, group = np.unique(groups, return_index=True, return_inverse=True)
    fold = np.empty(len(numbers), np.int64)
    fold[np.lexsort((numbers, samples.labels[first]))] = np.arange(len(numbers)) % FOLDS
    return fold[group]
