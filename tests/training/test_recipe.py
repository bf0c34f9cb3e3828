"""Recipes and what is wrong with them, and the learning rate through a run."""

import json
import tomllib
from itertools import pairwise
from math import cos, pi

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LinearLR, StepLR

from inceptive.arch import nets
from inceptive.errors import InceptiveError
from inceptive.training.recipe import Recipe, ScheduleTable, shipped
from inceptive.training.schedule import lr_factor, size_at

SHIPPED = sorted(shipped())
TABLES = (
    "data", "optimizer", "schedule", "loss", "aux", "augment", "ema", "stop", "finetune", "speed",
)  # fmt: skip


def written(folder, text):
    path = folder / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def refused(name, changes=()):
    """The one line with which a recipe is refused."""
    with pytest.raises(InceptiveError) as caught:
        Recipe.read(name, changes)
    line = str(caught.value)
    assert "\n" not in line
    assert "pydantic" not in line.lower()
    return line


def changed(*changes, name="digits"):
    return Recipe.read(name, list(changes))


# What a recipe says


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_reads_and_names_a_net_there_is(name):
    assert Recipe.read(name).net in nets.NETS


def test_a_net_that_is_asked_for_is_taken_whatever_the_pictures():
    assert Recipe.read("photos").small_net in nets.NETS
    assert Recipe.read("photos", {"net": "googlenet"}).small_net == ""
    assert changed("net=googlenet", "small_net=inception_small", name="photos").small_net


def test_a_checkpoint_of_an_earlier_release_has_a_recipe(tmp_path):
    recipe = Recipe.read("digits")
    values = recipe.model_dump(mode="json")
    values["speed"]["merge"] = True
    assert Recipe.of_checkpoint(values, tmp_path) == recipe
    values["speed"]["pace"] = 1
    with pytest.raises(InceptiveError, match=r"its recipe: unknown key speed\.pace"):
        Recipe.of_checkpoint(values, tmp_path)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_says_what_its_file_says(name):
    values = tomllib.loads(shipped()[name].read_text(encoding="utf-8"))
    found = Recipe.read(name).model_dump(mode="json")
    for key, value in values.items():
        for inner, one in value.items() if isinstance(value, dict) else [("", value)]:
            said = found[key][inner] if inner else found[key]
            assert said == (one if isinstance(said, list) == isinstance(one, list) else [one])


def test_the_paper_s_recipe_holds_the_paper_s_numbers():
    paper = Recipe.read("imagenet_2014")
    assert (paper.optimizer.kind, paper.optimizer.momentum) == ("sgd", 0.9)
    assert (paper.schedule.factor, paper.schedule.step_epochs) == (0.96, 8)
    assert (paper.aux.weight, paper.image_size) == (0.3, 224)
    assert paper.augment.area == (0.08, 1.0)
    assert paper.augment.aspect == pytest.approx((3 / 4, 4 / 3), abs=1e-4)


def test_an_empty_file_is_a_recipe_of_defaults(tmp_path):
    assert Recipe.read(written(tmp_path, "")) == Recipe()


def test_what_a_file_says_is_in_the_recipe(tmp_path):
    found = Recipe.read(written(tmp_path, "epochs = 7\n[optimizer]\nlr = 1\nnesterov = true\n"))
    assert (found.epochs, found.optimizer.lr, found.optimizer.nesterov) == (7, 1.0, True)
    assert isinstance(found.optimizer.lr, float)


@pytest.mark.parametrize(
    ("said", "mean"),
    [("0.25", (0.25,)), ("1", (1.0,)), ("[0.25]", (0.25,)), ("[0.1, 0.2, 0.3]", (0.1, 0.2, 0.3))],
)
def test_mean_is_one_number_or_three(tmp_path, said, mean):
    assert Recipe.read(written(tmp_path, f"[data]\nmean = {said}")).data.mean == mean


# What it refuses


def test_an_unknown_key_is_named_with_those_there_are(tmp_path):
    line = refused(written(tmp_path, "epoch = 3"))
    assert "mine.toml: unknown key epoch;" in line
    for key in ("net", "weights", "image_size", "epochs", "batch_size", "seed", *TABLES):
        assert key in line


def test_an_unknown_key_of_a_table_is_named_with_those_of_the_table(tmp_path):
    line = refused(written(tmp_path, "[optimizer]\nlearning_rate = 0.1"))
    assert "unknown key optimizer.learning_rate; there are: kind, lr, momentum" in line
    assert "batch_size" not in line


@pytest.mark.parametrize(
    "text",
    [
        "epochs = '3'",
        "epochs = true",
        "epochs = 3.0",
        "epochs = [3]",
        "net = 3",
        "weights = 2024-01-01",
        "optimizer.lr = '0.1'",
        "optimizer.lr = true",
        "optimizer.lr = [0.1]",
        "optimizer.nesterov = 1",
        "optimizer.nesterov = 'true'",
        "augment.area = 0.5",
        "augment.area = [0.5]",
        "augment.area = [0.1, 0.2, 0.3]",
        "augment.area = [true, true]",
        "augment.area = ['a', 'b']",
        "data.channels = true",
        "data.channels = '1'",
        "data.mean = true",
        "data.mean = 'grey'",
        "data.mean = ['0.5']",
        "data.mean = [true, true, true]",
        "data.mean = [[0.5]]",
        "data.mean = [0.1, 0.2]",
        "data.mean = []",
        "data = 3",
        "optimizer = 'sgd'",
        "schedule = [{kind = 'step'}]",
    ],
)
def test_a_wrong_type_is_refused_with_its_key(tmp_path, text):
    key = text.partition(" ")[0]
    assert f"mine.toml: {key} = " in refused(written(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "epochs = 0",
        "image_size = 7",
        "image_size = 5000",
        "batch_size = 0",
        "seed = -1",
        "seed = 100000000000000000000000000",
        "data.val = 1.0",
        "data.val = -0.1",
        "data.crop = 0.0",
        "data.crop = 1.01",
        "data.channels = 2",
        "data.interpolation = 'lanczos'",
        "data.mean = nan",
        "data.std = 0",
        "data.std = [0.2, 0.2, -0.2]",
        "data.workers = -1",
        "optimizer.kind = 'adam'",
        "optimizer.lr = 0",
        "optimizer.lr = -0.1",
        "optimizer.lr = nan",
        "optimizer.lr = inf",
        "optimizer.momentum = 1.0",
        "schedule.factor = 0.0",
        "schedule.step_epochs = 0",
        "schedule.final = 1.0",
        "loss.label_smoothing = 1.0",
        "aux.weight = -0.3",
        "aux = {at = ['inception_3a'], weight = 0}",
        "augment.shift = 0.6",
        "augment.rotate = 181",
        "augment.hue = 0.6",
        "augment.area = [0.5, 0.2]",
        "augment.area = [0.0, 1.0]",
        "augment.aspect = [-1.0, 1.0]",
        "augment.border = 'mirror'",
        "ema.decay = 1.0",
        "speed.precision = 'f64'",
        "speed.accumulate = 0",
    ],
)
def test_a_value_out_of_range_is_refused_with_its_key(tmp_path, text):
    key = text.partition(" ")[0]
    assert f"mine.toml: {key} = " in refused(written(tmp_path, text))


def test_images_whose_maps_are_computed_once_cannot_grow(tmp_path):
    text = "[schedule]\nsmallest = 0.5\n[finetune]\nviews = 2"
    assert "finetune.views: images whose maps are computed once" in refused(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("epochs 3", "line 1"),
        ("net = 'a'\nepochs =", "end of document"),
        ("epochs = 3\nepochs = 4", "overwrite"),
        ("[data\nval = 0.1", "line 1"),
        (b"net = '\xff\xfe'", "utf-8"),
        ("epochs = " + "9" * 5000, ""),
    ],
    ids=["no equals", "no value", "twice", "open bracket", "not UTF-8", "5,000 digits"],
)
def test_what_is_not_toml_is_refused_with_the_place(tmp_path, text, hint):
    line = refused(written(tmp_path, text))
    assert "mine.toml: is not valid TOML" in line
    assert hint in line


def test_a_key_with_a_line_break_is_refused_in_one_line(tmp_path):
    assert "unknown key" in refused(written(tmp_path, '"a\\nb" = 1'))


def test_a_missing_file_is_named(tmp_path):
    line = refused(str(tmp_path / "none.toml"))
    assert "none.toml: cannot be read (No such file or directory)" in line


def test_a_folder_is_no_recipe(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    assert "folder.toml: cannot be read" in refused(str(tmp_path / "folder.toml"))


def test_an_unknown_name_lists_the_recipes_there_are():
    line = refused("imagenet")
    assert "'imagenet'" in line
    assert all(name in line for name in SHIPPED)


def test_a_shipped_recipe_is_called_by_its_name_when_it_is_refused():
    assert refused("digits", ["epochs=0"]).startswith("recipe digits: epochs = 0: ")


# --set


@pytest.mark.parametrize(
    ("change", "table", "key", "value"),
    [
        ("epochs=3", "", "epochs", 3),
        (" epochs = 3 ", "", "epochs", 3),
        ("optimizer.lr=0.5", "optimizer", "lr", 0.5),
        ("optimizer.lr=5e-1", "optimizer", "lr", 0.5),
        ("optimizer.lr=1", "optimizer", "lr", 1.0),
        ("optimizer.nesterov=false", "optimizer", "nesterov", False),
        ("optimizer.kind=adamw", "optimizer", "kind", "adamw"),
        ("optimizer.kind='adamw'", "optimizer", "kind", "adamw"),
        ('optimizer.kind="adamw"', "optimizer", "kind", "adamw"),
        ("net=googlenet.torchvision", "", "net", "googlenet.torchvision"),
        ("weights=runs/a=b", "", "weights", "runs/a=b"),
        ("weights='12'", "", "weights", "12"),
        ("weights=", "", "weights", ""),
        ("augment.area=[0.25, 1]", "augment", "area", (0.25, 1.0)),
        ("data.mean=0.125", "data", "mean", (0.125,)),
        ("data.mean=[0.5,0.25,0.125]", "data", "mean", (0.5, 0.25, 0.125)),
        ("ema.decay=0.5", "ema", "decay", 0.5),
    ],
)
def test_set_changes_one_value_and_no_other(change, table, key, value):
    before, after = changed().model_dump(), changed(change).model_dump()
    assert (after[table] if table else after)[key] == value
    (before[table] if table else before)[key] = value
    assert after == before


def test_set_makes_a_table_that_the_file_lacks(tmp_path):
    path = written(tmp_path, "epochs = 2\n")
    assert Recipe.read(path, ["stop.patience=4"]).stop.patience == 4


def test_a_table_in_one_value_changes_its_keys_and_no_other():
    one = Recipe.read("photos", {"optimizer": {"lr": 0.1}})
    assert one == Recipe.read("photos", ["optimizer.lr=0.1"])
    assert one == Recipe.read("photos", ["optimizer={lr=0.1}"])


def test_of_two_changes_the_last_one_stays():
    assert changed("epochs=3", "epochs=4").epochs == 4


def test_changes_do_not_leak_into_the_next_reading():
    changed("optimizer.lr=0.77")
    assert changed().optimizer.lr == 0.1


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ("epochs", "expected key=value"),
        ("=3", "expected key=value"),
        ("", "expected key=value"),
        (" =3", "expected key=value"),
        ("net.x=1", "net is a value, not a table"),
        ("optimizer.lr.x=1", "lr is a value, not a table"),
        ("optimizer=3", "optimizer = 3"),
        ("epochs=three", "epochs = 'three'"),
        ("epochs=", "epochs = ''"),
        ("augment.flip=yes", "augment.flip = 'yes'"),
        ("augment.area=[0.1", "augment.area = '[0.1'"),
        ("optimizer.rate=1", "unknown key optimizer.rate; there are: kind, lr"),
        ("lr=1", "unknown key lr; there are: net"),
        ("train.lr=1", "unknown key train; there are: net"),
    ],
)
def test_a_bad_change_is_refused(change, hint):
    assert hint in refused("digits", [change])


# As a value


def test_a_recipe_and_its_tables_cannot_be_changed():
    found = Recipe.read("digits")
    for table, key in ((found, "epochs"), (found.optimizer, "lr"), (found.data, "val")):
        with pytest.raises(ValidationError):
            setattr(table, key, 1)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("mode", ["python", "json"])
def test_a_recipe_comes_back_from_its_values(name, mode):
    before = changed("augment.area=[0.3,0.9]", "data.mean=0.25", "stop.minutes=1.5", name=name)
    values = before.model_dump(mode=mode)
    if mode == "json":
        values = json.loads(json.dumps(values))
    assert Recipe.from_dict(values, "again") == before


# The learning rate


def factors(epochs, **table):
    return [lr_factor(ScheduleTable(**table), epoch, epochs) for epoch in range(epochs + 1)]


def torch_factors(epochs, scheduler, **options):
    """What a scheduler of torch makes of a rate of 1, at the start of each epoch and at the end."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = scheduler(optimizer, **options)
    found = []
    for _ in range(epochs + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("table", "epoch", "epochs", "expected"),
    [
        ({"kind": "constant"}, 0, 10, 1.0),
        ({"kind": "constant"}, 9.5, 10, 1.0),
        ({"kind": "step"}, 29.99, 90, 1.0),
        ({"kind": "step"}, 30, 90, 0.1),
        ({"kind": "step"}, 89.5, 90, 0.01),
        ({"kind": "step", "step_epochs": 0.5, "factor": 0.5}, 1.75, 2, 0.125),
        ({"kind": "linear"}, 2.5, 10, 0.75),
        ({"kind": "linear", "final": 0.2}, 5, 10, 0.6),
        ({"kind": "linear", "warmup_epochs": 2}, 6, 10, 0.5),
        ({"kind": "cosine"}, 5, 10, 0.5),
        ({"kind": "cosine"}, 2.5, 10, (1 + cos(pi / 4)) / 2),
        ({"kind": "cosine", "final": 0.2}, 5, 10, 0.6),
        ({"kind": "cosine", "warmup_epochs": 2}, 4, 10, (1 + cos(pi / 4)) / 2),
        ({"kind": "cosine", "warmup_epochs": 10}, 5, 10, 0.5),
        ({"kind": "linear", "warmup_epochs": 10}, 10, 10, 1.0),
    ],
)
def test_the_factor_at_points_worked_out_by_hand(table, epoch, epochs, expected):
    assert lr_factor(ScheduleTable(**table), epoch, epochs) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", ["constant", "step", "cosine", "linear"])
def test_the_warm_up_rises_from_above_0_to_1(kind):
    table = ScheduleTable(kind=kind, warmup_epochs=3, step_epochs=5)
    rising = [lr_factor(table, k / 100, 20) for k in range(301)]
    assert 0 < rising[0] < 0.01
    assert all(a < b for a, b in pairwise(rising))
    assert rising[150] == pytest.approx(0.5, abs=1e-3)
    assert rising[-1] == 1.0


@pytest.mark.parametrize(("every", "factor"), [(30, 0.1), (8, 0.96), (1, 0.5)])
def test_steps_are_torch_s(every, factor):
    expected = torch_factors(40, StepLR, step_size=every, gamma=factor)
    assert factors(40, kind="step", step_epochs=every, factor=factor) == pytest.approx(expected)


def test_steps_of_one_epoch_are_torch_s_exponential_fall():
    expected = torch_factors(20, ExponentialLR, gamma=0.9)
    assert factors(20, kind="step", step_epochs=1, factor=0.9) == pytest.approx(expected)


@pytest.mark.parametrize("final", [0.0, 0.05])
def test_the_cosine_is_torch_s(final):
    expected = torch_factors(25, CosineAnnealingLR, T_max=25, eta_min=final)
    assert factors(25, kind="cosine", final=final) == pytest.approx(expected)


@pytest.mark.parametrize("final", [0.0, 0.05])
def test_the_line_is_torch_s(final):
    expected = torch_factors(25, LinearLR, start_factor=1.0, end_factor=final, total_iters=25)
    assert factors(25, kind="linear", final=final) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
@pytest.mark.parametrize("warmup", [0, 2.5])
@pytest.mark.parametrize("final", [0.0, 0.1])
def test_the_final_share_is_reached_at_the_end_and_not_before(kind, warmup, final):
    table = ScheduleTable(kind=kind, warmup_epochs=warmup, final=final)
    falling = [lr_factor(table, epoch / 4, 12) for epoch in range(10, 49)]
    assert all(a > b for a, b in pairwise(falling) if a < 1)
    assert falling[-1] == pytest.approx(final, abs=1e-12)
    assert lr_factor(table, 13, 12) == pytest.approx(final, abs=1e-12)


@pytest.mark.parametrize("epochs", [1, 2])
def test_few_epochs_have_the_size_that_is_used_and_a_rate_that_falls(epochs):
    """One epoch of recipe photos was all at half the pixels, with a rate that only rose."""
    table = Recipe.read("photos").schedule
    assert {size_at(table, k, epochs, 128) for k in range(epochs)} == {128}
    factors = [lr_factor(table, epochs * k / 20, epochs) for k in range(21)]
    assert max(factors) == pytest.approx(1, abs=0.01) and np.argmax(factors) == 5
    assert factors[-1] == pytest.approx(table.final, abs=0.01)
