"""A simplified Inception with Hadamard attention: an interpretation, not a reproduction.

Source: Jin, You & Cai, "Simplified Inception Module Based Hadamard Attention Mechanism for Medical
Image Classification", J. Computer and Communications 11(6), 2023, doi 10.4236/jcc.2023.116001. Only
its abstract is public: a simplified inception module, and attention by an element-wise (Hadamard)
product. Layers, widths and placement are ours: GoogLeNet's modules without the pooling branch, the
5x5 as two 3x3, and after each module a learned map in 0-1 for every channel and position.
Shapes in comments are channels x height x width for a 224 x 224 image.
"""

from functools import partial

from inceptive.arch.nets import bn_inception
from inceptive.arch.nets.bn_inception import Row
from inceptive.arch.spec import (
    Activation,
    AvgPool,
    BatchNorm,
    Chain,
    Conv,
    Dropout,
    Linear,
    MaxPool,
    Multiply,
    Net,
)

# fmt: off
TABLE = {
    #         1x1  3x3red  3x3  d3x3red d3x3
    "3a": Row( 64,     64, 128,     32,   64),  #  256 x 28 x 28
    "3b": Row(128,     96, 192,     48,   96),  #  416 x 28 x 28
    "4a": Row(160,     96, 208,     48,   96),  #  464 x 14 x 14
    "4b": Row(160,    112, 224,     64,  128),  #  512 x 14 x 14
    "4c": Row(192,    128, 256,     64,  128),  #  576 x 14 x 14
    "5a": Row(256,    144, 288,     80,  160),  #  704 x  7 x  7
    "5b": Row(320,    160, 320,     96,  192),  #  832 x  7 x  7
}
# fmt: on
DEPARTURES = (
    "An interpretation: only the abstract of the paper is public. Layers, widths and placement are "
    "ours, and its accuracies are not claimed for this net.",
)
SQUEEZE = 4  # the attention's hidden channels are a quarter of the module's


def hadamard_inception(num_classes: int = 1000, channels: int = 3) -> Net:
    """Make the net for images of `channels` channels and `num_classes` classes."""
    conv = partial(Conv, norm=BatchNorm())
    halve = MaxPool(3, stride=2, pad="ceil")

    def block(row: Row) -> Chain:
        """A module, then x times a map in 0-1 of its own shape, made of x by two 1x1 convolutions."""
        width = row.c1x1 + row.c3x3 + row.double
        squeeze, back = conv(width // SQUEEZE, 1), Conv(width, 1, relu=False)
        gate = Chain(squeeze=squeeze, map=back, gate=Activation("sigmoid"))
        attend = Multiply(features=Chain(), attention=gate)
        return Chain(mix=bn_inception.module(row, conv, None, "same"), attend=attend)

    def stage(number: str) -> dict[str, Chain]:
        rows = ((name, row) for name, row in TABLE.items() if name.startswith(number))
        return {f"inception_{name}": block(row) for name, row in rows}

    body = Chain(
        conv1=conv(64, 7, stride=2), pool1=halve,             #   64 x 56 x 56
        conv2_reduce=conv(64, 1), conv2=conv(192, 3),         #  192 x 56 x 56
        pool2=halve, **stage("3"),                            #  416 x 28 x 28
        pool3=halve, **stage("4"),                            #  576 x 14 x 14
        pool4=halve, **stage("5"),                            #  832 x  7 x  7
        pool5=AvgPool(grid=1), dropout=Dropout(0.4), fc=Linear(num_classes),
    )  # fmt: skip
    source = "an interpretation of the abstract of doi 10.4236/jcc.2023.116001"
    return Net("hadamard_inception", body, num_classes, source, (), channels)
