"""Evaluating a classifier, against scikit-learn, SciPy and counts done by hand."""

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import picture
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

import inceptive
from inceptive.cli.evaluate import as_text
from inceptive.cli.predict import write_csv
from inceptive.cli.tables import as_json
from inceptive.data.learned import Learned
from inceptive.data.open import open_data
from inceptive.data.source import ArrayImages, Data, PathImages, Samples
from inceptive.engines.classifier import Classifier
from inceptive.engines.prediction import Prediction
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError
from inceptive.evaluation.crops import crops
from inceptive.evaluation.evaluate import (
    Evaluation,
    columns,
    evaluate,
    label_order,
    probabilities,
)
from inceptive.images import Preprocessing
from inceptive.metrics import Measures
from inceptive.training.train import summary

KEYS = {
    "count", "top1", "top1_interval", "top5", "top5_interval", "balanced_accuracy",
    "balanced_accuracy_interval", "loss", "loss_scaled", "calibration_error",
    "calibration_error_scaled", "classes", "confusion",
}  # fmt: skip
SEVEN = tuple("abcdefg")


def seven(count=120, true=7):
    """Logits (count, 7) that lean to the truth, and labels of the first `true` classes."""
    rng = np.random.default_rng(5)
    labels = np.concatenate([np.arange(true), rng.integers(true, size=count - true)])
    return rng.normal(size=(count, 7)) * 2 + 2 * np.eye(7)[labels], labels


# Order of the classes


def test_columns_follow_the_order_of_the_data():
    probs = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    order = label_order(("owl", "cat", "dog"), ("cat", "dog", "owl"))
    assert order == ("owl", "cat", "dog")
    found = probs[:, columns(order, ("cat", "dog", "owl"))]
    assert found.tolist() == [[0.7, 0.1, 0.2], [0.2, 0.5, 0.3]]


def test_classes_that_the_data_lacks_come_last():
    order = label_order(("owl",), ("cat", "dog", "owl"))
    assert order == ("owl", "cat", "dog")
    assert columns(order, ("dog", "owl", "cat")) == [1, 2, 0]


def test_of_two_classes_with_one_name_each_keeps_its_column():
    labels = ("crane", "owl", "crane", "cat")  # ImageNet has two cranes, too
    order = label_order(("owl", "crane"), labels)
    assert order == ("owl", "crane", "crane", "cat")
    assert columns(order, labels) == [1, 0, 2, 3]


def test_classes_that_the_model_does_not_know_are_named():
    with pytest.raises(InceptiveError) as caught:
        label_order(("cat", "owl", "ape"), ("cat", "dog"))
    assert str(caught.value) == "the model does not know owl, ape; it knows: cat, dog"


# What the probabilities are worth


def measures(plain, scaled, targets, labels):
    return Measures.of(plain, scaled, targets, labels).to_dict()


def test_a_small_example_counted_by_hand():
    plain = np.array(
        [[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.7, 0.1], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]
    )
    found = measures(plain, plain[:, [0, 1, 2]], np.array([0, 0, 1, 1, 2]), ("a", "b", "c"))
    assert found.keys() == KEYS
    assert found["count"] == 5
    assert found["top1"] == pytest.approx(4 / 5)
    assert found["top5"] == 1.0
    assert found["balanced_accuracy"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert found["loss"] == pytest.approx(-np.log([0.9, 0.6, 0.7, 0.3, 0.8]).mean())
    a, b, c = found["classes"]
    assert a == {
        "label": "a", "count": 2, "precision": pytest.approx(2 / 3), "recall": 1.0,
        "f1": pytest.approx(4 / 5),
    }  # fmt: skip
    assert b == {
        "label": "b", "count": 2, "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3),
    }  # fmt: skip
    assert c == {"label": "c", "count": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_the_measures_agree_with_scikit_learn():
    logits, labels = seven()
    plain, scaled = softmax(logits, axis=1), softmax(logits / 2.5, axis=1)
    found = measures(plain, scaled, labels, SEVEN)
    answers = plain.argmax(axis=1)
    for key, k in (("top1", 1), ("top5", 5)):
        share = top_k_accuracy_score(labels, plain, k=k, labels=range(7))
        interval = binomtest(round(share * 120), 120).proportion_ci(0.95, method="wilson")
        assert 0.3 < share < 1
        assert found[key] == pytest.approx(share)
        assert found[f"{key}_interval"] == pytest.approx((interval.low, interval.high))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, answers))
    assert found["loss"] == pytest.approx(log_loss(labels, plain, labels=range(7)))
    assert found["loss_scaled"] == pytest.approx(log_loss(labels, scaled, labels=range(7)))
    assert found["confusion"] == confusion_matrix(labels, answers, labels=range(7)).tolist()
    expected = precision_recall_fscore_support(labels, answers, labels=range(7))
    for key, column in zip(("precision", "recall", "f1", "count"), expected, strict=True):
        assert [one[key] for one in found["classes"]] == pytest.approx(column.tolist())


def test_the_calibration_errors_are_of_the_plain_and_of_the_scaled_answers():
    plain = np.array([[0.9, 0.1]] * 4)
    scaled = np.array([[0.75, 0.25]] * 4)
    found = measures(plain, scaled, np.array([0, 0, 0, 1]), ("a", "b"))
    assert found["calibration_error"] == pytest.approx(0.15)
    assert found["calibration_error_scaled"] == pytest.approx(0.0)


def test_what_is_right_is_what_is_answered_where_views_are_averaged():
    """Accuracy was of the plain averages, answers and their list of the calibrated ones."""
    plain = np.array([[0.6, 0.4], [0.3, 0.7]])
    scaled = np.array([[0.45, 0.55], [0.2, 0.8]])
    found = measures(plain, scaled, np.array([1, 1]), ("a", "b"))
    assert found["top1"] == 1.0 and found["confusion"] == [[0, 0], [0, 2]]


def test_of_many_classes_tables_show_those_that_occur_or_are_answered():
    """Two classes of ImageNet made a page of 40 MB."""
    probs = np.full((4, 1000), 1e-4)
    probs[[0, 1, 2, 3], [0, 1, 0, 7]] = 0.9
    labels = tuple(f"class {k}" for k in range(1000))
    found = Measures.of(probs, probs, np.array([0, 1, 0, 1]), labels)
    assert found.shown == [0, 1, 7]
    few = Measures.of(probs[:, :9], probs[:, :9], np.array([0, 1, 0, 1]), labels[:9])
    assert few.shown == list(range(9))


def test_classes_that_only_the_model_knows_can_be_answered_and_count_in_no_mean():
    logits, labels = seven(true=4)
    plain = softmax(logits, axis=1)
    found = measures(plain, plain, labels, SEVEN)
    assert [one["label"] for one in found["classes"]] == list(SEVEN)
    assert [one["count"] for one in found["classes"][4:]] == [0, 0, 0]
    right = plain.argmax(axis=1) == labels
    recalls = [right[labels == k].mean() for k in range(4)]
    assert sum(map(sum, (row[4:] for row in found["confusion"]))) > 0
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def constant(counts, answer, names=()):
    """An Evaluation of so many images of each class, all answered alike."""
    targets = np.repeat(np.arange(len(counts)), counts)
    probs = np.full((len(targets), len(counts)), 0.1)
    probs[:, answer] = 0.9
    samples = Samples(PathImages.of(list(names) or [f"{k}.png" for k in targets], "set"), targets)
    return Evaluation.from_probs(
        probs, probs, ("defect", "good"), samples, model="m", engine="torch", data="set", split="test",
        crops=1,
    )  # fmt: skip


@pytest.mark.parametrize(("counts", "answer"), [((2, 28), 1), ((2, 28), 0), ((14, 16), 1)])
def test_an_accuracy_that_a_constant_answer_reaches_is_said_to_be_one(counts, answer):
    share = f"{max(counts) / sum(counts):.2%}"
    assert f"baseline     {share}  for always answering good" in as_text(constant(counts, answer))


def test_above_a_constant_answer_and_of_one_class_there_is_no_baseline():
    for evaluation in (replace(constant((2, 28), 1), top1=29 / 30), constant((0, 9), 0)):
        assert "baseline" not in as_text(evaluation)


@pytest.mark.parametrize(("top1", "warned"), [(0.93, True), (0.9, True), (0.94, False)])
def test_training_says_when_a_constant_answer_is_as_good(top1, warned):
    metrics = {
        "top1": top1,
        "baseline": 0.93,
        "top1_interval": (0.8, 1.0),
        "count": 30,
        "split": "val",
    }
    said = summary(
        SimpleNamespace(info={"metrics": metrics, "training": {"epoch": 1, "seconds": 2.0}})
    )
    assert ("always answering the largest class is right for 93.00%" in said) is warned


@pytest.mark.parametrize("name", ["=1+1.png", "+a.png", "-a.png", "@a.png", "a=1.png"])
def test_no_path_in_a_csv_is_a_formula_of_a_spreadsheet(name, tmp_path):
    evaluated = constant((1, 1), 1, [name, name]).predictions()
    write_csv(iter([Prediction(name, (("good", 0.9),))]), 1, tmp_path / "answers.csv")
    for text in (evaluated, (tmp_path / "answers.csv").read_text()):
        path = list(csv.reader(io.StringIO(text)))[1][0]
        assert path[0] not in "=+-@" and Path(path) == Path(name)


def test_the_measures_can_be_printed_as_json():
    logits, labels = seven(true=4)
    plain = softmax(logits, axis=1)
    found = measures(plain, plain, labels, SEVEN)
    again = json.loads(as_json(found))
    assert again.keys() == KEYS
    assert again["classes"][6]["recall"] is None
    assert again["top1_interval"] == list(found["top1_interval"])


# Probabilities


def stub(temperature=2.0, seen=None, **preprocessing):
    """A classifier whose logits are the mean, and the upper left pixel, of what it is shown."""

    def logits(images):
        assert images.dtype == np.uint8
        if seen is not None:
            seen.append(len(images))
        x = images / np.float32(255)
        return np.stack([8 * x.mean((1, 2, 3)), 4 * x[:, 0, 0, 0], np.ones(len(x))], 1)

    shown = Preprocessing(size=8, channels=1, mean=(0.5,), std=(0.5,), **preprocessing)
    return SimpleNamespace(
        preprocessing=shown,
        temperature=temperature,
        logits=logits,
        scored=lambda images: (logits(images), None),
    )


def pictures(count, side=12):
    images = np.random.default_rng(2).integers(256, size=(count, side, side), dtype=np.uint8)
    return Samples(ArrayImages(images, "pictures"), np.zeros(count, dtype=np.int64))


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_one_crop_is_one_softmax_plain_and_with_temperature(temperature):
    values = np.array([0, 51, 204, 255], dtype=np.uint8)
    samples = Samples(
        ArrayImages(np.tile(values[:, None, None], (1, 8, 8))), np.zeros(4, dtype=np.int64)
    )
    plain, scaled, _ = probabilities(stub(temperature), samples)
    x = values / 255
    logits = np.stack([8 * x, 4 * x, np.ones(4)], axis=1)
    np.testing.assert_allclose(plain, softmax(logits, axis=1), atol=1e-6)
    np.testing.assert_allclose(scaled, softmax(logits / temperature, axis=1), atol=1e-6)


@pytest.mark.parametrize(("count", "images"), [(10, 60), (144, 3)])
def test_several_crops_are_the_mean_of_their_softmaxes(count, images):
    classifier, samples = stub(), pictures(images)
    plain, scaled, _ = probabilities(classifier, samples, count)
    for found, temperature in ((plain, 1.0), (scaled, 2.0)):
        for index in range(images):
            views = crops(classifier.preprocessing, samples.source(index), count)
            assert len(views) == count
            expected = softmax(classifier.logits(views) / temperature, axis=1).mean(axis=0)
            np.testing.assert_allclose(found[index], expected, atol=1e-6)


@pytest.mark.parametrize(("count", "images"), [(1, 300), (10, 60), (144, 3)])
def test_views_go_through_in_portions_and_progress_is_told(count, images):
    seen, told = [], []
    probabilities(stub(seen=seen), pictures(images), count, lambda *now: told.append(now))
    assert sum(seen) == count * images
    assert max(seen) <= max(64, count)
    assert [total for _, total in told] == [images] * len(seen)
    assert [done for done, _ in told] == np.cumsum([one // count for one in seen]).tolist()


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    (tmp_path / "bad.jpg").write_text("no picture")
    samples = Samples(PathImages.of([tmp_path / "bad.jpg"]), np.zeros(1, dtype=np.int64))
    with pytest.raises(InceptiveError, match=r"bad\.jpg"):
        probabilities(stub(), samples)


# The library call


SCORES = {"dark": -4.0, "light": 4.0, "owl": 0.5, "red": -1.0}


class Brightness(Engine):
    """An engine that is the surer of "dark", the darker a picture is; the labels in any order."""

    name = "torch"
    preprocessing = Preprocessing(size=8, channels=1, mean=(0.5,), std=(0.5,))

    def __init__(self, *labels):
        self.labels = labels

    def logits(self, images):
        x = images.astype(np.float32).mean((1, 2, 3))[:, None] / 255 - 0.5
        return x * np.array([SCORES[label] for label in self.labels], np.float32)


def shades(count=40):
    levels = np.linspace(0, 255, count).astype(np.uint8)
    pixels = np.broadcast_to(levels[:, None, None], (count, 8, 8)).copy()
    labels = (levels > 90).astype(np.int64)
    samples = Samples(ArrayImages(pixels, "shades"), labels)
    return Data("shades", ("dark", "light"), {"test": samples}, 1)


def test_an_ensemble_averages_columns_of_the_same_class():
    """Both know the same classes, in another order, and two of them are not in the data (B14)."""
    one, other = (
        Brightness("owl", "dark", "red", "light"),
        Brightness("light", "red", "dark", "owl"),
    )
    alone = evaluate(one, shades())
    both = evaluate({"one": one, "other": other}, shades())
    assert both.labels == alone.labels == ("dark", "light", "owl", "red")
    assert [member.model for member in both.members] == ["one", "other"]
    np.testing.assert_allclose(both.probs, alone.probs, atol=1e-7)
    for member in both.members:
        np.testing.assert_allclose(member.plain, alone.plain, atol=1e-7)
    with pytest.raises(InceptiveError, match="models of different classes cannot be averaged"):
        evaluate([one, Brightness("dark", "light")], shades())


def test_an_evaluation_is_a_value_with_a_short_repr(tmp_path):
    evaluation = evaluate(Brightness("light", "dark"), shades(), out=tmp_path / "out")
    data = shades().split("test")
    assert evaluation.count == 40 and evaluation.split == "test" and evaluation.engine == "torch"
    assert evaluation.top1 == (evaluation.probs.argmax(1) == data.labels).mean() < 1
    assert len(repr(evaluation)) < 200 and "top1" in repr(evaluation)
    found = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert found.keys() == KEYS | {"model", "data", "split", "crops", "engine"}
    assert found == json.loads(as_json(evaluation.to_dict()))
    predictions = (tmp_path / "out/predictions.csv").read_text().splitlines()
    assert len(predictions) == 41 and predictions[1].startswith("shades/0,dark,dark,0.9")
    page = (tmp_path / "out/report.html").read_text()
    assert "inceptive.evaluate(" in page and "on 40 test images of shades" in page


def test_images_of_no_split_are_just_images(tmp_path):
    undivided = replace(shades(), splits={"all": shades().split("test")})
    evaluation = evaluate(Brightness("light", "dark"), undivided, "all", out=tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    for text in (repr(evaluation), as_text(evaluation), page):
        assert "on 40 images of shades" in " ".join(text.split())


def test_progress_is_said_and_what_cannot_be_done_is_refused():
    lines = []
    progress = SimpleNamespace(say=lines.append, advance=lambda *_: None)
    evaluate({"mine": Brightness("light", "dark")}, shades(), progress=progress)
    assert lines == ["evaluating mine on 40 test images of shades"]
    for options, message in (
        ({"crops": 7}, "crops are 1, 8, 10, 144, not 7"),
        ({"batch_size": 0}, "batch_size = 0: expected a whole number from 1"),
        ({"split": "val"}, "shades has no val split; it has: test"),
    ):
        with pytest.raises(InceptiveError, match=message):
            evaluate(Brightness("light", "dark"), shades(), **options)


def test_a_classifier_evaluates_itself(trained, stripes):
    clf = Classifier.load(trained[0])
    mine, same = clf.evaluate(stripes), evaluate(str(trained[0]), stripes, engine="torch")
    assert mine.to_dict() | {"model": ""} == same.to_dict() | {"model": ""}
    assert mine.model == "googlenet.bn" and same.model == str(trained[0])


def retagged(folder, to):
    """A copy of a folder of JPEG files, each with other metadata and the same pixels."""
    for path in sorted(folder.rglob("*.png")):
        target = to / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        note = PngInfo()
        note.add_text("Comment", f"seen {path.name}")
        with Image.open(path) as image:
            image.save(target, pnginfo=note)
        assert target.read_bytes() != path.read_bytes()
    return to


def judging(model, data, split=""):
    lines = []
    progress = SimpleNamespace(say=lines.append, advance=lambda *_: None)
    evaluation = inceptive.evaluate(model, data, split, progress=progress)
    return evaluation, "\n".join(lines)


def names(samples):
    return {Path(samples.name(k)).stem for k in range(len(samples))}


def places(samples):
    paths = (Path(samples.name(k)) for k in range(len(samples)))
    return {(path.parent.name, path.stem) for path in paths}


def test_retagged_photographs_are_judged_as_before(trained, stripes, tmp_path):
    """17 of 27 test images had been trained on."""
    first, said = judging(trained[0], stripes)
    again, said_again = judging(trained[0], retagged(Path(stripes), tmp_path / "tagged"))
    assert first.split == again.split == "test"
    assert names(first.samples) == names(again.samples)
    assert "learned" not in said + said_again


@pytest.mark.parametrize("kinds", [("across", "down"), ("down",)])
def test_a_folder_that_the_model_has_not_learned_is_judged_as_a_whole(trained, tmp_path, kinds):
    """12 of 90 images were, without a word. One class is enough to judge, if not to learn."""
    for kind in kinds:
        for number in range(100, 120):
            path = tmp_path / "fresh" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(kind, number).save(path)
    evaluation, said = judging(trained[0], tmp_path / "fresh")
    count = 20 * len(kinds)
    assert (evaluation.count, evaluation.split) == (count, "new")
    assert f"judging on all {count} images" in said and evaluation.top1 > 0.7


def test_what_was_learned_is_left_out_or_said(trained, stripes, tmp_path):
    shares = inceptive.Classifier.load(trained[0]).data["shares"]
    record = open_data(stripes, inceptive.SplitFractions.from_dict(shares)).splits
    for split in ("train", "test"):
        samples = record[split]
        for k in range(len(samples)):
            path = Path(samples.name(k))
            target = tmp_path / "mixed" / path.parent.name / f"{split}{path.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    evaluation, said = judging(trained[0], tmp_path / "mixed")
    assert evaluation.count == len(record["test"])
    assert all(name.startswith("test") for name in names(evaluation.samples))
    part, said = judging(trained[0], tmp_path / "mixed", "val")
    assert "val images" in said and "were learned from and are left out" in said
    assert all(name.startswith("test") for name in names(part.samples))
    whole, said = judging(trained[0], tmp_path / "mixed", "all")
    assert whole.count == len(record["train"]) + len(record["test"])
    assert f"{len(record['train'])} of {whole.count} images of" in said


def test_near_copies_of_what_was_learned_are_not_new(trained, stripes, tmp_path):
    folder = Path(shutil.copytree(stripes, tmp_path / "both"))
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            image.save(path.with_suffix(".jpg"), quality=95)
    for kind in ("across", "down"):
        for number in range(200, 210):
            picture(kind, number).save(folder / kind / f"new{number}.png")
    learned = Learned.from_record(inceptive.Classifier.load(trained[0]).data)
    every = open_data(stripes).split("all")
    seen = places(every.take(learned.trained_on(every) | learned.chose(every)))
    evaluation, said = judging(trained[0], folder)
    assert evaluation.split == "new" and not places(evaluation.samples) & seen
    assert f"{len(seen)} near-copies of learned ones are left out" in said


def test_two_models_in_memory_are_judged_on_what_neither_learned(trained, stripes):
    """Both are called like their net, and only the last one's training counted."""
    mine, other = (inceptive.Classifier.load(trained[0]) for _ in range(2))
    other.info["data"] = {"pictures": Learned.nothing().to_dict(), "shares": mine.data["shares"]}
    both, _ = judging([mine, other], stripes)
    alone, _ = judging(trained[0], stripes)
    assert names(both.samples) == names(alone.samples)
    assert [each.model for each in both.members] == ["googlenet.bn", "googlenet.bn (2)"]
    assert len(inceptive.compare([mine, other], stripes, seconds=0, progress=None).pairs) == 1


def test_the_page_tells_what_the_images_were_to_the_model(trained, stripes, tmp_path):
    """It told so by the name of the split alone."""
    for kind in ("across", "down"):
        for split, first in (("train", 300), ("val", 310)):
            place = tmp_path / "own" / split / kind
            place.mkdir(parents=True)
            for number in range(first, first + 4):
                picture(kind, number).save(place / f"{number}.png")
    pages = {
        data: inceptive.evaluate(trained[0], data, split, out=tmp_path / "out", progress=None)
        and (tmp_path / "out" / "report.html").read_text()
        for data, split in ((tmp_path / "own", "val"), (stripes, "val"), (stripes, "train"))
    }
    told = "The best epoch and the temperature were chosen on these images"
    assert told not in pages[tmp_path / "own"]
    evaluate(trained[0], stripes, "val", out=tmp_path / "out", progress=None)
    assert told in (tmp_path / "out" / "report.html").read_text()
    assert "The model was trained on these images" in pages[stripes]


def test_a_model_that_does_not_tell_what_it_learned_is_said_to(trained, stripes):
    classifier = inceptive.Classifier.load(trained[0])
    del classifier.info["data"]["pictures"]
    evaluation, said = judging(classifier, stripes)
    assert evaluation.split == "test"
    assert "does not tell which images it learned" in said
    classifier.info["data"]["pictures"] = {"train": "?"}
    with pytest.raises(InceptiveError, match="record of the images it learned is invalid"):
        judging(classifier, stripes)


def test_of_images_that_are_not_told_apart_nothing_is_recorded():
    """Else a model that learned from shards would be judged on all that they were made from."""
    images = PathImages.of(["a.png", "b.png"])
    samples = Samples(images, np.array([0, 1]))
    data = Data("x", ("a", "b"), {"train": samples, "val": samples}, 3)
    assert Learned.of(data) is None
    pixels = np.arange(2 * 12, dtype=np.uint8).reshape(2, 2, 2, 3)
    samples = Samples(ArrayImages(pixels), np.array([0, 1]))
    told = Learned.of(replace(data, splits={"train": samples, "val": samples.take(np.array([1]))}))
    again = Learned.from_record({"pictures": told.to_dict()})
    assert again.train.tolist() == sorted(samples.images.digests().tolist())
    assert again.val.tolist() == samples.images.digests()[1:].tolist()
