"""`inceptive explain`: heat that points to what it should, maps, branches, and pictures from noise."""

import importlib.util
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import command
from PIL import Image, ImageDraw
from torch.nn import functional as F

import inceptive
from inceptive.arch.account import account, minimum_size, parts_with_maps
from inceptive.data.open import open_data
from inceptive.data.source import PathImages, Samples, SplitFractions
from inceptive.engines.classifier import Classifier
from inceptive.engines.open import open_engine
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError
from inceptive.explaining import dream
from inceptive.explaining.attribution import gradcam, last_maps, occlusion
from inceptive.explaining.branches import branches
from inceptive.explaining.explain import explain
from inceptive.explaining.maps import maps_of, top_activating, top_channels
from inceptive.images import Preprocessing
from inceptive.nn import build
from inceptive.training.loop import Run
from inceptive.training.recipe import Recipe

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("captum") is None, reason="the extra `explain` is not installed"
)
RECIPE = """
net = "googlenet.bn"
image_size = 64
epochs = 30
batch_size = 16
seed = 1
[data]
val = 0.2
test = 0.2
[optimizer]
lr = 0.02
[aux]
weight = 0.0
"""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as torchvision's documentation has them
LAYER = "inception_4a"  # 4 x 4 at 64 pixels


def scene(kind, side, number):
    """A disc or a cross in the left or right half of a noisy plane."""
    rng = np.random.default_rng([number, kind == "disc", side == "left"])
    image = Image.fromarray(rng.integers(90, 130, (64, 64), dtype=np.uint8)).convert("RGB")
    x, y = rng.integers(13, 19) + (0 if side == "left" else 32), rng.integers(16, 48)
    draw = ImageDraw.Draw(image)
    colour = tuple(int(c) for c in rng.integers(200, 256, 3))
    if kind == "disc":
        draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=colour)
    else:
        draw.line((x - 9, y - 9, x + 9, y + 9), fill=colour, width=4)
        draw.line((x - 9, y + 9, x + 9, y - 9), fill=colour, width=4)
    return image


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """60 crosses and 60 discs, in the left or right half."""
    root = tmp_path_factory.mktemp("scenes")
    for kind in ("cross", "disc"):
        (root / kind).mkdir(parents=True)
        for number in range(60):
            side = ("left", "right")[number % 2]
            scene(kind, side, number).save(root / kind / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def learned(scenes, tmp_path_factory):
    """A classifier that tells discs from crosses, wherever they are: a minute of training."""
    root = tmp_path_factory.mktemp("learned")
    (root / "recipe.toml").write_text(RECIPE)
    data = open_data(str(scenes), SplitFractions(0.2, 0.2))
    Run(Recipe.read(root / "recipe.toml"), data, root / "model").run()
    return Classifier.load(root / "model")


def untrained(seed):
    torch.manual_seed(seed)
    net = inceptive.NETS["googlenet.bn"](num_classes=2).without_aux()
    return Classifier(inceptive.build(net).eval(), Preprocessing(64), ("cross", "disc"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same net with weights that were never trained."""
    folder = tmp_path_factory.mktemp("untrained") / "model"
    untrained(3).save(folder)
    return folder


@pytest.fixture(scope="module")
def clf(folder):
    return Classifier.load(folder)


def unseen_scene(clf, kind, side, number):
    """The square of a scene that was not trained on, and the class it is."""
    return clf.preprocessing.load(scene(kind, side, 1000 + number)), clf.labels.index(kind)


def leans(heat):
    """How far the heat lies to the right of the middle, as a share of the image."""
    weight = np.maximum(heat, 0)
    return float((weight * np.arange(heat.shape[1])).sum() / weight.sum() / heat.shape[1] - 0.5)


CASES = [
    (kind, side, k) for kind in ("cross", "disc") for side in ("left", "right") for k in range(5)
]


def pointed(clf, explain):
    """The share of scenes on whose own side the heat lies."""
    hits = []
    for kind, side, number in CASES:
        square, label = unseen_scene(clf, kind, side, number)
        hits.append((leans(explain(clf, square, label)) > 0) == (side == "right"))
    return np.mean(hits)


@pytest.mark.training
def test_the_net_knows_the_scenes(learned):
    right = [learned.probs(square[None])[0].argmax() == label
             for square, label in (unseen_scene(learned, *case) for case in CASES)]  # fmt: skip
    assert np.mean(right) >= 0.9


@pytest.mark.training
def test_gradcam_points_to_the_object(learned):
    def heat(clf, square, label):
        own, other = (gradcam(clf, square, "inception_3b", k) for k in (label, 1 - label))
        return own + other  # what speaks for either class is the object

    assert pointed(learned, heat) >= 0.9


@pytest.mark.training
def test_occlusion_points_to_the_object(learned):
    def heat(clf, square, label):
        return np.abs(occlusion(clf, square, label, 16, 8))

    assert pointed(learned, heat) >= 0.9


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_other_weights_give_another_map(clf, method):
    square, label = unseen_scene(clf, "disc", "left", 3)
    maps = [
        gradcam(classifier, square, "inception_3b", label)
        if method == "gradcam"
        else occlusion(classifier, square, label, 16, 8)
        for classifier in (clf, untrained(9))
    ]
    assert maps[0].shape == maps[1].shape == (64, 64)
    assert np.corrcoef(*(classifier.ravel() for classifier in maps))[0, 1] < 0.9
    assert maps[0].std() > 0


@pytest.mark.parametrize("layer", ["inception_3b", LAYER])
def test_gradcam_is_that_of_captum(clf, layer):
    from captum.attr import LayerGradCam

    square, label = unseen_scene(clf, "cross", "right", 1)
    x = clf.normalise(torch.from_numpy(square[None])).requires_grad_()
    cam = LayerGradCam(clf.model, clf.model.get_submodule(clf.model.net.layer(layer)))
    expected = cam.attribute(x, target=label, relu_attributions=True).detach()
    expected = F.interpolate(expected, (64, 64), mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_allclose(gradcam(clf, square, layer, label), expected, atol=1e-5)


@pytest.mark.parametrize("method", ["gradcam", "branches"])
def test_a_model_is_explained_while_others_use_it(clf, method):
    square, label = unseen_scene(clf, "cross", "right", 1)

    def told():
        if method == "gradcam":
            return gradcam(clf, square, "inception_3b", label).tolist()
        return [module.carried for module in branches(clf, square, label)]

    alone = told()
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(clf.logits, square[None]) for _ in range(60)]
        assert all(each.result() == alone for each in [pool.submit(told) for _ in range(12)])
        assert all(np.isfinite(each.result()).all() for each in others)


def test_what_the_caller_trains_is_in_training_mode_after_an_explanation(clf):
    square, label = unseen_scene(clf, "cross", "right", 1)
    modules = [*clf.model.modules()]
    clf.model.train()
    modules[5].eval()
    modes = [module.training for module in modules]
    with torch.no_grad():
        gradcam(clf, square, "inception_3b", label)
        branches(clf, square, label)
        clf.logits(square[None])
        clf.features_and_logits(square[None])
        clf.embed(np.moveaxis(square, 0, -1), LAYER)
    assert [module.training for module in modules] == modes
    clf.model.eval()


def test_threads_that_share_a_model_in_training_mode_all_evaluate_it(clf):
    square, _ = unseen_scene(clf, "cross", "right", 1)
    expected = clf.logits(square[None])
    clf.model.train()
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: clf.logits(square[None]), range(80)):
            np.testing.assert_allclose(answer, expected, atol=1e-4)
    assert clf.model.training
    clf.model.eval()


def test_pictures_are_dreamt_where_the_caller_takes_no_gradients(clf):
    with torch.no_grad():
        explain(clf, None, "visualise", layer="inception_3b", channel=1, steps=1, progress=None)


def test_covering_all_of_it_takes_what_the_mean_colour_leaves(clf):
    square, label = unseen_scene(clf, "disc", "left", 0)
    heat = occlusion(clf, square, label, 64, 64)
    colour = np.round(255 * np.array(clf.preprocessing.mean)).astype(np.uint8)
    blank = np.broadcast_to(colour[:, None, None], square.shape).copy()
    lost = clf.logits(square[None])[0, label] - clf.logits(blank[None])[0, label]
    np.testing.assert_allclose(heat, lost, atol=1e-4)


class Brightness(Engine):
    """Two logits: the mean pixel of the left half, and of the right."""

    name, labels, preprocessing = "brightness", ("left", "right"), Preprocessing(64)

    def logits(self, images):
        return np.stack([half.mean((1, 2, 3)) for half in np.split(images, 2, axis=3)], 1)


def test_occlusion_of_any_engine_is_what_covering_takes():
    square = np.full((3, 64, 64), 255, np.uint8)
    heat = occlusion(Brightness(), square, 1, 16, 16)
    lost = (255 - np.round(255 * np.array(Preprocessing(64).mean))).mean() * 16 / (2 * 64)
    np.testing.assert_allclose(heat[:, :32], 0, atol=1e-4)
    np.testing.assert_allclose(heat[:, 32:], lost, atol=1e-4)


@pytest.mark.nets
def test_an_exported_file_is_explained_by_what_covering_takes(clf, tmp_path):
    pytest.importorskip("onnxruntime")
    clf.save(tmp_path / "model")
    inceptive.export(tmp_path / "model", "onnx")
    [file] = (tmp_path / "model").glob("*.onnx")
    scene("disc", "left", 5).save(tmp_path / "disc.png")
    words = ("explain", file, tmp_path / "disc.png", "--method", "occlusion", "--json")
    done = command(*words, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    exported = json.loads(done.stdout)
    own = inceptive.explain(clf, tmp_path / "disc.png", "occlusion").details
    assert exported["label"] == own["label"] and exported["at"] == own["at"]
    assert exported["largest"] == pytest.approx(own["largest"], abs=1e-3)


@pytest.mark.peers
@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="needs torchvision")
def test_a_peers_net_is_explained_by_what_covering_takes(tmp_path):
    from inceptive.engines.peers import package

    torch.manual_seed(0)
    peer = package("torchvision.models").squeezenet1_1(num_classes=2).eval()
    torch.save(peer.state_dict(), tmp_path / "two.pth")
    photo = scene("disc", "left", 5).resize((224, 224))
    name = f"torchvision:squeezenet1_1@{tmp_path / 'two.pth'}"
    details = inceptive.explain(name, photo, "occlusion", label="0").details
    square = open_engine(name).preprocessing.load(photo)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    with torch.inference_mode():
        probs = peer((torch.from_numpy(square[None]) / 255 - mean) / std).softmax(1)
    assert details["model"] == name and details["window"] == 32
    assert details["prob"] == pytest.approx(probs[0, 0].item(), abs=1e-5)


@pytest.mark.parametrize("method", ["gradcam", "features", "branches", "deepdream", "visualise"])
def test_what_has_no_gradients_is_told_the_method_that_works(tmp_path, method):
    scene("disc", "left", 5).save(tmp_path / "disc.png")
    for model in ("model.f32.onnx", "torchvision:resnet18", "timm:resnet50", Brightness()):
        image = None if method == "visualise" else tmp_path / "disc.png"
        with pytest.raises(InceptiveError) as error:
            inceptive.explain(model, image, method)
        assert f"{method} needs gradients" in str(error.value)
        assert str(error.value).endswith("occlusion works with every model")
        assert "\n" not in str(error.value)


def test_of_a_net_that_reads_several_modules_each_is_looked_at_by_its_name(clf):
    net = clf.model.net.without_aux().reading(["inception_3a", "inception_3b", "inception_4a"])
    model = build(net).eval()
    several = replace(clf, model=model)
    square = unseen_scene(clf, "disc", "left", 0)[0]
    assert parts_with_maps(net, clf.preprocessing.size)[-2:] == ["pool3", "inception_4a"]
    assert last_maps(several) == "inception_4a"
    path = "read.on.read.on.inception_4a"
    assert net.layer("inception_4a") == path
    heat = gradcam(several, square, last_maps(several), 0)
    np.testing.assert_array_equal(heat, gradcam(several, square, path, 0))
    x = several.normalise(torch.from_numpy(square[None]))
    with torch.inference_mode():
        found = model.endpoints(x, ["inception_4a", "conv1", "inception_3b.b1x1"])
        read = model.endpoints(x, ["read"])["read"]
    means, peaks = found["inception_4a"].mean((2, 3)), found["inception_4a"].amax((2, 3))
    torch.testing.assert_close(
        read.flatten(1)[:, -2 * means.shape[1] :], torch.cat([means, peaks], 1)
    )
    assert found.keys() == {"inception_4a", "conv1", "inception_3b.b1x1"}
    with pytest.raises(InceptiveError, match="layers called b1x1, such as "):
        model.endpoints(x, ["b1x1"])


def test_the_layer_looked_at_by_itself_is_the_last_with_maps(clf):
    assert last_maps(clf) == "inception_5b"  # 2 x 2
    with pytest.raises(InceptiveError, match=r"googlenet\.bn has no part none"):
        gradcam(clf, unseen_scene(clf, "disc", "left", 0)[0], "none", 0)
    with pytest.raises(InceptiveError, match="fc gives numbers, no maps"):
        gradcam(clf, unseen_scene(clf, "disc", "left", 0)[0], "fc", 0)


# Branches


def test_what_the_last_module_carries_is_the_logit_without_its_bias(clf):
    square, label = unseen_scene(clf, "disc", "right", 2)
    *_, last = branches(clf, square, label)
    assert last.name == "inception_5b"
    logit = clf.logits(square[None])[0, label] - clf.model.fc.bias.detach()[label].item()
    assert sum(last.carried.values()) == pytest.approx(logit, rel=1e-4)
    assert last.channels == {"b1x1": 384, "b3x3": 384, "b5x5": 128, "pool": 128}


def test_shares_add_up_and_a_silenced_branch_carries_nothing(clf, folder):
    square, label = unseen_scene(clf, "disc", "right", 2)
    changed = Classifier.load(folder)
    with torch.no_grad():
        for parameter in changed.model.inception_4c.b5x5.conv.bn.parameters():
            parameter.zero_()
    for classifier, silent in ((clf, False), (changed, True)):
        modules = {each.name: each for each in branches(classifier, square, label)}
        assert len(modules) == 9
        for each in modules.values():
            assert sum(each.share.values()) == pytest.approx(1)
        assert (modules["inception_4c"].share["b5x5"] == 0) == silent


@pytest.mark.parametrize(
    ("name", "size", "count"),
    [
        ("googlenet.bn", 64, 9),
        ("hadamard_inception", 64, 7),
        pytest.param("inception_resnet_v1", 96, 22, marks=pytest.mark.nets),
        pytest.param("inception_resnet_v2.slim", 96, 43, marks=pytest.mark.nets),
        ("inception_v3", 96, 15),
    ],
)
def test_every_concat_is_seen_wherever_it_stands(name, size, count):
    net = inceptive.NETS[name](2)
    joined = [line.name for line in account(net).body if line.kind == "concat"]
    model = inceptive.build(net.without_aux()).eval()
    square = np.random.default_rng(0).integers(256, size=(3, size, size), dtype=np.uint8)
    modules = branches(Classifier(model, Preprocessing(size), ("a", "b")), square, 1)
    assert sorted(module.name for module in modules) == sorted(joined) and len(joined) == count
    for module in modules:
        assert sum(module.share.values()) == pytest.approx(1)
        for branch, channels in module.channels.items():
            assert channels == dict(out_channels(net))[f"{module.name}.{branch}"]


def out_channels(net):
    """Channels that each layer or group gives, by the account: of a chain, those of its end."""
    for line in account(net).body:
        name = line.name
        while name:
            yield name, line.view.shape[0]
            name = name.rpartition(".")[0]


def test_modules_that_the_last_layer_reads_are_branches():
    """Their shares of the logit are exact: they are averaged or maxima, then multiplied by weights."""
    read = ("mixed_6b", "mixed_6d", "mixed_7a")
    net = inceptive.NETS["inception_v3"](2).without_aux().reading(read)
    torch.manual_seed(0)
    model = inceptive.build(net).eval()
    square = np.random.default_rng(0).integers(256, size=(3, 96, 96), dtype=np.uint8)
    classifier = Classifier(model, Preprocessing(96), ("a", "b"))
    modules = {module.name: module for module in branches(classifier, square, 1)}
    trunk = [name.rpartition(".")[2] for name, _ in net.trunk()]
    assert {name.partition(".")[0] for name in modules} <= {*trunk}
    assert {"mixed_6b", "mixed_6c", "mixed_7a"} <= {*modules}
    whole = modules["read"]
    with torch.inference_mode():
        maps = model.endpoints(classifier.normalise(torch.from_numpy(square[None])), read)
        weights = model.fc.weight[1].split([2 * maps[name].shape[1] for name in read])
        for name, row in zip(read, weights, strict=True):
            seen = torch.cat([maps[name].mean((2, 3)), maps[name].amax((2, 3))], 1)
            assert whole.channels[name] == len(row)
            assert whole.carried[name] == pytest.approx(float(seen[0] @ row), rel=1e-4, abs=1e-6)
    assert [*whole.channels] == [*read] and [*modules][-1] == "read"


def test_a_net_without_branches_is_told():
    preprocessing = Preprocessing(64)
    model = inceptive.build(inceptive.NETS["alexnet"](2)).eval()
    with pytest.raises(InceptiveError, match="alexnet has no modules"):
        branches(Classifier(model, preprocessing, ("a", "b")), np.zeros((3, 64, 64), np.uint8), 0)


# Maps


def test_the_strongest_channels_and_where_they_are(clf):
    square, _ = unseen_scene(clf, "disc", "left", 4)
    maps = maps_of(clf, square[None], LAYER)[0]
    channels = top_channels(maps, 5)
    means = maps.mean((1, 2))
    assert [channel.channel for channel in channels] == np.argsort(-means)[:5].tolist()
    for channel in channels:
        assert maps[channel.channel][channel.at] == channel.most == maps[channel.channel].max()
    with pytest.raises(InceptiveError, match="fc gives numbers, no maps"):
        maps_of(clf, square[None], "fc")


def test_the_images_that_excite_a_channel_most(clf, scenes):
    paths = sorted(scenes.rglob("*.png"))[::3]
    samples = Samples(PathImages.of(paths, "scenes"), np.zeros(len(paths), np.int64))
    best = top_activating(clf, samples, LAYER, [3, 100], 4)
    every = np.stack([clf.preprocessing.load(path) for path in paths])
    means = maps_of(clf, every, LAYER).mean((2, 3))
    for channel, images in best.items():
        assert [i for i, _ in images] == np.argsort(-means[:, channel], kind="stable")[:4].tolist()
        assert [v for _, v in images] == pytest.approx(
            np.sort(means[:, channel])[::-1][:4].tolist()
        )


# Pictures from noise


@pytest.mark.training
def test_feature_visualisation_raises_its_target_many_times_over_noise(learned):
    maps = maps_of(learned, unseen_scene(learned, "disc", "left", 0)[0][None], LAYER)[0]
    rng = np.random.default_rng(0)
    noises = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(10)]

    def of_noise(target):
        return max(dream.activation(learned, target, noise) for noise in noises)

    targets = [dream.Target(LAYER, found.channel) for found in top_channels(maps, 8)]
    target = min(targets, key=of_noise)  # what answers to noise has little to be raised
    image = dream.visualise(learned, target, steps=150)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert dream.activation(learned, target, image) > 3 * of_noise(target)


@pytest.mark.training
def test_a_picture_of_a_class_speaks_for_it_more_than_noise_does(learned):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (10, 64, 64, 3), dtype=np.uint8)
    for label in range(2):
        target = dream.Target("fc", label)
        image = dream.visualise(learned, target, steps=150, seed=label)
        least = max(dream.activation(learned, target, noisy) for noisy in noise)
        assert dream.activation(learned, target, image) > least + 0.5


def test_the_same_seed_gives_the_same_picture(clf):
    target = dream.Target(LAYER, 0)
    picture, same, other = (dream.visualise(clf, target, steps=3, seed=s) for s in (1, 1, 2))
    assert np.array_equal(picture, same) and not np.array_equal(picture, other)


def test_a_dream_excites_the_layer_and_is_still_the_photograph(clf):
    photo = np.asarray(scene("disc", "left", 7).resize((96, 80)))
    target = dream.Target("inception_3b")
    after = dream.deepdream(clf, target, photo, octaves=3, steps=5)
    assert after.shape == photo.shape and not np.array_equal(after, photo)
    before, grown = (dream.activation(clf, target, pixels) for pixels in (photo, after))
    assert grown > 1.5 * before
    assert np.corrcoef(photo.ravel(), after.ravel())[0, 1] > 0.5


def test_a_channel_that_is_not_there_is_told(clf):
    with pytest.raises(InceptiveError, match="inception_4a has channels 0 to 511"):
        dream.visualise(clf, dream.Target(LAYER, 512), steps=1)


# The command


METHODS = [
    ("gradcam", ["--layer", LAYER], ["gradcam.png"]),
    ("occlusion", ["--label", "disc"], ["occlusion.png"]),
    ("features", ["--data", "DATA", "--count", 6], ["features.png", "top_images.png"]),
    ("branches", ["--label", "0"], ["branches.png"]),
    ("deepdream", ["--steps", 2], ["deepdream.png"]),
    ("visualise", ["--steps", 2, "--channel", 5], ["visualise.png"]),
]


@pytest.mark.parametrize(
    ("method", "more", "files"),
    [
        pytest.param(*row, marks=pytest.mark.nets) if row[0] in ("occlusion", "features") else row
        for row in METHODS
    ],
)
def test_each_method_writes_pictures_and_figures(folder, scenes, tmp_path, method, more, files):
    scene("disc", "left", 2000).save(tmp_path / "disc.png")
    words = [scenes if word == "DATA" else word for word in more]
    image = [] if method == "visualise" else [tmp_path / "disc.png"]
    out = tmp_path / "out"
    done = command("explain", folder, *image, "--method", method, "--out", out, "--json", *words)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (
        printed == json.loads((out / f"{method}.json").read_text()) and printed["method"] == method
    )
    assert [str(out / name) for name in files] == printed["files"]
    for name in files:
        with Image.open(io.BytesIO((out / name).read_bytes())) as picture:
            assert picture.format == "PNG" and min(picture.size) >= 64
            assert np.asarray(picture.convert("L")).std() > 3


@pytest.mark.parametrize(
    ("method", "more", "files"),
    [METHODS[0], *(pytest.param(*row, marks=pytest.mark.nets) for row in METHODS[1:])],
)
def test_each_method_prints_what_it_found(folder, scenes, tmp_path, method, more, files):
    scene("disc", "left", 2000).save(tmp_path / "disc.png")
    words = [scenes if word == "DATA" else word for word in more]
    image = [] if method == "visualise" else [tmp_path / "disc.png"]
    done = command("explain", folder, *image, "--method", method, "--out", tmp_path / "out", *words)
    assert done.returncode == 0 and done.stdout.strip() and files[-1] in done.stderr, done


def test_what_is_wrong_is_said_in_one_line(folder, tmp_path):
    scene("disc", "left", 1).save(tmp_path / "a.png")
    for words, message in (
        ([tmp_path / "a.png", "--layer", "nowhere"], "has no part nowhere"),
        (
            [tmp_path / "a.png", "--label", "owl"],
            "label owl: is none of the classes 0 to 1",
        ),
        ([tmp_path / "none.png"], "none.png: cannot be read"),
        ([], "gradcam needs an image"),
    ):
        done = command("explain", folder, *words, "--out", tmp_path / "out")
        assert done.returncode == (1 if words else 2) and message in done.stderr, done.stderr
        assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()


def test_a_picture_smaller_than_the_net_takes_is_dreamt_larger(clf):
    """It ended in torch's words."""
    picture = Image.fromarray(np.full((8, 12, 3), 128, np.uint8))
    found = explain(clf, picture, method="deepdream", steps=1, progress=None)
    with Image.open(io.BytesIO(found.pictures["deepdream.png"])) as dream:
        assert min(dream.size) >= minimum_size(clf.model.net) > 8
    with pytest.raises(InceptiveError, match="is too long and thin"):
        explain(clf, Image.new("RGB", (2000, 4)), method="deepdream", steps=1, progress=None)


def test_a_layer_of_a_head_has_no_evidence_for_the_answer():
    model = inceptive.build(inceptive.NETS["googlenet.bn"](2, 1)).eval()
    shown = inceptive.Preprocessing(64, channels=1, mean=(0.5,), std=(0.5,))
    clf = Classifier(model, shown, ("a", "b"))
    with pytest.raises(InceptiveError, match="is of an auxiliary head, which the answer does not"):
        explain(clf, np.zeros((64, 64), np.uint8), layer="aux_4a.conv", progress=None)
