"""The image regions behind an answer: Grad-CAM, and occlusion with captum."""

import numpy as np
import torch
from torch.nn import functional as F

from inceptive.arch.account import parts_with_maps
from inceptive.engines.classifier import Classifier
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError, requires
from inceptive.nn.net import evaluating


def last_maps(classifier: Classifier) -> str:
    """The last part whose maps the classifier reads: the default layer of Grad-CAM."""
    net, size = classifier.model.net, classifier.preprocessing.size
    parts = parts_with_maps(net, size)
    if not parts:
        raise InceptiveError(f"{net.name} has no maps larger than one pixel at {size} px")
    return parts[-1]


def gradcam(classifier: Classifier, square: np.ndarray, layer: str, label: int) -> np.ndarray:
    """Grad-CAM evidence for class `label` at each position: (S, S) of float32, 0 and more.

    The maps of `layer`, each weighted by its mean gradient, summed, with negative evidence removed,
    and upsampled (Selvaraju et al., arXiv:1610.02391, equations 1 and 2). square: (C, S, S) of
    uint8. Raises InceptiveError for a layer without maps, or of an auxiliary head.
    """
    model = classifier.model
    if layer.partition(".")[0] in model.net.heads():
        raise InceptiveError(
            f"{layer} is of an auxiliary head, which the answer does not read; name a part of the body"
        )
    x = classifier.normalise(square[None]).requires_grad_()
    with torch.enable_grad(), evaluating(model):
        outputs = model.endpoints(x, [layer, model.net.last])
        maps = outputs[layer]
        if maps.ndim != 4:
            raise InceptiveError(
                f"{layer} gives numbers, no maps; name a part before the classifier"
            )
        [gradients] = torch.autograd.grad(outputs[model.net.last][0, label], maps)
    weights = gradients.mean((2, 3), keepdim=True)
    heat = F.relu((weights * maps.detach()).sum(1, keepdim=True))
    large = F.interpolate(heat.float(), square.shape[1:], mode="bilinear", align_corners=False)
    return np.asarray(large[0, 0].cpu().numpy())


def occlusion(
    engine: Engine, square: np.ndarray, label: int, window: int, stride: int
) -> np.ndarray:
    """How much covering each position lowers the logit of class `label`: (S, S) of float32.

    A square of `window` pixels of the mean colour, in integer levels of 0-255, moves by `stride`; each
    position gets the mean over the windows that cover it (Zeiler and Fergus, arXiv:1311.2901, section
    4.2). square: (C, S, S) of uint8. Raises InceptiveError without captum.
    """
    with requires("occlusion needs captum", "explain"):
        from captum.attr import Occlusion

    def logits(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(engine.logits(images.byte().numpy()))

    colour = torch.tensor(engine.preprocessing.mean).mul(255).round().view(1, -1, 1, 1)
    x = torch.from_numpy(square[None]).float()
    heat = Occlusion(logits).attribute(
        x,
        sliding_window_shapes=(len(square), window, window),
        strides=(len(square), stride, stride),
        target=label,
        baselines=colour.expand_as(x),
        perturbations_per_eval=16,
    )
    return np.asarray(heat[0].mean(dim=0).float().numpy())
