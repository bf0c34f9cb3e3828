"""How the book shows drawings, charts and tables: in the page itself, so that they take its colours."""

import io
import re
from collections.abc import Iterable, Sequence

from IPython.display import HTML, Markdown
from matplotlib import rcParams
from matplotlib.figure import Figure

from inceptive.arch.account import account
from inceptive.arch.draw import DARK, LIGHT, draw_net, draw_part
from inceptive.arch.spec import Net

INK = "#010203"  # stands for the colour of the page's text: `chart` puts that in its place
BLUE, GREEN, ORANGE, PURPLE = "#4c8fd6", "#35a070", "#d98a2b", "#9a75d8"  # on white and on black
rcParams.update({
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "font.size": 11,
    "svg.fonttype": "none",
    "svg.hashsalt": "inceptive",
})  # fmt: skip


def drawing(net: Net, part: str | None = None, image_size: int | None = None) -> HTML:
    """The drawing of `net`, or of one of its parts, as `inceptive draw` makes it."""
    made = account(net, image_size)
    svg = draw_net(made) if part is None else draw_part(made, part)
    themes = "".join(
        f"body[data-theme={theme}] .inceptive{{"
        + "".join(f"--{name}:{colour};" for name, colour in colours.items())
        + "}"
        for theme, colours in (("light", LIGHT), ("dark", DARK))
    )
    return HTML(f'<div class="drawing">{svg}<style>{themes}</style></div>')


def figure(width: float = 7.2, height: float = 3.6, columns: int = 1) -> Figure:
    """An empty figure in the page's colours, in inches; `chart` shows it. See its `axes`."""
    made = Figure(figsize=(width, height), layout="constrained")
    made.subplots(1, columns)
    return made


def chart(made: Figure) -> HTML:
    """A matplotlib figure in the page: its ink is the page's own, light or dark."""
    file = io.StringIO()
    made.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    return HTML(f'<div class="drawing chart">{svg}</div>')


def table(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> Markdown:
    """A table; the first `left` columns stand to the left, integers get their commas."""

    def said(cell: object) -> str:
        text = f"{cell:,}" if isinstance(cell, int) else str(cell)
        return text.replace(" × ", "\u00a0×\u00a0")  # a shape stays on one line

    aligned = [":--" if k < left else "--:" for k in range(len(header))]
    lines = [header, aligned, *([said(cell) for cell in row] for row in rows)]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))
