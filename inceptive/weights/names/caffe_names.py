"""The key table of Caffe's bvlc_googlenet; the readers call a layer's blobs name/0 and name/1."""

from inceptive.weights.names.source import Source, within

MODULE = {
    "b1x1": "/1x1",
    "b3x3.reduce": "/3x3_reduce",
    "b3x3.conv": "/3x3",
    "b5x5.reduce": "/5x5_reduce",
    "b5x5.conv": "/5x5",
    "pool.proj": "/pool_proj",
}
HEAD = {"conv": "/conv", "fc1": "/fc", "fc2": "/classifier"}


def googlenet() -> dict[str, str]:
    units = {
        "conv1": "conv1/7x7_s2",
        "conv2_reduce": "conv2/3x3_reduce",
        "conv2": "conv2/3x3",
        "fc": "loss3/classifier",
    }
    for stage in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        units |= within(f"inception_{stage}", f"inception_{stage}", MODULE)
    return units | within("aux_4a", "loss1", HEAD) | within("aux_4d", "loss2", HEAD)


SOURCES = {
    "caffe_googlenet": Source(googlenet(), leaves={"weight": "/0", "bias": "/1"}, layout="caffe")
}
