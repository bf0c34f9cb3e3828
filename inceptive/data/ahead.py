"""Work that is done by threads before anybody asks for it."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(make: Callable[[int], T], count: int, workers: int) -> Iterator[T]:
    """make(0) to make(count - 1), in order, made by so many threads before they are asked for.

    One more than there are threads wait at most. Without threads each is made when asked for.
    """
    if not workers:
        yield from map(make, range(count))
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque(pool.submit(make, k) for k in range(min(count, workers + 1)))
        try:
            for k in range(workers + 1, count + workers + 1):
                made = waiting.popleft().result()
                if k < count:
                    waiting.append(pool.submit(make, k))
                yield made
        finally:
            for future in waiting:
                future.cancel()
