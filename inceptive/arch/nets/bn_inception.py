"""BN-Inception, also called Inception v2.

Source: Ioffe & Szegedy, "Batch Normalization", arXiv:1502.03167, figure 5 (the appendix's table)
and section 4.2: GoogLeNet with batch normalisation, its 5x5 factorised into two 3x3, 3a-3c and
4a-4e with average pooling, and a separable conv1 of depth multiplier 8. The paper is silent on
padding: TensorFlow's SAME, as in its authors' code.
Shapes in comments are channels x height x width for a 224 x 224 image.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

from inceptive.arch.spec import (
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
    Node,
    Pad,
    Separable,
)


class Row(NamedTuple):
    """Output channels of one module's convolutions; 0 where it has none."""

    c1x1: int
    c3x3_reduce: int
    c3x3: int
    double_reduce: int
    double: int
    pool: Literal["avg", "max", "through", "none"] = "none"  # through: /2, no 1x1
    proj: int = 0


# fmt: off
FIGURE_5 = {
    #         1x1  3x3red  3x3  d3x3red d3x3    pool     proj
    "3a": Row( 64,     64,  64,     64,   96, "avg",      32),  #  256 x 28 x 28
    "3b": Row( 64,     64,  96,     64,   96, "avg",      64),  #  320 x 28 x 28
    "3c": Row(  0,    128, 160,     64,   96, "through",   0),  #  576 x 14 x 14
    "4a": Row(224,     64,  96,     96,  128, "avg",     128),  #  576 x 14 x 14
    "4b": Row(192,     96, 128,     96,  128, "avg",     128),  #  576 x 14 x 14
    "4c": Row(160,    128, 160,    128,  160, "avg",     128),  #  608 x 14 x 14, prints 576
    "4d": Row( 96,    128, 192,    160,  192, "avg",     128),  #  608 x 14 x 14, prints 576
    "4e": Row(  0,    128, 192,    192,  256, "through",   0),  # 1056 x  7 x  7, prints 1024
    "5a": Row(352,    192, 320,    160,  224, "avg",     128),  # 1024 x  7 x  7
    "5b": Row(352,    192, 320,    192,  224, "max",     128),  # 1024 x  7 x  7
}
# fmt: on
SLIM = FIGURE_5 | {name: FIGURE_5[name]._replace(proj=96) for name in ("4c", "4d")}


@dataclass(frozen=True)
class Variant:
    """Where one source departs from the paper. The defaults are the paper's."""

    source: str = "arXiv:1502.03167, figure 5"
    table: Mapping[str, Row] = field(default_factory=lambda: FIGURE_5)
    conv1: Node = Separable(64, 7, stride=2, pad="tf", norm=BatchNorm(), multiplier=8)
    norm: BatchNorm = BatchNorm()
    bias: bool = False
    pad: ConvPad = "tf"  # of what halves the map
    pool_pad: Pad = "tf"
    count_pad: bool = False
    dropout: float = 0.0
    departures: tuple[str, ...] = ()  # in words: what the fields above do not say


CAFFE = BatchNorm(1e-5)
VARIANTS = {
    "bn_inception": Variant(
        departures=(
            "The printed table contradicts itself in three rows: 4c and 4d sum to 608 channels and "
            "print 576, 4e gives 1056 and prints 1024. Here the widths are believed, as in the "
            "Caffe net of the same name; TF-slim believes the sums.",
            "3c and 4e halve the map, though they print the size of their input.",
            "The text's 13.6 million parameters follow from neither reading.",
            "Padding and epsilon are not printed: TensorFlow's SAME and 1e-3, as its authors' code "
            "has them.",
        ),
    ),
    "bn_inception.cadene": Variant(
        source="Cadene/pretrained-models.pytorch, models/bninception.py",
        conv1=Conv(64, 7, stride=2, norm=CAFFE, bias=True),
        norm=CAFFE, bias=True, pad="same", pool_pad="ceil", count_pad=True,
        departures=("The Caffe net of temporal segment networks, as Cadene ported it.",),
    ),
    "inception_v2.slim": Variant(
        source="TF-slim, nets/inception_v2.py",
        table=SLIM,
        conv1=Separable(64, 7, stride=2, pad="tf", multiplier=8),
        norm=BatchNorm(momentum=3e-4),
        dropout=0.2,
        departures=(
            "Its conv1 is without normalisation because TF-slim's arg_scope does not reach "
            "separable layers.",
        ),
    ),
}  # fmt: skip


def module(
    row: Row, conv: Callable[..., Conv], pool: AvgPool | MaxPool | None, pad: ConvPad
) -> Concat:
    """Two 3x3 stand for the 5x5; a module without a 1x1 branch halves the map, its strided convolutions
    padded by `pad`."""
    last = partial(conv, kernel=3) if row.c1x1 else partial(conv, kernel=3, stride=2, pad=pad)
    return Concat(
        b1x1=conv(row.c1x1, 1) if row.c1x1 else None,
        b3x3=Chain(reduce=conv(row.c3x3_reduce, 1), conv=last(row.c3x3)),
        b3x3dbl=Chain(
            reduce=conv(row.double_reduce, 1), conv1=conv(row.double, 3), conv2=last(row.double)
        ),
        pool=Chain(pool=pool, proj=conv(row.proj, 1) if row.proj else None) if pool else None,
    )


def bn_inception(variant: str = "bn_inception", num_classes: int = 1000, channels: int = 3) -> Net:
    """Make the net for images of `channels` channels and `num_classes` classes."""
    v = VARIANTS[variant]
    conv = partial(Conv, norm=v.norm, bias=v.bias)
    halve = MaxPool(3, stride=2, pad=v.pool_pad)
    pools: dict[str, AvgPool | MaxPool] = {
        "avg": AvgPool(3, pad="same", count_pad=v.count_pad),
        "max": MaxPool(3),
        "through": halve,
    }
    rows = {f"inception_{name}": row for name, row in v.table.items()}

    body = Chain(
        conv1=v.conv1, pool1=halve,                           #   64 x 56 x 56
        conv2_reduce=conv(64, 1), conv2=conv(192, 3),         #  192 x 56 x 56
        pool2=halve,                                          #  192 x 28 x 28
        **{name: module(row, conv, pools[row.pool], v.pad) for name, row in rows.items()},
        pool=AvgPool(grid=1), dropout=Dropout(v.dropout) if v.dropout else None,
        fc=Linear(num_classes),
    )  # fmt: skip
    return Net(variant, body, num_classes, v.source, (), channels)
