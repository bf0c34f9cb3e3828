"""Inception v3.

Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
arXiv:1512.00567, figures 5 to 7, 10 and 11; where its Table 1 and the network that its authors
released differ (the stem, the number of modules), as released: TF-slim, nets/inception_v3.py, with
its names. Shapes in comments are channels x height x width for a 299 x 299 image.
"""

from dataclasses import dataclass
from functools import partial

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

# fmt: off
PROJECTIONS = {"5b": 32, "5c": 64, "5d": 64}              # 35 x 35: channels of branch pool
SEVENS = {"6b": 128, "6c": 160, "6d": 160, "6e": 192}     # 17 x 17: width between the 1x7 and 7x1
# fmt: on
PUBLISHED = BatchNorm(momentum=3e-4, scale=False)  # TF-slim: decay .9997, no gamma before a ReLU


@dataclass(frozen=True)
class Variant:
    """Where one source departs from the released network. The defaults are its own."""

    source: str = "arXiv:1512.00567 and TF-slim, nets/inception_v3.py"
    norm: BatchNorm = BatchNorm()
    average: AvgPool = AvgPool(3, pad="same")  # count_pad False: TensorFlow's SAME averages
    last: AvgPool | MaxPool | None = None  # in mixed_7c, where it is not `average`
    heads: bool = True
    dropout: float = 0.2
    top: tuple[int, ...] = ()  # fully connected layers before the classifier
    top_dropout: tuple[float, ...] = ()
    departures: tuple[str, ...] = ()  # in words: what the fields above do not say


COUNTED = AvgPool(3, pad="same", count_pad=True)
VARIANTS = {
    "inception_v3": Variant(
        departures=(
            "As its authors released it, not as Table 1 prints it: the stem has a 1×1 to 80 "
            "channels where the table has a 3×3, lacks the table's 3×3 to 288, and the modules on "
            "35×35 give 256, 288 and 288 channels where the table has 288 throughout.",
            "The text counts 42 layers; the longest way through the released graph is longer.",
        ),
    ),
    "inception_v3.slim": Variant(norm=PUBLISHED),
    "inception_v3.keras": Variant(
        source="Keras 3, applications/inception_v3.py",
        norm=BatchNorm(momentum=0.01, scale=False),
        heads=False,
        dropout=0.0,
    ),
    "inception_v3.torchvision": Variant(
        source="torchvision 0.28, models/inception.py",
        average=COUNTED,
        dropout=0.5,
        departures=(
            "Google's weights were trained without padded zeros in the averages: the outputs "
            "differ a little (pytorch/vision issue 926). timm's `inception_v3` has the same.",
        ),
    ),
    "inception_v3.fid": Variant(
        source="pytorch-fid b9c1811, inception.py",
        last=MaxPool(3),
        heads=False,
        dropout=0.0,
        departures=("The net of the Fréchet inception distance; its weights have 1008 classes.",),
    ),
    "inception_v3.nsfwjs": Variant(
        source="npm nsfwjs 4.4.0, models/inception_v3",
        norm=BatchNorm(momentum=0.01, scale=False),
        heads=False,
        dropout=0.0,
        top=(256, 128),
        top_dropout=(0.5, 0.25),
        departures=("Keras' net under three layers of its own, for 5 classes.",),
    ),
}


def stem(conv: partial[Conv]) -> dict[str, Conv | MaxPool]:
    """The first seven layers: 3 x 299 x 299 to 192 x 35 x 35. Shared with Inception-ResNet v2."""
    # fmt: off
    return {
        "conv_1a": conv(32, 3, stride=2, pad="valid"),        #  32 x 149 x 149
        "conv_2a": conv(32, 3, pad="valid"),                  #  32 x 147 x 147
        "conv_2b": conv(64, 3),                               #  64 x 147 x 147
        "pool_3a": MaxPool(3, stride=2, pad="valid"),         #  64 x  73 x  73
        "conv_3b": conv(80, 1),                               #  80 x  73 x  73
        "conv_4a": conv(192, 3, pad="valid"),                 # 192 x  71 x  71
        "pool_5a": MaxPool(3, stride=2, pad="valid"),         # 192 x  35 x  35
    }
    # fmt: on


def thirty_five(conv: partial[Conv], average: AvgPool, proj: int) -> Concat:
    """A module on 35 x 35: one 5x5 branch, and one of two 3x3 (figure 5)."""
    return Concat(
        b1x1=conv(64, 1),
        b5x5=Chain(reduce=conv(48, 1), conv=conv(64, 5)),
        b3x3=Chain(reduce=conv(64, 1), conv1=conv(96, 3), conv2=conv(96, 3)),
        pool=Chain(pool=average, proj=conv(proj, 1)),
    )


def seventeen(conv: partial[Conv], average: AvgPool, c: int) -> Concat:
    """A module on 17 x 17: 7x7 factorised into 1x7 and 7x1 (figure 6)."""
    low, high = (1, 7), (7, 1)
    return Concat(
        b1x1=conv(192, 1),
        b7x7=Chain(reduce=conv(c, 1), conv1=conv(c, low), conv2=conv(192, high)),
        b7x7dbl=Chain(
            reduce=conv(c, 1), conv1=conv(c, high), conv2=conv(c, low), conv3=conv(c, high),
            conv4=conv(192, low),
        ),
        pool=Chain(pool=average, proj=conv(192, 1)),
    )  # fmt: skip


def eight(conv: partial[Conv], pool: AvgPool | MaxPool) -> Concat:
    """A module on 8 x 8, the expanded one: 3x3 as 1x3 beside 3x1 (figure 7)."""

    def split() -> Concat:
        return Concat(b1x3=conv(384, (1, 3)), b3x1=conv(384, (3, 1)))

    return Concat(
        b1x1=conv(320, 1),
        b3x3=Chain(reduce=conv(384, 1), split=split()),
        b3x3dbl=Chain(reduce=conv(448, 1), conv=conv(384, 3), split=split()),
        pool=Chain(pool=pool, proj=conv(192, 1)),
    )


def head(conv: partial[Conv], num_classes: int) -> Chain:
    """The auxiliary head on 17 x 17, shared with TF-slim's Inception v4 and Inception-ResNet v2."""
    return Chain(
        pool=AvgPool(5, stride=3, grid=5),                    # 5 x 5
        proj=conv(128, 1), conv=conv(768, 5, pad="valid"),    # 768 x 1 x 1
        fc=Linear(num_classes),
    )  # fmt: skip


def inception_v3(variant: str = "inception_v3", num_classes: int = 1000, channels: int = 3) -> Net:
    """Make the net for images of `channels` channels and `num_classes` classes."""
    v = VARIANTS[variant]
    conv = partial(Conv, norm=v.norm)
    halve, valid = MaxPool(3, stride=2, pad="valid"), partial(conv, stride=2, pad="valid")
    low, high = (1, 7), (7, 1)
    # fmt: off
    body = Chain(
        **stem(conv),
        **{f"mixed_{at}": thirty_five(conv, v.average, proj)
           for at, proj in PROJECTIONS.items()},              #  288 x 35 x 35
        mixed_6a=Concat(
            b3x3=valid(384, 3),
            b3x3dbl=Chain(reduce=conv(64, 1), conv1=conv(96, 3), conv2=valid(96, 3)),
            pool=halve,
        ),                                                    #  768 x 17 x 17
        **{f"mixed_{at}": seventeen(conv, v.average, c) for at, c in SEVENS.items()},
        mixed_7a=Concat(
            b3x3=Chain(reduce=conv(192, 1), conv=valid(320, 3)),
            b7x7=Chain(reduce=conv(192, 1), conv1=conv(192, low), conv2=conv(192, high),
                       conv3=valid(192, 3)),
            pool=halve,
        ),                                                    # 1280 x  8 x  8
        mixed_7b=eight(conv, v.average),                      # 2048 x  8 x  8
        mixed_7c=eight(conv, v.last or v.average),
        pool=AvgPool(grid=1), dropout=Dropout(v.dropout) if v.dropout else None,
        **{f"fc{k}": layer for k, layer in enumerate(_top(v), start=1)},
        fc=Linear(num_classes),
    )
    # fmt: on
    aux = (("mixed_6e", head(conv, num_classes)),) if v.heads else ()
    return Net(variant, body, num_classes, v.source, aux, channels, image_size=299)


def _top(v: Variant) -> list[Chain]:
    pairs = zip(v.top, v.top_dropout, strict=True)
    return [Chain(fc=Linear(out, relu=True), dropout=Dropout(drop)) for out, drop in pairs]
