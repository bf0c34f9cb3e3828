"""A training that is killed, wherever that is, goes on and ends with the bits of one that never was."""

import csv
import json
import multiprocessing
import os
import shutil
import signal
import threading

import numpy as np
import pytest
import torch
from conftest import Silent

from inceptive.data import loading
from inceptive.data.open import open_data
from inceptive.engines.classifier import Classifier
from inceptive.training import loop
from inceptive.training import recipe as recipes
from inceptive.training.loop import Paused, train
from inceptive.training.prepare import shares

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
    loop.KEEP_SECONDS = 0.0 if how in ("call", "time") else 600.0
    read = recipes.read(recipe, [f"data.workers={workers}"])
    resume = (out / "checkpoint.pt").exists()
    train(read, open_data(str(data), shares(read)), out, Silent(), resume, pause)


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
    return (folder / "model.safetensors").read_bytes(), config, rows


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
    read = recipes.read(recipe, ["epochs=2"])
    data = open_data(str(stripes), shares(read))
    train(read, data, tmp_path / "whole", Silent())
    places = []
    for _ in range(20):
        resume = (tmp_path / "cut" / "checkpoint.pt").exists()
        try:
            train(read, data, tmp_path / "cut", Silent(), resume, lambda: True)
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
