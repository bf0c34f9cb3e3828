"""The page itself: what is told, gathered from a judged model, and the HTML that `template.html` makes.

Everything that comes from outside (class and file names, notes, commands) is escaped by the template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import inceptive
from inceptive import metrics
from inceptive.arch.account import Account
from inceptive.arch.draw import draw_net
from inceptive.data.source import Data, Samples
from inceptive.errors import without_controls
from inceptive.metrics import RiskCoveragePoint
from inceptive.report import charts
from inceptive.report.pictures import thumbnail

WORST, UNSURE, EXAMPLES, DIFFERENT = 12, 12, 4, 12
"""Pictures of confident errors, of doubt, of each class, and of what models answer differently."""
SHOWN_CLASSES, SHOWN_FILES = 20, 100
"""Classes with pictures and a row in the matrix; files that are listed by name."""


@dataclass(frozen=True)
class Compared:
    """Models beside one another: models and pairs as `inceptive compare --json` tells them; scaled
    (N, K) are the calibrated probabilities of those that were judged."""

    models: Sequence[Mapping[str, Any]]
    pairs: Sequence[Mapping[str, Any]]
    scaled: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Told:
    """What a page is made of. judged: see `evaluate.judge.judge`; plain and scaled (N, K) are the
    probabilities of `samples` before and after temperature scaling. accounts: of each net that answers;
    history: rows of training, if they are known; command: what was typed; compared: other models on
    the same images, if there are."""

    model: str
    data: Data
    split: str
    samples: Samples
    plain: np.ndarray
    scaled: np.ndarray
    judged: Mapping[str, Any]
    accounts: Sequence[Account]
    command: str
    history: Sequence[Mapping[str, float]] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    compared: Compared | None = None


def page(told: Told) -> str:
    """The page as HTML. Raises nothing for pictures that can no longer be read."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": _percent, "number": lambda n: f"{n:,}"}
    source = files("inceptive.report").joinpath("template.html").read_text(encoding="utf-8")
    made = environment.from_string(source).render(**_values(told))
    return without_controls(made)  # a terminal may show the file, too


def _values(told: Told) -> dict[str, Any]:
    labels, classes = told.samples.labels, told.data.classes
    curve = metrics.risk_coverage(told.scaled, labels)
    confidence = told.scaled.max(axis=1)
    best = told.scaled.argmax(axis=1)
    wrong = np.flatnonzero(best != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:WORST]
    unsure = np.argsort(confidence, kind="stable")[:UNSURE]
    return {
        "told": told,
        "judged": told.judged,
        "version": inceptive.__version__,
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "wrong": len(wrong),
        "worst": [_answer(told, int(k)) for k in worst],
        "unsure": [_answer(told, int(k)) for k in unsure],
        "matrix": _matrix(told.judged) if len(classes) <= SHOWN_CLASSES else [],
        "mixed_up": _mixed_up(told.judged) if len(classes) > SHOWN_CLASSES else [],
        "reliability": charts.reliability(
            "How often it is right for how sure it is",
            metrics.reliability(told.plain, labels),
            metrics.reliability(told.scaled, labels),
        ),
        "risk_coverage": charts.risk_coverage(
            "How right it is if the least sure go unanswered", curve
        ),
        "targets": _targets(curve),
        "counts": _counts(told.data),
        "examples": _examples(told) if len(classes) <= SHOWN_CLASSES else [],
        "unreadable": told.data.unreadable[:SHOWN_FILES],
        "more_unreadable": max(0, len(told.data.unreadable) - SHOWN_FILES),
        "curves": _curves(told.history),
        "nets": " and ".join(dict.fromkeys(one.net.name for one in told.accounts)),
        "drawings": [draw_net(one) for one in told.accounts],
        "differ": _differ(told, told.compared.scaled) if told.compared else [],
    }


def _answer(told: Told, index: int) -> dict[str, Any]:
    """One picture and what the model says of it."""
    probs = told.scaled[index]
    order = np.argsort(-probs, kind="stable")[:2]
    names = _names(told)
    return {
        "picture": thumbnail(told.samples, index, told.data.channels),
        "file": told.samples.name(index),
        "short": _short(told.samples.name(index)),
        "is": told.data.classes[told.samples.labels[index]],
        "right": int(order[0]) == int(told.samples.labels[index]),
        "said": [(names[k], float(probs[k])) for k in order],
    }


def _differ(told: Told, scaled: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Pictures on which models answer differently, all of them as sure as can be."""
    if len(scaled) < 2:
        return []
    best = np.stack([probs.argmax(axis=1) for probs in scaled.values()])
    least = np.stack([probs.max(axis=1) for probs in scaled.values()]).min(axis=0)
    found = np.flatnonzero((best != best[0]).any(axis=0))
    labels, names = told.samples.labels, _names(told)
    return [
        {
            "picture": thumbnail(told.samples, i, told.data.channels),
            "file": told.samples.name(i),
            "short": _short(told.samples.name(i)),
            "is": told.data.classes[labels[i]],
            "said": [
                (model, names[k] if k < len(names) else "(other)", probs[i, k], k == labels[i])
                for model, probs, k in zip(
                    scaled, scaled.values(), best[:, i].tolist(), strict=True
                )
            ],
        }
        for i in found[np.argsort(-least[found], kind="stable")][:DIFFERENT].tolist()
    ]


def _short(name: str) -> str:
    """A path by its last folder and its file: what tells pictures apart."""
    return "/".join(Path(name).parts[-2:])


def _names(told: Told) -> tuple[str, ...]:
    """Classes of the data, then those that only the model knows."""
    spare = told.scaled.shape[1] - len(told.data.classes)
    return (*told.data.classes, *(f"(other {k + 1})" for k in range(spare)))


def _matrix(judged: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for one, counts in zip(judged["classes"], judged["confusion"], strict=True):
        total = max(1, sum(counts))
        rows.append({"label": one["label"], "cells": [(n, n / total) for n in counts]})
    return rows


def _mixed_up(judged: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """The classes taken for one another most often: true, answered, how often."""
    matrix = np.array(judged["confusion"])
    np.fill_diagonal(matrix, 0)
    names = [one["label"] for one in judged["classes"]]
    order = np.argsort(-matrix, axis=None, kind="stable")[:20]
    pairs = [np.unravel_index(k, matrix.shape) for k in order]
    return [(names[a], names[b], int(matrix[a, b])) for a, b in pairs if matrix[a, b]]


def _targets(
    curve: list[RiskCoveragePoint],
) -> list[tuple[float, RiskCoveragePoint | None]]:
    """For each target above what it reaches anyway, the answers that reach it."""
    targets = [target for target in metrics.TARGETS if target > curve[-1].accuracy]
    return [(target, metrics.threshold_for_accuracy(curve, target)) for target in targets]


def _counts(data: Data) -> list[tuple[str, list[int]]]:
    counts = {split: data.counts(split) for split in data.splits}
    return [
        (name, [int(counts[split][k]) for split in counts]) for k, name in enumerate(data.classes)
    ]


def _examples(told: Told) -> list[tuple[str, list[tuple[str, str]]]]:
    """(class, [(picture, file), ...]) from what it was trained on, or is judged on."""
    data = told.data
    samples = data.splits["train"] if len(data.splits.get("train", ())) else told.samples
    found = []
    for k, name in enumerate(data.classes):
        chosen = np.flatnonzero(samples.labels == k)[:EXAMPLES]
        shown = [(thumbnail(samples, int(i), data.channels), samples.name(int(i))) for i in chosen]
        found.append((name, shown))
    return found


def _curves(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Loss of each head, accuracy and learning rate over the epochs."""
    if not rows:
        return []
    first, last = rows[0]["epoch"], rows[-1]["epoch"]
    x = charts.Axis("epoch", min(first, last - 1), last)
    found = []
    heads = [key for key in rows[0] if key.startswith("loss_aux")]
    losses = {"training": "loss", "validation": "val_loss"} | {
        key.removeprefix("loss_"): key for key in heads[:2]
    }
    for title, label, chosen, percent in (
        ("Loss over the epochs", "loss", losses, False),
        ("Accuracy over the epochs", "top-1", {"training": "top1", "validation": "val_top1"}, True),
        ("Learning rate over the epochs", "learning rate", {"learning rate": "lr"}, False),
    ):
        series = {
            name: [(row["epoch"], row[key]) for row in rows if key in row]
            for name, key in chosen.items()
            if key in rows[0]
        }
        values = [value for points in series.values() for _, value in points]
        if not values:
            continue
        low = min(0.0, *values) if not percent else max(0.0, min(values) - 0.05)
        high = max(values) * 1.05 if not percent else 1.0
        found.append(charts.lines(title, x, charts.Axis(label, low, high or 1.0, percent), series))
    return found


def _percent(share: float, digits: int = 1) -> str:
    return "–" if share != share else f"{100 * share:.{digits}f}\u00a0%"
