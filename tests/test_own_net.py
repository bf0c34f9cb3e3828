"""A net of one's own, as a file and as a value, goes wherever a net of the family goes."""

import importlib.util
import json
import urllib.request

import numpy as np
import pytest
from conftest import command, picture, serving

import inceptive
from inceptive.engines.open import open_engine

OWN = '''
from inceptive import AvgPool, BatchNorm, Chain, Concat, Conv, Dropout, Linear, MaxPool, Net

def mynet(num_classes=1000, channels=3, width=8):
    """Two modules of branches, and a head on the first."""
    conv = lambda filters, kernel, **more: Conv(filters, kernel, norm=BatchNorm(), **more)
    module = Concat(b1x1=conv(width, 1), b3x3=Chain(reduce=conv(4, 1), conv=conv(width, 3)))
    body = Chain(
        conv1=conv(8, 3, stride=2), mixed_a=module, pool1=MaxPool(3, stride=2), mixed_b=module,
        pool2=AvgPool(grid=1), dropout=Dropout(0.1), fc=Linear(num_classes),
    )
    head = Chain(pool=AvgPool(grid=2), fc=Linear(num_classes))
    return Net("mynet", body, num_classes, "this test", (("mixed_a", head),), channels, 32)
'''
FLAT = """
from inceptive import BatchNorm, Chain, Conv, Linear, Net

def mynet(num_classes, channels=3):
    body = Chain(conv=Conv(8, 3, stride=2, norm=BatchNorm()), fc1=Linear(16), fc=Linear(num_classes))
    return Net("mynet", body, num_classes, "this test", channels=channels, image_size=32)
"""
RECIPE = """
net = "mynet.py:mynet"
image_size = 32
epochs = 3
batch_size = 12
seed = 1
[data]
val = 0.2
test = 0.2
"""
ENGINES = ["torch"]
if all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "openvino"))):
    ENGINES += ["onnx", "openvino"]


def answers(done):
    """The JSON on standard output of a command that has to succeed."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory, stripes):
    """A folder with mynet.py, and a model of it that was trained from that file."""
    place = tmp_path_factory.mktemp("own")
    (place / "mynet.py").write_text(OWN)
    (place / "own.toml").write_text(RECIPE)
    done = command("train", stripes, "--recipe", "own.toml", "--out", "model", cwd=place)
    assert done.returncode == 0, done.stderr
    (place / "mynet.py").rename(place / "moved.py")  # what is trained needs its file no more
    return place


@pytest.fixture(scope="module")
def net():
    names = {}
    exec(OWN, names)
    return names["mynet"](2, channels=1)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "down.png"
    picture("down", 999).save(path)
    return path


def test_a_value_is_trained_and_its_folder_is_trained_on(net, stripes, tmp_path):
    recipe = tmp_path / "plain.toml"
    recipe.write_text(RECIPE.replace('net = "mynet.py:mynet"', ""))
    options = {"recipe": recipe, "epochs": 1, "progress": None}
    first = inceptive.train(stripes, tmp_path / "first", net=net, **options)
    assert first.model.net == net
    second = inceptive.train(stripes, tmp_path / "second", weights=tmp_path / "first", **options)
    assert second.model.net == net  # from the folder: no name of NETS, and no file
    assert net.with_classes(5).with_classes(2) == net
    with pytest.raises(inceptive.InceptiveError, match="no net is called 'mynet'"):
        inceptive.train(stripes, tmp_path / "third", changes={"net": "mynet"}, **options)


def test_the_folder_holds_the_value(place, net):
    classifier = inceptive.Classifier.load(place / "model")
    assert classifier.model.net == net
    assert json.loads((place / "model/config.json").read_text())["net"]["name"] == "mynet"


def test_it_is_drawn_counted_and_traced_from_its_file(place, net, photo):
    name = "moved.py:mynet"
    table = answers(command("table", name, "--json", "--classes", 2, "--channels", 1, cwd=place))
    assert table["net"] == "mynet" and table["params"] == inceptive.account(net).params
    drawn = command("draw", name, "--classes", 2, "--channels", 1, cwd=place)
    assert drawn.returncode == 0 and drawn.stdout.strip() == inceptive.draw(net).strip()
    words = ["trace", name, photo, "--layer", "mixed_b.b3x3.conv", "--classes", 2, "--json"]
    traced = answers(command(*words, cwd=place))
    assert traced["net"] == "mynet" and traced["weights"] == "fresh, seed 0"


def test_a_model_folder_is_drawn_and_counted_too(place, net):
    size = json.loads((place / "model/config.json").read_text())["preprocessing"]["size"]
    table = answers(command("table", "model", "--json", cwd=place))
    counted = inceptive.account(net, size)
    assert (table["net"], table["num_classes"], table["image_size"]) == ("mynet", 2, size)
    assert (table["params"], table["macs"]) == (counted.params, counted.macs)
    drawn = command("draw", "model", cwd=place)
    assert drawn.returncode == 0 and drawn.stdout.strip() == inceptive.draw(net, None, size).strip()
    refused = command("table", "model", "--classes", 5, cwd=place)
    assert refused.returncode == 1 and "leave out --classes and --channels" in refused.stderr
    refused = command("draw", ".", cwd=place)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1


def test_it_is_evaluated_predicted_explained_traced_and_scored(place, stripes, photo):
    judged = answers(command("evaluate", "model", stripes, "--json", cwd=place))
    assert judged["count"] == 12 and 0 <= judged["top1"] <= 1
    [prediction] = answers(command("predict", "model", photo, "--json", cwd=place))
    assert {answer["label"] for answer in prediction["top"]} == {"across", "down"}
    words = ["trace", "model", photo, "--layer", "mixed_b", "--json"]
    assert answers(command(*words, cwd=place))["label_name"] == prediction["top"][0]["label"]
    words = ["explain", "model", photo, "--method", "branches", "--json"]
    modules = answers(command(*words, cwd=place))["modules"]
    assert [module["name"] for module in modules] == ["mixed_a", "mixed_b"]
    scored = command("score", "model", stripes, "--out", "scored", "--workers", 1, cwd=place)
    assert scored.returncode == 0, scored.stderr
    summary = json.loads((place / "scored/_summary.json").read_text())
    assert summary["images"] == 60


@pytest.mark.skipif("onnx" not in ENGINES, reason="the extra `export` is not installed")
def test_it_is_exported_and_served_and_every_engine_has_its_net(place, photo, monkeypatch):
    from inceptive.exporting import check

    monkeypatch.setattr(check, "SECONDS", 0.0)
    monkeypatch.setattr(check, "ROUNDS", 1)
    for to in ("onnx", "openvino"):
        exported = answers(command("export", "model", "--to", to, "--json", cwd=place))
        assert exported["passed"] and exported["name"] == f"{to}:f32"
    own = inceptive.Classifier.load(place / "model").model.net.without_aux()
    square = inceptive.Classifier.load(place / "model").preprocessing.load(photo)[None]
    logits = {}
    for name in ENGINES:
        engine = open_engine(place / "model", name)
        assert engine.account().net == own
        logits[name] = np.asarray(engine.logits(square))
    for name in ENGINES[1:]:
        np.testing.assert_allclose(logits[name], logits["torch"], rtol=1e-3, atol=1e-4)
    with serving(place / "model/model.f32.onnx") as (port, _):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/model") as answer:
            assert json.loads(answer.read())["net"] == "mynet"
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/predict", photo.read_bytes(), method="POST"
        )
        with urllib.request.urlopen(request) as answer:
            [prediction] = json.loads(answer.read())["predictions"]
    assert prediction["top"][0]["label"] in ("across", "down")


def test_as_a_value_it_is_saved_loaded_evaluated_and_explained(net, stripes, photo, tmp_path):
    model = inceptive.build(net).eval()
    preprocessing = inceptive.Preprocessing(32, 1, mean=(0.5,), std=(0.5,))
    classifier = inceptive.Classifier(model, preprocessing, ("across", "down"))
    classifier.save(tmp_path / "model")
    again = inceptive.Classifier.load(tmp_path / "model")
    assert again.model.net == net and again.fingerprint == classifier.fingerprint
    assert again.evaluate(stripes, progress=None).count > 0
    assert [answer.top for answer in again.predict([photo])] == [
        answer.top for answer in classifier.predict([photo])
    ]
    modules = again.explain(photo, "branches").details["modules"]
    assert [module["name"] for module in modules] == ["mixed_a", "mixed_b"]
    traced = inceptive.trace(net, photo, "mixed_b.b1x1", progress=None)
    assert traced.net == "mynet" and traced.trace.value >= 0 and "mixed_b.b1x1" in repr(traced)
    written = again.explain(photo, "branches").save(tmp_path / "explained")
    assert [path.name for path in written] == ["branches.png", "branches.json"]


@pytest.mark.parametrize("change", ["image_size=64", "schedule.smallest=0.5"])
def test_a_net_that_takes_one_size_is_not_trained_at_another(stripes, tmp_path, change):
    """Its last line was a traceback of torch's: shapes cannot be multiplied."""
    (tmp_path / "mynet.py").write_text(FLAT)
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("mynet.py:", f"{tmp_path}/mynet.py:"))
    done = command(
        "train",
        stripes,
        "--recipe",
        tmp_path / "recipe.toml",
        "--out",
        tmp_path / "m",
        "--set",
        change,
    )
    assert done.returncode == 1 and "takes images of 32 pixels only" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "m" / "checkpoint.pt").exists()
