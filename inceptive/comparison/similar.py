"""Images that look alike to a net: the nearest to one, and groups of near-copies in a set."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.arguments import PositiveInt, checked
from inceptive.data.copies import copies
from inceptive.data.layout import list_images
from inceptive.data.scan import scan_all
from inceptive.engines.embedding import Embeddings, Pool, embed
from inceptive.engines.open import open_engine
from inceptive.engines.prediction import as_source, is_single
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
STRICTER = 5
"""How many times closer to 1 the cosine of two near-copies is at least, where there are fewer: of
different photographs it is up to 0.95 then, of mirrored and of cropped ones above 0.93."""
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
    options = {"engine": engine, "batch_size": batch_size, "progress": progress}
    name = str(image) if isinstance(image, str | Path) else "image"
    embeddings = _on_disk(images)
    embedded = () if embeddings is None else embeddings.images
    index = next((k for k, other in enumerate(embedded) if _same(image, other)), None)
    if embeddings is None:
        others = [each for each in _listed(images, progress) if not _same(image, each)]
        embeddings = _embed(model, [*others, image], layer, pool, options)
        index = len(others)
    elif index is None:
        layer, pool = layer or embeddings.layer, embeddings.pool
        if engine == "auto" and isinstance(model, str | Path) and embeddings.engine:
            # Fingerprints are of one engine. If it is not here, another gives the same features.
            with suppress(InceptiveError):
                model = open_engine(model, embeddings.engine, progress.say)
        query = _embed(model, [image], layer, pool, options)
        if embeddings.engine != query.engine:
            progress.say(
                f"note: the features are of {embeddings.engine or 'an unknown engine'}, those of "
                f"{name} of {query.engine}: whether one model made both cannot be told"
            )
        embeddings = _joined(embeddings, query, name, is_default=model is None)
        index = len(embeddings) - 1
    if embeddings.errors[index]:
        raise InceptiveError(embeddings.errors[index])
    usable = [k for k, error in enumerate(embeddings.errors) if not error and k != index]
    if not usable:
        raise InceptiveError("there is no other image to compare with")
    rows = _directions(embeddings.features[[*usable, index]])
    cosines = rows[:-1] @ rows[-1]
    best = np.argsort(-cosines, kind="stable")[:count]
    return Similar(
        image=name,
        source=as_source(image),
        matches=tuple((embeddings.images[usable[k]], float(cosines[k])) for k in best),
        compared=len(usable),
        layer=embeddings.layer,
        unreadable=tuple(filter(None, embeddings.errors)),
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
    photographs of one thing. Fewer than 20 images are not standardised, and their cosine is five times
    closer to 1. model, layer, engine: as for `similar`.

    >>> inceptive.near_copies("photos/", "runs/mine").compared
    40
    """
    progress = progress or Silent()
    options = {"engine": engine, "batch_size": batch_size, "progress": progress}
    embeddings = _on_disk(folder) or _embed(
        model, _listed(folder, progress), layer, "mean", options
    )
    readable = [k for k, error in enumerate(embeddings.errors) if not error]
    names = [embeddings.images[k] for k in readable]
    scans = scan_all(names)
    # Such as files that features were made of, elsewhere.
    unscanned = [scan.error for scan in scans if scan.error]
    scans = [scan for scan in scans if not scan.error]
    groups = np.arange(0)
    if scans:
        digests = np.array([scan.pixels for scan in scans], np.uint64)
        groups, _ = copies(digests, np.stack([scan.thumbnail for scan in scans]))
    if len(readable) < FEW:
        alike = 1 - (1 - alike) / STRICTER
    return NearCopies(
        by_features=_groups(names, _first_alike(_directions(embeddings.features[readable]), alike)),
        by_pixels=_groups([scan.path for scan in scans], groups),
        compared=len(names),
        layer=embeddings.layer,
        unreadable=(*filter(None, embeddings.errors), *unscanned),
    )


def _on_disk(images: Any) -> Embeddings | None:
    """Embeddings given as such or as a file; None for images."""
    if isinstance(images, Embeddings):
        return images
    if isinstance(images, str | Path) and not (path := expand(images)).is_dir():
        return Embeddings.load(path)
    return None


def _listed(images: Any, progress: Progress) -> list[Any]:
    """The images in a folder, or of a list; what cannot be read there is said. Raises InceptiveError if
    there are none."""
    if not isinstance(images, str | Path):
        return [images] if is_single(images) else list(images)
    paths, _, notes = list_images(expand(images))
    for note in notes:
        progress.say(f"note: {note}")
    if not paths:
        raise InceptiveError(f"{printable(images)}: holds no images")
    return list(paths)


def _same(image: Any, other: Any) -> bool:
    """Whether both are paths of one file, however they are written."""
    if not (isinstance(image, str | Path) and isinstance(other, str | Path)):
        return False
    return os.path.realpath(expand(image)) == os.path.realpath(other)


def _embed(
    model: str | Path | Engine | None,
    images: list[Any],
    layer: str,
    pool: Pool,
    options: dict[str, Any],
) -> Embeddings:
    """The features of `images` by `model`, None for published weights: see LAYERS."""
    model = first_choice() if model is None else model
    return embed(model, images, layer or LAYERS.get(str(model), ""), pool, **options)


def _joined(embeddings: Embeddings, query: Embeddings, name: str, is_default: bool) -> Embeddings:
    """Both, one after the other. Raises InceptiveError if they are of two models, or of two shapes."""
    if embeddings.layer and embeddings.layer != query.layer:
        raise InceptiveError(
            f"the features are of {embeddings.layer}, not of {query.layer}: name that layer, or embed "
            "the images again"
        )
    ours, theirs = embeddings.model, query.model
    # Each engine has fingerprints of its own; published weights have no other engine than torch.
    comparable = embeddings.engine == query.engine or is_default
    if comparable and ours and ours != theirs:
        raise InceptiveError(
            "the features were made by another model, or by this one before it changed: name theirs, or "
            "embed the images again"
        )
    shapes = [" x ".join(map(str, each.features.shape[1:])) for each in (embeddings, query)]
    if shapes[0] != shapes[1]:
        raise InceptiveError(
            f"the images have {shapes[0]} features of {embeddings.layer}, {name} has {shapes[1]}: name "
            "the model that made them"
        )
    return replace(
        embeddings,
        images=embeddings.images + query.images,
        features=np.concatenate([embeddings.features, query.features]),
        errors=embeddings.errors + query.errors,
    )


def _directions(features: np.ndarray) -> np.ndarray:
    """Features (N, ...) as unit vectors (N, F), standardised if there are enough to speak of a mean."""
    features = features.reshape(len(features), -1)
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
    members: dict[int, list[str]] = {}
    for name, group in zip(names, groups.tolist(), strict=True):
        members.setdefault(group, []).append(name)
    return tuple(
        tuple(each) for each in sorted(members.values(), key=len, reverse=True) if len(each) > 1
    )
