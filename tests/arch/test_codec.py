"""The value as JSON: exact both ways, and what cannot be read is refused in one line."""

import copy
import json
import typing
from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given, settings
from values import nets

from inceptive.arch import spec
from inceptive.arch.codec import first_difference, net_from_dict, net_to_dict
from inceptive.arch.nets import NETS
from inceptive.arch.spec import (
    LRN,
    Chain,
    Concat,
    MaxPool,
    Net,
)
from inceptive.errors import InceptiveError

WORDS = typing.get_args(spec.Node)


def exact(net):
    """Tells 1 from 1.0, which are equal."""
    return json.dumps(net_to_dict(net))


def through_json(net):
    return net_from_dict(json.loads(json.dumps(net_to_dict(net), allow_nan=False)))


@pytest.mark.parametrize("name", NETS)
def test_every_net_comes_back_exactly(name):
    for options in ({}, {"num_classes": 7, "channels": 1}):
        net = NETS[name](**options)
        back = through_json(net)
        assert back == net and hash(back) == hash(net) and exact(back) == exact(net)
        assert first_difference(back, net) == ""


@settings(deadline=None, max_examples=50)
@given(nets())
def test_any_value_comes_back_exactly(net):
    back = through_json(net)
    assert back == net and exact(back) == exact(net)
    assert first_difference(net, back) == ""


def test_hypothesis_makes_every_word():
    types = set()

    def collect(value):
        if is_dataclass(value):
            types.add(type(value))
            for field in fields(value):
                collect(getattr(value, field.name))
        elif isinstance(value, tuple):
            for item in value:
                collect(item)

    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    @given(nets())
    def run(net):
        collect(net)

    run()
    assert types == {*WORDS, Net}


def test_first_difference_names_the_path_and_both_values():
    net = NETS["googlenet"](10)
    parts = dict(net.body.parts)

    def but(**other):
        return replace(net, body=Chain(**(parts | other)))

    assert first_difference(but(pool4=MaxPool(2)), net) == "body.pool4.kernel is 2, not 3"
    assert first_difference(net, but(norm1=LRN(9))) == "body.norm1.size is 5, not 9"
    branch = replace(parts["inception_3a"].parts[2][1].parts[1][1], kernel=3)
    inner = dict(parts["inception_3a"].parts)
    inner["b5x5"] = Chain(reduce=dict(inner["b5x5"].parts)["reduce"], conv=branch)
    changed = first_difference(but(inception_3a=Concat(**inner)), net)
    assert changed == "body.inception_3a.b5x5.conv.kernel is 3, not 5"
    assert first_difference(net.without_aux(), net) == "aux has no part inception_4a"
    assert first_difference(replace(net, channels=1), net) == "channels is 1, not 3"
    other = first_difference(but(pool4=LRN(5)), net)
    assert other.startswith("body.pool4 is LRN(") and ", not MaxPool(" in other
    del parts["pool4"]
    assert first_difference(but(), net) == "body has the part inception_5a where pool4 should be"


def changed(path, value):
    """The JSON of a net with `value` at `path`, or without it if `value` is `...`."""
    data = copy.deepcopy(net_to_dict(NETS["googlenet"](10)))
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["name"], ..., "net.name is missing"),
        (["name"], 3, "net: Net: name is 3; it must be one line of text"),
        (["type"], ..., "net.type is missing; it is one of Conv, "),
        (["type"], "Conv", "net: Conv has no field 'aux'"),
        (["colour"], "red", "net: Net has no field 'colour'"),
        (["num_classes"], True, "net: Net: num_classes is True; it must be a whole number from 1"),
        (["num_classes"], 1.5, "net: Net: num_classes is 1.5; it must be a whole number from 1"),
        (["body"], [], "net: Net: body is (); it must be Chain"),
        (["body", "type"], "Concat", "net: Net: body is Concat(conv1, pool1, "),
        (["body", "parts", 0, 1, "out"], ..., "net.body.conv1.out is missing"),
        (
            ["body", "parts", 0, 1, "kernel"],
            [3],
            "net.body.conv1: Conv: kernel is (3,); it must be",
        ),
        (
            ["body", "parts", 0, 1, "kernel"],
            [3, "x"],
            "net.body.conv1: Conv: kernel is (3, 'x'); it must be a whole number from 1 or (a whole "
            "number from 1, a whole number from 1)",
        ),
        (
            ["body", "parts", 0, 1, "pad"],
            "nearly",
            "net.body.conv1: Conv: pad is 'nearly'; it must be 'same', 'valid', 'tf' or a whole "
            "number from 0",
        ),
        (["body", "parts", 0, 1, "relu"], None, "net.body.conv1: Conv: relu is None; it must be"),
        (["body", "parts", 0, 1, "type"], "os.system", "net.body.conv1.type is invalid"),
        (["body", "parts", 1, 0], "conv1", "net.body: Chain: two parts are called conv1"),
        (["body", "parts", 1], ["a", 3, 4], "net.body: Chain: parts is ("),
        (["aux", 0, 1, "parts", 1, 1, "out"], "a", "net.aux.inception_4a.conv: Conv: out is 'a'"),
    ],
)
def test_what_cannot_be_read_is_named(path, value, message):
    with pytest.raises(InceptiveError) as error:
        net_from_dict(changed(path, value))
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_defaults_may_be_left_out():
    assert net_from_dict(changed(["body", "parts", 0, 1, "relu"], ...)) == NETS["googlenet"](10)


@pytest.mark.parametrize("data", [None, 3, "googlenet", [], {}, {"type": ["Net"]}, float("nan")])
def test_anything_else_is_refused(data):
    with pytest.raises(InceptiveError, match=r"^net"):
        net_from_dict(data)


def test_nesting_and_size_are_bounded():
    deep = {"type": "Dropout", "drop": 0.5}
    for _ in range(100_000):
        deep = {"type": "Chain", "parts": [["a", deep]]}
    with pytest.raises(InceptiveError, match="nested more than 32 words deep"):
        net_from_dict(changed(["body"], deep))
    wide = [[f"d{k}", {"type": "Dropout", "drop": 0.5}] for k in range(10_001)]
    with pytest.raises(InceptiveError, match="at most 10,000 words"):
        net_from_dict(changed(["body", "parts"], wide))
