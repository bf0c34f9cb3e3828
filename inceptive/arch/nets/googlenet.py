"""GoogLeNet, also called Inception v1.

Source: Szegedy et al., "Going Deeper with Convolutions", arXiv:1409.4842v1, Table 1, Figure 3 and
sections 5 and 6. The paper is silent on padding and on LRN's constants: both are as in Caffe's
`bvlc_googlenet`. Shapes in comments are channels x height x width for a 224 x 224 image.

TABLE_1 stays as printed. Sources that depart from it are VARIANTS: each departure is named there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from inceptive.arch.spec import (
    LRN,
    AvgPool,
    BatchNorm,
    Chain,
    Concat,
    Conv,
    ConvPad,
    Dropout,
    Linear,
    MaxPool,
    Net,
    Pad,
)


class Row(NamedTuple):
    """Output channels of the six convolutions of one inception module, in the paper's order."""

    c1x1: int
    c3x3_reduce: int
    c3x3: int
    c5x5_reduce: int
    c5x5: int
    pool_proj: int


# fmt: off
TABLE_1 = {
    #         1x1  3x3red  3x3  5x5red  5x5  pool
    "3a": Row( 64,     96, 128,     16,  32,   32),  #  256 x 28 x 28
    "3b": Row(128,    128, 192,     32,  96,   64),  #  480 x 28 x 28
    "4a": Row(192,     96, 208,     16,  48,   64),  #  512 x 14 x 14
    "4b": Row(160,    112, 224,     24,  64,   64),  #  512 x 14 x 14
    "4c": Row(128,    128, 256,     24,  64,   64),  #  512 x 14 x 14
    "4d": Row(112,    144, 288,     32,  64,   64),  #  528 x 14 x 14
    "4e": Row(256,    160, 320,     32, 128,  128),  #  832 x 14 x 14
    "5a": Row(256,    160, 320,     32, 128,  128),  #  832 x  7 x  7
    "5b": Row(384,    192, 384,     48, 128,  128),  # 1024 x  7 x  7
}
# fmt: on
INCEPTION_5H = TABLE_1 | {
    "4a": TABLE_1["4a"]._replace(c3x3=204),
    "5a": TABLE_1["5a"]._replace(c5x5_reduce=48),
}


@dataclass(frozen=True)
class Variant:
    """Where one source departs from the paper. The defaults are the paper's."""

    source: str = "arXiv:1409.4842v1, Table 1"
    table: Mapping[str, Row] = field(default_factory=lambda: TABLE_1)
    norm: BatchNorm | None = None  # None: biases, and LRN in the stem
    large: int = 5  # kernel of branch b5x5
    pool4: int = 3  # kernel of the pooling before stage 5
    aux_pool: AvgPool = AvgPool(5, stride=3, grid=4)  # 14 x 14 -> 4 x 4
    dropout: float = 0.4
    heads: bool = True
    lrn: LRN = LRN(5)  # where there is no norm
    conv1_pad: ConvPad = "same"
    pool_pad: Pad = "ceil"  # of the poolings that halve the map
    departures: tuple[str, ...] = ()  # in words: what the fields above do not say


VARIANTS = {
    "googlenet": Variant(
        departures=(
            "The paper prints no padding and no constants of LRN: both are as in Caffe's "
            "`bvlc_googlenet`, which is this net.",
            "Table 1's columns of parameters and operations (6.8 million and 1.50 G in sum) do not "
            "follow from its widths, which stay as printed. A separable conv1 and the widths of "
            "`googlenet.inception5h` give every cell of its operations; its authors do not say so.",
        ),
    ),
    "googlenet.bn": Variant(
        norm=BatchNorm(),
        departures=(
            "Not in the paper; what `inceptive train --weights none` takes by default for photographs "
            "of more than 48 pixels.",
        ),
    ),
    "googlenet.torchvision": Variant(
        source="torchvision 0.28, models/googlenet.py",
        norm=BatchNorm(),
        large=3,
        pool4=2,
        aux_pool=AvgPool(grid=4),
        dropout=0.2,
        departures=(
            "The 3×3 of branch `b5x5` is a known bug there (pytorch/vision issue 906): the weights "
            "were trained with it.",
            "In the heads windows of 4 stand at 0, 3, 7, 10 where the paper has 5 at 0, 3, 6, 9; "
            "torchvision's own weights never trained them.",
        ),
    ),
    "googlenet.slim": Variant(
        source="TF-slim, nets/inception_v1.py",
        norm=BatchNorm(momentum=3e-4, scale=False),
        large=3,
        pool4=2,
        dropout=0.2,
        heads=False,
        conv1_pad="tf",
        pool_pad="tf",
    ),
    "googlenet.inception5h": Variant(
        source="Google's inception5h graph, as in lucent's InceptionV1",
        table=INCEPTION_5H,
        heads=False,
        lrn=LRN(9, alpha=1e-4, beta=0.5, k=1.0),
        conv1_pad="tf",
        pool_pad="tf",
        departures=("Google's own graph of 2015: of all public weights the nearest to the paper.",),
    ),
}


def googlenet(variant: str = "googlenet", num_classes: int = 1000, channels: int = 3) -> Net:
    """Make the net for images of `channels` channels and `num_classes` classes."""
    v = VARIANTS[variant]
    conv = partial(Conv, norm=v.norm)
    halve = partial(MaxPool, stride=2, pad=v.pool_pad)
    lrn = v.lrn if v.norm is None else None

    def inception(row: Row) -> Concat:
        """Four views of one input, side by side (Figure 2b)."""
        return Concat(
            b1x1=conv(row.c1x1, 1),
            b3x3=Chain(reduce=conv(row.c3x3_reduce, 1), conv=conv(row.c3x3, 3)),
            b5x5=Chain(reduce=conv(row.c5x5_reduce, 1), conv=conv(row.c5x5, v.large)),
            pool=Chain(pool=MaxPool(3), proj=conv(row.pool_proj, 1)),
        )

    def stage(number: str) -> dict[str, Concat]:
        rows = ((name, row) for name, row in v.table.items() if name.startswith(number))
        return {f"inception_{name}": inception(row) for name, row in rows}

    # fmt: off
    body = Chain(
        conv1=conv(64, 7, stride=2, pad=v.conv1_pad), pool1=halve(3), norm1=lrn,  #   64 x 56 x 56
        conv2_reduce=conv(64, 1), conv2=conv(192, 3), norm2=lrn,          #  192 x 56 x 56
        pool2=halve(3), **stage("3"),                                     #  480 x 28 x 28
        pool3=halve(3), **stage("4"),                                     #  832 x 14 x 14
        pool4=halve(v.pool4), **stage("5"),                               # 1024 x  7 x  7
        pool5=AvgPool(grid=1), dropout=Dropout(v.dropout), fc=Linear(num_classes),
    )
    head = Chain(                                                         # section 5
        pool=v.aux_pool, conv=conv(128, 1),                               #  128 x  4 x  4
        fc1=Linear(1024, relu=True), dropout=Dropout(0.7), fc2=Linear(num_classes),
    )
    # fmt: on
    aux = (("inception_4a", head), ("inception_4d", head)) if v.heads else ()
    return Net(variant, body, num_classes, v.source, aux, channels)
