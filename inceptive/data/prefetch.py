"""Work that is done by threads before anybody asks for it."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def prefetch(make: Callable[[S], T], items: Iterable[S], workers: int) -> Generator[T, None, None]:
    """make(item) for each of `items`, in order, made by so many threads before they are asked for.

    One more than there are threads wait at most. Without threads each is made when asked for. Items are
    asked for by the caller's thread.
    """
    if not workers:
        yield from map(make, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for item in items:
                if len(waiting) <= workers:
                    waiting.append(pool.submit(make, item))
                    continue
                result = waiting.popleft().result()
                waiting.append(pool.submit(make, item))
                yield result
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
