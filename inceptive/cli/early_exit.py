"""inceptive early-exit: when a head is sure enough to answer for the whole net."""

from typing import Annotated

from typer import Argument, Option

NAME = "early-exit"


def run(
    model: Annotated[str, Argument(metavar="MODEL", help="a model folder, trained with heads")],
    data: Annotated[
        str,
        Argument(metavar="[DATA]", help="validation images to choose on [default: those it knew]"),
    ] = "",
    max_drop: Annotated[
        float, Option(min=0, max=100, help="points of top-1 on validation images that may be lost")
    ] = 0.2,
    json: Annotated[bool, Option("--json", help="as JSON")] = False,
) -> None:
    """Choose when each auxiliary head of MODEL answers, and keep that in the model folder.

    A head answers where it is sure enough; the thresholds are those with the fewest multiply-adds
    that lose at most --max-drop points on validation images. `predict` and `evaluate` use them with
    --early-exit, exports made after this have the heads inside.
    """
    from inceptive.cli.exiting import Request, choose_exits

    choose_exits(Request(model, data, max_drop, json))
