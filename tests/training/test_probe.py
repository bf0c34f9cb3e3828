"""A linear probe of trained layers: scikit-learn's logistic regression, and the model that it makes."""

import json
import re
from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import command
from sklearn.linear_model import LogisticRegression

import inceptive
from inceptive.arch.account import minimum_size
from inceptive.arch.nets import NETS
from inceptive.arch.spec import Add, Group
from inceptive.data.open import open_data
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.training import probe
from inceptive.training.callbacks import Callback
from inceptive.training.history import RunState
from inceptive.training.probe import fit, modules_of
from inceptive.training.recipe import Recipe


@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
@pytest.mark.parametrize("balanced", [False, True])
def test_it_is_scikit_learns_logistic_regression(penalty, balanced):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 200) % rng.integers(1, 4, 200)  # classes of three sizes
    features = rng.normal(size=(200, 7)) * 5 + rng.normal(size=(3, 7))[labels] * 4 + 2
    scaled = (features - features.mean(0)) / features.std(0)
    counts = np.bincount(labels)
    weight = len(labels) / (3 * counts) if balanced else np.ones(3)
    theirs = LogisticRegression(C=1 / (2 * penalty * len(labels)), tol=1e-8, max_iter=1000)
    theirs.fit(scaled, labels, sample_weight=weight[labels])
    linear = fit(
        torch.tensor(features, dtype=torch.float32),
        torch.tensor(labels),
        3,
        penalty,
        torch.tensor(weight, dtype=torch.float32) if balanced else None,
    )
    ours = linear(torch.tensor(features, dtype=torch.float32)).softmax(1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(scaled), atol=2e-3)


def test_of_few_images_it_is_scikit_learns_too():
    """In the axes that they span: 600 images of 300 classes took minutes at 8,000 numbers each."""
    rng = np.random.default_rng(5)
    labels = np.arange(40) % 20
    features = rng.normal(size=(40, 600)) + rng.normal(size=(20, 600))[labels]
    scaled = (features - features.mean(0)) / features.std(0)
    theirs = LogisticRegression(C=1 / (2 * 0.03 * 40), tol=1e-8, max_iter=1000).fit(scaled, labels)
    linear = fit(torch.tensor(features, dtype=torch.float32), torch.tensor(labels), 20, 0.03)
    assert linear.weight.shape == (20, 600)
    others = rng.normal(size=(100, 600)) * 2
    ours = linear(torch.tensor(others, dtype=torch.float32)).softmax(1).numpy()
    expected = theirs.predict_proba((others - features.mean(0)) / features.std(0))
    np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_a_first_look_at_many_classes_takes_few_steps(stripes, monkeypatch):
    steps = []
    real = probe.fit

    def counted(*args, **options):
        steps.append(options.get("steps", probe.STEPS))
        return real(*args, **options)

    monkeypatch.setattr(probe, "fit", counted)
    for most, expected in ((10_000, {probe.STEPS}), (10, {probe.CHOOSING_STEPS})):
        steps.clear()
        monkeypatch.setattr(probe, "FIRST_LOOK", most)
        monkeypatch.setattr(probe, "planned", mock.Mock(side_effect=KeyboardInterrupt))
        monkeypatch.setattr(probe, "_seconds_to_fit", lambda *_: 0.0)
        model = inceptive.build(NETS["googlenet.bn"](2, 1)).eval()
        with pytest.raises(KeyboardInterrupt):
            probe._planned(
                Recipe(image_size=32), open_data(str(stripes)), model, modules_of(model.net), 0.0,
                mock.Mock(),
            )  # fmt: skip
        assert set(steps) == expected


def test_doubt_is_learned_as_a_doubled_set_with_both_answers():
    rng = np.random.default_rng(4)
    features = torch.tensor(rng.normal(size=(60, 5)), dtype=torch.float32)
    labels = torch.tensor(rng.integers(0, 2, 60))
    soft = torch.full((60, 2), 0.25)
    soft[torch.arange(60), labels] = 0.75
    doubt = fit(features, soft, 2, 1e-2)
    quarters = torch.cat([labels, labels, labels, 1 - labels])
    plain = fit(features.repeat(4, 1), quarters, 2, 1e-2)
    torch.testing.assert_close(doubt(features), plain(features), atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    "name",
    [
        "googlenet.bn",
        pytest.param("inception_resnet_v1", marks=pytest.mark.nets),
        pytest.param("xception", marks=pytest.mark.nets),
    ],
)
def test_a_net_that_ends_earlier_has_the_maps_of_the_whole(name):
    torch.manual_seed(0)
    net = NETS[name](num_classes=5)
    part = [part for part, node in net.body if isinstance(node, Group | Add)][1]
    cut = net.ending_at(part)
    assert cut.name == f"{name}@{part}" and [at for at, _ in cut.aux] == []
    whole, model = inceptive.build(net).eval(), inceptive.build(cut).eval()
    shared = {k: v for k, v in whole.state_dict().items() if not k.startswith("fc.")}
    model.load_state_dict(shared, strict=False)
    images = torch.rand(2, net.channels, 96, 96)
    with torch.inference_mode():
        maps = whole.endpoints(images, [part])[part]
        torch.testing.assert_close(model.features(images), maps.mean((2, 3)))
    assert inceptive.account(cut).macs < inceptive.account(net).macs


def test_a_net_reads_parts_in_their_order_only():
    net = NETS["googlenet.bn"](num_classes=5)
    for parts in (["inception_4a", "inception_3a"], ["inception_4a"] * 2, []):
        with pytest.raises(InceptiveError, match="do not stand in this order"):
            net.reading(parts)


def test_a_net_ends_only_at_a_part_of_its_own():
    net = NETS["googlenet"](num_classes=5)
    assert [at for at, _ in net.ending_at("inception_4b").aux] == ["inception_4a"]
    for part in ("mixed_6e", net.last):
        with pytest.raises(InceptiveError, match=f"has no part {part} to end at; there are: conv1"):
            net.ending_at(part)


def test_only_modules_that_give_maps_are_probed():
    modules = modules_of(
        NETS["inception_v3.nsfwjs"](num_classes=5)
    )  # it ends in three linear layers
    assert modules[0] == "mixed_5b" and modules[-1] == "mixed_7c" and len(modules) == 11
    assert modules_of(NETS["vgg16"](num_classes=5)) == [f"stage{k}" for k in range(1, 6)]


@pytest.mark.training
def test_it_trains_a_model_like_any_other(trained, stripes, tmp_path):
    out = tmp_path / "probe"
    done = command("train", stripes, "--weights", trained[0], "--out", out, "--epochs", "0",
                   "--set", "image_size=32", "--set", "finetune.few=8")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"% of validation right, loss 0\.\d{3}  best\n", done.stderr)
    assert "plan: 32 pixels" in done.stderr
    clf = Classifier.load(out)
    modules = clf.info["training"]["probe"]["modules"]
    assert clf.model.net.name == "googlenet.bn@" + "+".join(modules)
    assert clf.info["metrics"]["top1"] >= 0.9
    assert clf.info["metrics"]["split"] == "val" and clf.info["metrics"]["count"] == 8
    page = (out / "report.html").read_text()
    assert "at 32 px, a linear probe, seed 1" in page and "on cpu in f32" in page
    assert done.stderr.splitlines()[-1].startswith("linear probe: ")
    assert (out / "history.csv").read_text().count("\n") == 2
    before, after = Classifier.load(trained[0]).model.state_dict(), clf.model.state_dict()
    kept = {key: re.sub(r"^read\.(on\.(read\.)?)*", "", key) for key in after if key[:3] != "fc."}
    assert kept and all(torch.equal(before[theirs], after[key]) for key, theirs in kept.items())
    evaluated = json.loads(command("evaluate", out, stripes, "--split", "val", "--json").stdout)
    assert evaluated["top1"] == clf.info["metrics"]["top1"]
    again = inceptive.train(stripes, tmp_path / "on", changes={"image_size": 32, "epochs": 1},
                            recipe=Recipe(), weights=out, progress=None)  # fmt: skip
    assert again.model.net.name == clf.model.net.name


@pytest.mark.training
def test_where_minutes_are_left_all_that_the_probe_reads_learns_on(
    trained, stripes, tmp_path, monkeypatch, capsys
):
    # Else rounding decides: the probe has all images right, and so have the epochs.
    monkeypatch.setattr("inceptive.training.history.RunState.better", lambda *_: True)
    changes, rows = {"image_size": 32, "optimizer.lr": 1e-5, "finetune.few": 0}, []
    clf = inceptive.train(
        stripes, tmp_path / "on", weights=trained[0], minutes=5, epochs=3, changes=changes,
        callbacks=[mock.Mock(spec=Callback, on_epoch_end=lambda row, better: rows.append(row))],
    )  # fmt: skip
    said = capsys.readouterr().err
    assert re.search("plan: 32 pixels, a probe of .*; then at most 3 epochs behind", said)
    assert "plan: 32 pixels (24 in the" in said
    history = (tmp_path / "on" / "history.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in history] == ["epoch", "0", "1", "2", "3"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert min(row["val_top1"] for row in rows) >= 0.9  # it goes on from where the probe is
    assert "curve" in clf.info["training"]["feedback"]
    recipe = clf.info["recipe"]
    parts = [part for part, _ in NETS["googlenet.bn"](2).body]
    first = clf.info["training"]["probe"]["modules"][0]
    assert recipe["finetune"]["freeze"] == parts[parts.index(first) - 1]
    assert recipe["epochs"] == 3
    none = inceptive.train(stripes, tmp_path / "none", weights=trained[0], minutes=5, epochs=0,
                           changes=changes)  # fmt: skip
    assert none.info["training"]["epoch"] == 0
    assert (tmp_path / "none" / "history.csv").read_text().count("\n") == 2
    said = capsys.readouterr().err
    assert "trains a probe alone, which ignores optimizer.lr" in said
    assert "epochs behind" not in said
    plain = {"image_size": 32, "finetune.few": 0}
    inceptive.train(stripes, tmp_path / "plain", weights=trained[0], epochs=2, changes=plain)
    said = capsys.readouterr().err  # a time that nobody gave is said first
    assert said.startswith("recipe: finetune, from ")
    assert ", 10 minutes at most (another: " in said.splitlines()[0] and "epoch 2/2" in said


@pytest.mark.training
def test_a_training_that_ends_while_epochs_are_planned_begins_again(trained, stripes, tmp_path):
    """A model without a checkpoint could neither be resumed nor trained anew."""
    changes = {"image_size": 32, "finetune.few": 0}
    call = partial(inceptive.train, stripes, tmp_path / "m", weights=trained[0], epochs=1,
                   changes=changes, progress=None)  # fmt: skip
    stopped = mock.patch("inceptive.training.train.paced", side_effect=KeyboardInterrupt)
    with stopped, pytest.raises(KeyboardInterrupt):
        call()
    assert call().info["training"]["epoch"] in (0, 1)


@pytest.mark.training
def test_a_probe_enlarges_small_pictures_four_times_at_most(trained, stripes, tmp_path):
    """As 32 pixels of CIFAR-10 show more to published weights at 128 than at 224 (docs/log.md)."""
    for changes, size in (({}, 160), ({"stop.smallest": 0, "image_size": 176}, 176)):
        out = tmp_path / str(size)
        clf = inceptive.train(stripes, out, weights=trained[0], epochs=0, changes=changes,
                              progress=None)  # fmt: skip
        assert clf.preprocessing.size == clf.info["recipe"]["image_size"] == size


@pytest.mark.training
def test_without_a_limit_too_images_grow_from_what_the_net_can_take(
    trained, stripes, tmp_path, monkeypatch
):
    """Pictures of 20 pixels, made 96, began with 64, of which Inception v3 leaves a module none."""
    monkeypatch.setattr("inceptive.training.history.RunState.better", lambda *_: True)
    changes = {"image_size": 32, "stop.minutes": 0, "finetune.few": 0, "schedule.smallest": 0.1}
    clf = inceptive.train(stripes, tmp_path / "m", weights=trained[0], epochs=1, changes=changes,
                          progress=None)  # fmt: skip
    assert 32 * clf.info["recipe"]["schedule"]["smallest"] >= minimum_size(clf.model.net)


def test_a_model_replaces_a_probe_unless_validation_clearly_prefers_that():
    # Flowers: 83.0 and 80.3 % of 147 validation images, but 81.7 and 84.2 % of 2,346 others.
    state = RunState()
    state.begin_behind({"val_top1": 0.83, "val_loss": 0.495}, 147)
    assert state.better(0.803, 0.552) and not state.better(0.79, 0.4)
    state.begin_behind({"val_top1": 1.0, "val_loss": 0.02}, 8)
    assert state.better(1.0, 0.01) and not state.better(1.0, 0.03) and not state.better(0.875, 0.01)


@pytest.mark.training
def test_of_few_images_all_are_learned_from_and_judged_by_cross_validation(
    trained, stripes, tmp_path, capsys
):
    changes = {"image_size": 32}
    clf = inceptive.train(stripes, tmp_path / "m", weights=trained[0], changes=changes, minutes=1)
    said = capsys.readouterr().err
    assert "note: 52 images of 2 classes are too few to hold any out" in said
    assert "no epochs follow (finetune.few=0 holds 8 out)" in said
    assert "of 52 cross-validated images right" in said and "epoch 1" not in said
    assert (clf.info["metrics"]["split"], clf.info["metrics"]["count"]) == ("folds", 52)
    assert (clf.info["data"]["train"], clf.info["data"]["test"]) == (52, 8)
    assert [count for count, _ in clf.info["training"]["feedback"]["curve"]] == [10, 20, 42]
    assert clf.info["novelty"]["count"] == 52
    page = (tmp_path / "m" / "report.html").read_text()
    assert "on 52 cross-validated images" in page and "four fifths of them, without it" in page
    assert inceptive.evaluate(clf, stripes, "test", progress=None).count == 8
    inceptive.evaluate(clf, stripes, "val")
    assert "8 of 8 val images" in (said := capsys.readouterr().err) and "were learned from" in said


@pytest.mark.training
def test_labels_by_chance_are_not_learned_in_a_cross_validation(trained, stripes, tmp_path):
    paths = sorted(stripes.rglob("*.png"))
    labels = np.random.default_rng(3).integers(0, 2, len(paths))
    data = open_data((paths, labels, ("a", "b")))
    clf = inceptive.train(data, tmp_path / "m", weights=trained[0], changes={"image_size": 32},
                          progress=None)  # fmt: skip
    assert clf.info["metrics"]["split"] == "folds" and clf.info["metrics"]["top1"] < 0.75


@pytest.mark.training
def test_what_a_probe_alone_does_not_use_changes_nothing_and_is_named(
    trained, stripes, tmp_path, capsys
):
    unused = {"batch_size": 7, "optimizer.kind": "adamw", "optimizer.lr": 0.5, "schedule.kind": "step",
              "schedule.smallest": 1.0, "loss.label_smoothing": 0.3, "aux.weight": 0.7,
              "augment.flip": False, "augment.rotate": 90.0, "ema.decay": 0.9, "stop.patience": 1,
              "finetune.views": 9, "finetune.lr_scale": 0.1, "finetune.batch_norm": "train",
              "data.workers": 0, "data.random_interpolation": True,
              "speed.accumulate": 3, "speed.checkpointing": True,
              "speed.sync_batch_norm": False}  # fmt: skip
    states = []
    for name, more in (("a", {}), ("b", unused)):
        changes = {"image_size": 32, "data.balance": 0.4, "epochs": 0} | more
        clf = inceptive.train(
            stripes, tmp_path / name, "finetune", weights=trained[0], changes=changes
        )
        notes = re.findall(
            r"note: epochs = 0 trains a probe alone, which ignores (.*)", capsys.readouterr().err
        )
        assert notes == ([", ".join(more)] if more else [])
        states.append(clf.model.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_what_cannot_be_probed_is_one_line(trained, stripes, tmp_path):
    recipe = Recipe.read("finetune", {"image_size": 32, "weights": "", "net": "googlenet.bn"})
    with pytest.raises(InceptiveError, match="a probe learns from the maps of trained weights"):
        inceptive.train(stripes, tmp_path / "a", recipe, progress=None)
    with pytest.raises(InceptiveError, match=r"are for googlenet\.bn, not for googlenet"):
        inceptive.train(stripes, tmp_path / "b", recipe, net="googlenet", weights=trained[0],
                        progress=None)  # fmt: skip
    small = Recipe.read("finetune", {"image_size": 8})
    with pytest.raises(InceptiveError, match="the least size is"):
        inceptive.train(stripes, tmp_path / "c", small, weights=trained[0], progress=None)
    assert not [path for path in tmp_path.iterdir() if (path / "model.safetensors").exists()]


def test_other_work_does_not_make_fits_look_slow(monkeypatch):
    """Of several tries the shortest counts: beside a suite of tests one took ten times as long."""
    clock, taken = {"now": 0.0}, iter([9.0, 5.0, 0.5, 4.0])

    def tried(*_):
        clock["now"] += next(taken)

    monkeypatch.setattr(probe, "regression", tried)
    monkeypatch.setattr(probe.time, "monotonic", lambda: clock["now"])
    seconds = probe._seconds_to_fit(64, 10)
    assert seconds * probe.TIMED * probe.TIMED_STEPS / probe.STEPS == pytest.approx(0.5)


@pytest.mark.training
@pytest.mark.parametrize("modules", [1, 3])
def test_a_model_of_a_probe_can_be_probed_again(trained, stripes, tmp_path, modules):
    """As `--weights runs/mine` does: "two parts are called read"."""
    source = Classifier.load(trained[0])
    names = modules_of(source.model.net)[2 : 2 + modules]
    width = source.model.net.without_aux().reading(names)
    count = dict(inceptive.build(width).named_parameters())["fc.weight"].shape[1]
    linear = probe.LinearProbe(torch.randn(2, count), torch.zeros(2))
    model = probe._model(source, names, linear).eval()
    first = Classifier(model, source.preprocessing, source.labels)
    first.save(tmp_path / "first")
    trunk = probe._trunk(model)
    assert modules_of(trunk.net) == modules_of(source.model.net)[: 2 + modules]
    images = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        for name in modules_of(trunk.net):
            maps = [each.endpoints(images, [name])[name] for each in (trunk, source.model)]
            torch.testing.assert_close(*maps)
    changes = {"image_size": 32, "finetune.few": 1000}
    again = inceptive.train(stripes, tmp_path / "again", weights=tmp_path / "first", epochs=0,
                            changes=changes, progress=None)  # fmt: skip
    assert again.info["metrics"]["top1"] > 0.8
    assert Classifier.load(tmp_path / "again").model.net == again.model.net


def test_l_bfgs_keeps_less_of_very_many_weights(monkeypatch):
    """Of 1,000 classes and 7,680 numbers it kept 6 GB."""
    asked = []
    real = torch.optim.LBFGS
    monkeypatch.setattr(
        torch.optim, "LBFGS", lambda *a, **b: asked.append(b["history_size"]) or real(*a, **b)
    )
    features, labels = torch.randn(8, 4), torch.arange(8) % 2
    fit(features, labels, 2, 0.1)
    monkeypatch.setattr(probe, "HISTORY", 8 * 8 * 20)
    fit(features, labels, 2, 0.1)
    assert asked == [100, 20]
