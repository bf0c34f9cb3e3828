"""From images to answers, whatever runs the net: torch, or an exported file without torch.

Decoding and inference overlap: threads decode ahead while the engine works on what is there.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError
from inceptive.images import Source, printable
from inceptive.io.cores import cores


@dataclass(frozen=True)
class Prediction:
    """The answer for one image: (label, probability) pairs, best first; or why there is none."""

    image: str
    top: tuple[tuple[str, float], ...] = ()
    error: str = ""


def class_number(asked: str, labels: Sequence[str], count: int, what: str = "label") -> int:
    """The number of the class that `asked` names, by one of `labels` first, else as a number.

    count: how many classes there are, where labels may be none. Raises InceptiveError, speaking of
    `what`, if there is no such class, or several are called so.
    """
    found = [k for k, label in enumerate(labels) if label == asked]
    if len(found) > 1:
        raise InceptiveError(f"{what} {asked}: several classes are called so; by number: {found}")
    if found:
        return found[0]
    if asked.isdecimal() and len(asked) <= len(str(count)) and int(asked) < count:
        return int(asked)
    names = f", {', '.join(labels[:5])} ..." if labels else ""
    raise InceptiveError(f"{what} {asked}: is none of the classes 0 to {count - 1}{names}")


def header(top: int) -> list[str]:
    """The columns of a table of answers, the best `top` of each image: see `row`."""
    more = [name for k in range(2, top + 1) for name in (f"label_{k}", f"prob_{k}")]
    return ["image", "label", "prob", *more, "error"]


def row(one: Prediction, top: int) -> list[Any]:
    """What stands under `header` for one image; None where there is nothing."""
    answers: list[Any] = [value for answer in one.top for value in answer]
    return [one.image, *answers, *[None] * (2 * top - len(answers)), one.error or None]


Decoded = tuple[str, np.ndarray | str]
"""The name of an image, and its square (C, S, S) of uint8; or why there is none."""


def predictions(
    engine: Engine, images: Iterable[Source], top: int = 5, batch_size: int = 32
) -> Iterator[Prediction]:
    """One Prediction for each image, in order, as they are done.

    A batch is what has been decoded by the time the engine is free, at most `batch_size`; at most
    two batches wait, so any number of images takes the same memory. An image that cannot be decoded
    has `error` set and no answer.
    """

    def decoded(number: int, image: Source) -> Decoded:
        name = printable(image) if isinstance(image, str | Path) else f"image {number}"
        try:
            return name, engine.preprocessing.load(image, name)
        except InceptiveError as error:
            return name, str(error)

    numbered = (partial(decoded, number, image) for number, image in enumerate(images))
    yield from answered(engine, numbered, top, batch_size)


def answered(
    engine: Engine,
    images: Iterable[Callable[[], Decoded]],
    top: int,
    batch_size: int,
    threads: int | None = None,
    full: bool = False,
) -> Iterator[Prediction]:
    """One Prediction for each of `images`, in order; `threads` (None: one a core) call them ahead.

    With `full` every batch but the last is of `batch_size` images, whenever they were decoded: what
    is computed then depends on nothing but the images and their order.
    """
    coming = iter(images)
    waiting: deque[Future[Decoded]] = deque()
    pool = ThreadPoolExecutor(threads or cores())
    try:
        while True:
            for image in islice(coming, 2 * batch_size - len(waiting)):
                waiting.append(pool.submit(image))
            if not waiting:
                return
            waiting[0].result()  # an idle engine waits for one image, not for a batch of them
            count = min(len(waiting), batch_size) if full else _batch(waiting, batch_size)
            yield from _answers(engine, [waiting.popleft().result() for _ in range(count)], top)
    finally:
        pool.shutdown(cancel_futures=True)


def _batch(waiting: Iterable[Future[Decoded]], batch_size: int) -> int:
    """How many images to take now: those ready at the front, cut to a power of two.

    An engine prepares itself anew for each size of batch that it has not met, so there are few.
    """
    ready = 0
    for one in islice(waiting, batch_size):
        if not one.done():
            break
        ready += 1
    return ready if ready == batch_size else 1 << (ready.bit_length() - 1)


def _answers(engine: Engine, batch: list[Decoded], top: int) -> Iterator[Prediction]:
    arrays = [found for _, found in batch if not isinstance(found, str)]
    answers = iter(engine.probs(np.stack(arrays)) if arrays else ())
    for name, found in batch:
        if isinstance(found, str):
            yield Prediction(name, error=found)
            continue
        probs = next(answers)
        best = np.argsort(-probs, kind="stable")[:top]
        yield Prediction(name, tuple((engine.labels[k], float(probs[k])) for k in best))
