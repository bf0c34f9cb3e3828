"""The page of what inceptive survives is made of passed tests; an audit that asked nobody says so."""

import importlib.util
import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from inceptive.errors import InceptiveError

TOOLS = Path(__file__).parents[2] / "tools"


def tool(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(path, *rows, inside=""):
    kept = "".join(
        f'<property name="reliability" value={quoteattr(json.dumps(one))}/>' for one in rows
    )
    path.write_text(f'<testsuites><testsuite><testcase classname="{path.stem}" name="one">'
                    f"<properties>{kept}</properties>"
                    f"{inside}</testcase></testsuite></testsuites>")  # fmt: skip
    return path


FAULT = {
    "table": "faults",
    "what": "kill | cut",
    "tried": 5,
    "survived": 4,
    "lost": "a row",
    "note": "n",
}
INPUT = {
    "table": "inputs",
    "what": "bombs",
    "tried": 30,
    "survived": 30,
    "lost": "nothing",
    "note": "",
}
SCALE = {"table": "scaling", "what": "2 processes", "ratio": "1.8", "note": "gloo"}


def test_each_row_stands_in_its_table(tmp_path):
    made = tool("reliability")
    paths = [report(tmp_path / "a.xml", FAULT, INPUT), report(tmp_path / "b.xml", SCALE)]
    text = made.document(*made.recorded(paths))
    faults, inputs, scaling = text.split("\n## ")[1:]
    assert "| kill \\| cut | 5 | 4 | a row | n |" in faults
    assert "| bombs | 30 | 0 |  |" in inputs
    assert "| 2 processes | 1.8 | gloo |" in scaling
    assert "| --- | --: | --: | --- | --- |" in faults and "| --- | --: | --: | --- |" in inputs


@pytest.mark.parametrize("kind", ["failure", "error"])
def test_a_failed_test_leaves_the_page_unwritten(tmp_path, kind):
    path = report(tmp_path / "a.xml", FAULT, inside=f"<{kind}>broken</{kind}>")
    with pytest.raises(InceptiveError, match="failed: one"):
        tool("reliability").recorded([path])


def test_what_was_skipped_is_named_and_an_unknown_table_refused(tmp_path):
    made = tool("reliability")
    path = report(tmp_path / "a.xml", inside="<skipped/>")
    assert "Skipped on this machine: `one`." in made.document(*made.recorded([path]))
    with pytest.raises(InceptiveError, match="has no table hopes"):
        made.recorded([report(tmp_path / "b.xml", FAULT | {"table": "hopes"})])


def test_each_kind_of_report_counts_the_tests_that_it_names(tmp_path):
    made = tool("reliability")
    names = {name for _, _, named in made.KINDS for name in named.split()}
    found = "".join(
        f'<testcase classname="tests.{module}" name="{test or "test_x"}_more"/>'
        for module, _, test in (name.partition("::") for name in sorted(names))
    )
    path = tmp_path / "a.xml"
    path.write_text(f"<testsuite>{found}</testsuite>")
    assert "| a picture of no class | 1 | scores" in made.kinds(made.cases_of([path]))
    for name in names:  # they are there
        module, _, test = name.partition("::")
        text = (TOOLS.parent / "tests" / f"{module.replace('.', '/')}.py").read_text()
        assert f"def {test or 'test_'}" in text, name
    path.write_text(f"<testsuite>{found.replace('engines.test_novelty', 'other')}</testsuite>")
    with pytest.raises(InceptiveError, match=r"begins with engines\.test_novelty"):
        made.kinds(made.cases_of([path]))


ASKED = {"name": "pillow", "version": "13.0.0", "vulns": []}
KNOWN = {"name": "jinja2", "version": "3.0", "vulns": [{"id": "CVE-1", "fix_versions": ["3.1"]}]}
SKIPPED = {"name": "torch", "skip_reason": "not found"}


@pytest.mark.parametrize(("asked", "status", "said"), [
    ([ASKED], 0, "nothing is known against the 1 packages"),
    ([ASKED, KNOWN], 1, "jinja2 3.0: CVE-1, mended in 3.1"),
    ([SKIPPED], 1, "none of 1 packages could be asked about"),
    ([ASKED, SKIPPED], 1, "only 1 of 2 packages"),
    ([], 1, "none of 0 packages"),
])  # fmt: skip
def test_an_audit_that_could_not_ask_is_no_good_news(asked, status, said):
    text, found = tool("audit").judged(asked)
    assert said in text and found == status


def test_an_audit_without_its_program_is_one_line(tmp_path):
    text, status = tool("audit").audit(str(tmp_path / "none"))
    assert status == 1 and "nothing was found out" in text and "\n" not in text
