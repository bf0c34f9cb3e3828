"""What `inceptive score` costs beside `inceptive predict`, on this machine: once running, and to start.

    python -m tools.scoring_cost [--images 4000] [--rounds 5] [--size 500x375] [--model FOLDER]

Both commands answer for a small and a large folder of the same photographs, in turns: predict, score,
predict, score, and so on. What an image costs is the difference between the two folders, so that no
start-up is in it; the ratio is score's share of predict's, the median over the rounds.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles

from benchmarks.classify import Classified
from benchmarks.pictures import photographs
from benchmarks.process import Process, inceptive
from benchmarks.setting import Setting
from inceptive.io.atomic import write_json

DIFFERENT = 64
"""Photographs that are made; the folders hold links to them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000, help="in the large folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", default="500x375", help="of a photograph, in pixels")
    parser.add_argument("--model", default="", help="a model folder; else random weights")
    parser.add_argument("--engine", default="openvino:bf16")
    parser.add_argument("--part", type=int, default=1000)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inceptive-cost-") as folder:
        found = measured(Path(folder), args)
    if args.out:
        write_json(args.out, found)


def measured(folder: Path, args: argparse.Namespace) -> dict[str, object]:
    setting = Setting(folder, model=args.model)
    classified = Classified(setting)
    if not args.model:  # exports it
        classified.ours(folder, folder / "none.csv", args.engine)
    width, height = map(int, args.size.split("x"))
    files, origin = photographs(setting, (width, height), DIFFERENT)
    counts = (args.images // 4, args.images)
    seconds: dict[str, list[list[float]]] = {"predict": [], "score": []}
    for number in range(args.rounds):
        for command, taken in seconds.items():
            taken.append(
                [
                    once(command, classified.name, linked(folder, files, count), folder, args)
                    for count in counts
                ]
            )
            print(number, command, [round(one, 2) for one in taken[-1]], file=sys.stderr)
    each = {
        command: [(large - small) / (counts[1] - counts[0]) for small, large in taken]
        for command, taken in seconds.items()
    }
    ratios = [ours / theirs for ours, theirs in zip(each["score"], each["predict"], strict=True)]
    begun = {
        command: median(
            small - one * counts[0] for (small, _), one in zip(taken, each[command], strict=True)
        )
        for command, taken in seconds.items()
    }
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    print(f"{classified.told}, {args.engine}; {counts[1]} photographs, {origin}")
    for command, rates in each.items():
        print(
            f"{command:8} {1 / median(rates):7.1f} images/s once running, "
            f"{begun[command]:5.1f} s to start"
        )
    print(f"ratio    {median(ratios):.3f} ({low:.3f} to {high:.3f}): seconds of score to predict's")
    told = (
        f"{low:.2f} to {high:.2f}, {args.rounds} rounds, in turns; {classified.told}, {args.engine}"
    )
    row = {
        "table": "scaling",
        "what": "scoring, seconds an image once running: `score` to `predict`",
        "ratio": f"{median(ratios):.2f}",
        "note": told,
    }
    return {"seconds": seconds, "seconds_to_start": begun, "images": counts, "rows": [row]}


def linked(folder: Path, files: list[Path], count: int) -> Path:
    """A folder of `count` names for `files`."""
    made = folder / f"{count}-images"
    if not made.exists():
        made.mkdir()
        for number in range(count):
            os.link(files[number % len(files)], made / f"{number:07}.jpg")
    return made


def once(command: str, model: str, images: Path, folder: Path, args: argparse.Namespace) -> float:
    """Seconds of the whole command."""
    out = folder / "answers"
    words = [command, model, images, "--engine", args.engine, "--out", out]
    if command == "predict":
        words += ["--format", "parquet"]
    else:
        words += ["--part", args.part]
        for name in ("workers", "threads"):
            words += [f"--{name}", getattr(args, name)] if getattr(args, name) else []
    process = Process(inceptive(*words), 0)
    process.environment.pop("OMP_NUM_THREADS")
    [seconds] = process()
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    return seconds


if __name__ == "__main__":
    main()
