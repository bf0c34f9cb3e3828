"""Writes docs/reliability.md: what was done to inceptive, and what it survived, as the tests found it.

    python -m tools.reliability REPORT.xml... [COST.json...]

The kinds of what people really have, KINDS, name the tests that try them.

A test tells with `record_property("reliability", json)`: an object with table ("faults", "inputs" or
"scaling"), what, and tried, survived, lost, note; of scaling ratio and note. `make reliability` runs the
tests that do and then this. COST.json is what tools/scoring_cost.py and tools/training_cost.py wrote.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from inceptive.cli.tables import markdown
from inceptive.errors import InceptiveError
from tools.bars import Bar, bars

OUT = Path(__file__).parents[1] / "docs/reliability.md"
PICTURE = OUT.with_suffix(".svg")
HEAD = """\
# What it survives

{result}

![{described}](reliability.svg)

Written by `make reliability`: the tests named there, slow ones too, then tools/reliability.py. A row is
here only if its test passed. Skipped on this machine: {skipped}.
"""
NONE = "Nothing was recorded."
Row = tuple[str, ...]
TABLES: dict[str, tuple[str, str, Row, Callable[[dict[str, Any]], Row]]] = {
    "faults": (
        "Faults",
        "Kills are SIGKILL in the middle of the work; disks are small or read-only mounts. Survived: "
        "what was good before could be used, and the work went on or said in one line why not.",
        ("fault", "tried", "survived", "lost", "note"),
        lambda one: (one["what"], str(one["tried"]), str(one["survived"]), one["lost"], one["note"]),
    ),
    "inputs": (
        "Inputs",
        "A failure is a crash, a hang, a traceback, a file written elsewhere, code that ran, or an "
        "error of more than a line.",
        ("input", "tried", "failures", "note"),
        lambda one: (one["what"], str(one["tried"]), str(one["tried"] - one["survived"]), one["note"]),
    ),
    "scaling": (
        "Scaling",
        "Ratios within one run.",
        ("what", "ratio", "note"),
        lambda one: (one["what"], str(one["ratio"]), one["note"]),
    ),
}  # fmt: skip
KINDS: tuple[tuple[str, str, str], ...] = (
    (
        "different pictures taken for copies",
        "small things on white, thin drawings, parts before one camera, pages; resized, "
        "recompressed, brightened copies are found",
        "data.test_split",
    ),
    (
        "quadratic time where frames are alike",
        "each is compared with one of its kind; beyond a sum of work that is said",
        "data.test_split::test_much_alike data.test_split::test_what_is_too_much",
    ),
    (
        "judged on what it was trained on",
        "other metadata, other names, new folders, --resume with other images",
        "evaluation.test_evaluate::test_what_was_learned "
        "evaluation.test_evaluate::test_a_folder_that_the_model "
        "data.test_split::test_other_metadata training.test_train::test_resuming_on_other_images",
    ),
    (
        "brightness by the brightest sample",
        "10 to 16 bits in 16, floats, packed and declared depths, a range of the set that travels"
        " into exports",
        "images.test_deep data.test_depth",
    ),
    (
        "TIFF of a rarer kind",
        "planes, tiles, 32 and 64 bits, floats, WhiteIsZero: read, or refused by name",
        "images.test_deep::test_rgb_of images.test_deep::test_a_kind "
        "images.test_deep::test_where_zero",
    ),
    (
        "EXIF turn lost",
        "each orientation, beside bad tags",
        "images.test_images::test_an_orientation",
    ),
    (
        "colour profile ignored",
        "Display P3, ProPhoto, grey and ink profiles in six formats; damaged ones are left out "
        "with a note",
        "images.test_colour",
    ),
    (
        "sound files called damaged",
        "PNG with megabytes of text, JPEG 2000, TGA, ICO; what is not read is named",
        "images.test_images::test_a_png_with_much images.test_images::test_rarer "
        "images.test_images::test_a_tga",
    ),
    (
        "blank result of a file that is not",
        "white on transparency, samples out of range",
        "images.test_colour::test_a_picture_that_comes_out_blank "
        "images.test_colour::test_sixteen_bits_that",
    ),
    (
        "folders as they come",
        "names of archives, wrappings, parts in classes, unlabelled parts, lists of labels, what "
        "a NAS or this program left; every image of random trees once",
        "data.test_folder",
    ),
    (
        "weights as they come",
        "wrapped, prefixed, averaged, headless, bfloat16, other classes",
        "weights.test_checkpoints",
    ),
    (
        "a page in place of a file, a proxy's 407",
        "loopback servers",
        "faults.test_systems::test_a_page faults.test_systems::test_a_proxy",
    ),
    (
        "no home, no name, no POSIX, C locale, a notebook's output",
        "processes without them",
        "faults.test_systems",
    ),
    (
        "paths with quotes, line breaks, marks of their own",
        "every argument and option of every command that takes a path",
        "cli.test_paths",
    ),
    (
        "memory of many large pictures at once",
        "threads wait for room; a server decodes by as many as there are cores",
        "images.test_limit serving.test_serve::test_images_are_decoded",
    ),
    (
        "a picture of no class",
        "scores by another library, in every engine and command",
        "engines.test_novelty",
    ),
)
"""What people really have: a kind of report, what is tested, and the tests: MODULE or MODULE::TEST, both
as they begin."""


def recorded(reports: Iterable[Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """What the tests recorded, and the names of those skipped; of a test in two reports the last counts.

    Raises InceptiveError if one failed.
    """
    cases = cases_of(reports)
    bad = [name(case) for case in cases if has(case, "failure", "error")]
    if bad:
        raise InceptiveError(f"docs/reliability.md is not written, failed: {', '.join(bad)}")
    found = [
        json.loads(one.get("value", "")) for case in cases
        for one in case.iter("property") if one.get("name") == "reliability"
    ]  # fmt: skip
    if unknown := {one["table"] for one in found} - set(TABLES):
        raise InceptiveError(f"docs/reliability.md has no table {', '.join(sorted(unknown))}")
    return found, [name(case) for case in cases if has(case, "skipped")]


def cases_of(reports: Iterable[Path]) -> list[ElementTree.Element]:
    """The tests in the reports; of one in two reports the last."""
    last = {
        (case.get("classname"), case.get("name")): case
        for path in reports for case in ElementTree.parse(path).getroot().iter("testcase")
    }  # fmt: skip
    return list(last.values())


def kinds(cases: Iterable[ElementTree.Element]) -> str:
    """The section of KINDS. Raises InceptiveError for a test that is named there and did not pass."""
    passed = [
        f"{str(case.get('classname')).removeprefix('tests.')}::{name(case)}"
        for case in cases
        if not has(case, "failure", "error", "skipped")
    ]
    rows = []
    for kind, tested, named in KINDS:
        tests = {test for test in passed if test.startswith(tuple(named.split()))}
        if missing := [n for n in named.split() if not any(test.startswith(n) for test in tests)]:
            raise InceptiveError(
                f"docs/reliability.md: no test passed that begins with {missing[0]}"
            )
        modules = " ".join(
            f"`tests/{n.partition('::')[0].replace('.', '/')}.py`" for n in named.split()
        )
        rows.append((kind, str(len(tests)), tested, " ".join(dict.fromkeys(modules.split()))))
    table = markdown(("kind", "tests", "what is tested", "where"), rows, 1)
    told = "What people who do this job have reported, here or elsewhere."
    return f"## Kinds of report\n\n{told}\n\n{_right(table, 1)}\n"


def costs(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The rows of the table of scaling that were measured beside the tests."""
    return [row for path in files for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def name(case: ElementTree.Element) -> str:
    return str(case.get("name"))


def has(case: ElementTree.Element, *kinds: str) -> bool:
    return any(case.find(kind) is not None for kind in kinds)


def result(found: list[dict[str, Any]]) -> tuple[str, str, str]:
    """In a sentence, in words for those who do not see the picture, and the picture as SVG."""
    sums = {
        words: [
            sum(one[key] for one in found if one["table"] == table) for key in ("tried", "survived")
        ]
        for table, words in (
            ("faults", "kills, full disks and cut links"),
            ("inputs", "damaged or hostile files"),
        )
    }
    told = "; ".join(
        f"{tried:,} {words}, {tried - good or 'none'} of which did harm"
        for words, (tried, good) in sums.items()
    )
    chart = [
        bar
        for words, (tried, good) in sums.items()
        for bar in (
            Bar(words, max(tried, 1), f"{tried:,}", faint=True),
            Bar("without harm", max(good, 1), f"{good:,}"),
        )
    ]
    sentence = f"Tested: {told}. The tables below list each test and define harm."
    return (
        sentence,
        told,
        bars("What was tried, and what did no harm", told, chart, logarithmic=True),
    )


def document(found: list[dict[str, Any]], skipped: list[str]) -> str:
    """The page; rows keep the order in which the tests ran."""
    sentence, described, _ = result(found)
    names = ", ".join(f"`{one}`" for one in skipped) or "nothing"
    parts = [HEAD.format(skipped=names, result=sentence, described=described)]
    for key, (title, told, header, row) in TABLES.items():
        rows = [row(one) for one in summed(one for one in found if one["table"] == key)]
        left = len(header) if key == "scaling" else 1
        table = markdown(header, rows, left) if rows else NONE
        parts.append(f"## {title}\n\n{told}\n\n{_right(table) if rows else table}\n")
    return "\n".join(parts)


def summed(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, of those that say the same but for their counts one, with the sums."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in rows:
        key = tuple(one.get(name) for name in ("what", "lost", "note", "ratio"))
        before = found.get(key, {"tried": 0, "survived": 0})
        counts = {name: before[name] + one.get(name, 0) for name in ("tried", "survived")}
        found[key] = {"note": ""} | one | counts
    return list(found.values())


def _right(table: str, numbers: int = 2) -> str:
    """Only the columns of numbers, behind the first, to the right."""
    head, rule, *rows = table.split("\n")
    cells = rule.strip("| ").split(" | ")
    rule = " | ".join("---" if k > numbers else cell for k, cell in enumerate(cells))
    return "\n".join([head, f"| {rule} |", *rows])


if __name__ == "__main__":
    try:
        given = [Path(one) for one in sys.argv[1:]]
        found, skipped = recorded(one for one in given if one.suffix == ".xml")
        measured = costs(one for one in given if one.suffix == ".json")
        section = kinds(cases_of(one for one in given if one.suffix == ".xml"))
        OUT.write_text(f"{document(found + measured, skipped)}\n{section}")
        PICTURE.write_text(result(found)[-1])
    except InceptiveError as error:
        sys.exit(f"reliability: {error}")
