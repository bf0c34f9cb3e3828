"""Whole nets in the NumPy reference beside the torch reading: two witnesses that share no code."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from inceptive.arch.nets import NETS
from inceptive.errors import InceptiveError
from inceptive.nn import build
from inceptive.reference import layers
from inceptive.reference.net import Pass, loss_and_gradients

EXACT = 1e-9
# One net of each paper at a small size, with its heads; the others take longer.
SIZES = {
    "googlenet": 80,
    "googlenet.bn": 64,
    "googlenet.slim": 64,
    "googlenet.torchvision": 64,
    "googlenet.inception5h": 65,
    "bn_inception": 64,
    "bn_inception.cadene": 64,
    "inception_v3": 107,
    "inception_resnet_v1.facenet": 96,
    "xception.keras": 71,
    "hadamard_inception": 64,
}
QUICK = (
    ("googlenet", "train"),
    ("googlenet.bn", "eval"),
    ("googlenet.bn", "train"),
    ("bn_inception", "eval"),
    ("hadamard_inception", "train"),
)
SLOW = {
    "inception_v3.fid": 107,
    "inception_v4.slim": 107,
    "inception_resnet_v2": 96,
    "inception_resnet_v1": 96,
    "xception": 70,
    "alexnet": 80,
    "vgg16": 64,
}


class Masked(nn.Module):
    """Dropout with a mask of its own, which the reference gets too."""

    def __init__(self, drop, mask):
        super().__init__()
        self.drop, self.mask = drop, mask

    def forward(self, x):
        return x * self.mask.to(x) / (1 - self.drop) if self.training else x


def drawn(net, seed=0):
    """A torch model in float64 whose statistics, gammas, betas and biases are not trivial."""
    torch.manual_seed(seed)
    model = build(net).double()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point() and value.ndim == 1:
                positive = key.endswith(("running_var", "weight"))
                value.copy_(
                    torch.rand_like(value) + 0.5 if positive else torch.randn_like(value) / 5
                )
    return model


def with_masks(model, images, seed=0):
    """Give every dropout a mask; returns them by name."""
    shapes, masks = {}, {}
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Dropout)]
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, out, name=name: shapes.update({name: out.shape})
        )
        for name in names
    ]
    with torch.no_grad():
        model.eval().endpoints(images)
    for hook in hooks:
        hook.remove()
    for name in names:
        drop = model.get_submodule(name).p
        mask = np.random.default_rng([seed, *name.encode()]).random(shapes[name]) >= drop
        masks[name] = mask.astype(float)
        model.set_submodule(name, Masked(drop, torch.from_numpy(masks[name])))
    return masks


def gap(actual, expected, least=0.0):
    """The largest difference as a share of the largest expected value."""
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / max(np.abs(expected).max(), least)


def beside_torch(name, size, training):
    """The reference's pass and torch's results for the same images, weights, masks and labels."""
    net = NETS[name](num_classes=5) if isinstance(name, str) else name
    model = drawn(net)
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.normal(size=(3, net.channels, size, size)))
    labels = torch.tensor([0, 4, 2])
    masks = with_masks(model, images)
    weights = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    model.train(training)
    images.requires_grad_()
    ends = model.endpoints(images, [net.body.parts[-1][0], *net.heads()])
    share = {head: 0.3 if head in net.heads() else 1.0 for head in ends}
    loss = sum(
        share[head] * F.cross_entropy(z, labels, label_smoothing=0.1) for head, z in ends.items()
    )
    loss.backward()
    run = Pass(net, weights, training, masks)
    total, logits = loss_and_gradients(run, images.detach().numpy(), labels.numpy(), 0.3, 0.1)
    return run, total, logits, model, images, ends, float(loss.detach())


def agree(name, size, training, bound=EXACT):
    run, total, logits, model, images, ends, loss = beside_torch(name, size, training)
    assert abs(total - loss) < bound * abs(loss)
    assert set(logits) == set(ends)
    assert set(run.gradients) == set(run.values)
    for head, z in ends.items():
        assert gap(logits[head], z.detach().numpy()) < bound, head
    assert gap(run.gradients["images"], images.grad.numpy()) < bound
    expected = {key: parameter.grad.numpy() for key, parameter in model.named_parameters()}
    assert set(run.weight_gradients) == set(expected)
    # A bias before batch normalisation has no effect: its gradient is rounding, on both sides.
    scale = max(np.abs(gradient).max() for gradient in expected.values())
    for key, gradient in expected.items():
        assert gap(run.weight_gradients[key], gradient, 1e-6 * scale) < bound, key
    state = model.state_dict()
    assert set(run.statistics) == {
        key for key in state if training and key.endswith(("running_mean", "running_var"))
    }
    for key, statistic in run.statistics.items():
        assert gap(statistic, state[key].numpy()) < bound, key


@pytest.mark.parametrize("training", [False, True])
def test_a_net_that_reads_the_average_and_the_greatest_of_several_modules(training):
    parts = ["inception_3a", "inception_3b", "inception_4b"]  # a pooling and a module between
    net = NETS["googlenet.bn"](num_classes=5).without_aux().reading(parts)
    assert "read.on.read.on.inception_4a.b1x1.weight" in build(net).state_dict()
    agree(net, 48, training)


@pytest.mark.parametrize(
    ("name", "training"),
    [
        pytest.param(name, training, id=f"{name}-{mode}",
                     marks=pytest.mark.nets if (name, mode) not in QUICK else ())
        for name in SIZES for mode, training in (("eval", False), ("train", True))
    ],
)  # fmt: skip
def test_logits_and_every_gradient_are_torchs(name, training):
    agree(name, SIZES[name], training)


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", SLOW)
def test_logits_and_every_gradient_are_torchs_in_large_nets(name, training):
    agree(name, SLOW[name], training)


@pytest.mark.slow
def test_googlenet_at_its_own_size_with_both_heads():
    agree("googlenet", 224, training=True)


def test_every_value_and_gradient_inside_a_module_is_torchs():
    net = NETS["googlenet.bn"](num_classes=5)
    model, outputs = drawn(net).eval(), {}
    names = [f"inception_3a.{branch}" for branch in
             ("b1x1", "b3x3.reduce", "b3x3.conv", "b5x5.reduce", "b5x5.conv", "pool.pool",
              "pool.proj")]  # fmt: skip
    names += ["inception_3a", "pool3", "inception_4a", "fc", "aux_4a.conv", "aux_4a.fc1"]

    def keep(name):
        def hook(module, inputs, out):
            copied = out.clone()  # what follows may work in place
            outputs[name] = copied
            copied.retain_grad()
            return copied

        return hook

    for name in names:
        model.get_submodule(name).register_forward_hook(keep(name))
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 64, 64)))
    labels = torch.tensor([1, 3])
    ends = model.endpoints(images, ["fc", "aux_4a"])
    (F.cross_entropy(ends["fc"], labels) + 0.3 * F.cross_entropy(ends["aux_4a"], labels)).backward()
    run = Pass(net.__class__(**{**vars(net), "aux": net.aux[:1]}),
               {key: value.numpy() for key, value in model.state_dict().items()})  # fmt: skip
    loss_and_gradients(run, images.numpy(), labels.numpy())
    for name in names:
        assert gap(run.values[name], outputs[name].detach().numpy()) < EXACT, name
        assert gap(run.gradients[name], outputs[name].grad.numpy()) < EXACT, name


def test_the_steps_of_a_unit_have_names():
    net = NETS["googlenet.bn"](num_classes=5)
    weights = {key: value.numpy() for key, value in drawn(net).state_dict().items()}
    run = Pass(net, weights)
    loss_and_gradients(run, np.random.default_rng(0).normal(size=(1, 3, 64, 64)), np.array([2]))
    unit = "inception_3a.b3x3.conv"
    x, w = run.values["inception_3a.b3x3.reduce"], weights[f"{unit}.weight"]
    np.testing.assert_array_equal(
        run.values[f"{unit}/sum"], layers.conv(x, w, pads=((1, 1), (1, 1)))
    )
    np.testing.assert_array_equal(run.values[unit], np.maximum(run.values[f"{unit}/norm"], 0))
    assert run.gradients[f"{unit}/sum"].shape == run.values[f"{unit}/sum"].shape


def test_images_of_another_shape_are_refused():
    with pytest.raises(InceptiveError, match=r"googlenet takes images \(N, 3, H, W\)"):
        Pass(NETS["googlenet"](num_classes=5), {}).forward(np.zeros((2, 1, 64, 64)))


def test_masks_are_drawn_from_the_seed_alone():
    net = NETS["googlenet"](num_classes=5)
    weights = {key: value.numpy() for key, value in drawn(net).state_dict().items()}
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 64))
    first, again, other = (Pass(net, weights, True, seed=seed) for seed in (3, 3, 4))
    for run in (first, again, other):
        run.forward(x)
    assert set(first.masks) == {"dropout", "aux_4a.dropout", "aux_4d.dropout"}
    for name, mask in first.masks.items():
        np.testing.assert_array_equal(mask, again.masks[name])
        assert (mask != other.masks[name]).any() and set(np.unique(mask)) == {0, 1}
    assert 0.6 < 1 - first.masks["aux_4a.dropout"].mean() < 0.8  # 0.7 of 2 x 1024 dropped


@pytest.mark.nets
@pytest.mark.parametrize(
    ("what", "wrong"),
    [
        ("max_pool_backward", lambda dy, x, *rest: np.zeros_like(x)),
        ("concat", lambda xs: np.concatenate(xs[::-1], 1)),
        ("dropout", lambda x, mask, drop: x * mask),
        ("lrn", lambda x, size, alpha, beta, k: x),
        ("conv_backward", lambda dy, x, w, *rest: (0 * x, 0 * w, dy.sum((0, 2, 3)))),
        ("targets", lambda labels, classes, smoothing=0.0: np.eye(classes)[labels]),
    ],
)
def test_a_planted_error_is_caught(what, wrong, monkeypatch):
    monkeypatch.setattr(layers, what, wrong)
    with pytest.raises(AssertionError):
        agree("googlenet", 64, training=True)
