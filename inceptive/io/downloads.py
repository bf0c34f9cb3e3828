"""Files downloaded once, verified, and cached."""

import hashlib
import http.client
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path

from inceptive.errors import InceptiveError, reason
from inceptive.io.atomic import write_bytes
from inceptive.io.progress import ON_STANDARD_ERROR, Advance, Progress

CHUNK = 1 << 18
ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}  # by hexadecimal digits

OFFLINE = ("INCEPTIVE_OFFLINE", "HF_HUB_OFFLINE")
"""Variables of the environment that forbid it to ask a network for files."""


def offline() -> str:
    """The first of OFFLINE set to 1, on, yes or true, as huggingface_hub reads its own; else ""."""
    values = {name: os.environ.get(name, "").lower() for name in OFFLINE}
    return next((name for name in OFFLINE if values[name] in ("1", "on", "yes", "true")), "")


def network_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Exceptions raised by the network and by networking libraries, and `more`.

    Those of aiohttp and httpx have their own base classes, as for a proxy that requires a password.
    """
    classes = [("aiohttp", "ClientError"), ("httpx", "HTTPError"), ("httpx2", "HTTPError")]
    loaded = [(sys.modules[name], error) for name, error in classes if sys.modules.get(name)]
    others = [getattr(module, error) for module, error in loaded]
    return (OSError, http.client.HTTPException, *others, *more)


def download(
    url: str,
    digest: str,
    path: Path,
    progress: Progress | None = ON_STANDARD_ERROR,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Download `url` to `path`, whole or not at all, if its `digest` (see `matches`) is as expected.

    Where no digest is published, `check` is called with a file of the same name and content: a file
    that it raises InceptiveError for is not kept, nor is text, such as a login page of the network.
    Raises InceptiveError, saying what to download and where to put it, if the download fails.
    """
    by_hand = f"fetch it by hand and put it at {path}"
    advance = partial(progress.advance, f"downloading {path.name}, kB") if progress else None
    content = fetch(url, by_hand, partial(read_at_most, most=inf, advance=advance))
    if not (digest and matches(content, digest)):
        if is_text(content):
            raise InceptiveError(
                f"{url} answers with {'a page of text' if content else 'nothing'} in place of the file, "
                f"as a network or proxy does that wants you to sign in; do so, or {by_hand}"
            )
        if digest:
            digest = hashlib.sha256(content).hexdigest()
            raise InceptiveError(f"{url} is not the file expected (SHA-256 {digest}); {by_hand}")
        if check:
            _try(check, content, path.name, url, by_hand)
    write_bytes(path, content)


def fetch(url: str, otherwise: str, read: Callable[[http.client.HTTPResponse], bytes]) -> bytes:
    """Return the result of `read` for the response of `url`.

    Raises InceptiveError, in one line that ends in what to do `otherwise`, if there is no response, or
    if the environment forbids network access.
    """
    if variable := offline():
        raise InceptiveError(f"{url} is not downloaded, because {variable} is set; {otherwise}")
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return read(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise InceptiveError(
                f"{url} cannot be downloaded ({reason(error)}); {otherwise}"
            ) from None
    except network_errors(ValueError) as error:  # ValueError: it is no address
        why = getattr(error, "reason", error)
        why = reason(why) if isinstance(why, BaseException) else why
        raise InceptiveError(f"{url} cannot be downloaded ({why}); {otherwise}") from None


def read_at_most(
    answer: http.client.HTTPResponse, most: float, advance: Advance | None = None
) -> bytes:
    """Read the whole response. Raises InceptiveError if it has more than `most` bytes."""
    length = answer.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    content = bytearray()
    while chunk := answer.read(CHUNK):
        content += chunk
        if len(content) > most:
            raise InceptiveError(f"{answer.url} is of more than {most / 1e6:.0f} MB")
        if advance and total:
            advance(len(content) // 1000, total // 1000)
    if total is not None and len(content) < total:
        raise http.client.IncompleteRead(bytes(content), total - len(content))
    return bytes(content)


def is_text(content: bytes) -> bool:
    """Whether a file begins like text, or is empty: a web page, an error message, JSON.

    Every format of weights and archives has among its first bytes one that no text contains.
    """
    return not any(byte < ord("\t") for byte in content[:1024])


def _try(
    check: Callable[[Path], object], content: bytes, name: str, url: str, by_hand: str
) -> None:
    """Raises InceptiveError if `check` refuses a file of this `name` and `content`."""
    with tempfile.TemporaryDirectory(prefix="inceptive-") as folder:
        path = Path(folder) / name
        write_bytes(path, content)
        try:
            check(path)
        except InceptiveError as error:
            why = str(error).removeprefix(f"{path}: ")
            raise InceptiveError(f"{url} is not the file expected (it {why}); {by_hand}") from None


def matches(content: bytes, digest: str) -> bool:
    """Whether `content` has the digest: hexadecimal digits of MD5, SHA-1, SHA-256 or SHA-512, told
    apart by length, or any other number of leading digits of SHA-256. Empty: always."""
    algorithm = ALGORITHMS.get(len(digest), "sha256")
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest().startswith(digest)
