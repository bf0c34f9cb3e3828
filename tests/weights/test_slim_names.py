"""The key tables of TF-slim's checkpoints against the variables that its source creates.

Each net is written here once more, as research/slim/nets calls its layers (scopes and widths only),
and a small graph makes of it the names and shapes that TensorFlow would. None of it is read from
our own tables or nets.
"""

import re
from math import prod

import numpy as np
import pytest
import torch

from inceptive.arch import nets
from inceptive.nn import build
from inceptive.weights import layouts
from inceptive.weights.catalogue import catalogue
from inceptive.weights.names import SOURCES, key_table

CLASSES = 1001  # ImageNet's and, first, the background


class Graph:
    """The variables of slim.conv2d and its kin, by name: {"top/scope/weights": shape}."""

    def __init__(self, top):
        self.top, self.shapes = top, {}

    def variable(self, scope, name, *shape):
        full = f"{self.top}/{scope}/{name}"
        assert full not in self.shapes
        self.shapes[full] = shape

    def conv(self, channels, scope, out, kernel=None, norm=True):
        """slim.conv2d: normalised without gamma by inception_arg_scope, or with a bias."""
        high, wide = kernel or map(int, re.search(r"(\d)x(\d)$", scope).groups())
        self.variable(scope, "weights", high, wide, channels, out)
        for name in ("beta", "moving_mean", "moving_variance") if norm else ():
            self.variable(scope, f"BatchNorm/{name}", out)
        if not norm:
            self.variable(scope, "biases", out)
        return out

    def linear(self, channels, scope, out):
        """slim.fully_connected."""
        self.variable(scope, "weights", channels, out)
        self.variable(scope, "biases", out)

    def mixed(self, scope, channels, *branches):
        """Branch_0 and so on, each "scope:width scope:width", `|` between two on one input.

        Of a scope's name "Conv2d_" is left out. "" is a pooling alone.
        """
        total = 0
        for k, branch in enumerate(branches):
            inside = channels
            for step in branch.split():
                widths = []
                for layer in step.split("|"):
                    name, width, *kernel = layer.split(":")
                    name = name if name.startswith("Conv") else f"Conv2d_{name}"
                    sides = tuple(map(int, kernel[0].split("x"))) if kernel else None
                    at = f"{scope}/Branch_{k}/{name}"
                    widths.append(self.conv(inside, at, int(width), sides))
                inside = sum(widths)
            total += inside
        return total


def v1():
    g = Graph("InceptionV1")
    n = g.conv(g.conv(g.conv(3, "Conv2d_1a_7x7", 64), "Conv2d_2b_1x1", 64), "Conv2d_2c_3x3", 192)
    for name, a, b, c, d, e, f in (
        ("3b", 64, 96, 128, 16, 32, 32), ("3c", 128, 128, 192, 32, 96, 64),
        ("4b", 192, 96, 208, 16, 48, 64), ("4c", 160, 112, 224, 24, 64, 64),
        ("4d", 128, 128, 256, 24, 64, 64), ("4e", 112, 144, 288, 32, 64, 64),
        ("4f", 256, 160, 320, 32, 128, 128), ("5b", 256, 160, 320, 32, 128, 128),
        ("5c", 384, 192, 384, 48, 128, 128),
    ):  # fmt: skip
        last = "0a_3x3" if name == "5b" else "0b_3x3"  # as it stands in the source
        n = g.mixed(
            f"Mixed_{name}", n, f"0a_1x1:{a}", f"0a_1x1:{b} 0b_3x3:{c}", f"0a_1x1:{d} {last}:{e}",
            f"0b_1x1:{f}",
        )  # fmt: skip
    g.conv(n, "Logits/Conv2d_0c_1x1", CLASSES, norm=False)
    return g.shapes


def v2():
    g = Graph("InceptionV2")
    # slim.separable_conv2d is not in the scope that normalises.
    g.variable("Conv2d_1a_7x7", "depthwise_weights", 7, 7, 3, 8)
    g.variable("Conv2d_1a_7x7", "pointwise_weights", 1, 1, 24, 64)
    g.variable("Conv2d_1a_7x7", "biases", 64)
    n = g.conv(g.conv(64, "Conv2d_2b_1x1", 64), "Conv2d_2c_3x3", 192)
    for name, *widths in (
        ("3b", 64, 64, 64, 64, 96, 32), ("3c", 64, 64, 96, 64, 96, 64),
        ("4a", 128, 160, 64, 96), ("4b", 224, 64, 96, 96, 128, 128),
        ("4c", 192, 96, 128, 96, 128, 128), ("4d", 160, 128, 160, 128, 160, 96),
        ("4e", 96, 128, 192, 160, 192, 96), ("5a", 128, 192, 192, 256),
        ("5b", 352, 192, 320, 160, 224, 128), ("5c", 352, 192, 320, 192, 224, 128),
    ):  # fmt: skip
        if len(widths) == 4:
            a, b, c, d = widths
            branches = [f"0a_1x1:{a} 1a_3x3:{b}", f"0a_1x1:{c} 0b_3x3:{d} 1a_3x3:{d}", ""]
        else:
            a, b, c, d, e, f = widths
            branches = [f"0a_1x1:{a}", f"0a_1x1:{b} 0b_3x3:{c}",
                        f"0a_1x1:{d} 0b_3x3:{e} 0c_3x3:{e}", f"0b_1x1:{f}"]  # fmt: skip
        n = g.mixed(f"Mixed_{name}", n, *branches)
    g.conv(n, "Logits/Conv2d_1c_1x1", CLASSES, norm=False)
    return g.shapes


def stem(g):
    n = g.conv(g.conv(g.conv(3, "Conv2d_1a_3x3", 32), "Conv2d_2a_3x3", 32), "Conv2d_2b_3x3", 64)
    return g.conv(g.conv(n, "Conv2d_3b_1x1", 80), "Conv2d_4a_3x3", 192)


def v3():
    g = Graph("InceptionV3")
    n, triple = stem(g), "0a_1x1:64 0b_3x3:96 0c_3x3:96"
    n = g.mixed("Mixed_5b", n, "0a_1x1:64", "0a_1x1:48 0b_5x5:64", triple, "0b_1x1:32")
    n = g.mixed("Mixed_5c", n, "0a_1x1:64", "0b_1x1:48 Conv_1_0c_5x5:64", triple, "0b_1x1:64")
    n = g.mixed("Mixed_5d", n, "0a_1x1:64", "0a_1x1:48 0b_5x5:64", triple, "0b_1x1:64")
    n = g.mixed("Mixed_6a", n, "1a_1x1:384:3x3", "0a_1x1:64 0b_3x3:96 1a_1x1:96:3x3", "")
    for name, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        n = g.mixed(
            f"Mixed_{name}", n, "0a_1x1:192", f"0a_1x1:{c} 0b_1x7:{c} 0c_7x1:192",
            f"0a_1x1:{c} 0b_7x1:{c} 0c_1x7:{c} 0d_7x1:{c} 0e_1x7:192", "0b_1x1:192",
        )  # fmt: skip
    aux = g.conv(g.conv(n, "AuxLogits/Conv2d_1b_1x1", 128), "AuxLogits/Conv2d_2a_5x5", 768)
    g.conv(aux, "AuxLogits/Conv2d_2b_1x1", CLASSES, norm=False)
    n = g.mixed(
        "Mixed_7a", n, "0a_1x1:192 1a_3x3:320", "0a_1x1:192 0b_1x7:192 0c_7x1:192 1a_3x3:192", ""
    )  # fmt: skip
    for name, second in (("7b", "0b_3x1"), ("7c", "0c_3x1")):
        n = g.mixed(
            f"Mixed_{name}", n, "0a_1x1:320", f"0a_1x1:384 0b_1x3:384|{second}:384",
            "0a_1x1:448 0b_3x3:384 0c_1x3:384|0d_3x1:384", "0b_1x1:192",
        )  # fmt: skip
    g.conv(n, "Logits/Conv2d_1c_1x1", CLASSES, norm=False)
    return g.shapes


def v4():
    g = Graph("InceptionV4")
    n = g.conv(g.conv(g.conv(3, "Conv2d_1a_3x3", 32), "Conv2d_2a_3x3", 32), "Conv2d_2b_3x3", 64)
    n = g.mixed("Mixed_3a", n, "", "0a_3x3:96")
    n = g.mixed("Mixed_4a", n, "0a_1x1:64 1a_3x3:96", "0a_1x1:64 0b_1x7:64 0c_7x1:64 1a_3x3:96")
    n = g.mixed("Mixed_5a", n, "1a_3x3:192", "")
    for letter in "bcde":
        n = g.mixed(f"Mixed_5{letter}", n, "0a_1x1:96", "0a_1x1:64 0b_3x3:96",
                    "0a_1x1:64 0b_3x3:96 0c_3x3:96", "0b_1x1:96")  # fmt: skip
    n = g.mixed("Mixed_6a", n, "1a_3x3:384", "0a_1x1:192 0b_3x3:224 1a_3x3:256", "")
    for letter in "bcdefgh":
        n = g.mixed(
            f"Mixed_6{letter}", n, "0a_1x1:384", "0a_1x1:192 0b_1x7:224 0c_7x1:256",
            "0a_1x1:192 0b_7x1:192 0c_1x7:224 0d_7x1:224 0e_1x7:256", "0b_1x1:128",
        )  # fmt: skip
    aux = g.conv(n, "AuxLogits/Conv2d_1b_1x1", 128)
    aux = g.conv(aux, "AuxLogits/Conv2d_2a", 768, kernel=(5, 5))
    g.linear(aux, "AuxLogits/Aux_logits", CLASSES)
    n = g.mixed(
        "Mixed_7a", n, "0a_1x1:192 1a_3x3:192", "0a_1x1:256 0b_1x7:256 0c_7x1:320 1a_3x3:320", ""
    )  # fmt: skip
    for letter in "bcd":
        n = g.mixed(
            f"Mixed_7{letter}", n, "0a_1x1:256", "0a_1x1:384 0b_1x3:256|0c_3x1:256",
            "0a_1x1:384 0b_3x1:448 0c_1x3:512 0d_1x3:256|0e_3x1:256", "0b_1x1:256",
        )  # fmt: skip
    g.linear(n, "Logits/Logits", CLASSES)
    return g.shapes


def resnet_v2():
    g = Graph("InceptionResnetV2")
    n = g.mixed("Mixed_5b", stem(g), "1x1:96", "0a_1x1:48 0b_5x5:64",
                "0a_1x1:64 0b_3x3:96 0c_3x3:96", "0b_1x1:64")  # fmt: skip

    def block(scope, n, *branches):
        up = g.conv(g.mixed(scope, n, *branches), f"{scope}/Conv2d_1x1", n, norm=False)
        assert up == n

    eight = ("1x1:192", "0a_1x1:192 0b_1x3:224 0c_3x1:256")
    for k in range(1, 11):  # slim.repeat names its copies block35_1 to block35_10
        block(f"Repeat/block35_{k}", n, "1x1:32", "0a_1x1:32 0b_3x3:32",
              "0a_1x1:32 0b_3x3:48 0c_3x3:64")  # fmt: skip
    n = g.mixed("Mixed_6a", n, "1a_3x3:384", "0a_1x1:256 0b_3x3:256 1a_3x3:384", "")
    for k in range(1, 21):
        block(f"Repeat_1/block17_{k}", n, "1x1:192", "0a_1x1:128 0b_1x7:160 0c_7x1:192")
    aux = g.conv(g.conv(n, "AuxLogits/Conv2d_1b_1x1", 128), "AuxLogits/Conv2d_2a_5x5", 768)
    g.linear(aux, "AuxLogits/Logits", CLASSES)
    n = g.mixed("Mixed_7a", n, "0a_1x1:256 1a_3x3:384", "0a_1x1:256 1a_3x3:288",
                "0a_1x1:256 0b_3x3:288 1a_3x3:320", "")  # fmt: skip
    for k in range(1, 10):
        block(f"Repeat_2/block8_{k}", n, *eight)
    block("Block8", n, *eight)
    g.linear(g.conv(n, "Conv2d_7b_1x1", 1536), "Logits/Logits", CLASSES)
    return g.shapes


NAMES = {"googlenet.slim": v1, "inception_v2.slim": v2, "inception_v3.slim": v3,
         "inception_v4.slim": v4, "inception_resnet_v2.slim": resnet_v2}  # fmt: skip


@pytest.mark.parametrize(
    ("made", "total"), [(v1, 5_607_184), (v2, 10_173_112), (v3, 21_802_784)]
)  # fmt: skip
def test_the_graphs_here_have_the_counts_of_slims_own_tests(made, total):
    """testModelHasExpectedNumberOfParameters: the variables of the base net, without its logits."""
    base = [shape for name, shape in made().items() if "Logits" not in name]
    assert sum(map(prod, base)) == total


@pytest.mark.parametrize("name", NAMES)
def test_the_key_table_names_exactly_slims_variables(name):
    expected, published = NAMES[name](), catalogue()[name]
    with torch.device("meta"):
        model = build(nets.NETS[published.net](published.classes))
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    table = key_table(SOURCES[published.source], shapes)
    assert {theirs for theirs in table.values() if theirs is not None} == set(expected)
    for key, theirs in table.items():
        if theirs is None:
            assert key.endswith(("num_batches_tracked", "bn.weight")), key
            continue
        array = np.broadcast_to(np.float32(0), expected[theirs])
        array = layouts.to_torch(array, key, "tensorflow", shapes[key])
        if "Logits" in theirs:
            array = layouts.without_background(array, published.classes)
        assert array.shape == shapes[key], (key, theirs)
