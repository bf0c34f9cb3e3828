"""The suite itself: which tests `make test` runs, and that these reach every room and command."""

import ast
import re
import tomllib
from pathlib import Path

import inceptive
from inceptive.cli import COMMANDS

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MARKERS = [text.partition(":")[0] for text in PYPROJECT["tool"]["pytest"]["ini_options"]["markers"]]


def marks(nodes):
    """The names of the markers that decorators or a `pytestmark` give."""
    text = " ".join(ast.unparse(node) for node in nodes)
    return set(re.findall(r"\bmark\.(\w+)", text)).intersection(MARKERS)


def quick_functions():
    """The functions of all test modules, fixtures included, that no marker takes out of `make test`."""
    for path in sorted(TESTS.rglob("*.py")):
        tree = ast.parse(path.read_text())
        module = [
            node.value for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        ]  # fmt: skip
        if marks(module):
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not marks(node.decorator_list):
                yield path, node


def test_the_tiers_share_all_tests_out():
    """The quick tier leaves out what the rest names: the two lists are one, and it has every marker."""
    makefile = (ROOT / "Makefile").read_text()
    needs = re.search(r"^NEEDS := (.*)$", makefile, re.M)[1].split(" or ")
    assert [*needs, "slow"] == MARKERS
    assert '-m "not ($(NEEDS) or slow)"' in makefile
    assert '-m "($(NEEDS)) and not slow"' in makefile


def test_every_room_has_tests_in_the_quick_tier():
    rooms = {path.parent.name for path in Path(inceptive.__file__).parent.glob("*/__init__.py")}
    tested = {
        path.parent.name for path, function in quick_functions() if function.name[:5] == "test_"
    }
    assert rooms <= tested, rooms - tested


def test_every_command_is_run_in_the_quick_tier():
    """By its name as the first word of conftest's `command`, or by a server of conftest's `serving`."""
    called = set()
    for _, function in quick_functions():
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", "")
                if name == "serving":
                    called.add("serve")
                elif name == "command" and node.args and isinstance(node.args[0], ast.Constant):
                    called.add(node.args[0].value)
    names = {name.replace("_", "-") for name in COMMANDS}
    assert names <= called, names - called


def test_no_two_test_modules_have_one_name():
    """Folders of tests are no packages: pytest imports a module by its file's name alone."""
    names = [path.stem for path in TESTS.rglob("test_*.py")]
    assert len(names) == len(set(names))
