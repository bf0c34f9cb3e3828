"""Inception-ResNet v1 and v2.

Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning", arXiv:1602.07261, figures 10 to 19. The v2 that its authors released (TF-slim,
nets/inception_resnet_v2.py) differs from the one in the paper: both are here.
Shapes in comments are channels x height x width for a 299 x 299 image.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from inceptive.arch.nets import inception_v3, inception_v4
from inceptive.arch.spec import (
    Add,
    AvgPool,
    BatchNorm,
    Chain,
    Concat,
    Conv,
    Dropout,
    Linear,
    Net,
    Node,
)


class Widths(NamedTuple):
    """Output channels of every convolution of the residual and reduction modules."""

    # fmt: off
    a: tuple[int, int, int, int, int, int]   # 1x1 | reduce, 3x3 | reduce, 3x3, 3x3
    k_l_m_n: tuple[int, int, int, int]       # reduction A, table 1
    b: tuple[int, int, int, int]             # 1x1 | reduce, 1x7, 7x1
    reduction_b: tuple[int, int, int, int]   # 3x3/2 | 3x3/2 | 3x3, 3x3/2, each after 1x1 256
    c: tuple[int, int, int, int]             # 1x1 | reduce, 1x3, 3x1
    # fmt: on


V1 = Widths(  # figures 10 to 13
    a=(32, 32, 32, 32, 32, 32),
    k_l_m_n=(192, 192, 256, 384),
    b=(128, 128, 128, 128),
    reduction_b=(384, 256, 256, 256),
    c=(192, 192, 192, 192),
)
V2 = Widths(  # figures 16 to 19
    a=(32, 32, 32, 32, 48, 64),
    k_l_m_n=(256, 256, 384, 384),
    b=(192, 128, 160, 192),
    reduction_b=(384, 288, 288, 320),
    c=(192, 192, 224, 256),
)


def stem_v1(conv: partial[Conv]) -> dict[str, Node]:
    """Figure 14, to 256 x 35 x 35: the stem of v3, a convolution in place of its last pooling."""
    parts: dict[str, Node] = {**inception_v3.stem(conv)}
    del parts["pool_5a"]
    return {**parts, "conv_4b": conv(256, 3, stride=2, pad="valid")}


def stem_released(conv: partial[Conv]) -> dict[str, Node]:
    """The stem of v3 and one plain module, to 320 x 35 x 35."""
    first = Concat(
        b1x1=conv(96, 1),
        b5x5=Chain(reduce=conv(48, 1), conv=conv(64, 5)),
        b3x3dbl=Chain(reduce=conv(64, 1), conv1=conv(96, 3), conv2=conv(96, 3)),
        pool=Chain(pool=inception_v4.AVERAGE, proj=conv(64, 1)),
    )
    return {**inception_v3.stem(conv), "mixed_5b": first}


@dataclass(frozen=True)
class Variant:
    """One source's net. The scales are the released code's: the paper says 0.1 to 0.3."""

    source: str
    widths: Widths
    stem: Callable[[partial[Conv]], Mapping[str, Node]]
    channels: int  # that the stem ends in
    repeats: tuple[int, int, int] = (5, 10, 5)
    scales: tuple[float, float, float] = (0.17, 0.10, 0.20)
    linear_last: bool = False  # one more module C, unscaled, that no ReLU follows
    conv_7b: int = 0  # 0: none
    embedding: int = 0  # 0: none; else a linear layer without bias, normalised, before fc
    norm: BatchNorm = BatchNorm()
    heads: bool = False
    dropout: float = 0.2
    image_size: int = 299
    departures: tuple[str, ...] = ()  # in words: what the fields above do not say


PAPER = "arXiv:1602.07261, figures 10 to 19"
SCALES = "The paper says only that residuals are scaled by 0.1 to 0.3: the scales are TF-slim's."
RELEASED = Variant(
    "TF-slim, nets/inception_resnet_v2.py", V2, stem_released, 320, (10, 20, 9),
    linear_last=True, conv_7b=1536,
    departures=("Of the difference its authors say that the code is what they meant "
                "(tensorflow/models issue 1553).",),
)  # fmt: skip
VARIANTS = {
    "inception_resnet_v1": Variant(PAPER, V1, stem_v1, 256, departures=(SCALES,)),
    "inception_resnet_v1.facenet": Variant(
        "davidsandberg/facenet, models/inception_resnet_v1.py", V1, stem_v1, 256,
        linear_last=True, embedding=512, dropout=0.6, image_size=160,
    ),
    "inception_resnet_v2": RELEASED,
    "inception_resnet_v2.slim": replace(
        RELEASED, norm=inception_v3.PUBLISHED, heads=True, departures=()
    ),
    "inception_resnet_v2.keras": replace(
        RELEASED,
        source="Keras 3, applications/inception_resnet_v2.py",
        norm=BatchNorm(momentum=0.01, scale=False),
        dropout=0.0,
        departures=(),
    ),
    "inception_resnet_v2.paper": Variant(
        PAPER, V2, inception_v4.stem, 384,
        departures=(
            "The paper prints 1154 channels after reduction A and 2048 after reduction B; its own "
            "figures and table 1 sum to 1152 and 2144, which stand here.",
            SCALES,
        ),
    ),
}  # fmt: skip


def residual(branches: Concat, channels: int, scale: float, relu: bool = True) -> Add:
    """x + scale * 1x1(branches(x)); the 1x1 that restores `channels` is linear (section 3.2)."""
    up = Conv(channels, 1, relu=False)
    return Add(branch=Chain(mix=branches, up=up), scale=scale, relu=relu)


def module_a(conv: partial[Conv], w: Widths) -> Concat:
    """Figures 10 and 16, on 35 x 35."""
    b1x1, reduce, c3x3, reduce2, dbl1, dbl2 = w.a
    return Concat(
        b1x1=conv(b1x1, 1),
        b3x3=Chain(reduce=conv(reduce, 1), conv=conv(c3x3, 3)),
        b3x3dbl=Chain(reduce=conv(reduce2, 1), conv1=conv(dbl1, 3), conv2=conv(dbl2, 3)),
    )


def module_b(conv: partial[Conv], w: Widths) -> Concat:
    """Figures 11 and 17, on 17 x 17."""
    b1x1, reduce, low, high = w.b
    seven = Chain(reduce=conv(reduce, 1), conv1=conv(low, (1, 7)), conv2=conv(high, (7, 1)))
    return Concat(b1x1=conv(b1x1, 1), b7x7=seven)


def module_c(conv: partial[Conv], w: Widths) -> Concat:
    """Figures 13 and 19, on 8 x 8."""
    b1x1, reduce, low, high = w.c
    three = Chain(reduce=conv(reduce, 1), conv1=conv(low, (1, 3)), conv2=conv(high, (3, 1)))
    return Concat(b1x1=conv(b1x1, 1), b3x3=three)


def reduction_b(conv: partial[Conv], w: Widths) -> Concat:
    """Figures 12 and 18, 17 x 17 to 8 x 8."""
    valid = partial(conv, stride=2, pad="valid")
    first, second, third, fourth = w.reduction_b
    return Concat(
        b3x3=Chain(reduce=conv(256, 1), conv=valid(first, 3)),
        b3x3b=Chain(reduce=conv(256, 1), conv=valid(second, 3)),
        b3x3dbl=Chain(reduce=conv(256, 1), conv1=conv(third, 3), conv2=valid(fourth, 3)),
        pool=inception_v4.HALVE,
    )


def inception_resnet(variant: str, num_classes: int = 1000, channels: int = 3) -> Net:
    """Make the net for images of `channels` channels and `num_classes` classes."""
    v = VARIANTS[variant]
    w, conv = v.widths, partial(Conv, norm=v.norm)
    on_17 = v.channels + w.k_l_m_n[2] + w.k_l_m_n[3]
    on_8 = on_17 + w.reduction_b[0] + w.reduction_b[1] + w.reduction_b[3]
    sizes = zip(
        (35, 17, 8),
        (module_a(conv, w), module_b(conv, w), module_c(conv, w)),
        (v.channels, on_17, on_8), v.repeats, v.scales,
        strict=True,
    )  # fmt: skip
    on_35, seventeen, eight = (
        {f"block{size}_{k + 1}": residual(mix, into, scale) for k in range(repeats)}
        for size, mix, into, repeats, scale in sizes
    )
    if v.linear_last:
        last = residual(module_c(conv, w), on_8, scale=1.0, relu=False)
        eight[f"block8_{v.repeats[2] + 1}"] = last
    # fmt: off
    body = Chain(
        **v.stem(conv),
        **on_35,                                              # on 35 x 35
        mixed_6a=inception_v4.reduction_a(conv, *w.k_l_m_n),
        **seventeen,                                          # on 17 x 17
        mixed_7a=reduction_b(conv, w),
        **eight,                                              # on  8 x  8
        conv_7b=conv(v.conv_7b, 1) if v.conv_7b else None,
        pool=AvgPool(grid=1), dropout=Dropout(v.dropout) if v.dropout else None,
        embedding=Linear(v.embedding, bias=False) if v.embedding else None,
        norm=v.norm if v.embedding else None,
        fc=Linear(num_classes),
    )
    # fmt: on
    at = f"block17_{v.repeats[1]}"
    aux = ((at, inception_v3.head(conv, num_classes)),) if v.heads else ()
    return Net(variant, body, num_classes, v.source, aux, channels, v.image_size)
