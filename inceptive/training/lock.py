"""One training at a time in a folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from inceptive.io.locks import lock

LOCK = ".lock"
BUSY = "another training is writing there now; wait for its end, or give another folder (out)"


@contextlib.contextmanager
def training_lock(folder: Path) -> Iterator[None]:
    """Lock `folder` for the training in this block; it is created, and removed if it stays empty.

    Raises InceptiveError if another training uses it, or the folder cannot be created. On a disk without
    locks, there is none.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_if_empty, folder)
        stack.enter_context(lock(folder / LOCK, wait=False, busy=BUSY))
        yield


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
