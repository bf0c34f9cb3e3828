"""Key tables of pytorchcv 0.0.74: modules counted in stages and units, stage1.unit1 onwards."""

from collections.abc import Iterable, Mapping

from inceptive.weights.names.source import Source, within

INIT = "features.init_block"


def stage(number: int, modules: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """`modules`, ours with the names inside each, as the units of a stage in their order."""
    units: dict[str, str] = {}
    for k, (ours, inside) in enumerate(modules, start=1):
        units |= within(ours, f"features.stage{number}.unit{k}", inside)
    return units


def sequence(branch: int, *ours: str, inside: str = ".conv_list") -> dict[str, str]:
    """A branch of convolutions one after another, conv1 onwards."""
    return {name: f".branches.branch{branch}{inside}.conv{k}" for k, name in enumerate(ours, 1)}


def one(branch: int, ours: str) -> dict[str, str]:
    """A branch of one convolution, behind a pooling or not."""
    return {ours: f".branches.branch{branch}.conv"}


def split(branch: int, ours: str, *before: str) -> dict[str, str]:
    """A branch that ends in a 1x3 beside a 3x1."""
    at = f".branches.branch{branch}"
    both = {f"{ours}.split.b1x3": f"{at}.conv1x3", f"{ours}.split.b3x1": f"{at}.conv3x1"}
    return sequence(branch, *(f"{ours}.{name}" for name in before)) | both


DOUBLE = ("b3x3dbl.reduce", "b3x3dbl.conv1", "b3x3dbl.conv2")
SEVEN = ("b7x7.reduce", "b7x7.conv1", "b7x7.conv2")
SEVENS = tuple(f"b7x7dbl.{name}" for name in ("reduce", "conv1", "conv2", "conv3", "conv4"))
STEM = ("conv_1a", "conv_2a", "conv_2b", "conv_3b", "conv_4a")
FIVE = one(1, "b1x1") | sequence(2, "b5x5.reduce", "b5x5.conv") | one(4, "pool.proj")
REDUCTION_A = sequence(1, "b3x3") | sequence(2, *DOUBLE)
REDUCTION_B = sequence(1, "b3x3.reduce", "b3x3.conv") | sequence(2, *SEVEN, "b7x7.conv3")


def stem(*ours: str) -> dict[str, str]:
    return {name: f"{INIT}.conv{k}" for k, name in enumerate(ours, 1)}


def bn_inception() -> dict[str, str]:
    """As Cadene's net: biases below batch normalisation. Its stem's branch is our conv2."""
    three, dbl = ("b3x3.reduce", "b3x3.conv"), DOUBLE
    plain = (
        {"b1x1": ".branches.branch1"}
        | sequence(2, *three, inside="")
        | sequence(3, *dbl, inside="")
        | one(4, "pool.proj")
    )
    down = sequence(1, *three, inside="") | sequence(2, *dbl, inside="")

    def modules(*names: str) -> list[tuple[str, Mapping[str, str]]]:
        return [(f"inception_{name}", down if name in ("3c", "4e") else plain) for name in names]

    return {
        "conv1": f"{INIT}.conv1",
        "conv2_reduce": f"{INIT}.conv2.conv1",
        "conv2": f"{INIT}.conv2.conv2",
        **stage(1, modules("3a", "3b")),
        **stage(2, modules("3c", "4a", "4b", "4c", "4d")),
        **stage(3, modules("4e", "5a", "5b")),
        "fc": "output",
    }


def inception_v3() -> dict[str, str]:
    five = FIVE | sequence(3, "b3x3.reduce", "b3x3.conv1", "b3x3.conv2")
    six = one(1, "b1x1") | sequence(2, *SEVEN) | sequence(3, *SEVENS) | one(4, "pool.proj")
    seven = (
        one(1, "b1x1")
        | split(2, "b3x3", "reduce")
        | split(3, "b3x3dbl", "reduce", "conv")
        | one(4, "pool.proj")
    )
    return {
        **stem(*STEM),
        **stage(1, [(f"mixed_5{letter}", five) for letter in "bcd"]),
        **stage(2, [("mixed_6a", REDUCTION_A), *((f"mixed_6{letter}", six) for letter in "bcde")]),
        **stage(3, [("mixed_7a", REDUCTION_B), *((f"mixed_7{letter}", seven) for letter in "bc")]),
        "fc": "output.fc",
    }


def inception_v4() -> dict[str, str]:
    a = (
        one(1, "b1x1")
        | sequence(2, "b3x3.reduce", "b3x3.conv")
        | sequence(3, *DOUBLE)
        | one(4, "pool.proj")
    )
    b = one(1, "b1x1") | sequence(2, *SEVEN) | sequence(3, *SEVENS) | one(4, "pool.proj")
    c = (
        one(1, "b1x1")
        | split(2, "b3x3", "reduce")
        | split(3, "b3x3dbl", "reduce", "conv1", "conv2")
        | one(4, "pool.proj")
    )
    return {
        **stem("conv_1a", "conv_2a", "conv_2b"),
        **within("mixed_3a", f"{INIT}.block1", one(2, "b3x3")),
        **within("mixed_4a", f"{INIT}.block2", REDUCTION_B),
        **within("mixed_5a", f"{INIT}.block3", one(1, "b3x3")),
        **stage(1, [(f"mixed_5{letter}", a) for letter in "bcde"]),
        **stage(2, [("mixed_6a", REDUCTION_A), *((f"mixed_6{letter}", b) for letter in "bcdefgh")]),
        **stage(3, [("mixed_7a", REDUCTION_B), *((f"mixed_7{letter}", c) for letter in "bcd")]),
        "fc": "output.fc",
    }


def residual(size: int) -> dict[str, str]:
    """A residual module of either Inception-ResNet, on 35, 17 or 8 squared positions."""
    mixes = {
        35: sequence(2, "b3x3.reduce", "b3x3.conv") | sequence(3, *DOUBLE),
        17: sequence(2, *SEVEN),
        8: sequence(2, "b3x3.reduce", "b3x3.conv1", "b3x3.conv2"),
    }
    mix = one(1, "b1x1") | mixes[size]
    return {f"branch.mix.{ours}": theirs for ours, theirs in mix.items()} | {"branch.up": ".conv"}


def inception_resnet(repeats: tuple[int, int, int]) -> dict[str, str]:
    """The stages that both Inception-ResNets have; repeats without the last, linear module."""

    def blocks(size: int, count: int) -> list[tuple[str, Mapping[str, str]]]:
        return [(f"block{size}_{k}", residual(size)) for k in range(1, count + 1)]

    seven_a = (
        sequence(1, "b3x3.reduce", "b3x3.conv")
        | sequence(2, "b3x3b.reduce", "b3x3b.conv")
        | sequence(3, *DOUBLE)
    )
    return {
        **stage(1, blocks(35, repeats[0])),
        **stage(2, [("mixed_6a", REDUCTION_A), *blocks(17, repeats[1])]),
        **stage(3, [("mixed_7a", seven_a), *blocks(8, repeats[2] + 1)]),
    }


def inception_resnet_v1() -> dict[str, str]:
    """The layout of facenet, for ImageNet's classes: 512 features before the classifier."""
    top = {"embedding": "output.fc1", "norm": "output.bn", "fc": "output.fc2"}
    return stem(*STEM, "conv_4b") | inception_resnet((5, 10, 5)) | top


def inception_resnet_v2() -> dict[str, str]:
    first = within("mixed_5b", f"{INIT}.block", FIVE | sequence(3, *DOUBLE))
    top = {"conv_7b": "features.final_conv", "fc": "output.fc"}
    return stem(*STEM) | first | inception_resnet((10, 20, 9)) | top


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
    "pytorchcv_v3": Source(inception_v3()),
    "pytorchcv_v4": Source(inception_v4()),
    "pytorchcv_resnet_v1": Source(inception_resnet_v1()),
    "pytorchcv_resnet_v2": Source(inception_resnet_v2()),
    "pytorchcv_xception": Source(xception(), conv="{}"),
}
