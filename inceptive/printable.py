"""Text from outside as one line that a terminal shows and never obeys."""

import os


def printable(path: str | os.PathLike[str]) -> str:
    """A path, or any text, as one line: control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in os.fsdecode(path))


def printable_lines(text: str) -> str:
    """As `printable`, but for the line breaks and tabs of `text`, which are its own."""
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
