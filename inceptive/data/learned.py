"""The pictures a model has learned, by their pixels, so that it is not evaluated on them."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inceptive.data.source import Data, Samples
from inceptive.errors import InceptiveError


@dataclass(frozen=True)
class Learned:
    """Digests (see `Images.digests`) of a model's training images, and of those that chose its epoch."""

    train: np.ndarray
    val: np.ndarray

    @classmethod
    def nothing(cls) -> "Learned":
        return cls(np.empty(0, np.uint64), np.empty(0, np.uint64))

    @classmethod
    def of(cls, data: Data) -> "Learned | None":
        """Digests for training on `data`; None if some are unknown, as for shards with an index."""
        train, val = (np.unique(data.splits[name].images.digests()) for name in ("train", "val"))
        return cls(train, val) if train.all() and val.all() else None

    @classmethod
    def from_record(cls, data: Mapping[str, Any]) -> "Learned | None":
        """Read them from `Engine.data`; None if absent. InceptiveError if invalid."""
        if "pictures" not in data:
            return None
        try:
            train, val = (
                np.frombuffer(base64.b64decode(data["pictures"][name], validate=True), "<u8")
                for name in ("train", "val")
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InceptiveError(
                f"the model's record of the images it learned is invalid ({error})"
            ) from None
        return cls(train, val)

    def to_dict(self) -> dict[str, str]:
        """The JSON under "pictures": 11 characters per image."""
        values = {"train": self.train, "val": self.val}
        return {
            name: base64.b64encode(v.astype("<u8").tobytes()).decode() for name, v in values.items()
        }

    def __or__(self, other: "Learned") -> "Learned":
        return Learned(np.union1d(self.train, other.train), np.union1d(self.val, other.val))

    def trained_on(self, samples: Samples) -> np.ndarray:
        """Whether each of `samples` was trained on: (N,) of bool."""
        return np.isin(samples.images.digests(), self.train)

    def chose(self, samples: Samples) -> np.ndarray:
        """Whether each of `samples` chose the epoch and was not trained on: (N,) of bool."""
        digests = samples.images.digests()
        return np.isin(digests, self.val) & ~np.isin(digests, self.train)
