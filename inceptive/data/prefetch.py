"""Work that is done by threads before anybody asks for it."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def ahead(make: Callable[[int], T], count: int, workers: int) -> Generator[T, None, None]:
    """make(0) to make(count - 1), in order, made by so many threads before they are asked for.

    One more than there are threads wait at most. Without threads each is made when asked for.
    """
    return each(make, range(count), workers)


def each(make: Callable[[S], T], things: Iterable[S], workers: int) -> Generator[T, None, None]:
    """The same with make(thing) for each of `things`, which are asked for in order, by the caller."""
    if not workers:
        yield from map(make, things)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for thing in things:
                if len(waiting) <= workers:
                    waiting.append(pool.submit(make, thing))
                    continue
                made = waiting.popleft().result()
                waiting.append(pool.submit(make, thing))
                yield made
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
