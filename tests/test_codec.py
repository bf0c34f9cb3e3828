"""The value as JSON: exact both ways, and what cannot be read is refused in one line."""

import copy
import json
import typing
from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inceptive.arch import spec
from inceptive.arch.codec import MAX_DEPTH, first_difference, net_from_dict, net_to_dict
from inceptive.arch.nets import NETS
from inceptive.arch.spec import LRN, AvgPool, BatchNorm, Chain, Concat, Conv, Linear, MaxPool, Net
from inceptive.errors import InceptiveError

WORDS = typing.get_args(spec.Node)


def through_json(net):
    return net_from_dict(json.loads(json.dumps(net_to_dict(net), allow_nan=False)))


@pytest.mark.parametrize("name", NETS)
def test_every_net_comes_back_exactly(name):
    for options in ({}, {"num_classes": 7, "channels": 1}):
        net = NETS[name](**options)
        back = through_json(net)
        assert back == net and hash(back) == hash(net) and repr(back) == repr(net)
        assert first_difference(back, net) == ""
    assert list(dict(back.body.parts)) == list(dict(net.body.parts))


SIDES = st.integers(1, 3)
KERNELS = SIDES | st.tuples(SIDES, SIDES)
PADS = st.sampled_from(["same", "valid", "tf", 0, 1])
SHARES = st.floats(0, 0.9)
NORMS = st.builds(
    BatchNorm, eps=st.floats(1e-6, 1), momentum=st.floats(0.01, 1), scale=st.booleans()
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(str.isidentifier)
LEAVES = st.one_of(
    st.builds(
        Conv,
        SIDES,
        KERNELS,
        stride=SIDES,
        pad=PADS,
        norm=st.none() | NORMS,
        relu=st.booleans(),
        bias=st.none() | st.booleans(),
    ),
    st.builds(spec.Separable, SIDES, SIDES, stride=SIDES, pad=PADS, multiplier=SIDES),
    st.builds(MaxPool, st.just(3), SIDES, st.sampled_from(["same", "valid", "ceil", "tf", 1])),
    st.builds(AvgPool, st.just(3), SIDES, st.none() | SIDES, st.sampled_from(["same", "valid", 1])),
    st.builds(AvgPool, grid=SIDES),
    st.builds(LRN, SIDES, alpha=st.floats(1e-6, 1), k=st.sampled_from([1, 2.0])),
    NORMS,
    st.builds(spec.Activation, st.sampled_from(["relu", "sigmoid"])),
    st.builds(spec.Dropout, SHARES),
    st.builds(Linear, SIDES, relu=st.booleans(), bias=st.booleans()),
)


def groups(nodes):
    parts = st.dictionaries(NAMES, nodes, min_size=1, max_size=4)
    return st.one_of(
        *(parts.map(lambda parts, word=word: word(**parts)) for word in (Chain, Concat)),
        parts.map(lambda parts: spec.Multiply(**parts)),
        st.builds(spec.Add, nodes, st.none() | nodes, SHARES, st.booleans()),
    )


NODES = st.recursive(LEAVES, groups, max_leaves=12)


@st.composite
def nets(draw):
    parts = draw(st.dictionaries(NAMES.filter(lambda name: name != "fc"), NODES, max_size=5))
    classes = draw(st.integers(1, 9))
    heads = draw(st.sets(st.sampled_from(sorted(parts)))) if parts else ()
    aux = tuple((at, Chain(fc=Linear(classes))) for at in parts if at in heads)
    body = Chain(**parts, fc=Linear(classes))
    return Net("mine", body, classes, draw(st.text(max_size=9)), aux, draw(SIDES), 64)


@settings(deadline=None)
@given(nets())
def test_any_value_comes_back_exactly(net):
    back = through_json(net)
    assert back == net and repr(back) == repr(net)
    assert first_difference(net, back) == ""


def test_hypothesis_makes_every_word():
    made = set()

    def collect(value):
        if is_dataclass(value):
            made.add(type(value))
            for field in fields(value):
                collect(getattr(value, field.name))
        elif isinstance(value, tuple):
            for item in value:
                collect(item)

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(nets())
    def run(net):
        collect(net)

    run()
    assert made == {*WORDS, Net}


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
    ("path", "value", "said"),
    [
        (["name"], ..., "net.name is missing"),
        (["name"], 3, "net.name is invalid: 3"),
        (["type"], ..., "net.type is missing; it is one of Net"),
        (["type"], "Conv", "net.type is invalid: 'Conv'; it is one of Net"),
        (["colour"], "red", "net: Net has no field 'colour'"),
        (["num_classes"], True, "net.num_classes is invalid: True"),
        (["num_classes"], 1.5, "net.num_classes is invalid: 1.5"),
        (["body"], [], "net.body is invalid: list"),
        (["body", "type"], "Concat", "net.body.type is invalid: 'Concat'; it is one of Chain"),
        (["body", "parts", 0, 1, "out"], ..., "net.body.conv1.out is missing"),
        (["body", "parts", 0, 1, "kernel"], [3], "net.body.conv1.kernel is invalid: list"),
        (["body", "parts", 0, 1, "kernel"], [3, "x"], "net.body.conv1.kernel.1 is invalid: 'x'"),
        (["body", "parts", 0, 1, "pad"], "nearly", "net.body.conv1.pad is invalid: 'nearly'"),
        (["body", "parts", 0, 1, "relu"], None, "net.body.conv1.relu is invalid: None"),
        (["body", "parts", 0, 1, "type"], "os.system", "net.body.conv1.type is invalid"),
        (["body", "parts", 1, 0], "conv1", "net.body: two parts are called conv1"),
        (["aux", 0, 1, "parts", 1, 1, "out"], "a", "net.aux.inception_4a.conv.out is invalid: 'a'"),
    ],
)
def test_what_cannot_be_read_is_named(path, value, said):
    with pytest.raises(InceptiveError) as error:
        net_from_dict(changed(path, value))
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


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
    with pytest.raises(InceptiveError, match=f"nested at most {MAX_DEPTH} deep"):
        net_from_dict(changed(["body"], deep))
    wide = [[f"d{k}", {"type": "Dropout", "drop": 0.5}] for k in range(10_001)]
    with pytest.raises(InceptiveError, match="at most 10,000 words"):
        net_from_dict(changed(["body", "parts"], wide))
