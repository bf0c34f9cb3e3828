"""inceptive evaluate: how good a model is on labelled images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, BadParameter, Option

from inceptive.cli import tables
from inceptive.cli.net_argument import EarlyExitOption, EngineOption, SplitOption, StrictOption
from inceptive.cli.progress import Display
from inceptive.errors import printable

if TYPE_CHECKING:
    from inceptive.evaluation.evaluate import Evaluation
    from inceptive.metrics import Interval

NAME = "evaluate"


def run(
    models_and_data: Annotated[
        list[str],
        Argument(
            metavar="MODEL... DATA",
            help="one model, or several, evaluated as an ensemble too: model folders, exported files, "
            "published names, or torchvision or timm nets (torchvision:resnet18@FILE); then "
            "a folder of class folders or tar shards, a shard URL, or a built-in dataset",
        ),
    ],
    split: SplitOption = "",
    crops: Annotated[
        int,
        Option(
            help="views of each image, averaged: 1, 10 or the paper's 144; 8: rotated and mirrored"
        ),
    ] = 1,
    json: Annotated[bool, Option("--json", help="print JSON")] = False,
    out: Annotated[
        Path | None,
        Option(help="a folder for evaluation.json, predictions.csv and report.html"),
    ] = None,
    engine: EngineOption = "auto",
    early_exit: EarlyExitOption = False,
    batch_size: Annotated[int, Option(min=1, help="maximum views per batch")] = 64,
    strict: StrictOption = False,
) -> None:
    """Evaluate MODEL on the labelled images in DATA.

    Reports accuracy with 95 % intervals, per-class precision and recall, confusion matrix, calibration.
    Several models are evaluated individually and as an ensemble that averages their probabilities.
    """
    if len(models_and_data) < 2:
        raise BadParameter("give a model folder and then the data to evaluate it on")
    from inceptive.evaluation.evaluate import evaluate

    *models, data = models_and_data
    with Display() as display:
        evaluation = evaluate(
            models,
            data,
            split,
            engine=engine,
            crops=crops,
            early_exit=early_exit,
            batch_size=batch_size,
            strict=strict,
            out=out,
            command=tables.command_line(),
            progress=display,
        )
    text = "\n\n".join(as_text(each) for each in (*evaluation.members, evaluation))
    tables.answer(tables.as_json(evaluation.to_json()) if json else text)


def as_text(evaluation: "Evaluation") -> str:
    """One model's result as readable text."""
    from inceptive.data.source import images_of
    from inceptive.metrics import SHOWN_CLASSES

    classes, shown = evaluation.classes, evaluation.shown
    low, high = evaluation.balanced_accuracy_interval
    lines = [
        f"{evaluation.model} on {evaluation.count} {images_of(evaluation.split)} of {evaluation.data}, "
        f"{evaluation.crops} crop{'s' if evaluation.crops > 1 else ''}",
        "",
        _accuracy("top-1", evaluation.top1, evaluation.top1_interval),
    ]
    largest = max(classes, key=lambda row: row.count)
    if evaluation.top1 <= (baseline := largest.count / evaluation.count) < 1:
        label = printable(largest.label)
        lines.append(f"baseline     {baseline:.2%}  for always answering {label}: no worse")
    if len(classes) > 5:
        lines.append(_accuracy("top-5", evaluation.top5, evaluation.top5_interval))
    lines += [
        f"balanced     {evaluation.balanced_accuracy:.2%}  ({low:.2%} to {high:.2%}), "
        "mean recall of the classes",
        f"calibration  {evaluation.calibration_error:.2%} off, "
        f"{evaluation.calibration_error_scaled:.2%} after temperature scaling",
        *_novel(evaluation),
        "",
        tables.columns(
            ("class", "images", "precision", "recall", "f1"),
            [
                (row.label, str(row.count), *map(_percent, (row.precision, row.recall, row.f1)))
                for row in (classes[k] for k in shown)
            ],
        ),
    ]
    if len(shown) <= SHOWN_CLASSES:
        numbers = [str(k + 1) for k in range(len(shown))]
        counts = zip(shown, evaluation.confusion[shown][:, shown].tolist(), strict=True)
        rows = [
            (f"{number} {classes[k].label}", *map(str, cells))
            for number, (k, cells) in enumerate(counts, 1)
        ]
        lines += ["", tables.columns(("true \\ answered", *numbers), rows)]
    return "\n".join(lines)


def _novel(evaluation: "Evaluation") -> list[str]:
    from inceptive.engines.novelty import FALSE_ALARMS

    if evaluation.novel is None:
        return []
    return [
        f"novel        {evaluation.novel.mean():.2%} called like none of the classes, which "
        f"{FALSE_ALARMS:.0%} of the validation images were"
    ]


def _accuracy(name: str, share: float, interval: "Interval") -> str:
    low, high = interval
    return f"{name:<11}  {share:.2%}  ({low:.2%} to {high:.2%}), 95 % interval"


def _percent(share: float) -> str:
    return "-" if share != share else f"{share:.1%}"
