"""The book's pages as text. `make docs` executes every cell; here is what it cannot see."""

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "tutorial").glob("[0-9]_*.md"))
CELL = re.compile(r"^```\{code-cell\}.*?\n(.*?)^```$", re.M | re.S)
OPTION = re.compile(r"^:.*$", re.M)
foreign = runpy.run_path(str(ROOT / "docs/conf.py"))["foreign"]

# What a reader may be told without a cell: links and papers, what is quoted, formulas, and code.
SAID = re.compile(
    r"\]\([^)]*\)|\b\d{4}\.\d{4,5}\b|“[^”]*”|\$\$.*?\$\$|\$[^$]*\$|\{[\w:]+\}`[^`]*`|`[^`]*`", re.S
)
# The entry to ILSVRC 2014 (arXiv:1409.4842, Table 3), and the size of its validation set.
QUOTED = ("6.67 %", "50,000")
# A result: thousands with commas, three digits with a point among them, millions. Settings that
# the papers print (a momentum, a weight of 0.3) have fewer.
RESULT = re.compile(
    r"\d,\d{3}|\d\.\d\d|\d\d\.\d|\d\s?(?:million|billion|G\b|M\b)|\d\.\d\s?(?:%|times)"
)


def cells(text):
    return [OPTION.sub("", cell) for cell in CELL.findall(text)]


def typed_results(text):
    """Results that stand in the prose of a page and not in a cell."""
    body = text.split("---", 2)[2] if text.startswith("---") else text
    prose = SAID.sub("", CELL.sub("", body))
    for quoted in QUOTED:
        prose = prose.replace(quoted, "")
    return RESULT.findall(prose)


def solutions(text):
    """How many exercises have a folded, executed solution right after them, of how many."""
    end = text.split("\n## Exercises\n", 1)[1]
    asked = re.split(r"^(?:\*\*\d+\.\*\*|\d+\.) ", end, flags=re.M)[1:]
    solved = [one for one in asked if re.search(r":tags: \[[^]]*hide-(cell|input)", one)]
    return len(solved), len(asked)


def test_there_is_a_book():
    assert [path.name[:2] for path in CHAPTERS][:3] == ["0_", "1_", "2_"]
    assert "/tutorial/*" in (ROOT / "docs/index.md").read_text()  # all of them, in their order


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
class TestChapter:
    def test_is_a_notebook_with_a_title_of_its_number(self, path):
        text = path.read_text()
        assert re.match(r"---\n.*?\bname: python3\n.*?---\n", text, re.S)
        titles = re.findall(r"^# .*", CELL.sub("", text), re.M)
        assert len(titles) == 1 and titles[0].startswith(f"# {path.name[0]} ")

    def test_every_cell_is_python(self, path):
        found = cells(path.read_text())
        assert found
        for cell in found:
            ast.parse(cell)

    def test_every_exercise_has_a_solution_that_runs(self, path):
        solved, asked = solutions(path.read_text())
        assert 2 <= asked == solved

    def test_no_result_is_typed_by_hand(self, path):
        assert typed_results(path.read_text()) == []

    def test_nothing_comes_from_the_network(self, path):
        for cell in cells(path.read_text()):
            assert not re.search(r"https?://|urllib|requests|urlopen|pretrained=", cell)


def test_a_typed_result_is_found():
    said = "Quoted: “6.8 million”, $0.3$, `1.5`, arXiv:1409.4842 and {glue:text}`a:.2f`."
    assert typed_results(said) == []
    for typed in ("has 6,998,552 weights", "2.4 times", "57.1 % of it", "61 million"):
        assert len(typed_results(f"{said} It {typed}.")) == 1, typed
    assert typed_results("```{code-cell}\nprint(6.8)\n```\n") == []


def test_an_exercise_without_a_solution_is_found():
    one = "**1.** Why?\n\n```{code-cell}\n:tags: [hide-cell]\n1\n```\n\n"
    assert solutions(f"\n## Exercises\n\n{one}") == (1, 1)
    assert solutions(f"\n## Exercises\n\n{one}**2.** And why not?\n") == (1, 2)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".html", '<script src="https://example.org/a.js"></script>'),
        (".html", '<link rel="stylesheet" href="//example.org/a.css">'),
        (".html", '<img alt="" src="http://example.org/a.png">'),
        (".html", '<p style="background: url(https://example.org/a.png)">'),
        (".html", "<style>@import 'https://example.org/a.css';</style>"),
        (".html", '<script>fetch("https://example.org/a.json")</script>'),
        (".svg", '<svg><image xlink:href="https://example.org/a.png"/></svg>'),
        (".css", "@font-face{src:url('https://example.org/a.woff2')}"),
        (".js", "const s = document.createElement('script'); s.src = 'https://example.org/a.js'"),
    ],
)
def test_what_a_page_would_load_from_another_host_is_found(suffix, text):
    assert len(list(foreign(text, suffix))) == 1


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".html", '<a href="https://example.org/">a link for the reader</a>'),
        (".html", '<script src="../_static/a.js"></script><img src="data:image/png;base64,aa//b">'),
        (".html", '<svg xmlns="http://www.w3.org/2000/svg"></svg>'),
        (".css", "/* https://example.org */ a{background:url(a.png)}"),
        (".js", "// see https://example.org/"),
    ],
)
def test_links_and_comments_load_nothing(suffix, text):
    assert list(foreign(text, suffix)) == []
