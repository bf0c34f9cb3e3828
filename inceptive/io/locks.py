"""Inter-process locks on every system. A lock ends with its process, however that ends."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from inceptive.errors import InceptiveError, printable, reason

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What a disk answers that has no locks."""


class Locked(InceptiveError):
    """Another process, or another block of this one, holds the lock."""


@contextlib.contextmanager
def lock(
    path: Path, wait: bool | float = True, busy: str = "another process writes there now"
) -> Iterator[None]:
    """Hold the lock file `path` in this block; the file is created, and removed when the block ends.

    If another process holds it, wait, at most that many seconds, or raise Locked, which says `busy`.
    Raises InceptiveError if the file cannot be written. On a disk without locks, it runs unlocked.
    """
    import filelock  # it takes long to import, and `--help` needs none

    file_lock = filelock.FileLock(path, timeout=-1 if wait is True else float(wait))
    for last in [False] * 99 + [True]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file_lock.acquire()
            break
        except filelock.Timeout:
            raise Locked(f"{printable(path.parent)}: {busy}") from None
        except OSError as error:
            if error.errno in NO_LOCKS:
                break
            if isinstance(error, FileNotFoundError | FileExistsError) and not last:
                continue  # its folder was removed just now by who had the lock
            raise InceptiveError(
                f"{printable(path.parent)}: cannot be written ({reason(error)})"
            ) from None
    try:
        yield
    finally:
        if file_lock.is_locked:
            if os.name != "nt":  # there filelock removes it
                with contextlib.suppress(OSError):  # who waits sees that, and makes another
                    path.unlink()
            file_lock.release()


def lock_file(file: IO[bytes], wait: bool) -> bool:
    """Lock an open file until it is closed; false if another holds it, or the disk has no locks."""
    import filelock

    try:
        return filelock.lock_descriptor(file.fileno(), blocking=wait)
    except OSError:
        return False
