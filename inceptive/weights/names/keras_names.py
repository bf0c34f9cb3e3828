"""Key tables of Keras' applications, and of the nsfwjs model that was made with them.

Keras numbers unnamed layers in the order in which its source creates them (conv2d_1,
batch_normalization_1, ...), which is the order of our values; `renumbered` brings any file's
numbers to begin at 1.
"""

import re
from collections.abc import Iterable, Mapping

from inceptive.weights.names.source import Source

LEAVES = {
    "weight": "/kernel",
    "bias": "/bias",
    "depthwise.weight": "/depthwise_kernel",
    "pointwise.weight": "/pointwise_kernel",
    "bn.weight": "/gamma",
    "bn.bias": "/beta",
    "bn.running_mean": "/moving_mean",
    "bn.running_var": "/moving_variance",
}
NUMBERED = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")


def renumbered(names: Iterable[str]) -> dict[str, str]:
    """Each name in a file -> the name in our tables: without ":0", numbered from 1.

    In a fresh process Keras counts conv2d, conv2d_1, ...; in a second model it goes on counting.
    """
    names = list(names)
    numbers: dict[str, set[int]] = {}
    for name in names:
        if found := NUMBERED.fullmatch(_layer(name)):
            numbers.setdefault(found[1], set()).add(int(found[2] or 0))
    places = {
        (kind, number): place
        for kind, some in numbers.items()
        for place, number in enumerate(sorted(some), start=1)
    }
    canonical = {}
    for name in names:
        layer, _, weight = name.removesuffix(":0").rpartition("/")
        layer = layer.rpartition("/")[2]
        if found := NUMBERED.fullmatch(layer):
            layer = f"{found[1]}_{places[found[1], int(found[2] or 0)]}"
        canonical[name] = f"{layer}/{weight}"
    return canonical


def _layer(name: str) -> str:
    return name.rpartition("/")[0].rpartition("/")[2]


def numbered(units: Iterable[str], start: int = 1) -> dict[str, str]:
    """`units`, convolutions with batch normalisation, in the order of their creation."""
    table: dict[str, str] = {}
    for number, unit in enumerate(units, start):
        table |= {unit: f"conv2d_{number}", f"{unit}.bn": f"batch_normalization_{number}"}
    return table


def _within(module: str, inside: Iterable[str]) -> list[str]:
    return [f"{module}.{unit}" for unit in inside]


STEM = ("conv_1a", "conv_2a", "conv_2b", "conv_3b", "conv_4a")
DOUBLE = ("b3x3dbl.reduce", "b3x3dbl.conv1", "b3x3dbl.conv2")


def inception_v3() -> dict[str, str]:
    five = ("b1x1", "b5x5.reduce", "b5x5.conv", "b3x3.reduce", "b3x3.conv1", "b3x3.conv2",
            "pool.proj")  # fmt: skip
    six = ("b1x1", "b7x7.reduce", "b7x7.conv1", "b7x7.conv2", "b7x7dbl.reduce", "b7x7dbl.conv1",
           "b7x7dbl.conv2", "b7x7dbl.conv3", "b7x7dbl.conv4", "pool.proj")  # fmt: skip
    seven_a = ("b3x3.reduce", "b3x3.conv", "b7x7.reduce", "b7x7.conv1", "b7x7.conv2", "b7x7.conv3")
    seven = ("b1x1", "b3x3.reduce", "b3x3.split.b1x3", "b3x3.split.b3x1", "b3x3dbl.reduce",
             "b3x3dbl.conv", "b3x3dbl.split.b1x3", "b3x3dbl.split.b3x1", "pool.proj")  # fmt: skip
    units = list(STEM)
    for module, inside in (
        *((f"mixed_5{letter}", five) for letter in "bcd"),
        ("mixed_6a", ("b3x3", *DOUBLE)),
        *((f"mixed_6{letter}", six) for letter in "bcde"),
        ("mixed_7a", seven_a),
        *((f"mixed_7{letter}", seven) for letter in "bc"),
    ):
        units += _within(module, inside)
    return numbered(units) | {"fc": "predictions"}


def inception_resnet_v2() -> dict[str, str]:
    """The linear 1x1 of each residual module and conv_7b have names of their own."""
    mixes = {
        35: ("b1x1", "b3x3.reduce", "b3x3.conv", *DOUBLE),
        17: ("b1x1", "b7x7.reduce", "b7x7.conv1", "b7x7.conv2"),
        8: ("b1x1", "b3x3.reduce", "b3x3.conv1", "b3x3.conv2"),
    }
    named = {"fc": "predictions", "conv_7b": "conv_7b", "conv_7b.bn": "conv_7b_bn"}

    def blocks(size: int, repeats: int) -> list[str]:
        found = []
        for block in (f"block{size}_{k}" for k in range(1, repeats + 1)):
            found += _within(f"{block}.branch.mix", mixes[size])
            named[f"{block}.branch.up"] = f"{block}_conv"
        return found

    first = ("b1x1", "b5x5.reduce", "b5x5.conv", *DOUBLE, "pool.proj")
    seven_a = ("b3x3.reduce", "b3x3.conv", "b3x3b.reduce", "b3x3b.conv", *DOUBLE)
    units = [
        *STEM,
        *_within("mixed_5b", first),
        *blocks(35, 10),
        *_within("mixed_6a", ("b3x3", *DOUBLE)),
        *blocks(17, 20),
        *_within("mixed_7a", seven_a),
        *blocks(8, 10),
    ]
    return numbered(units) | named


def xception() -> dict[str, str]:
    """Keras counts its first two layers as block1, so its block2 is our block1."""
    units = {
        "conv1": "block1_conv1", "conv1.bn": "block1_conv1_bn",
        "conv2": "block1_conv2", "conv2.bn": "block1_conv2_bn", "fc": "predictions",
    }  # fmt: skip

    def separable(ours: str, theirs: str) -> dict[str, str]:
        return {
            f"{ours}.depthwise": theirs,
            f"{ours}.pointwise": theirs,
            f"{ours}.pointwise.bn": f"{theirs}_bn",
        }

    for k in range(1, 13):
        for j in range(1, 4 if 4 <= k <= 11 else 3):
            units |= separable(f"block{k}.branch.sep{j}", f"block{k + 1}_sepconv{j}")
    units |= separable("conv3", "block14_sepconv1") | separable("conv4", "block14_sepconv2")
    return units | numbered(f"block{k}.shortcut" for k in (1, 2, 3, 12))


def _source(units: Mapping[str, str]) -> Source:
    return Source(units, conv="{}", leaves=LEAVES, layout="tensorflow", canonical=renumbered)


SOURCES = {
    "keras_v3": _source(inception_v3()),
    "keras_resnet_v2": _source(inception_resnet_v2()),
    "keras_xception": _source(xception()),
    "nsfwjs": _source(inception_v3() | {"fc1.fc": "dense_1", "fc2.fc": "dense_2", "fc": "dense_3"}),
}
