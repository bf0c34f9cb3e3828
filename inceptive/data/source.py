"""Labelled images as values: `Samples` is one split, `Data` a dataset with its splits and classes."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from inceptive.errors import InceptiveError, printable
from inceptive.images import Range, Source

SPLITS = ("train", "val", "test")
DIVISIBLE = 3
"""Images that a class gives at least one of to each split."""


FILE = np.dtype([("signature", np.int64, 4), ("digest", np.uint8, 32), ("pixels", np.uint64)])
"""An image file as it was when it was scanned: `cache.signature`, SHA-256, and `pixels_digest` of its
picture; zeros where not known."""


def pixels_digest(pixels: bytes) -> int:
    """A digest of 64 bits that identifies a picture, whatever its file name and metadata."""
    return int.from_bytes(hashlib.sha256(pixels).digest()[:8], "big") or 1


@dataclass(frozen=True)
class Images(ABC):
    """N pictures, wherever stored: PathImages, ArrayImages, or `shards.member.TarImages`."""

    arrays: ClassVar[tuple[str, ...]]
    """The fields that hold something of each picture; what tells one from another is in the first."""

    @abstractmethod
    def source(self, index: int) -> Source:
        """The source of picture `index` for `images.decode`."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The display name of picture `index`."""

    def __len__(self) -> int:
        return len(getattr(self, self.arrays[0]))

    def take(self, chosen: np.ndarray) -> Self:
        """The pictures at `chosen`, an array of indices or a mask."""
        fields: dict[str, Any] = {name: getattr(self, name)[chosen] for name in self.arrays}
        return replace(self, **fields)

    def join(self, others: Sequence[Self], name: str) -> Self:
        """Join these with those of `others`, of the same dataset, which is called `name`."""
        every = [self, *others]
        fields: dict[str, Any] = {
            field: np.concatenate([getattr(images, field) for images in every])
            for field in self.arrays
        }
        return replace(self, **fields)

    @abstractmethod
    def digests(self) -> np.ndarray:
        """`pixels_digest` of each picture: (N,) of uint64; 0 where unknown."""

    def fingerprint(self) -> bytes:
        """Bytes that differ for different pictures, as far as can be told without reading them."""
        return np.ascontiguousarray(getattr(self, self.arrays[0])).tobytes()


@dataclass(frozen=True)
class PathImages(Images):
    """Image files: paths (N,), in one NumPy array of strings, which threads share without growing.

    folder names the dataset they belong to: what is cached of its pictures is kept together. files (N,)
    are of FILE.
    """

    arrays = "paths", "files"
    paths: np.ndarray
    folder: str
    files: np.ndarray

    @classmethod
    def of(
        cls,
        paths: Sequence[str | Path],
        folder: str | Path = "",
        files: np.ndarray | None = None,
    ) -> "PathImages":
        names = np.array([str(path) for path in paths], dtype=np.str_)
        return cls(names, str(folder), np.zeros(len(paths), FILE) if files is None else files)

    def source(self, index: int) -> str:
        return str(self.paths[index])

    name = source

    def digests(self) -> np.ndarray:
        return np.asarray(self.files["pixels"])


@dataclass(frozen=True)
class ArrayImages(Images):
    """Pictures in memory: pixels (N, H, W) or (N, H, W, 3) of uint8, named such as "digits/17"."""

    arrays = ("pixels",)
    pixels: np.ndarray
    origin: str = "image"

    def source(self, index: int) -> np.ndarray:
        pixels: np.ndarray = self.pixels[index]
        return pixels

    def name(self, index: int) -> str:
        return f"{self.origin}/{index}"

    def digests(self) -> np.ndarray:
        return np.array([pixels_digest(image.tobytes()) for image in self.pixels], np.uint64)

    def join(self, others: Sequence[Self], name: str) -> Self:
        return replace(super().join(others, name), origin=name)


@dataclass(frozen=True, repr=False)
class Samples:
    """N labelled images: the pictures, and labels (N,) of int64.

    soft (N, K), if present, holds the class probabilities assigned by experts; groups (N,), if known,
    have one number for all copies of a picture.
    """

    images: Images
    labels: np.ndarray
    soft: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<Samples: {len(self)} images>"

    def source(self, index: int) -> Source:
        """The source of image `index` for `images.decode`."""
        return self.images.source(index)

    def name(self, index: int) -> str:
        """The display name of image `index`."""
        return self.images.name(index)

    def take(self, chosen: np.ndarray) -> "Samples":
        """The samples at `chosen`, an array of indices or a mask."""
        soft = None if self.soft is None else self.soft[chosen]
        groups = None if self.groups is None else self.groups[chosen]
        return Samples(self.images.take(chosen), self.labels[chosen], soft, groups)

    def join(self, others: Sequence["Samples"], name: str) -> "Samples":
        """These and `others`, as the samples of the dataset `name`."""
        every = [self, *others]
        images = self.images.join([samples.images for samples in others], name)
        labels = np.concatenate([samples.labels for samples in every])
        soft = [samples.soft for samples in every if samples.soft is not None]
        groups = [samples.groups for samples in every if samples.groups is not None]
        return Samples(
            images,
            labels,
            np.concatenate(soft) if len(soft) == len(every) else None,
            np.concatenate(groups) if len(groups) == len(every) else None,
        )

    @property
    def targets(self) -> np.ndarray:
        """Training targets: soft labels (N, K) of float32 if there are any, else labels (N,)."""
        return self.labels if self.soft is None else self.soft.astype(np.float32)


@dataclass(frozen=True)
class SampleDepth:
    """The deep pictures among a dataset's training pictures, and the range found in them.

    sample_range is None where it is the usual one of floats (see `depth.USUAL`). It is `mixed` where
    integers and floats have none in common.
    """

    pictures: int
    floats: bool
    sample_range: Range | None
    mixed: bool = False
    beyond: int = 0  # pictures that go beyond it


@dataclass(frozen=True, repr=False)
class Data:
    """A labelled dataset. Label k means classes[k]; splits are some of train, val and test.

    channels is 1 if every image is greyscale, else 3. notes are what a user should know beforehand;
    unreadable names each file that was left out, with the reason.

    >>> data = inceptive.open_data("digits")
    >>> data.classes[:3], sorted(data.splits)
    (('0', '1', '2'), ['test', 'train', 'val'])
    """

    name: str
    classes: tuple[str, ...]
    splits: dict[str, Samples]
    channels: int
    licence: str = ""
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    divided: bool = False
    """Whether its splits were made here, by the content of its images, and not by its person."""
    depth: SampleDepth | None = None
    """What its training pictures of more than 8 bits are; None if there are none, or it is not known."""

    @property
    def of_files(self) -> bool:
        """Whether it consists of files that were split here: until 0.1, by their bytes."""
        return self.divided and not isinstance(self.splits["train"].images, ArrayImages)

    def check_classes(self) -> None:
        """Raise InceptiveError if there are too few classes to learn from."""
        if len(self.classes) < 2:
            raise InceptiveError(
                f"{printable(self.name)}: a classifier needs two classes or more with images; "
                f"found {', '.join(map(printable, self.classes))}"
            )

    def split(self, name: str) -> Samples:
        """The samples of one split, or of "all". Raises InceptiveError if there is no such split."""
        if name == "all":
            first, *rest = self.splits.values()
            return first.join(rest, self.name)
        if name not in self.splits or not len(self.splits[name]):
            filled = [split for split, samples in self.splits.items() if len(samples)]
            why = ""
            if (
                name in self.splits
                and filled == ["train"]
                and max(self.counts("train")) < DIVISIBLE
            ):
                why = (
                    f": {len(self.splits['train'])} images of {len(self.classes)} classes are too few "
                    f"to divide; add images, or give {name}/ beside train/ yourself"
                )
            raise InceptiveError(
                f"{printable(self.name)} has no {printable(name)} split{why}; "
                f"it has: {', '.join(filled)}"
            )
        return self.splits[name]

    def __repr__(self) -> str:
        classes = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
        counts = ", ".join(f"{len(samples)} {split}" for split, samples in self.splits.items())
        return f"<Data {self.name}: {len(self.classes)} classes ({classes}), images: {counts}>"

    def counts(self, split: str) -> np.ndarray:
        """Number of images of each class in `split`: (K,) int64."""
        return np.bincount(self.splits[split].labels, minlength=len(self.classes))


def images_of(split: str) -> str:
    """What to call them: "val images"; those of "all" are just images."""
    return "images" if split == "all" else f"{split} images"


def class_indices(classes: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """The index of each of a dataset's `classes` among a model's `labels`: (K,) int64.

    Raises InceptiveError, naming them, if some are unknown to the model.
    """
    if unknown := [name for name in classes if name not in labels]:
        raise InceptiveError(
            f"the model does not know {', '.join(unknown[:5])}; it knows: {', '.join(labels[:20])}"
        )
    return np.array([labels.index(name) for name in classes], dtype=np.int64)


@dataclass(frozen=True)
class SplitFractions:
    """How to split a dataset that has no splits: the fractions for validation and test.

    >>> data = inceptive.open_data("photos", inceptive.SplitFractions(val=0.2, test=0.2))
    >>> sorted(data.splits)
    ['test', 'train', 'val']
    """

    val: float = 0.15
    test: float = 0.15
    copies: Literal["together", "ignore"] = "together"
    """Whether pictures that are near-copies stay on one side; those of equal pixels always do."""

    @classmethod
    def from_dict(cls, record: Any) -> "SplitFractions":
        """Read them from a model folder's `record`. Raises InceptiveError if it is invalid."""
        try:
            values = {name: float(record.get(name, getattr(cls, name))) for name in ("val", "test")}
            return cls(**values, copies=record.get("copies", cls.copies))
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise InceptiveError(
                f"the model's record of how its data was split is invalid ({error})"
            ) from None

    def __post_init__(self) -> None:
        numbers = all(isinstance(share, int | float) for share in (self.val, self.test))
        if not (numbers and self.val >= 0 and self.test >= 0 and self.val + self.test < 1):
            raise InceptiveError(
                f"val {self.val} and test {self.test} are shares of the images that together "
                "leave some for training"
            )
        if self.copies not in ("together", "ignore"):
            raise InceptiveError(f'copies is "together" or "ignore", not {self.copies!r}')
