"""The torch implementation of a net: modules, state-dict keys, logits and endpoints by name.

Legend: N images, C channels, H, W; K classes. Every part is named as in the value, so a layer, its
hook and its checkpoint key share one name: `inception_3a.b5x5.conv.weight`.
"""

from inceptive.nn.layers import Norm as Norm
from inceptive.nn.net import Model as Model
from inceptive.nn.net import build as build
