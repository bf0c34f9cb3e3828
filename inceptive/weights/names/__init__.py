"""How each publisher names the tensors of a net: one key table per source, ours to theirs."""

from inceptive.weights.names import (
    caffe_names,
    keras_names,
    pytorchcv_names,
    slim_names,
    torch_names,
)
from inceptive.weights.names.source import Source as Source
from inceptive.weights.names.source import key_table as key_table

SOURCES: dict[str, Source] = {
    **torch_names.SOURCES,
    **pytorchcv_names.SOURCES,
    **slim_names.SOURCES,
    **keras_names.SOURCES,
    **caffe_names.SOURCES,
}
