"""One contract for every net: the account, the torch reading and the value agree."""

from functools import cache

import pytest
import torch

import inceptive
from inceptive.arch.account import account, minimum_size, out_shape
from inceptive.arch.nets import NETS, open_net
from inceptive.arch.spec import Chain, Concat, Conv, Linear, MaxPool
from inceptive.errors import InceptiveError

ALIKE = (
    "googlenet.torchvision",
    "googlenet.slim",
    "googlenet.inception5h",
    "bn_inception.cadene",
    "inception_v2",
    "inception_v3.",
    "inception_v4",
    "inception_resnet_v2",
    "xception.",
    "inception_resnet_v1.",
)
"""How the names of those begin that are much like another one."""


def costly_apart(names):
    """Parameters of a test, those of ALIKE in the second tier."""
    return [
        pytest.param(name, marks=pytest.mark.nets) if name.startswith(ALIKE) else name
        for name in names
    ]


EVERY_NET = pytest.mark.parametrize("name", NETS)
EVERY_FAMILY = pytest.mark.parametrize("name", costly_apart(NETS))
# name: parameters for 1000 classes, with heads, multiply-adds at the net's own size, depth
COUNTS = {
    "googlenet": (6_998_552, 13_378_280, 1.5827, 22),
    "googlenet.bn": (7_005_832, None, 1.5827, 22),
    "googlenet.torchvision": (6_624_904, 13_004_888, 1.4984, 22),
    "googlenet.slim": (6_617_624, 6_617_624, 1.4984, 22),
    "googlenet.inception5h": (7_066_380 - 8 * 1025, None, None, 22),  # published for 1008
    "bn_inception": (11_278_528, 11_278_528, 1.9486, 34),
    "bn_inception.cadene": (11_295_240, 11_295_240, 2.0326, 34),
    "inception_v2.slim": (11_188_224, 11_188_224, 1.9349, 34),
    "inception_v3": (23_834_568, 27_161_264, 5.7132, 48),
    "inception_v3.slim": (23_817_352, None, 5.7132, 48),
    "inception_v3.keras": (23_817_352, 23_817_352, 5.7132, 48),
    "inception_v3.torchvision": (23_834_568, 27_161_264, 5.7132, 48),
    "inception_v3.fid": (23_834_568, 23_834_568, 5.7132, 48),
    "inception_v4": (42_679_816, 42_679_816, 12.2540, 76),
    "inception_v4.slim": (42_679_816 - 31_584, None, 12.2540, 76),  # no gamma
    "inception_resnet_v1": (22_756_328, 22_756_328, 6.2064, 93),
    "inception_resnet_v1.facenet": (23_995_624, 23_995_624, 1.4177 + 0.0005, 98),  # with fc
    "inception_resnet_v2": (55_843_464, 55_843_464, 13.1558, 176),
    "inception_resnet_v2.slim": (55_843_464 - 30_272, None, 13.1558, 176),  # no gamma
    "inception_resnet_v2.keras": (55_843_464 - 30_272, None, 13.1558, 176),
    "inception_resnet_v2.paper": (32_433_928, 32_433_928, 9.2580, 96),
    "xception": (22_855_952, 22_855_952, 8.3574, 37),
    "xception.keras": (22_855_952, 22_855_952, 8.3574, 37),
    "inception_small": (1_649_402 + 990 * 337, 1_649_402 + 990 * 337, 0.2045, 12),  # for 10 classes
    "alexnet": (61_100_840, 61_100_840, 0.714, 8),
    "vgg16": (138_357_544, 138_357_544, 15.470, 16),
}


def images(net, size, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, net.channels, size, size, generator=generator)


@cache
def on_meta(net):
    with torch.device("meta"):
        return inceptive.build(net)


def shapes_only(net):
    """The model of `net` and images for it that have shapes but no values: they cost little."""
    model = on_meta(net)

    def blank(size, count=2):
        return torch.empty(count, net.channels, size, size, device="meta")

    return model, blank


def small(net):
    """A size that every stage takes, small enough to compute at; heads off their own size too."""
    return min(net.image_size, 96 if minimum_size(net) > 64 else 64)


def a_little(net):
    """Pixels to another size: 32, fewer where the net's own images are small."""
    return min(32, net.image_size // 5)


@pytest.fixture(
    scope="module", params=costly_apart(n for n in NETS if n not in ("alexnet", "vgg16"))
)
def alive(request):
    """A net of the family with fresh weights, 5 classes: one for all tests that compute."""
    torch.manual_seed(0)
    return inceptive.build(NETS[request.param](num_classes=5))


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_of_the_sources(name):
    params, with_heads, giga, depth = COUNTS[name]
    counted = account(NETS[name]())
    assert counted.params == params
    assert with_heads in (None, counted.params_with_aux)
    assert giga is None or abs(counted.macs / 1e9 - giga) < 6e-4 * max(1, giga / 10)
    assert counted.depth == depth


def test_no_net_is_without_a_source_for_its_counts():
    ours = {"inception_v3.nsfwjs", "inception_small.pooled", "hadamard_inception"}
    assert set(NETS) - set(COUNTS) <= ours


@EVERY_FAMILY
@pytest.mark.parametrize(
    ("other", "channels"), [(False, 3), pytest.param(True, 1, marks=pytest.mark.nets)]
)
def test_the_account_has_the_shapes_of_the_torch_modules(name, other, channels):
    net = NETS[name](num_classes=7, channels=channels)
    size = net.image_size - other * a_little(net)
    model, blank = shapes_only(net)
    model.eval()
    shapes = {}

    def remember(key):
        def hook(module, inputs, out):
            shapes.setdefault(key, tuple(out.shape[1:]))

        return hook

    hooks = [module.register_forward_hook(remember(key)) for key, module in model.named_modules()]
    model.endpoints(blank(size, 1))
    for hook in hooks:
        hook.remove()
    counted = account(net, size)
    lines = [*counted.body, *(line for head in counted.aux.values() for line in head)]
    assert len(lines) > 10
    for line in lines:
        shape = line.view.shape
        assert shapes[line.name] in (shape, shape[:1]), line.name


@EVERY_FAMILY
@pytest.mark.parametrize(("classes", "channels"), [(1000, 3), (7, 1)])
def test_the_account_has_the_parameters_of_the_torch_modules(name, classes, channels):
    net = NETS[name](num_classes=classes, channels=channels)
    model, counted = shapes_only(net)[0], account(net)
    assert sum(p.numel() for p in model.parameters()) == counted.params_with_aux
    bare = shapes_only(net.without_aux())[0]
    assert sum(p.numel() for p in bare.parameters()) == counted.params
    for line in counted.body:
        if line.formula:
            own = sum(p.numel() for p in model.get_submodule(line.name).parameters())
            assert own == line.params == eval(line.formula.replace("·", "*")), line.name


@EVERY_FAMILY
def test_multiply_adds_are_half_of_the_flops_that_torch_counts(name):
    from torch.utils.flop_counter import FlopCounterMode

    net = NETS[name](num_classes=7, channels=1)
    model, blank = shapes_only(net.without_aux())
    size = net.image_size - a_little(net)
    with FlopCounterMode(display=False) as counter:
        model.eval()(blank(size, 1))
    assert counter.get_total_flops() == 2 * account(net, size).macs


@pytest.mark.parametrize(("name", "parts"), [
    ("googlenet", ("conv1", "pool1", "inception_3a", "inception_3b")),
    pytest.param("inception_v3", ("conv_2b", "mixed_5b", "mixed_6a"), marks=pytest.mark.nets),
    pytest.param("xception", ("conv2", "block1", "block3"), marks=pytest.mark.nets),
    ("inception_resnet_v1", ("block35_2",)),
])  # fmt: skip
def test_receptive_fields_are_where_the_gradient_reaches(name, parts):
    """Ask autograd how many image pixels one position of a map depends on."""
    counted = account(NETS[name](num_classes=3, channels=1), 224)
    model = inceptive.build(counted.net).double().eval()
    for part in parts:
        image = images(counted.net, 224, 1).double().requires_grad_()
        with torch.no_grad():
            for p in model.parameters():
                p.uniform_(0.01, 0.02)  # no weight cancels another, no ReLU is off
        _average_pools(model)
        maps = model.endpoints(image, [part])[part]
        middle = maps.shape[-1] // 2
        maps[0, :, middle, middle].sum().backward()
        rows = image.grad[0, 0].abs().sum(1).nonzero()
        columns = image.grad[0, 0].abs().sum(0).nonzero()
        reach = {line.name: line.view.reach for line in counted.body}[part]
        sides = tuple(int(side.max() - side.min()) + 1 for side in (rows, columns))
        assert sides == reach, part


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


def test_every_parameter_gets_a_gradient(alive):
    net, model = alive.net, alive.train()
    endpoints = model.endpoints(images(net, small(net), 3), ["fc", *net.heads()])
    sum(logits.square().sum() for logits in endpoints.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key
    model.zero_grad()


@EVERY_FAMILY
def test_forward_gives_one_tensor_of_logits_in_every_mode(name):
    net = NETS[name](num_classes=7, channels=1)
    model, blank = shapes_only(net)
    for mode in (True, False):
        logits = model.train(mode)(blank(96))
        assert isinstance(logits, torch.Tensor) and logits.shape == (2, 7)
    assert model.features(blank(96)).ndim == 2


def test_logits_hang_on_neither_batch_nor_memory_order_nor_precision(alive):
    model = alive.eval()
    both = images(model.net, small(model.net), 2)
    with torch.inference_mode():
        single = model.endpoints(both)
        model.double()
        plain = model.endpoints(both.double())
        alone = model.endpoints(both[:1].double())
        model.to(memory_format=torch.channels_last)
        last = model.endpoints(both.double().contiguous(memory_format=torch.channels_last))
        model.float().to(memory_format=torch.contiguous_format)
    for key, exact in plain.items():
        torch.testing.assert_close(alone[key], exact[:1], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(last[key], exact, rtol=1e-9, atol=1e-9)
        scale = exact.abs().max().item() + 1e-12
        assert (single[key].double() - exact).abs().max().item() < 1e-4 * scale, key


@EVERY_FAMILY
def test_it_works_down_to_its_least_size_and_not_below(name):
    net = NETS[name](num_classes=7)
    least = minimum_size(net)
    model, blank = shapes_only(net)
    model.eval()
    for size in (least, least + 1, 128):
        endpoints = model.endpoints(blank(size))
        assert {endpoints[key].shape for key in ("fc", *net.heads())} == {(2, 7)}
    if least == 1:
        return
    with pytest.raises(RuntimeError):
        model(blank(least - 1))
    with pytest.raises(InceptiveError, match=f"the least size is {least}"):
        account(net, least - 1)


def test_fresh_weights_keep_images_apart(alive):
    """With torch's own default weights the logits of different images agree to 1e-7 (no batch norm)."""
    model = alive.eval()
    with torch.inference_mode():
        features = model.features(images(model.net, small(model.net) + a_little(model.net), 8))
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


def test_the_loss_starts_near_that_of_guessing(alive):
    model = alive.train()
    labels = torch.arange(8) % 5
    with torch.no_grad():
        logits = model(images(model.net, small(model.net), 8) * 2 - 1)
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert 1.0 < loss < 2.9  # ln 5 = 1.61


def test_endpoints_can_be_named_and_unknown_ones_are_refused():
    net = NETS["googlenet"](num_classes=3)
    model = inceptive.build(net).eval()
    endpoints = model.endpoints(images(net, 64), ["inception_3a", "aux_4a"])
    assert list(endpoints) == ["inception_3a", "aux_4a"]
    assert endpoints["inception_3a"].shape == (2, 256, 8, 8)
    with pytest.raises(InceptiveError, match=r"no part inception_9z; there are: conv1, "):
        model.endpoints(images(net, 64), ["inception_9z"])


def test_images_of_the_wrong_shape_are_refused_in_words():
    model = inceptive.build(NETS["googlenet"](num_classes=3))
    with pytest.raises(InceptiveError, match=r"takes images \(N, 3, H, W\), not \(2, 1, 64, 64\)"):
        model(torch.zeros(2, 1, 64, 64))


def test_a_size_between_those_that_fit_is_refused_with_the_next_one():
    """Cadene's port pads convolutions and pools with ceil: at odd maps their sizes differ."""
    with pytest.raises(InceptiveError, match=r"branches of different sizes.*; 95 pixels would fit"):
        account(NETS["bn_inception.cadene"](num_classes=3), 96 - 6)


def test_an_unknown_net_is_refused_with_those_there_are():
    with pytest.raises(InceptiveError, match=r"no net is called 'vgg'; there are: googlenet, "):
        open_net("vgg")


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


def test_a_module_by_itself_has_an_account_too():
    net = inceptive.NETS["googlenet"]()
    alone = account(dict(net.body)["inception_3a"], 28, channels=192)
    within = [line for line in account(net).body if line.name.startswith("inception_3a")]
    assert alone.params == sum(line.params for line in within) == 163_696
    assert alone.macs == sum(line.macs for line in within)
    with pytest.raises(InceptiveError, match="needs the size and channels"):
        account(Conv(8, 3))


def test_what_is_asked_for_wrongly_is_answered_with_what_to_write():
    with pytest.raises(KeyError):
        NETS["GoogLeNet"]
    with pytest.raises(InceptiveError) as error:
        NETS["GoogLeNet"]
    message = str(error.value)
    assert message.startswith("no net is called 'GoogLeNet'; there are: googlenet, bn_inception, ")
    assert message.endswith("; the nearest is 'googlenet'")
    with pytest.raises(InceptiveError, match="googlenet takes num_classes and channels, not clas"):
        NETS["googlenet"](classes=10)
    for wrong in ("googlenet", NETS["googlenet"]):
        with pytest.raises(InceptiveError, match=r"build\(NETS\['googlenet'\]\(num_classes=10\)\)"):
            inceptive.build(wrong)
    assert "GoogLeNet" not in NETS and NETS.get("GoogLeNet") is None


def test_one_module_by_itself_is_built_and_runs():
    module = inceptive.build(Concat(a=Conv(8, 1), b=Chain(c=Conv(4, 3), d=MaxPool(3))), channels=64)
    assert module(torch.rand(2, 64, 9, 7)).shape == (2, 12, 9, 7)
    assert set(dict(module.named_parameters())) >= {"a.weight", "b.c.weight", "b.c.bias"}
    head = dict(NETS["googlenet"](10).aux)["inception_4a"]
    built = inceptive.build(head, channels=512, image_size=14)
    assert built(torch.rand(2, 512, 14, 14)).shape == (2, 10)
    for options, message in (
        ({}, "needs the channels"),
        ({"channels": 512}, "needs the size of its maps"),
        ({"channels": 512, "image_size": 1, "net": Chain(a=MaxPool(3, pad="valid"))}, "no 3×3"),
        ({"channels": 3, "net": Chain(a=Linear(3), b=Conv(3, 1))}, "reads maps"),
        ({"channels": 3, "net": NETS["googlenet"]()}, "a net has its channels"),
        ({"channels": 3, "net": Chain(train=Conv(3, 1))}, "cannot be called train"),
    ):
        with pytest.raises(InceptiveError, match=message):
            inceptive.build(**{"net": head, **options})


MINE = """\
from dataclasses import dataclass
from inceptive import AvgPool, Chain, Conv, Linear, Net

@dataclass
class Size:
    width: "int" = 8

def mynet(num_classes, channels=3):
    body = Chain(a=Conv(Size().width, 3), pool=AvgPool(grid=1), fc=Linear(num_classes))
    return Net("mine", body, num_classes, "my own", (), channels, 32)

def fixed(num_classes):
    return mynet(5)

def imitation(num_classes):
    return Net("googlenet", mynet(num_classes).body, num_classes, "", image_size=32)

def nothing(num_classes): ...
def bare(): ...
def fails(num_classes): raise ValueError("two\\nlines")
def stops(num_classes): raise SystemExit(3)
def wrong(num_classes): return Net("mine", Chain(a=Conv(0, 3)), num_classes, "")
number = 3
"""


def test_a_net_of_ones_own_is_opened_by_file_and_function(tmp_path):
    import sys

    file = tmp_path / "torch.py"  # a name that is taken
    file.write_text(MINE)
    net = open_net(f"{file}:mynet", 7, channels=1)
    assert (net.name, net.num_classes, net.channels) == ("mine", 7, 1)
    assert inceptive.build(net)(torch.rand(2, 1, 32, 32)).shape == (2, 7)
    assert sys.modules["torch"] is torch
    plain = tmp_path / "mynet.py"
    plain.write_text(MINE)
    assert open_net(f"{plain}:mynet", 7).channels == 3 and "mynet" not in sys.modules
    assert open_net("googlenet", 7) == NETS["googlenet"](7)
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name")
    for text, message in {
        f"{file}": "name the function that returns the net",
        f"{tmp_path}/other.py:mynet": "other.py: there is no such file",
        f"{tmp_path}:mynet": "no net is called",
        f"{file}:other": "there is no function 'other'",
        f"{file}:number": "there is no function 'number'",
        f"{file}:bare": "bare: TypeError: bare\\(\\) got an unexpected keyword argument 'num_cl",
        f"{file}:nothing": "nothing: returned NoneType, not an inceptive.Net",
        f"{file}:fixed": "fixed: returned a net with num_classes=5, not 7",
        f"{file}:imitation": "is called googlenet and is another",
        f"{file}:fails": "fails: ValueError: two$",
        f"{file}:stops": "stops: SystemExit: 3$",
        f"{file}:wrong": "wrong: InceptiveError: Conv: out is 0",
        f"{broken}:mynet": "broken.py: ModuleNotFoundError: No module named 'nothing_of_that_name'",
    }.items():
        with pytest.raises(InceptiveError, match=message) as error:
            open_net(text, 7)
        assert "\n" not in str(error.value)
