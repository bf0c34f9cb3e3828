# ruff: noqa: E501 - lines of the pages
"""The reference, written from the code whenever the site is built: nothing in it is kept by hand.

`pages()` gives each page's name and its Markdown; conf.py writes them into docs/reference/.
"""

import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import typer.main
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import inceptive
from inceptive.arch import spec
from inceptive.cli import app
from inceptive.training.recipe import Recipe, shipped
from inceptive.weights.catalogue import catalogue


def pages() -> dict[str, str]:
    return {
        "commands": commands(),
        "recipe": recipe(),
        "python": python(),
        "words": words(),
        "weights": weights(),
        "files": files(),
    }


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [header, ("---",) * len(header), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# Commands


def commands() -> str:
    group = typer.main.get_command(app)
    parts = ["# Commands\n\n`inceptive COMMAND --help` says the same. Exit status: 0 done, 1 the request cannot be met, "
             "2 bad usage, 130 stopped by Ctrl-C. Standard output carries the answer, standard error all else."]  # fmt: skip
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        usage = " ".join(
            ["inceptive", name, "[OPTIONS]", *(p.metavar or p.name.upper() for p in arguments)]
        )
        rows = [
            (f"`{p.metavar or p.name.upper()}`", "", _plain(getattr(p, "help", "") or ""))
            for p in arguments
        ]
        for option in command.params:
            if option.param_type_name != "option" or option.name == "help":
                continue
            default = option.default
            shown = "" if default in (None, False, "", []) or callable(default) else f"`{default}`"
            rows.append((f"`{', '.join(option.opts)}`", shown, _plain(option.help or "")))
        parts.append(f"## {name}\n\n```\n{usage}\n```\n\n{_plain(inspect.cleandoc(command.help or ''))}\n\n"
                     + table(("argument or option", "default", "what"), rows))  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Help as Markdown: what would be markup is escaped, but for code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([*_<>\[\]$])", r"\\\1", part) for part in parts
    )


# Recipe keys


def recipe() -> str:
    parts = ["# Recipe keys\n\nA recipe is one TOML file. `--set optimizer.lr=0.1` (in Python `changes={\"optimizer.lr\": 0.1}`) "
             "changes one value. Shipped: " + ", ".join(f"`{name}`" for name in shipped()) + "."]  # fmt: skip
    for title, rows in _tables(Recipe):
        parts.append(f"## {title}\n\n" + table(("key", "type", "default", "what"), rows))
    return "\n\n".join(parts) + "\n"


def _tables(
    model: type[BaseModel], prefix: str = ""
) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    rows, inner = [], []
    for name, info in model.model_fields.items():
        kind = info.annotation
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            inner.append((f"{prefix}{name}.", kind))
            continue
        default = info.get_default(call_default_factory=True)
        shown = "" if default is PydanticUndefined else json.dumps(default, default=str)
        limits = [f"{word} {getattr(each, key)}" for each in info.metadata
                  for key, word in (("ge", "from"), ("gt", "above"), ("le", "to"), ("lt", "below")) if hasattr(each, key)]  # fmt: skip
        text = "; ".join(filter(None, [info.description or "", ", ".join(limits)]))
        rows.append((f"`{prefix}{name}`", _kind(kind), f"`{shown}`" if shown else "", _plain(text)))
    yield prefix.rstrip(".") or "Top level", rows
    for more, kind in inner:
        yield from _tables(kind, more)


def _kind(kind: Any) -> str:
    """A type in words that fit a table."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return getattr(inside[1], "words", None) or _kind(inside[0])
    if origin is typing.Literal:
        return ", ".join(json.dumps(each) for each in inside)
    if origin in (typing.Union, types.UnionType):
        parts = [_kind(each) for each in inside]
        return "a node" if len(parts) > 9 else " or ".join(dict.fromkeys(parts))
    if origin is tuple:
        several = "several" if inside[-1] is ... else "two"
        return f"{several} of: {_kind(inside[0])}"
    return "none" if kind is type(None) else getattr(kind, "__name__", str(kind))


NODE = " | ".join(each.__name__ for each in typing.get_args(spec.Node))
MODULES = re.compile(r"\b(?:inceptive|typing|collections\.abc|pathlib|numpy|torch)\.(?:\w+\.)*")


# Python


def python() -> str:
    parts = ["# Python\n\nAll of it stands in `inceptive`: `import inceptive`. What cannot be met raises `InceptiveError`, one "
             "line that names the thing, the reason and what to do."]  # fmt: skip
    words = {cls.__name__ for cls in _words()}
    for name in sorted(set(dir(inceptive)) - words, key=str.lower):
        if not name.startswith("_"):
            value = getattr(inceptive, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                parts.append(_described(name, value, "##"))
    parts.append("## NETS\n\nThe nets by name: `NETS[\"googlenet\"](num_classes=10, channels=1)` gives a `Net`.\n\n"
                 + ", ".join(f"`{name}`" for name in inceptive.NETS))  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _described(name: str, value: Any, level: str) -> str:
    text = inspect.cleandoc(inspect.getdoc(value) or "")
    parts = [f"{level} {name}\n\n```python\n{_signature(name, value)}\n```\n\n{_docstring(text)}"]
    if inspect.isclass(value):
        for member, each in vars(value).items():
            if member.startswith("_"):
                continue
            function = each.__func__ if isinstance(each, classmethod | staticmethod) else each
            function = function.fget if isinstance(function, property) else function
            if inspect.isfunction(function) and function.__doc__:
                shown = f"{name}.{member}"
                head = shown if isinstance(each, property) else _signature(shown, function)
                parts.append(
                    f"{level}# {shown}\n\n```python\n{head}\n```\n\n{_docstring(inspect.getdoc(function) or '')}"
                )
    return "\n\n".join(parts)


def _signature(name: str, value: Any) -> str:
    try:
        signature = inspect.signature(value)
    except ValueError:
        return name
    shown = [
        p.replace(annotation=_Bare(p.annotation))
        if typing.get_origin(p.annotation) in (typing.Annotated, typing.Union, types.UnionType)
        else p
        for p in signature.parameters.values()
        if p.name not in ("self", "cls")
    ]
    signature = signature.replace(parameters=shown)
    text = name + _short(str(signature))
    if len(text) > 88 and shown:  # one parameter a line
        end = ")" + (text[text.rindex(" ->") :] if "->" in text else "")
        text = f"{name}(\n    " + ",\n    ".join(_short(str(each)) for each in shown) + f",\n{end}"
    return text


def _short(text: str) -> str:
    text = re.sub(r"<[\w.]+ (?:object )?(?:<?\w+>? )?at 0x\w+>", "...", text)
    return MODULES.sub("", text).replace("'", "").replace(NODE, "Node")


class _Bare:
    """A type without what is checked of its values."""

    def __init__(self, kind: Any):
        self.kind = kind

    def __repr__(self) -> str:
        origin, inside = typing.get_origin(self.kind), typing.get_args(self.kind)
        if origin is typing.Annotated:
            return repr(_Bare(inside[0]))
        if origin in (typing.Union, types.UnionType):
            return " | ".join(repr(_Bare(each)) for each in inside)
        return "None" if self.kind is type(None) else inspect.formatannotation(self.kind)


def _docstring(text: str) -> str:
    """A docstring as Markdown; what is indented in it, or begins with >>>, is an example."""
    lines, example, shown = [], False, False
    for line in text.splitlines():
        shown = line.startswith(">>>") or (
            shown and bool(line)
        )  # up to an empty line, as doctest has it
        is_code = shown or line.startswith("    ")
        if is_code and not example:
            lines.append("```python")
        if not is_code and example and line:
            lines.append("```\n")
        example = is_code or (example and not line)
        indented = is_code and not shown
        lines.append(line[4:] if indented else line if example else _plain(line))
    return "\n".join([*lines, "```"] if example else lines)


# The vocabulary


def _words() -> list[type]:
    found = [
        value
        for value in vars(spec).values()
        if inspect.isclass(value) and value.__module__ == spec.__name__
    ]
    return [value for value in found if hasattr(inceptive, value.__name__)]


def words() -> str:
    parts = ["# The words of an architecture\n\nA net is a tree of these. Each is a frozen dataclass that checks itself when it is "
             "made; `inceptive.build` makes a torch module of it, `account` counts it, `draw` draws it."]  # fmt: skip
    for cls in _words():
        fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
        given = typing.get_type_hints(cls, vars(spec), include_extras=True)
        hints = {name: _kind(kind) for name, kind in given.items()}
        rows = [(f"`{f.name}`", hints[f.name], "" if f.default is dataclasses.MISSING else f"`{f.default!r}`") for f in fields]  # fmt: skip
        part = f"## {cls.__name__}\n\n{_docstring(inspect.getdoc(cls) or '')}"
        parts.append(part + ("\n\n" + table(("field", "type", "default"), rows) if rows else ""))
    pads = inspect.getsource(spec).split('"""How a window meets', 1)[1].split('"""', 1)[0]
    parts.append(
        f"## Padding\n\nHow a window meets{_plain(pads.split(chr(10), 1)[0])}\n\n```\n{pads.split(chr(10), 1)[1].strip()}\n```"
    )
    return "\n\n".join(parts) + "\n"


# Published weights


def weights() -> str:
    rows = []
    for name, each in catalogue().items():
        accuracy = f"{each.top1:.1f}" if each.top1 else ""
        size = f"{each.megabytes:.0f}" if each.megabytes else ""
        rows.append(
            (
                f"`{name}`",
                f"`{each.net}`",
                str(each.classes),
                size,
                str(each.preprocessing.size),
                accuracy,
                each.licence,
            )
        )
    return (
        "# Published weights\n\nWhat `Classifier.load(NAME)`, `--weights NAME` and every command's MODEL take. Accuracy is "
        "top-1 in per cent on ImageNet's validation images **as the publishers state it**.\n\n"
        + table(("name", "net", "classes", "MB", "pixels", "top-1", "licence"), rows) + "\n"
    )  # fmt: skip


# Files


FILES = """# Files and JSON

## A model folder

| file | what |
|---|---|
| `model.safetensors` | the weights; in its header all of `config.json` |
| `config.json` | a copy to read, see below |
| `README.md` | a model card |
| `history.csv` | a row for each epoch; epoch 0 is the probe |
| `report.html` | the report on the validation images, one page without network |
| `exports.json`, `model.*.onnx`, `model.*.xml` and `.bin` | exports, and how each did beside torch |
| `checkpoint.pt` | while a training is not done: what `--resume` goes on from |

Files appear whole or not at all. No pickle is written, or read without `weights_only=True`.

## config.json

| key | what |
|---|---|
"""
KEYS = {
    "inceptive": "version that wrote it; `torch` the same",
    "net": "the architecture as a value: words, numbers, strings, lists",
    "labels": "class names; labels[k] names logit k",
    "preprocessing": "size, channels, crop, mean, std, interpolation, sample\\_range",
    "temperature": "divides the logits before softmax",
    "training": "best epoch, seconds, device, versions, probe, what would help",
    "metrics": "on the validation images: count, top1 and its interval, baseline, calibration errors, `thresholds`",
    "novelty": "what tells a picture of no class",
    "data": "name, counts, digests of the pixels learned",
    "recipe": "the recipe as it ran, with the weights that it started from",
    "published": "name and licence of the published weights that it started from",
    "weights": "SHA-256 of the weights",
    "early_exit": "heads that may answer, and from which probability on",
}


ANSWERS = """
## Answers

`predict --json`: a list, one object an image: `image`, `top` (a list of `label` and `prob`, best first), `novel`, `error`,
`notes`. CSV and Parquet have the columns `image, label, prob, label_2, prob_2, ..., novel, error, notes`. `/v1/predict` of `serve` adds
`sure`; `/docs` there describes the rest. `evaluate --json` and `evaluation.json`, `compare.json` and `exports.json` hold the fields
of the dataclasses `Evaluation`, `Comparison` and `Export` ([Python](python.md)).
"""


def files() -> str:
    return FILES + "".join(f"| `{key}` | {what} |\n" for key, what in KEYS.items()) + ANSWERS
