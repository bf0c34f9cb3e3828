"""inceptive export: a model as a file that runs without torch, checked beside torch."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

NAME = "export"


def run(
    model: Annotated[str, Argument(metavar="MODEL", help="a model folder")],
    to: Annotated[Literal["onnx", "openvino"], Option(help="the engine that will run it")],
    precision: Annotated[
        Literal["f32", "bf16", "int8"],
        Option(help="f32: as trained; bf16: OpenVINO on CPUs that have it; int8: calibrated"),
    ] = "f32",
    calibrate: Annotated[
        str,
        Option(metavar="DATA", help="images to calibrate and check on [default: those it learned]"),
    ] = "",
    max_drop: Annotated[
        float, Option(min=0, help="points of top-1 on validation images that may be lost")
    ] = 0.5,
    out: Annotated[
        Path | None, Option(help="a folder for the file [default: the model folder]")
    ] = None,
    json: Annotated[bool, Option("--json", help="the check as JSON")] = False,
) -> None:
    """Write MODEL as a file for --to, run it beside torch on real images, and keep the difference.

    The file holds classes, preprocessing, temperature and licence: it can be moved away alone. One
    whose check fails stays where it is, is not used by itself, and the exit status is 1.
    """
    from inceptive.cli.exporting import Request, export

    export(Request(model, to, precision, calibrate, max_drop, out, json))
