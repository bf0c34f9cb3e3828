"""Mistakes in Python calls: each ends in one line of InceptiveError that names the argument."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

import inceptive
from inceptive.arch.nets import open_net
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError, InvalidArgument
from inceptive.images import Preprocessing
from inceptive.nn import build

GREY = np.zeros((40, 40), np.uint8)
NET = inceptive.NETS["googlenet.bn"](num_classes=2, channels=1)


@pytest.fixture(scope="module")
def clf():
    shown = Preprocessing(size=32, channels=1, mean=(0.5,), std=(0.5,))
    return Classifier(build(NET).eval(), shown, ("across", "down"))


CALLS = {
    "train data": (
        lambda clf: inceptive.train(None),
        "data = None: expected text or a path or Data",
    ),
    "train empty": (lambda clf: inceptive.train(""), "data is empty: expected"),
    "train changes": (
        lambda clf: inceptive.train("x", changes=3),
        "changes = 3: expected a mapping",
    ),
    "train recipe": (lambda clf: inceptive.train("x", recipe=3), "recipe = 3: expected"),
    "train callbacks": (
        lambda clf: inceptive.train("x", callbacks=[3]),
        r"callbacks = \[3\]: expected several of Callback",
    ),
    "train maker": (
        lambda clf: inceptive.train("x", net=inceptive.NETS["googlenet"]),
        r"net = NETS\['googlenet'\], to be called: NETS\['googlenet'\]\(num_classes=10\): expe",
    ),
    "recipe value": (lambda clf: inceptive.Recipe(epochs=-1), "^epochs = -1: input should be"),
    "recipe key": (lambda clf: inceptive.Recipe(foo=1), "^unknown key foo; there are: net"),
    "module channels": (
        lambda clf: inceptive.account(inceptive.Conv(3, 3), 8, -1),
        "channels is a whole number from 1, not -1",
    ),
    "module size": (
        lambda clf: build(inceptive.Chain(f=inceptive.Linear(3)), 3, 0),
        "image_size is a whole number from 1, not 0",
    ),
    "no part": (
        lambda clf: clf.model.endpoints(torch.zeros(1, 1, 32, 32), ["fc"], "foo"),
        "googlenet.bn has no part foo; there are: conv1",
    ),
    "no head": (
        lambda clf: clf.model.stage(torch.zeros(1, 1, 32, 32), "", "zz"),
        "googlenet.bn has no head zz; there are: aux",
    ),
    "compare nothing": (lambda clf: inceptive.compare([clf], []), "data holds no images"),
    "seed": (
        lambda clf: inceptive.explain(clf, None, "visualise", layer="inception_3b", seed=2**70),
        r"seed = \d+: expected a whole number from 0 below 2\*\*32",
    ),
    "mean": (lambda clf: Preprocessing(8, mean=(10**400,) * 3), "and mean at most 1e6"),
    "interpolation": (lambda clf: Preprocessing(8, interpolation=[]), "interpolation is one of"),
    "shares": (lambda clf: inceptive.SplitFractions("x", 0), "x"),
    "embeddings": (lambda clf: inceptive.Embeddings.load(None), "path = None: expected text"),
    "open none": (lambda clf: inceptive.open_data(None), "data = None: expected"),
    "open list": (
        lambda clf: inceptive.open_data(["a.png"]),
        r"data = \['a.png'\]: expected .*\(images, labels, classes\)",
    ),
    "open empty": (lambda clf: inceptive.open_data(""), "data is empty: expected"),
    "net of no class": (
        lambda clf: inceptive.NETS["googlenet"](num_classes=0),
        "num_classes = 0: expected a whole number from 1",
    ),
    "compare seconds": (
        lambda clf: inceptive.compare([clf], "x", seconds=-1),
        "seconds = -1: expected a number from 0",
    ),
    "compare nan": (
        lambda clf: inceptive.compare([clf], "x", seconds=float("nan")),
        "seconds = nan: expected a number from 0",
    ),
    "compare data": (lambda clf: inceptive.compare([clf], 3), "data = 3: expected"),
    "export drop": (lambda clf: clf.export(max_drop=-1), "max_drop = -1: expected a number from 0"),
    "export nan": (
        lambda clf: inceptive.export(clf, max_drop=float("nan")),
        "max_drop = nan: expected a number from 0",
    ),
    "explain list": (
        lambda clf: clf.explain([GREY]),
        "expected a path, an address on the web, bytes, an open binary file, a Pillow image, an array",
    ),
    "explain option": (
        lambda clf: clf.explain(GREY, "branches", layer="inception_3a"),
        "branches takes image, label; leave out layer",
    ),
    "explain both": (
        lambda clf: clf.explain(GREY, "deepdream", layer="inception_3a", label=0),
        "deepdream takes image, label, steps, seed; leave out layer",
    ),
    "explain image": (
        lambda clf: clf.explain(GREY, "visualise"),
        "visualise takes layer, channel, label, steps, seed; leave out image",
    ),
    "trace layer": (lambda clf: inceptive.trace(clf, GREY, None), "layer = None: expected text"),
    "trace own": (
        lambda clf: inceptive.trace(clf, GREY, "x", size=64),
        "has its own weights and size: leave out size",
    ),
    "trace value": (
        lambda clf: inceptive.trace(NET, GREY, "x", classes=4, published=True),
        "leave out classes, published",
    ),
    "evaluate model": (lambda clf: inceptive.evaluate(3, "x"), "models = 3: expected"),
    "evaluate data": (lambda clf: clf.evaluate(None), "data = None: expected"),
    "load": (lambda clf: Classifier.load(None), "model = None: expected"),
    "load empty": (lambda clf: Classifier.load(""), "model is empty: expected"),
    "load hub": (lambda clf: Classifier.load("hf:"), "after hf: stands OWNER/NAME"),
    "load hub owner": (lambda clf: Classifier.load("hf:me"), "after hf: stands OWNER/NAME"),
    "save": (lambda clf: clf.save(None), "folder = None: expected"),
    "predict none": (lambda clf: clf.predict([GREY, None]), "^image 1: NoneType is no image"),
    "predict float": (lambda clf: clf.predict([GREY / 255]), "^image 0: an array must be uint8"),
    "predict top": (lambda clf: clf.predict(GREY, top=True), "top = True: expected a whole number"),
    "serve port": (lambda clf: inceptive.serve("x", port=70000), "port = 70000: expected"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_mistake_in_a_call_is_one_line(clf, name):
    call, said = CALLS[name]
    with pytest.raises(InceptiveError, match=said) as caught:
        call(clf)
    assert "\n" not in str(caught.value)


def test_what_stands_for_a_number_is_taken(clf):
    """Checks must not refuse what works."""
    assert clf.predict(GREY, top=np.int64(1)).label in clf.labels
    assert inceptive.NETS["googlenet"](num_classes=np.int64(3)).num_classes == 3


@pytest.mark.nets
def test_what_stands_for_a_number_or_an_image_is_traced(clf):
    answer = inceptive.trace(clf, GREY, "conv1", label=np.int64(1), at=(np.int64(0), 0)).trace
    assert answer.label == 1
    fresh = inceptive.trace(NET, GREY, "conv1", size=np.int64(40), seed=np.int64(1))
    assert json.loads(json.dumps(fresh.to_dict()))["image_size"] == 40
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "PNG")
    for image in (file, torch.from_numpy(GREY), file.getvalue()):
        traced = inceptive.trace(clf, image, "conv1", label=1, at=(0, 0)).trace
        assert traced.value == answer.value


def test_an_invalid_argument_is_an_error_like_others():
    assert issubclass(InvalidArgument, InceptiveError)


def test_what_is_printed_of_a_value_is_a_line(clf):
    digits = inceptive.open_data((np.stack([GREY] * 40), np.arange(40) % 2, ("a", "b")))
    for value, said in (
        (clf, "<Classifier googlenet.bn: 2 classes (across, down), images of 32 x 32 pixels, 1 ch"),
        (inceptive.account(NET), "<Account of googlenet.bn"),
        (digits, "<Data arrays: 2 classes (a, b), images: "),
        (digits.split("train"), "<Samples: "),
        (inceptive.NETS, "<NETS: googlenet, "),
    ):
        assert repr(value).startswith(said) and len(repr(value)) < 800, repr(value)[:300]
        assert "\n" not in repr(value)


def test_a_file_that_a_net_of_one_s_own_misses_is_named(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("open('widths.txt')")
    with pytest.raises(InceptiveError, match=r"widths\.txt"):
        open_net(f"{path}:net", 2, 3)


@pytest.mark.parametrize("nonsense", [5, None, {"a": 1}])
def test_predictions_of_what_is_no_image_are_refused(clf, nonsense):
    with pytest.raises(InceptiveError, match="is no image and no list of images"):
        list(clf.predictions(nonsense))


def test_fid_of_nothing_is_refused():
    with pytest.raises(InceptiveError, match="real is None"):
        inceptive.fid(None, "made.npz")
