"""A picture of a few numbers as horizontal bars, for a document: an SVG file, light on any page."""

from collections.abc import Sequence
from html import escape
from math import log10
from typing import NamedTuple

WIDTH, ROW, TOP, LABEL, VALUE = 760.0, 26.0, 44.0, 320.0, 150.0
"""Pixels: of the picture, a bar with its gap, above the first, for the names, for what stands behind."""
BAR, FAINT, INK, PAPER = "#2b6cb0", "#8a94a3", "#1a1f27", "#ffffff"
"""Colours; the text has a contrast of at least 4.5 on the paper, a bar of 3."""


class Bar(NamedTuple):
    """`name` before the bar, `text` behind it; `faint` is drawn in grey."""

    name: str
    value: float
    text: str
    faint: bool = False


def bars(title: str, described: str, rows: Sequence[Bar], logarithmic: bool = False) -> str:
    """The picture as SVG; `described` is read to those who do not see it.

    Logarithmic: bars begin at a power of ten below the smallest value.
    """
    least = min(row.value for row in rows)
    low = 10.0 ** (int(log10(least)) - 1) if logarithmic else 0.0

    def length(value: float) -> float:
        return log10(value / low) if logarithmic else value

    longest = max(length(row.value) for row in rows)
    shown = f"{title} (logarithmic scale)" if logarithmic else title
    height = TOP + ROW * len(rows) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" role="img" '
        f'aria-label="{escape(described)}" font-family="system-ui, sans-serif" font-size="14">',
        f'<rect width="{WIDTH:g}" height="{height:g}" rx="6" fill="{PAPER}"/>',
        f'<text x="16" y="27" font-weight="600" fill="{INK}">{escape(shown)}</text>',
    ]
    for k, row in enumerate(rows):
        y = TOP + ROW * k
        wide = (WIDTH - LABEL - VALUE) * length(row.value) / longest
        parts += [
            f'<text x="{LABEL - 10:g}" y="{y + 14:g}" text-anchor="end" fill="{INK}">'
            f"{escape(row.name)}</text>",
            f'<rect x="{LABEL:g}" y="{y:g}" width="{wide:.1f}" height="18" '
            f'fill="{FAINT if row.faint else BAR}"/>',
            f'<text x="{LABEL + wide + 8:.1f}" y="{y + 14:g}" fill="{INK}">{escape(row.text)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])
