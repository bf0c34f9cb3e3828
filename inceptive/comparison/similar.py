"""Images that look alike to a net: the nearest to one, and groups of near-copies in a set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.arguments import PositiveInt, checked
from inceptive.data.copies import copies
from inceptive.data.layout import list_images
from inceptive.data.scan import scan_all
from inceptive.engines.embedding import Embeddings, Pool, embed
from inceptive.engines.prediction import as_source
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError, printable
from inceptive.images import Source
from inceptive.io.atomic import atomic_write, write_text
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent
from inceptive.report.page import similar_page
from inceptive.report.pictures import contact_sheet
from inceptive.weights.load import first_choice

COUNT = 12
"""Images that are found, unless asked otherwise."""
LAYERS = {"inception_v3.nsfwjs": "mixed_6e"}
"""Where published weights learned other pictures in their last parts: the part before."""
ALIKE = 0.75
"""Cosine of two near-copies' standardised features at least: see docs/log.md."""
FEW = 20
"""Images from which on features are standardised over the set."""
ROWS = 1024
"""Images that are compared with all others at once."""


@dataclass(frozen=True, repr=False)
class Similar:
    """Of `compared` images those most like `image`, best first: (name, cosine similarity, -1 to 1).

    The cosine is that of the features of `layer`, standardised over the set.

    >>> found = inceptive.similar("photo.jpg", "photos/", "runs/mine", count=3)
    >>> len(found.matches), found.matches[0][1] <= 1.0
    (3, True)
    """

    image: str
    source: Source = field(repr=False, compare=False)
    matches: tuple[tuple[str, float], ...]
    compared: int
    layer: str
    unreadable: tuple[str, ...] = ()

    def __repr__(self) -> str:
        best = ", ".join(f"{name} {cosine:.2f}" for name, cosine in self.matches[:3])
        return f"<Similar to {self.image}, of {self.compared} images: {best}>"

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON-compatible values."""
        matches = [{"image": name, "similarity": cosine} for name, cosine in self.matches]
        about = {key: getattr(self, key) for key in ("image", "compared", "layer", "unreadable")}
        return about | {"matches": matches}

    def save(self, folder: str | Path) -> list[Path]:
        """Write the images into `folder` as similar.png and similar.html, and return both paths.

        Raises InceptiveError if they cannot be written.
        """
        target = expand(folder)
        rows = [(self.image, self.source, "the image itself")]
        rows += [(name, as_source(name), f"{cosine:.2f}") for name, cosine in self.matches]
        title = f"Most like {self.image}"
        about = f"{self.compared:,} images, by the features of {self.layer}"
        with atomic_write(target / "similar.png") as file:
            contact_sheet(rows).save(file, "PNG", optimize=True)
        write_text(target / "similar.html", similar_page(title, about, rows))
        return [target / "similar.png", target / "similar.html"]


@dataclass(frozen=True)
class NearCopies:
    """Groups of images that are near-copies of each other: by the features of `layer`, and by their
    pixels, as `train` keeps them on one side. Each group has two names or more, in order.

    >>> groups = inceptive.near_copies("photos/", "runs/mine")
    >>> all(len(group) > 1 for group in groups.by_features)
    True
    """

    by_features: tuple[tuple[str, ...], ...]
    by_pixels: tuple[tuple[str, ...], ...]
    compared: int
    layer: str
    unreadable: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON-compatible values."""
        return asdict(self)


@checked
def similar(
    image: Any,
    images: Any,
    model: str | Path | Engine | None = None,
    *,
    layer: str = "",
    pool: Pool = "mean",
    count: PositiveInt = COUNT,
    engine: str = "auto",
    batch_size: PositiveInt = 32,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Similar:
    """Return the `count` of `images` that look most like `image`, which is left out if among them.

    images: a folder, a list of images as for `embed`, or their Embeddings, which `model` made. model,
    layer, pool, engine: as for `embed`; None: published weights, those that `train` starts from. Raises
    InceptiveError if the image cannot be decoded, or there is nothing to compare.

    >>> inceptive.similar("photo.jpg", "photos/", "runs/mine").compared
    40
    """
    progress = progress or Silent()
    made = _features(images, model, layer, pool, engine, batch_size, progress)
    chosen, layer = _model(model, layer or made.layer)
    [name] = (str(image),) if isinstance(image, str | Path) else ("image",)
    known = {each: k for k, each in enumerate(made.images)}
    if name in known:
        features = made.features[known[name]]
    else:
        query = embed(chosen, image, layer, made.pool, engine=engine, progress=None)
        if query.errors[0]:
            raise InceptiveError(query.errors[0])
        features = query.features[0]
    usable = [k for k, error in enumerate(made.errors) if not error and made.images[k] != name]
    if not usable:
        raise InceptiveError("there is no other image to compare with")
    if features.shape != made.features.shape[1:]:
        raise InceptiveError(
            f"the images have {_shape(made.features[0])} features of {made.layer}, {name} has "
            f"{_shape(features)}: name the model that made them"
        )
    rows = _directions(
        np.vstack([made.features[usable], features[None]]).reshape(len(usable) + 1, -1)
    )
    cosines = rows[:-1] @ rows[-1]
    best = np.argsort(-cosines, kind="stable")[:count]
    return Similar(
        image=name,
        source=as_source(image),
        matches=tuple((made.images[usable[k]], float(cosines[k])) for k in best),
        compared=len(usable),
        layer=made.layer,
        unreadable=tuple(filter(None, made.errors)),
    )


@checked
def near_copies(
    folder: str | Path,
    model: str | Path | Engine | None = None,
    *,
    layer: str = "",
    alike: float = ALIKE,
    engine: str = "auto",
    batch_size: PositiveInt = 32,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> NearCopies:
    """Return the groups of near-copies among the images in `folder`, by features and by pixels.

    An image joins the group with whose first member its features, standardised over the set, have a
    cosine of `alike`: what was cropped or blurred is found where pixels are not, and so may be two
    photographs of one thing. model, layer, engine: as for `similar`.

    >>> inceptive.near_copies("photos/", "runs/mine").compared
    40
    """
    progress = progress or Silent()
    made = _features(folder, model, layer, "mean", engine, batch_size, progress)
    names = [name for name, error in zip(made.images, made.errors, strict=True) if not error]
    rows = _directions(made.features[[not error for error in made.errors]])
    scans = [scan for scan in scan_all(names) if not scan.error]
    groups = np.arange(0)
    if scans:
        digests = np.array([scan.pixels for scan in scans], np.uint64)
        groups, _ = copies(digests, np.stack([scan.thumbnail for scan in scans]))
    return NearCopies(
        by_features=_groups(names, _first_alike(rows, alike)),
        by_pixels=_groups([scan.path for scan in scans], groups),
        compared=len(names),
        layer=made.layer,
        unreadable=tuple(filter(None, made.errors)),
    )


def _model(model: str | Path | Engine | None, layer: str) -> tuple[str | Path | Engine, str]:
    chosen = first_choice() if model is None else model
    return chosen, layer or LAYERS.get(str(chosen) if isinstance(chosen, str | Path) else "", "")


def _features(
    images: Any,
    model: str | Path | Engine | None,
    layer: str,
    pool: Pool,
    engine: str,
    batch_size: int,
    progress: Progress,
) -> Embeddings:
    if isinstance(images, Embeddings):
        return images
    if isinstance(images, str | Path):
        folder = expand(images)
        if not folder.is_dir():
            return Embeddings.load(folder)
        images, _, _ = list_images(folder)
        if not images:
            raise InceptiveError(f"{printable(folder)}: holds no images")
    chosen, layer = _model(model, layer)
    return embed(
        chosen, images, layer, pool, engine=engine, batch_size=batch_size, progress=progress
    )


def _directions(features: np.ndarray) -> np.ndarray:
    """Features (N, F) as unit vectors, standardised if there are enough to speak of a mean."""
    if len(features) >= FEW:
        features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-6)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(norms, 1e-12))


def _first_alike(rows: np.ndarray, alike: float) -> np.ndarray:
    """For each unit vector (N, F), the first member of the first group whose first it is like, (N,)."""
    groups = np.full(len(rows), -1)
    for start in range(0, len(rows), ROWS):
        near = rows[start : start + ROWS] @ rows.T >= alike
        for k in range(len(near)):
            if groups[start + k] < 0:  # it begins a group, of all that are alike and in none yet
                groups[near[k] & (groups < 0)] = start + k
                groups[start + k] = start + k
    return groups


def _groups(names: Sequence[str], groups: np.ndarray) -> tuple[tuple[str, ...], ...]:
    """The names of each group of two or more, largest first."""
    found: dict[int, list[str]] = {}
    for name, group in zip(names, groups.tolist(), strict=True):
        found.setdefault(group, []).append(name)
    return tuple(
        tuple(each) for each in sorted(found.values(), key=len, reverse=True) if len(each) > 1
    )


def _shape(features: np.ndarray) -> str:
    return " x ".join(map(str, features.shape))
