"""`inceptive trace` as a person uses it."""

import json
import re

import numpy as np
import pytest
import torch
from conftest import command, picture

import inceptive
from inceptive.images import Preprocessing

UNIT = "inception_3a.b3x3.conv"


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "a photo.png"
    picture("across", 7, 90).convert("RGB").save(path)
    return path


def traced(*words):
    done = command("trace", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_net_by_name_has_fresh_weights_of_the_seed(photo):
    options = ["googlenet", photo, "--layer", UNIT, "--size", "64", "--classes", "5", "--seed", "3"]
    values = traced(*options)
    torch.manual_seed(3)
    model = inceptive.build(inceptive.NETS["googlenet"](5)).double().eval()
    preprocessing = Preprocessing(64)
    scale, shift = preprocessing.scale_and_shift()
    image = torch.from_numpy(preprocessing.load(photo).astype(np.float32) * scale + shift)[None]
    outputs = []
    model.get_submodule(UNIT).register_forward_hook(
        lambda m, inputs, out: outputs.append(out.clone())
    )
    logits = model(image.double())
    i, j = values["at"]
    assert outputs[0][0, values["channel"], i, j].item() == pytest.approx(values["value"], rel=1e-9)
    assert outputs[0].max().item() == pytest.approx(values["value"], rel=1e-9)
    assert values["label"] == int(logits.argmax()) and values["answered"]
    assert values["weights"] == "fresh, seed 3" and values["label_name"] is None
    assert traced(*options[:-1], "4")["value"] != values["value"]


def test_a_model_folder_has_its_own_weights_and_names(tmp_path, photo):
    folder = tmp_path / "model"
    torch.manual_seed(3)
    net = inceptive.NETS["googlenet.bn"](num_classes=2)
    preprocessing = Preprocessing(size=32, mean=(0.4,) * 3, std=(0.3,) * 3)
    inceptive.Classifier(inceptive.build(net).eval(), preprocessing, ("across", "down")).save(
        folder
    )
    values = traced(folder, photo, "--layer", UNIT, "--label", "down")
    clf = inceptive.Classifier.load(folder)
    [answer] = clf.predict([photo], top=2)
    plain = torch.softmax(clf.logits(torch.from_numpy(clf.preprocessing.load(photo))[None]), 1)
    assert values["label_name"] == "down" and values["label"] == 1 and not values["answered"]
    assert values["prob"] == pytest.approx(plain[0, 1].item(), abs=1e-5)
    assert traced(folder, photo, "--layer", UNIT)["label_name"] == answer.top[0][0]
    assert values["image_size"] == 32 and values["stages"][0]["steps"][1]["name"] == "norm"
    assert traced(folder, photo, "--layer", UNIT, "--label", "1")["value"] == values["value"]


def test_the_printed_arithmetic_adds_up_and_fits_a_terminal(photo):
    options = ["googlenet", photo, "--size", "64", "--classes", "5", "--layer"]
    done = command("trace", *options, UNIT)
    assert done.returncode == 0 and "forward to the loss and back" in done.stderr
    assert max(map(len, done.stdout.splitlines()[3:])) <= 80
    values = traced(*options, UNIT)["stages"][0]
    gives = [
        float(number) for number in re.findall(r"gives? (-?[\d.e-]+)$", done.stdout, re.MULTILINE)
    ]
    assert len(gives) == 3 and values["others"] == 94
    products = values["steps"][0]["operands"]["products"]
    assert sum(gives) == pytest.approx(products, rel=1e-4)
    for entries in values["entries"]:
        window, weight = (np.array(entries[key], float) for key in ("x", "weight"))
        assert (window * weight).sum() == pytest.approx(entries["gives"], rel=1e-9)
    assert "the net's own answer" in done.stdout


@pytest.mark.parametrize(("net", "layer", "size", "message"), [
    ("googlenet", "pool1", "64", "the greatest is"),
    ("googlenet", "norm1", "64", "m = k + alpha / n · squares"),
    ("googlenet", "inception_3a", "64", "x = inception_3a.b"),
    ("googlenet", "pool5", "64", "y = total / count"),
    ("googlenet", "dropout", "64", "y = x"),
    ("googlenet", "fc", "64", "others"),
    ("googlenet", "aux_4a.fc1", "64", "which aux_4a gives"),
    ("alexnet", "conv1", "80", "x = images, channel 2"),
    ("bn_inception", "conv1", "64", "y = conv1.depthwise, channel"),
    ("hadamard_inception", "inception_3a.attend", "64", "y = features · attention"),
])  # fmt: skip
def test_every_kind_of_layer_is_printed(photo, net, layer, size, message):
    done = command("trace", net, photo, "--layer", layer, "--size", size, "--classes", "5")
    assert done.returncode == 0, done.stderr
    assert message in done.stdout and "dL/dy" in done.stdout and "nan" not in done.stdout
    assert max(map(len, done.stdout.splitlines()[3:])) <= 80


@pytest.mark.parametrize(("words", "status", "message"), [
    (["--layer", "inception_3a.b3x3.cov"], 1, "near it: inception_3a.b3x3.conv"),
    (["--layer", UNIT, "--at", "5"], 2, "is not ROW,COLUMN"),
    (["--layer", UNIT, "--at", "90,1"], 1, "not 90,1"),
    (["--layer", UNIT, "--channel", "500"], 1, "channels 0 to 127"),
    (["--layer", UNIT, "--label", "cat"], 1, "label cat: is none of the classes 0 to 4"),
    (["--layer", UNIT, "--size", "20"], 1, "the least size is 31"),
    (["--layer", UNIT, "--format", "xml"], 2, "Error"),
    ([], 2, "Missing option"),
])  # fmt: skip
def test_what_cannot_be_traced_is_refused_in_a_line(photo, words, status, message):
    size = [] if "--size" in words else ["--size", "64"]
    done = command("trace", "googlenet", photo, "--classes", "5", *size, *words)
    assert done.returncode == status and message in done.stderr and done.stdout == ""
    assert "Traceback" not in done.stderr


def test_images_models_and_options_that_do_not_fit_are_refused(trained, photo, tmp_path):
    done = command("trace", "googlenet", tmp_path / "gone.png", "--layer", "fc")
    assert done.returncode == 1 and "gone.png" in done.stderr and "Traceback" not in done.stderr
    done = command("trace", "no/model", photo, "--layer", "fc")
    assert (
        done.returncode == 1 and "is not a net, a published name or a model folder" in done.stderr
    )
    done = command("trace", trained[0], photo, "--layer", "fc", "--size", "64")
    assert done.returncode == 2 and "leave out size" in done.stderr
    done = command("trace", "googlenet", photo, "--layer", "fc", "--published")
    assert done.returncode == 1 and "no published weights are called googlenet" in done.stderr
