"""Small Inceptions, for pictures of some 32 pixels.

`inception_small`: Zhang et al., "Understanding deep learning requires rethinking generalization",
arXiv:1611.03530, figure 3, for 28 x 28 pixels. Batch normalisation has no gamma: only so are its
parameters the 1,649,402 of their Table 1. Padding is not printed: TensorFlow's SAME, as in its
authors' framework.

`inception_small.pooled`: not of a paper; what recipe cifar10 takes, and photos for small pictures. It
halves the map right after the first convolution and has fewer, wider modules, BN-Inception's with
maxima: in the same time it learns more (docs/log.md, 2026-11-28).
"""

from functools import partial

from inceptive.arch.nets import bn_inception
from inceptive.arch.nets.bn_inception import Row
from inceptive.arch.spec import (
    AvgPool,
    BatchNorm,
    Chain,
    Concat,
    Conv,
    Linear,
    MaxPool,
    Net,
    Node,
)

# fmt: off
FIGURE_3 = {
    #      1x1  3x3
    "3a": ( 32,  32),  #  64 x 28 x 28
    "3b": ( 32,  48),  #  80 x 28 x 28
    "3c": (  0,  80),  # 160 x 14 x 14: no 1x1; both of its branches halve the map
    "4a": (112,  48),  # 160 x 14 x 14
    "4b": ( 96,  64),  # 160 x 14 x 14
    "4c": ( 80,  80),  # 160 x 14 x 14
    "4d": ( 48,  96),  # 144 x 14 x 14
    "4e": (  0,  96),  # 240 x  7 x  7
    "5a": (176, 160),  # 336 x  7 x  7
    "5b": (176, 160),  # 336 x  7 x  7
}
POOLED = {
    #         1x1  3x3red  3x3  d3x3red d3x3   pool  proj
    "3a": Row( 64,     48,  96,     16,   32, "max",  32),  # 224 x 16 x 16
    "3b": Row( 96,     64, 128,     32,   64, "max",  32),  # 320 x 16 x 16
    "4a": Row(160,     96, 192,     32,   64, "max",  64),  # 480 x  8 x  8
    "4b": Row(160,     96, 224,     32,   64, "max",  64),  # 512 x  8 x  8
    "5a": Row(256,    160, 320,     48,  128, "max", 128),  # 832 x  4 x  4
}
# fmt: on
DEPARTURES = {
    "inception_small": (
        "The paper prints neither names of modules (here as in `bn_inception`) nor padding "
        "(TensorFlow's SAME).",
        "Batch normalisation without gamma, which the printed 1,649,402 parameters (10 classes) need.",
    ),
    "inception_small.pooled": (
        "Not of a paper; what recipe `cifar10` takes, and `photos` for small pictures. It halves the "
        "map right after its first convolution, and its modules are those of BN-Inception.",
    ),
}


def inception_small(
    variant: str = "inception_small", num_classes: int = 1000, channels: int = 3
) -> Net:
    """Make the net for images of `channels` channels and `num_classes` classes."""
    if variant == "inception_small":
        parts, source, size = _figure_3(), "arXiv:1611.03530, figure 3", 28
    else:
        parts, source, size = _pooled(), "our own, see docs/log.md of 2026-11-28", 32
    body = Chain(**parts, pool=AvgPool(grid=1), fc=Linear(num_classes))
    return Net(variant, body, num_classes, source, (), channels, size)


def _figure_3() -> dict[str, Node]:
    conv = partial(Conv, norm=BatchNorm(scale=False))

    def module(c1x1: int, c3x3: int) -> Concat:
        if c1x1:
            return Concat(b1x1=conv(c1x1, 1), b3x3=conv(c3x3, 3))
        halve = MaxPool(3, stride=2, pad="tf")
        return Concat(b3x3=conv(c3x3, 3, stride=2, pad="tf"), pool=halve)

    modules = {f"inception_{name}": module(*widths) for name, widths in FIGURE_3.items()}
    return {"conv1": conv(96, 3), **modules}


def _pooled() -> dict[str, Node]:
    conv, halve = partial(Conv, norm=BatchNorm()), MaxPool(3, stride=2, pad="ceil")

    def stage(number: str) -> dict[str, Concat]:
        rows = ((name, row) for name, row in POOLED.items() if name.startswith(number))
        return {
            f"inception_{name}": bn_inception.module(row, conv, MaxPool(3), "same")
            for name, row in rows
        }

    return {
        "conv1": conv(64, 3),                                 #  64 x 32 x 32
        "pool1": halve, **stage("3"),                         # 320 x 16 x 16
        "pool2": halve, **stage("4"),                         # 512 x  8 x  8
        "pool3": halve, **stage("5"),                         # 832 x  4 x  4
    }  # fmt: skip
