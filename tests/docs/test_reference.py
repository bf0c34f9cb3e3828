"""The reference is written from the code: all of the code's names are in it."""

import importlib.util
import json
import re
import runpy
from pathlib import Path

import pytest
import typer.main
from test_docs import REFERENCE

import inceptive
from inceptive.cli import app
from inceptive.training.recipe import Recipe
from inceptive.weights.catalogue import catalogue

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def pages():
    return runpy.run_path(str(DOCS / "reference.py"))["pages"]()


def test_the_pages_are_those_that_documents_link_to(pages):
    assert [f"reference/{name}.md" for name in sorted(pages)] == REFERENCE


def test_every_command_argument_and_option_is_there_with_its_help(pages):
    for name, command in typer.main.get_command(app).commands.items():
        section = pages["commands"].split(f"\n## {name}\n")[1].split("\n## ")[0]
        for each in command.params:
            if each.name != "help":
                shown = each.opts[0] if each.param_type_name == "option" else each.metavar
                rows = [line for line in section.splitlines() if line.startswith(f"| `{shown}")]
                assert rows and rows[0].split(" | ")[-1].strip(" |"), (name, each.name)


def keys(model, prefix=""):
    for name, info in model.model_fields.items():
        if hasattr(info.annotation, "model_fields"):
            yield from keys(info.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_key_of_a_recipe_is_there_and_described(pages):
    for key in keys(Recipe):
        [row] = [line for line in pages["recipe"].splitlines() if line.startswith(f"| `{key}` |")]
        assert re.search(r"[a-z]{3}", row.split(" | ")[-1]), row


def test_every_public_name_is_there(pages):
    for name in inceptive.__all__:
        assert f"\n## {name}\n" in pages["python"] + pages["words"], name
    assert "### Classifier.predict" in pages["python"] and "lambda" not in "".join(pages.values())


def test_every_published_checkpoint_is_there(pages):
    assert all(f"| `{name}` |" in pages["weights"] for name in catalogue())


def test_what_a_model_folder_tells_is_described(pages, trained):
    config = json.loads((trained[0] / "config.json").read_text())
    assert {key for key in config if f"`{key}`" not in pages["files"]} == set()
    for path in trained[0].iterdir():
        assert f"`{path.name}`" in pages["files"], path.name


@pytest.mark.skipif(
    not importlib.util.find_spec("myst_nb"), reason="the extra `docs` is not installed"
)
def test_a_chapter_is_a_notebook_that_can_be_run():
    import nbformat

    site = runpy.run_path(str(DOCS / "conf.py"))
    for path in site["CHAPTERS"]:
        read = nbformat.reads(site["notebook"](path.read_text()), as_version=4)
        nbformat.validate(read)
        code = [cell.source for cell in read.cells if cell.cell_type == "code"]
        assert len(code) == path.read_text().count("```{code-cell}")
        assert not any(source.startswith(":") for source in code)
        assert "{glue" not in str(read)
        for source in code:
            compile(source, path.name, "exec")
