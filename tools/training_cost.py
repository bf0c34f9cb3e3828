"""What a training costs in two processes of one thread beside one process of two threads, in turns.

    python tools/training_cost.py [--rounds 3] [--out FILE.json]

scikit-learn's digits at 96 pixels, batches of 64, GoogLeNet with batch normalisation; images a second of
the second epoch, as history.csv tells them, so that no start-up is in it.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from inceptive.io.atomic import write_json

WORDS = ("-m", "inceptive", "train", "digits", "--set", "image_size=96", "--set", "batch_size=64",
         "--set", "epochs=2")  # fmt: skip
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
WAYS: dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]] = {
    "one process": (2, (), ()),
    "two processes": (1, TORCHRUN, ()),
    "two processes, statistics of their own": (
        1, TORCHRUN, ("--set", "speed.sync_batch_norm=false")
    ),
}  # fmt: skip
"""Threads of each process, what starts them, changes to the recipe."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(args.rounds):
        for way, found in speeds.items():
            found.append(speed(way))
            print(number, way, found[-1], file=sys.stderr)
    first, *others = speeds
    rows = []
    for way in others:
        ratios = [b / a for a, b in zip(speeds[first], speeds[way], strict=True)]
        told = f"{min(ratios):.2f} to {max(ratios):.2f}, {args.rounds} rounds, in turns"
        rows.append(
            {
                "table": "scaling",
                "what": f"training, images/s on the same two cores: {way} to one process",
                "ratio": f"{median(ratios):.2f}",
                "note": told,
            }
        )
        print(f"{way}: {median(ratios):.2f} ({told})")
    if args.out:
        write_json(args.out, {"speeds": speeds, "rows": rows})


def speed(way: str) -> float:
    """Images a second of a training's second epoch."""
    threads, start, changes = WAYS[way]
    with tempfile.TemporaryDirectory(prefix="inceptive-cost-") as folder:
        out = Path(folder) / "model"
        words = [*start, *WORDS, *changes, "--out", str(out)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True)
        with (out / "history.csv").open(newline="") as file:
            return float(list(csv.DictReader(file))[-1]["images_per_second"])


if __name__ == "__main__":
    main()
