"""Answers as text, against what was written out by hand and what other readers take from it."""

import csv
import io
import json
import unicodedata

import pytest

from inceptive.cli import tables as output

NAN = float("nan")
HEADER = ("class", "images", "f1")
ROWS = [("cat", "5", "98.1%"), ("brown bear", "1234", "-")]


def test_columns_are_aligned():
    assert output.columns(HEADER, ROWS).splitlines() == [
        "class       images     f1",
        "cat              5  98.1%",
        "brown bear    1234      -",
    ]


def test_columns_to_the_left_are_as_many_as_asked_for():
    assert output.columns(HEADER, ROWS, left=3).splitlines() == [
        "class       images  f1",
        "cat         5       98.1%",
        "brown bear  1234    -",
    ]


def test_columns_without_rows_are_the_header():
    assert output.columns(HEADER, []) == "class  images  f1"


def test_no_line_of_columns_ends_in_a_space():
    lines = output.columns(HEADER, [("a", "1", ""), ("", "", "2")], left=3).splitlines()
    assert lines == [line.rstrip() for line in lines]


def screen_width(text):
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


@pytest.mark.parametrize("name", ["Käse", "naïve ÅÄÖ", "кошка", "猫", "ねこ"])
def test_columns_are_aligned_on_the_screen_in_other_scripts(name):
    lines = output.columns(("class", "n"), [(name, "1"), ("dog", "12")]).splitlines()
    assert len({screen_width(line) for line in lines}) == 1


def test_a_row_of_another_length_is_an_error():
    with pytest.raises((ValueError, IndexError)):
        output.columns(HEADER, [("a", "1", "2", "3")])


def test_markdown_is_a_table():
    assert output.markdown(HEADER, ROWS).splitlines() == [
        "| class | images | f1 |",
        "| --- | --: | --: |",
        "| cat | 5 | 98.1% |",
        "| brown bear | 1234 | - |",
    ]


def test_a_bar_in_a_cell_of_markdown_does_not_end_it():
    assert output.markdown(("a", "b"), [("x|y", "1")]).splitlines()[-1] == r"| x\|y | 1 |"


@pytest.mark.parametrize(
    "cell",
    ["plain", "a,b", 'say "no"', "two\nlines", "a\rb", "ends\n", "", " x ", "猫", "a;b\tc"],
    ids=repr,
)
@pytest.mark.parametrize("last", [False, True])
def test_csv_comes_back(cell, last):
    rows = [["1", cell], ["2", "z"]]
    rows = rows[::-1] if last else rows
    text = output.as_csv(("k", "name, or so"), rows)
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["k", "name, or so"], *rows]


def test_csv_has_unix_lines_and_no_empty_one_at_the_end():
    assert output.as_csv(("a", "b"), [(1, 0.5), (2, 'x"y')]) == 'a,b\n1,0.5\n2,"x""y"'


def test_json_says_null_for_nan_at_any_depth():
    text = output.as_json({"a": NAN, "b": [1.5, NAN, {"c": (NAN, 2)}], "d": "nan"})
    assert json.loads(text) == {"a": None, "b": [1.5, None, {"c": [None, 2]}], "d": "nan"}
    assert "NaN" not in text


def test_json_keeps_other_scripts_and_the_order_of_keys():
    text = output.as_json({"z": "猫", "a": 'Kä"se'})
    assert text == '{\n  "z": "猫",\n  "a": "Kä\\"se"\n}'


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("plain", "ascii", b"plain\n"),
        ("Käse 猫", "utf-8", "Käse 猫\n".encode()),
        ("Käse 猫", "latin-1", b"K\xe4se \\u732b\n"),
        ("file\udcff.jpg", "utf-8", b"file\\udcff.jpg\n"),
    ],
)
def test_an_answer_can_be_printed_on_every_terminal(monkeypatch, text, encoding, expected):
    raw = io.BytesIO()
    terminal = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    monkeypatch.setattr("sys.stdout", terminal)
    output.answer(text)
    terminal.flush()
    assert raw.getvalue() == expected
