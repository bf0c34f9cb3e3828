"""Key tables of TF-slim's checkpoints (research/slim/nets), quirks of single scopes included."""

from inceptive.weights.names.source import Source, within

LEAVES = {  # slim normalises without gamma
    "weight": "/weights",
    "bias": "/biases",
    "depthwise.weight": "/depthwise_weights",
    "pointwise.weight": "/pointwise_weights",
    "bn.bias": "/BatchNorm/beta",
    "bn.running_mean": "/BatchNorm/moving_mean",
    "bn.running_var": "/BatchNorm/moving_variance",
}
ONE = "Conv2d_0a_1x1"


def branch(number: int, inside: dict[str, str]) -> dict[str, str]:
    return {ours: f"/Branch_{number}/{theirs}" for ours, theirs in inside.items()}


def chain(number: int, ours: str, scopes: dict[str, str]) -> dict[str, str]:
    """A branch of ours that begins with a 1x1 reduction."""
    inside = {"reduce": ONE, **scopes}
    return branch(number, {f"{ours}.{name}": scope for name, scope in inside.items()})


def proj(scope: str = "Conv2d_0b_1x1") -> dict[str, str]:
    return branch(3, {"pool.proj": scope})


B1X1 = branch(0, {"b1x1": ONE})
DOUBLE = {"conv1": "Conv2d_0b_3x3", "conv2": "Conv2d_0c_3x3"}
DOUBLE_DOWN = {"conv1": "Conv2d_0b_3x3", "conv2": "Conv2d_1a_3x3"}
SEVEN = {"conv1": "Conv2d_0b_1x7", "conv2": "Conv2d_0c_7x1"}
SEVEN_DOWN = SEVEN | {"conv3": "Conv2d_1a_3x3"}
SEVENS = {
    "conv1": "Conv2d_0b_7x1", "conv2": "Conv2d_0c_1x7",
    "conv3": "Conv2d_0d_7x1", "conv4": "Conv2d_0e_1x7",
}  # fmt: skip


def scoped(top: str, modules: dict[str, tuple[str, dict[str, str]]]) -> dict[str, str]:
    units: dict[str, str] = {}
    for ours, (theirs, inside) in modules.items():
        units |= within(ours, f"{top}/{theirs}", inside)
    return units


def inception_v1() -> dict[str, str]:
    module = (
        B1X1
        | chain(1, "b3x3", {"conv": "Conv2d_0b_3x3"})
        | chain(2, "b5x5", {"conv": "Conv2d_0b_3x3"})
        | proj()
    )
    ours = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    theirs = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
    modules = {f"inception_{a}": (f"Mixed_{b}", module) for a, b in zip(ours, theirs, strict=True)}
    # One scope was mistyped, and every checkpoint has it so.
    slip = module | branch(2, {"b5x5.conv": "Conv2d_0a_3x3"})
    modules["inception_5a"] = ("Mixed_5b", slip)
    alone = {
        "conv1": "Conv2d_1a_7x7", "conv2_reduce": "Conv2d_2b_1x1", "conv2": "Conv2d_2c_3x3",
        "fc": "Logits/Conv2d_0c_1x1",
    }  # fmt: skip
    return {k: f"InceptionV1/{v}" for k, v in alone.items()} | scoped("InceptionV1", modules)


def inception_v2() -> dict[str, str]:
    module = (
        B1X1 | chain(1, "b3x3", {"conv": "Conv2d_0b_3x3"}) | chain(2, "b3x3dbl", DOUBLE) | proj()
    )
    down = branch(0, {"b3x3.reduce": ONE, "b3x3.conv": "Conv2d_1a_3x3"}) | chain(
        1, "b3x3dbl", DOUBLE_DOWN
    )
    ours = ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    theirs = ("3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b", "5c")
    modules = {
        f"inception_{a}": (f"Mixed_{b}", down if a in ("3c", "4e") else module)
        for a, b in zip(ours, theirs, strict=True)
    }
    alone = {
        "conv1.pointwise": "Conv2d_1a_7x7", "conv1.depthwise": "Conv2d_1a_7x7",
        "conv2_reduce": "Conv2d_2b_1x1", "conv2": "Conv2d_2c_3x3", "fc": "Logits/Conv2d_1c_1x1",
    }  # fmt: skip
    return {k: f"InceptionV2/{v}" for k, v in alone.items()} | scoped("InceptionV2", modules)


STEM = {
    "conv_1a": "Conv2d_1a_3x3", "conv_2a": "Conv2d_2a_3x3", "conv_2b": "Conv2d_2b_3x3",
    "conv_3b": "Conv2d_3b_1x1", "conv_4a": "Conv2d_4a_3x3",
}  # fmt: skip


def inception_v3() -> dict[str, str]:
    five = B1X1 | chain(1, "b5x5", {"conv": "Conv2d_0b_5x5"}) | chain(2, "b3x3", DOUBLE) | proj()
    five_c = five | branch(1, {"b5x5.reduce": "Conv2d_0b_1x1", "b5x5.conv": "Conv_1_0c_5x5"})
    six_a = branch(0, {"b3x3": "Conv2d_1a_1x1"}) | chain(
        1, "b3x3dbl", {"conv1": "Conv2d_0b_3x3", "conv2": "Conv2d_1a_1x1"}
    )
    six = B1X1 | chain(1, "b7x7", SEVEN) | chain(2, "b7x7dbl", SEVENS) | proj()
    seven_a = branch(0, {"b3x3.reduce": ONE, "b3x3.conv": "Conv2d_1a_3x3"}) | chain(
        1, "b7x7", SEVEN_DOWN
    )
    double = {
        "conv": "Conv2d_0b_3x3", "split.b1x3": "Conv2d_0c_1x3", "split.b3x1": "Conv2d_0d_3x1"
    }  # fmt: skip

    def seven(second: str) -> dict[str, str]:
        split = {"split.b1x3": "Conv2d_0b_1x3", "split.b3x1": second}
        return B1X1 | chain(1, "b3x3", split) | chain(2, "b3x3dbl", double) | proj()

    modules = {
        "mixed_5b": ("Mixed_5b", five), "mixed_5c": ("Mixed_5c", five_c),
        "mixed_5d": ("Mixed_5d", five), "mixed_6a": ("Mixed_6a", six_a),
        **{f"mixed_6{letter}": (f"Mixed_6{letter}", six) for letter in "bcde"},
        "mixed_7a": ("Mixed_7a", seven_a), "mixed_7b": ("Mixed_7b", seven("Conv2d_0b_3x1")),
        "mixed_7c": ("Mixed_7c", seven("Conv2d_0c_3x1")),
    }  # fmt: skip
    alone = STEM | {
        "aux_6e.proj": "AuxLogits/Conv2d_1b_1x1", "aux_6e.conv": "AuxLogits/Conv2d_2a_5x5",
        "aux_6e.fc": "AuxLogits/Conv2d_2b_1x1", "fc": "Logits/Conv2d_1c_1x1",
    }  # fmt: skip
    return {k: f"InceptionV3/{v}" for k, v in alone.items()} | scoped("InceptionV3", modules)


def inception_v4() -> dict[str, str]:
    a = B1X1 | chain(1, "b3x3", {"conv": "Conv2d_0b_3x3"}) | chain(2, "b3x3dbl", DOUBLE) | proj()
    b = B1X1 | chain(1, "b7x7", SEVEN) | chain(2, "b7x7dbl", SEVENS) | proj()
    c = (
        B1X1
        | chain(1, "b3x3", {"split.b1x3": "Conv2d_0b_1x3", "split.b3x1": "Conv2d_0c_3x1"})
        | chain(
            2,
            "b3x3dbl",
            {
                "conv1": "Conv2d_0b_3x1",
                "conv2": "Conv2d_0c_1x3",
                "split.b1x3": "Conv2d_0d_1x3",
                "split.b3x1": "Conv2d_0e_3x1",
            },
        )
        | proj()
    )
    down = branch(0, {"b3x3.reduce": ONE, "b3x3.conv": "Conv2d_1a_3x3"}) | chain(
        1, "b7x7", SEVEN_DOWN
    )
    six_a = branch(0, {"b3x3": "Conv2d_1a_3x3"}) | chain(1, "b3x3dbl", DOUBLE_DOWN)
    modules = {
        "mixed_3a": ("Mixed_3a", branch(1, {"b3x3": "Conv2d_0a_3x3"})),
        "mixed_4a": ("Mixed_4a", down),
        "mixed_5a": ("Mixed_5a", branch(0, {"b3x3": "Conv2d_1a_3x3"})),
        **{f"mixed_5{letter}": (f"Mixed_5{letter}", a) for letter in "bcde"},
        "mixed_6a": ("Mixed_6a", six_a),
        **{f"mixed_6{letter}": (f"Mixed_6{letter}", b) for letter in "bcdefgh"},
        "mixed_7a": ("Mixed_7a", down),
        **{f"mixed_7{letter}": (f"Mixed_7{letter}", c) for letter in "bcd"},
    }
    alone = {k: STEM[k] for k in ("conv_1a", "conv_2a", "conv_2b")} | {
        "aux_6h.proj": "AuxLogits/Conv2d_1b_1x1", "aux_6h.conv": "AuxLogits/Conv2d_2a",
        "aux_6h.fc": "AuxLogits/Aux_logits", "fc": "Logits/Logits",
    }  # fmt: skip
    return {k: f"InceptionV4/{v}" for k, v in alone.items()} | scoped("InceptionV4", modules)


def inception_resnet_v2() -> dict[str, str]:
    one = branch(0, {"b1x1": "Conv2d_1x1"})
    five_b = (
        one | chain(1, "b5x5", {"conv": "Conv2d_0b_5x5"}) | chain(2, "b3x3dbl", DOUBLE) | proj()
    )
    three = {"conv1": "Conv2d_0b_1x3", "conv2": "Conv2d_0c_3x1"}
    mixes = {
        35: one | chain(1, "b3x3", {"conv": "Conv2d_0b_3x3"}) | chain(2, "b3x3dbl", DOUBLE),
        17: one | chain(1, "b7x7", SEVEN),
        8: one | chain(1, "b3x3", three),
    }
    modules = {"mixed_5b": ("Mixed_5b", five_b)}
    for (size, mix), repeats, scope in zip(
        mixes.items(), (10, 20, 9), ("Repeat", "Repeat_1", "Repeat_2"), strict=True
    ):
        inside = {f"branch.mix.{ours}": theirs for ours, theirs in mix.items()}
        inside["branch.up"] = "/Conv2d_1x1"
        for k in range(1, repeats + 1):
            modules[f"block{size}_{k}"] = (f"{scope}/block{size}_{k}", inside)
        modules["block8_10"] = ("Block8", inside)
    six_a = branch(0, {"b3x3": "Conv2d_1a_3x3"}) | chain(1, "b3x3dbl", DOUBLE_DOWN)
    down = {"conv": "Conv2d_1a_3x3"}
    seven_a = chain(0, "b3x3", down) | chain(1, "b3x3b", down) | chain(2, "b3x3dbl", DOUBLE_DOWN)
    modules |= {"mixed_6a": ("Mixed_6a", six_a), "mixed_7a": ("Mixed_7a", seven_a)}
    alone = STEM | {
        "conv_7b": "Conv2d_7b_1x1", "fc": "Logits/Logits",
        "aux_block17_20.proj": "AuxLogits/Conv2d_1b_1x1",
        "aux_block17_20.conv": "AuxLogits/Conv2d_2a_5x5",
        "aux_block17_20.fc": "AuxLogits/Logits",
    }  # fmt: skip
    top = "InceptionResnetV2"
    return {k: f"{top}/{v}" for k, v in alone.items()} | scoped(top, modules)


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
