"""How each publisher names the tensors of a net: one key table a source, ours to theirs."""

from inceptive.weights.names import torch_names
from inceptive.weights.names.source import Source as Source
from inceptive.weights.names.source import key_table as key_table

SOURCES: dict[str, Source] = {**torch_names.SOURCES}
