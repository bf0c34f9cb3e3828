"""Predictions for images with any engine: torch, or an exported file without torch.

Decoding and inference overlap: threads decode ahead while the engine works.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from io import TextIOBase, UnsupportedOperation
from typing import Any, NamedTuple, Protocol, TypeGuard, runtime_checkable

import numpy as np
from PIL import Image as PillowImage

from inceptive.arguments import PositiveInt, checked
from inceptive.data.prefetch import prefetch_batches
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError, printable, reason
from inceptive.images import NoImage, Preprocessing, Source, Stored
from inceptive.io.cores import cores
from inceptive.io.downloads import fetch, read_at_most
from inceptive.io.paths import as_text, expand


@dataclass(frozen=True)
class Prediction:
    """The answer for one image: (label, probability) pairs, best first, or the reason for none.

    novel: whether it is like none of the classes, so that `top` is no answer; None if unknown (see
    `novelty.Novelty`). notes describe oddities of an image that has an answer: see
    `images.Note`.

    >>> answer = inceptive.Classifier.load("runs/mine").predict("photo.jpg", top=3)
    >>> len(answer.top), answer.label == answer.top[0][0]
    (3, True)
    """

    image: str
    top: tuple[tuple[str, float], ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()
    novel: bool | None = None

    @property
    def label(self) -> str:
        """The most probable class. Raises InceptiveError, saying why, if there is no answer."""
        return self._best()[0]

    @property
    def probability(self) -> float:
        """The probability of `label`, 0-1. Raises InceptiveError, saying why, if there is no answer."""
        return self._best()[1]

    def _best(self) -> tuple[str, float]:
        if not self.top:
            raise InceptiveError(self.error or f"{self.image}: there is no answer")
        return self.top[0]

    def __repr__(self) -> str:
        answers = ", ".join(f"{label} {prob:.1%}" for label, prob in self.top[:3])
        note = f"; {NOVEL}" if self.novel else ""
        said = self.error.removeprefix(f"{self.image}: ") or answers
        return f"<Prediction {self.image}: {said}{note}>"


NOVEL = "like none of the classes"
"""What a person is told of an image that is novel."""


def class_number(name: str, labels: Sequence[str], count: int) -> int:
    """The index of the class that `name` names, as one of `labels` first, else as a number.

    count: number of classes, needed if there are no labels. Raises InceptiveError if there is no such
    class, or several share the name.
    """
    numbers = [k for k, label in enumerate(labels) if label == name]
    if len(numbers) > 1:
        raise InceptiveError(f"label {name}: several classes are called so; by number: {numbers}")
    if numbers:
        return numbers[0]
    if name.isdecimal() and len(name) <= len(str(count)) and int(name) < count:
        return int(name)
    names = f", {', '.join(labels[:5])} ..." if labels else ""
    raise InceptiveError(f"label {name}: is none of the classes 0 to {count - 1}{names}")


def header(top: int) -> list[str]:
    """Columns of a table of answers, the best `top` per image: see `row`."""
    more = [name for k in range(2, top + 1) for name in (f"label_{k}", f"prob_{k}")]
    return ["image", "label", "prob", *more, "novel", "error", "notes"]


def row(prediction: Prediction, top: int) -> list[Any]:
    """The values under `header` for one image; None where there is none."""
    answers: list[Any] = [value for answer in prediction.top for value in answer]
    return [
        prediction.image,
        *answers,
        *[None] * (2 * top - len(answers)),
        prediction.novel,
        prediction.error or None,
        "; ".join(prediction.notes) or None,
    ]


KIND = (
    "a path, an address on the web, bytes, an open binary file, a Pillow image, an array (H, W) or "
    "(H, W, 1, 3 or 4) or a tensor (1 or 3, H, W) of uint8, red first"
)
KINDS = f"an image is {KIND}; several are a list of these, or of (N, H, W, C) or (N, C, H, W)"


@runtime_checkable
class Readable(Protocol):
    """A file open for reading bytes."""

    def read(self) -> bytes: ...


class Decoded(NamedTuple):
    """The name of an image, and its square (C, S, S) of uint8, or the reason for none."""

    name: str
    square: np.ndarray | str
    notes: tuple[str, ...] = ()


SingleImage = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | Stored | PillowImage.Image
)
Image = SingleImage | np.ndarray
"""One image: a path, an address on the web, the bytes of a file, an open binary file, a Pillow image, or
an array."""
SINGLE = (str, os.PathLike, bytes, bytearray, memoryview, Readable, Stored, PillowImage.Image)


@checked
def predict(
    engine: Engine, images: Any, top: PositiveInt = 5, batch_size: PositiveInt = 32
) -> Prediction | list[Prediction]:
    """Return a Prediction for one image, a list of them for several. See `Classifier.predict`."""
    if is_single(images):
        [answer] = predictions(engine, [as_source(images)], top, batch_size)
        return answer
    return list(predictions(engine, images, top, batch_size))


@checked
def predictions(
    engine: Engine, images: Any, top: PositiveInt = 5, batch_size: PositiveInt = 32
) -> Iterator[Prediction]:
    """Yield one Prediction per image, in order, as they are done.

    A batch is what has been decoded when the engine becomes free, at most `batch_size`; at most
    two batches wait, so memory use does not grow with the number of images. An image that cannot be
    decoded has `error` set and no answer. Raises InceptiveError, naming it, for what is not an image.
    """
    if is_single(images):
        raise InceptiveError(
            "predictions takes several images; predict takes one, or a list of one"
        )

    return answered(engine, loads(engine.preprocessing, images), top, batch_size)


def loads(preprocessing: Preprocessing, images: Iterable[Any]) -> Iterator[Callable[[], Decoded]]:
    """Yield a call for each of `images` that decodes it, named by its path or number.

    The call raises InceptiveError for what is not an image.
    """

    def decoded(number: int, image: Any) -> Decoded:
        path = isinstance(image, str | os.PathLike)
        name = as_text(os.fspath(image)) if path else f"image {number}"
        try:
            return load(preprocessing, image, name)
        except NoImage as error:
            raise InceptiveError(f"{name}: {error}") from None

    return (partial(decoded, number, image) for number, image in enumerate(images))


def load(preprocessing: Preprocessing, image: Any, name: str) -> Decoded:
    """Decode an image called `name` as the net sees it, or say why it cannot be read.

    Raises NoImage for what is not an image.
    """
    notes: list[str] = []
    try:
        return Decoded(
            name, preprocessing.load(as_source(image), printable(name), notes.append), tuple(notes)
        )
    except NoImage:
        raise
    except InceptiveError as error:
        return Decoded(name, str(error))


def is_single(images: Any) -> bool:
    """Whether `images` is one image rather than several. Raises InceptiveError if it is neither."""
    if is_array(images):
        return _is_single_array(images)
    if isinstance(images, SINGLE):
        return True
    if isinstance(images, Iterable) and not isinstance(images, Mapping):
        return False
    raise InceptiveError(f"{type(images).__name__} is no image and no list of images; {KINDS}")


def is_array(image: Any) -> bool:
    return isinstance(image, np.ndarray) or _is_tensor(image)


def _is_tensor(image: Any) -> bool:
    torch = sys.modules.get("torch")  # who has a tensor has imported it
    return torch is not None and isinstance(image, torch.Tensor)


def _is_single_array(array: Any) -> bool:
    shape = tuple(array.shape)
    if not _is_tensor(array) and array.dtype.kind in "OUS" and array.ndim == 1:
        return False  # names, say
    channels = (1, 3) if _is_tensor(array) else (1, 3, 4)
    at = -3 if _is_tensor(array) else -1
    if len(shape) == 2 or (len(shape) == 3 and shape[at] in channels):
        return True
    if len(shape) == 4 and shape[at] in channels:
        return False
    raise NoImage(f"{_shape(array)} is not clear; {KINDS}")


def as_source(image: Any) -> Source:
    """Convert one image to an input of `decode`. Raises InceptiveError if it is not an image."""
    if is_array(image):
        if not _is_single_array(image):
            raise NoImage(f"{_shape(image)} holds more than one image")
        array = _to_array(image) if _is_tensor(image) else np.asarray(image)
        if _is_tensor(image) and array.ndim == 3:
            array = array.transpose(1, 2, 0)
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[:, :, 0]
        if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 4:
            return PillowImage.fromarray(np.ascontiguousarray(array))  # RGBA
        return array
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if is_url(image):
        return WebImage(image)
    if isinstance(image, str | os.PathLike):
        return expand(image)
    if isinstance(image, bytes | Stored | PillowImage.Image):
        return image
    if isinstance(image, Readable):
        return _content(image)
    raise NoImage(f"{type(image).__name__} is no image; {KINDS}")


def _to_array(tensor: Any) -> np.ndarray:
    """A tensor as an array; NumPy has neither bfloat16 nor float8."""
    try:
        array: np.ndarray = (
            (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu().numpy()
        )
    except (TypeError, RuntimeError) as error:
        raise NoImage(
            f"a tensor of {tensor.dtype} is no image ({reason(error)}); {KINDS}"
        ) from None
    return array


def is_url(image: Any) -> TypeGuard[str]:
    """Whether it is the URL of an image."""
    return isinstance(image, str) and image.lower().startswith(("http://", "https://"))


@dataclass(frozen=True)
class WebImage(Stored):
    """An image at a URL, fetched each time it is read."""

    url: str

    @property
    def name(self) -> str:
        return self.url

    def read(self) -> bytes:
        """Fetch at most WEB_BYTES. Raises InceptiveError if that fails."""
        return fetch(self.url, "save the image to a file", partial(read_at_most, most=WEB_BYTES))


WEB_BYTES = 100_000_000
"""Of an image that is fetched: more than any camera writes."""


def _content(file: Readable) -> bytes:
    """All that an open file holds; of a stream, which cannot go back, what still comes."""
    if iscoroutinefunction(file.read):  # FastAPI's upload, say, which has an ordinary file inside
        inner = getattr(file, "file", None)
        if not isinstance(inner, Readable) or iscoroutinefunction(inner.read):
            raise NoImage(f"{type(file).__name__} is read with await: give `await file.read()`")
        file = inner
    if isinstance(file, TextIOBase):
        raise NoImage(NO_BYTES)
    try:
        with suppress(AttributeError, UnsupportedOperation):
            file.seek(0)  # type: ignore[attr-defined]
        content: Any = file.read()
    except Exception as error:  # gzip, zipfile and sockets each raise what they like
        raise InceptiveError(f"the open file cannot be read ({printable(reason(error))})") from None
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    if content is None:
        raise InceptiveError("the open file cannot be read (it does not wait for what is to come)")
    raise NoImage(NO_BYTES)


NO_BYTES = 'the open file gives text, not bytes; open it with mode "rb"'


def _shape(array: Any) -> str:
    kind = "a tensor" if _is_tensor(array) else "an array"
    return f"{kind} of shape {tuple(array.shape)}"


def answered(
    engine: Engine,
    images: Iterable[Callable[[], Decoded]],
    top: int,
    batch_size: int,
    threads: int | None = None,
    full: bool = False,
) -> Iterator[Prediction]:
    """Yield one Prediction for each of `images`, in order; see `computed`."""
    for image, answer in computed(engine.answers, images, batch_size, threads, full):
        if isinstance(image.square, str):
            yield Prediction(image.name, error=image.square)
            continue
        probs, novel = answer
        best = np.argsort(-probs, kind="stable")[:top]
        answers = tuple((engine.labels[k], float(probs[k])) for k in best)
        yield Prediction(image.name, answers, notes=image.notes, novel=novel)


def computed(
    compute: Callable[[np.ndarray], Iterable[Any]],
    images: Iterable[Callable[[], Decoded]],
    batch_size: int,
    threads: int | None = None,
    full: bool = False,
) -> Iterator[tuple[Decoded, Any]]:
    """Yield each of `images`, in order, with what `compute` gives for it, None if it is not decoded.

    compute maps squares (n, C, S, S) of uint8 to n answers; `threads` (None: one per core) decode ahead.
    With `full`, every batch but the last has `batch_size` images, whenever they were decoded: the
    results then depend only on the images and their order.
    """
    batches = prefetch_batches(
        lambda decode: decode(), images, threads or cores(), batch_size, 2 * batch_size, full
    )
    with closing(batches):
        for batch in batches:
            squares = [image.square for image in batch if not isinstance(image.square, str)]
            answers = iter(compute(np.stack(squares)) if squares else ())
            for image in batch:
                yield image, None if isinstance(image.square, str) else next(answers)
