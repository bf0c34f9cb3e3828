"""Answers as text: aligned columns, CSV, Markdown, JSON."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

from inceptive.errors import InceptiveError


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows under a header, the first `left` columns to the left, numbers to the right."""
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), *(line(row) for row in rows)])


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """The same as a Markdown table."""
    rule = ["---" if k < left else "--:" for k in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The same as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def as_json(value: Any) -> str:
    """JSON, with nan (a share of nothing) as null."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def one_of(name: str, value: str, known: Sequence[str]) -> str:
    """`value`, if it is known. Raises InceptiveError, naming those that are."""
    if value not in known:
        raise InceptiveError(f"{name} {value!r}: there are {', '.join(known)}")
    return value


def answer(text: str) -> None:
    """Print `text` on standard output, whatever its characters and the terminal's encoding."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    print(text)
