"""Key tables of checkpoints written by torch itself, one per publisher and net."""

from collections.abc import Iterator

from inceptive.arch.nets import NETS
from inceptive.arch.spec import Add, Concat, Conv, Node
from inceptive.weights.names.source import Source, layers, within

STAGES_V1 = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


def numbered(branch: str, *ours: str) -> dict[str, str]:
    """Ours, in order, as `branch` and a number: branch1.0, branch1.1."""
    return {name: f"{branch}{k}" for k, name in enumerate(ours)}


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


def places(node: Concat) -> Iterator[tuple[int, str, str, str]]:
    """(number and name of its branch, path, place) of each convolution in a module.

    The place counts from 0 and is "" for a layer that is a whole branch; the two convolutions at
    which a branch splits share one, as "2a" and "2b".
    """
    for number, (part, branch) in enumerate(node):
        inside = list(layers(branch, part))
        convs = [path for path, layer in inside if isinstance(layer, Conv)]
        ends = sum(".split." in path for path in convs)
        for k, path in enumerate(convs, len(inside) - len(convs)):
            split = k - len(inside) + ends
            place = str(k) if split < 0 else f"{k - split}{'ab'[split]}"
            yield number, part, path, "" if len(inside) == 1 else place


def torchvision_v3() -> dict[str, str]:
    """torchvision's and timm's Inception v3, and the net of the Frechet inception distance."""
    units = within("aux_6e", "AuxLogits", {"proj": ".conv0", "conv": ".conv1", "fc": ".fc"})
    for name, node in NETS["inception_v3.torchvision"]().body:
        if isinstance(node, Conv):
            units[name] = f"Conv2d_{name[-2:]}_{node.kernel}x{node.kernel}"
        elif isinstance(node, Concat):
            for _, part, path, place in places(node):
                kind = {"b3x3": "3x3dbl"} if name[:7] == "mixed_5" else {"b7x7": "7x7x3"}
                by_name = kind if name[-2:] in ("5b", "5c", "5d", "7a") else {}
                branch = by_name.get(part, part.removeprefix("b"))
                end = f"_{int(place[0]) + 1}{place[1:]}" if place else ""
                units[f"{name}.{path}"] = f"{name.capitalize()}.branch{branch}{end}"
            if f"{name}.pool.proj" in units:
                units[f"{name}.pool.proj"] = f"{name.capitalize()}.branch_pool"
    return units | {"fc": "fc"}


def branches(node: Node) -> dict[str, str]:
    """The convolutions within a module of Cadene's and timm's: branch0, branch1.0, branch1.1; those of
    a branch that splits branch2_0, branch2_1a, branch2_1b."""
    if isinstance(node, Add):
        mix = branches(dict(node.branch)["mix"])  # type: ignore[arg-type]
        return {f"branch.mix.{path}": name for path, name in mix.items()} | {"branch.up": ".conv2d"}
    assert isinstance(node, Concat)
    convs = list(places(node))
    split = {part for _, part, path, _ in convs if ".split." in path}
    return {
        path: f".branch{number}" + (place and f"{'_' if part in split else '.'}{place}")
        for number, part, path, place in convs
    }


def timm_v4() -> dict[str, str]:
    """timm's and Cadene's Inception v4: modules numbered `features.0` to `features.21`."""
    units = {"fc": "last_linear"}
    weighty = (part for part in NETS["inception_v4"]().body if isinstance(part[1], Conv | Concat))
    for k, (name, part) in enumerate(weighty):
        units |= within(
            name, f"features.{k}", {"": ""} if isinstance(part, Conv) else branches(part)
        )
    return units | {f"mixed_{k}a.b3x3": f"features.{k}.conv" for k in (3, 5)}


def inception_resnet(net: str, *groups: str) -> dict[str, str]:
    """The Inception-ResNets: `groups` contain their residual modules of 35, 17 and 8."""
    units, body = {}, NETS[net]().body
    sizes = dict(zip(("block35", "block17", "block8"), groups, strict=True))
    last = [name for name, part in body if isinstance(part, Add)][-1]
    for name, part in body:
        kind, _, number = name.partition("_")
        if isinstance(part, Conv):
            units[name] = f"conv2d_{number}"
        elif isinstance(part, Add):
            theirs = "block8" if name == last else f"{sizes[kind]}.{int(number) - 1}"
            units |= within(name, theirs, branches(part))
        elif isinstance(part, Concat):
            units |= within(name, name, branches(part))
    return units


def timm_resnet_v2() -> dict[str, str]:
    """timm's Inception-ResNet v2. Cadene's names its last layer differently."""
    groups = ("repeat", "repeat_1", "repeat_2")
    return inception_resnet("inception_resnet_v2", *groups) | {"fc": "classif"}


def facenet_pytorch() -> dict[str, str]:
    """facenet-pytorch's Inception-ResNet v1."""
    groups = ("repeat_1", "repeat_2", "repeat_3")
    top = {"embedding": "last_linear", "norm": "last_bn", "fc": "logits"}
    return inception_resnet("inception_resnet_v1.facenet", *groups) | top


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
    """Google's graph of 2015, named as in lucent and similar: mixed3a_5x5_bottleneck_pre_relu_conv."""
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
