"""One training at a time in a folder."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from inceptive.errors import InceptiveError

TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep `folder` for the training in this block; it is made, and goes again if it stays empty.

    What is held is a lock on the folder itself: there is no file to be left over, and it ends with the
    process, however that ends. Raises InceptiveError if a training is in there already, or the folder
    cannot be had. A disk that knows no such locks gives none.
    """
    try:
        descriptor = _opened(folder)
        while not _locked(descriptor, folder):
            os.close(descriptor)
            descriptor = _opened(folder)
    except OSError as error:
        raise InceptiveError(f"{folder}: cannot be written ({error.strerror or error})") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()
        os.close(descriptor)


def _opened(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def _locked(descriptor: int, folder: Path) -> bool:
    """Whether the folder is ours now; false if it was removed before it was locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in TAKEN:
            return True
        os.close(descriptor)
        raise InceptiveError(
            f"{folder}: another training is writing there now; wait for its end, or give another --out"
        ) from None
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder))
    except FileNotFoundError:
        return False
