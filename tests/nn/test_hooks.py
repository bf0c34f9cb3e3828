"""While training, every layer is called: hooks fire, what was put in its place runs."""

import copy

import pytest
import torch

import inceptive
from inceptive.arch.spec import BatchNorm, Chain, Concat, Conv
from inceptive.nn.net import _module


def test_frozen_statistics_stay_and_frozen_weights_get_no_gradient():
    model = inceptive.build(inceptive.NETS["googlenet.bn"](3).without_aux()).train()
    for part in (model.inception_3a, model.inception_4a):
        for module in part.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    model.inception_3a.b1x1.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    model(torch.rand(2, 3, 64, 64)).sum().backward()
    after = model.state_dict()
    for key, value in before.items():
        if key.startswith(("inception_3a", "inception_4a")) and "running" in key:
            assert torch.equal(value, after[key]), key
    assert not torch.equal(before["inception_3b.b1x1.bn.running_mean"],
                           after["inception_3b.b1x1.bn.running_mean"])  # fmt: skip
    assert model.inception_3a.b1x1.weight.grad is None
    assert model.inception_3a.b3x3.reduce.weight.grad is not None


def test_a_hook_sees_a_layer_of_a_net_in_training():
    model = inceptive.build(inceptive.NETS["googlenet.bn"](3).without_aux()).train()
    shapes = []
    model.inception_4a.b3x3.reduce.register_forward_hook(lambda *args: shapes.append(args[2].shape))
    model(torch.rand(2, 3, 64, 64))
    assert shapes == [(2, 96, 4, 4)]


def bottleneck(pad=0):
    """Two branches that begin with a 1x1 on the same 8 channels, in training."""

    def unit():
        return Conv(4, 1, pad=pad, norm=BatchNorm())

    net = Concat(a=Chain(reduce=unit(), conv=Conv(4, 3, pad=1)), b=unit())
    return _module(net, (8, 16, 16)).train()


def watch(kind, module, calls):
    def hook(*args):
        calls.append(type(module).__name__)

    return getattr(module, f"register_{kind}")(hook)


MODULES = ("a", "a.reduce", "a.reduce.bn", "b", "b.bn")


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(
    "kind",
    ["forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"],
)
def test_every_hook_fires_in_training(name, kind):
    branches, calls = bottleneck(), []
    x = torch.rand(2, 8, 16, 16, requires_grad=True)
    handle = watch(kind, branches.get_submodule(name), calls)
    branches(x).sum().backward()
    assert len(calls) == 1
    handle.remove()


@pytest.mark.parametrize(
    "kind", ["forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"]
)
def test_a_hook_on_all_modules_fires_for_each(kind):
    branches, calls = bottleneck(), []
    register = getattr(torch.nn.modules.module, f"register_module_{kind}")
    with register(lambda module, *_: calls.append(module)):
        branches(torch.rand(2, 8, 16, 16, requires_grad=True)).sum().backward()
    assert {branches.get_submodule(name) for name in MODULES} <= set(calls)


def test_a_padded_1x1_gives_the_same_size_in_training():
    branches = bottleneck(pad=1)
    x = torch.rand(2, 8, 16, 16)
    assert branches(x).shape == branches.eval()(x).shape == (2, 8, 18, 18)


class LowRank(torch.nn.Module):
    """A layer with a low-rank change beside it: Hu et al., arXiv:2106.09685."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.calls = layer, 0
        self.change = torch.nn.Conv2d(layer.in_channels, layer.out_channels, 1)

    def forward(self, x):
        self.calls += 1
        return self.layer(x) + self.change(x)


def test_a_module_that_was_replaced_is_called():
    branches = bottleneck()
    branches.a[0] = LowRank(branches.a[0])
    branches.b.bn = torch.nn.GroupNorm(2, 4)
    x = torch.rand(2, 8, 16, 16)
    expected = torch.cat([branches.a(x), branches.b(x)], 1)
    torch.testing.assert_close(branches(x), expected)
    assert branches.a[0].calls == 2


@pytest.mark.parametrize("name", ["b", "b.bn"])
def test_a_parametrized_layer_is_called(name):
    branches, calls = bottleneck(), []

    class Half(torch.nn.Module):
        def forward(self, x):
            calls.append(x)
            return x / 2

    torch.nn.utils.parametrize.register_parametrization(
        branches.get_submodule(name), "weight", Half()
    )
    calls.clear()  # registering tries it
    branches(torch.rand(2, 8, 16, 16))
    assert calls


def test_a_forward_that_is_put_in_place_of_a_layer_s_is_called():
    branches, shapes = bottleneck(), []
    forward = branches.b.forward
    branches.b.forward = lambda x: shapes.append(x.shape) or forward(x)
    branches(torch.rand(2, 8, 16, 16))
    assert shapes == [(2, 8, 16, 16)]
