"""Writes docs/peers.md: how far our nets are from the peers' own classes, as the tests found it.

    python tools/peers.py REPORT.xml

REPORT.xml is what `pytest tests/weights/test_peers.py --junitxml` leaves; `make peers` does both.
"""

import json
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from inceptive.arch.nets import NETS
from inceptive.cli.tables import markdown
from inceptive.errors import InceptiveError
from inceptive.weights.catalogue import catalogue

OUT = Path(__file__).parents[1] / "docs/peers.md"
HEAD = """\
# Beside the peers' own code

Written by `make peers` (tests/weights/test_peers.py, then tools/peers.py), with torch {torch}.

Each peer's class draws random weights *and random running statistics* and saves them as its publisher
does; `Classifier.load` reads that file; then both see the same two noise images. `outputs` counts what
is compared: the logits and each stage. A difference is the largest one of any output, as a share of
that output's largest value; the tests allow 1e-4 in float32 and 1e-9 in float64. 0 means the same bits.
`train` compares an auxiliary head too, with statistics of the batch and without dropout.
"""
ALIKE = "Other files of the same classes, by the same key tables: {names}."
WITHOUT = """\
Not compared this way: {names}, since no code of their publishers runs here. The names and shapes of
TF-slim's variables are held against slim's published source (tests/weights/test_slim_names.py), the
readers against files that TensorFlow wrote (tests/weights/test_weights_readers.py); what a Caffe file
holds, written by hand in its format, comes back bit for bit. `inception_v3.nsfwjs` is compared with
TensorFlow.js on real pictures: tests/weights/test_nsfwjs.py, docs/log.md.
"""


def comparisons(report: Path) -> list[dict[str, Any]]:
    """What the tests wrote of each comparison. Raises InceptiveError if one of them failed."""
    root = ElementTree.parse(report).getroot()
    bad = [case.get("name") for case in root.iter("testcase")
           if any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))]  # fmt: skip
    if bad:
        raise InceptiveError(f"{report}: failed or skipped: {', '.join(map(str, bad))}")
    return [json.loads(one.get("value", ""))
            for one in root.iter("property") if one.get("name") == "compared"]  # fmt: skip


def document(found: list[dict[str, Any]]) -> str:
    rows: dict[tuple[Any, ...], dict[str, float]] = defaultdict(dict)
    order = list(NETS)
    published = catalogue()
    for one in sorted(found, key=lambda one: (order.index(published[one["weights"]].net),
                                              one["weights"], one["mode"], one["size"])):  # fmt: skip
        key = (one["weights"], one["peer"], one["made"], one["mode"], one["size"], one["outputs"])
        rows[key][one["precision"]] = one["difference"]
    header = ("weights", "peer", "class", "mode", "image", "outputs", "float32", "float64")
    table = [
        (f"`{name}`", peer, f"`{made}`", mode, f"{size} px", str(outputs),
         *(f"{each[kind]:.1e}".replace("0.0e+00", "0") if kind in each else ""
           for kind in ("float32", "float64")))
        for (name, peer, made, mode, size, outputs), each in rows.items()
    ]  # fmt: skip
    compared = [published[one["weights"]] for one in found]
    known = {(one.net, one.source) for one in compared}
    rest = [one for name, one in published.items()
            if one not in compared and name != "inception_v3.nsfwjs"]  # fmt: skip
    alike, without = (
        ", ".join(f"`{one.name}`" for one in rest if ((one.net, one.source) in known) is same)
        for same in (True, False)
    )
    head = HEAD.format(torch=version("torch").split("+")[0])
    told = [ALIKE.format(names=alike), "", WITHOUT.format(names=without)]
    return "\n".join([head, markdown(header, table, left=4), "", *told])


if __name__ == "__main__":
    OUT.write_text(document(comparisons(Path(sys.argv[1]))))
