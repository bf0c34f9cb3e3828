"""The one exception that a caller of inceptive must know, and how text from outside becomes one line."""

import contextlib
import os
import re
from collections.abc import Iterator

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys, and those that turn the direction of text around."""


def printable(path: str | os.PathLike[str]) -> str:
    """A path, or any text, as one line: control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in os.fsdecode(path))


def printable_lines(text: str) -> str:
    """As `printable`, but for the line breaks and tabs of `text`, which are its own."""
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def without_controls(text: str) -> str:
    """`text` with its CONTROLS escaped; spaces of every kind and joined emoji stay."""
    return CONTROLS.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


class InceptiveError(Exception):
    """A request that cannot be met: one line that names the thing, the reason and what to do."""


class InvalidArgument(InceptiveError):
    """A value that no request could have, whatever it is of: a command ends with status 2."""


def reason(error: BaseException, most: int = 200) -> str:
    """Why, in one line of at most `most` characters: the system's own words where it gives any."""
    words = " ".join(str(getattr(error, "strerror", None) or error).split())
    return words[:most] or type(error).__name__


@contextlib.contextmanager
def requires(need: str, extra: str) -> Iterator[None]:
    """Around the import of an optional package: a missing one is an InceptiveError that says the
    `need` ("scoring needs Ray") and how to install the `extra`."""
    try:
        yield
    except ImportError:
        raise InceptiveError(f"{need}: pip install 'inceptive[{extra}]'") from None


@contextlib.contextmanager
def valid_values(where: str) -> Iterator[None]:
    """Around the reading of values that may come from anyone: where one is missing or of another kind
    than expected there is an InceptiveError that names `where`."""
    try:
        yield
    except InceptiveError as error:
        raise InceptiveError(f"{where}: {error}") from None
    except (
        AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        raise InceptiveError(f"{where}: missing or invalid {error}") from None
