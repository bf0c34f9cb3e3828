"""Key tables of Keras applications, and of the nsfwjs model that was made with them.

Keras numbers unnamed layers in the order in which its source creates them (conv2d_1,
batch_normalization_1, ...), which is the order of our values; `renumbered` makes any file's
numbers start at 1.
"""

import re
from collections.abc import Iterable, Mapping

from inceptive.arch.nets import NETS
from inceptive.arch.spec import Add, Conv, Separable
from inceptive.weights.names.source import Source, layers

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
    """Map each name in a file to the name in our tables: without ":0", numbered from 1.

    In a fresh process Keras counts conv2d, conv2d_1, ...; in a second model it continues counting.
    """
    paths = {name: f"/{name.removesuffix(':0')}".split("/")[-2:] for name in names}
    numbers: dict[str, set[int]] = {}
    for layer, _ in paths.values():
        if match := NUMBERED.fullmatch(layer):
            numbers.setdefault(match[1], set()).add(int(match[2] or 0))
    places = {kind: {n: k for k, n in enumerate(sorted(some), 1)} for kind, some in numbers.items()}
    canonical = {}
    for name, (layer, weight) in paths.items():
        if match := NUMBERED.fullmatch(layer):
            layer = f"{match[1]}_{places[match[1]][int(match[2] or 0)]}"
        canonical[name] = f"{layer}/{weight}"
    return canonical


def numbered(net: str, named: Mapping[str, str]) -> dict[str, str]:
    """The units of a net: those in `named`, and its other normalised convolutions by number."""
    table = dict(named)
    units = (path for path, layer in layers(NETS[net]().body)
             if isinstance(layer, Conv) and layer.norm and path not in named)  # fmt: skip
    for number, unit in enumerate(units, start=1):
        table |= {unit: f"conv2d_{number}", f"{unit}.bn": f"batch_normalization_{number}"}
    return table


def inception_resnet_v2() -> dict[str, str]:
    """The linear 1x1 of each residual module and conv_7b have names of their own."""
    net = "inception_resnet_v2.keras"
    blocks = [name for name, part in NETS[net]().body if isinstance(part, Add)]
    named = {"fc": "predictions", "conv_7b": "conv_7b", "conv_7b.bn": "conv_7b_bn"}
    return numbered(net, named | {f"{block}.branch.up": f"{block}_conv" for block in blocks})


def xception() -> dict[str, str]:
    """Keras counts its first two layers as block1, so its block2 is our block1."""
    net = "xception.keras"
    theirs = {"conv1": "block1_conv1", "conv2": "block1_conv2"}
    theirs |= {"conv3": "block14_sepconv1", "conv4": "block14_sepconv2"}
    units = {"fc": "predictions"}
    for path, layer in layers(NETS[net]().body):
        if match := re.fullmatch(r"block(\d+)\.branch\.sep(\d)", path):
            theirs[path] = f"block{int(match[1]) + 1}_sepconv{match[2]}"
        if path not in theirs:
            continue
        name, ends = theirs[path], (".depthwise", ".pointwise")
        last = ends[-1] if isinstance(layer, Separable) else ""
        units |= {f"{path}{end}": name for end in (ends if last else ("",))}
        units[f"{path}{last}.bn"] = f"{name}_bn"
    return numbered(net, units)


def _source(units: Mapping[str, str]) -> Source:
    return Source(units, conv="{}", leaves=LEAVES, layout="tensorflow", canonical=renumbered)


SOURCES = {
    "keras_v3": _source(numbered("inception_v3.keras", {"fc": "predictions"})),
    "keras_resnet_v2": _source(inception_resnet_v2()),
    "keras_xception": _source(xception()),
    "nsfwjs": _source(
        numbered("inception_v3.nsfwjs", {"fc1.fc": "dense_1", "fc2.fc": "dense_2", "fc": "dense_3"})
    ),
}
