"""Activation checkpointing: the same bits in half of the memory."""

import copy

import pytest
import torch

import inceptive
from inceptive.arch.account import minimum_size
from inceptive.arch.memory import blocks, memory

QUICK = ["googlenet", "googlenet.bn", "hadamard_inception"]
SLOWER = ["bn_inception", "inception_v3", "inception_resnet_v1", "xception"]
NAMES = [*QUICK, *(pytest.param(name, marks=pytest.mark.nets) for name in SLOWER)]


def model_of(name, classes=3, aux=False):
    net = inceptive.NETS[name](num_classes=classes)
    torch.manual_seed(0)
    return inceptive.build(net if aux else net.without_aux()).train()


def step(model, images):
    """Every head's logits, gradients and buffers after two steps; what is dropped is drawn alike."""
    heads = [model.net.last, *model.net.heads()]
    for _ in range(2):
        torch.manual_seed(1)
        model.zero_grad()
        outputs = model.endpoints(images, heads)
        torch.stack([outputs[head].square().sum() for head in heads]).sum().backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {head: outputs[head].detach() for head in heads} | grads | dict(model.named_buffers())


@pytest.mark.parametrize("name", NAMES)
def test_logits_gradients_and_statistics_are_the_same_bits(name):
    model = model_of(name, aux=True)
    other = copy.deepcopy(model)
    other.checkpointing = True
    side = max(64, minimum_size(model.net))
    images = torch.rand(2, 3, side, side)
    ours, others = step(model, images), step(other, images)
    assert ours.keys() == others.keys() and len(ours) > 50
    for key, value in ours.items():
        assert torch.equal(value, others[key]), key


@pytest.mark.nets
def test_in_bfloat16_too():
    model = model_of("googlenet.bn")
    other = copy.deepcopy(model)
    other.checkpointing = True
    images = torch.rand(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        ours, others = step(model, images), step(other, images)
    assert all(torch.equal(value, others[key]) for key, value in ours.items())


def test_in_evaluation_nothing_changes():
    model = model_of("googlenet.bn").eval()
    images = torch.rand(2, 3, 64, 64)
    logits = model(images)
    model.checkpointing = True
    assert torch.equal(model(images), logits)
    assert model.features(images).shape == (2, 1024)


def test_blocks_end_where_somebody_looks():
    net = inceptive.NETS["googlenet"]()
    parts = [name for name, _ in net.body]
    assert [name for block in blocks(net) for name in block] == parts
    assert max(map(len, blocks(net))) == 3
    head = next(iter(net.heads()))
    at = net.heads()[head][0]
    assert at in {block[-1] for block in blocks(net, (head,))}
    assert "conv1" in {block[-1] for block in blocks(net, ("conv1",))}
    assert next(block[0] for block in blocks(net, after=at)) == parts[parts.index(at) + 1]


def held(model, images, whole):
    """Bytes that torch holds after a forward pass beside the model; with `whole`, at most in a step."""
    from torch.distributed._tools.mem_tracker import MemTracker  # two seconds

    tracker = MemTracker()
    tracker.track_external(model, images)
    with tracker:
        loss = model(images).sum()
        after = tracker.get_tracker_snapshot("current")[torch.device("cpu")]["Total"]
        loss.backward()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    weights = sum(parameter.nbytes for parameter in model.parameters())
    largest = max(parameter.nbytes for parameter in model.parameters())
    # After a first step each weight has its gradient, and the largest one is computed beside its own.
    return peak - 2 * weights - largest if whole else after - 2 * weights


@pytest.mark.filterwarnings("ignore:Module is None")
@pytest.mark.nets
@pytest.mark.parametrize("name", ["googlenet.bn", "googlenet", "hadamard_inception", *SLOWER])
def test_the_account_predicts_what_is_held_within_a_tenth(name):
    model = model_of(name)
    side = max(128, minimum_size(model.net))
    images = torch.rand(4, 3, side, side)
    model(images).sum().backward()
    whole = 4 * 4 * memory(model.net, side).training
    assert held(model, images, whole=False) == pytest.approx(whole, rel=0.1)
    model.checkpointing = True
    less = 4 * 4 * memory(model.net, side, checkpointing=True).training
    assert held(model, images, whole=True) == pytest.approx(less, rel=0.1)
    assert less < 0.72 * whole
