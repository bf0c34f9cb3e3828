"""Key tables of checkpoints that torch itself wrote, one a publisher and net."""

from collections.abc import Mapping

from inceptive.weights.names.source import Source, within

STAGES_V1 = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


def numbered(branch: str, *ours: str, start: int = 0) -> dict[str, str]:
    """Ours, in order, as `branch` and a number: branch1.0, branch1.1."""
    return {name: f"{branch}{k}" for k, name in enumerate(ours, start)}


def torchvision_v1() -> dict[str, str]:
    """torchvision 0.28, GoogLeNet. Its conv2 is our conv2_reduce, its conv3 our conv2."""
    units = {"conv1": "conv1", "conv2_reduce": "conv2", "conv2": "conv3", "fc": "fc"}
    module = {
        "b1x1": ".branch1",
        **numbered(".branch2.", "b3x3.reduce", "b3x3.conv"),
        **numbered(".branch3.", "b5x5.reduce", "b5x5.conv"),
        "pool.proj": ".branch4.1",
    }
    for stage in STAGES_V1:
        units |= within(f"inception_{stage}", f"inception{stage}", module)
    head = {"conv": ".conv", "fc1": ".fc1", "fc2": ".fc2"}
    return units | within("aux_4a", "aux1", head) | within("aux_4d", "aux2", head)


def torchvision_v3() -> dict[str, str]:
    """torchvision's and timm's Inception v3, and the net of the Frechet inception distance."""
    units = {
        "conv_1a": "Conv2d_1a_3x3",
        "conv_2a": "Conv2d_2a_3x3",
        "conv_2b": "Conv2d_2b_3x3",
        "conv_3b": "Conv2d_3b_1x1",
        "conv_4a": "Conv2d_4a_3x3",
        "fc": "fc",
    }
    double = numbered(".branch3x3dbl_", "b3x3.reduce", "b3x3.conv1", "b3x3.conv2", start=1)
    pool = {"b1x1": ".branch1x1", "pool.proj": ".branch_pool"}
    five = pool | numbered(".branch5x5_", "b5x5.reduce", "b5x5.conv", start=1) | double
    six_a = {"b3x3": ".branch3x3"} | numbered(
        ".branch3x3dbl_", "b3x3dbl.reduce", "b3x3dbl.conv1", "b3x3dbl.conv2", start=1
    )
    seven = numbered(".branch7x7_", "b7x7.reduce", "b7x7.conv1", "b7x7.conv2", start=1)
    dbl = ("reduce", "conv1", "conv2", "conv3", "conv4")
    six = pool | seven | numbered(".branch7x7dbl_", *(f"b7x7dbl.{one}" for one in dbl), start=1)
    seven_a = numbered(".branch3x3_", "b3x3.reduce", "b3x3.conv", start=1) | numbered(
        ".branch7x7x3_", "b7x7.reduce", "b7x7.conv1", "b7x7.conv2", "b7x7.conv3", start=1
    )
    last = pool | {
        "b3x3.reduce": ".branch3x3_1",
        "b3x3.split.b1x3": ".branch3x3_2a",
        "b3x3.split.b3x1": ".branch3x3_2b",
        "b3x3dbl.reduce": ".branch3x3dbl_1",
        "b3x3dbl.conv": ".branch3x3dbl_2",
        "b3x3dbl.split.b1x3": ".branch3x3dbl_3a",
        "b3x3dbl.split.b3x1": ".branch3x3dbl_3b",
    }
    inside = dict.fromkeys(("5b", "5c", "5d"), five) | {"6a": six_a}
    inside |= dict.fromkeys(("6b", "6c", "6d", "6e"), six) | {"7a": seven_a}
    for stage, table in (inside | dict.fromkeys(("7b", "7c"), last)).items():
        units |= within(f"mixed_{stage}", f"Mixed_{stage}", table)
    return units | within("aux_6e", "AuxLogits", {"proj": ".conv0", "conv": ".conv1", "fc": ".fc"})


def timm_v4() -> dict[str, str]:
    """timm's and Cadene's Inception v4: modules numbered through, `features.0` to `features.21`."""
    a = {
        "b1x1": ".branch0",
        **numbered(".branch1.", "b3x3.reduce", "b3x3.conv"),
        **numbered(".branch2.", "b3x3dbl.reduce", "b3x3dbl.conv1", "b3x3dbl.conv2"),
        "pool.proj": ".branch3.1",
    }
    dbl = ("reduce", "conv1", "conv2", "conv3", "conv4")
    b = {
        "b1x1": ".branch0",
        **numbered(".branch1.", "b7x7.reduce", "b7x7.conv1", "b7x7.conv2"),
        **numbered(".branch2.", *(f"b7x7dbl.{one}" for one in dbl)),
        "pool.proj": ".branch3.1",
    }
    c = {
        "b1x1": ".branch0",
        "b3x3.reduce": ".branch1_0",
        "b3x3.split.b1x3": ".branch1_1a",
        "b3x3.split.b3x1": ".branch1_1b",
        **numbered(".branch2_", "b3x3dbl.reduce", "b3x3dbl.conv1", "b3x3dbl.conv2"),
        "b3x3dbl.split.b1x3": ".branch2_3a",
        "b3x3dbl.split.b3x1": ".branch2_3b",
        "pool.proj": ".branch3.1",
    }
    reduction_a = {
        "b3x3": ".branch0",
        **numbered(".branch1.", "b3x3dbl.reduce", "b3x3dbl.conv1", "b3x3dbl.conv2"),
    }
    reduction_b = {
        **numbered(".branch0.", "b3x3.reduce", "b3x3.conv"),
        **numbered(".branch1.", "b7x7.reduce", "b7x7.conv1", "b7x7.conv2", "b7x7.conv3"),
    }
    four_a = {
        **numbered(".branch0.", "b3x3.reduce", "b3x3.conv"),
        **numbered(".branch1.", "b7x7.reduce", "b7x7.conv1", "b7x7.conv2", "b7x7.conv3"),
    }
    inside: list[tuple[str, Mapping[str, str]]] = [
        ("conv_1a", {"": ""}),
        ("conv_2a", {"": ""}),
        ("conv_2b", {"": ""}),
        ("mixed_3a", {"b3x3": ".conv"}),
        ("mixed_4a", four_a),
        ("mixed_5a", {"b3x3": ".conv"}),
        *((f"mixed_5{letter}", a) for letter in "bcde"),
        ("mixed_6a", reduction_a),
        *((f"mixed_6{letter}", b) for letter in "bcdefgh"),
        ("mixed_7a", reduction_b),
        *((f"mixed_7{letter}", c) for letter in "bcd"),
    ]
    units = {"fc": "last_linear"}
    for k, (ours, table) in enumerate(inside):
        units |= within(ours, f"features.{k}", table)
    return units


RESIDUAL = {
    35: {
        "b1x1": ".branch0",
        **numbered(".branch1.", "b3x3.reduce", "b3x3.conv"),
        **numbered(".branch2.", "b3x3dbl.reduce", "b3x3dbl.conv1", "b3x3dbl.conv2"),
    },
    17: {
        "b1x1": ".branch0",
        **numbered(".branch1.", "b7x7.reduce", "b7x7.conv1", "b7x7.conv2"),
    },
    8: {
        "b1x1": ".branch0",
        **numbered(".branch1.", "b3x3.reduce", "b3x3.conv1", "b3x3.conv2"),
    },
}


def inception_resnet(repeats: tuple[int, int, int], groups: tuple[str, str, str]) -> dict[str, str]:
    """What the Inception-ResNets share: the stem, the residual modules and the reductions."""
    units = {f"conv_{at}": f"conv2d_{at}" for at in ("1a", "2a", "2b", "3b", "4a")}
    for (size, inside), count, group in zip(RESIDUAL.items(), repeats, groups, strict=True):
        table = {f"branch.mix.{ours}": theirs for ours, theirs in inside.items()}
        table["branch.up"] = ".conv2d"
        for k in range(count):
            units |= within(f"block{size}_{k + 1}", f"{group}.{k}", table)
    last = {f"branch.mix.{ours}": theirs for ours, theirs in RESIDUAL[8].items()}
    units |= within(f"block8_{repeats[2] + 1}", "block8", last | {"branch.up": ".conv2d"})
    six_a = numbered(".branch1.", "b3x3dbl.reduce", "b3x3dbl.conv1", "b3x3dbl.conv2")
    units |= within("mixed_6a", "mixed_6a", {"b3x3": ".branch0"} | six_a)
    return units | within(
        "mixed_7a",
        "mixed_7a",
        {
            **numbered(".branch0.", "b3x3.reduce", "b3x3.conv"),
            **numbered(".branch1.", "b3x3b.reduce", "b3x3b.conv"),
            **numbered(".branch2.", "b3x3dbl.reduce", "b3x3dbl.conv1", "b3x3dbl.conv2"),
        },
    )


def timm_resnet_v2() -> dict[str, str]:
    """timm's Inception-ResNet v2. Cadene's calls its last layer otherwise."""
    first = {
        "b1x1": ".branch0",
        **numbered(".branch1.", "b5x5.reduce", "b5x5.conv"),
        **numbered(".branch2.", "b3x3dbl.reduce", "b3x3dbl.conv1", "b3x3dbl.conv2"),
        "pool.proj": ".branch3.1",
    }
    units = inception_resnet((10, 20, 9), ("repeat", "repeat_1", "repeat_2"))
    units |= within("mixed_5b", "mixed_5b", first)
    return units | {"conv_7b": "conv2d_7b", "fc": "classif"}


def facenet_pytorch() -> dict[str, str]:
    """facenet-pytorch's Inception-ResNet v1."""
    units = inception_resnet((5, 10, 5), ("repeat_1", "repeat_2", "repeat_3"))
    return units | {
        "conv_4b": "conv2d_4b", "embedding": "last_linear", "norm": "last_bn", "fc": "logits"
    }  # fmt: skip


def timm_xception() -> dict[str, str]:
    """timm's legacy_xception and Cadene's: convolutions and normalisations share one list, `rep`."""
    units = {"conv1": "conv1", "conv1.bn": "bn1", "conv2": "conv2", "conv2.bn": "bn2", "fc": "fc"}

    def separable(ours: str, theirs: str, norm: str) -> dict[str, str]:
        return {
            f"{ours}.depthwise": f"{theirs}.conv1",
            f"{ours}.pointwise": f"{theirs}.pointwise",
            f"{ours}.pointwise.bn": norm,
        }

    for k in range(1, 13):
        for j in range(3 if 4 <= k <= 11 else 2):
            at = 3 * j + (k > 1)  # block1 begins without a ReLU
            rep = f"block{k}.rep"
            units |= separable(f"block{k}.branch.sep{j + 1}", f"{rep}.{at}", f"{rep}.{at + 1}")
    for k in (1, 2, 3, 12):
        units |= {
            f"block{k}.shortcut": f"block{k}.skip", f"block{k}.shortcut.bn": f"block{k}.skipbn"
        }  # fmt: skip
    return units | separable("conv3", "conv3", "bn3") | separable("conv4", "conv4", "bn4")


def cadene_bn() -> dict[str, str]:
    """Cadene's BN-Inception, named as its Caffe net: conv1_7x7_s2, inception_3a_double_3x3_1."""
    units = {
        "conv1": "conv1_7x7_s2",
        "conv2_reduce": "conv2_3x3_reduce",
        "conv2": "conv2_3x3",
        "fc": "last_linear",
    }
    module = {
        "b1x1": "_1x1",
        "b3x3.reduce": "_3x3_reduce",
        "b3x3.conv": "_3x3",
        "b3x3dbl.reduce": "_double_3x3_reduce",
        "b3x3dbl.conv1": "_double_3x3_1",
        "b3x3dbl.conv2": "_double_3x3_2",
        "pool.proj": "_pool_proj",
    }
    for stage in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        units |= within(f"inception_{stage}", f"inception_{stage}", module)
    return units


def inception5h() -> dict[str, str]:
    """Google's graph of 2015 as lucent and its kin name it: mixed3a_5x5_bottleneck_pre_relu_conv."""
    after = "_pre_relu_conv"
    units = {name: f"conv2d{k}{after}" for k, name in enumerate(("conv1", "conv2_reduce", "conv2"))}
    module = {
        "b1x1": "_1x1",
        "b3x3.reduce": "_3x3_bottleneck",
        "b3x3.conv": "_3x3",
        "b5x5.reduce": "_5x5_bottleneck",
        "b5x5.conv": "_5x5",
        "pool.proj": "_pool_reduce",
    }
    inside = {ours: theirs + after for ours, theirs in module.items()}
    for stage in STAGES_V1:
        units |= within(f"inception_{stage}", f"mixed{stage}", inside)
    return units | {"fc": "softmax2_pre_activation_matmul"}


SOURCES = {
    "torchvision_v1": Source(torchvision_v1()),
    "torchvision_v3": Source(torchvision_v3()),
    "timm_v4": Source(timm_v4()),
    "timm_resnet_v2": Source(timm_resnet_v2()),
    "cadene_resnet_v2": Source(timm_resnet_v2() | {"fc": "last_linear"}),
    "facenet_pytorch": Source(facenet_pytorch()),
    "timm_xception": Source(timm_xception(), conv="{}"),
    "cadene_bn": Source(cadene_bn(), conv="{}", norm="{}_bn"),
    "inception5h": Source(inception5h()),
}
