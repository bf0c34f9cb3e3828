"""The forward pass of layers that no longer change, in fewer passes over their maps.

Batch normalisation becomes part of the convolution before it, in weights of the precision that is
computed in, and ReLU is applied where the convolution writes its result: the same numbers, to rounding.
"""

import copy
from functools import cached_property

import torch
from torch import Tensor, nn

from inceptive.nn.layers import ConvUnit, pad_tf, watched
from inceptive.nn.net import Model

AVAILABLE = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
"""Whether this torch convolves and applies ReLU in one: its builds for x86 do."""


def fused(model: Model, dtype: torch.dtype) -> Model:
    """What `model` computes in evaluation, with convolutions in `dtype`; it cannot learn.

    It keeps the weights that a convolution has when it is run first, and shares all else with `model`.
    Units with hooks stay as they are: these listen to layers that would be gone. Elsewhere than on the
    CPU, and where torch cannot, it is `model`.
    """
    if not AVAILABLE or any(weight.device.type != "cpu" for weight in model.parameters()):
        return model
    clone = _fused(model, dtype)
    assert isinstance(clone, Model)
    return clone.eval()


def _fused(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    if type(module) is ConvUnit and not any(watched(each) for each in module.modules()):
        return FusedUnit(module, dtype)
    clone = copy.copy(module)
    clone._modules = {name: each and _fused(each, dtype) for name, each in module._modules.items()}
    return clone


class FusedUnit(nn.Module):
    """`unit` in evaluation, as one operation."""

    def __init__(self, unit: ConvUnit, dtype: torch.dtype):
        super().__init__()
        self.dtype, self.tf_kernel, self.stride = dtype, unit.tf_kernel, unit.stride
        self.options = unit.padding, unit.stride, unit.dilation, unit.groups
        self.then = "relu" if unit.relu else "none"
        self._unit = (unit,)  # in a tuple it is no child

    @cached_property
    def weights(self) -> tuple[Tensor, Tensor | None]:
        """Kernels and biases, with batch normalisation in them."""
        (unit,) = self._unit
        weight, bias = unit.weight.detach(), None if unit.bias is None else unit.bias.detach()
        if (bn := unit.bn) is not None:
            assert bn.running_mean is not None and bn.running_var is not None
            scale = torch.rsqrt(bn.running_var + bn.eps)
            scale = scale if bn.weight is None else scale * bn.weight.detach()
            weight = weight * scale[:, None, None, None]
            bias = bn.bias.detach() + ((0 if bias is None else bias) - bn.running_mean) * scale
        return weight.to(self.dtype), None if bias is None else bias.to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self.tf_kernel is not None:
            x = pad_tf(x, self.tf_kernel, self.stride[0])
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, *self.weights, *self.options, self.then, [], ""
        )
        return y
