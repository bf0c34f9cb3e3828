"""inceptive compare: several models on the same images, and what each costs."""

from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

NAME = "compare"


def run(
    models_and_data: Annotated[
        list[str],
        Argument(
            metavar="MODEL... DATA",
            help="two models or more: model folders, exported files, published names, or nets of a "
            "peer (torchvision:resnet18, timm:resnet50; @FILE for weights at hand); then "
            "a folder of class folders or of tar shards, a URL of shards, or a built-in set",
        ),
    ],
    split: Annotated[
        str, Option(help="train, val, test or all [default: test if there is one, else val]")
    ] = "",
    seconds: Annotated[
        float, Option(min=0, help="about how long each model's turn takes, of three; 0: one call")
    ] = 0.5,
    json: Annotated[bool, Option("--json", help="as JSON")] = False,
    out: Annotated[
        Path | None, Option(help="a folder for compare.json, disagreements.csv and report.html")
    ] = None,
    strict: Annotated[bool, Option("--strict", help="stop if any image cannot be read")] = False,
) -> None:
    """Set models side by side on the labelled images of DATA: right answers, and what they cost.

    Every model judges the same images, each with its own preprocessing. Of each two, the images that
    only one gets right decide whether the difference is more than luck (McNemar's exact test). Times
    are taken in turns.
    """
    if len(models_and_data) < 3:
        raise BadParameter("name at least two models, and the data to judge them on")
    from inceptive.cli.comparing import Request, compare

    *models, data = models_and_data
    compare(Request(models, data, split, seconds, json, out, strict))
