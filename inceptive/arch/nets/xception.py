"""Xception.

Source: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions",
arXiv:1610.02357, figure 5; no bias except in the classifier. Nothing comes between depthwise and
pointwise (section 4.7). Shapes in comments are channels x height x width for a 299 x 299 image.
"""

from dataclasses import dataclass
from functools import partial

from inceptive.arch.spec import (
    Activation,
    Add,
    AvgPool,
    BatchNorm,
    Chain,
    Conv,
    Dropout,
    Linear,
    MaxPool,
    Net,
    Pad,
    Separable,
)


@dataclass(frozen=True)
class Variant:
    """Where one source departs from the other: the paper prints neither padding nor eps."""

    source: str
    norm: BatchNorm
    pool: Pad
    departures: tuple[str, ...] = ()  # in words: what the fields above do not say


VARIANTS = {
    "xception": Variant(
        "arXiv:1610.02357, figure 5, padded as in timm", BatchNorm(1e-5), "same",
        departures=(
            "The paper prints neither padding nor epsilon: both are as in the torch ports (Cadene, "
            "timm's `legacy_xception`). One pooling of the four so stands a pixel off from Keras', "
            "where its input has an even side (74×74).",
        ),
    ),
    "xception.keras": Variant(
        "Keras 3, applications/xception.py", BatchNorm(1e-3, momentum=0.01), "tf",
        departures=("As the paper's author released it.",),
    ),
}  # fmt: skip


def xception(variant: str = "xception", num_classes: int = 1000, channels: int = 3) -> Net:
    """Make the net for images of `channels` channels and `num_classes` classes."""
    v = VARIANTS[variant]
    conv, linear = partial(Conv, norm=v.norm), partial(Separable, norm=v.norm, relu=False)

    def down(first: int, second: int, relu: bool = True) -> Add:
        """Two separable convolutions and a pooling, beside a strided 1x1: halves the map."""
        return Add(
            branch=Chain(
                relu1=Activation() if relu else None, sep1=linear(first, 3),
                relu2=Activation(), sep2=linear(second, 3),
                pool=MaxPool(3, stride=2, pad=v.pool),
            ),
            shortcut=conv(second, 1, stride=2, relu=False),
        )  # fmt: skip

    middle = Add(
        branch=Chain(
            relu1=Activation(), sep1=linear(728, 3),
            relu2=Activation(), sep2=linear(728, 3),
            relu3=Activation(), sep3=linear(728, 3),
        )
    )  # fmt: skip
    body = Chain(
        conv1=conv(32, 3, stride=2, pad="valid"),             #   32 x 149 x 149
        conv2=conv(64, 3, pad="valid"),                       #   64 x 147 x 147
        block1=down(128, 128, relu=False),                    #  128 x  74 x  74
        block2=down(256, 256),                                #  256 x  37 x  37
        block3=down(728, 728),                                #  728 x  19 x  19
        **{f"block{k}": middle for k in range(4, 12)},
        block12=down(728, 1024),                              # 1024 x  10 x  10
        conv3=Separable(1536, 3, norm=v.norm),
        conv4=Separable(2048, 3, norm=v.norm),                # 2048 x  10 x  10
        pool=AvgPool(grid=1), dropout=Dropout(0.5), fc=Linear(num_classes),
    )  # fmt: skip
    return Net(variant, body, num_classes, v.source, (), channels, image_size=299)
