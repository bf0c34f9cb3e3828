"""Folders of the current user, who may have neither a home nor a name."""

import functools
import logging
import os
import tempfile
from pathlib import Path

from inceptive.errors import InceptiveError, printable

LONGEST = 255
"""Bytes of a name in a path, at most, on common file systems; characters on Windows."""


def expand(path: str | os.PathLike[str]) -> Path:
    """Expand ~ in `path` to the home folder.

    Raises InceptiveError if that folder is unknown, and for a name that no system takes.
    """
    text = os.fspath(path)
    measured = str if os.name == "nt" else os.fsencode
    if "\0" in text or any(len(measured(part)) > LONGEST for part in Path(text).parts):
        beginning = printable(text[:80]) + "..." * (len(text) > 80)
        raise InceptiveError(
            f"{beginning}: cannot be written or read: a name in it has over {LONGEST} bytes, or NUL"
        )
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InceptiveError(
            f"{os.fspath(path)}: the home folder of this user is not known; give the whole path, or "
            "set HOME"
        ) from None


def as_text(name: str) -> str:
    """Decode the name of a file or folder from UTF-8, which Python reads as lone surrogates in the C
    locale; unchanged if it is not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode(errors="surrogateescape")
    return name


def as_unicode(text: str) -> str:
    """`text` with bytes of a file's name that are not UTF-8 written as \\xff, for Unicode alone."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def cache_folder() -> Path:
    """The folder for downloads and decoded images: INCEPTIVE_CACHE, else inceptive in the user's cache.

    A user without a home folder gets one in the temporary folder, which is logged once.
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
