"""Explanations as pictures (PNG): heatmaps over an image, sheets of maps, shares of branches."""

import io
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from PIL import Image

from inceptive.errors import requires
from inceptive.explaining.branches import Module
from inceptive.explaining.maps import Channel

COLUMNS = 8
INCH = 1.35
"""Side of one small picture."""
SMALLEST = 224
"""Pixels of the side of heat without anything beside it, at least."""


def overlay(square: np.ndarray, heat: np.ndarray, title: str, unit: str, signed: bool) -> bytes:
    """Draw the image (C, S, S) of uint8, and beside it the same under a heatmap (S, S) with its scale.

    signed: the scale is centred on zero.
    """
    figure = _figure(8.2, 4.2, title)
    plain, over = figure.subplots(1, 2, width_ratios=(1, 1.18))
    picture = _picture(square)
    most = float(np.abs(heat).max()) or 1.0
    plain.imshow(picture, **_grey(picture))
    over.imshow(_as_grey(picture), cmap="gray", vmin=0, vmax=255)
    colours = {"cmap": "RdBu_r", "vmin": -most} if signed else {"cmap": "inferno", "vmin": 0}
    coloured = over.imshow(heat, alpha=0.6, vmax=most, **colours)
    figure.colorbar(coloured, ax=over, label=unit, fraction=0.046)
    for axes in (plain, over):
        axes.set_axis_off()
    return _png(figure)


def heatmap(square: np.ndarray, heat: np.ndarray) -> bytes:
    """Draw just the image (C, S, S) of uint8 in grey under a heatmap (S, S) of 0 and more."""
    colormap = _matplotlib("matplotlib").colormaps["inferno"]
    grey = _as_grey(_picture(square))[..., None]
    colours = 255 * colormap(heat / (float(heat.max()) or 1.0))[..., :3]
    picture = (0.4 * grey + 0.6 * colours).round().astype(np.uint8)
    times = -(-SMALLEST // len(picture))
    content = io.BytesIO()
    Image.fromarray(picture.repeat(times, axis=0).repeat(times, axis=1)).save(content, "PNG")
    return content.getvalue()


def sheet(
    maps: np.ndarray, channels: Sequence[Channel], title: str, columns: int = COLUMNS
) -> bytes:
    """Draw the maps (C, H, W) of `channels`, all on one scale, with their numbers."""
    rows = -(-len(channels) // columns)
    figure = _figure(columns * INCH, rows * (INCH + 0.2) + (0.5 if title else 0), title)
    grid = figure.subplots(rows, columns, squeeze=False)
    most = max((channel.most for channel in channels), default=1.0) or 1.0
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, channel in zip(grid.flat, channels, strict=False):
        axes.imshow(maps[channel.channel], cmap="viridis", vmin=min(0.0, maps.min()), vmax=most)
        axes.set_title(f"{channel.channel}: {channel.mean:.2g}", fontsize=8, pad=2)
    return _png(figure)


def top_images(rows: Sequence[tuple[int, Sequence[tuple[np.ndarray, float]]]], title: str) -> bytes:
    """Draw a row per channel: the images (C, S, S) that activate it most, with its mean for each."""
    columns = max(len(images) for _, images in rows)
    figure = _figure(columns * INCH + 0.6, len(rows) * (INCH + 0.2) + 0.5, title)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, (channel, images) in zip(grid, rows, strict=True):
        for k, (axes, (square, value)) in enumerate(zip(line, images, strict=False)):
            picture = _picture(square)
            axes.imshow(picture, **_grey(picture))
            name = f"{channel}: {value:.2g}" if k == 0 else f"{value:.2g}"
            axes.set_title(name, fontsize=8, pad=2)
    return _png(figure)


IN_A_ROW = 6
"""Branches in a row of the legend."""


def shares(modules: Sequence[Module], title: str) -> bytes:
    """Draw a bar per module, divided by branch contribution; the share of channels beneath."""
    names = sorted({name for module in modules for name in module.share})
    rows_of_legend = -(-len(names) // IN_A_ROW)
    figure = _figure(7.5, 0.55 * len(modules) + 1.2 + 0.22 * rows_of_legend, title)
    axes, in_legend = figure.subplots(), set[str]()
    colours = _matplotlib("matplotlib").colormaps["tab10" if len(names) <= 10 else "tab20"].colors
    for row, module in enumerate(modules):
        left = below = 0.0
        total = sum(module.channels.values())
        for k, name in enumerate(names):
            if name not in module.share:
                continue
            colour = colours[k % len(colours)]
            label = "" if name in in_legend else name
            in_legend.add(name)
            axes.barh(row, module.share[name], 0.5, left, color=colour, label=label)
            axes.barh(
                row + 0.33, module.channels[name] / total, 0.12, below, color=colour, alpha=0.5
            )
            left, below = left + module.share[name], below + module.channels[name] / total
    axes.set_yticks(range(len(modules)), [module.name for module in modules])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("share of what speaks for and against; thin: share of the channels")
    axes.legend(
        ncols=min(IN_A_ROW, len(names)), loc="lower center", bbox_to_anchor=(0.5, 1.0),
        frameon=False, fontsize=8,
    )  # fmt: skip
    return _png(figure)


def _figure(wide: float, high: float, title: str) -> Any:
    figure = _matplotlib("matplotlib.figure").Figure(
        figsize=(wide, high), dpi=120, layout="constrained"
    )
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def _matplotlib(name: str) -> Any:
    with requires("pictures of explanations need matplotlib", "explain"):
        return import_module(name)


def _png(figure: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _picture(square: np.ndarray) -> np.ndarray:
    return square[0] if square.shape[0] == 1 else square.transpose(1, 2, 0)


def _as_grey(picture: np.ndarray) -> np.ndarray:
    return picture if picture.ndim == 2 else picture @ np.array([0.299, 0.587, 0.114])


def _grey(picture: np.ndarray) -> dict[str, Any]:
    return {"cmap": "gray", "vmin": 0, "vmax": 255} if picture.ndim == 2 else {}
