"""Key tables of pytorchcv 0.0.74: modules counted in stages and units, stage1.unit1 onwards."""

from inceptive.arch.nets import NETS
from inceptive.arch.spec import Add, Concat, Conv, Node
from inceptive.weights.names.source import Source, layers, within

INIT = "features.init_block"


def inside(node: Node, conv_list: str) -> dict[str, str]:
    """The convolutions within a module: branches by number, in them conv1 onwards.

    A single 1x1, or the only one after a pooling, is `conv`; a split ends in conv1x3 and conv3x1.
    """
    if isinstance(node, Add):
        mix = dict(node.branch)["mix"]  # type: ignore[arg-type]
        table = inside(mix, conv_list)
        return {f"branch.mix.{path}": name for path, name in table.items()} | {"branch.up": ".conv"}
    assert isinstance(node, Concat)
    table = {}
    for number, (part, branch) in enumerate(node, start=1):
        at = f".branches.branch{number}"
        convs = {path: conv for path, conv in layers(branch, part) if isinstance(conv, Conv)}
        for k, (path, conv) in enumerate(convs.items(), start=1):
            alone = len(convs) == 1 and conv.stride == 1
            split = f".conv{path[-3:]}" if ".split." in path else ""
            table[path] = at + (".conv" if alone else split or f"{conv_list}.conv{k}")
    return table


def units(net: str, starts: tuple[str, ...], conv_list: str = ".conv_list") -> dict[str, str]:
    """The stem's convolutions, and the modules of `net` in stages that begin with `starts`."""
    table: dict[str, str] = {}
    stage = number = 0
    for name, part in NETS[net]().body:
        if name in starts:
            stage, number = stage + 1, 0
        if stage and isinstance(part, Concat | Add):
            number += 1
            theirs = f"features.stage{stage}.unit{number}"
            table |= within(name, theirs, inside(part, conv_list))
        elif isinstance(part, Conv) and not stage:
            table[name] = f"{INIT}.conv{len(table) + 1}"
    return table | {"fc": "output.fc"}


def bn_inception() -> dict[str, str]:
    """As Cadene's net: biases below batch normalisation. Its stem's branch is our conv2."""
    starts = ("inception_3a", "inception_3c", "inception_4e")
    table = units("bn_inception.cadene", starts, conv_list="")
    table |= {path: name.removesuffix(".conv") for path, name in table.items() if "b1x1" in path}
    stem = {"conv2_reduce": f"{INIT}.conv2.conv1", "conv2": f"{INIT}.conv2.conv2"}
    return table | stem | {"fc": "output"}


def inception_v4() -> dict[str, str]:
    """Three modules of branches belong to the stem."""
    body = dict(NETS["inception_v4"]().body)
    return {
        **units("inception_v4", ("mixed_5b", "mixed_6a", "mixed_7a")),
        "mixed_3a.b3x3": f"{INIT}.block1.branches.branch2.conv",
        **within("mixed_4a", f"{INIT}.block2", inside(body["mixed_4a"], ".conv_list")),
        "mixed_5a.b3x3": f"{INIT}.block3.branches.branch1.conv",
    }


RESIDUAL = ("block35_1", "mixed_6a", "mixed_7a")


def inception_resnet_v1() -> dict[str, str]:
    """The layout of facenet, for ImageNet's classes: 512 features before the classifier."""
    top = {"embedding": "output.fc1", "norm": "output.bn", "fc": "output.fc2"}
    return units("inception_resnet_v1.facenet", RESIDUAL) | top


def inception_resnet_v2() -> dict[str, str]:
    net = "inception_resnet_v2"
    first = within(
        "mixed_5b", f"{INIT}.block", inside(dict(NETS[net]().body)["mixed_5b"], ".conv_list")
    )
    return units(net, RESIDUAL) | first | {"conv_7b": "features.final_conv"}


def xception() -> dict[str, str]:
    """Their stage3.unit1 is our block3; blocks 4 to 11 follow it there."""
    units = {"fc": "output"}

    def separable(ours: str, theirs: str) -> dict[str, str]:
        return {
            f"{ours}.depthwise": f"{theirs}.conv.dw_conv",
            f"{ours}.pointwise": f"{theirs}.conv.pw_conv",
            f"{ours}.pointwise.bn": f"{theirs}.bn",
        }

    def unit(ours: str, theirs: str) -> dict[str, str]:
        return {ours: f"{theirs}.conv", f"{ours}.bn": f"{theirs}.bn"}

    at = {1: "stage1.unit1", 2: "stage2.unit1", 12: "stage4.unit1"}
    at |= {k: f"stage3.unit{k - 2}" for k in range(3, 12)}
    for k, theirs in at.items():
        for j in range(1, 4 if 4 <= k <= 11 else 3):
            units |= separable(f"block{k}.branch.sep{j}", f"features.{theirs}.body.block{j}")
        if k in (1, 2, 3, 12):
            units |= unit(f"block{k}.shortcut", f"features.{theirs}.identity_conv")
    units |= unit("conv1", f"{INIT}.conv1") | unit("conv2", f"{INIT}.conv2")
    final = "features.final_block"
    return units | separable("conv3", f"{final}.conv1") | separable("conv4", f"{final}.conv2")


SOURCES = {
    "pytorchcv_bn": Source(bn_inception()),
    "pytorchcv_v3": Source(units("inception_v3", ("mixed_5b", "mixed_6a", "mixed_7a"))),
    "pytorchcv_v4": Source(inception_v4()),
    "pytorchcv_resnet_v1": Source(inception_resnet_v1()),
    "pytorchcv_resnet_v2": Source(inception_resnet_v2()),
    "pytorchcv_xception": Source(xception(), conv="{}"),
}
