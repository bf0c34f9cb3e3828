"""Comparison of several models on the same images: accuracy, answers and cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from inceptive.arguments import NonNegativeFloat, checked
from inceptive.comparison.pairs import Pair, pair
from inceptive.data.labels import read_lists
from inceptive.data.layout import hidden
from inceptive.data.source import Data
from inceptive.engines import records
from inceptive.engines.open import open_engine
from inceptive.engines.prediction import Image, Prediction, as_source, is_single, predictions
from inceptive.engines.protocol import Engine, Size
from inceptive.engines.timing import BATCH, Speed, speeds
from inceptive.errors import InceptiveError
from inceptive.evaluation.evaluate import Evaluation, evaluate_engine, label_order, report_data
from inceptive.evaluation.open import (
    Models,
    NamedModel,
    judged,
    named,
    open_models_and_data,
)
from inceptive.images import SUFFIXES, Source
from inceptive.io.atomic import as_csv, csv_path, write_json, write_text
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent
from inceptive.report.page import AnswersData, ComparisonData, answers_page
from inceptive.report.write import REPORT, write_report

ROUNDS = 3
MEASURES = ("top1", "top1_interval", "top5", "top5_interval", "balanced_accuracy",
            "balanced_accuracy_interval", "loss_scaled", "calibration_error_scaled")  # fmt: skip


class Answer(NamedTuple):
    """A model's top class for one image, and its calibrated probability."""

    label: str
    prob: float


@dataclass(frozen=True)
class ComparedModel:
    """One model's answer for each image, and its cost.

    answers is () if the model does not know the classes of the data; evaluation is then None, as it is
    for unlabelled images.
    """

    model: str
    engine: str
    size: Size
    speed: Speed
    answers: tuple[Answer, ...] = field(repr=False)
    evaluation: Evaluation | None

    def to_dict(self) -> dict[str, Any]:
        """This model's entry in `compare.json`."""
        measures = {key: getattr(self.evaluation, key) for key in MEASURES if self.evaluation}
        cost = asdict(self.size) | asdict(self.speed)
        return {"model": self.model, "engine": self.engine} | measures | cost


@dataclass(frozen=True)
class Comparison:
    """Models on the same images of one split of `data`, in the order in which they were given.

    pairs: results for each two that know the classes, by their names. images and targets: the name
    and class of each image; unlabelled images have no targets, pairs or split.

    >>> compared = inceptive.compare(["runs/mine", "runs/other"], "digits", seconds=0)
    >>> list(compared.pairs)
    [('runs/mine', 'runs/other')]
    """

    data: str
    split: str
    models: tuple[ComparedModel, ...]
    pairs: Mapping[tuple[str, str], Pair]
    images: tuple[str, ...] = field(repr=False)
    targets: tuple[str, ...] = field(repr=False)

    @property
    def answering(self) -> tuple[ComparedModel, ...]:
        """The models that know the classes."""
        return tuple(row for row in self.models if row.answers)

    @property
    def different(self) -> list[int]:
        """Indices of the images on which the models disagree."""
        labels = zip(*([a.label for a in row.answers] for row in self.answering), strict=True)
        return [k for k, answers in enumerate(labels) if len(set(answers)) > 1]

    def to_dict(self) -> dict[str, Any]:
        """The content of `compare.json`; for unlabelled images, with each model's answers."""
        values = {
            "data": self.data,
            "split": self.split,
            "count": len(self.images),
            "models": [row.to_dict() for row in self.models],
            "pairs": [
                {"first": first, "second": second} | asdict(counts)
                for (first, second), counts in self.pairs.items()
            ],
            "disagreements": len(self.different),
        }
        if self.targets:
            return values
        images = [
            {"image": name, "answers": {r.model: r.answers[k]._asdict() for r in self.answering}}
            for k, name in enumerate(self.images)
        ]
        return values | {"images": images}

    def answers_csv(self, indices: Iterable[int] | None = None) -> str:
        """CSV of each image (or those at `indices`), its class if labelled, and each answer with its
        probability."""
        header = ["image", "class"] if self.targets else ["image"]
        for row in self.answering:
            header += [row.model, f"prob of {row.model}"]
        rows = []
        for k in range(len(self.images)) if indices is None else indices:
            cells = [csv_path(self.images[k]), *self.targets[k : k + 1]]
            for row in self.answering:
                cells += [row.answers[k].label, f"{row.answers[k].prob:.4f}"]
            rows.append(cells)
        return as_csv(header, rows) + "\n"


@checked
def compare(
    models: Models,
    data: str | Path | Data | Iterable[Image],
    split: str = "",
    *,
    engine: str = "auto",
    seconds: NonNegativeFloat = 0.5,
    strict: bool = False,
    out: str | Path | None = None,
    command: str = "",
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Comparison:
    """Compare models on the same images, each with its own preprocessing.

    models, data, split and strict are as in `evaluate`; data may also be unlabelled images: a sequence
    of inputs to `Classifier.predict`, an image file, or a folder of images without subfolders.
    engine: as in `evaluate`, or "all": each model folder is run by torch and by each of its exports
    that passed its check. For a model that does not know the classes of the data, only the cost is
    measured. seconds: approximate length of each of a model's ROUNDS of timing; 0: one call.

    With `out`, compare.json, disagreements.csv and, if one of the models is ours, a report.html on it
    with the others for comparison are written there; for unlabelled images compare.json, answers.csv
    and report.html. Raises InceptiveError if a model or the data is unavailable, or two share a name.

    >>> compared = inceptive.compare(["runs/mine", "runs/other"], "digits", seconds=0)
    >>> [model.model for model in compared.models]
    ['runs/mine', 'runs/other']
    """
    progress = progress or Silent()
    requests = named(models, engine)
    if engine == "all":
        requests = [each for model in requests for each in _each_engine(model, progress)]
    names = [request.name for request in requests]
    if len(set(names)) < len(names):
        raise InceptiveError("a model is named twice; compare different ones")
    pictures = unlabelled(data, progress)
    if pictures is not None:
        if not pictures:
            raise InceptiveError("data holds no images")
        engines = {
            request.name: open_engine(request.model, request.engine, progress.say)
            for request in requests
        }
        title = str(data) if isinstance(data, str | Path) else "a list"
        return _unlabelled(engines, pictures, title, seconds, strict, out, command, progress)
    opened, labelled = open_models_and_data(
        requests, cast(str | Path | Data, data), strict=strict, progress=progress
    )
    engines = dict(zip(names, opened, strict=True))
    labelled, split = judged(engines, labelled, split, progress)
    samples = labelled.split(split)
    evaluations = {
        name: evaluation
        for name, engine in engines.items()
        if (evaluation := _evaluate(name, engine, labelled, split, progress))
    }
    answers = {name: _answers(evaluation) for name, evaluation in evaluations.items()}
    few = [samples.source(k) for k in range(min(BATCH, len(samples)))]
    comparison = Comparison(
        labelled.name,
        split,
        _models(engines, answers, evaluations, few, seconds, progress),
        {
            (a, b): pair(*(each.probs.argmax(1) == samples.labels for each in (first, second)))
            for (a, first), (b, second) in combinations(evaluations.items(), 2)
        },
        tuple(samples.name(k) for k in range(len(samples))),
        tuple(labelled.classes[k] for k in samples.labels),
    )
    if out is not None:
        folder = expand(out)
        write_json(folder / "compare.json", comparison.to_dict())
        write_text(folder / "disagreements.csv", comparison.answers_csv(comparison.different))
        written = ["compare.json", "disagreements.csv"]
        if _write_page(folder, comparison, engines, labelled, command):
            written.append(REPORT)
        progress.say(f"written: {out}/{', '.join(written)}")
    return comparison


def unlabelled(
    data: str | Path | Data | Iterable[Image], progress: Progress
) -> list[Source] | None:
    """The images of `data` if unlabelled; None if it is a labelled dataset, or might be one."""
    if isinstance(data, Data):
        return None
    if not isinstance(data, str | Path):
        return [as_source(data)] if is_single(data) else [as_source(image) for image in data]
    path = expand(data)
    if path.is_file():
        return [path]
    try:
        inside = [entry for entry in path.iterdir() if not hidden(entry.name)]
    except OSError:  # a built-in set, a URL, or nothing: who opens it says so
        return None
    images = sorted(entry for entry in inside if entry.suffix.lower() in SUFFIXES)
    if not images or any(entry.is_dir() for entry in inside):
        return None
    try:
        return None if read_lists(path, list(map(str, images))) else list(images)
    except InceptiveError as error:  # a list of something else, or one with a mistake
        progress.say(f"note: {error}; the images are taken as unlabelled")
        return list(images)


def _each_engine(named: NamedModel, progress: Progress) -> list[NamedModel]:
    """`named` once for torch and once for each export in its folder; else itself."""
    engines: list[str] = []
    if isinstance(named.model, str | Path) and (folder := expand(named.model)).is_dir():
        engines = ["torch"] if (folder / records.WEIGHTS).is_file() else []
        engines += [record.name for record in records.usable(folder, progress.say)]
    if not engines:
        return [replace(named, engine="auto")]
    return [NamedModel(f"{named.name} {engine}", named.model, engine) for engine in engines]


def _models(
    engines: Mapping[str, Engine],
    answers: Mapping[str, tuple[Answer, ...]],
    evaluations: Mapping[str, Evaluation],
    images: Sequence[Source],
    seconds: float,
    progress: Progress,
) -> tuple[ComparedModel, ...]:
    """Each model with its answers and its cost, timed on `images`."""
    progress.say("timing, in turns")
    squares = {
        name: np.stack([engine.preprocessing.load(image) for image in images])
        for name, engine in engines.items()
    }
    fast = speeds(engines, squares, ROUNDS, seconds)
    return tuple(
        ComparedModel(
            name,
            engine.name,
            engine.size(),
            fast[name],
            answers.get(name, ()),
            evaluations.get(name),
        )
        for name, engine in engines.items()
    )


def _unlabelled(
    engines: Mapping[str, Engine],
    images: Sequence[Source],
    data: str,
    seconds: float,
    strict: bool,
    out: str | Path | None,
    command: str,
    progress: Progress,
) -> Comparison:
    """What each of `engines` says of each image that can be read."""
    predicted: dict[str, list[Prediction]] = {}
    for name, engine in engines.items():
        progress.say(f"asking {name} on {len(images)} images of {data}")
        predicted[name] = []
        for prediction in predictions(engine, images, top=1):
            predicted[name].append(prediction)
            progress.advance("answering", len(predicted[name]), len(images))
    first = next(iter(predicted.values()))
    of_each = list(zip(*predicted.values(), strict=True))
    said = ([answer.error for answer in each if answer.error] for each in of_each)
    errors = [first_error for first_error, *_ in filter(None, said)]
    if errors and (strict or len(errors) == len(images)):
        raise InceptiveError(
            f"{len(errors)} of {len(images)} images cannot be read, the first: {errors[0]}"
        )
    for error in errors:
        progress.say(f"left out: {error}")
    readable = [k for k, each in enumerate(of_each) if not any(one.error for one in each)]
    answers = {
        name: tuple(Answer(*answered[k].top[0]) for k in readable)
        for name, answered in predicted.items()
    }
    few = [images[k] for k in readable[:BATCH]]
    comparison = Comparison(
        data,
        "",
        _models(engines, answers, {}, few, seconds, progress),
        {},
        tuple(first[k].image for k in readable),
        (),
    )
    if out is not None:
        folder, values = expand(out), comparison.to_dict()
        different = comparison.different
        order = [*different, *sorted(set(range(len(readable))).difference(different))]
        rows = [
            (first[readable[k]].image, images[readable[k]], [top[k] for top in answers.values()])
            for k in order
        ]
        command = command or f"inceptive.compare({list(engines)!r}, ...)"
        sample_range = next(iter(engines.values())).preprocessing.sample_range
        page = AnswersData(
            data, len(rows), len(different), values["models"], rows, command, sample_range
        )
        write_json(folder / "compare.json", values)
        write_text(folder / "answers.csv", comparison.answers_csv())
        write_text(folder / REPORT, answers_page(page))
        progress.say(f"written: {out}/compare.json, answers.csv, {REPORT}")
    return comparison


def _evaluate(
    name: str, engine: Engine, data: Data, split: str, progress: Progress
) -> Evaluation | None:
    if unknown := [label for label in data.classes if label not in engine.labels]:
        progress.say(
            f"note: {name} does not know {', '.join(unknown[:3])}: only its cost is measured"
        )
        return None
    labels = label_order(data.classes, engine.labels)
    return evaluate_engine(name, engine, data, split, labels, progress=progress)


def _answers(evaluation: Evaluation) -> tuple[Answer, ...]:
    best = evaluation.probs.argmax(axis=1)
    return tuple(
        Answer(evaluation.labels[k], float(probs[k]))
        for k, probs in zip(best, evaluation.probs, strict=True)
    )


def _write_page(
    folder: Path,
    comparison: Comparison,
    engines: Mapping[str, Engine],
    data: Data,
    command: str,
) -> bool:
    """Write the page on the first of our models, with the others beside it; False if there is none."""
    evaluations = {row.model: row.evaluation for row in comparison.models if row.evaluation}
    our_model = next((name for name in evaluations if engines[name].net), None)
    if our_model is None:
        return False
    values = comparison.to_dict()
    beside = ComparisonData(
        values["models"],
        values["pairs"],
        {name: evaluation.labels for name, evaluation in evaluations.items()},
        {name: evaluation.probs for name, evaluation in evaluations.items()},
    )
    command = command or f"inceptive.compare({list(engines)!r}, {data.name!r})"
    write_report(
        folder, report_data(evaluations[our_model], [engines[our_model]], data, command, beside)
    )
    return True
