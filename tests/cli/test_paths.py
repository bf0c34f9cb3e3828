"""Paths that hold whatever a file system allows, in every argument and option that takes one."""

import functools
import importlib
import importlib.util
import pkgutil
import shutil
import typing
from pathlib import Path

import pytest
import torch
from conftest import TINY, command, picture
from test_own_net import OWN

import inceptive
import inceptive.cli
from inceptive.weights.catalogue import catalogue
from inceptive.weights.names import SOURCES, key_table

pytestmark = pytest.mark.faults
with_export = importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx")
with_explain = importlib.util.find_spec("captum")

NAME = '-me@home:mixed_6e,x=1\nit\'s "odd" \\ $(x) `y` *?[a] 50% #1 & ; é \u200b ~'
"""The folder that all paths lie in; as a relative path it looks like an option."""


@functools.cache
def published_state():
    """Weights for two classes as torchvision names them."""
    model = inceptive.build(inceptive.NETS["googlenet.torchvision"](2))
    table = key_table(SOURCES[catalogue()["googlenet.torchvision"].source], model.state_dict())
    return {table[key]: value for key, value in model.state_dict().items()}


def rounds(place):
    """Each command with a path in everything that takes one: (command, parameters tried, words)."""
    data, model, own, image = (place / n for n in ("data", "model", "own.py:mynet", "a 'b'.png"))
    yield "train", "data recipe out", [data, "--recipe", place / "tiny.toml", "--out", model]
    yield "train", "net weights", [
        data, "--recipe", place / "one.toml", "--net", own, "--out", place / "own", "--weights", "none",
    ]  # fmt: skip
    yield "train", "weights", [
        data, "--recipe", place / "one.toml", "--weights", model, "--out", place / "next",
    ]  # fmt: skip
    yield "train", "weights", [
        data, "--recipe", place / "large.toml", "--weights", place / "weights.pth",
        "--out", place / "third",
    ]  # fmt: skip
    yield "predict", "model paths out", [model, data, image, "--out", place / "answers.csv"]
    yield "predict", "labels", [
        f"googlenet.torchvision@{place / 'weights.pth'}", image, "--labels", place / "names.txt",
    ]  # fmt: skip
    yield "evaluate", "models_and_data out", [model, data, "--out", place / "judged"]
    yield "compare", "models_and_data out", [model, place / "next", data, "--out", place / "beside"]
    yield "early-exit", "model data", [model, data]
    yield "score", "model input out", [model, data, "--out", place / "scored"]
    yield "embed", "model paths out", [model, image, "--out", place / "features.npy"]
    yield "similar", "paths model out", [image, data, "--model", model, "--out", place / "like"]
    yield "shards", "data out", [data, "--out", place / "shards"]
    yield "evaluate", "models_and_data", [model, place / "shards"]
    yield "draw", "net out", [own, "--out", place / "own.svg"]
    yield "table", "net", [own]
    yield "trace", "net image", [model, image, "--layer", "conv1"]
    if with_explain:
        yield "explain", "model image data out", [
            model, image, "--method", "features", "--layer", "conv1", "--data", data,
            "--out", place / "seen",
        ]  # fmt: skip
    if with_export:
        words = [model, "--to", "onnx", "--calibrate", data, "--out", place / "exported"]
        yield "export", "model calibrate out", words
        yield "predict", "model", [place / "exported" / "model.f32.onnx", image]


def test_every_path_may_be_called_anything(stripes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = Path(NAME)
    place.mkdir()
    shutil.copytree(stripes, place / "data")
    (place / "tiny.toml").write_text(TINY)
    (place / "one.toml").write_text(TINY.replace("epochs = 8", "epochs = 1"))
    large = TINY.replace("epochs = 8", "epochs = 1").replace(
        "googlenet.bn", "googlenet.torchvision"
    )
    (place / "large.toml").write_text(large.replace("[data]", "[data]\nchannels = 3"))
    (place / "own.py").write_text(OWN)
    (place / "names.txt").write_text("lying\nstanding\n")
    picture("down", 900).save(place / "a 'b'.png")
    for command_name, _, words in rounds(place):
        if place / "weights.pth" in words or any("@" in str(word) for word in words):
            torch.save(published_state(), place / "weights.pth")
        # As a shell gives it: what looks like an option stands after --, or in ./
        shown = [f"./{word}" if str(word).startswith("-m") else word for word in words]
        done = command(command_name, *shown)
        assert done.returncode == 0, (command_name, words, done.stderr)
        assert "Traceback" not in done.stderr
    folders = ("model", "own", "next", "third", "judged", "beside", "scored", "shards", "like")
    files = ("own.svg", "answers.csv", "features.npy")
    assert all((place / each).exists() for each in (*folders, *files))
    assert {each.name for each in tmp_path.iterdir()} == {NAME}  # nothing went elsewhere


TEXTS = {
    "model",
    "models",
    "models_and_data",
    "data",
    "net",
    "input",
    "recipe",
    "weights",
    "paths",
    "calibrate",
    "out",
}
"""Parameters that are text and may name a file or folder; all of type Path do."""
NOT_WALKED = {
    "serve": "answers until it is stopped",
    "fid": "its net is large: tests/fidelity/test_fid.py walks it with a small one",
}


@pytest.mark.skipif(not (with_explain and with_export), reason="an extra is not installed")
def test_that_is_every_parameter_that_takes_a_path():
    tried = {(name, each) for name, words, _ in rounds(Path("x")) for each in words.split()}
    for module in pkgutil.iter_modules(inceptive.cli.__path__):
        command_module = importlib.import_module(f"inceptive.cli.{module.name}")
        if hasattr(command_module, "run") and command_module.NAME not in NOT_WALKED:
            hints = typing.get_type_hints(command_module.run)
            paths = {each for each, kind in hints.items() if "Path" in str(kind)}
            paths |= hints.keys() & TEXTS
            assert {(command_module.NAME, each) for each in paths} <= tried
