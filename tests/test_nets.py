"""One contract for every net: the account, the torch reading and the value agree."""

import pytest
import torch

import inceptive
from inceptive.account import account, minimum_size, out_shape
from inceptive.errors import InceptiveError
from inceptive.nets import NETS, find
from inceptive.spec import Chain, Concat, Conv, MaxPool

EVERY_NET = pytest.mark.parametrize("name", NETS)


def images(net, size, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, net.channels, size, size, generator=generator)


@EVERY_NET
@pytest.mark.parametrize(("size", "channels"), [(224, 3), (97, 1)])
def test_the_account_has_the_shapes_of_the_torch_modules(name, size, channels):
    net = NETS[name](num_classes=7, channels=channels)
    model = inceptive.build(net).eval()
    seen = {}

    def remember(key):
        def hook(module, given, out):
            seen.setdefault(key, tuple(out.shape[1:]))

        return hook

    for key, module in model.named_modules():
        module.register_forward_hook(remember(key))
    with torch.inference_mode():
        model.endpoints(images(net, size, 1))
    made = account(net, size)
    lines = [*made.body, *(line for head in made.aux.values() for line in head)]
    assert len(lines) > 60
    for line in lines:
        shape = line.view.shape
        assert seen[line.name] in (shape, shape[:1]), line.name


@EVERY_NET
@pytest.mark.parametrize(("classes", "channels"), [(1000, 3), (5, 1)])
def test_the_account_has_the_parameters_of_the_torch_modules(name, classes, channels):
    net = NETS[name](num_classes=classes, channels=channels)
    model, made = inceptive.build(net), account(net)
    assert sum(p.numel() for p in model.parameters()) == made.params_with_aux
    bare = inceptive.build(net.without_aux())
    assert sum(p.numel() for p in bare.parameters()) == made.params
    for line in made.body:
        if line.formula:
            own = sum(p.numel() for p in model.get_submodule(line.name).parameters())
            assert own == line.params == eval(line.formula.replace("·", "*")), line.name


@EVERY_NET
def test_multiply_adds_are_half_of_the_flops_that_torch_counts(name):
    from torch.utils.flop_counter import FlopCounterMode

    net = NETS[name](num_classes=10)
    model = inceptive.build(net.without_aux()).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(images(net, 96, 1))
    assert counter.get_total_flops() == 2 * account(net, 96).macs


@EVERY_NET
def test_receptive_fields_are_where_the_gradient_reaches(name):
    """Ask autograd how many image pixels one position of a map depends on."""
    made = account(NETS[name](num_classes=3, channels=1), 224)
    model = inceptive.build(made.net).double().eval()
    for part in ("conv1", "pool1", "inception_3a", "inception_3b"):
        image = images(made.net, 224, 1).double().requires_grad_()
        with torch.no_grad():
            for p in model.parameters():
                p.uniform_(0.01, 0.02)  # no weight cancels another, no ReLU is off
        _average_pools(model)
        found = model.endpoints(image, [part])[part]
        middle = found.shape[-1] // 2
        found[0, :, middle, middle].sum().backward()
        rows = image.grad[0, 0].abs().sum(1).nonzero()
        field = {line.name: line.view.field for line in made.body}[part]
        assert int(rows.max() - rows.min()) + 1 == field, part


def _average_pools(model):
    """A maximum has one source; an average shows the whole window."""
    for module in list(model.modules()):
        for key, child in list(module.named_children()):
            if isinstance(child, torch.nn.MaxPool2d):
                setattr(
                    module,
                    key,
                    torch.nn.AvgPool2d(
                        child.kernel_size, child.stride, child.padding, child.ceil_mode
                    ),
                )


@EVERY_NET
def test_every_parameter_gets_a_gradient(name):
    net = NETS[name](num_classes=4)
    model = inceptive.build(net)
    found = model.endpoints(images(net, 64), ["fc", *net.heads()])
    sum(logits.square().sum() for logits in found.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@EVERY_NET
def test_forward_gives_one_tensor_of_logits_in_every_mode(name):
    net = NETS[name](num_classes=6, channels=1)
    model = inceptive.build(net)
    for mode in (True, False):
        logits = model.train(mode)(images(net, 64))
        assert isinstance(logits, torch.Tensor) and logits.shape == (2, 6)


@EVERY_NET
def test_one_image_gets_the_same_logits_alone_and_in_a_batch(name):
    net = NETS[name](num_classes=5)
    model = inceptive.build(net).double().eval()
    both = images(net, 64).double()
    with torch.inference_mode():
        torch.testing.assert_close(model(both)[:1], model(both[:1]), rtol=1e-9, atol=1e-12)


@EVERY_NET
def test_channels_last_gives_the_same_logits_and_head_logits(name):
    net = NETS[name](num_classes=5)
    model = inceptive.build(net).double().eval()
    x = images(net, 96).double()
    with torch.inference_mode():
        plain = model.endpoints(x)
        last = model.to(memory_format=torch.channels_last).endpoints(
            x.contiguous(memory_format=torch.channels_last)
        )
    for key in ("fc", "aux_4a", "aux_4d"):
        torch.testing.assert_close(last[key], plain[key], rtol=1e-9, atol=1e-12)


@EVERY_NET
def test_it_works_down_to_its_least_size_and_not_below(name):
    net = NETS[name](num_classes=3)
    least = minimum_size(net)
    model = inceptive.build(net).eval()
    with torch.inference_mode():
        for size in (least, least + 1, 111):
            found = model.endpoints(images(net, size))
            assert {found[key].shape for key in ("fc", "aux_4a", "aux_4d")} == {(2, 3)}
        with pytest.raises(RuntimeError):
            model(images(net, least - 1))
    with pytest.raises(InceptiveError, match=f"the least size is {least}"):
        account(net, least - 1)


@EVERY_NET
def test_fresh_weights_keep_images_apart(name):
    """With torch's own default weights the logits of different images agree to 1e-7 (no batch norm)."""
    torch.manual_seed(0)
    net = NETS[name](num_classes=10)
    model = inceptive.build(net).eval()
    with torch.inference_mode():
        features = model.endpoints(images(net, 96, 8), ["pool5"])["pool5"].flatten(1)
    spread = (features.std(0) / features.abs().mean()).mean()
    assert spread > 0.02


def test_the_default_weights_of_torch_would_let_the_signal_die():
    torch.manual_seed(0)
    net = NETS["googlenet"](num_classes=10)
    model = inceptive.build(net).eval()
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    with torch.inference_mode():
        logits = model(images(net, 96, 8))
    assert logits.std(0).max() < 1e-5


@EVERY_NET
def test_the_loss_starts_near_that_of_guessing(name):
    torch.manual_seed(0)
    net = NETS[name](num_classes=10)
    model = inceptive.build(net)
    labels = torch.arange(8) % 10
    with torch.no_grad():
        logits = model(images(net, 96, 8) * 2 - 1)
    assert 1.6 < torch.nn.functional.cross_entropy(logits, labels).item() < 3.6  # ln 10 = 2.30


def test_endpoints_can_be_named_and_unknown_ones_are_refused():
    net = NETS["googlenet"](num_classes=3)
    model = inceptive.build(net).eval()
    found = model.endpoints(images(net, 64), ["inception_3a", "aux_4a"])
    assert list(found) == ["inception_3a", "aux_4a"]
    assert found["inception_3a"].shape == (2, 256, 8, 8)
    with pytest.raises(InceptiveError, match=r"no endpoint inception_9z; there are: conv1, "):
        model.endpoints(images(net, 64), ["inception_9z"])


def test_images_of_the_wrong_shape_are_refused_in_words():
    model = inceptive.build(NETS["googlenet"](num_classes=3))
    with pytest.raises(InceptiveError, match=r"takes images \(N, 3, H, W\), not \(2, 1, 64, 64\)"):
        model(torch.zeros(2, 1, 64, 64))


def test_an_unknown_net_is_refused_with_those_there_are():
    with pytest.raises(InceptiveError, match=r"no net is called 'vgg'; there are: googlenet, "):
        find("vgg")


def test_nets_are_values():
    assert NETS["googlenet"](num_classes=10) == NETS["googlenet"](num_classes=10)
    assert NETS["googlenet"](num_classes=10) != NETS["googlenet"](num_classes=11)
    assert len({NETS[name]() for name in NETS}) == len(NETS)
    with pytest.raises(AttributeError):
        NETS["googlenet"]().num_classes = 3


def test_branches_of_different_sizes_cannot_be_joined():
    uneven = Concat(a=MaxPool(3, stride=2, pad="valid"), b=Conv(8, 1))
    with pytest.raises(InceptiveError, match="branches of different sizes"):
        out_shape(Chain(uneven=uneven), (4, 9, 9))
