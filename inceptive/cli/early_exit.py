"""inceptive early-exit: when a head is confident enough to answer for the whole net."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from inceptive.cli import tables
from inceptive.cli.progress import Display

if TYPE_CHECKING:
    from inceptive.engines.early_exit import EarlyExit

NAME = "early-exit"


def run(
    model: Annotated[str, Argument(metavar="MODEL", help="a model folder trained with heads")],
    data: Annotated[
        str,
        Argument(
            metavar="[DATA]",
            help="validation images to choose on [default: those used in training]",
        ),
    ] = "",
    max_drop: Annotated[
        float, Option(min=0, max=100, help="largest drop in validation top-1, in percentage points")
    ] = 0.2,
    json: Annotated[bool, Option("--json", help="print JSON")] = False,
) -> None:
    """Choose when each auxiliary head of MODEL answers, and save that in the model folder.

    A head answers when it is confident enough; the thresholds are those with the fewest multiply-adds
    that lose at most --max-drop points on validation images. `predict` and `evaluate` use them with
    --early-exit; later exports include the heads.
    """
    from inceptive.evaluation.early_exit import choose_early_exit

    with Display() as display:
        chosen = choose_early_exit(model, data or None, max_drop, display)
    tables.answer(tables.as_json(chosen.to_dict()) if json else as_text(chosen))


def as_text(chosen: "EarlyExit") -> str:
    """The choice as readable text."""
    val = chosen.validation
    leave = val["leave"]
    rows = [
        (exit.head, f"{exit.threshold:.3f}", f"{leave.get(exit.head, 0):.1%}")
        for exit in chosen.exits
    ]
    rows.append(("the whole net", "", f"{1 - sum(leave.get(e.head, 0) for e in chosen.exits):.1%}"))
    return "\n".join(
        [
            tables.columns(("answers", "where at least", "share of images"), rows),
            "",
            f"top-1         {val['top1_full']:.2%} -> {val['top1']:.2%} of {val['count']} "
            f"validation images, on which this was chosen (bound {chosen.max_drop:g} points)",
            f"multiply-adds {val['macs_full'] / 1e6:.1f} M -> {val['macs'] / 1e6:.1f} M an image, "
            f"{val['macs_full'] / val['macs']:.2f} times fewer",
        ]
    )
