"""Features of images: the output of any part of a net, with any engine of ours."""

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from inceptive.arch.account import shapes
from inceptive.arch.spec import Dropout, Net
from inceptive.arguments import PositiveInt, checked
from inceptive.engines.open import open_engine
from inceptive.engines.prediction import Decoded, as_source, computed, is_single, loads
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError, InvalidArgument
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Advance, Progress, Silent

Pool = Literal["mean", "max", "none"]
MOST = 2 << 30
"""Bytes of the features that are held in memory at most."""


class Embedding(NamedTuple):
    """The features of one image, in the shape of its `Embedder`, or the reason for none."""

    image: str
    features: np.ndarray | None
    error: str = ""


@dataclass(frozen=True, repr=False)
class Embeddings:
    """The features of N images, in their order.

    features: float32 (N, F), or maps (N, C, H, W) with pool "none"; NaN for an image that cannot be
    decoded, whose reason is in `errors` ("" for the others). layer and pool say what they are, engine
    what computed them, and model the weights, by their fingerprint ("" in files of earlier versions).

    >>> found = inceptive.Classifier.load("runs/mine").embed(["photo.jpg"], layer="inception_4e")
    >>> found.features.shape, found.layer
    ((1, 832), 'inception_4e')
    """

    images: tuple[str, ...]
    features: np.ndarray = field(compare=False)
    errors: tuple[str, ...]
    layer: str
    pool: Pool
    engine: str
    model: str = ""

    def __len__(self) -> int:
        return len(self.images)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.features, dtype=dtype, copy=copy)

    @checked
    def save(self, path: str | Path) -> None:
        """Write a .parquet, .npy or .safetensors file, whole or not at all.

        Parquet has the columns image, features and error. .npy is a structured array of the same fields,
        which NumPy reads without pickle. .safetensors has the tensor `features`, and the names in its
        metadata. The metadata, in .npy the title of the field `features`, name layer, pool, shape, float
        type, engine and model.
        Raises InceptiveError if it cannot be written, or ends in something else.

        >>> inceptive.embed("runs/mine", ["photo.jpg"]).save("features.npy")
        >>> np.load("features.npy")["features"].shape
        (1, 1024)
        """
        from inceptive.engines.features import save

        save(self, expand(path))

    @classmethod
    @checked
    def load(cls, path: str | Path) -> "Embeddings":
        """Read a file that `save` wrote, or the folder of Parquet files of `inceptive embed`.

        Raises InceptiveError, naming it, for any other, and for one that is damaged.
        """
        from inceptive.engines.features import load

        return load(expand(path))

    def __repr__(self) -> str:
        bad = sum(map(bool, self.errors))
        unread = f", {bad} of them not decoded" if bad else ""
        size = " x ".join(map(str, self.features.shape[1:]))
        return f"<Embeddings of {len(self)} images{unread}: {size} features of {self.layer}>"


class Embedder:
    """What maps squares (N, C, S, S) of uint8 to the features of `layer`: float32 (N, *shape).

    layer: any part, group or layer of the net; "" the input of its last layer. pool: the mean or
    maximum of each map, or "none" for the maps themselves. Raises InceptiveError for a layer that
    the net lacks or this engine does not give.
    """

    def __init__(self, engine: Engine, layer: str = "", pool: Pool = "mean"):
        net = engine.net
        if net is None:
            raise InceptiveError(f"{engine.name}: features are taken from inceptive's own nets")
        self.engine, self.pool = engine, pool
        try:
            self.layer = net.layer(layer) if layer else last_features(net)
        except InceptiveError as error:
            raise InvalidArgument(f"layer {layer!r}: {error}") from None
        self._compute = engine.computing(self.layer)
        maps = shapes(net, engine.preprocessing.size)[self.layer]
        self.shape = maps if pool == "none" and maps[1:] != (1, 1) else maps[:1]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        maps = self._compute(images)
        if maps.ndim == 4 and self.pool != "none":
            maps = maps.mean(axis=(2, 3)) if self.pool == "mean" else maps.max(axis=(2, 3))
        return np.ascontiguousarray(maps.reshape(len(images), *self.shape), dtype=np.float32)

    def each(
        self,
        images: Iterable[Callable[[], Decoded]],
        batch_size: int,
        threads: int | None = None,
        full: bool = False,
    ) -> Iterator[Embedding]:
        """Yield the features of each of `images`, in order: see `prediction.computed`."""
        for image, features in computed(self, images, batch_size, threads, full):
            error = image.square if isinstance(image.square, str) else ""
            yield Embedding(image.name, features, error)


def last_features(net: Net) -> str:
    """The part whose output the last layer reads. Raises InceptiveError if there is none."""
    before = [name for name, part in list(net.body)[:-1] if not isinstance(part, Dropout)]
    if not before:
        raise InceptiveError(f"{net.name}: has no part before its last layer; name a layer in it")
    return before[-1]


@checked
def embed(
    model: str | Path | Engine,
    images: Any,
    layer: str = "",
    pool: Pool = "mean",
    *,
    engine: str = "auto",
    batch_size: PositiveInt = 32,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Embeddings:
    """Return the features of `layer` for one image or several, as `Classifier.predict` takes them.

    model and engine: as for `open_engine`. layer: any part, group or layer of the net ("mixed_6e",
    "inception_3a.b5x5"), by default what the last layer reads. pool: the mean or maximum of each map
    (N, C), or "none" for the maps (N, C, H, W). Raises InceptiveError for an unknown layer, for what is
    no image, and for more features than memory should hold; `score` writes any number.

    >>> inceptive.embed("runs/mine", ["photo.jpg", "photo.jpg"]).features.shape
    (2, 1024)
    """
    progress = progress or Silent()
    embedder = Embedder(open_engine(model, engine, progress.say), layer, pool)
    sources = [as_source(images)] if is_single(images) else images
    rows = embedder.each(loads(embedder.engine.preprocessing, sources), batch_size)
    total = len(sources) if isinstance(sources, Sized) else 0
    return gathered(embedder, rows, total, partial(progress.advance, "images"))


def most_images(embedder: Embedder) -> int:
    """How many images' features are held in memory at most: MOST bytes."""
    return max(1, MOST // (4 * prod(embedder.shape)))


def gathered(
    embedder: Embedder, rows: Iterable[Embedding], total: int = 0, advance: Advance | None = None
) -> Embeddings:
    """Hold the features of all images, `total` if known, and count them by `advance`.

    Raises InceptiveError if they take more than MOST bytes.
    """
    most = most_images(embedder)
    gathered_rows: list[Embedding] = []
    for row in rows:
        if len(gathered_rows) >= most:
            raise InceptiveError(
                f"the features of {most} images take {MOST / 2**30:.0f} GiB, and there are more images: "
                "pool them, write them to a folder (inceptive embed --out FOLDER), or cut a tar smaller"
            )
        gathered_rows.append(row)
        if advance and total:
            advance(len(gathered_rows), total)
    blank = np.full(embedder.shape, np.nan, dtype=np.float32)
    arrays = [blank if row.features is None else row.features for row in gathered_rows]
    return Embeddings(
        images=tuple(row.image for row in gathered_rows),
        features=np.stack(arrays) if arrays else np.empty((0, *embedder.shape), np.float32),
        errors=tuple(row.error for row in gathered_rows),
        layer=embedder.layer,
        pool=embedder.pool,
        engine=embedder.engine.name,
        model=embedder.engine.fingerprint,
    )
