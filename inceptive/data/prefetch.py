"""Work done ahead of time by threads."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice, takewhile
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def prefetch(make: Callable[[S], T], items: Iterable[S], workers: int) -> Generator[T, None, None]:
    """Yield make(item) for each of `items`, in order, computed ahead by `workers` threads.

    At most one more than there are threads wait. Without threads, each is computed on demand. Items are
    drawn in the caller's thread.
    """
    if not workers:
        yield from map(make, items)
        return
    with closing(prefetch_batches(make, items, workers, 1, workers + 1)) as batches:
        for batch in batches:
            yield from batch


def prefetch_batches(
    make: Callable[[S], T],
    items: Iterable[S],
    workers: int,
    size: int,
    ahead: int,
    full: bool = True,
) -> Generator[list[T], None, None]:
    """Like `prefetch`, in batches of `size`, with at most `ahead` items waiting.

    Unless `full`, a batch is what is ready when requested, at least one item, cut to a power of two, so
    that consumers which compile per batch size see few sizes.
    """
    coming = iter(items)
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                for item in islice(coming, ahead - len(waiting)):
                    waiting.append(pool.submit(make, item))
                if not waiting:
                    return
                waiting[0].result()  # who is idle waits for one item, not for a batch of them
                count = min(size, len(waiting))
                if not full:
                    ready = sum(1 for _ in takewhile(Future.done, islice(waiting, count)))
                    count = ready if ready == size else 1 << (ready.bit_length() - 1)
                yield [waiting.popleft().result() for _ in range(count)]
        finally:
            for future in waiting:
                future.cancel()
