"""inceptive predict: what is in these images."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

NAME = "predict"


def run(
    model: Annotated[str, Argument(metavar="MODEL", help="a model folder, or an exported file")],
    paths: Annotated[
        list[Path], Argument(metavar="PATH...", help="image files, and folders of them")
    ],
    top: Annotated[int, Option(min=1, help="answers for each image")] = 5,
    format: Annotated[Literal["table", "json", "csv", "parquet"], Option("--format")] = "table",
    json: Annotated[bool, Option("--json", help="the same as --format json")] = False,
    out: Annotated[Path | None, Option(help="a file to write instead of standard output")] = None,
    batch_size: Annotated[int, Option(min=1, help="images at once, at most")] = 32,
    engine: Annotated[
        str,
        Option(
            help="auto (the fastest export that passed its check), torch, openvino or onnx; "
            "openvino:int8 names a precision"
        ),
    ] = "auto",
    early_exit: Annotated[
        bool, Option("--early-exit", help="heads answer where they are sure (see early-exit)")
    ] = False,
) -> None:
    """Name what is in each image of PATH..., with calibrated probabilities.

    An image that cannot be read is reported in the answer; the others are done, and the exit status
    is 1.
    """
    from inceptive.cli.prediction import Request, predict

    predict(
        Request(model, paths, top, "json" if json else format, out, batch_size, engine, early_exit)
    )
