"""What maps take in memory, by hand; beside what torch holds: tests/nn/test_checkpointing.py."""

import json

import pytest
from conftest import command

import inceptive
from inceptive import Add, BatchNorm, Chain, Concat, Conv, MaxPool
from inceptive.arch.memory import memory


def test_a_chain_keeps_all_maps_to_train_and_two_at_inference():
    chain = Chain(a=Conv(8, 3), b=Conv(2, 1), c=Conv(4, 3))
    maps = memory(chain, 10, 3)
    assert maps.training == 100 * (3 + 8 + 2 + 4)
    assert maps.inference == 100 * (3 + 8)


def test_a_module_needs_the_size_of_its_maps():
    with pytest.raises(inceptive.InceptiveError, match="needs the size of its maps"):
        memory(Conv(8, 3), channels=3)
    with pytest.raises(inceptive.InceptiveError, match="not in a module by itself"):
        memory(Conv(8, 3), 10, 3, checkpointing=True)


def test_branches_are_kept_until_they_are_joined():
    module = Concat(a=Conv(5, 1), b=Chain(reduce=Conv(9, 1), conv=Conv(2, 3)), c=MaxPool(3))
    maps = memory(module, 10, 4)
    assert maps.training == 100 * (4 + 5 + 9 + 2 + 3 * 4 + 11)  # and where each maximum was
    # While `reduce` works: the input, a, and its own; when all is joined: a, b, c and the result.
    assert maps.inference == 100 * max(4 + 5 + 9, 5 + 2 + 4 + 11)


def test_a_residual_keeps_what_it_adds_to():
    maps = memory(Add(Conv(4, 3)), 10, 4)
    assert maps.training == 100 * (4 + 4 + 4) and maps.inference == 100 * (4 + 4 + 4)


def test_normalisation_keeps_what_it_was_given():
    plain, normed = (memory(Chain(a=Conv(8, 3, norm=norm)), 10, 3) for norm in (None, BatchNorm()))
    assert normed.training - plain.training == 800 and normed.inference == plain.inference


def test_the_command_tells_it():
    told = json.loads(command("table", "googlenet", "--memory", "--json").stdout)["memory"]
    net = inceptive.NETS["googlenet"]()
    maps = memory(net)
    less = memory(net, checkpointing=True).training
    assert told == {
        "training": maps.training, "checkpointing": less, "inference": maps.inference,
        "weights": inceptive.account(net).params,
    }  # fmt: skip
    text = command("table", "googlenet", "--memory").stdout
    assert f"{4 * maps.training / 1e6:.1f} MB of maps in training" in text
    assert "memory" not in json.loads(command("table", "googlenet", "--json").stdout)
    done = command("table", "googlenet", "--memory", "--against", "paper")
    assert done.returncode == 1 and "leave out" in done.stderr
