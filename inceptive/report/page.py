"""The page itself: its data on an evaluated model, and its HTML from `template.html`.

Everything external (class and file names, notes, commands) is escaped by the template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import inceptive
from inceptive import metrics
from inceptive.arch.account import Account
from inceptive.arch.draw import draw_net
from inceptive.data.source import Data, Samples, images_of
from inceptive.errors import without_controls
from inceptive.images import Range, Source
from inceptive.metrics import SHOWN_CLASSES, Measures, RiskCoveragePoint
from inceptive.report import charts
from inceptive.report.pictures import thumbnail

WORST, UNSURE, EXAMPLES, DIFFERENT, UNLABELLED = 12, 12, 4, 12, 200
"""Pictures of confident errors, of doubt, of each class, of what models answer differently, and of
images without labels."""
SHOWN_FILES = 100
"""Files that are listed by name."""


@dataclass(frozen=True)
class ComparisonData:
    """Models compared with each other: models and pairs as in compare.json; labels and probs are the
    K names and the calibrated probabilities (N, K) of each model that knows the classes."""

    models: Sequence[Mapping[str, Any]]
    pairs: Sequence[Mapping[str, Any]]
    labels: Mapping[str, Sequence[str]]
    probs: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class FeatureMap:
    """Images beside each other by what the net sees in them: of those at `indices` (M,) of the samples,
    the features of `layer`, laid out (M, 2) in one way or several, by their names."""

    indices: np.ndarray
    layer: str
    layouts: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ReportData:
    """The data of a page: the answers of `model` to `samples`, one split of `data`.

    labels name the K columns of plain and probs (N, K), the probabilities before and after
    temperature scaling, which `measures` summarises. accounts: of each net that answers; history:
    rows of training, if any; facts: lines under "To repeat it", below `command`; comparison: other
    models on the same images, if any; feedback: findings of training about its images, as in
    `training.probe`; sample_range: as in `Preprocessing`, for the pictures; features: a map of them;
    flatters: what the images were to the model: "train" if it was trained on them, "all" on some of
    them, "val" if they chose its epoch, "cross-validated", else "".
    """

    model: str
    data: Data
    split: str
    samples: Samples
    labels: Sequence[str]
    plain: np.ndarray
    probs: np.ndarray
    measures: Measures
    accounts: Sequence[Account]
    command: str
    history: Sequence[Mapping[str, float]] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    comparison: ComparisonData | None = None
    feedback: Mapping[str, Any] = field(default_factory=dict)
    sample_range: Range | None = None
    features: FeatureMap | None = None
    flatters: str = ""


@dataclass(frozen=True)
class AnswersData:
    """The data of a page on `count` unlabelled images: models as in compare.json, and for each image
    (those answered differently first) its name, its location and the answers."""

    data: str
    count: int
    different: int
    models: Sequence[Mapping[str, Any]]
    images: Sequence[tuple[str, Source, Sequence[tuple[str, float]]]]
    command: str
    sample_range: Range | None = None


def answers_page(report: AnswersData) -> str:
    """Render the page on unlabelled images as HTML: each model's answer for each."""
    pictures = [
        _file(name, source, 3, report.sample_range) | {"answers": answers}
        for name, source, answers in report.images[:UNLABELLED]
    ]
    return _render(
        "answers.html", {"report": report, "models": report.models, "pictures": pictures}
    )


def similar_page(title: str, about: str, rows: Sequence[tuple[str, Source, str]]) -> str:
    """Render a contact sheet as HTML: pictures by their names, with a line below each."""
    pictures = [_file(name, source, 3) | {"text": text} for name, source, text in rows]
    return _render("similar.html", {"title": title, "about": about, "pictures": pictures})


def page(report: ReportData) -> str:
    """Render the page as HTML. Pictures that can no longer be read raise nothing."""
    return _render("template.html", _values(report))


def _render(template: str, values: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=PackageLoader("inceptive", "report"),
    )  # fmt: skip
    environment.filters |= {
        "percent": _percent, "number": lambda n: f"{n:,}", "images_of": images_of,
    }  # fmt: skip
    about = {
        "version": inceptive.__version__,
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    html = environment.get_template(template).render(**about, **values)
    return without_controls(html)  # a terminal may show the file, too


def _values(report: ReportData) -> dict[str, Any]:
    labels, classes, shown = report.samples.labels, report.data.classes, report.measures.shown
    curve = metrics.risk_coverage(report.probs, labels)
    confidence = report.probs.max(axis=1)
    best = report.probs.argmax(axis=1)
    wrong = np.flatnonzero(best != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:WORST]
    unsure = np.argsort(confidence, kind="stable")[:UNSURE]
    return {
        "report": report,
        "measures": report.measures,
        "wrong": len(wrong),
        "worst": [_answer(report, int(k)) for k in worst],
        "unsure": [_answer(report, int(k)) for k in unsure],
        "rows": [report.measures.classes[k] for k in shown],
        "matrix": _matrix(report.measures) if len(shown) <= SHOWN_CLASSES else [],
        "mixed_up": _mixed_up(report.measures) if len(shown) > SHOWN_CLASSES else [],
        "reliability": charts.reliability(
            "How often it is right for how sure it is",
            metrics.reliability(report.plain, labels),
            metrics.reliability(report.probs, labels),
        ),
        "risk_coverage": charts.risk_coverage(
            "How right it is if the least sure go unanswered", curve
        ),
        "targets": _targets(curve),
        "counts": _counts(report.data),
        "learned_from": report.feedback.get("curve", []),
        "suspects": _suspects(report),
        "examples": _examples(report) if len(classes) <= SHOWN_CLASSES else [],
        "points": _points(report, report.features) if report.features else [],
        "colours": {name: _colour(k, len(classes)) for k, name in enumerate(classes)},
        "unreadable": report.data.unreadable[:SHOWN_FILES],
        "more_unreadable": max(0, len(report.data.unreadable) - SHOWN_FILES),
        "curves": _curves(report.history),
        "nets": " and ".join(dict.fromkeys(account.net.name for account in report.accounts)),
        "drawings": [draw_net(account) for account in report.accounts],
        "differ": _differ(report, report.comparison) if report.comparison else [],
    }


def _answer(report: ReportData, index: int) -> dict[str, Any]:
    """One picture and what the model says of it."""
    probs = report.probs[index]
    order = np.argsort(-probs, kind="stable")[:2]
    return _picture(report, report.samples, index) | {
        "right": int(order[0]) == int(report.samples.labels[index]),
        "answers": [(report.labels[k], float(probs[k])) for k in order],
    }


def _points(report: ReportData, features: FeatureMap) -> list[dict[str, Any]]:
    """Each image of the map: its picture, class and answer, and where it lies in each layout, in per
    cent from the left and from below."""
    places = []
    for layout in features.layouts.values():
        low, span = layout.min(axis=0), np.ptp(layout, axis=0)
        shares = (layout - low) / np.where(span > 0, span, 1)
        places.append(np.where(span > 0, 2 + 96 * shares, 50.0))
    return [
        _answer(report, int(index))
        | {
            "colour": _colour(int(report.samples.labels[index]), len(report.data.classes)),
            "places": [tuple(np.round(layout[row], 2).tolist()) for layout in places],
        }
        for row, index in enumerate(features.indices)
    ]


def _colour(index: int, count: int) -> str:
    """Of class `index` of `count`: neighbours on the wheel differ in lightness, too."""
    return f"hsl({360 * index // max(1, count)} 65% {(42, 58)[index % 2]}%)"


def _suspects(report: ReportData) -> list[dict[str, Any]]:
    """Training images that look mislabelled, those that are still among the data."""
    rows = report.feedback.get("suspects", [])
    samples = report.data.splits.get("train")
    if not rows or samples is None:
        return []
    index = {samples.name(k): k for k in range(len(samples))}
    return [
        _picture(report, samples, index[row["file"]])
        | {"target": row["label"], "right": False, "answers": [(row["answer"], row["prob"])]}
        for row in rows
        if row["file"] in index
    ]


def _differ(report: ReportData, comparison: ComparisonData) -> list[dict[str, Any]]:
    """Pictures on which models answer differently, all of them as sure as can be."""
    if len(comparison.probs) < 2:
        return []
    best = {model: probs.argmax(axis=1) for model, probs in comparison.probs.items()}
    least = np.min([probs.max(axis=1) for probs in comparison.probs.values()], axis=0)
    answers = np.array(
        [[comparison.labels[model][k] for k in best[model]] for model in best], dtype=object
    )
    differ = np.flatnonzero((answers != answers[0]).any(axis=0))
    targets = report.samples.labels
    return [
        _picture(report, report.samples, i)
        | {
            "answers": [
                (
                    model,
                    answers[m, i],
                    float(probs[i, best[model][i]]),
                    best[model][i] == targets[i],
                )
                for m, (model, probs) in enumerate(comparison.probs.items())
            ]
        }
        for i in differ[np.argsort(-least[differ], kind="stable")][:DIFFERENT].tolist()
    ]


def _picture(report: ReportData, samples: Samples, index: int) -> dict[str, Any]:
    """One picture, its file, and its class."""
    name, source, data = samples.name(index), samples.source(index), report.data
    file = _file(name, source, data.channels, report.sample_range)
    return file | {"target": data.classes[samples.labels[index]]}


def _file(
    name: str, source: Source, channels: int, sample_range: Range | None = None
) -> dict[str, Any]:
    """A picture with its path, also by its last folder and its file: what tells pictures apart."""
    picture = thumbnail(source, channels, sample_range)
    return {"picture": picture, "file": name, "short": "/".join(Path(name).parts[-2:])}


def _matrix(measures: Measures) -> list[dict[str, Any]]:
    shown = measures.shown
    return [
        {
            "label": measures.classes[k].label,
            "cells": [(n, n / max(1, sum(counts))) for n in counts],
        }
        for k, counts in zip(shown, measures.confusion[np.ix_(shown, shown)].tolist(), strict=True)
    ]


def _mixed_up(measures: Measures) -> list[tuple[str, str, int]]:
    """The classes taken for one another most often: true, answered, how often."""
    matrix = measures.confusion.copy()
    np.fill_diagonal(matrix, 0)
    names = [row.label for row in measures.classes]
    order = np.argsort(-matrix, axis=None, kind="stable")[:20]
    pairs = [np.unravel_index(k, matrix.shape) for k in order]
    return [(names[a], names[b], int(matrix[a, b])) for a, b in pairs if matrix[a, b]]


def _targets(curve: list[RiskCoveragePoint]) -> list[tuple[float, RiskCoveragePoint | None]]:
    """For each target above what it reaches anyway, the answers that reach it."""
    targets = [target for target in metrics.TARGETS if target > curve[-1].accuracy]
    return [(target, metrics.threshold_for_accuracy(curve, target)) for target in targets]


def _counts(data: Data) -> list[tuple[str, list[int]]]:
    counts = [data.counts(split) for split in data.splits]
    return [(name, [int(split[k]) for split in counts]) for k, name in enumerate(data.classes)]


def _examples(report: ReportData) -> list[tuple[str, list[tuple[str, str]]]]:
    """(class, [(picture, file), ...]) from what it was trained on, or is evaluated on."""
    data = report.data
    samples = data.splits["train"] if len(data.splits.get("train", ())) else report.samples
    rows = []
    for k, name in enumerate(data.classes):
        indices = np.flatnonzero(samples.labels == k)[:EXAMPLES].tolist()
        entries = [_picture(report, samples, i) for i in indices]
        rows.append((name, [(entry["picture"], entry["file"]) for entry in entries]))
    return rows


def _curves(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Loss of each head, accuracy and learning rate over the epochs."""
    if not rows:
        return []
    first, last = rows[0]["epoch"], rows[-1]["epoch"]
    x = charts.Axis("epoch", min(first, last - 1), last)
    curves = []
    heads = [key for key in rows[-1] if key.startswith("loss_aux")]
    losses = {"training": "loss", "validation": "val_loss"} | {
        key.removeprefix("loss_"): key for key in heads[:2]
    }
    for title, label, keys, percent in (
        ("Loss over the epochs", "loss", losses, False),
        ("Accuracy over the epochs", "top-1", {"training": "top1", "validation": "val_top1"}, True),
        ("Learning rate over the epochs", "learning rate", {"learning rate": "lr"}, False),
    ):
        series = {
            name: [(row["epoch"], row[key]) for row in rows if key in row]
            for name, key in keys.items()
            if any(key in row for row in rows)
        }
        values = [value for points in series.values() for _, value in points]
        if not values:
            continue
        low = min(0.0, *values) if not percent else max(0.0, min(values) - 0.05)
        high = max(values) * 1.05 if not percent else 1.0
        curves.append(charts.lines(title, x, charts.Axis(label, low, high or 1.0, percent), series))
    return curves


def _percent(share: float, digits: int = 1) -> str:
    return "–" if share != share else f"{100 * share:.{digits}f}\u00a0%"
