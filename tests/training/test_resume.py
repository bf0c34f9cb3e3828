"""A training that is killed, wherever that is, goes on and ends with the bits of one that never was."""

import csv
import json
import multiprocessing
import os
import shutil
import signal
import threading
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from conftest import command

import inceptive
from inceptive.data import loading
from inceptive.data.open import open_data
from inceptive.engines.classifier import Classifier
from inceptive.engines.header import fingerprint
from inceptive.errors import InceptiveError
from inceptive.training import checkpoint, loop
from inceptive.training.callbacks import Callback
from inceptive.training.loop import Paused, Run
from inceptive.training.prepare import shares
from inceptive.training.recipe import Recipe
from inceptive.training.train import train

pytestmark = pytest.mark.faults

RECIPE = """
net = "googlenet.bn"
image_size = 32
epochs = 5
batch_size = 5
seed = 3
[data]
val = 0.2
test = 0.2
[optimizer]
lr = 0.01
clip = 1.0
[schedule]
kind = "cosine"
warmup_epochs = 1
[augment]
flip = true
area = [0.5, 1.0]
aspect = [0.8, 1.25]
brightness = 0.2
contrast = 0.2
erase = 0.2
[ema]
decay = 0.9
[stop]
patience = 4
[speed]
accumulate = 2
"""  # seven steps an epoch, gathered in twos: the last is left out
TIMES = ("seconds", "images_per_second")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("resume") / "recipe.toml"
    path.write_text(RECIPE)
    return str(path)


def one_training(recipe, data, out, streamed, workers, dies):
    """In a process of its own: train, or go on, and die by SIGKILL as `dies` says: ("never",),
    ("step", n) when n steps are done, ("call", n) in the n-th call that writes, ("time", seconds)."""
    torch.set_num_threads(1)
    how, *when = dies

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    calls = 0

    def counted(call):
        def wrapped(*args, **more):
            nonlocal calls
            calls += 1
            if calls == when[0]:
                die()
            return call(*args, **more)

        return wrapped

    steps = 0

    def pause():
        nonlocal steps
        steps += 1
        if how == "step" and steps == when[0]:
            die()
        return False

    if streamed:
        loading.MEMORY_LIMIT = 0
    if how == "call":
        os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    if how == "time":
        threading.Timer(when[0], die).start()
    if how in ("call", "time"):  # after every step, else after every epoch
        loop.SAVE_SECONDS = 0.0
    loop.SAVE_SHARE = 1e9
    read = Recipe.read(recipe, [f"data.workers={workers}"])
    resume = (out / "checkpoint.pt").exists()
    labelled = open_data(str(data), shares(read))
    Run(read, labelled, out, resume=resume, should_stop=pause).run()


def in_a_process(*args):
    """The exit status of `one_training`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["inceptive.training.loop", "inceptive.data.open", "test_resume"]
    )
    process = context.Process(target=one_training, args=args)
    process.start()
    process.join(240)
    assert process.exitcode is not None
    return process.exitcode


def told(folder):
    """What a training leaves, but for what the clock says."""
    config = json.loads((folder / "config.json").read_text())
    config["training"].pop("seconds")
    config["recipe"]["data"].pop("workers")
    with (folder / "history.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    return fingerprint(folder / "model.safetensors"), config, rows


@pytest.mark.parametrize(
    ("streamed", "kills"),
    [(False, 4), (True, 4), pytest.param(True, 20, marks=pytest.mark.slow),
     pytest.param(False, 20, marks=pytest.mark.slow)],
)  # fmt: skip
def test_killed_at_any_moment_it_ends_with_the_same_bits(
    recipe, stripes, tmp_path, streamed, kills, record_property
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert in_a_process(recipe, stripes, whole, streamed, 1, ("never",)) == 0
    rng = np.random.default_rng(kills + streamed)
    killed = tried = 0
    while killed < kills and tried < 4 * kills:
        dies = (
            ("step", int(rng.integers(1, 12))),
            ("call", int(rng.integers(1, 30))),
            ("time", float(rng.uniform(0.5, 3))),
        )[tried % 3]
        tried += 1
        status = in_a_process(recipe, stripes, cut, streamed, int(rng.integers(0, 3)), dies)
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
        if (cut / "config.json").exists():
            Classifier.load(cut)  # the best until then can always be used
        if status == 0 and killed < kills:  # it came to its end: another one
            assert told(cut) == told(whole)
            shutil.rmtree(cut)
    assert killed == kills
    if (cut / "checkpoint.pt").exists() or not (cut / "config.json").exists():
        assert in_a_process(recipe, stripes, cut, streamed, 2, ("never",)) == 0
    assert told(cut) == told(whole)
    assert not (cut / "checkpoint.pt").exists()
    record_property("reliability", json.dumps({
        "table": "faults", "what": "training killed between steps, in writes, at any time, "
        + ("images streamed" if streamed else "images in memory"), "tried": killed,
        "survived": killed, "lost": "nothing", "note": "ends with the same bits",
    }))  # fmt: skip


def test_paused_after_every_step_it_ends_with_the_same_bits(
    recipe, stripes, tmp_path, record_property
):
    read = Recipe.read(recipe, ["epochs=2"])
    data = open_data(str(stripes), shares(read))
    Run(read, data, tmp_path / "whole").run()
    places = []
    for _ in range(20):
        resume = (tmp_path / "cut" / "checkpoint.pt").exists()
        try:
            Run(read, data, tmp_path / "cut", resume=resume, should_stop=lambda: True).run()
            break
        except Paused as where:
            places.append(str(where))
    assert places == [
        "after step 2 of 7 of epoch 1", "after step 4 of 7 of epoch 1",
        "after step 6 of 7 of epoch 1", "after step 7 of 7 of epoch 1", "after epoch 1 of 2",
        "after step 2 of 7 of epoch 2", "after step 4 of 7 of epoch 2",
        "after step 6 of 7 of epoch 2", "after step 7 of 7 of epoch 2",
    ]  # fmt: skip
    assert told(tmp_path / "cut") == told(tmp_path / "whole")
    record_property("reliability", json.dumps({
        "table": "faults", "what": "training paused after each step", "tried": len(places),
        "survived": len(places), "lost": "nothing", "note": "ends with the same bits",
    }))  # fmt: skip


@pytest.mark.parametrize(
    ("better", "share", "count"), [(False, 1e-9, 1), (False, 1e9, 3), (True, 1e-9, 3)]
)
def test_checkpoints_take_their_share_of_the_time_only(
    recipe, stripes, tmp_path, monkeypatch, better, share, count
):
    """One after every epoch took a third of a training on sixty pictures. Each better model has one: a
    training that goes on with another rate would else put a worse one in its place."""
    written = []
    monkeypatch.setattr("inceptive.training.history.RunState.better", lambda *_: better)
    monkeypatch.setattr(Run, "_best", lambda _: None)  # there may be none
    monkeypatch.setattr(loop, "SAVE_SHARE", share)
    monkeypatch.setattr(checkpoint, "save", lambda *_: written.append(1))
    read = Recipe.read(recipe, ["epochs=2"])
    Run(read, open_data(str(stripes), shares(read)), tmp_path / "m").run()
    assert len(written) == count  # the first at the start


def paused(data, out, recipe, changes=()):
    """A training that was stopped after its first step, and the data."""
    read = Recipe.read(recipe, changes)
    labelled = open_data(str(data), shares(read))
    with pytest.raises(Paused):
        Run(read, labelled, out, should_stop=lambda: True).run()
    return labelled


def test_what_ends_before_the_first_epoch_can_be_gone_on_with(tiny, stripes, tmp_path):
    def begun(resume, *callbacks):
        changes = {"epochs": 1}
        return inceptive.train(
            stripes, tmp_path / "m", None if resume else tiny, changes=changes, resume=resume,
            callbacks=callbacks, progress=None,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        begun(False, Mock(spec=Callback, on_epoch_start=Mock(side_effect=KeyboardInterrupt)))
    assert (tmp_path / "m/checkpoint.pt").exists() and not (tmp_path / "m/config.json").exists()
    begun(True)
    whole = inceptive.train(stripes, tmp_path / "w", tiny, changes={"epochs": 1}, progress=None)
    assert Classifier.load(tmp_path / "m").fingerprint == whole.fingerprint


def test_the_advice_after_a_divergence_works(tiny, stripes, tmp_path):
    out = tmp_path / "m"
    recipe = tiny.with_name("plain.toml")
    recipe.write_text('net = "googlenet"\nimage_size = 32\nepochs = 2\nbatch_size = 12\n'
                      '[data]\nval = 0.2\ntest = 0.2\n[optimizer]\nlr = 0.001\n')  # fmt: skip
    paused(stripes, out, recipe)
    words = ["train", stripes, "--out", out, "--resume", "--set"]
    done = command(*words, "optimizer.lr=10.0")
    assert done.returncode == 1 and "training diverged in epoch 1: " in done.stderr
    advice = "go on from it with --resume and a smaller rate, --set optimizer.lr=3.33 (if it "
    assert advice in done.stderr
    done = command(*words, "optimizer.lr=0.01")
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 0 of 2 and 1 steps" in done.stderr
    config = json.loads((out / "config.json").read_text())
    assert config["recipe"]["optimizer"]["lr"] == 0.01


def test_what_can_change_on_the_way_does(tiny, stripes, tmp_path):
    out = tmp_path / "m"
    paused(stripes, out, tiny, ["epochs=1", "optimizer.weight_decay=0.1"])
    clf = train(stripes, out, resume=True, epochs=2, progress=None, changes={
        "optimizer.lr": 0.02, "optimizer.weight_decay": 0.3, "stop.patience": 9})  # fmt: skip
    recipe = clf.info["recipe"]
    assert (recipe["epochs"], recipe["optimizer"]["lr"], recipe["stop"]["patience"]) == (2, 0.02, 9)
    with (out / "history.csv").open(newline="") as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    assert len(rates) == 2 and rates[0] > 0.01
    with pytest.raises(
        InceptiveError, match=f"has ended: train on from its weights: --weights {out}"
    ):
        train(stripes, out, resume=True, progress=None)


@pytest.mark.parametrize(("changes", "said"), [
    ({"net": "inception_v3"}, "net cannot change from 'googlenet.bn' to 'inception_v3'"),
    ({"image_size": 48}, "image_size cannot change"),
    ({"batch_size": 6}, "the steps of an epoch are counted in it"),
    ({"seed": 9}, "seed cannot change"),
    ({"data.val": 0.3}, "data.val cannot change"),
    ({"weights": "xception.timm"}, "weights cannot change"),
    ({"optimizer.kind": "adamw"}, "optimizer.kind cannot change"),
    ({"ema.decay": 0.9}, "ema.decay cannot change"),
    ({"aux.weight": 0.0}, "aux.weight cannot change"),
])  # fmt: skip
def test_what_cannot_change_on_the_way_is_refused_by_name(
    tiny, stripes, tmp_path_factory, changes, said, cut
):
    before = (cut / "checkpoint.pt").read_bytes()
    with pytest.raises(InceptiveError, match=said):
        train(stripes, cut, resume=True, changes=changes, progress=None)
    assert (cut / "checkpoint.pt").read_bytes() == before


@pytest.fixture(scope="module")
def cut(tiny, stripes, tmp_path_factory):
    out = tmp_path_factory.mktemp("cut") / "m"
    paused(stripes, out, tiny, ["epochs=1"])
    return out


def test_the_weights_it_began_with_are_not_needed_again(tiny, stripes, trained, tmp_path):
    start, out = tmp_path / "start", tmp_path / "m"
    shutil.copytree(trained[0], start)
    paused(stripes, out, tiny, [f"weights={start}", "epochs=1"])
    shutil.rmtree(start)
    assert train(stripes, out, resume=True, progress=None).info["recipe"]["weights"] == str(start)


def test_from_scratch_may_be_said_again(tiny, stripes, tmp_path):
    paused(stripes, tmp_path / "m", tiny, ["epochs=1"])
    train(stripes, tmp_path / "m", weights="none", resume=True, progress=None)


def test_a_checkpoint_goes_on_with_names_of_before(tiny, stripes, tmp_path):
    """Until 0.1 there was speed.merge, and a probe's details were what it told."""
    out = tmp_path / "m"
    paused(stripes, out, tiny, ["epochs=1"])
    state = checkpoint.load(out)
    state["recipe"]["speed"]["merge"] = "auto"
    del state["run"]["details"]
    state["run"]["told"] = {"feedback": {}}
    checkpoint.save(out, state)
    training = train(stripes, out, resume=True, progress=None).info["training"]
    assert training["epoch"] == 1 and training["feedback"] == {}


def test_a_net_of_one_s_own_goes_on_without_its_name_or_file(tiny, stripes, tmp_path):
    """It is built from the tree in the checkpoint: neither name nor file is looked for again."""
    file, changes = tmp_path / "mynet.py", {"epochs": 1, "aux.weight": 0.0}
    file.write_text(
        "import inceptive\nfrom dataclasses import replace\n\ndef mynet(num_classes, channels):\n"
        "    return replace(inceptive.NETS['googlenet.bn'](num_classes, channels), name='mine')\n"
    )
    out = tmp_path / "m"
    with pytest.raises(Paused):
        train(stripes, out, tiny, net=f"{file}:mynet", changes=changes, progress=None,
              should_stop=lambda: True)  # fmt: skip
    file.unlink()
    clf = train(stripes, out, resume=True, progress=None)
    expected = replace(inceptive.NETS["googlenet.bn"](2, 1), name="mine").without_aux()
    assert clf.model.net == Classifier.load(out).model.net == expected


class Adding(Callback):
    """Adds to the rows of history.csv, and fails in an epoch."""

    def __init__(self, failing=0):
        self.failing = failing

    def on_epoch_end(self, row, better):
        row["doubled"] = np.float64(row["val_top1"] * 2)
        if row["epoch"] == self.failing:
            raise ValueError("no more")


SHORT = ["epochs=2", "speed.accumulate=1"]


@pytest.mark.parametrize("failing", [1, 2])
def test_what_a_callback_adds_or_breaks_keeps_no_training_from_its_end(
    stripes, recipe, tmp_path, failing, monkeypatch
):
    """A NumPy number in a row made the checkpoint unreadable; after the last epoch, nothing was left
    to do, and that was refused."""
    monkeypatch.setattr(loop, "SAVE_SHARE", 1e9)
    with pytest.raises(ValueError, match="no more"):
        train(
            stripes,
            tmp_path / "m",
            recipe,
            changes=SHORT,
            callbacks=[Adding(failing)],
            progress=None,
        )
    assert (tmp_path / "m" / "checkpoint.pt").exists()
    train(stripes, tmp_path / "m", resume=True, callbacks=[Adding()], progress=None)
    assert not (tmp_path / "m" / "checkpoint.pt").exists()
    assert (tmp_path / "m" / "report.html").exists()
    with (tmp_path / "m" / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_more_batches_than_an_epoch_has_are_not_gathered(stripes, recipe, tmp_path):
    """Nothing was learned, and five epochs said nothing of it."""
    with pytest.raises(InceptiveError, match=r"speed\.accumulate = 99: an epoch has 7 b"):
        train(stripes, tmp_path / "m", recipe, changes=["speed.accumulate=99"], progress=None)


def test_a_shipped_recipe_named_again_keeps_what_the_plan_decided(stripes, tmp_path):
    """The command of a training, with --resume added, was refused: small_net cannot change."""
    words = {"weights": "none", "minutes": 5, "progress": None, "should_stop": lambda: True}
    kept = []
    for resume in (False, True):
        with pytest.raises(Paused):
            train(stripes, tmp_path / "m", "photos", resume=resume, **words)
        values = checkpoint.load(tmp_path / "m")["recipe"]
        kept.append([values[key] for key in ("net", "small_net", "image_size")])
    assert kept[0] == kept[1]
