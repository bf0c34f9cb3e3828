"""Answers as text: aligned columns, CSV, Markdown, JSON."""

import codecs
import io
import shlex
import sys
from collections.abc import Sequence

from rich.cells import cell_len

from inceptive.errors import InceptiveError, InvalidArgument, printable, printable_lines
from inceptive.io.atomic import as_csv as as_csv
from inceptive.io.atomic import as_json as as_json


def one_format(format: str, json: bool, default: str) -> str:
    """The output format. Raises InvalidArgument if --json and --format name two."""
    if json and format not in (default, "json"):
        raise InvalidArgument(
            f"--json and --format {format} contradict each other: give one of them"
        )
    return "json" if json else format


def columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, last: bool = False
) -> str:
    """Format rows under a header, the first `left` columns left-aligned, the others right-aligned.

    last: the last column is left-aligned, too. Unprintable characters in a cell are escaped.
    """
    header, *rows = ([printable(cell) for cell in row] for row in [header, *rows])
    widths = [max(cell_len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    lefts = [k < left or (last and k == len(header) - 1) for k in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = []
        for cell, width, to_left in zip(row, widths, lefts, strict=True):
            blank = " " * (width - cell_len(cell))
            cells.append(cell + blank if to_left else blank + cell)
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), *(line(row) for row in rows)])


def markdown(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, last: bool = False
) -> str:
    """Format the same as a Markdown table."""
    rule = ["---" if k < left else "--:" for k in range(len(header))]
    rule[-1] = "---" if last else rule[-1]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [header, rule, *rows]]
    return "\n".join("| " + " | ".join(row) + " |" for row in escaped)


def answer(text: str) -> None:
    """Print `text` on standard output, whatever its characters and the terminal's encoding.

    A terminal acts on control characters, so there they are escaped; a file or a pipe gets them as is.
    """
    if sys.stdout is None:
        raise InceptiveError("standard output is closed, so there is nowhere to print the answer")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # In the C locale, where UTF-8 is usual, Python may think of ASCII.
        is_ascii = codecs.lookup(sys.stdout.encoding).name == "ascii"
        encoding = "utf-8" if is_ascii else sys.stdout.encoding
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
    else:  # a notebook's, say
        text = text.encode(errors="backslashreplace").decode()
    print(printable_lines(text) if sys.stdout.isatty() else text)


def command_line() -> str:
    """The command line as typed, quoted for a shell."""
    return shlex.join(["inceptive", *sys.argv[1:]])
