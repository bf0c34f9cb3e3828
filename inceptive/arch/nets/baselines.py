"""AlexNet and VGG-16, what the papers compare GoogLeNet with.

Sources: Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
arXiv:1404.5997 (the AlexNet that torchvision has: one tower, no LRN); Simonyan & Zisserman, "Very
Deep Convolutional Networks", arXiv:1409.1556, configuration D. Shapes in comments are channels x
height x width for a 224 x 224 image.
"""

from inceptive.arch.spec import AvgPool, Chain, Conv, Dropout, Linear, MaxPool, Net

DEPARTURES = {
    "alexnet": ("One tower without LRN; the net of 2012 has two towers and LRN.",),
    "vgg16": (),
}
CONFIGURATION_D = {1: (64, 64), 2: (128, 128), 3: (256,) * 3, 4: (512,) * 3, 5: (512,) * 3}


def alexnet(num_classes: int = 1000, channels: int = 3) -> Net:
    """Make the net for images of `channels` channels and `num_classes` classes."""
    halve = MaxPool(3, stride=2, pad="valid")
    body = Chain(
        conv1=Conv(64, 11, stride=4, pad=2), pool1=halve,     #  64 x 27 x 27
        conv2=Conv(192, 5), pool2=halve,                      # 192 x 13 x 13
        conv3=Conv(384, 3), conv4=Conv(256, 3),
        conv5=Conv(256, 3), pool5=halve,                      # 256 x  6 x  6
        grid=AvgPool(grid=6), dropout6=Dropout(0.5), fc6=Linear(4096, relu=True),
        dropout7=Dropout(0.5), fc7=Linear(4096, relu=True), fc=Linear(num_classes),
    )  # fmt: skip
    return Net("alexnet", body, num_classes, "arXiv:1404.5997, as in torchvision", (), channels)


def vgg16(num_classes: int = 1000, channels: int = 3) -> Net:
    """Make the net for images of `channels` channels and `num_classes` classes."""
    stages: dict[str, Chain] = {}
    for stage, widths in CONFIGURATION_D.items():
        convs = {f"conv{k}": Conv(width, 3) for k, width in enumerate(widths, start=1)}
        stages[f"stage{stage}"] = Chain(**convs, pool=MaxPool(2, stride=2, pad="valid"))
    body = Chain(
        **stages,                                             # 512 x 7 x 7
        grid=AvgPool(grid=7), fc6=Linear(4096, relu=True), dropout6=Dropout(0.5),
        fc7=Linear(4096, relu=True), dropout7=Dropout(0.5), fc=Linear(num_classes),
    )  # fmt: skip
    return Net("vgg16", body, num_classes, "arXiv:1409.1556, configuration D", (), channels)
