"""A classifier in memory and as a folder."""

import copy
import dataclasses
import html
import importlib.util
import json
import re
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import picture, rewrite_config
from markdown_it import MarkdownIt
from safetensors.torch import load_file, save_file

import inceptive
from inceptive.arch.spec import (
    LRN,
    AvgPool,
    BatchNorm,
    Chain,
    Concat,
    Conv,
    Linear,
    MaxPool,
    Net,
)
from inceptive.engines.classifier import Classifier
from inceptive.engines.open import open_engine
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.training.prepare import published_origin


@pytest.fixture(scope="module")
def clf():
    torch.manual_seed(7)
    model = inceptive.build(inceptive.NETS["googlenet.bn"](num_classes=3, channels=1)).eval()
    shown = Preprocessing(size=32, channels=1, mean=(0.4,), std=(0.3,))
    return Classifier(model, shown, ("a", "b", "c"), temperature=2.0)


@pytest.fixture(scope="module")
def saved(clf, tmp_path_factory):
    clf.save(folder := tmp_path_factory.mktemp("model"))
    return folder


def test_probabilities_are_those_of_the_model_on_normalised_pixels(clf):
    x = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        expected = torch.softmax(clf.model((x / 255 - 0.4) / 0.3).double() / 2.0, 1)
    np.testing.assert_allclose(clf.probs(x), expected, atol=1e-5)


def test_features_of_a_layer_are_those_of_the_image_whatever_other_threads_ask(clf):
    """A hook on the shared module once kept what another thread computed."""
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1)).astype(np.uint8)

    def features(k):
        return clf.embed(images[k], layer="inception_4a.b3x3").features

    alone = [features(k) for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for k, found in enumerate(pool.map(features, list(range(4)) * 25)):
            np.testing.assert_allclose(found, alone[k % 4], rtol=1e-4)


def test_arrays_that_torch_cannot_share_are_answered(clf):
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32)).astype(np.uint8)
    expected = clf.logits(images[..., ::-1].copy())
    np.testing.assert_array_equal(clf.logits(images[..., ::-1]), expected)
    images.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf.logits(images)


def test_answers_that_are_no_numbers_are_an_error(clf):
    broken = copy.deepcopy(clf)
    torch.nn.init.constant_(broken.model.fc.weight, float("nan"))
    with pytest.raises(InceptiveError, match="answers with NaN"):
        broken.predict(picture("down", 3))


def test_a_preprocessing_of_other_channels_is_refused(clf):
    with pytest.raises(InceptiveError, match="3 channels, the net takes 1"):
        Classifier(clf.model, Preprocessing(size=32), clf.labels)


def test_a_loaded_classifier_knows_its_folder_wherever_the_process_goes(
    saved, monkeypatch, tmp_path
):
    monkeypatch.chdir(saved.parent)
    loaded = Classifier.load(saved.name)
    monkeypatch.chdir(tmp_path)
    assert loaded.path == saved / "model.safetensors" and loaded.size().bytes


def test_what_could_not_be_loaded_again_is_not_saved(saved, tmp_path):
    """It was written, over a good model too, and then refused."""
    folder = shutil.copytree(saved, tmp_path / "m")
    before = (folder / "model.safetensors").read_bytes()
    for change in ({"labels": ("a", "b", "c", "d", "e", "f", "g")}, {"temperature": 0}):
        clf = Classifier.load(folder)
        for key, value in change.items():
            setattr(clf, key, value)
        with pytest.raises(InceptiveError):
            clf.save(folder)
        assert (folder / "model.safetensors").read_bytes() == before
    clf = Classifier.load(folder)
    clf.temperature = np.float32(2)
    clf.save(folder)
    assert Classifier.load(folder).temperature == 2


def test_weights_are_float32_whatever_the_default(clf, saved):
    torch.set_default_dtype(torch.float64)
    try:
        loaded = Classifier.load(saved)
        assert {each.dtype for each in loaded.model.parameters()} == {torch.float32}
        answer = loaded.predict(picture("down", 3)).top
    finally:
        torch.set_default_dtype(torch.float32)
    assert answer == clf.predict(picture("down", 3)).top


@pytest.mark.parametrize("name", ["a\0b", "a" * 300])
def test_a_path_that_no_system_takes_is_an_error(name):
    with pytest.raises(InceptiveError, match="255 bytes, or NUL"):
        Classifier.load(name)


def test_predict_takes_paths_bytes_pictures_and_arrays(clf, tmp_path):
    image = picture("down", 3)
    image.save(tmp_path / "photo.png")
    given = [
        tmp_path / "photo.png", str(tmp_path / "photo.png"),
        (tmp_path / "photo.png").read_bytes(), image, np.asarray(image),
    ]  # fmt: skip
    found = clf.predict(given, top=2)
    assert [one.image for one in found] == [
        str(tmp_path / "photo.png"), str(tmp_path / "photo.png"), "image 2", "image 3", "image 4"
    ]  # fmt: skip
    assert len({one.top for one in clf.predict(given[:1] * 2)}) == 1
    for one in found:
        assert len(one.top) == 2 and not one.error
        np.testing.assert_allclose([p for _, p in one.top], [p for _, p in found[0].top], rtol=1e-5)


def test_an_unreadable_image_has_an_error_and_no_answer(clf, tmp_path):
    found = clf.predict([picture("down", 1), tmp_path / "none.png", picture("across", 1)])
    assert [bool(one.top) for one in found] == [True, False, True]
    assert "none.png: cannot be read" in found[1].error


@pytest.mark.parametrize("shape", [(1, 32, 32), (4, 3, 32, 32), (32, 32)])
def test_images_of_other_dimensions_have_no_logits(clf, shape):
    for images in (torch.zeros(shape, dtype=torch.uint8), np.zeros(shape, np.uint8)):
        with pytest.raises(InceptiveError, match=r"takes images \(N, 1, H, W\), not \("):
            clf.logits(images)


@pytest.mark.parametrize("device", [torch.float16, "float16", "meta", "cuda:99", "nope", None, 0.5])
def test_what_is_no_device_here_is_refused_and_the_model_stays(clf, device):
    with pytest.raises(InceptiveError, match=r"cannot move the model to .*; give cpu, or cuda"):
        clf.to(device)
    assert {weights.dtype for weights in clf.model.parameters()} == {torch.float32}
    assert clf.to("cpu") is clf and clf.to(torch.device("cpu")) is clf


def test_labels_must_fit_the_net(clf):
    with pytest.raises(InceptiveError, match="2 labels for a net of 3 classes"):
        Classifier(clf.model, clf.preprocessing, ("a", "b"))


def damage(folder, name, change):
    """Change a file of a model folder as 0.1 wrote it, whose config stands in config.json alone."""
    rewrite_config(folder, None)
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


def without(key):
    def change(content):
        config = json.loads(content)
        del config[key]
        return json.dumps(config).encode()

    return change


def in_old_form(name):
    """The net as configs told it until 0.1: by its name, and the parts that its heads read."""

    def change(content):
        config = json.loads(content)
        net = config["net"]
        heads = [head if isinstance(head, str) else head[0] for head in net["aux"]]
        config["net"] = {"name": name, "num_classes": net["num_classes"],
                         "channels": net["channels"], "aux": heads}  # fmt: skip
        return json.dumps(config).encode()

    return change


@pytest.mark.parametrize(("name", "change", "said"), [
    ("config.json", lambda c: c[:50], "config.json: is damaged"),
    ("config.json", lambda c: b"[]", "config.json: is damaged"),
    ("config.json", lambda c: b"\xff\xfe", "config.json: is damaged"),
    ("config.json", without("labels"), "config.json: missing or invalid 'labels'"),
    ("config.json", without("net"), "config.json: missing or invalid 'net'"),
    ("config.json", in_old_form("lenet"), "config.json: no net is called 'lenet'"),
    ("config.json", lambda c: c.replace(b'"size"', b'"sise"'), "preprocessing takes"),
    ("config.json", lambda c: c.replace(b'"num_classes": 3', b'"num_classes": 4'),
     "config.json: net: Net: body must end in Linear(4)"),
    ("config.json", lambda c: c.replace(b'"num_classes": 3', b'"num_classes": 4').replace(
        b'"Linear", "out": 3', b'"Linear", "out": 4'), "num_classes' (4 for 3 labels)"),
    ("config.json", lambda c: c.replace(b'"kernel": 7', b'"kernel": "7"'),
     "config.json: net.body.conv1: Conv: kernel is '7'"),
    ("model.safetensors", lambda c: c[:1000], "model.safetensors: is damaged"),
    ("model.safetensors", lambda c: b"", "model.safetensors: is damaged"),
    ("model.safetensors", lambda c: b"\x80\x04pickle", "model.safetensors: is damaged"),
])  # fmt: skip
def test_a_damaged_folder_is_refused_in_one_line(saved, tmp_path, name, change, said):
    folder = shutil.copytree(saved, tmp_path / "model")
    damage(folder, name, change)
    with pytest.raises(InceptiveError) as refused:
        Classifier.load(folder)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_missing_parts_are_named(clf, tmp_path):
    with pytest.raises(InceptiveError, match="does not exist"):
        Classifier.load(tmp_path / "none")
    with pytest.raises(InceptiveError, match="is not a model folder"):
        Classifier.load(tmp_path)
    clf.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InceptiveError, match=r"model.safetensors: there is no such file"):
        Classifier.load(tmp_path)


def test_keys_that_do_not_fit_are_listed_on_both_sides(clf, tmp_path):
    clf.save(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["strange.weight"] = tensors.pop("conv1.weight").clone()
    save_file({key: value.clone() for key, value in tensors.items()}, path)
    damage(tmp_path, "config.json", without("weights"))
    with pytest.raises(InceptiveError) as refused:
        Classifier.load(tmp_path)
    assert "missing conv1.weight; unknown strange.weight" in str(refused.value)


def test_the_card_says_what_the_model_is(clf, tmp_path):
    clf.save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "googlenet.bn for 3 classes" in card and "Classes: a, b, c" in card


def test_the_card_names_the_weights_that_it_began_from_and_their_licence(clf, tmp_path):
    origin = published_origin("inception_v3.nsfwjs")
    assert origin == {"name": "inception_v3.nsfwjs", "licence": "MIT"}
    dataclasses.replace(clf, info=clf.info | {"published": origin}).save(tmp_path)
    assert (
        "- From weights inception_v3.nsfwjs, licence: MIT" in (tmp_path / "README.md").read_text()
    )
    assert published_origin(str(tmp_path)) == origin  # also of what is trained from this one
    assert published_origin("") == published_origin(str(tmp_path / "gone")) == {}


def test_the_card_shows_names_of_classes_as_they_are(clf, tmp_path):
    labels = ("<b>*cats*</b>", "[a](b) | `c`", "1_2 & &lt;")
    dataclasses.replace(clf, labels=labels).save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    [item] = re.findall("<li>(Classes: .*)</li>", MarkdownIt().render(card))
    assert html.unescape(item) == f"Classes: {', '.join(labels)}"


# The value travels


def departed(name):
    """GoogLeNet with another pool4 and another LRN: the same tensors fit, the logits differ."""
    net = inceptive.NETS["googlenet"](num_classes=3, channels=1)
    changed = {"pool4": MaxPool(2, stride=2, pad="ceil"), "norm1": LRN(9)}
    body = Chain(**{part: changed.get(part, node) for part, node in net.body})
    return dataclasses.replace(net, name=name, body=body)


def own(name="mine"):
    body = Chain(
        conv=Conv(8, 3, norm=BatchNorm()),
        mixed=Concat(b1x1=Conv(4, 1), b3x3=Chain(reduce=Conv(4, 1), conv=Conv(8, 3))),
        pool=AvgPool(grid=1), fc=Linear(3),
    )  # fmt: skip
    return Net(name, body, 3, "nobody", channels=1)


def classifier_of(net):
    torch.manual_seed(3)
    preprocessing = Preprocessing(size=64, channels=1, mean=(0.4,), std=(0.3,))
    return Classifier(inceptive.build(net).eval(), preprocessing, ("a", "b", "c"))


@pytest.mark.nets  # in the quick tier tests/test_own_net.py exports one
@pytest.mark.parametrize(
    "net",
    [own(), departed("googlenet.mine"), own("nobody's/../net")],
    ids=lambda net: net.name,
)
def test_a_net_of_ones_own_is_saved_loaded_and_exported_as_it_is(net, tmp_path):
    clf = classifier_of(net)
    clf.save(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64), dtype=np.uint8)
    again = Classifier.load(tmp_path)
    assert again.model.net == net and again.fingerprint == clf.fingerprint
    np.testing.assert_array_equal(again.logits(images), clf.logits(images))
    for kind in ("onnx", "openvino"):
        if not importlib.util.find_spec("nncf"):
            continue
        clf.export(kind, out=tmp_path, progress=None)
        engine = open_engine(tmp_path, f"{kind}:f32")
        np.testing.assert_allclose(engine.logits(images), clf.logits(images), atol=1e-4)
        assert engine.account().net == net.without_aux()


def test_a_net_that_bears_the_name_of_another_is_refused(tmp_path):
    net = departed("googlenet")
    with pytest.raises(InceptiveError, match=r"this net is called googlenet and is another "
                       r"\(body.norm1.size is 9, not 5\); give it a name of its own"):  # fmt: skip
        classifier_of(net)
    classifier_of(departed("mine")).save(tmp_path)
    damage(tmp_path, "config.json", lambda c: c.replace(b'"name": "mine"', b'"name": "googlenet"'))
    with pytest.raises(
        InceptiveError, match=r"config.json: this net is called googlenet and is another"
    ):
        Classifier.load(tmp_path)


@pytest.mark.parametrize(
    "heads", [None, pytest.param([], marks=pytest.mark.nets), ["inception_3a", "inception_4d"]]
)
def test_heads_may_stand_elsewhere_and_folders_of_the_old_form_are_read(heads, tmp_path):
    net = inceptive.NETS["googlenet.bn"](num_classes=3, channels=1)
    clf = classifier_of(net if heads is None else net.with_heads(heads))
    clf.save(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 64, 64), dtype=np.uint8)
    for _ in range(2):
        again = Classifier.load(tmp_path)
        assert again.model.net == clf.model.net
        np.testing.assert_array_equal(again.logits(images), clf.logits(images))
        damage(tmp_path, "config.json", in_old_form("googlenet.bn"))


def test_a_config_that_asks_for_much_takes_nothing(tmp_path):
    """Weights that the file lacks are never allocated, and maps of gigabytes are refused."""
    classifier_of(own()).save(tmp_path)
    rewrite_config(tmp_path, None)
    before = (tmp_path / "config.json").read_bytes()
    for change, said in (
        (lambda c: c.replace(b'"out": 8, "kernel": 3', b'"out": 999999, "kernel": 3', 1),
         "a map of"),
        (lambda c: c.replace(b'"out": 4, "kernel": 1', b'"out": 99999, "kernel": 1', 1),
         "model.safetensors: fc.weight is"),
        (lambda c: c.replace(b'"pad": "same"', b'"pad": 65000', 1), "a map of"),
    ):  # fmt: skip
        (tmp_path / "config.json").write_bytes(change(before))
        with pytest.raises(InceptiveError, match=said):
            Classifier.load(tmp_path)


def test_an_empty_repository_of_the_hub_is_no_published_name():
    with pytest.raises(InceptiveError, match="after hf: stands OWNER/NAME of the Hugging Face hub"):
        Classifier.load("hf:")


def test_the_hub_is_told_nothing_of_this_machine_and_the_environment_stays():
    import os

    from huggingface_hub.utils import build_hf_headers

    from inceptive.weights.load import NO_TELEMETRY

    before = dict(os.environ)
    with pytest.raises(InceptiveError):
        Classifier.load("hf:no id")
    assert dict(os.environ) == before
    assert "torch" in build_hf_headers()["user-agent"] or os.environ.get("HF_HUB_DISABLE_TELEMETRY")
    assert build_hf_headers(headers=NO_TELEMETRY)["user-agent"] == "inceptive"


def test_a_file_of_a_model_folder_is_that_folder(tmp_path):
    clf = classifier_of(own())
    clf.save(tmp_path)
    for name in ("model.safetensors", "config.json"):
        for open_model in (Classifier.load, open_engine):
            assert open_model(tmp_path / name).fingerprint == clf.fingerprint
    with pytest.raises(
        InceptiveError, match=r"README\.md: is none of the weights files known here"
    ):
        Classifier.load(tmp_path / "README.md")


def test_what_is_an_engine_already_is_taken_as_it_is(clf):
    assert open_engine(clf) is clf and clf.name == "torch" and clf.exit_shares() == {}


def test_the_fingerprint_follows_all_that_decides_answers():
    prints = {classifier_of(net).fingerprint for net in (own(), own("other"), departed("mine"))}
    clf = classifier_of(own())
    prints.add(clf.fingerprint)
    shown = dataclasses.replace(clf.preprocessing, size=48)
    for change in ({"temperature": 2.0}, {"labels": ("a", "c", "b")}, {"preprocessing": shown}):
        prints.add(dataclasses.replace(clf, **change).fingerprint)
    assert len(prints) == 6
    with torch.no_grad():
        clf.model.fc.bias[0] += 1
    assert clf.fingerprint not in prints
