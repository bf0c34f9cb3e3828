"""The one exception that callers of inceptive need to know, and escaping of external text."""

import contextlib
import os
import re
from collections.abc import Iterator

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys, and those that turn the direction of text around."""


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path, or any text, as one line: control characters and undecodable bytes escaped."""
    text = os.fsdecode(path)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def printable_lines(text: str) -> str:
    """Like `printable`, but keep the line breaks and tabs of `text`."""
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def without_controls(text: str) -> str:
    """Return `text` with its CONTROLS escaped; all spaces and joined emoji are kept."""
    return CONTROLS.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


class InceptiveError(Exception):
    """A request that cannot be met: one line that names the subject, the reason and the remedy.

    >>> try:
    ...     inceptive.Classifier.load("runs/none")
    ... except inceptive.InceptiveError as error:
    ...     print(error)
    model runs/none: does not exist; `inceptive train` writes one
    """


class InvalidArgument(InceptiveError):
    """A value that is invalid in any request: a command exits with status 2."""


def reason(error: BaseException, most: int = 200) -> str:
    """The reason in one line of at most `most` characters: the system's message if there is one."""
    words = " ".join(str(getattr(error, "strerror", None) or error).split())
    return words[:most] or type(error).__name__


@contextlib.contextmanager
def readable(path: str | os.PathLike[str], *errors: type[Exception]) -> Iterator[None]:
    """Wrap what reads the file at `path`: OSError and `errors` become InceptiveError, naming it."""
    caught: tuple[type[Exception], ...] = (OSError, *errors)
    try:
        yield
    except caught as error:
        raise InceptiveError(f"{printable(path)}: cannot be read ({reason(error)})") from None


@contextlib.contextmanager
def requires(need: str, extra: str) -> Iterator[None]:
    """Wrap the import of an optional package: if missing, raise an InceptiveError with the `need`
    ("scoring needs Ray") and how to install the `extra`."""
    try:
        yield
    except ImportError:
        raise InceptiveError(f"{need}: pip install 'inceptive[{extra}]'") from None


@contextlib.contextmanager
def valid_values(where: str) -> Iterator[None]:
    """Wrap the reading of untrusted values: if one is missing or of an unexpected type, raise an
    InceptiveError that names `where`."""
    try:
        yield
    except InceptiveError as error:
        raise InceptiveError(f"{where}: {error}") from None
    except (
        AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        raise InceptiveError(f"{where}: missing or invalid {error}") from None
