"""Each public name has an example in its docstring, and the example runs and prints what it says."""

import doctest
import inspect
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import inceptive

pytestmark = pytest.mark.training
METHODS = ("load", "save", "predict", "embed", "evaluate", "export", "explain")
EXAMPLES = {name: getattr(inceptive, name) for name in inceptive.__all__ if name != "NETS"} | {
    f"Classifier.{name}": getattr(inceptive.Classifier, name) for name in METHODS
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "model"
    inceptive.train("digits", folder, epochs=1, progress=None)
    return folder


@pytest.fixture
def desk(digits, tmp_path, monkeypatch):
    """A folder as a reader would have it: two models of digits, photographs of two classes."""
    for name in ("mine", "other"):
        shutil.copytree(digits, tmp_path / "runs" / name)
    rng = np.random.default_rng(0)
    for k in range(40):
        folder = tmp_path / "photos" / ("roses", "tulips")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(folder / f"{k}.png")
    Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_public_name_runs(name, desk):
    text = inspect.getdoc(EXAMPLES[name]) or ""
    variables = {"inceptive": inceptive, "np": np, "torch": torch}
    example = doctest.DocTestParser().get_doctest(text, variables, name, None, None)
    assert example.examples, f"{name} has no example"
    said = []
    failed, tried = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert not failed, "".join(said)
    assert tried or name == "serve"  # which answers until it is stopped
