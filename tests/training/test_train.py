"""Training: it learns, it repeats, and every table of a recipe does what it says."""

import itertools
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import Recorder, command
from PIL import Image

import inceptive
from inceptive.data.open import open_data
from inceptive.data.source import SplitFractions
from inceptive.engines.classifier import Classifier
from inceptive.engines.header import fingerprint
from inceptive.errors import InceptiveError
from inceptive.evaluation.evaluate import evaluate
from inceptive.io.progress import Silent
from inceptive.nn import Norm
from inceptive.training.callbacks import Callback
from inceptive.training.choose import choose_recipe
from inceptive.training.history import as_csv
from inceptive.training.loop import Run
from inceptive.training.objective import Objective
from inceptive.training.prepare import (
    as_weights_expect,
    frozen_parts,
    last_layers,
    model_for,
    parameter_groups,
)
from inceptive.training.recipe import Recipe


def run(data, tiny, out, *changes, recipe=None):
    recipe = recipe or Recipe.read(str(tiny), list(changes))
    labelled = open_data(str(data), SplitFractions(recipe.data.val, recipe.data.test))
    watch = Recorder()
    trained = Run(recipe, labelled, Path(out), progress=watch, callbacks=[watch]).run()
    return trained, labelled, watch


@pytest.mark.training
@pytest.mark.parametrize("net", ["googlenet.bn", "googlenet.slim"])
def test_it_learns_to_tell_stripes_across_from_stripes_down(stripes, tiny, tmp_path, net):
    # Every seed of four had all right after 12 epochs, one of them not yet after 8.
    clf, data, watch = run(stripes, tiny, tmp_path / "m", "epochs=12", f"net={net}")
    assert watch.rows[-1]["loss"] < 0.3 < watch.rows[0]["loss"]
    assert evaluate(clf, data, "test").top1 == 1.0


@pytest.mark.training
def test_the_2014_net_without_batch_norm_learns_from_scratch(stripes, tiny, tmp_path):
    _, _, watch = run(stripes, tiny, tmp_path / "m", "net=googlenet", "epochs=25",
                      "optimizer.lr=0.01", "aux.weight=0.3", "ema.decay=0")  # fmt: skip
    assert watch.rows[-1]["loss"] < 0.3


@pytest.mark.training
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(stripes, tiny, tmp_path):
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(stripes, tiny, tmp_path / name, "epochs=1", f"seed={seed}")
        weights.append(fingerprint(tmp_path / name / "model.safetensors"))
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.training
def test_a_training_leaves_the_callers_draws_and_gradients_alone(stripes, tiny, tmp_path):
    torch.manual_seed(11)
    inceptive.trace("inception_small", np.zeros((28, 28, 3), np.uint8), "conv1", size=28)
    with torch.no_grad():
        inceptive.train(stripes, tmp_path, tiny, changes={"epochs": 1}, progress=None)
        assert not torch.is_grad_enabled()
    drawn = torch.rand(3)
    torch.manual_seed(11)
    assert torch.equal(drawn, torch.rand(3))


def test_what_a_folder_tells_of_its_training_repeats_it(stripes, tiny, tmp_path):
    run(stripes, tiny, tmp_path / "a", "epochs=2", "data.workers=0")
    told = Classifier.load(tmp_path / "a").info
    assert told["training"]["versions"]["torch"] == torch.__version__
    assert {"cpu", "device", "precision", "processes", "threads"} <= told["training"].keys()
    run(stripes, tiny, tmp_path / "b", recipe=Recipe.from_dict(told["recipe"], "config.json"))
    one, again = (tmp_path / "a", tmp_path / "b")
    assert (one / "README.md").read_bytes() == (again / "README.md").read_bytes()
    assert fingerprint(one / "model.safetensors") == fingerprint(again / "model.safetensors")


@pytest.mark.training
def test_the_folder_gives_back_the_same_classifier(stripes, tiny, tmp_path):
    clf, _data, _ = run(stripes, tiny, tmp_path / "m")
    clf.save(tmp_path / "copy")
    again = Classifier.load(tmp_path / "copy")
    x = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    np.testing.assert_array_equal(again.probs(x), clf.probs(x))
    assert (again.labels, again.preprocessing, again.temperature) == (
        clf.labels, clf.preprocessing, clf.temperature)  # fmt: skip
    assert again.info["metrics"]["split"] == "val"
    assert again.model.net == clf.model.net


@pytest.mark.training
def test_streaming_from_files_learns_like_memory(stripes, tiny, tmp_path, monkeypatch):
    import inceptive.data.loading as loading

    monkeypatch.setattr(loading, "MEMORY_LIMIT", 0)
    clf, _, watch = run(
        stripes, tiny, tmp_path / "m", "augment.area=[0.6, 1.0]", "augment.aspect=[0.9, 1.1]"
    )
    assert watch.rows[-1]["loss"] < 0.45
    assert clf.predict([str(stripes / "down" / "003.png")])[0].top[0][0] == "down"


def test_without_auxiliary_weight_there_are_no_heads(stripes, tiny, tmp_path):
    clf, _, watch = run(stripes, tiny, tmp_path / "m", "epochs=1", "aux.weight=0")
    assert not clf.model.net.aux and "loss_aux_4a" not in watch.rows[0]
    assert not any(key.startswith("aux") for key in clf.model.state_dict())


@pytest.mark.training
def test_accumulated_batches_make_one_step(stripes, tiny, tmp_path):
    """Four batches of 2 without batch norm or chance give the weights of one batch of 8."""
    same = ["net=googlenet", "epochs=1", "ema.decay=0", "augment.flip=false", "augment.shift=0",
            "aux.weight=0", "schedule.kind=constant", "speed.precision=f32",
            "optimizer.momentum=0"]  # fmt: skip
    weights = []
    torch.manual_seed(0)
    dropout = torch.nn.Dropout.forward
    torch.nn.Dropout.forward = lambda self, x: x
    try:
        for name, more in (
            ("one", ["batch_size=8"]),
            ("four", ["batch_size=2", "speed.accumulate=4"]),
        ):
            clf, _, _ = run(stripes, tiny, tmp_path / name, *same, *more)
            weights.append(clf.model.state_dict())
    finally:
        torch.nn.Dropout.forward = dropout
    for key, expected in weights[0].items():
        assert (weights[1][key] - expected).norm() <= 1e-4 * expected.norm() + 1e-6, key


def test_statistics_of_batch_norm_keep_up_with_a_short_training(stripes, tiny, tmp_path):
    """With the momentum of published nets, a hundred steps leave 97 % of what they begin with."""
    data = open_data(str(stripes), SplitFractions(0.2, 0.2))

    def momentum(net, epochs):
        recipe = Recipe.read(str(tiny), [f"net={net}", f"epochs={epochs}"])
        model = Run(recipe, data, tmp_path / "m", progress=None).learner.model
        return next(layer for layer in model.modules() if isinstance(layer, Norm)).momentum

    steps = len(data.split("train")) // 12
    assert momentum("googlenet.slim", 1) == 0.1
    assert momentum("googlenet.slim", 1000) == pytest.approx(30 / (1000 * steps))
    assert momentum("googlenet.slim", 1_000_000) == 3e-4
    assert momentum("googlenet.bn", 1_000_000) == 0.1


def test_the_average_of_few_steps_is_not_of_the_weights_it_began_with(stripes, tiny, tmp_path):
    """After ten steps a decay of 0.999 alone would leave 99 % of them."""
    recipe = Recipe.read(str(tiny), ["ema.decay=0.999", "epochs=1"])
    data = open_data(str(stripes), SplitFractions(recipe.data.val, recipe.data.test))
    learner = Run(recipe, data, tmp_path / "m", progress=None).learner
    for weight in range(11):
        with torch.no_grad():
            for parameter in learner.model.parameters():
                parameter.fill_(weight)
        learner.average.update_parameters(learner.model)
    assert 7 < float(learner.eval_model.fc.bias.detach().mean()) < 10


@pytest.mark.training
def test_early_stopping_ends_a_training_that_no_longer_gains(stripes, tiny, tmp_path):
    _, _, watch = run(stripes, tiny, tmp_path / "m", "epochs=30", "stop.patience=2",
                      "optimizer.lr=1e-9", "ema.decay=0")  # fmt: skip
    assert len(watch.rows) < 30 and "stopped early" in watch.said[-1]


@pytest.mark.training
def test_a_time_limit_ends_within_an_epoch_with_the_rate_at_its_end(stripes, tiny, tmp_path):
    """By a clock that goes a second each time it is looked at, whatever this machine does."""
    seconds = itertools.count()
    with mock.patch("inceptive.training.loop.time.monotonic", lambda: float(next(seconds))):
        _, _, watch = run(stripes, tiny, tmp_path / "m", "epochs=500", "stop.minutes=2")
    rates = [row["lr"] for row in watch.rows]
    assert 2 < len(rates) < 100 and "as stop.minutes says" in watch.said[-1]
    assert rates == sorted(rates, reverse=True) and rates[0] > 0.005 and rates[-1] < 0.0005


@pytest.mark.training
def test_images_grow_until_they_have_their_size(stripes, tiny, tmp_path):
    """The net sees each size in turn; validation and the model that is kept have the last one."""
    seen = []
    forward = torch.nn.Module.__call__

    def spy(module, *inputs, **options):
        if isinstance(module, Objective):
            seen.append(inputs[0].shape[-1])
        return forward(module, *inputs, **options)

    changes = "epochs=3", "image_size=64", "schedule.smallest=0.5", "schedule.grown=0.5"
    with mock.patch.object(torch.nn.Module, "__call__", spy):
        clf, _, watch = run(stripes, tiny, tmp_path / "m", *changes)
    assert seen[:: len(seen) // 3] == [32, 52, 64] and clf.preprocessing.size == 64
    assert [row["pixels"] for row in watch.rows] == [32, 52, 64]
    told = [line.partition("  ")[0] for line in watch.said if line.startswith("epoch ")]
    assert told == ["epoch 1/3 (32 pixels)", "epoch 2/3 (52 pixels)", "epoch 3/3"]


def test_rows_of_an_earlier_release_stand_beside_those_with_more_columns():
    assert as_csv([{"epoch": 1}, {"epoch": 2, "pixels": 64}]) == "epoch,pixels\n1,\n2,64\n"


def test_fine_tuning_starts_from_the_weights_with_new_last_layers(stripes, tiny, tmp_path, trained):
    recipe = Recipe.read(str(tiny), [f"weights={trained[0]}"])
    data = open_data(str(stripes))
    model, given = model_for(recipe, data, 1), Classifier.load(trained[0]).model
    ours, theirs = model.state_dict(), given.state_dict()
    new = tuple(f"{name}." for name in last_layers(model))
    assert new == ("fc.", "aux_4a.fc2.", "aux_4d.fc2.")
    for key in ours:
        if key.endswith("weight") and ours[key].ndim > 1:
            assert torch.equal(ours[key], theirs[key]) != key.startswith(new), key


def test_what_a_recipe_leaves_open_is_as_its_weights_expect(trained):
    published = as_weights_expect(Recipe.read("finetune", ["weights='inception_v3.gluon_in1k'"]))
    assert published.net == "inception_v3.torchvision" and published.data.channels == 3
    assert published.data.mean == (0.485, 0.456, 0.406)
    own = as_weights_expect(Recipe.read("finetune", [f"weights='{trained[0]}'"]))
    assert own.net == "googlenet.bn" and own.data.channels == 1
    said = ["weights='inception_v4.timm'", "net=inception_v4.slim", "data.mean=0.3"]
    kept = as_weights_expect(Recipe.read("finetune", said))
    assert kept.net == "inception_v4.slim" and kept.data.mean == (0.3,)
    assert as_weights_expect(Recipe.read("digits")) == Recipe.read("digits")


def test_published_weights_are_found_for_a_net_or_refused():
    found = as_weights_expect(Recipe.read("finetune", ["weights=published", "net=xception"]))
    assert found.weights == "xception.timm"
    with pytest.raises(InceptiveError, match=r"no weights are published for inception_resnet_v2.p"):
        as_weights_expect(
            Recipe.read("finetune", ["weights=published", "net=inception_resnet_v2.paper"])
        )
    with pytest.raises(InceptiveError, match="does not exist"):
        as_weights_expect(Recipe.read("finetune", ["weights=no/folder"]))


@pytest.mark.training
def test_frozen_parts_keep_their_weights_and_statistics(stripes, tiny, tmp_path, trained):
    clf, _, _ = run(stripes, tiny, tmp_path / "m", f"weights={trained[0]}", "ema.decay=0",
                    "finetune.freeze=inception_4a", "epochs=1")  # fmt: skip
    before, after = Classifier.load(trained[0]).model.state_dict(), clf.model.state_dict()
    frozen = tuple(f"{name}." for name in frozen_parts(clf.model.net, "inception_4a"))
    changed = {key for key in after if not torch.equal(before[key], after[key])}
    assert not any(key.startswith(frozen) for key in changed)
    assert any(key.startswith("inception_5b") for key in changed)


def test_old_layers_learn_slower_than_new_ones():
    model = inceptive.build(inceptive.NETS["googlenet.bn"](num_classes=2))
    recipe = Recipe.from_dict({"optimizer": {"lr": 0.5, "weight_decay": 0.1},
                            "finetune": {"lr_scale": 0.1}}, "test")  # fmt: skip
    by_id = {id(p): group for group in parameter_groups(model, recipe) for p in group["params"]}
    named = dict(model.named_parameters())
    assert len(by_id) == len(named)
    expected = {
        "conv1.weight": (0.05, 0.1), "conv1.bn.weight": (0.05, 0.0), "fc.weight": (0.5, 0.1),
        "fc.bias": (0.5, 0.0), "aux_4a.fc2.weight": (0.5, 0.1), "aux_4a.fc1.weight": (0.05, 0.1),
    }  # fmt: skip
    for key, (lr, decay) in expected.items():
        group = by_id[id(named[key])]
        assert (group["lr"], group["weight_decay"]) == (pytest.approx(lr), decay), key


@pytest.mark.parametrize(("changes", "said"), [
    (["weights=no/folder"], "does not exist"),
    (["finetune.freeze=inception_9z"], "has no such part"),
    (["net=vgg"], "no net is called 'vgg'"),
    (["image_size=16"], "the least size is 31"),
    (["aux.at=['inception_9z']"], "has no part inception_9z"),
    (["finetune.probe=true"], "a probe learns from the maps of trained weights"),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused_before_data_is_read(changes, said, tiny, tmp_path):
    with pytest.raises(InceptiveError, match=said):
        inceptive.train("no/data", tmp_path / "m", tiny, changes=changes, progress=None)
    assert not (tmp_path / "m").exists()


def test_no_validation_split_is_refused_rather_than_taken_from_training(stripes, tiny, tmp_path):
    with pytest.raises(InceptiveError, match="has no val split"):
        run(stripes, tiny, tmp_path / "m", "data.val=0")


def test_resuming_on_other_data_is_refused(stripes, tiny, tmp_path):
    from inceptive.training import checkpoint

    recipe = Recipe.read(str(tiny))
    data = open_data(str(stripes), SplitFractions(0.2, 0.2))
    Run(recipe, data, tmp_path / "m")._write_checkpoint()
    other = open_data(str(stripes), SplitFractions(0.3, 0.2))
    with pytest.raises(InceptiveError, match="checkpoint is of other data"):
        Run(recipe, other, tmp_path / "m", resume=True)
    assert (tmp_path / "m" / checkpoint.CHECKPOINT).exists()


def test_resuming_on_other_images_of_the_same_counts_is_refused(stripes, tiny, tmp_path):
    """Replaced images of validation and test were trained on."""
    folder = Path(shutil.copytree(stripes, tmp_path / "stripes"))
    recipe, shares = Recipe.read(str(tiny)), SplitFractions(0.2, 0.2)
    data = open_data(str(folder), shares)
    Run(recipe, data, tmp_path / "m")._write_checkpoint()
    Run(recipe, open_data(str(folder), shares), tmp_path / "m", resume=True)
    changed = Path(data.splits["val"].name(0))
    with Image.open(changed) as image:
        turned = image.transpose(Image.Transpose.ROTATE_180)
    turned.save(changed)
    with pytest.raises(InceptiveError, match=r"of other data \(other images\)"):
        Run(recipe, open_data(str(folder), shares), tmp_path / "m", resume=True)


def test_the_library_trains_in_one_call_and_prints_on_standard_error(
    stripes, tiny, tmp_path, capsys
):
    clf = inceptive.train(stripes, tmp_path / "m", tiny, epochs=1, changes={"ema.decay": 0.5})
    printed, said = capsys.readouterr()
    assert printed == "" and "stripes: 2 classes, images: 36 train, 12 val, 12 test" in said
    assert "epoch 1/1" in said and "best epoch 1: " in said
    assert (clf.info["recipe"]["epochs"], clf.info["recipe"]["ema"]["decay"]) == (1, 0.5)
    saved = Classifier.load(tmp_path / "m")
    images = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    np.testing.assert_array_equal(saved.probs(images), clf.probs(images))
    with pytest.raises(InceptiveError, match="is not empty"):
        inceptive.train(stripes, tmp_path / "m", tiny, progress=None)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", [r"runs\mine", 'it\'s "x"', "a\u200bb", " spaced "])
def test_weights_are_a_value_and_never_read_as_toml(tiny, trained, tmp_path, name):
    shutil.copytree(trained[0], tmp_path / name)
    weights = str(tmp_path / name)
    assert choose_recipe("photos", tiny, {"weights": weights}, Silent()).weights == weights


@pytest.mark.parametrize("name", [r"runs\mine", 'it\'s "x"', "a\u200bb", "3", " spaced "])
def test_the_command_hands_weights_on_as_they_were_typed(stripes, tmp_path, monkeypatch, name):
    taken = []

    def choose(data, recipe, changes, progress, net):
        taken.append(changes["weights"])
        raise InceptiveError("far enough")

    monkeypatch.setattr("inceptive.training.train.choose_recipe", choose)
    done = command("train", stripes, "--weights", name, "--out", tmp_path / "m")
    assert "far enough" in done.stderr and taken == [name]


def test_a_batch_too_small_to_normalise_is_refused_in_words(stripes, tiny, tmp_path):
    with pytest.raises(InceptiveError, match=r"batch of 1 image at 32 pixels.*batch_size = 2"):
        run(stripes, tiny, tmp_path / "m", "batch_size=1")


@pytest.mark.training
def test_a_batch_of_one_learns_where_statistics_are_frozen(stripes, tiny, tmp_path):
    clf, _, _ = run(stripes, tiny, tmp_path / "n", "batch_size=1", "epochs=1",
                    "finetune.batch_norm=frozen")  # fmt: skip
    assert clf.info["training"]["epoch"] == 1


class Poison(Callback):
    """Makes running statistics NaN: training does not read them, validation does."""

    def __init__(self, epoch):
        self.epoch, self.run, self.now = epoch, None, False

    def on_epoch_start(self, epoch, epochs, steps):
        self.now = epoch == self.epoch

    def on_step(self, step, images, losses, top1):
        if self.now:
            self.run.learner.model.conv1.bn.running_mean.fill_(float("nan"))


@pytest.mark.parametrize("epoch", [0, pytest.param(1, marks=pytest.mark.training)])
def test_nan_in_validation_alone_ends_like_nan_in_training(stripes, tiny, tmp_path, epoch):
    recipe = Recipe.read(tiny, {"ema.decay": 0, "epochs": 2})
    poison = Poison(epoch)
    poison.run = Run(recipe, open_data(str(stripes)), tmp_path / "m", callbacks=[poison])
    with pytest.raises(
        InceptiveError, match=f"diverged in epoch {epoch + 1}.*optimizer.lr="
    ) as caught:
        poison.run.run()
    assert "go on from it with --resume" in str(caught.value)  # there is one from the beginning


@pytest.mark.training
def test_what_is_reported_is_measured_as_it_is_deployed(stripes, tiny, tmp_path):
    """Trained in bfloat16, validated in float32: the numbers are those of the model in the folder."""
    clf, data, watch = run(stripes, tiny, tmp_path / "m", "epochs=1", "speed.precision=bf16")
    val = data.split("val")
    logits = clf.logits(np.stack([clf.preprocessing.load(val.source(k)) for k in range(len(val))]))
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(val.labels)
    )
    assert watch.rows[0]["val_loss"] == pytest.approx(float(expected), abs=2e-5)


def test_a_recipe_shows_what_it_sets():
    recipe = Recipe.from_dict({"epochs": 3, "optimizer": {"lr": 0.5}})
    assert repr(recipe) == str(recipe) == "Recipe(epochs=3, optimizer.lr=0.5)"


@pytest.mark.parametrize(("changes", "said"), [
    (["optimizer.nesterov=true", "optimizer.momentum=0"], "nesterov.*needs a momentum above 0"),
    (["optimizer.lr=1e300"], "less than or equal to 1000000"),
    (["optimizer.lr=nan"], "finite number"),
])  # fmt: skip
def test_numbers_that_cannot_be_end_in_a_line(changes, said):
    with pytest.raises(InceptiveError, match=said):
        Recipe.read("digits", changes)
