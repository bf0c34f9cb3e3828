"""How the book shows drawings, charts and tables: in the page itself, so that they take its colours."""

import io
import re
from collections.abc import Iterable, Sequence
from html import escape

from IPython.display import HTML, Markdown
from matplotlib import rcParams
from matplotlib.figure import Figure

from inceptive.arch.account import account, padding, positions
from inceptive.arch.draw import DARK, LIGHT, draw_net, draw_part
from inceptive.arch.spec import Chain, Concat, Conv, MaxPool, Net, Pad

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
    named = f"Drawing of {net.name}" + (f", {part}" if part else "")
    return HTML(
        f'<div class="drawing" tabindex="0" role="group" aria-label="{escape(named)}">'
        f"{svg}<style>{themes}</style></div>"
    )


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
    text = f'<div class="drawing chart" tabindex="0" role="img" aria-label="{escape(described(made))}">'
    return HTML(f"{text}{svg}</div>")


def described(made: Figure) -> str:
    """What a figure shows, in words: its titles, axes and what its marks stand for."""
    parts = []
    for axes in made.axes:
        names = [name for name in (axes.get_ylabel(), axes.get_xlabel()) if name]
        labels = [
            label for label in axes.get_legend_handles_labels()[1] if not label.startswith("_")
        ]
        words = [axes.get_title(), " against ".join(names), ", ".join(labels)]
        if any(words):
            parts.append(": ".join(filter(None, words)))
    return f"Chart. {'; '.join(parts)}" if parts else "Pictures, described in the text beside them"


WIDTHS = {  # of inception_3a
    "1×1": 64, "3×3 reduce": 96, "3×3": 128, "5×5 reduce": 16, "5×5": 32, "pool proj": 32,
}  # fmt: skip
SLIDE = """
<script>
(() => {
  const root = document.currentScript.previousElementSibling, C = 192, P = 28 * 28;
  const conv = (k, from, to) => [(k * k * from + 1) * to, k * k * from * to * P];
  const inputs = [...root.querySelectorAll("td.width")].map(cell => {
    const input = document.createElement("input"), shown = document.createElement("output");
    Object.assign(input, {type: "range", min: 1, max: 256, value: +cell.textContent});
    input.setAttribute("aria-label", cell.previousElementSibling.textContent);
    shown.textContent = cell.textContent;
    cell.replaceChildren(input, shown);
    input.addEventListener("input", count);
    return input;
  });
  function count() {
    const [one, reduce3, three, reduce5, five, proj] = inputs.map(input => +input.value);
    inputs.forEach(input => input.nextElementSibling.textContent = input.value);
    const layers = [conv(1, C, one), conv(1, C, reduce3), conv(3, reduce3, three), conv(1, C, reduce5),
                    conv(5, reduce5, five), conv(1, C, proj)];
    const sum = k => layers.reduce((total, layer) => total + layer[k], 0);
    const values = [one + three + five + proj, sum(0), sum(1)];
    root.querySelectorAll("td.sum").forEach((cell, k) => {
      cell.textContent = values[k].toLocaleString("en");
    });
  }
})();
</script>"""


def module_costs(
    one: int, reduce3: int, three: int, reduce5: int, five: int, proj: int
) -> dict[str, int]:
    """What an inception module of such widths costs on maps of 192 × 28 × 28."""
    module = Concat(
        b1x1=Conv(one, 1),
        b3x3=Chain(reduce=Conv(reduce3, 1), conv=Conv(three, 3)),
        b5x5=Chain(reduce=Conv(reduce5, 1), conv=Conv(five, 5)),
        pool=Chain(pool=MaxPool(3), proj=Conv(proj, 1)),
    )
    cost = account(Chain(module=module), 28, 192)
    channels = cost.body[-1].view.shape[0]
    return {"channels out": channels, "parameters": cost.params, "multiply-adds": cost.macs}


def sliders() -> HTML:
    """The widths of a module to be moved, and what it then costs on 192 × 28 × 28; without JavaScript
    the table of `inception_3a`."""
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td class="width">{width}</td></tr>'
        for name, width in WIDTHS.items()
    )
    rows += "".join(
        f'<tr><th scope="row">{name}</th><td class="sum" aria-live="polite">{value:,}</td></tr>'
        for name, value in module_costs(*WIDTHS.values()).items()
    )
    return HTML(f'<table class="sliders"><tbody>{rows}</tbody></table>{SLIDE}')


CELL = 24  # side of a drawn pixel


def window(side: int, kernel: int, stride: int, pad: Pad) -> HTML:
    """A window that moves over side × side pixels while one points at it, and the map it makes."""
    before, after = padding(side, kernel, stride, pad)
    count, whole = positions(side, kernel, stride, pad), before + side + after
    steps = [(i, j) for i in range(count) for j in range(count)]
    right, name = (whole + 2) * CELL, f"w{side}-{kernel}-{stride}-{pad}"

    def cells(high: int, left: int, inside: range) -> str:
        return "".join(
            f'<rect class="{"pixel" if i in inside and j in inside else "pad"}" '
            f'x="{left + j * CELL}" y="{i * CELL}" width="{CELL}" height="{CELL}"/>'
            for i in range(high)
            for j in range(high)
        )

    def moves(which: str, by: int) -> str:
        frames = "".join(
            f"{100 * n / len(steps):.3f}%{{transform:translate({j * by}px,{i * by}px)}}"
            for n, (i, j) in enumerate(steps)
        )
        return f"@keyframes {name}-{which}{{{frames}}}"

    def frame(which: str, wide: int, left: int) -> str:
        style = f"animation-name:{name}-{which};animation-duration:{0.6 * len(steps):.1f}s"
        return f'<rect class="moves" style="{style}" x="{left}" width="{wide}" height="{wide}"/>'

    said = (
        f"A window of {kernel} × {kernel} moves by {stride} over {side} × {side} pixels with {before} "
        f"of padding before and {after} behind: {count} × {count} positions"
    )
    return HTML(
        f'<div class="drawing window" tabindex="0" role="img" aria-label="{said}">'
        f'<svg viewBox="-2 -2 {right + count * CELL + 4} {whole * CELL + 4}" '
        f'width="{right + count * CELL + 4}" height="{whole * CELL + 4}">'
        f"<style>{moves('in', stride * CELL)}{moves('out', CELL)}</style>"
        f"{cells(whole, 0, range(before, before + side))}{cells(count, right, range(count))}"
        f"{frame('in', kernel * CELL, 0)}{frame('out', CELL, right)}</svg></div>"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> Markdown:
    """A table; the first `left` columns stand to the left, integers get their commas."""

    def said(cell: object) -> str:
        text = f"{cell:,}" if isinstance(cell, int) else str(cell)
        return text.replace(" × ", "\u00a0×\u00a0")  # a shape stays on one line

    aligned = [":--" if k < left else "--:" for k in range(len(header))]
    lines = [header, aligned, *([said(cell) for cell in row] for row in rows)]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))
