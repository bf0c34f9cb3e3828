"""How fast inceptive is on this machine, beside torchvision and timm where they are installed.

    python -m benchmarks [SECTION...] [--out REPORT.json]

Candidates alternate, A B C, A B C, ...; a ratio is that of one round to the first candidate's in the
same round, above 1 is faster, with its quartiles. Multiply-adds a second are set beside those of
large matrix products on this machine. All of it takes about an hour on two cores.
"""

import shlex
import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import SECTIONS, measure
from benchmarks.setting import Setting
from benchmarks.tables import as_text
from inceptive.arch import nets
from inceptive.cli.tables import as_json
from inceptive.errors import InceptiveError, printable
from inceptive.io.atomic import write_json
from inceptive.io.cores import cores


def say(text: str) -> None:
    """One line on standard error."""
    print(text, file=sys.stderr, flush=True)


def options() -> ArgumentParser:
    parser = ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)} [default: all]")
    add("--net", default="googlenet.bn", help="the net of train, inference and growth")
    add("--rounds", type=int, default=7, help="how often each candidate is measured")
    add("--seconds", type=float, default=1.0, help="about how long each candidate takes in a round")
    add("--threads", type=int, default=0, help="0: one for each core")
    add("--images", type=Path, help="a folder of photographs, instead of synthetic ones")
    add("--model", default="", help="a model folder for pipeline and startup; else random weights")
    add("--json", action="store_true", help="as JSON")
    add("--out", type=Path, help="a file for the JSON, beside the answer")
    add(
        "--quick", action="store_true", help="everything tiny: does it run? The figures say nothing"
    )
    return parser


def main(words: Sequence[str]) -> int:
    """Measure and print; 0, or 130 if it was stopped. Raises InceptiveError."""
    parser = options()
    args = parser.parse_args(words)
    if unknown := set(args.sections).difference(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; they are {', '.join(SECTIONS)}")
    if args.rounds < 1 or args.seconds < 0 or args.threads < 0:
        parser.error("--rounds has to be 1 or more, --seconds and --threads 0 or more")
    nets.NETS[args.net]
    if args.images is not None and not args.images.is_dir():
        raise InceptiveError(f"{printable(args.images)}: there is no such folder")

    def save(report: dict[str, Any]) -> None:
        if args.out:
            write_json(args.out, report)

    with tempfile.TemporaryDirectory(prefix="inceptive-bench-") as folder:
        setting = Setting(
            folder=Path(folder),
            net=args.net,
            rounds=args.rounds,
            seconds=args.seconds,
            threads=args.threads or cores(),
            device="cuda" if torch.cuda.is_available() else "cpu",
            images=args.images and args.images.absolute(),
            model=args.model,
            quick=args.quick,
        ).smaller()
        command = shlex.join(["python", "-m", "benchmarks", *words])
        sections = [name for name in SECTIONS if not args.sections or name in args.sections]
        report = measure(sections, setting, say, command, save)
    save(report)
    if args.out:
        say(f"written: {printable(args.out)}")
    print(as_json(report) if args.json else as_text(report))
    if report["stopped"]:
        say("stopped; what was measured until then is above")
    return 130 if report["stopped"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InceptiveError as error:
        sys.exit(f"benchmarks: {error}")
