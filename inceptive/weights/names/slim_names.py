"""Key tables of TF-slim's checkpoints (research/slim/nets), including quirks of single scopes."""

from collections.abc import Mapping

from inceptive.arch.account import sides
from inceptive.arch.nets import NETS
from inceptive.arch.spec import Add, Concat, Conv, Node
from inceptive.weights.names.source import Source, layers, within

LEAVES = {  # slim normalises without gamma
    "weight": "/weights",
    "bias": "/biases",
    "depthwise.weight": "/depthwise_weights",
    "pointwise.weight": "/pointwise_weights",
    "bn.bias": "/BatchNorm/beta",
    "bn.running_mean": "/BatchNorm/moving_mean",
    "bn.running_var": "/BatchNorm/moving_variance",
}
STEM = {
    "conv_1a": "Conv2d_1a_3x3", "conv_2a": "Conv2d_2a_3x3", "conv_2b": "Conv2d_2b_3x3",
    "conv_3b": "Conv2d_3b_1x1", "conv_4a": "Conv2d_4a_3x3",
}  # fmt: skip


def module(node: Node, first: str) -> dict[str, str]:
    """The convolutions within a module, by their branch's number, their place in it and their kernel:
    a single 1x1 is called `first`, a strided or unpadded one Conv2d_1a."""
    if isinstance(node, Add):
        mix = module(dict(node.branch)["mix"], first)  # type: ignore[arg-type]
        return {f"branch.mix.{path}": name for path, name in mix.items()} | {
            "branch.up": "/Conv2d_1x1"
        }
    assert isinstance(node, Concat)
    table = {}
    for number, (part, branch) in enumerate(node):
        for place, (path, layer) in enumerate(layers(branch, part)):
            if isinstance(layer, Conv):
                high, wide = sides(layer.kernel)
                ends = layer.stride != 1 or layer.pad == "valid"
                name = f"Conv2d_{'1a' if ends else '0' + 'abcde'[place]}_{high}x{wide}"
                table[path] = f"/Branch_{number}/{first if path == 'b1x1' else name}"
    return table


def slim(
    net: str,
    top: str,
    scopes: Mapping[str, str],
    alone: Mapping[str, str],
    first: str = "Conv2d_0a_1x1",
) -> dict[str, str]:
    """The modules of `net` in their `scopes` (by default their capitalised names), and the exceptions:
    layers outside modules, and irregular scopes."""
    units: dict[str, str] = {}
    for name, part in NETS[net]().body:
        if isinstance(part, Concat | Add):
            units |= within(name, scopes.get(name, name.capitalize()), module(part, first))
    return {ours: f"{top}/{theirs}" for ours, theirs in (units | dict(alone)).items()}


def inception_v1() -> dict[str, str]:
    ours = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    theirs = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
    scopes = {f"inception_{a}": f"Mixed_{b}" for a, b in zip(ours, theirs, strict=True)}
    return slim("googlenet.slim", "InceptionV1", scopes, {
        "conv1": "Conv2d_1a_7x7", "conv2_reduce": "Conv2d_2b_1x1", "conv2": "Conv2d_2c_3x3",
        "fc": "Logits/Conv2d_0c_1x1",
        # Mistyped, and every checkpoint has it so.
        "inception_5a.b5x5.conv": "Mixed_5b/Branch_2/Conv2d_0a_3x3",
    })  # fmt: skip


def inception_v2() -> dict[str, str]:
    ours = ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    theirs = ("3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b", "5c")
    scopes = {f"inception_{a}": f"Mixed_{b}" for a, b in zip(ours, theirs, strict=True)}
    return slim("inception_v2.slim", "InceptionV2", scopes, {
        "conv1.pointwise": "Conv2d_1a_7x7", "conv1.depthwise": "Conv2d_1a_7x7",
        "conv2_reduce": "Conv2d_2b_1x1", "conv2": "Conv2d_2c_3x3", "fc": "Logits/Conv2d_1c_1x1",
    })  # fmt: skip


def inception_v3() -> dict[str, str]:
    return slim("inception_v3.slim", "InceptionV3", {}, STEM | {
        "aux_6e.proj": "AuxLogits/Conv2d_1b_1x1", "aux_6e.conv": "AuxLogits/Conv2d_2a_5x5",
        "aux_6e.fc": "AuxLogits/Conv2d_2b_1x1", "fc": "Logits/Conv2d_1c_1x1",
        "mixed_5c.b5x5.reduce": "Mixed_5c/Branch_1/Conv2d_0b_1x1",
        "mixed_5c.b5x5.conv": "Mixed_5c/Branch_1/Conv_1_0c_5x5",
        "mixed_6a.b3x3": "Mixed_6a/Branch_0/Conv2d_1a_1x1",
        "mixed_6a.b3x3dbl.conv2": "Mixed_6a/Branch_1/Conv2d_1a_1x1",
        "mixed_7b.b3x3.split.b3x1": "Mixed_7b/Branch_1/Conv2d_0b_3x1",
    })  # fmt: skip


def inception_v4() -> dict[str, str]:
    return slim("inception_v4.slim", "InceptionV4", {}, {
        **{name: STEM[name] for name in ("conv_1a", "conv_2a", "conv_2b")},
        "aux_6h.proj": "AuxLogits/Conv2d_1b_1x1", "aux_6h.conv": "AuxLogits/Conv2d_2a",
        "aux_6h.fc": "AuxLogits/Aux_logits", "fc": "Logits/Logits",
        "mixed_3a.b3x3": "Mixed_3a/Branch_1/Conv2d_0a_3x3",
    })  # fmt: skip


def inception_resnet_v2() -> dict[str, str]:
    repeats = {35: (10, "Repeat"), 17: (20, "Repeat_1"), 8: (9, "Repeat_2")}
    scopes = {
        f"block{size}_{k}": f"{scope}/block{size}_{k}"
        for size, (count, scope) in repeats.items()
        for k in range(1, count + 1)
    } | {"block8_10": "Block8"}
    return slim("inception_resnet_v2.slim", "InceptionResnetV2", scopes, STEM | {
        "conv_7b": "Conv2d_7b_1x1", "fc": "Logits/Logits",
        "aux_block17_20.proj": "AuxLogits/Conv2d_1b_1x1",
        "aux_block17_20.conv": "AuxLogits/Conv2d_2a_5x5",
        "aux_block17_20.fc": "AuxLogits/Logits",
    }, first="Conv2d_1x1")  # fmt: skip


def _source(units: dict[str, str]) -> Source:
    return Source(
        units, conv="{}", norm="{}", leaves=LEAVES, layout="tensorflow", ignored=("global_step",)
    )


SOURCES = {
    "slim_v1": _source(inception_v1()),
    "slim_v2": _source(inception_v2()),
    "slim_v3": _source(inception_v3()),
    "slim_v4": _source(inception_v4()),
    "slim_resnet_v2": _source(inception_resnet_v2()),
}
