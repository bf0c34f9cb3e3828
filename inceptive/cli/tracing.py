"""What `inceptive trace` does once NumPy and torch are loaded."""

from dataclasses import dataclass
from math import floor, log10
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
import torch

from inceptive.arch import nets
from inceptive.arch.account import account
from inceptive.arch.spec import Net
from inceptive.cli import tables as output
from inceptive.cli.progress import say
from inceptive.engines.classifier import Classifier
from inceptive.engines.prediction import class_number
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing, printable
from inceptive.io.paths import expand
from inceptive.nn import build
from inceptive.reference.layers import Array
from inceptive.reference.trace import Entries, Stage, Step, Trace, find, trace
from inceptive.weights.catalogue import catalogue

WIDTH = 80  # characters of a terminal's line
WIDEST = 11  # entries side by side that fit in it


@dataclass(frozen=True)
class Request:
    net: str
    image: Path
    layer: str
    channel: int | None
    at: tuple[int, int] | None
    label: str | None
    format: str
    size: int | None
    seed: int | None
    classes: int | None
    published: bool


@dataclass(frozen=True)
class Subject:
    """What is traced. labels is empty where classes have numbers only."""

    net: Net
    weights: dict[str, Array]
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    whence: str

    def named(self, label: int) -> str:
        return f"{label}, {self.labels[label]}" if self.labels else str(label)


def answer(request: Request) -> None:
    """Trace and print, as asked."""
    subject = _subject(request)
    name, _, _ = find(subject.net, request.layer)
    label = None
    if request.label is not None:
        count = subject.net.num_classes
        label = class_number(request.label, subject.labels, count, "--label")
    pixels = subject.preprocessing.load(request.image)
    scale, shift = subject.preprocessing.scale_and_shift()
    image = pixels.astype(np.float32) * scale + shift  # as `Classifier.normalise`
    size = f"{pixels.shape[1]} x {pixels.shape[2]}"
    say(f"{subject.net.name} forward to the loss and back to {name}, in NumPy, at {size}")
    traced = trace(
        subject.net, subject.weights, image.astype(float), request.layer, request.channel,
        request.at, label,
    )  # fmt: skip
    show = _json if request.format == "json" else _text
    output.answer(show(traced, subject, printable(request.image)))


def _subject(request: Request) -> Subject:
    """The net, its weights in float64, and how it sees an image."""
    here = expand(request.net).is_dir()
    fresh = {"--size": request.size, "--seed": request.seed, "--classes": request.classes}
    if request.net in nets.NETS and not (here or request.published):
        net = nets.find(request.net)(1000 if request.classes is None else request.classes)
        size = account(net, request.size).image_size  # too small an image is refused here
        seed = request.seed or 0
        torch.manual_seed(seed)
        return Subject(net, _arrays(build(net)), Preprocessing(size), (), f"fresh, seed {seed}")
    if given := [option for option, value in fresh.items() if value is not None]:
        raise InceptiveError(f"{request.net} has its own weights and size: leave out {given[0]}")
    if request.published and request.net not in catalogue():
        raise InceptiveError(f"no published weights are called {request.net}; see `inceptive nets`")
    if not (here or expand(request.net).exists() or _known(request.net)):
        raise InceptiveError(
            f"{request.net}: is no net, no published name and no model folder; see `inceptive nets`"
        )
    classifier = Classifier.load(request.net)
    model = classifier.model
    return Subject(
        model.net, _arrays(model), classifier.preprocessing, classifier.labels, request.net
    )


def _known(name: str) -> bool:
    return name.startswith("hf:") or any(
        name in (one.name, one.hub) for one in catalogue().values()
    )


def _arrays(model: torch.nn.Module) -> dict[str, Array]:
    return {key: value.double().numpy() for key, value in model.state_dict().items()}


# As text


def _text(traced: Trace, subject: Subject, image: str) -> str:
    side = subject.preprocessing.size
    whose = "the net's own answer" if traced.answered else "as asked"
    into, out = (" x ".join(map(str, shape)) for shape in (traced.input_shape, traced.shape))
    asked = f" ({traced.asked} ends in it)" if traced.asked else ""
    lines = [
        f"{subject.net.name} ({subject.whence}) on {image}, {side} x {side} pixels",
        f"{traced.layer}{asked}: {into} of {traced.reads} -> {out}",
        f"L = {_g(traced.loss)}, cross-entropy of class {subject.named(traced.label)} ({whose}), "
        f"which {traced.logits_of} gives {traced.prob:.2%}",
    ]
    for number, stage in enumerate(traced.stages):
        last = number == len(traced.stages) - 1
        lines += ["", *_stage(stage, traced.layer if last else stage.name)]
    return "\n".join(lines)


def _stage(stage: Stage, name: str) -> list[str]:
    where = "" if stage.at is None else f", row {stage.at[0]}, column {stage.at[1]}"
    lines = [f"y = {name}, channel {stage.channel}{where} = {_g(stage.value)}",
             f"dL/dy = {_g(stage.gradient)}", ""]  # fmt: skip
    if all(one.x.size == 1 for one in stage.entries):
        lines += _numbers(stage)
    else:
        for one in stage.entries:
            lines += _windows(one)
        if stage.others:
            lines.append(f"the other {stage.others} channels give {_g(stage.others_give)}")
    if any("products" in one.operands for one in stage.steps):
        terms = [one.gives for one in stage.entries] + [stage.others_give] * bool(stage.others)
        added = " + ".join(map(_operand, terms))
        lines += ["", *wrap(f"products = {added}", WIDTH, subsequent_indent="    ")]
    else:
        lines.append("")
    for step in stage.steps:
        words = step.formula.replace("{", "").replace("}", "")
        lines.append(f"{step.name} = {words}")
        if words not in step.operands:  # else it would say the value twice
            lines.append(f"    = {_with_numbers(step)}")
        lines.append(f"    = {_g(step.value)}     dL/d{step.name} = {_g(step.gradient)}")
    if stage.weights:
        lines.append("")
        rows = [
            (one.key, str(one.index), _g(one.value), _g(one.gradient), _g(one.gradient_all))
            for one in stage.weights
        ]
        header = ("weight w", "channel", "w", "dL/dw from y", "dL/dw in all")
        lines += output.columns(header, rows).split("\n")
    return lines


def _numbers(stage: Stage) -> list[str]:
    """Entries of one number each, one a line: what they give, then their gradients."""
    entries = stage.entries
    weighted = any(one.weight is not None for one in entries)
    learned = any(one.dw is not None for one in entries)
    places = {(one.of, one.row, one.column) for one in entries}
    where, lines = ["x of", "channel", "row", "column"], []
    place = [[one.of, str(one.channel), str(one.row), str(one.column)] for one in entries]
    if len(places) == 1:  # said once, before the table
        [(of, row, column)] = places
        lines.append(f"x = {of}, row {row}, column {column}" if stage.at else f"x = {of}")
        where, place = where[1:2], [one[1:2] for one in place]
    elif len({one.of for one in entries}) == 1:
        lines.append(f"x = {entries[0].of}")
        where, place = where[1:], [one[1:] for one in place]
    header = [*where, "x", *["w", "w · x"] * weighted]
    numbers = [[one.x, *([one.weight, np.array(one.gives)] if weighted else [])] for one in entries]
    rows = [[*at, *map(_cell, these)] for at, these in zip(place, numbers, strict=True)]
    if stage.others:
        blank = [""] * (len(header) - 2)
        rows.append([f"{stage.others} others", *blank, _g(stage.others_give)])
    lines += output.columns(header, rows).split("\n")
    header = [*where, "dL/dx from y", "dL/dx in all"]
    header += ["dL/dw from y", "dL/dw in all"] * learned
    back = [[one.dx, one.dx_all, *([one.dw, one.dw_all] if learned else [])] for one in entries]
    rows = [[*at, *map(_cell, these)] for at, these in zip(place, back, strict=True)]
    return [*lines, "", *output.columns(header, rows).split("\n")]


def _cell(number: Array | None) -> str:
    return "" if number is None else _g(float(number.reshape(-1)[0]))


def _windows(one: Entries) -> list[str]:
    """A window's entries and weights side by side, and their gradients."""
    high, wide = one.x.shape
    rows = f"rows {one.row} to {one.row + high - 1}"
    columns = f"columns {one.column} to {one.column + wide - 1}"
    lines = [f"x = {one.of}, channel {one.channel}, {rows}, {columns}"]
    if one.chosen:
        place = f"row {one.chosen[0]}, column {one.chosen[1]}"
        lines.append(f"  the greatest is {_g(one.gives)} in {place}")
    else:
        lines.append(f"  gives {_g(one.gives)}")
    if wide > WIDEST:
        return [*lines, f"  {high} x {wide} entries: --format json prints them"]
    parts = {"x": one.x, "w": one.weight, "dL/dx from y": one.dx, "dL/dx in all": one.dx_all,
             "dL/dw from y": one.dw, "dL/dw in all": one.dw_all}  # fmt: skip
    blocks = [_block(title, part, one.inside, title in ("w", "dL/dw from y", "dL/dw in all"))
              for title, part in parts.items() if part is not None]  # fmt: skip
    across: list[list[str]] = []
    for block in blocks:
        joined = [f"{a}   {b}" for a, b in zip(across[-1], block, strict=True)] if across else []
        if joined and len(joined[0]) <= WIDTH:
            across[-1] = joined
        else:
            across.append([f"  {line}" for line in block])
    return lines + [line.rstrip() for block in across for line in block]


def _block(title: str, part: Array, inside: Array, whole: bool) -> list[str]:
    """A matrix under its title, with one power of ten for all; "pad" where there is no entry."""
    known = part[inside & np.isfinite(part)] if not whole else part.reshape(-1)
    greatest = float(np.abs(known).max()) if known.size else 0.0
    power = floor(log10(greatest)) if greatest else 0
    if power in (-1, 0):
        power = 0
    else:
        title = f"{title} · 1e{power}"
    cells = [
        ["pad" if not (whole or inside[p, q]) else f"{part[p, q] / 10.0**power + 0.0:.3f}"
         for q in range(part.shape[1])]
        for p in range(part.shape[0])
    ]  # fmt: skip
    lines = [" ".join(f"{cell:>6}" for cell in row) for row in cells]
    width = max(len(title), *(len(line) for line in lines))
    return [line.ljust(width) for line in [title, *lines]]


def _with_numbers(step: Step) -> str:
    return step.formula.format(**{key: _operand(one) for key, one in step.operands.items()})


def _operand(number: float) -> str:
    return _g(number) if number >= 0 else f"({_g(number)})"


def _g(number: float) -> str:
    return f"{number + 0.0:.6g}"  # no minus before a zero


# As JSON


def _json(traced: Trace, subject: Subject, image: str) -> str:
    return output.as_json(
        {
            "net": subject.net.name,
            "weights": subject.whence,
            "image": image,
            "image_size": subject.preprocessing.size,
            "layer": traced.layer,
            "reads": traced.reads,
            "input_shape": list(traced.input_shape),
            "shape": list(traced.shape),
            "channel": traced.channel,
            "at": None if traced.at is None else list(traced.at),
            "value": traced.value,
            "gradient": traced.gradient,
            "logits": traced.logits_of,
            "label": traced.label,
            "label_name": subject.labels[traced.label] if subject.labels else None,
            "answered": traced.answered,
            "prob": traced.prob,
            "loss": traced.loss,
            "stages": [_stage_object(one) for one in traced.stages],
        }
    )


def _stage_object(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "channel": stage.channel,
        "at": None if stage.at is None else list(stage.at),
        "value": stage.value,
        "gradient": stage.gradient,
        "entries": [_entries_object(one) for one in stage.entries],
        "others": stage.others,
        "others_give": stage.others_give,
        "steps": [
            {
                "name": one.name,
                "formula": one.formula.replace("{", "").replace("}", ""),
                "operands": one.operands,
                "value": one.value,
                "gradient": one.gradient,
            }
            for one in stage.steps
        ],
        "weights": [
            {
                "key": one.key,
                "index": one.index,
                "value": one.value,
                "gradient": one.gradient,
                "gradient_all": one.gradient_all,
            }
            for one in stage.weights
        ],
    }


def _entries_object(one: Entries) -> dict[str, Any]:
    arrays = {
        "x": one.x, "inside": one.inside, "weight": one.weight, "dx": one.dx, "dx_all": one.dx_all,
        "dw": one.dw, "dw_all": one.dw_all,
    }  # fmt: skip
    return {
        "of": one.of,
        "channel": one.channel,
        "row": one.row,
        "column": one.column,
        "gives": one.gives,
        "key": one.key or None,
        "chosen": None if one.chosen is None else list(one.chosen),
        **{key: None if array is None else array.tolist() for key, array in arrays.items()},
    }
