"""inceptive evaluate: how good a model is on labelled images."""

from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

NAME = "evaluate"


def run(
    models_and_data: Annotated[
        list[str],
        Argument(
            metavar="MODEL... DATA",
            help="one model folder, or several to be judged together too; then "
            "a folder of class folders or of tar shards, a URL of shards, or a built-in set",
        ),
    ],
    split: Annotated[
        str, Option(help="train, val, test or all [default: test if there is one, else val]")
    ] = "",
    crops: Annotated[
        int,
        Option(
            help="views of each image, averaged: 1, 10 or the paper's 144; 8: turned and mirrored"
        ),
    ] = 1,
    json: Annotated[bool, Option("--json", help="as JSON")] = False,
    out: Annotated[
        Path | None,
        Option(help="a folder for evaluation.json, predictions.csv and report.html"),
    ] = None,
    engine: Annotated[
        str,
        Option(
            help="torch, openvino or onnx; openvino:int8 names a precision "
            "[default: torch, and of an exported file its own]"
        ),
    ] = "",
    early_exit: Annotated[
        bool, Option("--early-exit", help="heads answer where they are sure (see early-exit)")
    ] = False,
    strict: Annotated[bool, Option("--strict", help="stop if any image cannot be read")] = False,
) -> None:
    """Measure MODEL on the labelled images of DATA.

    Accuracy with 95 % intervals, per-class precision and recall, the confusion matrix, calibration.
    Several models are judged each and as an ensemble, their probabilities averaged.
    """
    if len(models_and_data) < 2:
        raise BadParameter("give a model folder and then the data to judge it on")
    from inceptive.cli.evaluation import Request, evaluate

    *models, data = models_and_data
    evaluate(Request(models, data, split, crops, json, out, strict, engine, early_exit))
