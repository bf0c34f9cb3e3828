"""Labelled images as values: `Samples` are one split, `Data` is a set with its splits and classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.data.shards.member import Tar, member_at
from inceptive.errors import InceptiveError
from inceptive.images import Source, printable

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Samples:
    """N labelled images: paths, or an array (N, H, W) or (N, H, W, 3) of uint8; labels (N,) int64.

    Images that lie in `tars` are an array of places (see `shards.member`), which a set's splits share.
    soft (N, K), where a set has it, is how probable each class is in its experts' eyes.

    Paths stand in one NumPy array of strings, not in N objects: workers share it without growing.
    """

    images: np.ndarray
    labels: np.ndarray
    origin: str  # what an image in an array is called after: "digits" gives "digits/17"
    soft: np.ndarray | None = None
    tars: tuple[Tar, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def on_disk(self) -> bool:
        """Whether each image is a file of its own."""
        return self.images.ndim == 1 and not self.tars

    def source(self, index: int) -> Source:
        """What `images.decode` takes for image `index`."""
        if self.tars:
            return member_at(self.tars, self.images[index])
        return str(self.images[index]) if self.on_disk else self.images[index]

    def name(self, index: int) -> str:
        """What to call image `index` when speaking of it."""
        if self.tars:
            return member_at(self.tars, self.images[index]).name
        return str(self.images[index]) if self.on_disk else f"{self.origin}/{index}"

    def take(self, chosen: np.ndarray) -> "Samples":
        """The samples at `chosen`, an array of indices or a mask."""
        soft = None if self.soft is None else self.soft[chosen]
        return Samples(self.images[chosen], self.labels[chosen], self.origin, soft, self.tars)

    @property
    def targets(self) -> np.ndarray:
        """What to train on: soft labels (N, K) of float32 if there are any, else labels (N,)."""
        return self.labels if self.soft is None else self.soft.astype(np.float32)


@dataclass(frozen=True)
class Data:
    """A labelled set. Label k stands for classes[k]; splits are some of train, val and test.

    channels is 1 if every image is grey, else 3. notes are what a person should know before using
    it; unreadable names each file that was left out, with the reason.
    """

    name: str
    classes: tuple[str, ...]
    splits: dict[str, Samples]
    channels: int
    licence: str = ""
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def split(self, name: str) -> Samples:
        """The samples of one split, or of "all". Raises InceptiveError, naming those there are."""
        if name == "all":
            kept = list(self.splits.values())
            return replace(
                kept[0],
                images=np.concatenate([samples.images for samples in kept]),
                labels=np.concatenate([samples.labels for samples in kept]),
                origin=self.name,
                soft=None,
            )
        if name not in self.splits or not len(self.splits[name]):
            filled = [split for split, samples in self.splits.items() if len(samples)]
            raise InceptiveError(
                f"{printable(self.name)} has no {printable(name)} split; it has: {', '.join(filled)}"
            )
        return self.splits[name]

    def counts(self, split: str) -> np.ndarray:
        """Images of each class in `split`: (K,) int64."""
        return np.bincount(self.splits[split].labels, minlength=len(self.classes))


def places(classes: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Where each of a set's `classes` stands among a model's `labels`: (K,) int64.

    Raises InceptiveError, naming them, if the model does not know some.
    """
    if unknown := [name for name in classes if name not in labels]:
        raise InceptiveError(
            f"the model does not know {', '.join(unknown[:5])}; it knows: {', '.join(labels[:20])}"
        )
    return np.array([labels.index(name) for name in classes], dtype=np.int64)


@dataclass(frozen=True)
class Shares:
    """How much of an undivided set becomes validation and test data."""

    val: float = 0.15
    test: float = 0.15

    @classmethod
    def from_dict(cls, told: Any) -> "Shares":
        """What a model folder tells of them. InceptiveError if `told` is not what asdict gives."""
        try:
            return cls(float(told.get("val", cls.val)), float(told.get("test", cls.test)))
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise InceptiveError(
                f"the model's record of how its data was split is invalid ({error})"
            ) from None

    def __post_init__(self) -> None:
        if not (self.val >= 0 and self.test >= 0 and self.val + self.test < 1):
            raise InceptiveError(
                f"val {self.val} and test {self.test} are shares of the images that together "
                "leave some for training"
            )


def as_paths(paths: Sequence[str | Path]) -> np.ndarray:
    """Paths as one array of strings, (N,)."""
    return np.array([str(path) for path in paths], dtype=np.str_)
