"""1x1 convolutions in bf16 on few values are products of matrices: the same to rounding."""

import pytest
import torch
from torch.nn import functional as F

from inceptive.arch.nets import NETS
from inceptive.arch.spec import Conv
from inceptive.nn import build
from inceptive.nn.layers import FEW, ConvUnit

SIDE = {"few": 4, "many": 64}


def both_ways(side: int, bias: bool, monkeypatch: pytest.MonkeyPatch) -> list[list[torch.Tensor]]:
    """Output and gradients of one unit: as it is in bf16, and as torch's convolution."""
    torch.manual_seed(0)
    conv = Conv(24, 1, bias=bias, relu=False)
    unit = ConvUnit(40, conv).to(memory_format=torch.channels_last)
    images = torch.randn(3, 40, side, side).to(memory_format=torch.channels_last)
    answers = []
    for few in (FEW, 0):
        monkeypatch.setattr("inceptive.nn.layers.FEW", few)
        unit.zero_grad()
        x = images.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = unit(x)
        y.float().square().mean().backward()
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert unit.weight.grad.stride() == unit.weight.stride()
        answers.append([y, x.grad, *(weights.grad for weights in unit.parameters())])
    return answers


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("count", SIDE)
def test_output_and_gradients_are_those_of_the_convolution(count, bias, monkeypatch):
    for product, convolution in zip(*both_ways(SIDE[count], bias, monkeypatch), strict=True):
        assert product.dtype == convolution.dtype and product.shape == convolution.shape
        within = 2**-7 * convolution.float().abs().max()
        assert (product.float() - convolution.float()).abs().max() <= within


def test_only_bf16_on_few_values_is_a_product(monkeypatch):
    products = []
    linear = F.linear
    monkeypatch.setattr(F, "linear", lambda *args: products.append(args) or linear(*args))
    for conv, groups, count, bf16, expected in (
        (Conv(8, 1), 1, "few", True, 1),
        (Conv(8, 1), 1, "few", False, 0),
        (Conv(8, 1), 1, "many", True, 0),
        (Conv(8, 1, stride=2), 1, "few", True, 0),
        (Conv(8, 3), 1, "few", True, 0),
        (Conv(8, 1), 8, "few", True, 0),
    ):
        unit, side = ConvUnit(8, conv, groups), SIDE[count]
        products.clear()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            unit(torch.zeros(2, 8, side, side))
        assert len(products) == expected, (conv, groups, count, bf16)


def test_a_model_is_exported_with_any_number_of_images():
    model = build(NETS["inception_small"](10, 1)).eval()
    shapes = ({0: torch.export.Dim("count", min=2, max=1000)},)
    program = torch.export.export(model, (torch.rand(4, 1, 32, 32),), dynamic_shapes=shapes)
    images = torch.rand(7, 1, 32, 32)
    torch.testing.assert_close(program.module()(images), model(images))
