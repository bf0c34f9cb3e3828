"""What the documents say is what the code does."""

import contextlib
import io
import re
import shutil
from pathlib import Path

from conftest import picture

import inceptive

ROOT = Path(__file__).parents[2]
REFERENCE = [
    f"reference/{name}.md" for name in ("commands", "files", "python", "recipe", "weights", "words")
]


def test_the_changelog_begins_with_the_version():
    entry = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert entry and entry[1] == inceptive.__version__


def test_the_public_names_can_be_had():
    for name in ("Classifier", "InceptiveError", "NETS", "Preprocessing", "build"):
        assert getattr(inceptive, name) and name in dir(inceptive)


def test_every_recipe_begins_with_a_line_that_says_what_it_is():
    for path in (ROOT / "inceptive/recipes").glob("*.toml"):
        assert path.read_text().startswith("# "), path


def test_links_in_the_documents_lead_somewhere():
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([\w:./-]+)\)", path.read_text()):
            written = target in REFERENCE  # by the build
            assert target.startswith("http") or written or (path.parent / target).exists(), (
                path,
                target,
            )


def test_the_example_in_the_readme_runs(trained, tmp_path):
    """With another model and picture at the paths that `make demo` leaves."""
    example = re.search(
        r"```python\n(import inceptive\n.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    shutil.copytree(trained[0], tmp_path / "runs/demo")
    picture("down", 77).save(tmp_path / "runs/demo-cell.png")
    printed = io.StringIO()
    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(printed):
        exec(example[1], {})
    lines = printed.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["down", "across"]
    assert lines[2].endswith("% of the validation images right")
