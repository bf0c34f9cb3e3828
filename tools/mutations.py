"""Photographs written anew in many ways, some damaged, each read here and by libvips.

    python tools/mutations.py FOLDER [COUNT [FIRST]]    of the photographs in FOLDER; 1000, from number 0

`make mutations PHOTOS=FOLDER` installs pyvips; libvips itself and what else writes files are Debian's
libvips42, libjpeg-turbo-progs and libtiff-tools. Each file goes through `predict`, and its picture,
where there is one, is set beside libvips's: upright, in sRGB, on white. What differs is listed, and
kept in build/mutations. A crash or a wait of a minute ends the run; the file that did it is then
build/mutations/last.
"""

import faulthandler
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from inceptive.arch import nets
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing, decode, decoding
from inceptive.nn import build

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build/mutations"
SIDE = 48
"""Pixels of the squares that are compared: what decoders do to edges of colour is not seen there."""
OFF, LIKE = 4.0, 0.99
"""Pictures are the same with a mean difference of so many levels at most, and so high a correlation."""
INKS = 45.0, 0.9
"""The same for CMYK without a profile: such inks have no one colour."""
Mutant = tuple[int, str, str, bytes, np.ndarray | None]
"""Number, kind of file, what else was done, bytes, and the picture as libvips has it."""


def mutants(folder: Path, count: int, first: int) -> Iterator[Mutant]:
    """What tools/mutants.py makes; where libvips crashes, it goes on behind."""
    number = first
    while number < first + count:
        command = [sys.executable, str(ROOT / "tools/mutants.py"), str(folder)]
        rest = [str(first + count - number), str(number)]
        with subprocess.Popen(
            command + rest, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as maker:
            try:
                while number < first + count:
                    yield pickle.load(maker.stdout)
                    number += 1
            except EOFError:
                print(f"{number}  libvips crashed on it", flush=True)
                number += 1


def square(array: np.ndarray) -> np.ndarray:
    """The whole picture as (SIDE, SIDE, 3) of float."""
    small = Image.fromarray(array).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float64)


def differs(ours: np.ndarray, other: np.ndarray, kind: str) -> str:
    """In what two pictures are not the same; "" if in nothing that matters."""
    if ours.shape != other.shape:
        return (
            f"{ours.shape[1]} x {ours.shape[0]} pixels, libvips {other.shape[1]} x {other.shape[0]}"
        )
    a, b = square(ours), square(other)
    off = float(abs(a - b).mean())
    flat = min(a.std(), b.std()) < 2
    like = 1.0 if flat else float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    most, least = INKS if "cmyk" in kind else (OFF, LIKE)
    if off <= most and like >= least:
        return ""
    return f"off by {off:.1f}, correlation {like:.3f}, means {a.mean():.0f} and {b.mean():.0f}"


def model() -> Classifier:
    """A net of random weights, as small as they come."""
    net = nets.NETS["googlenet.bn"](num_classes=2)
    return Classifier(build(net), Preprocessing(size=32), ("a", "b"))


def main(folder: Path, count: int, first: int) -> None:
    faulthandler.enable()
    OUT.mkdir(parents=True, exist_ok=True)
    decoding.quiet_decoders()
    decoding.MAX_PIXELS = 20_000_000  # damage makes sizes; none of the photographs has so many
    classifier, counts = model(), Counter[str]()
    for number, kind, words, content, other in mutants(folder, count, first):
        damaged = words.endswith("damaged")
        (OUT / "last").write_bytes(content)
        faulthandler.dump_traceback_later(60, exit=True)
        answer = classifier.predict(content)
        try:
            ours = np.asarray(decode(content))
        except InceptiveError as error:
            ours = None
            assert answer.error and "\n" not in str(error), (
                f"{number}: predict read it, decode did not"
            )
        else:
            assert not answer.error, f"{number}: {answer.error}"
        faulthandler.cancel_dump_traceback_later()
        if ours is not None and other is not None:
            difference = differs(ours, other, kind)
            verdict = "differs" if difference else "same"
        else:
            where = "" if ours is other else " here" if ours is None else " there"
            kind_named = "a kind that is not read" in answer.error
            verdict = f"refused{where}{', its kind named' if kind_named else ''}"
            difference = "" if damaged or kind_named else f"{verdict}: {answer.error}"
        counts[f"{'damaged' if damaged else 'sound'}, {verdict}"] += 1
        if difference:
            (OUT / f"{number:06}-{kind}").write_bytes(content)
            print(f"{number}  {kind}  {words or '-'}  {difference}", flush=True)
    for name, times in sorted(counts.items()):
        print(f"{times:6}  {name}")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[2:]]
    main(Path(sys.argv[1]), *(numbers + [1000, 0][len(numbers) :]))
