"""What is fastest on this machine is measured, not read off its flags; the clock is made by hand."""

import json
from unittest import mock

import pytest
import torch

import inceptive
from inceptive.io.progress import Silent
from inceptive.training import calibration
from inceptive.training.calibration import Steps, calibrated, described
from inceptive.training.recipe import Recipe

CPU = torch.device("cpu")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine whose name, flags and times can be set; it counts the steps that are measured."""
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path / "cache"))
    made = mock.Mock(fastest="f32 channels-last", bf16=True, steps=[])
    made.name = "a machine"

    def step(self, way):
        made.steps.append(described(way))
        return 1.0 if described(way) == made.fastest else 1.2

    monkeypatch.setattr(calibration, "machine", lambda: made.name)
    monkeypatch.setattr(Steps, "_step", step)
    monkeypatch.setattr(
        calibration, "wants_bf16",
        lambda precision, device: precision == "bf16" or (precision == "auto" and made.bf16),
    )  # fmt: skip
    made.file = tmp_path / "cache" / "steps.json"
    return made


def chosen(changes=None, learns=True, progress=None, images=10**6):
    recipe = Recipe.read("digits", {"net": "googlenet.bn", "image_size": 64} | (changes or {}))
    model = inceptive.build(inceptive.NETS["googlenet.bn"](num_classes=2))
    return calibrated(recipe, model, CPU, learns, images, progress or Silent()).speed, model


WAYS = [
    "f32 channels-last",
    "bf16 contiguous",
    "f32 contiguous",
    "bf16 channels-last",
]


@pytest.mark.parametrize("fastest", WAYS)
def test_the_fastest_way_is_taken(machine, fastest):
    machine.fastest = fastest
    speed, model = chosen()
    assert described(speed) == fastest
    assert speed.precision != "auto" and speed.channels_last != "auto"
    weight = model.conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == ("channels-last" in fastest)


def test_it_is_measured_once_on_each_machine_and_told_once(machine):
    progress = mock.Mock(spec=Silent)
    first, _ = chosen(progress=progress)
    told = " | ".join(call.args[0] for call in progress.say.call_args_list)
    assert "measuring how googlenet.bn is fastest on this machine, once" in told
    assert "taken: f32 channels-last; times as long: bf16 channels-last 1.20" in told
    count = len(machine.steps)
    assert count >= 4 and chosen()[0] == first and len(machine.steps) == count
    chosen({"image_size": 96})
    assert len(machine.steps) > count
    machine.name, machine.fastest, count = "another", "bf16 contiguous", len(machine.steps)
    assert described(chosen()[0]) == "bf16 contiguous" and len(machine.steps) > count
    assert set(json.loads(machine.file.read_text())) == {"a machine", "another"}


def test_what_is_about_as_fast_changes_nothing(machine, monkeypatch):
    """The clock is not as exact: of ways that are alike, the usual one."""
    monkeypatch.setattr(Steps, "_step", lambda _, way: 1.0 - 0.02 * (way.channels_last is False))
    assert described(chosen()[0]) == "bf16 channels-last"


def test_what_is_given_is_not_measured(machine):
    asked = {"speed.precision": "bf16", "speed.channels_last": False}
    speed, _ = chosen(asked)
    assert described(speed) == "bf16 contiguous" and not machine.steps
    chosen({"speed.precision": "f32"})
    assert machine.steps and not any("bf16" in step for step in machine.steps)


@pytest.mark.parametrize("few", [{"images": 100}, {"changes": {"stop.minutes": 1.0}}])
def test_a_training_of_seconds_is_not_worth_it(machine, few):
    speed, _ = chosen(**few)
    assert described(speed) == "bf16 channels-last" and not machine.steps


def test_only_what_is_nearly_as_fast_is_measured_again(machine, monkeypatch):
    """A step that prepares and one that counts; then the usual way, bf16 channels-last, with those
    within a fifth of the fastest, unless it alone is left."""
    seconds = {"f32 channels-last": 1.15, "bf16 channels-last": 1.0}

    def step(_, way):
        machine.steps.append(described(way))
        return seconds.get(described(way), 1.3)

    monkeypatch.setattr(Steps, "_step", step)
    chosen()
    counts = [machine.steps.count(way) for way in WAYS]
    assert counts == [4, 2, 2, 4]
    machine.name, seconds["f32 channels-last"] = "another", 1.25
    machine.steps.clear()
    chosen()
    assert [machine.steps.count(way) for way in WAYS] == [2, 2, 2, 2]


@pytest.mark.parametrize("slow", [0.0, 0.5])
def test_one_disturbed_step_of_the_usual_way_does_not_decide_against_it(machine, monkeypatch, slow):
    """Nor where other work makes every step so slow that patience has ended by then."""
    clock = {"now": 0.0}
    monkeypatch.setattr(calibration.time, "perf_counter", lambda: clock["now"])

    def step(_, way):
        clock["now"] += slow
        machine.steps.append(described(way))
        disturbed = machine.steps.count("bf16 channels-last") == 2  # the first that counts
        return (1.0 + disturbed) if described(way) == "bf16 channels-last" else 1.3

    monkeypatch.setattr(Steps, "_step", step)
    assert described(chosen()[0]) == "bf16 channels-last"


def test_measuring_ends_where_steps_are_slow(machine, monkeypatch):
    """Each way is still measured once, after a step that prepares."""
    clock = {"now": 0.0}

    def step(_, way):
        clock["now"] += 10.0
        machine.steps.append(described(way))
        return 1.0 + (way.precision == "bf16")

    monkeypatch.setattr(Steps, "_step", step)
    monkeypatch.setattr(calibration.time, "perf_counter", lambda: clock["now"])
    assert chosen()[0].precision == "f32"
    assert len(machine.steps) == 2 * 4


def test_without_instructions_for_bf16_only_f32_is_tried(machine):
    machine.bf16, machine.fastest = False, "bf16 channels-last"
    assert chosen()[0].precision == "f32"
    assert not any("bf16" in step for step in machine.steps)


@pytest.mark.parametrize(
    "content", ['{"a machine": 7}', "no json", "[]", '{"a machine": {"x": "y"}}']
)
def test_a_damaged_file_is_measured_anew(machine, content):
    machine.file.parent.mkdir()
    machine.file.write_text(content)
    assert described(chosen()[0]) == machine.fastest
    assert json.loads(machine.file.read_text())["a machine"]


def test_a_cache_that_cannot_be_written_is_no_error(machine, monkeypatch, tmp_path):
    taken = tmp_path / "a file"
    taken.write_text("")
    monkeypatch.setenv("INCEPTIVE_CACHE", str(taken))
    assert described(chosen()[0]) == machine.fastest


def test_real_steps_leave_no_gradients(monkeypatch, tmp_path):
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path))
    monkeypatch.setattr(calibration, "MACS", 1e8)
    for learns in (True, False):
        speed, model = chosen(learns=learns)
        assert speed.precision in ("f32", "bf16") and model.training == learns
        assert all(parameter.grad is None for parameter in model.parameters())
    times = json.loads((tmp_path / "steps.json").read_text())
    assert all(seconds > 0 for known in times.values() for seconds in known.values())
