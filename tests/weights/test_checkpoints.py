"""Checkpoints as other people's trainings leave them, wherever weights are named."""

import json
from collections import OrderedDict
from dataclasses import replace
from hashlib import sha256
from unittest import mock

import pytest
import safetensors.torch
import torch
from conftest import command, picture

import inceptive
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.weights.catalogue import catalogue
from inceptive.weights.names import SOURCES, key_table

pytestmark = pytest.mark.nets
NAME, CLASSES = "googlenet.torchvision", 3


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return inceptive.build(inceptive.NETS[NAME](CLASSES)).eval()


@pytest.fixture(scope="module")
def state(model):
    """The model as torchvision names its tensors, heads and all."""
    table = key_table(SOURCES[catalogue()[NAME].source], model.state_dict())
    return OrderedDict((table[key], value) for key, value in model.state_dict().items())


def headless(state):
    return {key: value for key, value in state.items() if not key.startswith("aux")}


def prefixed(state, *prefixes):
    return {"".join(prefixes) + key: value for key, value in state.items()}


WRAPPED = {
    "plain": lambda state: state,
    "module": lambda state: prefixed(state, "module."),
    "compiled": lambda state: prefixed(state, "_orig_mod.module."),
    "lightning": lambda state: {
        "epoch": 3,
        "optimizer_states": [{"state": {0: torch.zeros(2)}}],
        "state_dict": prefixed(state, "model.") | {"criterion.weight": torch.ones(3)},
    },
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}, "epoch": 3},
    "model_state_dict": lambda state: {"epoch": 3, "model_state_dict": state},
    # As PyTorch's own example for ImageNet writes it.
    "a tensor beside": lambda state: {"state_dict": state, "best_acc1": torch.tensor(71.2)},
    "no averages": lambda state: {"ema": {}, "state_dict": state},
    "deep": lambda state: {"checkpoint": 1, "model": {"state_dict": prefixed(state, "module.")}},
    "ema": lambda state: {
        "state_dict": {key: value + 1 for key, value in state.items()},
        "state_dict_ema": prefixed(state, "module."),
    },
    "ema only": lambda state: {"model_ema": state},
    "averaged": lambda state: {"n_averaged": torch.tensor(7)} | prefixed(state, "module."),
    "headless": headless,
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_checkpoint_gives_its_net_whatever_it_is_wrapped_in(model, state, tmp_path, kind):
    file = tmp_path / "best.pth"
    torch.save(WRAPPED[kind](state), file)
    clf = Classifier.load(f"{NAME}@{file}")
    assert clf.labels == ("class 0", "class 1", "class 2")
    assert bool(clf.model.net.heads()) is (kind != "headless")
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(clf.model(images), model(images))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_numbers_of_other_widths_are_the_same_in_float32(state, tmp_path, suffix, dtype):
    file = tmp_path / f"half.{suffix}"
    narrow = {
        key: value.to(dtype).contiguous() if value.is_floating_point() else value
        for key, value in state.items()
    }
    (torch.save if suffix == "pth" else safetensors.torch.save_file)(narrow, file)
    weight = Classifier.load(f"{NAME}@{file}").model.state_dict()["conv1.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, narrow["conv1.conv.weight"].float())


def test_what_is_not_the_published_file_has_neither_its_accuracy_nor_its_licence(state, tmp_path):
    file = tmp_path / "mine.pth"
    torch.save(headless(state), file)
    assert catalogue()[NAME].top1  # the published weights have one
    assert Classifier.load(NAME, file).info == Classifier.load(file).info == {}
    same = replace(
        catalogue()[NAME], digest=sha256(file.read_bytes()).hexdigest(), classes=CLASSES, labels=""
    )
    with mock.patch.dict(catalogue(), {NAME: same}):
        assert Classifier.load(NAME, file).info["published"]["top1"] == catalogue()[NAME].top1 / 100


def test_float8_is_refused_by_name(state, tmp_path):
    torch.save(
        {key: value.to(torch.float8_e4m3fn) for key, value in state.items()}, tmp_path / "a.pth"
    )
    with pytest.raises(InceptiveError, match="float8_e4m3fn, which is not read"):
        Classifier.load(f"{NAME}@{tmp_path / 'a.pth'}")


def test_a_file_alone_is_known_by_its_tensors(state, tmp_path):
    file = tmp_path / "mine.pth"
    torch.save({"model": prefixed(headless(state), "module.")}, file)
    picture("down", 1).save(tmp_path / "a.png")
    done = command("predict", file, tmp_path / "a.png", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["top"][0]["label"].startswith("class ")


def test_a_file_that_fits_several_is_asked_for_by_name(tmp_path):
    torch.manual_seed(0)
    net = inceptive.build(inceptive.NETS["inception_v3"](4))
    table = key_table(SOURCES[catalogue()["inception_v3.tv_in1k"].source], net.state_dict())
    file = tmp_path / "v3.pth"
    torch.save({table[key]: value for key, value in net.state_dict().items()}, file)
    with pytest.raises(InceptiveError, match=f"say which: inception_v3.*@{file}"):
        Classifier.load(file)


@pytest.mark.parametrize("content", [{"a": torch.zeros(3)}, {"state_dict": {}}])
def test_a_file_of_no_net_here_is_named(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    done = command("predict", tmp_path / "other.pth", tmp_path)
    assert done.returncode == 1 and "other.pth: " in done.stderr
    assert "does not exist" not in done.stderr and "Traceback" not in done.stderr


def test_training_starts_from_a_file(state, stripes, tiny, tmp_path):
    file = tmp_path / "start.pth"
    torch.save(headless(state), file)
    done = command(
        "train", stripes, "--weights", file, "--recipe", tiny, "--net", NAME, "--epochs", 1,
        "--set", "image_size=64", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/config.json").read_text())["recipe"]["weights"] == str(file)


def test_classes_are_named_by_a_file_or_are_those_of_the_data(state, stripes, tmp_path):
    file, labels = tmp_path / "mine.pth", tmp_path / "names.txt"
    two = {k: v[:2] if k.startswith("fc.") else v for k, v in headless(state).items()}
    torch.save(two, file)
    labels.write_text("left\nright é\n", encoding="utf-8")
    picture("down", 1).convert("RGB").save(tmp_path / "a.png")
    done = command("predict", file, tmp_path / "a.png", "--labels", labels, "--json")
    assert {top["label"] for top in json.loads(done.stdout)[0]["top"]} == {"left", "right é"}
    assert Classifier.load(file, labels=["left", "right"]).labels == ("left", "right")
    evaluation = inceptive.evaluate(file, stripes, "all", progress=None)
    assert evaluation.labels == ("across", "down")
    labels.write_text("one\n")
    done = command("predict", file, tmp_path / "a.png", "--labels", labels)
    assert done.returncode == 1 and "1 labels for a net of 2 classes" in done.stderr


def test_labels_of_a_model_that_has_its_own_are_refused(trained, tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\n")
    done = command("predict", trained[0], tmp_path, "--labels", tmp_path / "names.txt")
    assert done.returncode == 1 and "names its classes itself" in done.stderr
    with pytest.raises(InceptiveError, match="names its classes itself"):
        Classifier.load(trained[0], labels=["a", "b"])
