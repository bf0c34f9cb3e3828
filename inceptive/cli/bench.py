"""inceptive bench: how fast it is on this machine, beside the peers that are installed."""

from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

NAME = "bench"
SECTIONS = ("train", "inference", "epochs", "pipeline", "decode", "startup", "memory", "growth")


def run(
    sections: Annotated[
        list[str] | None,
        Argument(metavar="[SECTION...]", help=f"{', '.join(SECTIONS)} [default: all]"),
    ] = None,
    net: Annotated[str, Option(help="the net of train, inference and growth")] = "googlenet.bn",
    rounds: Annotated[int, Option(min=1, help="times that each candidate has its turn")] = 7,
    seconds: Annotated[float, Option(min=0, help="about how long a turn takes")] = 1.0,
    threads: Annotated[int, Option(min=0, help="0: one for each core")] = 0,
    images: Annotated[
        Path | None, Option(help="a folder of photographs, instead of made ones")
    ] = None,
    model: Annotated[
        str, Option(help="a model folder for pipeline and startup, instead of random weights")
    ] = "",
    json: Annotated[bool, Option("--json", help="as JSON")] = False,
    out: Annotated[Path | None, Option(help="a file for the JSON, beside the answer")] = None,
    quick: Annotated[
        bool, Option("--quick", help="everything tiny: does it run? The figures say nothing")
    ] = False,
) -> None:
    """Measure training, inference and whole commands beside torchvision and timm, where installed.

    Candidates take turns, A B C, A B C, ...; a ratio is that of neighbouring turns to the first
    candidate's, above 1 is faster, with its quartiles. Multiply-adds a second are set beside those of
    large matrix products on this machine. All of it takes about half an hour on two cores.
    """
    if unknown := set(sections or []).difference(SECTIONS):
        raise BadParameter(
            f"no section {', '.join(sorted(unknown))}; they are {', '.join(SECTIONS)}"
        )
    from inceptive.cli.benching import Request, measure

    measure(Request(sections or [], net, rounds, seconds, threads, images, model, json, out, quick))
