"""Convolution, batch norm and ReLU in one operation: what the layers give one by one, to rounding."""

import pytest
import torch

from inceptive.arch.nets import NETS
from inceptive.nn import Model, Norm, build
from inceptive.nn.fused import AVAILABLE, FusedUnit, fused
from inceptive.nn.layers import ConvUnit

NAMES = ("googlenet", "googlenet.bn", "inception_v3.nsfwjs", "inception_resnet_v2", "xception")
needed = pytest.mark.skipif(not AVAILABLE, reason="this torch has no such operation")


def net_of(name: str) -> Model:
    """A net whose statistics are not those of an untrained one."""
    torch.manual_seed(0)
    model = build(NETS[name](num_classes=5)).eval()
    for layer in model.modules():
        if isinstance(layer, Norm):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 2)
            layer.bias.data.normal_(std=0.1)
    return model


@needed
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@torch.inference_mode()
def test_outputs_are_those_of_the_layers(name, layout):
    model = net_of(name).to(memory_format=layout)
    images = torch.rand(2, 3, 96, 96).contiguous(memory_format=layout)
    parts = [part for part, _ in model.net.body][:-3]
    for dtype, within in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        once = fused(model, dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            outputs = once.endpoints(images, parts)
        for part, expected in model.endpoints(images, parts).items():
            distance = (outputs[part].float() - expected).norm() / expected.norm()
            assert distance < within, part
        kinds = {type(layer) for layer in once.modules()}
        assert FusedUnit in kinds and ConvUnit not in kinds


@needed
def test_a_net_that_learns_is_not_touched():
    model = net_of("googlenet.bn").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    once = fused(model, torch.float32)
    once(torch.rand(2, 3, 64, 64))
    assert all(layer.training for layer in model.modules())
    assert not any(layer.training for layer in once.modules())
    after = model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert not any(isinstance(layer, FusedUnit) for layer in model.modules())


@needed
def test_a_unit_that_is_listened_to_stays():
    model, heard = net_of("googlenet.bn"), []
    name, unit = next(
        (name, each) for name, each in model.named_modules() if isinstance(each, ConvUnit)
    )
    unit.bn.register_forward_hook(lambda *_: heard.append(name))
    images = torch.rand(1, 3, 64, 64)
    answers = fused(model, torch.float32)(images), model(images)
    assert heard == [name, name]
    torch.testing.assert_close(*answers)
