"""What a training says of its images: more of them, and which look mislabelled."""

from unittest import mock

import numpy as np
import pytest
import torch
from conftest import command

from inceptive.data.source import ArrayImages, Samples
from inceptive.engines.classifier import Classifier
from inceptive.io.progress import Silent
from inceptive.training.feedback import learning_curve, say, suspects
from inceptive.training.probe import fit


def clouds(count, seed=0):
    """Features of two classes that are apart, (N, 4), and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = rng.normal(size=(count, 4)) + 4 * labels[:, None]
    return torch.tensor(features, dtype=torch.float32), labels


def samples_of(labels):
    return Samples(ArrayImages(np.zeros((len(labels), 2, 2), np.uint8), "set"), labels)


def probe(features, labels):
    return fit(features, labels, 2, 1e-3)


def test_an_image_with_another_classs_label_is_named_and_no_other():
    features, labels = clouds(60)
    labels[[7, 20]] = 1 - labels[[7, 20]]
    found = suspects(probe, features, samples_of(labels), ("cat", "dog"))
    assert {row["file"] for row in found} == {"set/7", "set/20"}
    [row] = [row for row in found if row["file"] == "set/7"]
    assert (row["label"], row["answer"]) == ("cat", "dog") and 0.95 <= row["prob"] <= 1
    features, labels = clouds(60)
    assert suspects(probe, features, samples_of(labels), ("cat", "dog")) == []


def test_the_curve_counts_shares_of_each_class():
    features, labels = clouds(80)
    sizes = []
    curve = learning_curve(
        lambda x, y: sizes.append(np.bincount(y).tolist()) or probe(x, y),
        [(features, torch.from_numpy(labels), features, torch.from_numpy(labels))],
    )
    assert sizes == [[10, 10], [20, 20]] and [count for count, _ in curve] == [20, 40]
    assert curve[-1][1] > 0.95


def test_the_curve_of_a_cross_validation_is_of_all_that_its_folds_judge():
    features, labels = clouds(40)
    labels, folds = torch.from_numpy(labels), torch.arange(40) % 4
    sides = [(features[folds != k], labels[folds != k], features[folds == k], labels[folds == k])
             for k in range(4)]  # fmt: skip
    curve = learning_curve(probe, sides)
    assert [count for count, _ in curve] == [7, 15]  # of the 30 that three folds have
    assert all(top1 in {hits / 40 for hits in range(41)} for _, top1 in curve)


@pytest.mark.parametrize(
    ("curve", "judged", "words"),
    [([(10, 0.7), (20, 0.8)], 1000, "more images would help, of owl (50% of them found)"),
     ([(10, 0.8), (20, 0.8)], 1000, "would help little"),
     ([(10, 0.7), (20, 0.8)], 18, "18 images to judge by leave 13.3% to chance")],
)  # fmt: skip
def test_a_person_is_told_what_would_help(curve, judged, words):
    progress = mock.Mock(spec=Silent)
    say(curve, judged, [0.9, 0.5], ["cat", "owl"], [], progress)
    [call] = progress.say.call_args_list
    assert words in call.args[0] and "80.0% with 20" in call.args[0]


@pytest.mark.training
def test_the_report_shows_it(trained, stripes, tmp_path):
    moved = sorted((stripes / "across").iterdir())[3]
    folder = tmp_path / "set"
    for path in stripes.rglob("*.png"):
        kind = "down" if path == moved else path.parent.name
        target = folder / kind / f"{path.parent.name}-{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    done = command("train", folder, "--weights", trained[0], "--out", tmp_path / "m",
                   "--set", "image_size=32", "--set", "data.val=0.3",
                   "--set", "finetune.few=0", "--epochs", "0")  # fmt: skip
    assert done.returncode == 0 and "images to learn from: " in done.stderr, done.stderr
    feedback = Classifier.load(tmp_path / "m").info["training"]["feedback"]
    assert [count for count, _ in feedback["curve"]][-1] == Classifier.load(tmp_path / "m").info[
        "data"
    ]["train"]
    page = (tmp_path / "m" / "report.html").read_text()
    assert "What would help" in page
    for row in feedback["suspects"]:
        assert f"across-{moved.name}" in row["file"] and "may be mislabelled" in page
