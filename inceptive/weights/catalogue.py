"""The published checkpoints, as described in `catalogue.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inceptive.images import Preprocessing


@dataclass(frozen=True)
class Published:
    """One checkpoint.

    net is the variant it was trained with, by its name in NETS (the list is a file, and reading it
    builds no nets: `load` takes the value from there), source its key table. `url` is its location, or
    `hub` its repository on the Hugging Face Hub; with neither, `note` says how to obtain it.
    prepared: its preprocessing, as the list has it. digest: hexadecimal digits, as `downloads.matches`
    reads them. labels: a list of names in `labels/`, or "" if its publisher gives none. background:
    class 0 of the file is not among the labels and is left out. bgr: its first layer reads blue first.
    top1, top5: as stated by the publisher, in per cent.
    """

    name: str
    net: str
    source: str
    classes: int
    licence: str
    prepared: Mapping[str, Any] = field(hash=False)
    file: str
    url: str = ""
    hub: str = ""
    digest: str = ""
    megabytes: float = 0
    labels: str = ""
    background: bool = False
    bgr: bool = False
    heads: bool = True
    top1: float | None = None
    top5: float | None = None
    accuracy_source: str = ""
    note: str = ""

    @cached_property
    def preprocessing(self) -> "Preprocessing":
        """What `prepared` says, once somebody asks: a list of names needs no decoder."""
        from inceptive.images import Preprocessing

        return Preprocessing.from_dict(dict(self.prepared))


@cache
def catalogue() -> dict[str, Published]:
    """Every published checkpoint by name, in the file's order."""
    text = files("inceptive.weights").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {name: _published(name, entry) for name, entry in tomllib.loads(text).items()}


def published_labels(published: Published) -> tuple[str, ...]:
    """Class names in the order of the checkpoint."""
    return _labels(published.labels) if published.labels else numbered_labels(published.classes)


def numbered_labels(count: int) -> tuple[str, ...]:
    """Names for `count` unnamed classes: ImageNet's if there are 1,000, else "class 0", ..."""
    return _labels("imagenet") if count == 1000 else tuple(f"class {k}" for k in range(count))


def _labels(name: str) -> tuple[str, ...]:
    path = files("inceptive.weights").joinpath("labels", f"{name}.txt")
    return tuple(path.read_text(encoding="utf-8").splitlines())


def _published(name: str, entry: dict[str, Any]) -> Published:
    return Published(name=name, prepared=entry.pop("preprocessing"), **entry)
