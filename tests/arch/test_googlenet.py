"""What only GoogLeNet's paper and its variants say: published counts, shapes, departures."""

import copy

import pytest
import torch
from torch.nn import functional as F

import inceptive
from inceptive.arch.account import account, modules
from inceptive.arch.nets import NETS

# Counted from Caffe's bvlc_googlenet and torchvision 0.28 (see docs/log.md); multiply-adds at 224.
COUNTS = {
    "googlenet": (6_998_552, 13_378_280, 1.5827e9),
    "googlenet.bn": (7_005_832, 13_385_816, 1.5827e9),
    "googlenet.torchvision": (6_624_904, 13_004_888, 1.4984e9),
}

# Caffe's bvlc_googlenet, weights and biases of each module.
MODULES = {
    "conv1": (9_472, (64, 112, 112)),
    "conv2_reduce": (4_160, (64, 56, 56)),
    "conv2": (110_784, (192, 56, 56)),
    "inception_3a": (163_696, (256, 28, 28)),
    "inception_3b": (388_736, (480, 28, 28)),
    "inception_4a": (376_176, (512, 14, 14)),
    "inception_4b": (449_160, (512, 14, 14)),
    "inception_4c": (510_104, (512, 14, 14)),
    "inception_4d": (605_376, (528, 14, 14)),
    "inception_4e": (868_352, (832, 14, 14)),
    "inception_5a": (1_043_456, (832, 7, 7)),
    "inception_5b": (1_444_080, (1024, 7, 7)),
    "fc": (1_025_000, (1000, 1, 1)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts_come_out(name):
    counted = account(NETS[name]())
    params, with_aux, macs = COUNTS[name]
    assert (counted.params, counted.params_with_aux) == (params, with_aux)
    assert counted.macs == pytest.approx(macs, abs=0.5e5)


def test_each_module_has_the_parameters_and_shape_of_the_paper():
    lines_by_module = dict(modules(account(NETS["googlenet"]()).body))
    for name, (params, shape) in MODULES.items():
        assert sum(line.params for line in lines_by_module[name]) == params
        assert lines_by_module[name][-1].view.shape == shape


def test_it_has_57_convolutions():
    model = inceptive.build(NETS["googlenet"]().without_aux())
    assert sum(isinstance(m, torch.nn.Conv2d) for m in model.modules()) == 57


def test_local_response_normalisation_is_caffes():
    """Caffe: x / (1 + alpha / n * sum over n channels of x^2)^beta, n 5, alpha 1e-4, beta 0.75."""
    x = torch.randn(2, 7, 3, 3, dtype=torch.float64) * 50
    expected = torch.empty_like(x)
    for c in range(7):
        window = x[:, max(0, c - 2) : c + 3].square().sum(1)
        expected[:, c] = x[:, c] / (1 + 1e-4 / 5 * window) ** 0.75
    model = inceptive.build(NETS["googlenet"](num_classes=2))
    torch.testing.assert_close(model.norm1(x), expected)


def test_pools_hang_over_the_far_border_as_caffes_do():
    """112 -> 56 with windows of 3 at 0, 2, 4 ...: the last one has two columns; no padding in front."""
    x = torch.arange(112.0).repeat(1, 1, 112, 1)
    pooled = inceptive.build(NETS["googlenet"](num_classes=2)).pool1(x)
    assert pooled[0, 0, 0].tolist() == [min(2 * k + 2, 111) for k in range(56)]


def test_heads_average_windows_of_5_at_every_third_position_at_224():
    x = torch.randn(1, 512, 14, 14)
    model = inceptive.build(NETS["googlenet"](num_classes=2))
    pooled = model.aux_4a.pool(x)
    assert pooled.shape == (1, 512, 4, 4)
    torch.testing.assert_close(pooled[0, :, 1, 2], x[0, :, 3:8, 6:11].mean((1, 2)))
    other = inceptive.build(NETS["googlenet.torchvision"](num_classes=2)).aux_4a.pool(x)
    torch.testing.assert_close(other[0, :, 1, 2], x[0, :, 3:7, 7:11].mean((1, 2)))


@pytest.fixture(scope="module")
def theirs():
    """torchvision 0.28's own GoogLeNet with random weights and random running statistics."""
    from importlib.util import find_spec

    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", boxes)
    from torchvision.models.googlenet import GoogLeNet

    torch.manual_seed(3)
    model = GoogLeNet(num_classes=11, aux_logits=True, init_weights=False)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif key.endswith(("running_mean", "bn.bias")):
                tensor.normal_(0, 0.2, generator=generator)
            elif key.endswith("bn.weight"):
                tensor.uniform_(0.5, 1.5, generator=generator)
    return model


def their_key(ours):
    """The key that torchvision's state dict has for one of ours; fails if none is known."""
    branches = {
        "b1x1": "branch1", "b3x3.reduce": "branch2.0", "b3x3.conv": "branch2.1",
        "b5x5.reduce": "branch3.0", "b5x5.conv": "branch3.1", "pool.proj": "branch4.1",
    }  # fmt: skip
    layer, _, tensor = ours.rpartition(".")
    unit, inner = (layer[:-3], "bn") if layer.endswith(".bn") else (layer, "conv")
    top, _, rest = unit.partition(".")
    if top.startswith("inception_"):
        return f"inception{top[-2:]}.{branches[rest]}.{inner}.{tensor}"
    if top in ("aux_4a", "aux_4d"):
        head = {"aux_4a": "aux1", "aux_4d": "aux2"}[top]
        return f"{head}.conv.{inner}.{tensor}" if rest == "conv" else f"{head}.{rest}.{tensor}"
    if top == "fc":
        return f"fc.{tensor}"
    return (
        f"{ {'conv1': 'conv1', 'conv2_reduce': 'conv2', 'conv2': 'conv3'}[top] }.{inner}.{tensor}"
    )


@pytest.fixture(scope="module")
def ours(theirs):
    """Our googlenet.torchvision with their weights, copied through the key table, all of them."""
    model = inceptive.build(NETS["googlenet.torchvision"](num_classes=11))
    state = theirs.state_dict()
    table = {key: their_key(key) for key in model.state_dict()}
    assert sorted(table.values()) == sorted(state)
    model.load_state_dict({key: state[table[key]] for key in table})
    return model


@pytest.mark.parametrize("size", [224, 96])
def test_logits_are_torchvisions(theirs, ours, size):
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        expected, actual = theirs.eval()(x), ours.eval()(x)
    assert expected.std() > 1e-3
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.train()


def test_logits_of_the_heads_and_gradients_are_torchvisions_while_training(theirs, ours):
    # In float64: in training ours computes 1x1 convolutions together, so the last digits differ.
    theirs, ours = (without_dropout(copy.deepcopy(model).double()) for model in (theirs, ours))
    x = torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(6)).double()
    labels = torch.tensor([0, 3, 5, 10])
    expected = theirs(x)
    endpoints = ours.endpoints(x, ["fc", "aux_4a", "aux_4d"])
    pairs = [(endpoints["fc"], expected.logits), (endpoints["aux_4a"], expected.aux_logits1),
             (endpoints["aux_4d"], expected.aux_logits2)]  # fmt: skip
    for mine, their in pairs:
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-10)
    for side in (0, 1):
        losses = [F.cross_entropy(pair[side], labels) for pair in pairs]
        (losses[0] + 0.3 * (losses[1] + losses[2])).backward()
    gradients = dict(theirs.named_parameters())
    for key, parameter in ours.named_parameters():
        their = gradients[their_key(key)].grad
        assert their.norm() > 0
        assert (parameter.grad - their).norm() <= 1e-8 * their.norm(), key


def test_the_true_5x5_variant_is_not_torchvisions_net():
    """Their weights do not even fit: 5 x 5 where they have 3 x 3."""
    paper = inceptive.build(NETS["googlenet.bn"](num_classes=11))
    assert paper.state_dict()["inception_3a.b5x5.conv.weight"].shape[2:] == (5, 5)
    theirs = inceptive.build(NETS["googlenet.torchvision"](num_classes=11))
    assert theirs.state_dict()["inception_3a.b5x5.conv.weight"].shape[2:] == (3, 3)
