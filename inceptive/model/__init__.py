"""The torch reading of a net: modules, state-dict keys, logits and endpoints by name.

Legend: N images, C channels, H, W; K classes. Every part is named as in the value, so a layer, its
hook and its checkpoint key are one word: `inception_3a.b5x5.conv.weight`.
"""

from inceptive.model.layers import Norm as Norm
from inceptive.model.net import Model as Model
from inceptive.model.net import build as build
