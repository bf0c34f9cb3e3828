"""A picture of no class: its score by another library, in every engine, and what a user sees of it."""

import csv
import io
import json

import numpy as np
import pytest
from conftest import command, picture, write_stripes
from PIL import Image
from scipy.special import logsumexp

import inceptive
from inceptive.engines.classifier import Classifier
from inceptive.engines.novelty import FALSE_ALARMS, MIN_COUNT, Novelty
from inceptive.engines.open import open_engine
from inceptive.errors import InceptiveError
from inceptive.serving.model import ServedModel

RNG = np.random.default_rng(0)
FEATURES = RNG.gamma(2, 1, (400, 30)).astype(np.float32)
LOGITS = RNG.normal(0, 3, (400, 4)).astype(np.float32)


def fitted(count=400):
    return Novelty.fit(FEATURES[:count], LOGITS[:count])


def test_the_score_is_distance_less_energy_in_deviations():
    novelty = fitted()
    far = (np.abs(FEATURES - novelty.mean) / novelty.std).mean(1)
    z = (far - novelty.distance[0]) / novelty.distance[1]
    z -= np.minimum((logsumexp(LOGITS, axis=1) - novelty.energy[0]) / novelty.energy[1], 1)
    np.testing.assert_allclose(novelty.scores(FEATURES, LOGITS), z - novelty.threshold, atol=1e-4)
    np.testing.assert_allclose(novelty.mean, FEATURES.mean(0), rtol=1e-3)
    assert novelty.energy == pytest.approx(
        (logsumexp(LOGITS, axis=1).mean(), logsumexp(LOGITS, axis=1).std()), rel=1e-5
    )


@pytest.mark.parametrize("count", [MIN_COUNT, 60, 200])
def test_new_images_of_the_classes_are_false_alarms_as_often_as_is_said(count):
    alarms, rng = [], np.random.default_rng(count)
    for _ in range(60):
        draw = rng.permutation(400)
        own, rest = draw[:count], draw[count:]
        novelty = Novelty.fit(FEATURES[own], LOGITS[own])
        alarms.append((novelty.scores(FEATURES[rest], LOGITS[rest]) > 0).mean())
    assert 0.005 < np.mean(alarms) < FALSE_ALARMS + 0.02


def test_images_far_from_all_or_answered_by_no_class_are_novel():
    novelty = fitted()
    assert (novelty.scores(FEATURES + 8, LOGITS) > 0).all()
    assert (novelty.scores(FEATURES, LOGITS - 20) > 0).all()


def test_too_few_images_tell_nothing():
    assert Novelty.fit(FEATURES[: MIN_COUNT - 1], LOGITS[: MIN_COUNT - 1]) is None
    assert Novelty.fit(np.zeros((50, 3), np.float32), LOGITS[:50]) is None  # nothing to measure by
    assert Novelty.fit(FEATURES * 1e30, LOGITS) is None


def test_it_is_the_same_after_json():
    novelty = fitted()
    again = Novelty.from_dict(json.loads(json.dumps(novelty.to_dict())))
    assert (again.scores(FEATURES, LOGITS) == novelty.scores(FEATURES, LOGITS)).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    """A model of 80 pictures of stripes a class, 32 of them to validate on."""
    root = tmp_path_factory.mktemp("novelty")
    data, out = write_stripes(root / "stripes", 80), root / "model"
    done = command("train", data, "--recipe", tiny, "--set", "epochs=5", "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Ten pictures of a disc, and after them ten of stripes that were not learned."""
    root = tmp_path_factory.mktemp("strangers")
    for k in range(10):
        disc = 255 * (np.hypot(*(np.indices((40, 40)) - 20)) < 8 + k)
        Image.fromarray(disc.astype(np.uint8)).save(root / f"disc{k}.png")
        picture("down", 500 + k).save(root / f"down{k}.png")
    return sorted(root.iterdir())


@pytest.mark.training
def test_pictures_of_no_class_are_told_by_the_command(folder, strangers, tmp_path):
    answers = json.loads(command("predict", folder, *strangers, "--json").stdout)
    novel = {answer["image"].rpartition("/")[2]: answer["novel"] for answer in answers}
    assert sum(novel[f"disc{k}.png"] for k in range(10)) >= 9
    assert sum(novel[f"down{k}.png"] for k in range(10)) <= 3
    table = command("predict", folder, *strangers).stdout.splitlines()
    assert [line.endswith("like none of the classes") for line in table[1:]] == [*novel.values()]
    rows = csv.DictReader(
        io.StringIO(command("predict", folder, *strangers, "--format", "csv").stdout)
    )
    assert [row["novel"] for row in rows] == [str(value).lower() for value in novel.values()]
    import pyarrow.parquet

    assert command("predict", folder, *strangers, "--out", tmp_path / "a.parquet").returncode == 0
    column = pyarrow.parquet.read_table(tmp_path / "a.parquet")["novel"].to_pylist()
    assert column == [*novel.values()]


@pytest.mark.training
def test_python_and_serve_tell_it_too(folder, strangers):
    clf = Classifier.load(folder)
    assert clf.predict(strangers[0]).novel and "like none of the classes" in repr(
        clf.predict(strangers[0])
    )
    served = ServedModel.open(str(folder), "model", "torch", False, None, lambda text: None)
    disc = served.decode("disc", strangers[0].read_bytes())
    [answer] = served.engine.answers(disc.square[None])
    prediction = served.prediction(disc, answer, 2)
    assert prediction["novel"] is True and prediction["sure"] is False
    evaluation = inceptive.evaluate(clf, folder.parent / "stripes", "test", progress=None)
    assert evaluation.to_dict()["novel"] == evaluation.novel.mean() < 0.3


@pytest.mark.training
@pytest.mark.parametrize("engine", ["onnx:f32", "openvino:f32", "onnx:int8", "openvino:int8"])
def test_exports_tell_what_torch_tells(folder, strangers, engine):
    pytest.importorskip("openvino" if engine.startswith("openvino") else "onnxruntime")
    clf = Classifier.load(folder)
    images = np.stack([clf.preprocessing.load(path) for path in strangers])
    logits, scores = clf.scored(images)
    np.testing.assert_allclose(logits, clf.logits(images), atol=1e-5)
    to, precision = engine.split(":")
    inceptive.export(folder, to, precision, calibrate=folder.parent / "stripes", progress=None)
    _, exported = open_engine(folder, engine, lambda text: None).scored(images)
    assert exported.shape == (20,)
    if precision == "f32":
        np.testing.assert_allclose(exported, scores, rtol=1e-3, atol=1e-3)
    else:  # whose ranges are those of pictures of the classes: what is beyond is cut off
        assert (exported[10:] > 0).sum() <= 3


def test_a_model_that_does_not_know_says_nothing(trained, strangers):
    """Its twelve validation images are too few to tell by."""
    answers = json.loads(command("predict", trained[0], strangers[0], "--json").stdout)
    assert answers[0]["novel"] is None


@pytest.mark.training
@pytest.mark.parametrize(
    "wrong",
    [{"mean": "AAA"}, {"std": ""}, {"energy": [1.0]}, {"distance": [0, -1]}, {"threshold": None}],
)
def test_a_record_that_is_invalid_is_named(folder, strangers, wrong):
    clf = Classifier.load(folder)
    clf.info["novelty"] = clf.info["novelty"] | wrong
    with pytest.raises(InceptiveError, match="novelty"):
        clf.predict(strangers[0])
