"""What a caller hands over stays as it was, and what he asks not to hear is not said."""

import sys

import numpy as np
import pytest
import torch
from conftest import picture
from PIL import Image

import inceptive
from inceptive.arch.nets import NETS
from inceptive.engines.classifier import Classifier
from inceptive.evaluation.early_exit import choose_early_exit
from inceptive.nn import build


@pytest.fixture(scope="module")
def clf(trained):
    return Classifier.load(trained[0])


def photograph(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_pictures_of_the_caller_are_not_made_smaller(clf, tmp_path):
    image = photograph((400, 300))
    net = NETS["googlenet.torchvision"](
        num_classes=len(clf.labels), channels=clf.model.net.channels
    )
    other = Classifier(build(net), clf.preprocessing, clf.labels)
    inceptive.compare([clf, other], [image, picture("down", 1)], out=tmp_path / "c", progress=None)
    assert image.size == (400, 300)
    image = photograph((1300, 150))
    inceptive.explain(clf, image, "deepdream", layer="inception_3a", steps=1, progress=None)
    assert image.size == (1300, 150)


def test_choosing_an_early_exit_leaves_a_model_in_training_mode_as_it_was(trained, stripes):
    loaded = Classifier.load(trained[0])
    net = NETS["googlenet.bn"](num_classes=len(loaded.labels), channels=loaded.model.net.channels)
    model = build(net)
    classifier = Classifier(model, loaded.preprocessing, loaded.labels)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    choose_early_exit(classifier, stripes, progress=None)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_explanations_are_saved_where_a_tilde_leads(clf, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.txt").write_text("mine")
    files = clf.explain(picture("down", 1), progress=None).save("~/photos")
    assert all(file.is_file() for file in files)
    assert not (tmp_path / "photos" / ".inceptive").exists()


def test_progress_none_is_silent(clf, tmp_path, monkeypatch, capsys):
    def load(model, *args, progress="told", **options):
        print("told" if progress == "told" else "", file=sys.stderr)
        return clf

    monkeypatch.setattr(Classifier, "load", load)
    inceptive.explain("inception_v3.nsfwjs", picture("down", 1), progress=None)
    name = "inception_v3.nsfwjs"
    inceptive.trace(name, picture("down", 1), "conv1", published=True, progress=None)
    assert "told" not in capsys.readouterr().err
