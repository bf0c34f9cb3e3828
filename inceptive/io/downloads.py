"""Files fetched once, checked, and kept: the cache and what fills it."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from inceptive.errors import InceptiveError
from inceptive.io.atomic import write_bytes

Received = Callable[[int, int | None], None]
"""Called with the bytes received so far, and the bytes expected where the server says."""

CHUNK = 1 << 18
ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}  # by hexadecimal digits


def cache_folder() -> Path:
    """Where downloads are kept: INCEPTIVE_CACHE, else inceptive in the user's cache."""
    if given := os.environ.get("INCEPTIVE_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inceptive"


def download(url: str, digest: str, path: Path, received: Received | None = None) -> None:
    """Fetch `url` to `path`, whole or not at all, if its `digest` (see `matches`) is as expected.

    An empty digest is not checked. Raises InceptiveError, saying what to fetch and where to put it,
    if the file cannot be had.
    """
    by_hand = f"fetch it by hand and put it at {path}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            content = _read(answer, received)
    except urllib.error.HTTPError as error:
        with error:
            raise InceptiveError(f"{url} cannot be downloaded ({error}); {by_hand}") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        raise InceptiveError(f"{url} cannot be downloaded ({reason}); {by_hand}") from None
    if not matches(content, digest):
        found = hashlib.sha256(content).hexdigest()
        raise InceptiveError(f"{url} is not the file expected (SHA-256 {found}); {by_hand}")
    write_bytes(path, content)


def matches(content: bytes, digest: str) -> bool:
    """Whether `content` has the digest: hexadecimal digits of MD5, SHA-1, SHA-256 or SHA-512, known
    apart by their number, or any other number of the first digits of SHA-256. Empty: always."""
    algorithm = ALGORITHMS.get(len(digest), "sha256")
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest().startswith(digest)


def _read(answer: http.client.HTTPResponse, received: Received | None) -> bytes:
    length = answer.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    content = bytearray()
    while chunk := answer.read(CHUNK):
        content += chunk
        if received:
            received(len(content), total)
    if total is not None and len(content) < total:
        raise http.client.IncompleteRead(bytes(content), total - len(content))
    return bytes(content)
