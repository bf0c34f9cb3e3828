"""The words check themselves: what no reader can run is refused when the value is made."""

import math
from dataclasses import replace

import numpy as np
import pytest

from inceptive.arch.account import account, minimum_size
from inceptive.arch.draw import draw
from inceptive.arch.nets import NETS
from inceptive.arch.spec import (
    LRN,
    MAX_DEPTH,
    Activation,
    Add,
    AvgPool,
    BatchNorm,
    Chain,
    Concat,
    Conv,
    Dropout,
    Linear,
    MaxPool,
    Multiply,
    Net,
    Separable,
    words,
)
from inceptive.errors import InceptiveError

FC = Linear(4)


def net(aux=(), num_classes=4, **parts):
    return Net("mine", Chain(**parts), num_classes, "", aux)


REFUSED = {
    "Conv: out is 0; it must be a whole number from 1": lambda: Conv(0, 3),
    "Conv: out is -8; it must be a whole number from 1": lambda: Conv(-8, 3),
    "Conv: out is True; it must be a whole number from 1": lambda: Conv(True, 3),
    "Conv: out is 64.0; it must be a whole number from 1": lambda: Conv(64.0, 3),
    "Conv: out is np.int64(8); it must be": lambda: Conv(np.int64(8), 3),
    "Conv: out is 1048577; it must be": lambda: Conv(2**20 + 1, 3),
    "Conv: kernel is 0; it must be": lambda: Conv(8, 0),
    "Conv: kernel is (3, 0); it must be": lambda: Conv(8, (3, 0)),
    "Conv: kernel is [3, 3]; it must be": lambda: Conv(8, [3, 3]),
    "Conv: stride is -1; it must be": lambda: Conv(8, 3, -1),
    "Conv: pad is 'ceil'; it must be 'same', 'valid', 'tf' or": lambda: Conv(8, 3, pad="ceil"),
    "Conv: pad is -1; it must be": lambda: Conv(8, 3, pad=-1),
    "Conv: relu is 1; it must be True or False": lambda: Conv(8, 3, relu=1),
    "Conv: norm is True; it must be BatchNorm or None": lambda: Conv(8, 3, norm=True),
    "Separable: kernel is (3, 3); it must be": lambda: Separable(8, (3, 3)),
    "Separable: pad is 'ceil'; it must be": lambda: Separable(8, 3, pad="ceil"),
    "Separable: multiplier is 0; it must be": lambda: Separable(8, 3, multiplier=0),
    "MaxPool: pad is 2, more than half the kernel of 3": lambda: MaxPool(3, pad=2),
    "MaxPool: stride is 4, above the kernel of 2": lambda: MaxPool(2, stride=4, pad="ceil"),
    "MaxPool: kernel is (3, 3); it must be": lambda: MaxPool((3, 3)),
    "MaxPool: without a kernel it has no stride and no pad": lambda: MaxPool(stride=2),
    "AvgPool: it needs a kernel or a grid": lambda: AvgPool(),
    "AvgPool: pad is 'tf'; it must be 'same', 'valid' or": lambda: AvgPool(3, pad="tf"),
    "AvgPool: pad is 'ceil'; it must be": lambda: AvgPool(3, pad="ceil"),
    "AvgPool: pad is 2, more than half": lambda: AvgPool(3, pad=2),
    "AvgPool: grid is 0; it must be": lambda: AvgPool(grid=0),
    "LRN: size is 4; it must be an odd number": lambda: LRN(4),
    "LRN: k is 0; it must be a number above 0": lambda: LRN(5, k=0),
    "LRN: alpha is nan; it must be": lambda: LRN(5, alpha=math.nan),
    "BatchNorm: eps is 0.0; it must be": lambda: BatchNorm(0.0),
    "BatchNorm: eps is inf; it must be": lambda: BatchNorm(math.inf),
    "BatchNorm: momentum is 1.5; it must be": lambda: BatchNorm(momentum=1.5),
    "Linear: out is 0; it must be": lambda: Linear(0),
    "Activation: kind is 'gelu'; it must be 'relu', 'sigmoid'": lambda: Activation("gelu"),
    "Dropout: drop is 1.0; it must be a number from 0 and below 1": lambda: Dropout(1.0),
    "Dropout: drop is -0.1; it must be": lambda: Dropout(-0.1),
    "Concat: it has no parts": lambda: Concat(),
    "Multiply: it has no parts": lambda: Multiply(a=None),
    "Chain: parts is (('a.b', Conv(8, 1)),); it must be": lambda: Chain(**{"a.b": Conv(8, 1)}),
    "Chain: parts is (('', Conv(8, 1)),); it must be": lambda: Chain(**{"": Conv(8, 1)}),
    "Chain: parts is (('a', 3),); it must be": lambda: Chain(a=3),
    "Chain: two parts are called a": lambda: Chain.of((("a", FC), ("a", FC))),
    "Add: branch is None; it must be": lambda: Add(None),
    "Add: scale is inf; it must be a number": lambda: Add(Conv(8, 1), scale=math.inf),
    "Net: body must end in Linear(4)": lambda: net(fc=Conv(4, 1)),
    "Net: body must end in Linear(4), one output for each class; it ends in Linear(5)": lambda: net(
        fc=Linear(5)
    ),
    "Net: body must end in Linear(4), one output for each class; it ends in None": lambda: net(),
    "Net: num_classes is 0; it must be": lambda: net(num_classes=0, fc=FC),
    "Net: name is 'a\\nb'; it must be one line": lambda: Net("a\nb", Chain(fc=FC), 4, ""),
    "Net: no part is called b for a head to read; there are: a": lambda: net(
        (("b", Chain(fc=FC)),), a=Conv(8, 1), fc=FC
    ),
    "Net: no part is called fc for a head to read": lambda: net((("fc", Chain(fc=FC)),), fc=FC),
    "Net: the head on a must end in Linear(4)": lambda: net(
        (("a", Chain(fc=Linear(3))),), a=Conv(8, 1), fc=FC
    ),
    "Net: two parts or heads are called aux_a": lambda: net(
        (("a", Chain(fc=FC)), ("a", Chain(fc=FC))), a=Conv(8, 1), fc=FC
    ),
    "Net: two parts or heads are called aux_4a": lambda: net(
        (("inception_4a", Chain(fc=FC)), ("mixed_4a", Chain(fc=FC))),
        inception_4a=Conv(8, 1), mixed_4a=Conv(8, 1), fc=FC,
    ),
    "Net: two parts or heads are called aux_b": lambda: net(
        (("b", Chain(fc=FC)),), b=Conv(8, 1), aux_b=Conv(8, 1), fc=FC
    ),
    "Net: two parts or heads are called images": lambda: net(images=Conv(8, 1), fc=FC),
    "Net: two parts or heads are called logits": lambda: net(logits=FC),
    "b: Conv(8, 1) reads maps, and a Linear stands before it": lambda: net(
        a=Linear(3), b=Conv(8, 1), fc=FC
    ),
    "b.y: MaxPool(kernel=3) reads maps, and": lambda: net(
        a=Linear(3), b=Concat(x=FC, y=MaxPool(3)), fc=FC
    ),
    "aux_a.b: LRN(5) reads maps, and": lambda: net(
        (("a", Chain(b=LRN(5), fc=FC)),), a=Linear(3), fc=FC
    ),
    "a: one branch gives vectors and another maps": lambda: net(
        a=Multiply(x=Chain(), y=Linear(3)), fc=FC
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_a_value_that_no_reader_can_run_is_refused_when_it_is_made(message):
    with pytest.raises(InceptiveError) as error:
        REFUSED[message]()
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_values_nested_too_deep_or_too_large_are_refused_before_a_reader_recurses():
    node = Conv(8, 1)
    for _ in range(100_000):
        node = Chain(a=node)
    with pytest.raises(InceptiveError, match=f"nested at most {MAX_DEPTH} deep"):
        net(a=node, fc=FC)
    bomb = Concat(a=Dropout(0.5))
    for _ in range(25):  # 10^25 words, of which each is there once in memory
        bomb = Concat(**{f"b{k}": bomb for k in range(10)})
    with pytest.raises(InceptiveError, match="at most 10,000 words"):
        net(a=bomb, fc=FC)


def test_every_net_of_the_family_is_far_from_the_bounds():
    sizes = [(max(d for _, d in words(make())), sum(1 for _ in words(make()))) for make in
             NETS.values()]  # fmt: skip
    assert max(depth for depth, _ in sizes) <= 8 and max(count for _, count in sizes) < 1500


def test_an_identity_is_drawn_and_has_no_depth():
    value = net(a=Conv(4, 3), same=Chain(), pool=AvgPool(grid=1), fc=FC)
    assert "identity" in draw(value)
    assert "The identity." in draw(value, "same")
    assert account(Chain(), 8, 3).depth == 0


def test_the_least_size_is_one_that_the_heads_take_too():
    head = Chain(pool=AvgPool(5, stride=3), fc=FC)
    value = net((("a", head),), a=Conv(4, 3, stride=2), pool=AvgPool(grid=1), fc=FC)
    assert minimum_size(value) == 9
    account(value, 9)
    with pytest.raises(InceptiveError, match="the least size is 9"):
        account(value, 8)


def test_walk_gives_each_part_with_the_heads_that_read_it():
    value = NETS["googlenet"](10)
    walked = list(value.walk())
    assert [(name, part) for name, part, _ in walked] == list(value.body)
    readers = {name: list(heads) for name, _, heads in walked if heads}
    assert readers == {"inception_4a": ["aux_4a"], "inception_4d": ["aux_4d"]}
    assert value.last == "fc"
    moved = value.with_heads(["inception_5a", "inception_3a"])
    assert list(moved.heads()) == ["aux_3a", "aux_5a"]


def test_values_print_in_few_characters():
    value = NETS["googlenet"](10)
    assert repr(value) == (
        "Net googlenet: 10 classes, images of 3 × 224 × 224\n"
        "  21 parts, conv1 to fc; heads aux_4a on inception_4a, aux_4d on inception_4d\n"
        "  source: arXiv:1409.4842v1, Table 1"
    )
    assert max(len(repr(make())) for make in NETS.values()) < 400
    assert repr(dict(value.body)["inception_3a"]) == "Concat(b1x1, b3x3, b5x5, pool)"
    layer = Conv(64, (7, 1), stride=2, norm=BatchNorm(scale=False))
    assert repr(layer) == "Conv(64, (7, 1), stride=2, norm=BatchNorm(scale=False))"
    assert eval(repr(layer)) == layer
    assert value == NETS["googlenet"](10) and hash(value) == hash(NETS["googlenet"](10))
    assert value != replace(value, channels=1)


def test_a_part_that_stands_behind_another_is_found_before_a_layer_of_its_name():
    branches = Concat(pool=MaxPool(3, stride=1, pad=1), b=Conv(8, 1))
    body = {"one": branches, "pool": MaxPool(2, 2), "two": branches, "mean": AvgPool(grid=1)}
    two = net(**body, fc=FC).reading(["one", "two"])
    assert [name for name, _ in two.trunk()] == [
        "one",
        "read.on.pool",
        "read.on.two",
        "read.on.read",
    ]
    assert two.reads() == {"one": "read.here", "two": "read.on.read"}
    every = net(**body, fc=FC).reading(["one", "pool", "two"]).reads()
    assert every == {"one": "read.here", "pool": "read.on.read.here", "two": "read.on.read.on.read"}
    assert not net(**body, fc=FC).reading(["two"]).reads() and not net(**body, fc=FC).reads()
    assert two.layer("pool") == "read.on.pool" and two.layer("two.b") == "read.on.two.b"
    with pytest.raises(
        InceptiveError, match=r"layers called b, such as one\.b; there are: one, read"
    ):
        two.layer("b")


def test_what_reads_parts_is_put_in_a_row_again_and_no_other_net():
    net = NETS["googlenet.bn"](num_classes=3)
    for parts in (["inception_3a"], ["inception_3a", "inception_4a"]):
        row = net.without_aux().reading(parts).unread()
        assert [name for name, _ in row.body][-3:] == [parts[-1], "pool", "fc"]
        assert list(row.body)[:-2] == list(net.without_aux()._upto(parts[-1]))
    assert net.unread() is net
    last = list(net.body)[-1]
    own = Concat(a=AvgPool(grid=1), b=MaxPool())  # a part of that name which is none of `reading`
    named = replace(
        net.without_aux(), name="own", body=Chain.of((("c", Conv(4, 1)), ("read", own), last))
    )
    assert named.unread() is named
