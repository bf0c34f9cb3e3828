"""Several models on the same images: who is right, what each says, and what each costs."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inceptive.comparison.cost import BATCH, Speed, speeds
from inceptive.comparison.pairs import Pair, pair
from inceptive.data.source import Data
from inceptive.engines.protocol import Engine, Size
from inceptive.errors import InceptiveError
from inceptive.evaluation.evaluate import Evaluation, evaluate_engine, label_order, report_data
from inceptive.evaluation.open import Models, default_split, named, open_models_and_data
from inceptive.io.atomic import as_csv, write_json, write_text
from inceptive.io.progress import Progress, Silent
from inceptive.report.page import ComparisonData
from inceptive.report.write import REPORT, write_report

ROUNDS = 3
MEASURES = ("top1", "top1_interval", "top5", "top5_interval", "balanced_accuracy",
            "balanced_accuracy_interval", "loss_scaled", "calibration_error_scaled")  # fmt: skip


class Answer(NamedTuple):
    """The best class of a model for one image, and its calibrated probability."""

    label: str
    prob: float


@dataclass(frozen=True)
class ComparedModel:
    """What one model says, and what it costs; answers and evaluation are () and None if it does not
    know the classes of the data."""

    model: str
    engine: str
    size: Size
    speed: Speed
    answers: tuple[Answer, ...] = field(repr=False)
    evaluation: Evaluation | None

    def to_dict(self) -> dict[str, Any]:
        """One of the models of `compare.json`."""
        measures = {key: getattr(self.evaluation, key) for key in MEASURES if self.evaluation}
        cost = asdict(self.size) | asdict(self.speed)
        return {"model": self.model, "engine": self.engine} | measures | cost


@dataclass(frozen=True)
class Comparison:
    """Models on the same images of one split of `data`, in the order in which they were named.

    pairs: of each two that know the classes, by their names. images and targets: the name and the
    class of each image.
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
        """The images, by number, on which not all models answer alike."""
        labels = zip(*([a.label for a in row.answers] for row in self.answering), strict=True)
        return [k for k, answers in enumerate(labels) if len(set(answers)) > 1]

    def to_dict(self) -> dict[str, Any]:
        """As `compare.json` has it."""
        return {
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

    def answers_csv(self, indices: Iterable[int] | None = None) -> str:
        """CSV: each image (or those at `indices`), its class, and each answer with its probability."""
        header = ["image", "class"]
        for row in self.answering:
            header += [row.model, f"prob of {row.model}"]
        rows = []
        for k in range(len(self.images)) if indices is None else indices:
            cells = [self.images[k], self.targets[k]]
            for row in self.answering:
                cells += [row.answers[k].label, f"{row.answers[k].prob:.4f}"]
            rows.append(cells)
        return as_csv(header, rows) + "\n"


def compare(
    models: Models,
    data: str | Path | Data,
    split: str = "",
    *,
    engine: str = "auto",
    seconds: float = 0.5,
    strict: bool = False,
    out: str | Path | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Comparison:
    """Set models side by side on the same labelled images, each with its own preprocessing.

    models, data, split, engine and strict are as in `evaluate`. A model that does not know the
    classes of the data is measured for its cost only. seconds: about how long each model's turn of
    timing takes, of ROUNDS; 0: one call.

    With `out` that folder gets compare.json, disagreements.csv and, if one of the models is ours,
    report.html on it with the others beside it. Raises InceptiveError if a model or the data cannot
    be had, or two have one name.

        inceptive.compare(["runs/mine", "torchvision:resnet18@mine.pth"], "photos/")
    """
    progress = progress or Silent()
    wanted = named(models, engine)
    names = [one.name for one in wanted]
    if len(set(names)) < len(names):
        raise InceptiveError("a model is named twice; compare different ones")
    opened, labelled = open_models_and_data(wanted, data, strict=strict, progress=progress)
    engines = dict(zip(names, opened, strict=True))
    split = split or default_split(labelled)
    samples = labelled.split(split)
    evaluations = {
        name: evaluated
        for name, one in engines.items()
        if (evaluated := _evaluate(name, one, labelled, split, progress))
    }
    few = samples.take(np.arange(min(BATCH, len(samples))))
    progress.say("timing, in turns")
    fast = speeds(
        engines,
        {
            name: np.stack([one.preprocessing.load(few.source(k)) for k in range(len(few))])
            for name, one in engines.items()
        },
        ROUNDS,
        seconds,
    )
    comparison = Comparison(
        labelled.name,
        split,
        tuple(
            ComparedModel(
                name,
                one.name,
                one.size(),
                fast[name],
                _answers(evaluations.get(name)),
                evaluations.get(name),
            )
            for name, one in engines.items()
        ),
        {
            (a, b): pair(*(one.probs.argmax(1) == samples.labels for one in (first, second)))
            for (a, first), (b, second) in combinations(evaluations.items(), 2)
        },
        tuple(samples.name(k) for k in range(len(samples))),
        tuple(labelled.classes[k] for k in samples.labels),
    )
    if out is not None:
        folder = Path(out)
        write_json(folder / "compare.json", comparison.to_dict())
        write_text(folder / "disagreements.csv", comparison.answers_csv(comparison.different))
        written = ["compare.json", "disagreements.csv"]
        if _write_page(folder, comparison, engines, labelled, command):
            written.append(REPORT)
        progress.say(f"written: {out}/{', '.join(written)}")
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


def _answers(evaluation: Evaluation | None) -> tuple[Answer, ...]:
    if evaluation is None:
        return ()
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
    ours = next((name for name in evaluations if engines[name].account()), None)
    if ours is None:
        return False
    values = comparison.to_dict()
    beside = ComparisonData(
        values["models"],
        values["pairs"],
        {name: one.labels for name, one in evaluations.items()},
        {name: one.probs for name, one in evaluations.items()},
    )
    command = command or f"inceptive.compare({list(engines)!r}, {data.name!r})"
    write_report(folder, report_data(evaluations[ours], [engines[ours]], data, command, beside))
    return True
