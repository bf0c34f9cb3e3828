"""Locks between processes, on every system. A lock ends with its process, however that ends."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from inceptive.errors import InceptiveError, reason

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What a disk answers that has no locks."""


class Locked(InceptiveError):
    """Another process, or another block of this one, has the lock."""


@contextlib.contextmanager
def lock(path: Path, wait: bool | float = True) -> Iterator[None]:
    """Hold the lock file `path` in this block; the file is made, and goes when the block ends.

    Where another process has it, wait, at most so many seconds, or raise Locked. Raises InceptiveError
    if the file cannot be written. A disk without locks gives none, and the block runs.
    """
    import filelock  # it takes long to import, and `--help` needs none

    file_lock = filelock.FileLock(path, timeout=-1 if wait is True else float(wait))
    for last in [False] * 99 + [True]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file_lock.acquire()
            break
        except filelock.Timeout:
            raise Locked(f"{path.parent}: another process writes there now") from None
        except OSError as error:
            if error.errno in NO_LOCKS:
                break
            if isinstance(error, FileNotFoundError | FileExistsError) and not last:
                continue  # its folder was removed just now by who had the lock
            raise InceptiveError(f"{path.parent}: cannot be written ({reason(error)})") from None
    try:
        yield
    finally:
        if file_lock.is_locked:
            if os.name != "nt":  # there filelock removes it
                with contextlib.suppress(OSError):  # who waits sees that, and makes another
                    path.unlink()
            file_lock.release()


def lock_file(file: IO[bytes], wait: bool) -> bool:
    """Lock an open file for as long as it is open; false if another has it, or the disk no locks."""
    import filelock

    try:
        return filelock.lock_descriptor(file.fileno(), blocking=wait)
    except OSError:
        return False
