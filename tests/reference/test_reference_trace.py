"""One value taken apart in the NumPy reference, beside what torch computes and differentiates."""

import numpy as np
import pytest
import torch
from test_reference_net import drawn
from torch.nn import functional as F

from inceptive.arch.nets import NETS
from inceptive.arch.spec import (
    Add,
    AvgPool,
    Chain,
    Concat,
    Conv,
    Linear,
    MaxPool,
    Multiply,
    Separable,
)
from inceptive.errors import InceptiveError
from inceptive.reference.trace import find, trace

EXACT = 1e-9
QUICK = ("googlenet.bn", "bn_inception")
LAYERS = {
    ("googlenet", 96): [
        "conv1", "pool1", "norm1", "norm2", "inception_3a", "inception_3a.b1x1",
        "inception_3a.b5x5.conv", "inception_3b.pool.pool", "inception_4e", "pool5", "dropout", "fc",
        "aux_4a.pool", "aux_4a.fc1", "aux_4d.fc2",
    ],
    ("googlenet.bn", 64): ["inception_3a.b3x3.conv", "aux_4d.conv"],
    ("googlenet.slim", 64): ["conv1", "pool1", "inception_4a.b5x5.conv"],
    ("bn_inception", 64): ["conv1", "inception_3a.pool.pool", "inception_4e"],
    ("bn_inception.cadene", 64): ["conv1", "inception_3a.pool.pool"],
    ("inception_v3", 107): ["mixed_6b.b7x7.conv1", "mixed_5b.pool.pool", "mixed_7b"],
    ("inception_resnet_v1.facenet", 96): None,
    ("xception.keras", 71): ["block1", "block1.branch.sep1", "block1.branch.relu2", "conv3"],
    ("hadamard_inception", 64): None,
    ("alexnet", 80): ["conv1", "fc6"],
}  # fmt: skip


def watched(name, size):
    """A drawn model in float64, the input and output of every layer kept, and an image."""
    net = NETS[name](num_classes=5)
    model = drawn(net).eval()
    outputs = {}

    def keep(layer):
        def hook(module, inputs, out):
            copied = out.clone()  # what follows may work in place
            copied.retain_grad()
            outputs[layer] = inputs[0], copied
            return copied

        return hook

    names = {name for name, _, _ in net.nodes()}
    for layer, module in model.named_modules():
        if (layer and not isinstance(module, torch.nn.ModuleDict)) or layer in names:
            module.register_forward_hook(keep(layer))
    image = np.random.default_rng(1).normal(size=(net.channels, size, size))
    return net, model, outputs, image


def one_of_each_kind(net):
    """The first layer of every kind in the net, and the last."""
    first = {}
    for layer, node, _ in net.nodes():
        if not isinstance(node, Chain):
            first.setdefault((type(node), getattr(node, "relu", None)), layer)
    return list(first.values())


def close(actual, expected, scale=0.0):
    """Equal to 1e-9 of the greatest of the entries, or of `scale`."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= EXACT * max(np.abs(expected).max(), scale, 1e-30)


def windows_agree(stage, x, y, weights, whole):
    """Each window, its value's share in dL/dx and dL/dw, and the gradients whole, are torch's.

    x and y are the stage's input and output in the graph, whole the gradient of the loss by tensor.
    """
    at = (0, stage.channel, *(stage.at or ()))
    close(stage.value, y[at].item())
    close(stage.gradient, whole[y][at].item(), float(whole[y].abs().max()))
    keys = [entries.key for entries in stage.entries if entries.key]
    leaves = [x, *(weights[key] for key in dict.fromkeys(keys))]
    shares = torch.autograd.grad(y[at], leaves, retain_graph=True, allow_unused=True)
    share = {
        id(leaf): gradient * whole[y][at] for leaf, gradient in zip(leaves, shares, strict=True)
    }
    for entries in stage.entries:
        if entries.key.endswith("depthwise.weight"):
            kernel = share[id(weights[entries.key])][stage.channel, 0].numpy()
            close(entries.dw, kernel, float(np.abs(kernel).max()))
        for p, q in np.ndindex(entries.x.shape):
            row, column = entries.row + p, entries.column + q
            if not entries.inside[p, q]:
                assert row < 0 or column < 0 or row >= x.shape[2] or column >= x.shape[3]
                assert np.isnan(entries.dx_all[p, q])
                continue
            spot = (0, entries.channel) if x.ndim == 2 else (0, entries.channel, row, column)
            close(entries.x[p, q], x[spot].item())
            close(entries.dx[p, q], share[id(x)][spot].item(), float(share[id(x)].abs().max()))
            close(entries.dx_all[p, q], whole[x][spot].item(), float(whole[x].abs().max()))


def check(name, layer, net, model, outputs, image):
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    traced = trace(net, weights, image, layer)
    images = torch.from_numpy(image)[None].requires_grad_()
    outputs.clear()
    ends = model.endpoints(images, [traced.logits_of])[traced.logits_of]
    if traced.layer not in outputs:
        model.endpoints(images)
    assert traced.label == int(ends.argmax())
    loss = F.cross_entropy(ends, torch.tensor([traced.label]))
    close(traced.loss, loss.item())
    close(traced.prob, ends.softmax(1)[0, traced.label].item())
    layer_input, y = outputs[traced.layer]
    named = dict(model.named_parameters())
    read = {id(layer_input): layer_input, id(y): y}
    for entries in traced.stages[-1].entries:
        if entries.of in outputs:
            read[id(outputs[entries.of][1])] = outputs[entries.of][1]
    if isinstance(traced.node, Separable):
        middle = outputs[f"{layer}.depthwise"][1]
        read[id(middle)] = middle
    tensors = list(read.values())
    grads = torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True)
    whole = {
        tensor: torch.zeros_like(tensor) if grad is None else grad
        for tensor, grad in zip(tensors, grads, strict=True)
    }
    if isinstance(traced.node, Separable):
        windows_agree(traced.stages[0], layer_input, middle, named, whole)
        windows_agree(traced.stages[1], middle, y, named, whole)
    elif isinstance(traced.node, Concat | Multiply | Add):
        at = (0, traced.channel, *traced.at)
        close(traced.value, y[at].item())
        for entries in traced.stages[0].entries:
            x = outputs[entries.of][1] if entries.of in outputs else layer_input
            spot = (0, entries.channel, entries.row, entries.column)
            close(entries.x[0, 0], x[spot].item())
            close(entries.dx_all[0, 0], whole[x][spot].item(), float(whole[x].abs().max()))
            if x is not layer_input:  # which comes here by every branch, and not only directly
                (share,) = torch.autograd.grad(y[at], x, retain_graph=True)
                close(
                    entries.dx[0, 0],
                    share[spot].item() * traced.gradient,
                    float(whole[x].abs().max()),
                )
            else:
                assert entries.dx == traced.stages[0].steps[0].gradient
    else:
        windows_agree(traced.stages[0], layer_input, y, named, whole)
    for stage in traced.stages:
        adds_up(stage, traced.node)
        parameters_agree(stage, loss, y, named, traced)
    return traced


def adds_up(stage, node):
    """The entries, the others and every step give the printed value."""
    total = sum(entries.gives for entries in stage.entries) + stage.others_give
    for step in stage.steps:
        for name in {"products", "exponentials"} & set(step.operands):
            close(step.operands[name], total, 1.0)
        formula = (
            step.formula.replace("·", "*").replace("^", "**").replace("{", "").replace("}", "")
        )
        functions = {"max": max, "sqrt": np.sqrt, "exp": np.exp}
        close(eval(formula, functions, dict(step.operands)), step.value, 1e-3)
    for entries in stage.entries:
        if entries.weight is not None:
            close(float((entries.x * entries.weight).sum()), entries.gives, 1e-3)
        if entries.chosen is not None:
            assert (
                entries.x[entries.chosen[0] - entries.row, entries.chosen[1] - entries.column]
                == entries.x.max()
            )


def parameters_agree(stage, loss, y, named, traced):
    """Biases, gammas and betas: this value's share in their gradient, and the whole of it."""
    keys = [entries.key for entries in stage.weights] + [
        entries.key for entries in stage.entries if entries.key
    ]
    for key in dict.fromkeys(keys):
        (whole,) = torch.autograd.grad(loss, [named[key]], retain_graph=True)
        scale = float(whole.abs().max())
        at = (0, traced.channel, *(traced.at or ()))
        (share,) = torch.autograd.grad(y[at], [named[key]], retain_graph=True)
        share = share * traced.gradient
        for weight in stage.weights:
            if weight.key == key:
                close(weight.value, named[key][weight.index].item())
                close(weight.gradient, share[weight.index].item(), scale)
                close(weight.gradient_all, whole[weight.index].item(), scale)
        for entries in stage.entries:
            if entries.key != key:
                continue
            kernel = named[key]
            if kernel.ndim == 2:
                flat = kernel[stage.channel] == torch.tensor(float(entries.weight[0, 0]))
                (c,) = flat.nonzero()[0].tolist()
                spot = (stage.channel, c)
            else:
                spot = (stage.channel, 0 if kernel.shape[1] == 1 else entries.channel)
            close(np.squeeze(entries.weight), kernel[spot].detach().numpy().squeeze())
            close(np.squeeze(entries.dw_all), whole[spot].numpy().squeeze(), scale)
            if not key.endswith("depthwise.weight"):  # whose value is a map's, not the layer's
                close(np.squeeze(entries.dw), share[spot].numpy().squeeze(), scale)


@pytest.mark.parametrize("name,size", [
    pytest.param(*case, marks=pytest.mark.nets) if case[0] not in QUICK else case for case in LAYERS
], ids=lambda case: str(case))  # fmt: skip
def test_a_trace_is_what_torch_computes_and_differentiates(name, size):
    net, model, outputs, image = watched(name, size)
    for layer in LAYERS[name, size] or one_of_each_kind(net):
        traced = check(name, layer, net, model, outputs, image)
        assert traced.shape == tuple(outputs[traced.layer][1].shape[1:])


def of_googlenet(size=64, seed=0):
    net = NETS["googlenet"](num_classes=5)
    weights = {key: value.numpy() for key, value in drawn(net, seed).state_dict().items()}
    return net, weights, np.random.default_rng(seed).normal(size=(3, size, size))


def test_channel_position_and_class_are_those_asked_for():
    net, weights, image = of_googlenet()
    unit = "inception_3a.b3x3.conv"
    free = trace(net, weights, image, unit)
    assert free.answered and free.shape == (128, 8, 8)
    chosen = trace(net, weights, image, unit, channel=3, at=(7, 0), label=2)
    assert (chosen.channel, chosen.at, chosen.label, chosen.answered) == (3, (7, 0), 2, False)
    assert free.value >= trace(net, weights, image, unit, channel=3).value >= chosen.value
    assert free.value >= trace(net, weights, image, unit, at=(7, 0)).value >= chosen.value
    assert -np.log(chosen.prob) == pytest.approx(chosen.loss)


@pytest.mark.parametrize("asked", [{}, {"label": 2}, {"label": 2, "channel": 2}, {"channel": 4}])
def test_the_softmax_behind_the_logits_is_a_layer_too(asked):
    net, weights, image = of_googlenet(32)
    traced = trace(net, weights, image, "softmax", **asked)
    logits = [
        entries.x.item() for entries in traced.stages[0].entries
    ]  # all five, the traced one first
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    channels = [entries.channel for entries in traced.stages[0].entries]
    assert sorted(channels) == [0, 1, 2, 3, 4] and channels[0] == traced.channel
    p = z.softmax(0)
    p.retain_grad()
    (-p[channels.index(traced.label)].log()).backward(retain_graph=True)
    close(traced.value, p[0].item())
    back = p.grad[0].item()
    close(traced.gradient, back)
    (alone,) = torch.autograd.grad(p[0], z)
    for k, entries in enumerate(traced.stages[0].entries):
        assert entries.of == "fc"
        close(entries.dx_all.item(), z.grad[k].item(), 1.0)
        close(entries.dx.item(), alone[k].item() * back, 1.0)
    adds_up(traced.stages[0], traced.node)
    e = (z.detach() - z.detach().max()).exp().requires_grad_()
    (e[0] / e.sum()).backward()
    close(traced.stages[0].steps[0].gradient, e.grad[0].item() * back, 1.0)
    assert (traced.layer, traced.reads, traced.shape) == ("softmax", "fc", (5,))


def test_a_chain_stands_for_its_last_part():
    net, weights, image = of_googlenet()
    traced = trace(net, weights, image, "inception_3a.b3x3")
    assert (traced.layer, traced.chain) == ("inception_3a.b3x3.conv", "inception_3a.b3x3")


@pytest.mark.parametrize(("words", "message"), [
    ({"layer": "inception_3a.b3x3.cov"}, "near it: inception_3a.b3x3.conv"),
    ({"layer": "b5x5"}, "near it: inception_3a.b5x5"),
    ({"layer": "conv1", "channel": 64}, "conv1 has channels 0 to 63, not 64"),
    ({"layer": "conv1", "at": (0, 32)}, "columns 0 to 31, not 0,32"),
    ({"layer": "fc", "at": (0, 0)}, "without rows and columns"),
    ({"layer": "fc", "label": 5}, "has classes 0 to 4, not 5"),
])  # fmt: skip
def test_what_there_is_not_is_refused(words, message):
    net, weights, image = of_googlenet()
    with pytest.raises(InceptiveError, match=message.replace("(", r"\(")):
        trace(net, weights, image, **words)


def test_an_empty_chain_has_nothing_to_trace():
    with pytest.raises(InceptiveError, match="passes its input on"):
        find(NETS["hadamard_inception"](), "inception_3a.attend.features")


def test_every_layer_that_has_weights_can_be_named():
    for make in NETS.values():
        net = make(num_classes=5)
        nodes = {name: (node, reads) for name, node, reads in net.nodes()}
        assert set(net.heads()) <= set(nodes)
        for node, reads in nodes.values():
            assert reads == "images" or reads in nodes
            assert node is not None
    kinds = {type(node) for make in NETS.values() for _, node, _ in make().nodes()}
    assert {Conv, Linear, Separable, MaxPool, AvgPool, Concat, Add, Multiply} <= kinds
