"""What `make demo` runs: train on real photographs, judge on held-out ones, classify one of them.

The photographs are `solar`: 2,624 electroluminescence pictures of solar cells (Buerhop-Lutz et al.
2018, Deitsch et al. 2019), licence CC BY-NC-SA 4.0, non-commercial, out of PyPI's elpv-dataset.
Each step is a command that a person could type; it is printed before it runs.
"""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from inceptive.data.open import open_data
from inceptive.data.source import SplitFractions
from inceptive.engines.classifier import Classifier

SMALLER = ["image_size=96", "epochs=11"]
"""The recipe `solar` takes 20 minutes; the demo shows half of the pixels for three."""


def inceptive(*words: object) -> None:
    """Print the command and run it; leave with its status if it fails."""
    line = shlex.join(["inceptive", *map(str, words)])
    print(f"\n$ {line}", flush=True)
    words = (sys.executable, "-m", "inceptive", *map(str, words))
    status = subprocess.run(words, check=False).returncode
    if status:
        sys.exit(status)


def free(name: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on: no earlier run is written over."""
    candidates = (Path("runs") / (name if k == 1 else f"{name}-{k}") for k in range(1, 1000))
    return next(path for path in candidates if not path.exists())


def main() -> None:
    print(__doc__.strip().split("\n\n")[1])
    out = free("demo")
    changes = [word for change in SMALLER for word in ("--set", change)]
    inceptive("train", "solar", "--recipe", "solar", *changes, "--out", out)
    inceptive("evaluate", out, "solar")
    shares = Classifier.load(out).info["data"]["shares"]
    data = open_data("solar", SplitFractions(**shares))
    held_out = data.split("test")
    photograph = out.with_name(f"{out.name}-cell.png")
    chosen = next(
        i for i in range(len(held_out)) if data.classes[held_out.labels[i]] == "defective"
    )
    shutil.copyfile(held_out.name(chosen), photograph)
    print(f"\nThe experts call this held-out cell defective: {Path(held_out.name(chosen)).name}")
    inceptive("predict", out, photograph)


if __name__ == "__main__":
    main()
