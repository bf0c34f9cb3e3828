"""Folders of the user who runs this, who may have neither a home nor a name."""

import functools
import logging
import os
import tempfile
from pathlib import Path

from inceptive.errors import InceptiveError


def expand(path: str | os.PathLike[str]) -> Path:
    """`path` with ~ as the home folder. Raises InceptiveError where nobody knows that folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InceptiveError(
            f"{os.fspath(path)}: the home folder of this user is not known; give the whole path, or "
            "set HOME"
        ) from None


def as_text(name: str) -> str:
    """The name of a file or folder as its UTF-8 says, which Python reads as lone surrogates in the C
    locale; as it is where it is no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode(errors="surrogateescape")
    return name


def cache_folder() -> Path:
    """Where downloads and decoded images are kept: INCEPTIVE_CACHE, else inceptive in the user's cache.

    A user without a home folder gets one in the folder for temporary files, and the log says so once.
    """
    if cache := os.environ.get("INCEPTIVE_CACHE"):
        return expand(cache)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "inceptive"
    try:
        return Path.home() / ".cache" / "inceptive"
    except RuntimeError:
        return _temporary_cache()


@functools.cache
def _temporary_cache() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else ""
    folder = Path(tempfile.gettempdir()) / f"inceptive-{user}"
    logging.getLogger("inceptive").warning(
        "note: this user has no home folder; the cache is %s (INCEPTIVE_CACHE names another)",
        folder,
    )
    return folder
