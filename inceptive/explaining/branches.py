"""What share of an answer comes from 1x1, 3x3, 5x5 and pool: the idea of the paper made visible."""

from dataclasses import dataclass

import numpy as np
import torch

from inceptive.arch.account import out_shape
from inceptive.arch.spec import Concat
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError


@dataclass(frozen=True)
class Module:
    """One module: the part of the logit that each branch carries, and its share of all of them.

    carried adds up to the sum over the module's maps of value times gradient; share counts what
    speaks for and against alike, so shares add up to 1.
    """

    name: str
    channels: dict[str, int]
    carried: dict[str, float]
    share: dict[str, float]


def branches(classifier: Classifier, square: np.ndarray, label: int) -> list[Module]:
    """Every module of branches side by side, for the logit of class `label`.

    Each value times the gradient of the logit: exact where only averaging and a linear layer follow,
    as after the last module, else to first order. square: (C, S, S) of uint8. Raises InceptiveError if
    the net has no such modules.
    """
    model = classifier.model.eval()
    net = model.net
    widths: dict[str, dict[str, int]] = {}
    size = classifier.preprocessing.size
    shape = (net.channels, size, size)
    for name, node in net.body:
        if isinstance(node, Concat):
            widths[name] = {part: out_shape(child, shape)[0] for part, child in node}
        shape = out_shape(node, shape)
    if not widths:
        raise InceptiveError(f"{net.name} has no modules of branches side by side")
    device = next(model.parameters()).device
    x = classifier.normalise(torch.from_numpy(square[None]).to(device))
    last = net.body.parts[-1][0]
    with torch.enable_grad():
        endpoints = model.endpoints(x.requires_grad_(), [*widths, last])
        maps = [endpoints[name] for name in widths]
        gradients = torch.autograd.grad(endpoints[last][0, label], maps)
    modules = []
    for (name, each), values, gradient in zip(widths.items(), maps, gradients, strict=True):
        products = (values.detach() * gradient)[0].double().flatten(1)
        parts = torch.split(products, list(each.values()))
        carried = {part: float(one.sum()) for part, one in zip(each, parts, strict=True)}
        weight = {
            part: float(one.sum(1).abs().sum()) for part, one in zip(each, parts, strict=True)
        }
        total = sum(weight.values()) or 1.0
        share = {part: one / total for part, one in weight.items()}
        modules.append(Module(name, each, carried, share))
    return modules
