"""Charts as SVG for a page: lines, a reliability diagram, a risk-coverage curve.

Colours are the page's (`var(--c1)` to `var(--c4)`, `--ink`, `--muted`, `--rule`), so light and dark
follow it. Every chart has a title for screen readers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from xml.sax.saxutils import escape, quoteattr

from inceptive.metrics import Bin, RiskCoveragePoint

WIDTH, HEIGHT = 420.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 22.0, 30.0, 38.0
COLOURS = 4
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """An axis from low to high; in per cent if the values are shares."""

    label: str
    low: float
    high: float
    percent: bool = False

    def ticks(self) -> list[float]:
        """About five round numbers from low to high."""
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        rough = span / 5
        unit = 10 ** floor(log10(rough))
        step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough * 0.999)
        first = int(-(-self.low // step)) if self.low % step else round(self.low / step)
        ticks = []
        while (value := first * step) <= self.high + 1e-9 * span:
            ticks.append(value)
            first += 1
        return ticks

    def format(self, value: float) -> str:
        if self.percent:
            return f"{100 * value:.4g} %"
        return f"{value:.4g}"


def lines(title: str, x: Axis, y: Axis, series: Mapping[str, Points]) -> str:
    """Draw a line for each of at most four series, with their names above."""
    marks = []
    for k, points in enumerate(series.values()):
        path = _path([(_x(x, a), _y(y, b)) for a, b in points])
        marks.append(f'<path class="line" style="stroke:var(--c{k % COLOURS + 1})" d="{path}"/>')
        if len(points) == 1:
            (a, b), *_ = points
            marks.append(_dot(_x(x, a), _y(y, b), k))
    return _chart(title, x, y, list(series), marks)


def reliability(title: str, before: Sequence[Bin], after: Sequence[Bin]) -> str:
    """Accuracy against confidence, before and after temperature scaling; the diagonal is ideal."""
    x = Axis("how sure", 0, 1, percent=True)
    y = Axis("share right", 0, 1, percent=True)
    diagonal = _path([(_x(x, 0), _y(y, 0)), (_x(x, 1), _y(y, 1))])
    marks = [f'<path class="guide" d="{diagonal}"/>']
    largest = max([bin.count for bin in (*before, *after)], default=1)
    for k, bins in enumerate((before, after)):
        points = [(_x(x, bin.confidence), _y(y, bin.accuracy)) for bin in bins]
        marks.append(f'<path class="line" style="stroke:var(--c{k + 1})" d="{_path(points)}"/>')
        for (a, b), bin in zip(points, bins, strict=True):
            tooltip = f"{bin.count} images, {bin.confidence:.1%} sure, {bin.accuracy:.1%} right"
            marks.append(_dot(a, b, k, 2 + 4 * (bin.count / largest) ** 0.5, tooltip))
    return _chart(title, x, y, ["before", "after temperature scaling"], marks)


def risk_coverage(title: str, curve: Sequence[RiskCoveragePoint]) -> str:
    """Accuracy of the most confident answers, by the share of images answered."""
    points = [(point.coverage, point.accuracy) for point in curve]
    if len(points) > 300:  # as many as there are pixels
        points = [points[len(points) * k // 300] for k in range(300)] + [points[-1]]
    low = min((accuracy for coverage, accuracy in points if coverage > 0.02), default=0.0)
    low = max(0.0, floor(low * 10) / 10 - (0.1 if low * 10 == floor(low * 10) else 0))
    x = Axis("share of images answered, the surest first", 0, 1, percent=True)
    y = Axis("share of the answers right", low, 1, percent=True)
    return lines(title, x, y, {"accuracy": [(a, max(b, low)) for a, b in points]})


def _chart(title: str, x: Axis, y: Axis, names: Sequence[str], marks: Sequence[str]) -> str:
    parts = [
        f'<svg class="chart" role="img" aria-label={quoteattr(title)} '
        f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(title)}</title>",
    ]
    for value in y.ticks():
        high = _y(y, value)
        parts.append(f'<path class="grid" d="M{LEFT:g} {high:.1f}H{WIDTH - RIGHT:g}"/>')
        parts.append(_text(LEFT - 6, high + 4, y.format(value), "end"))
    for value in x.ticks():
        parts.append(_text(_x(x, value), HEIGHT - BOTTOM + 16, x.format(value), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x.label, "middle"))
    if len(names) > 1:
        at = LEFT
        for k, name in enumerate(names):
            parts.append(
                f'<path class="line" style="stroke:var(--c{k % COLOURS + 1})" d="M{at:.1f} 10h14"/>'
            )
            parts.append(_text(at + 18, 14, name, "start"))
            at += 32 + 6.4 * len(name)
    else:
        parts.append(_text(LEFT, 14, y.label, "start"))
    return "\n".join([*parts, *marks, "</svg>"])


def _x(axis: Axis, value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * _part(axis, value)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _part(axis, value)


def _part(axis: Axis, value: float) -> float:
    span = axis.high - axis.low
    return (value - axis.low) / span if span > 0 else 0.5


def _path(points: Points) -> str:
    return "".join(f"{'L' if k else 'M'}{a:.1f} {b:.1f}" for k, (a, b) in enumerate(points))


def _dot(x: float, y: float, colour: int, radius: float = 3.0, tooltip: str = "") -> str:
    title = f"<title>{escape(tooltip)}</title>" if tooltip else ""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" '
        f'style="fill:var(--c{colour % COLOURS + 1})">{title}</circle>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
