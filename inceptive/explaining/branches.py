"""The share of an answer that comes from 1x1, 3x3, 5x5 and pool: the paper's idea made visible."""

from dataclasses import dataclass

import numpy as np
import torch

from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.nn.branches import Branches
from inceptive.nn.net import evaluating


@dataclass(frozen=True)
class Module:
    """One module: each branch's contribution to the logit, and its share of the total.

    carried sums to value times gradient over the module's maps; share counts contributions for and
    against alike, so shares sum to 1.
    """

    name: str
    channels: dict[str, int]
    carried: dict[str, float]
    share: dict[str, float]


def branches(classifier: Classifier, square: np.ndarray, label: int) -> list[Module]:
    """Every module of parallel branches, at any depth, for the logit of class `label`.

    Value times gradient of the logit: exact where only averaging and a linear layer follow, as after
    the last module, else first-order. Where the last layer reads several modules (`Net.reading`), they
    are the branches of the module `read`. square: (C, S, S) of uint8. Raises InceptiveError if the net
    has no such modules.
    """
    model = classifier.model
    heads, reads = model.net.heads(), model.net.reads()
    inner = {*reads.values(), *(path.removesuffix(".here") for path in reads.values())} - {"read"}
    concats = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Branches)
        and name.partition(".")[0] not in heads
        and name not in inner
    }
    if not concats:
        raise InceptiveError(f"{model.net.name} has no modules of branches side by side")
    parts_of = {name: {part: f"{name}.{part}" for part in concats[name]} for name in concats}
    if reads:
        del parts_of["read"]
        parts_of["read"] = reads  # behind all that it reads
    names = {path for name, paths in parts_of.items() for path in (name, *paths.values())}
    x = classifier.normalise(square[None]).requires_grad_()
    with torch.enable_grad(), evaluating(model):
        outputs = model.endpoints(x, {*names, model.net.last})
        maps = [outputs[name] for name in parts_of]
        gradients = torch.autograd.grad(outputs[model.net.last][0, label], maps)
    modules = []
    for (name, paths), values, gradient in zip(parts_of.items(), maps, gradients, strict=True):
        products = (values.detach() * gradient)[0].double().reshape(values.shape[1], -1)
        channels = {part: outputs[path].shape[1] for part, path in paths.items()}
        parts = dict(zip(channels, torch.split(products, [*channels.values()]), strict=True))
        carried = {part: float(product.sum()) for part, product in parts.items()}
        weight = {part: float(product.sum(1).abs().sum()) for part, product in parts.items()}
        total = sum(weight.values()) or 1.0
        share = {part: part_weight / total for part, part_weight in weight.items()}
        modules.append(Module(name.rpartition("read.on.")[2], channels, carried, share))
    return modules
