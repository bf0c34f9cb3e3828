"""1x1 convolutions that read one input run as one while training: the same numbers, to rounding."""

import copy

import pytest
import torch

import inceptive
from inceptive.nn.branches import Branches

MERGED = {  # modules in which at least two branches begin with a 1x1 on the same input
    "googlenet": 9, "googlenet.bn": 9, "googlenet.slim": 9, "bn_inception": 10, "inception_v3": 10,
    "xception": 0,
}  # fmt: skip


def plainly(self, x):
    return torch.cat([branch(x) for branch in self.values()], dim=1)


def step(model, images, monkeypatch, as_one):
    calls = []
    if not as_one:
        monkeypatch.setattr(Branches, "forward", plainly)
    else:
        begun = Branches._begun
        monkeypatch.setattr(
            Branches, "_begun", lambda self, x: calls.append(out := begun(self, x)) or out
        )
    torch.manual_seed(1)
    logits = model(images)
    logits.square().sum().backward()
    monkeypatch.undo()
    merged = sum(bool(out) for out in calls)
    return logits.detach(), {k: p.grad for k, p in model.named_parameters()}, merged


def side(name):
    return {"inception_v3": 107, "xception": 71}.get(name, 64)


SLOW = {"xception"}  # nine seconds for a net in which nothing is merged


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow) if one in SLOW else one for one in MERGED]
)
def test_logits_gradients_and_statistics_are_those_of_each_layer_alone(name, monkeypatch):
    net = inceptive.NETS[name](num_classes=3).without_aux()
    torch.manual_seed(0)
    model = inceptive.build(net).double().train()
    other = copy.deepcopy(model)
    images = torch.rand(3, 3, side(name), side(name), dtype=torch.float64)
    ours, grads, merged = step(model, images, monkeypatch, True)
    theirs, plain, _ = step(other, images, monkeypatch, False)
    assert merged == MERGED[name]
    scale = theirs.abs().max()
    assert (ours - theirs).abs().max() <= 1e-9 * scale
    for key, grad in plain.items():
        if grad is None:
            assert grads[key] is None, key
            continue
        assert (grads[key] - grad).abs().max() <= 1e-7 * max(grad.abs().max(), 1e-6), key
    for (key, a), b in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=1e-9, atol=1e-12), key


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


def test_where_one_of_them_is_frozen_alone_each_runs_by_itself(monkeypatch):
    model = inceptive.build(inceptive.NETS["googlenet.bn"](3).without_aux()).train()
    model.inception_3a.b1x1.bn.eval()
    assert model.inception_3a._begun(torch.rand(2, 192, 8, 8)) == {}
    assert len(model.inception_3b._begun(torch.rand(2, 256, 8, 8))) == 3


def test_a_layer_that_is_watched_runs_by_itself():
    model = inceptive.build(inceptive.NETS["googlenet.bn"](3).without_aux()).train()
    seen = []
    model.inception_4a.b3x3.reduce.register_forward_hook(lambda *args: seen.append(args[2].shape))
    model(torch.rand(2, 3, 64, 64))
    assert seen == [(2, 96, 4, 4)]


def test_in_evaluation_nothing_is_merged(monkeypatch):
    monkeypatch.setattr(Branches, "_begun", lambda *_: pytest.fail("merged"))
    inceptive.build(inceptive.NETS["googlenet.bn"](3)).eval()(torch.rand(1, 3, 64, 64))
