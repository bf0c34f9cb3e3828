"""Inception v4.

Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning", arXiv:1602.07261, figures 3 to 9; names after TF-slim, nets/inception_v4.py. It has no
residual connections. Shapes in comments are channels x height x width for a 299 x 299 image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from inceptive.arch.nets.inception_v3 import PUBLISHED, head
from inceptive.arch.spec import (
    AvgPool,
    BatchNorm,
    Chain,
    Concat,
    Conv,
    Dropout,
    Linear,
    MaxPool,
    Net,
)

AVERAGE = AvgPool(3, pad="same")  # padded zeros are not counted
HALVE = MaxPool(3, stride=2, pad="valid")
LOW, HIGH = (1, 7), (7, 1)


@dataclass(frozen=True)
class Variant:
    """Where one source departs from the paper. The defaults are the paper's."""

    source: str = "arXiv:1602.07261, figures 3 to 9"
    norm: BatchNorm = BatchNorm()
    heads: bool = False
    departures: tuple[str, ...] = ()  # in words: what the fields above do not say


VARIANTS = {
    "inception_v4": Variant(
        departures=(
            "The paper does not say whether averages count padded zeros: they do not, as in the "
            "code that its authors released.",
        )
    ),
    "inception_v4.slim": Variant(
        "TF-slim, nets/inception_v4.py", PUBLISHED, heads=True,
        departures=("The paper does not mention the head.",),
    ),
}  # fmt: skip


def stem(conv: partial[Conv]) -> dict[str, Conv | Concat]:
    """Figure 3, to 384 x 35 x 35: also what the paper gives Inception-ResNet v2."""
    valid = partial(conv, pad="valid")
    # fmt: off
    return {
        "conv_1a": valid(32, 3, stride=2),                    #  32 x 149 x 149
        "conv_2a": valid(32, 3),                              #  32 x 147 x 147
        "conv_2b": conv(64, 3),                               #  64 x 147 x 147
        "mixed_3a": Concat(pool=HALVE, b3x3=valid(96, 3, stride=2)),          # 160 x 73 x 73
        "mixed_4a": Concat(
            b3x3=Chain(reduce=conv(64, 1), conv=valid(96, 3)),
            b7x7=Chain(reduce=conv(64, 1), conv1=conv(64, LOW), conv2=conv(64, HIGH),
                       conv3=valid(96, 3)),
        ),                                                    # 192 x  71 x  71
        "mixed_5a": Concat(b3x3=valid(192, 3, stride=2), pool=HALVE),         # 384 x 35 x 35
    }
    # fmt: on


def reduction_a(conv: partial[Conv], k: int, l: int, m: int, n: int) -> Concat:  # noqa: E741
    """Figure 7, 35 x 35 to 17 x 17, with the widths of table 1. Shared with Inception-ResNet."""
    valid = partial(conv, stride=2, pad="valid")
    return Concat(
        b3x3=valid(n, 3),
        b3x3dbl=Chain(reduce=conv(k, 1), conv1=conv(l, 3), conv2=valid(m, 3)),
        pool=HALVE,
    )


def module_a(conv: partial[Conv]) -> Concat:
    """Figure 4, on 384 x 35 x 35."""
    return Concat(
        b1x1=conv(96, 1),
        b3x3=Chain(reduce=conv(64, 1), conv=conv(96, 3)),
        b3x3dbl=Chain(reduce=conv(64, 1), conv1=conv(96, 3), conv2=conv(96, 3)),
        pool=Chain(pool=AVERAGE, proj=conv(96, 1)),
    )


def module_b(conv: partial[Conv]) -> Concat:
    """Figure 5, on 1024 x 17 x 17."""
    return Concat(
        b1x1=conv(384, 1),
        b7x7=Chain(reduce=conv(192, 1), conv1=conv(224, LOW), conv2=conv(256, HIGH)),
        b7x7dbl=Chain(
            reduce=conv(192, 1), conv1=conv(192, HIGH), conv2=conv(224, LOW),
            conv3=conv(224, HIGH), conv4=conv(256, LOW),
        ),
        pool=Chain(pool=AVERAGE, proj=conv(128, 1)),
    )  # fmt: skip


def reduction_b(conv: partial[Conv]) -> Concat:
    """Figure 8, 17 x 17 to 8 x 8."""
    valid = partial(conv, stride=2, pad="valid")
    return Concat(
        b3x3=Chain(reduce=conv(192, 1), conv=valid(192, 3)),
        b7x7=Chain(
            reduce=conv(256, 1), conv1=conv(256, LOW), conv2=conv(320, HIGH), conv3=valid(320, 3)
        ),
        pool=HALVE,
    )


def module_c(conv: partial[Conv]) -> Concat:
    """Figure 6, on 1536 x 8 x 8."""

    def split() -> Concat:
        return Concat(b1x3=conv(256, (1, 3)), b3x1=conv(256, (3, 1)))

    return Concat(
        b1x1=conv(256, 1),
        b3x3=Chain(reduce=conv(384, 1), split=split()),
        b3x3dbl=Chain(
            reduce=conv(384, 1), conv1=conv(448, (3, 1)), conv2=conv(512, (1, 3)), split=split()
        ),
        pool=Chain(pool=AVERAGE, proj=conv(256, 1)),
    )


def inception_v4(variant: str = "inception_v4", num_classes: int = 1000, channels: int = 3) -> Net:
    """Make the net for images of `channels` channels and `num_classes` classes."""
    v = VARIANTS[variant]
    conv = partial(Conv, norm=v.norm)

    def times(letters: str, stage: int, module: Concat) -> Mapping[str, Concat]:
        return {f"mixed_{stage}{letter}": module for letter in letters}

    body = Chain(
        **stem(conv),
        **times("bcde", 5, module_a(conv)),                   #  384 x 35 x 35
        mixed_6a=reduction_a(conv, 192, 224, 256, 384),       # 1024 x 17 x 17
        **times("bcdefgh", 6, module_b(conv)),
        mixed_7a=reduction_b(conv),                           # 1536 x  8 x  8
        **times("bcd", 7, module_c(conv)),
        pool=AvgPool(grid=1), dropout=Dropout(0.2), fc=Linear(num_classes),
    )  # fmt: skip
    aux = (("mixed_6h", head(conv, num_classes)),) if v.heads else ()
    return Net(variant, body, num_classes, v.source, aux, channels, image_size=299)
