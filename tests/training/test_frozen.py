"""Frozen layers that are computed once give the training that computes them for every batch."""

import numpy as np
import pytest
import torch
from conftest import Recorder

from inceptive.data.cache import user_cache
from inceptive.data.open import open_data
from inceptive.data.pictures import ModelInputs
from inceptive.engines.classifier import Classifier
from inceptive.io.progress import Silent
from inceptive.training import frozen, loop
from inceptive.training.frozen import FrozenMaps, MapBatches, ViewBatches
from inceptive.training.loop import Run
from inceptive.training.prepare import RandomCrop
from inceptive.training.recipe import Recipe, SpeedTable

CHANGES = [
    "finetune.freeze=inception_4a", "finetune.views=2", "finetune.batch_norm=frozen",
    "aux.weight=0", "ema.decay=0", "augment.flip=true", "augment.contrast=0.3", "optimizer.lr=0.01",
]  # fmt: skip


def trained_by(recipe, stripes, out):
    data = open_data(str(stripes), progress=None)
    recorder = Recorder()
    run = Run(recipe, data, out, progress=recorder, callbacks=[recorder])
    return run, run.run(), recorder


@pytest.mark.training
@pytest.mark.parametrize(
    ("kept", "epochs", "within"), [(torch.float32, 3, 1e-3), (torch.float16, 1, 1e-2)]
)
def test_maps_computed_once_train_as_those_of_every_batch(
    kept, epochs, within, stripes, tiny, tmp_path, trained, monkeypatch
):
    monkeypatch.setattr(frozen, "KEPT", kept)
    changes = ["speed.precision=f32", f"epochs={epochs}", f"weights={trained[0]}"]
    recipe = Recipe.read(str(tiny), [*CHANGES, *changes])
    run, once, cached = trained_by(recipe, stripes, tmp_path / "once")
    assert isinstance(run.loaders.train, MapBatches) and run.learner.after == "inception_4a"

    monkeypatch.setattr(loop, "computed_once", lambda *_: "")
    run, always, plain = trained_by(recipe, stripes, tmp_path / "always")
    assert type(run.loaders.train) is ViewBatches and run.learner.after == ""
    for row, other in zip(cached.rows, plain.rows, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=within)
        assert row["val_loss"] == pytest.approx(other["val_loss"], rel=within, abs=within / 3)
    state, begun = always.model.state_dict(), Classifier.load(trained[0]).model.state_dict()
    moved = 0
    for key, value in once.model.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=within, atol=within)
        moved += not key.startswith("fc.") and not torch.equal(value, begun[key])
    assert moved  # and what lies behind the frozen part did learn


F32 = SpeedTable(precision="f32")


def frozen_of(trained, cache=None, after="inception_3b"):
    clf = Classifier.load(trained[0])
    return clf, FrozenMaps(clf.model, after, clf.preprocessing, F32, cache, Silent())


def test_maps_are_those_of_each_picture_in_its_place(stripes, trained):
    clf, layers = frozen_of(trained)
    samples = open_data(str(stripes), progress=None).split("val")
    exact, half = layers.centres(samples, "val", exact=True), layers.centres(samples, "val")
    assert (exact.dtype, half.dtype) == (torch.float32, torch.float16)
    for k in range(len(samples)):
        image = torch.from_numpy(clf.preprocessing.load(samples.source(k))[None])
        with torch.inference_mode():
            maps = clf.model.endpoints(clf.preprocessing.normalise(image), ["inception_3b"])
        torch.testing.assert_close(exact[k], maps["inception_3b"][0])
        torch.testing.assert_close(half[k].float(), exact[k], rtol=1e-3, atol=1e-3)


def test_maps_in_the_cache_are_not_computed_again(stripes, trained, monkeypatch, tmp_path):
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path))
    samples = open_data(str(stripes), progress=None).split("val")
    _, layers = frozen_of(trained, user_cache())
    first = layers.centres(samples, "val")
    clf, again = frozen_of(trained, user_cache())
    monkeypatch.setattr(FrozenMaps, "compute", None)  # nothing can be computed
    assert torch.equal(again.centres(samples, "val"), first)
    # Other weights, another part and other bits are other maps.
    with torch.no_grad():
        clf.model.conv1.weight.mul_(1.01)
    others = [
        FrozenMaps(
            clf.model,
            "inception_3b",
            clf.preprocessing,
            F32,
            user_cache(),
            Silent(),
        ),
        frozen_of(trained, user_cache(), "inception_3a")[1],
    ]
    for other in others:
        with pytest.raises(TypeError, match="'NoneType' object is not callable"):
            other.centres(samples, "val")


def test_a_view_is_the_same_in_every_epoch_that_shows_it(stripes, trained):
    clf = Classifier.load(trained[0])
    samples = open_data(str(stripes), progress=None).split("train")
    recipe = Recipe.from_dict(
        {"batch_size": 7, "finetune": {"views": 3}, "augment": {"flip": True, "brightness": 0.2}}
    )
    crop = RandomCrop(clf.preprocessing, (0.5, 1.0), (0.8, 1.25))
    batches = ViewBatches(samples, crop, recipe, None)
    for index in range(4):
        assert np.array_equal(
            batches.picture(0, index), ModelInputs(clf.preprocessing)(samples.source(index))
        )
        assert np.array_equal(batches.picture(1, index), batches.picture(4, index))
        assert not np.array_equal(batches.picture(1, index), batches.picture(2, index))


@pytest.mark.training
def test_maps_after_a_pause_are_those_of_the_weights_that_it_began_with(
    stripes, tiny, tmp_path, trained
):
    """They were of a net that had not been restored yet."""
    changes = [*CHANGES, "speed.precision=f32", "epochs=2", f"weights={trained[0]}"]
    recipe, data = Recipe.read(str(tiny), changes), open_data(str(stripes), progress=None)
    whole = Run(recipe, data, tmp_path / "whole", progress=None).run()
    paused = Run(recipe, data, tmp_path / "cut", progress=None, should_stop=lambda: True)
    with pytest.raises(loop.Paused):
        paused.run()
    cut = Run(recipe, data, tmp_path / "cut", resume=True, progress=None).run()
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, cut.model.state_dict()[key]), key
    assert cut.info["metrics"] == whole.info["metrics"]
