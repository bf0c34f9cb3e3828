"""inceptive train: a labelled set of images becomes a model folder."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

NAME = "train"


def run(
    data: Annotated[
        str,
        Argument(
            help="a folder of class folders or of tar shards, a URL of shards, or digits, "
            "fashion-mnist, cifar10[:ARCHIVE], solar[:grades|:cells]"
        ),
    ],
    recipe: Annotated[
        str, Option(help="a shipped recipe's name or a .toml file; else one that fits the data")
    ] = "",
    net: Annotated[str, Option(help="the net to train, instead of the recipe's")] = "",
    weights: Annotated[
        str,
        Option(
            metavar="FOLDER|NAME|published",
            help="start from a model folder's weights, or published ones (see `inceptive nets`)",
        ),
    ] = "",
    out: Annotated[Path | None, Option(help="the folder to write [default: runs/DATA]")] = None,
    resume: Annotated[bool, Option("--resume", help="go on with the training in --out")] = False,
    changes: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="KEY=VALUE",
            help="change one value of the recipe: --set optimizer.lr=0.1",
        ),
    ] = None,
    strict: Annotated[bool, Option("--strict", help="stop if any image cannot be read")] = False,
    tensorboard: Annotated[
        bool, Option("--tensorboard", help="also write events for TensorBoard")
    ] = False,
) -> None:
    """Train a classifier on DATA and write it as a model folder."""
    from inceptive.cli.training import Request, train_from

    train_from(Request(data, recipe, net, weights, out, resume, changes or [], strict, tensorboard))
