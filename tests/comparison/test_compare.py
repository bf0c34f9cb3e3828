"""`inceptive compare`: what images prove that only one of two models gets right, and what each costs."""

import csv
import dataclasses
import importlib.util
import io
import json
import shutil
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from conftest import command, picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest

from inceptive.arch import nets
from inceptive.arch.account import account
from inceptive.comparison.compare import compare
from inceptive.comparison.pairs import mcnemar, pair, paired_interval
from inceptive.engines.classifier import Classifier
from inceptive.engines.open import open_engine
from inceptive.engines.peers import open_peer
from inceptive.errors import InceptiveError
from inceptive.evaluation.open import named, open_models_and_data

with_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed"
)
with_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="timm is not installed"
)


# Pairs


@given(st.integers(0, 400), st.integers(0, 400))
def test_p_is_that_of_a_fair_coin(only_first, only_second):
    count = only_first + only_second
    expected = binomtest(only_first, count).pvalue if count else 1.0
    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)


def test_p_of_many_images_is_found_without_overflow():
    assert mcnemar(25_000, 25_000) == 1.0
    expected = binomtest(24_000, 50_000).pvalue
    assert mcnemar(24_000, 26_000) == pytest.approx(expected, rel=1e-6)


def test_a_pair_counts_what_both_one_and_neither_got_right():
    first = np.array([1, 1, 1, 0, 0, 0, 1, 0], dtype=bool)
    second = np.array([1, 0, 1, 1, 1, 0, 1, 1], dtype=bool)
    found = pair(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (3, 1, 3, 1)
    assert found.difference == 2 / 8 == second.mean() - first.mean()
    assert found.interval[0] < found.difference < found.interval[1]
    assert found.p == pytest.approx(binomtest(1, 4).pvalue)


@pytest.mark.parametrize(("only_first", "only_second"), [(0.05, 0.05), (0.02, 0.1), (0.0, 0.03)])
@pytest.mark.parametrize("count", [40, 656])
def test_the_interval_holds_the_true_difference_as_often_as_it_promises(
    only_first, only_second, count
):
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(
        count, [only_first, only_second, 1 - only_first - only_second], size=4000
    )
    intervals = np.array([paired_interval(int(b), int(c), count) for b, c, _ in drawn])
    true = only_second - only_first
    held = ((intervals[:, 0] <= true) & (true <= intervals[:, 1])).mean()
    assert held > 0.93


# The command


@pytest.fixture(scope="module")
def worse(trained, tmp_path_factory):
    """The trained model with its answers turned round."""
    folder = tmp_path_factory.mktemp("worse") / "model"
    clf = Classifier.load(trained[0])
    with torch.no_grad():
        for parameter in (clf.model.fc.weight, clf.model.fc.bias):
            parameter.copy_(parameter.flip(0))
    clf.save(folder)
    return folder


def compared(*words):
    done = command("compare", *words, "--seconds", 0, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_model_and_its_copy_do_not_differ(trained, stripes, tmp_path):
    copy = shutil.copytree(trained[0], tmp_path / "copy")
    told, _ = compared(trained[0], copy, stripes)
    one, other = told["models"]
    assert {k: v for k, v in one.items() if k in ("top1", "params", "macs", "bytes")} == {
        k: v for k, v in other.items() if k in ("top1", "params", "macs", "bytes")
    }
    [between] = told["pairs"]
    assert (between["difference"], between["p"], told["disagreements"]) == (0, 1, 0)
    assert told["count"] == 12 and told["split"] == "test"


def test_a_model_that_answers_the_other_way_round_is_told_apart(trained, worse, stripes, tmp_path):
    out = tmp_path / "out"
    told, said = compared(trained[0], worse, stripes, "--split", "all", "--out", out)
    [between] = told["pairs"]
    assert between["first"] == str(trained[0]) and between["only_second"] <= 3
    assert between["difference"] < -0.8 and between["interval"][1] < 0 and between["p"] < 1e-9
    assert told["disagreements"] == 60 == between["only_first"] + between["only_second"]
    assert told == json.loads((out / "compare.json").read_text()) and "written" in said
    rows = list(csv.DictReader(io.StringIO((out / "disagreements.csv").read_text())))
    assert len(rows) == 60
    for row in rows:
        assert {row[str(trained[0])], row[str(worse)]} == {"across", "down"}
        assert 0.5 <= float(row[f"prob of {worse}"]) <= 1


def test_accuracy_is_evaluates_and_cost_is_the_tables(trained, worse, stripes):
    told, _ = compared(trained[0], worse, stripes)
    single = json.loads(command("evaluate", trained[0], stripes, "--json").stdout)
    mine = told["models"][0]
    for key in ("top1", "top1_interval", "balanced_accuracy", "loss_scaled"):
        assert mine[key] == single[key]
    made = account(nets.NETS["googlenet.bn"](2, channels=1), 32)
    assert (mine["params"], mine["macs"]) == (made.params, made.macs)
    assert mine["bytes"] == (trained[0] / "model.safetensors").stat().st_size
    assert mine["latency_ratio"] == mine["throughput_ratio"] == 1
    for one in told["models"]:
        assert one["ms_per_image"] > 0 and one["images_per_second"] > 0


def test_the_table_is_for_people(trained, worse, stripes):
    done = command("compare", trained[0], worse, stripes, "--seconds", 0)
    assert done.returncode == 0, done.stderr
    assert "12 test images" in done.stdout and "95 % interval" in done.stdout
    assert f"{trained[0]} | {worse}" in done.stdout and "McNemar" in done.stdout


@pytest.mark.nets
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))),
    reason="the extra `export` is not installed",
)
def test_an_exported_file_stands_beside_its_model(trained, stripes, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "model")
    assert command("export", folder, "--to", "onnx").returncode == 0
    told, _ = compared(folder, folder / "model.f32.onnx", stripes)
    torchs, onnxs = told["models"]
    assert (torchs["params"], torchs["macs"]) == (onnxs["params"], onnxs["macs"])
    assert onnxs["bytes"] == (folder / "model.f32.onnx").stat().st_size
    assert told["disagreements"] == 0


with_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))),
    reason="the extra `export` is not installed",
)


def foreign(path, channels_last=False, batch="N", softmax=False, classes=2, size=64):
    """An ONNX file as others write them, and what it computes, in torch."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    held = {
        "kernel": rng.normal(0, 0.3, (4, 3, 3, 3)),
        "bias": rng.normal(0, 0.3, 4),
        "matrix": rng.normal(0, 2, (4, classes)),
        "offset": rng.normal(0, 1, classes),
    }
    held = {name: one.astype(np.float32) for name, one in held.items()}
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["a"], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "matrix", "offset"], ["e"]),
    ]
    shape = (batch, 3, size, size)
    if channels_last:
        nodes = [helper.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]), *nodes]
        shape = (batch, size, size, 3)
    if softmax:
        nodes.append(helper.make_node("Softmax", ["e"], ["f"], axis=1))
    graph = helper.make_graph(
        nodes,
        "theirs",
        [
            helper.make_tensor_value_info(
                "image" if channels_last else "x", TensorProto.FLOAT, shape
            )
        ],
        [
            helper.make_tensor_value_info(
                "f" if softmax else "e", TensorProto.FLOAT, (batch, classes)
            )
        ],
        [numpy_helper.from_array(one, name) for name, one in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, path)

    def logits(images):
        mean, std = (torch.tensor(one).view(3, 1, 1) for one in (
            (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))  # fmt: skip
        x = (torch.from_numpy(images) / 255 - mean) / std
        kernel, bias, matrix, offset = map(torch.from_numpy, held.values())
        x = torch.conv2d(x, kernel, bias, stride=2).relu().mean((2, 3))
        return (x @ matrix + offset).numpy()

    return logits


@with_onnx
@pytest.mark.parametrize(
    "how",
    [{}, {"channels_last": True}, {"batch": 4}, {"softmax": True}, {"size": "S"}],
    ids=lambda how: next(iter(how), "plain"),
)
def test_a_file_that_others_wrote_is_run_as_it_is(tmp_path, how):
    from inceptive.engines.foreign import open_foreign
    from inceptive.engines.onnx import is_foreign, session

    expected = foreign(tmp_path / "theirs.onnx", **how)
    running = session(tmp_path / "theirs.onnx")
    assert is_foreign(running)
    engine = open_foreign(tmp_path / "theirs.onnx", running, ("a", "b"))
    assert engine.softmaxed == how.get("softmax", False)
    size = engine.preprocessing.size
    assert size == (224 if how.get("size") else 64) and engine.labels == ("a", "b")
    images = np.random.default_rng(1).integers(0, 256, (6, 3, size, size), dtype=np.uint8)
    wanted = torch.from_numpy(expected(images))
    np.testing.assert_allclose(engine.probs(images), wanted.softmax(1), atol=1e-5)
    if not how.get("softmax"):
        np.testing.assert_allclose(engine.logits(images), wanted, atol=1e-4)
    side = (size - 3) // 2 + 1
    assert engine.size().params == 4 * 27 + 4 + 4 * 2 + 2
    assert engine.size().macs == side * side * 4 * 27 + 4 * 2


@with_onnx
@pytest.mark.parametrize(("key", "names", "labels"), [
    ("names", "{1: 'across', 0: 'down'}", ("down", "across")), ("names", "['b', 'a']", ("b", "a")),
    ("names", '{"0": "x", "1": "y"}', ("x", "y")), ("names", "{0: 'only one'}", None),
    ("names", "__import__('os')", None), ("names", "[1, 2]", None), ("names", "['a', 'a']", None),
    ("names", "{'a': 'b', 'c': 'd'}", None), ("class_names", '["b", "a"]', ("b", "a")),
    ("labels", "b, a", ("b", "a")), ("classes", "b\na\n", ("b", "a")), ("Labels", "b, a, c", None),
    ("class_to_idx", '{"a": 1, "b": 0}', ("b", "a")),
    ("idx_to_class", '{"1": "a", "0": "b"}', ("b", "a")),
    ("config", '{"id2label": {"0": "b", "1": "a"}, "sides": ["x", "y"]}', ("b", "a")),
    ("authors", '["b", "a"]', None), ("date", "2026, 11", None),
    ("input_names", '["b", "a"]', None), ("stage_names", "b, a", None),
])  # fmt: skip
def test_the_classes_that_a_file_names_are_its_classes(tmp_path, key, names, labels):
    import onnx

    foreign(tmp_path / "theirs.onnx")
    model = onnx.load(tmp_path / "theirs.onnx")
    onnx.helper.set_model_props(model, {"producer": "x, y", key: names})
    onnx.save(model, tmp_path / "theirs.onnx")
    engine = open_engine(tmp_path / "theirs.onnx", classes=("across", "down"))
    assert engine.labels == (labels or ("across", "down"))
    assert open_engine(tmp_path / "theirs.onnx").labels == (labels or ("class 0", "class 1"))


@with_onnx
def test_names_by_hand_are_refused_where_the_file_names_its_classes(tmp_path):
    import onnx

    foreign(tmp_path / "theirs.onnx")
    picture("down", 1).save(tmp_path / "a.png")
    (tmp_path / "labels.txt").write_text("down\nacross\n")
    asked = (tmp_path / "theirs.onnx", tmp_path / "a.png", "--labels", tmp_path / "labels.txt")
    assert "down" in command("predict", *asked).stdout
    model = onnx.load(tmp_path / "theirs.onnx")
    onnx.helper.set_model_props(model, {"names": "['across', 'down']"})
    onnx.save(model, tmp_path / "theirs.onnx")
    done = command("predict", *asked)
    assert done.returncode == 1 and "names its classes itself" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


@with_onnx
def test_a_file_that_others_wrote_stands_beside_ours(trained, stripes, tmp_path):
    foreign(tmp_path / "theirs.onnx")
    told, said = compared(trained[0], tmp_path / "theirs.onnx", stripes)
    theirs = told["models"][1]
    assert 0 <= theirs["top1"] <= 1 and theirs["params"] == 122 and len(told["pairs"]) == 1
    assert "shown images of 64 pixels as ImageNet's nets are, and answers with 2 classes" in said


@with_onnx
def test_a_file_that_others_wrote_is_shown_deep_pictures_by_the_range_of_the_set(tmp_path):
    foreign(tmp_path / "theirs.onnx")
    for kind in ("across", "down"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for number in range(4):
            deep = np.asarray(picture(kind, number)).astype(np.uint16) * 16
            Image.fromarray(deep).save(tmp_path / "set" / kind / f"{number}.png")
    models = named(tmp_path / "theirs.onnx")
    [engine], _ = open_models_and_data(models, tmp_path / "set", progress=None)
    assert engine.preprocessing.sample_range == (0, 4095)


@with_onnx
def test_a_file_that_does_not_fit_is_refused_in_one_line(trained, stripes, tmp_path):
    foreign(tmp_path / "five.onnx", classes=5)
    (tmp_path / "text.onnx").write_text("no graph")
    for name, told in (("five", "answers with 5 classes, the data has 2"),
                       ("text", "ONNX Runtime does not take it")):  # fmt: skip
        done = command("compare", trained[0], tmp_path / f"{name}.onnx", stripes)
        assert done.returncode == 1 and told in done.stderr and "Traceback" not in done.stderr


def test_the_page_has_the_others_beside_the_first(trained, worse, stripes, tmp_path):
    out = tmp_path / "out"
    told, _ = compared(trained[0], worse, stripes, "--split", "all", "--out", out)
    page = (out / "report.html").read_text()
    assert "Beside other models" in page and "http" not in page.split("<main>")[1].split("<svg")[0]
    for one in told["models"]:
        assert f"<td>{100 * one['top1']:.2f}\u00a0%</td>" in page
    assert f"<td>{told['pairs'][0]['only_first']}</td>" in page
    differ = page.split("Where they differ")[1].split("</section>")[0]
    assert differ.count("<img src=") == 12
    assert differ.count('class="said right"') == differ.count('class="said wrong"') == 12


def test_what_cannot_be_compared_is_said_in_one_line(trained, stripes, tmp_path):
    done = command("compare", trained[0], stripes)
    assert done.returncode == 2 and "at least two models" in done.stderr
    done = command("compare", trained[0], trained[0], stripes)
    assert done.returncode == 1 and "named twice" in done.stderr
    done = command("compare", trained[0], tmp_path / "none", stripes)
    assert done.returncode == 1 and "none" in done.stderr and "Traceback" not in done.stderr


# Peers


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """torchvision's ResNet-18 for two classes, with weights in a file."""
    from inceptive.engines.peers import package

    torch.manual_seed(0)
    model = package("torchvision.models").resnet18(num_classes=2).eval()
    path = tmp_path_factory.mktemp("peer") / "two.pth"
    torch.save(model.state_dict(), path)
    return model, path


@pytest.mark.peers
@with_torchvision
def test_a_peers_net_is_compared_with_weights_at_hand(trained, resnet, stripes):
    name = f"torchvision:resnet18@{resnet[1]}"
    told, _ = compared(trained[0], name, stripes)
    theirs = told["models"][1]
    assert theirs["model"] == name and 0 <= theirs["top1"] <= 1
    assert theirs["params"] == sum(one.numel() for one in resnet[0].parameters())
    assert theirs["bytes"] == resnet[1].stat().st_size
    assert len(told["pairs"]) == 1


@with_torchvision
def test_a_peers_logits_are_its_own(resnet):
    engine = open_peer(f"torchvision:resnet18@{resnet[1]}", ("across", "down"))
    shown = engine.preprocessing
    assert (shown.size, shown.resize, shown.interpolation) == (224, 256, "bilinear")
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224), dtype=np.uint8)
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (shown.mean, shown.std))
    assert shown.mean == (0.485, 0.456, 0.406)
    with torch.inference_mode():
        expected = resnet[0]((torch.from_numpy(images) / 255 - mean) / std).numpy()
    np.testing.assert_allclose(engine.logits(images), expected, atol=1e-4)


@pytest.mark.peers
@with_torchvision
@pytest.mark.parametrize("name", ["resnet18", "vgg16", "googlenet"])
def test_counts_are_those_that_torchvision_states(name, monkeypatch):
    from inceptive.engines.peers import package

    models = package("torchvision.models")
    weights = models.get_model_weights(name).DEFAULT
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: None)
    made = models.get_model

    def fresh(name, weights=None, **more):
        return made(name, **({"init_weights": False} if name == "googlenet" else {}))

    monkeypatch.setattr(models, "get_model", fresh)
    engine = open_peer(f"torchvision:{name}", ())
    assert len(engine.labels) == 1000
    params = engine.size().params
    if name == "googlenet":  # torchvision states them without the heads, which fresh ones have
        params -= sum(p.numel() for key, p in engine.model.named_parameters() if "aux" in key)
    assert params == weights.meta["num_params"]
    assert engine.size().macs / 1e9 == pytest.approx(weights.meta["_ops"], abs=0.006)


@pytest.mark.peers
@with_timm
def test_a_net_of_timm_is_compared_with_weights_at_hand(tmp_path):
    from safetensors.torch import save_file

    from inceptive.engines.peers import package

    torch.manual_seed(0)
    model = package("timm").create_model("resnet10t", num_classes=3).eval()
    save_file(model.state_dict(), tmp_path / "three.safetensors")
    engine = open_peer(f"timm:resnet10t@{tmp_path}/three.safetensors", ("a", "b", "c"))
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 176, 176), dtype=np.uint8)
    assert engine.logits(images).shape == (2, 3) and engine.preprocessing.size == 176
    np.testing.assert_allclose(engine.probs(images).sum(1), 1, atol=1e-6)


@pytest.mark.peers
@with_torchvision
def test_a_peer_that_knows_other_classes_tells_only_its_cost(trained, stripes, monkeypatch):
    from inceptive.engines.peers import package

    models = package("torchvision.models")
    made = models.get_model
    monkeypatch.setattr(models, "get_model", lambda name, **_: made(name))
    told, said = compared(trained[0], "torchvision:squeezenet1_1", stripes)
    assert "torchvision:squeezenet1_1 does not know across, down: only its cost" in said
    theirs = told["models"][1]
    assert "top1" not in theirs and theirs["params"] == 1_235_496 and told["pairs"] == []


@with_torchvision
def test_what_is_wrong_with_a_peer_is_said_in_one_line(resnet, tmp_path, monkeypatch):
    (tmp_path / "text.pth").write_text("no weights")
    for name, told in (
        ("torchvision:resnet19", "torchvision has no classifier resnet19"),
        (f"torchvision:resnet18@{tmp_path}/none.pth", "there is no such file"),
        (
            f"torchvision:resnet18@{tmp_path}/text.pth",
            "cannot be read as PyTorch or",
        ),
        (f"torchvision:resnet34@{resnet[1]}", "does not fit a net of 2 classes"),
    ):
        with pytest.raises(InceptiveError, match=told):
            open_peer(name, ("a", "b"))

    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(InceptiveError, match=r"no network.*weights at hand: .*resnet18@FILE"):
        open_peer("torchvision:resnet18", ("a", "b"))


# Images without labels


@pytest.fixture
def loose(tmp_path):
    """A folder with three pictures, and one file that is none."""
    folder = tmp_path / "loose"
    folder.mkdir()
    for k, kind in enumerate(("across", "down", "across")):
        picture(kind, 700 + k).save(folder / f"{k}.png")
    (folder / "bad.jpg").write_text("no picture")
    return folder


def test_of_images_without_labels_it_says_what_each_model_says(trained, worse, loose, tmp_path):
    out = tmp_path / "out"
    found, said = compared(trained[0], worse, loose, "--out", out)
    assert "left out" in said and "bad.jpg" in said
    assert (found["count"], found["disagreements"], found["pairs"]) == (3, 3, [])
    expected = Classifier.load(trained[0]).predict([loose / f"{k}.png" for k in range(3)])
    for row, prediction in zip(found["images"], expected, strict=True):
        label, prob = prediction.top[0]
        mine, theirs = row["answers"][str(trained[0])], row["answers"][str(worse)]
        assert row["image"] == prediction.image
        assert mine == {"label": label, "prob": pytest.approx(prob, abs=1e-6)}
        assert {mine["label"], theirs["label"]} == {"across", "down"}
    assert found == json.loads((out / "compare.json").read_text())
    rows = list(csv.DictReader(io.StringIO((out / "answers.csv").read_text())))
    assert [row["image"] for row in rows] == [row["image"] for row in found["images"]]
    page = (out / "report.html").read_text()
    assert page.count("<img src=") == 3 and "answer differently on 3 of them" in page
    assert "parameters" in page and "<script" not in page


@pytest.mark.nets
def test_images_without_labels_as_a_table_and_as_csv(trained, worse, loose):
    done = command("compare", trained[0], worse, loose, "--seconds", 0)
    assert done.returncode == 0 and "they answer differently on 3 of 3 images" in done.stdout
    done = command("compare", trained[0], worse, loose / "0.png", "--seconds", 0, "--format", "csv")
    [row] = csv.DictReader(io.StringIO(done.stdout))
    assert row["image"] == str(loose / "0.png") and row[str(trained[0])] != row[str(worse)]


def test_a_list_of_images_is_compared_in_python(trained, worse, loose):
    models = {"mine": Classifier.load(trained[0]), "theirs": worse}
    comparison = compare(models, [picture("down", 701), loose / "0.png"], seconds=0)
    assert [row.model for row in comparison.models] == ["mine", "theirs"]
    assert comparison.images == ("image 0", str(loose / "0.png")) and comparison.targets == ()
    assert len(comparison.answering[0].answers) == 2 and len(repr(comparison)) < 2000
    with pytest.raises(InceptiveError, match="1 of 1 images cannot be read"):
        compare(models, [loose / "bad.jpg"], seconds=0)


def test_a_list_of_labels_beside_images_makes_them_labelled(trained, worse, tmp_path):
    for k in range(6):
        picture(("across", "down")[k % 2], 800 + k).save(tmp_path / f"{k}.png")
    models = [trained[0], worse]
    (tmp_path / "sizes.csv").write_text("file,a,b\n" + "".join(f"{k}.png,7,9\n" for k in range(6)))
    assert compare(models, tmp_path, seconds=0, progress=None).targets == ()
    (tmp_path / "labels.csv").write_text("file,label\n0.png,across\n0.png,down\n")
    messages = []
    progress = SimpleNamespace(say=messages.append, advance=lambda *_: None)
    assert compare(models, tmp_path, seconds=0, progress=progress).targets == ()
    assert any("has two labels" in message for message in messages)
    rows = "".join(f"{k}.png,{('across', 'down')[k % 2]}\n" for k in range(6))
    (tmp_path / "labels.csv").write_text("file,label\n" + rows)
    comparison = compare(models, tmp_path, "all", seconds=0, progress=None)
    assert sorted(comparison.targets) == ["across"] * 3 + ["down"] * 3
    assert len(comparison.pairs) == 1


def test_images_that_one_of_the_models_cannot_read_are_left_out(trained, tmp_path):
    mine, other = (Classifier.load(trained[0]) for _ in range(2))
    other.preprocessing = dataclasses.replace(other.preprocessing, sample_range=(0.0, 4095.0))
    rng = np.random.default_rng(0)
    for name, most in (("dark.tif", 1.0), ("deep.tif", 4000.0)):
        pixels = rng.uniform(0, most, (24, 24)).astype(np.float32)
        Image.fromarray(pixels).save(tmp_path / name)
    picture("down", 1).save(tmp_path / "plain.png")
    for models in ({"a": mine, "b": other}, {"b": other, "a": mine}):
        comparison = compare(models, tmp_path, seconds=0, progress=None)
        assert str(tmp_path / "plain.png") in comparison.images
        assert str(tmp_path / "deep.tif") not in comparison.images


@pytest.mark.nets
@with_onnx
def test_all_engines_of_one_model_stand_side_by_side(trained, stripes, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "model")
    assert command("export", folder, "--to", "onnx").returncode == 0
    found, _ = compared(folder, stripes, "--engine", "all")
    assert [row["model"] for row in found["models"]] == [f"{folder} torch", f"{folder} onnx:f32"]
    assert [row["engine"] for row in found["models"]] == ["torch", "onnx:f32"]
    assert found["disagreements"] == 0


def test_one_picture_in_an_array_is_compared_as_one(trained, worse):
    """Its rows were, as so many grey pictures."""
    array = np.asarray(picture("down", 702).convert("RGB"))
    assert len(compare([trained[0], worse], array, seconds=0, progress=None).images) == 1


def test_a_folder_that_is_no_model_is_named_whatever_the_engine(trained, stripes, tmp_path):
    """Alone it ended in a traceback, beside a model it was left out in silence."""
    (tmp_path / "empty").mkdir()
    for models in ([tmp_path / "empty"], [trained[0], tmp_path / "empty"]):
        done = command("compare", *models, stripes, "--engine", "all", "--seconds", 0)
        assert done.returncode == 1 and "empty" in done.stderr and "Traceback" not in done.stderr


@with_onnx
def test_a_file_that_opens_and_does_not_run_is_refused_in_one_line(tmp_path):
    from onnx import TensorProto, checker, helper, numpy_helper, save

    matrix = numpy_helper.from_array(np.zeros((3 * 8 * 8, 2), np.float32), "matrix")
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["y"]),
    ]
    of_any_size = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, "H", "W"))
    answers = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 2))
    graph = helper.make_graph(nodes, "theirs", [of_any_size], [answers], [matrix])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    checker.check_model(model)
    save(model, tmp_path / "eight.onnx")
    with pytest.raises(InceptiveError, match=r"does not classify images of 224 pixels"):
        open_engine(tmp_path / "eight.onnx")
