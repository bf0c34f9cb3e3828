"""What the documents say is what the code does."""

import re
from pathlib import Path

import inceptive

ROOT = Path(__file__).parents[1]


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
            assert target.startswith("http") or (path.parent / target).exists(), (path, target)
