"""What a training of photographs begins with, and what it plans for the time there is."""

import csv
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import command, picture

import inceptive
from inceptive.arch.nets import NETS
from inceptive.data.open import open_data
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.io.progress import Silent
from inceptive.training.calibration import wants_bf16
from inceptive.training.choose import choose_recipe, is_builtin
from inceptive.training.distributed import World
from inceptive.training.learner import Learner
from inceptive.training.plan import (
    epochs_of_use,
    not_much_enlarged,
    paced,
    planned,
    some_of_each,
    spread,
)
from inceptive.training.recipe import Recipe
from inceptive.weights.catalogue import catalogue


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """No weights in any cache, and no network."""
    from huggingface_hub import constants

    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("INCEPTIVE_OFFLINE", "1")
    return tmp_path / "cache" / "weights"


def chosen(data, changes=None, recipe=None):
    progress = mock.Mock(spec=Silent)
    value = choose_recipe(data, recipe, changes or {}, progress)
    return value, " | ".join(call.args[0] for call in progress.say.call_args_list)


def test_photographs_start_from_weights_in_the_cache(empty, stripes):
    published = catalogue()["inception_v3.nsfwjs"]
    empty.mkdir(parents=True)
    (empty / published.file).write_bytes(b"\x1f\x8b\0")
    with mock.patch("inceptive.weights.load.matches", return_value=True):
        recipe, said = chosen(stripes)
    assert recipe.weights == "inception_v3.nsfwjs" and recipe.finetune.probe
    assert recipe.net == published.net and "finetune, from inception_v3.nsfwjs" in said


def test_without_weights_and_network_they_are_trained_from_scratch_and_that_is_said(empty, stripes):
    recipe, said = chosen(stripes)
    assert recipe == Recipe.read("photos") and "recipe: photos, from scratch" in said
    assert "no published weights to start from" in said and "INCEPTIVE_OFFLINE is set" in said
    with pytest.raises(InceptiveError, match="INCEPTIVE_OFFLINE is set"):  # they were asked for
        chosen(stripes, {"weights": "published"})


def test_a_mistake_in_an_option_is_not_taken_for_weights_that_cannot_be_had(empty, stripes):
    with pytest.raises(InceptiveError, match=r"recipe finetune: stop\.minutes = -1"):
        chosen(stripes, {"stop.minutes": -1.0})


@pytest.mark.parametrize("changes", [{"weights": "none"}, {"net": "googlenet.bn"}])
def test_from_scratch_where_that_is_asked_for(empty, stripes, changes):
    recipe, said = chosen(stripes, changes)
    assert not recipe.weights and not recipe.finetune.probe and "photos, from scratch" in said


def test_a_recipe_is_not_announced_for_a_net_that_does_not_exist(empty, stripes):
    progress = mock.Mock(spec=Silent)
    with pytest.raises(InceptiveError, match="googlenett"):
        choose_recipe(stripes, None, {"net": "googlenett"}, progress)
    progress.say.assert_not_called()


def test_a_built_in_set_keeps_its_recipe(empty):
    assert chosen("digits")[0] == Recipe.read("digits")


FETCH = """
import sys
from inceptive.training.choose import choose_recipe
from inceptive.io.progress import ON_STANDARD_ERROR
from inceptive.weights.catalogue import catalogue
from inceptive.weights.load import fetch
recipe = choose_recipe(sys.argv[1], None, {}, ON_STANDARD_ERROR)
print(recipe.weights, fetch(catalogue()[recipe.weights]).read_bytes())
"""


@pytest.mark.training
def test_they_are_fetched_from_the_hub_and_that_is_said(tmp_path, stripes):
    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("ETag", '"0123456789"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("Content-Length", "7")
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(b"weights")

        def log_message(self, *_):
            pass

    asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        gone = {"INCEPTIVE_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "https_proxy"}
        environment = {key: value for key, value in os.environ.items() if key not in gone} | {
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HUB_CACHE": str(tmp_path / "hub"),
            "INCEPTIVE_CACHE": str(tmp_path / "cache"), "no_proxy": "127.0.0.1",
        }  # fmt: skip
        words = [sys.executable, "-c", FETCH, str(stripes)]
        try:
            first, again = (
                subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
                for _ in range(2)
            )
        finally:
            hub.shutdown()
            thread.join()
    assert first.stdout == again.stdout == "inception_v3.gluon_in1k b'weights'\n", first.stderr
    assert "fetching inception_v3.gluon_in1k from the Hugging Face hub" in first.stderr
    assert "licence Apache-2.0" in first.stderr and "fetching" not in again.stderr
    asked = {path for path in asked if "/resolve/" in path}
    assert asked == {"/timm/inception_v3.gluon_in1k/resolve/main/model.safetensors"}


def plan(stripes, minutes, seconds, **changes):
    data = open_data(str(stripes), progress=None)
    recipe = Recipe.read("finetune", {"stop.minutes": minutes, "weights": "x", **changes})
    net, progress = NETS["inception_v3.nsfwjs"](num_classes=5), mock.Mock(spec=Silent)
    window, now = ["mixed_6b", "mixed_6e"], time.monotonic()
    recipe = planned(recipe, data, net, seconds, now, window, 1.5e-3, progress)
    [call] = progress.say.call_args_list
    return recipe, call.args[0]


def test_the_less_time_there_is_the_smaller_the_images(stripes):
    plenty, said = plan(stripes, 10, 0.1)
    assert plenty.image_size == 224 and plenty.finetune.freeze == "mixed_6a"
    assert said.startswith("plan: 224 pixels, a probe of mixed_6b to mixed_6e: about ")
    assert said.endswith("on this machine, of 10 minutes; then at most 60 epochs behind mixed_6a")
    assert plan(stripes, 10, 0.1, epochs=0)[1].endswith("on this machine, of 10 minutes")
    assert plan(stripes, 1, 2.0, **{"stop.smallest": 0})[0].image_size == 224
    sizes = [plan(stripes, minutes, 2.0)[0].image_size for minutes in (5, 1, 0.5, 0.1)]
    assert sizes == sorted(sizes, reverse=True) and 224 > sizes[1] > sizes[-1] >= 96


def test_what_time_is_left_goes_to_learning_until_it_is_used(stripes):
    changes = {"epochs": 50, "finetune.views": 4, "schedule.smallest": 1.0}
    some, _ = plan(stripes, 1, 0.2, **changes)
    more, said = plan(stripes, 3, 0.2, **changes)
    assert 0 < some.epochs < more.epochs <= 50 and "epochs behind mixed_6b with 4 views" in said
    assert plan(stripes, 60, 0.2, **changes)[0].epochs == 50
    none, said = plan(stripes, 0.2, 0.2, **changes)
    assert none.epochs == 0 and none.finetune.views == 1 and "epochs" not in said
    all_learn, said = plan(stripes, 60, 0.2, epochs=3)
    assert all_learn.epochs == 3 and said.endswith("; then at most 3 epochs behind mixed_6a")
    _, said = plan(stripes, 0, 0.2, epochs=3)
    assert "then 3 epochs behind mixed_6a: about" in said


def test_a_first_look_is_at_as_many_of_each_class():
    labels = np.repeat([0, 1, 2], [500, 30, 1])
    counts = np.bincount(labels[some_of_each(labels, 3)])
    assert counts.tolist() == [42, 30, 1]
    assert np.bincount(some_of_each(np.arange(1000) % 500, 500) % 500).max() == 2
    # not the first, which are alike
    assert spread(np.arange(10, 110), 4).tolist() == [10, 43, 76, 109]


def pace(
    stripes, tiny, minutes, changes=None, step=None, cost=lambda pixels: 0.0, net=None, behind=False
):
    """As planned where each look at the clock is a tenth of a second after the last one, and a step
    of images with so many pixels takes so many seconds more."""
    clock, progress = {"now": 0.0}, mock.Mock(spec=Silent)
    fixed = {"stop.minutes": minutes, "stop.smallest": 32, "image_size": 80}
    recipe = Recipe.read(tiny, fixed | (changes or {}))
    data = open_data(str(stripes), progress=None)

    def look():
        clock["now"] += 0.1
        return clock["now"]

    def timed(learner, *_):
        clock["now"] += cost(learner.size)
        return (torch.zeros(1),)

    with (
        mock.patch("inceptive.training.plan.time.monotonic", look),
        mock.patch.object(Learner, "step", step or timed),
    ):
        recipe = paced(recipe, data, net, World(), look(), progress, behind)
    return recipe, [call.args[0] for call in progress.say.call_args_list]


def test_the_less_time_from_scratch_the_smaller_the_images_then_the_fewer_the_epochs(stripes, tiny):
    plenty, [said] = pace(stripes, tiny, 60, step=Learner.step)
    assert (plenty.image_size, plenty.epochs) == (80, 8)
    precision = "bf16" if wants_bf16("auto", torch.device("cpu")) else "f32"
    assert said.startswith(f"plan: 80 pixels, 8 epochs in {precision}: about ")
    assert said.endswith(" on this machine, of 60 minutes")
    plans = [pace(stripes, tiny, minutes)[0] for minutes in (0.055, 0.033, 0.005)]
    sizes, epochs = [plan.image_size for plan in plans], [plan.epochs for plan in plans]
    assert sizes == sorted(sizes, reverse=True) and 80 > sizes[0] > sizes[-1] >= 32
    assert epochs[0] == 8 and 1 <= epochs[-1] < 8
    assert pace(stripes, tiny, 0.005)[1][0].endswith("which are too few for one epoch")
    fixed, _ = pace(stripes, tiny, 0.033, {"stop.smallest": 0})
    assert fixed.image_size == 80 and fixed.epochs == 8  # the clock ends them, if it must
    assert pace(stripes, tiny, 0)[1] == []  # nothing is planned where there is no limit


def test_images_that_grow_leave_time_for_more_epochs(stripes, tiny):
    growing = {"epochs": 100, "schedule.smallest": 0.5}
    costs = {"cost": lambda pixels: 0.1 * (pixels / 40) ** 2}
    whole, _ = pace(stripes, tiny, 0.5, {"epochs": 100}, **costs)
    grown, [said] = pace(stripes, tiny, 0.5, growing, **costs)
    assert grown.image_size >= whole.image_size and grown.epochs > whole.epochs
    assert f"plan: {grown.image_size} pixels (" in said and " in the beginning)" in said
    # What a step costs whatever the images (an optimizer's share) is not saved by small ones.
    free = {"epochs": 1000, "stop.smallest": 80}
    alike = pace(stripes, tiny, 0.5, free)[0].epochs
    assert pace(stripes, tiny, 0.5, free | {"schedule.smallest": 0.5})[0].epochs < 1.2 * alike


def test_epochs_too_few_to_be_of_use_are_not_begun(stripes, tiny, monkeypatch):
    costs = {"cost": lambda pixels: 4.0 * (pixels / 40) ** 2, "behind": True}
    monkeypatch.setattr("inceptive.training.plan.epochs_of_use", lambda images: 4)
    assert 4 <= pace(stripes, tiny, 60, **costs)[0].epochs <= 8
    none, [said] = pace(stripes, tiny, 0.5, **costs)
    assert none.epochs == 0 and "that are left are too few to learn more: 4 epochs of 48" in said
    more = int(said.rpartition("--minutes ")[2].rstrip(")"))  # is enough
    assert pace(stripes, tiny, more, **costs)[0].epochs >= 4
    assert pace(stripes, tiny, 0.5, **costs | {"behind": False})[0].epochs < 4


def test_the_fewer_epochs_are_wanted_the_larger_the_images(stripes, tiny):
    costs = {"cost": lambda pixels: 0.1 * (pixels / 40) ** 2}
    plans = [pace(stripes, tiny, 0.1, {"epochs": wanted}, **costs)[0] for wanted in (8, 2)]
    assert 32 <= plans[0].image_size < plans[1].image_size <= 80
    # Flowers and Imagenette of the log: what was of use there.
    assert [epochs_of_use(images) for images in (60, 2493, 5000, 8049, 50_000)] == [8, 8, 5, 4, 4]


def test_images_grow_from_what_the_net_can_take(stripes, tiny):
    """Inception v3 takes no images of fewer than 75 pixels."""
    net = NETS["inception_v3"](num_classes=2, channels=1)
    recipe, _ = pace(stripes, tiny, 60, {"image_size": 128, "schedule.smallest": 0.5}, net=net)
    assert recipe.image_size == 80 and recipe.schedule.smallest == 1.0
    without, _ = pace(stripes, tiny, 0, {"image_size": 128, "schedule.smallest": 0.5,
                                         "stop.smallest": 0}, net=net)  # fmt: skip
    assert without.image_size == 128 and without.schedule.smallest == 80 / 128


def test_small_pictures_are_not_enlarged_more_than_twice(stripes, tiny):
    """Those of `stripes` have 40 pixels."""
    assert pace(stripes, tiny, 60, {"image_size": 112})[0].image_size == 80
    assert pace(stripes, tiny, 60, {"image_size": 112, "stop.smallest": 0})[0].image_size == 112
    assert pace(stripes, tiny, 60, {"image_size": 112, "stop.smallest": 96})[0].image_size == 96
    # Behind a probe they are as large as its images may be.
    assert pace(stripes, tiny, 60, {"image_size": 112}, behind=True)[0].image_size == 112
    net, fixed = NETS["inception_v3"](num_classes=2), {"stop.smallest": 0}
    for changes, size in (({}, 96), ({"stop.smallest": 16}, 80), (fixed, 224)):
        recipe = Recipe.read("finetune", changes)
        assert not_much_enlarged(recipe, net, 12.0, 4.0).image_size == size  # it takes no 48 pixels


def test_small_pictures_have_a_net_of_their_own_and_their_own_size(stripes, tiny, tmp_path):
    """Those of `stripes` have 40 pixels; images have sixteens of them."""
    changes = {"net": "googlenet.bn", "small_net": "inception_small.pooled", "image_size": 112}
    recipe, said = pace(stripes, tiny, 60, changes)
    assert (recipe.net, recipe.small_net, recipe.image_size) == (changes["small_net"], "", 48)
    assert said[0] == "pictures of 40 pixels: inception_small.pooled in place of googlenet.bn"
    fixed, _ = pace(stripes, tiny, 0, changes | {"stop.smallest": 0})
    assert (fixed.net, fixed.image_size) == (changes["small_net"], 112)
    for kind in ("across", "down"):
        (tmp_path / kind).mkdir()
        for k in range(20):
            picture(kind, k, size=56).save(tmp_path / kind / f"{k}.png")
    larger, _ = pace(tmp_path, tiny, 60, changes)
    assert (larger.net, larger.small_net, larger.image_size) == ("googlenet.bn", "", 112)


@pytest.mark.training
def test_one_or_two_images_a_class_train_and_are_judged_by_cross_validation(
    stripes, trained, tmp_path
):
    few = tmp_path / "few"
    for kind, count in (("across", 1), ("down", 2)):
        (few / kind).mkdir(parents=True)
        for path in sorted((stripes / kind).iterdir())[:count]:
            (few / kind / path.name).write_bytes(path.read_bytes())
    done = command("train", few, "--weights", trained[0], "--out", tmp_path / "m", "--set",
                   "image_size=32")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "note: 3 images of 2 classes are too few to hold any out" in done.stderr
    assert "of 3 cross-validated images right" in done.stderr
    assert "on 3 cross-validated images" in (tmp_path / "m" / "README.md").read_text()
    info = Classifier.load(tmp_path / "m").info
    assert info["metrics"]["split"] == "folds"
    assert (
        info["metrics"]["top1"] < 1
    )  # the only one of its class cannot be known to probes without it
    refused = command("train", few, "--weights", trained[0], "--out", tmp_path / "n", "--set",
                      "image_size=32", "--set", "data.val=0")  # fmt: skip
    assert refused.returncode == 1 and "has no val split" in refused.stderr


def history(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.training
def test_a_machine_that_is_faster_than_planned_does_more_epochs(stripes, tiny, tmp_path):
    """The minutes are used up, and the rate falls until they are."""
    changes = {"stop.minutes": 0.3, "stop.most_epochs": 1000, "epochs": 2}
    clf = inceptive.train(stripes, tmp_path / "m", recipe=tiny, changes=changes, progress=None)
    rows = history(tmp_path / "m")
    assert len(rows) > 2 and float(rows[-1]["seconds"]) > 12
    rates = [float(row["lr"]) for row in rows]
    assert rates == sorted(rates, reverse=True) and rates[-1] < rates[0] / 2
    assert clf.info["recipe"]["stop"]["most_epochs"] == 1000


@pytest.mark.training
def test_the_most_epochs_are_not_exceeded_and_the_rate_ends_with_them(stripes, tiny, tmp_path):
    changes = {"stop.minutes": 10, "stop.most_epochs": 4, "epochs": 2}
    inceptive.train(stripes, tmp_path / "m", recipe=tiny, changes=changes, progress=None)
    rates = [float(row["lr"]) for row in history(tmp_path / "m")]
    assert len(rates) == 4 and rates[-1] < rates[0] / 10


def test_images_are_not_made_smaller_where_that_saves_nothing(stripes):
    """With a thousand classes, nearly all of the time is the probe's, whatever their size."""
    data = open_data(str(stripes), progress=None)
    recipe = Recipe.read("finetune", {"stop.minutes": 1, "weights": "x"})
    net, window = NETS["inception_v3.nsfwjs"](num_classes=5), ["mixed_6b", "mixed_6e"]
    progress = mock.Mock(spec=Silent)
    told = planned(recipe, data, net, 1e-4, time.monotonic(), window, 1e3, progress)
    assert told.image_size == 224


def test_a_first_look_at_very_many_classes_is_at_some_of_them():
    """Of 1,000 classes it was at 4,000 images, before anything was planned."""
    labels = np.arange(5000) % 1000
    chosen = some_of_each(labels, 1000)
    assert len(chosen) == 256 and len(set(labels[chosen].tolist())) == 128


def test_an_opened_folder_called_like_a_built_in_set_is_a_folder(stripes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(stripes, tmp_path / "digits")
    assert not is_builtin("digits") and not is_builtin(open_data("digits", progress=None))
    monkeypatch.chdir("/")
    assert is_builtin("digits") and is_builtin(open_data("digits", progress=None))
