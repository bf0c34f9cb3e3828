"""The ONNX reading of a net beside the torch one: two runtimes that are not ours run it.

ONNX Runtime and OpenVINO are the outside oracles of what the file means, torch of what it should.
"""

import importlib.util

import numpy as np
import pytest
import torch

import inceptive
from inceptive.arch import nets
from inceptive.arch.account import account, minimum_size
from inceptive.arch.spec import (
    LRN,
    Activation,
    Add,
    AvgPool,
    BatchNorm,
    Chain,
    Concat,
    Conv,
    Dropout,
    Linear,
    MaxPool,
    Multiply,
    Net,
    Separable,
)
from inceptive.engines import onnx as onnx_runtime
from inceptive.engines import openvino as open_vino
from inceptive.engines.classifier import Classifier
from inceptive.engines.graph import NORMALISE, onnx_graph, with_metadata
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "openvino"))),
    reason="the extra `export` is not installed",
)
FAST = {"googlenet", "googlenet.slim", "hadamard_inception", "xception"}
ONE_CHANNEL = {"googlenet", "xception.keras"}
NORM = BatchNorm()


def classifier_of(net, size):
    """Random weights and random running statistics: equal counts and shapes prove little."""
    torch.manual_seed(3)
    model = inceptive.build(net).eval()
    for key, value in model.state_dict().items():
        if key.endswith("running_var") or (key.endswith("weight") and value.ndim == 1):
            value.uniform_(0.5, 1.5)
        elif value.ndim == 1:
            value.normal_(0, 0.2)
    mean, std = (0.1, 0.4, 0.6)[: net.channels], (0.2, 0.3, 0.5)[: net.channels]
    shown = Preprocessing(size=size, channels=net.channels, mean=mean, std=std)
    labels = tuple(f"class {k}" for k in range(net.num_classes))
    return Classifier(model, shown, labels)


def graph_of(clf, heads=(), net=None):
    tensors = {key: value.numpy() for key, value in clf.model.state_dict().items()}
    return onnx_graph(net or clf.model.net, tensors, clf.preprocessing, heads)


def in_onnx_runtime(graph, images):
    onnxruntime = onnx_runtime.package()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    file = graph.SerializeToString()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": images})
    return dict(zip((one.name for one in session.get_outputs()), found, strict=True))


def in_openvino(graph, images):
    core = open_vino.package().Core()
    model = core.read_model(graph.SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(images)
    return {one.get_any_name(): found[one] for one in compiled.outputs}


def pictures(net, size, count=3):
    shape = (count, net.channels, size, size)
    return np.random.default_rng(5).integers(256, size=shape, dtype=np.uint8)


def agree(found, wanted, within=2e-5):
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].shape == value.shape and found[name].dtype == np.float32
        apart = np.abs(found[name] - value).max() / np.abs(value).max()
        assert apart < within, (name, apart)


def beside(clf, heads=()):
    import onnx

    net, size = clf.model.net, clf.preprocessing.size
    graph, images = graph_of(clf, heads), pictures(net, size)
    onnx.checker.check_model(graph, full_check=True)
    with torch.inference_mode():
        maps = clf.model.endpoints(clf.normalise(torch.from_numpy(images)), heads)
    wanted = {"logits": clf.logits(images)} | {head: maps[head].numpy() for head in heads}
    agree(in_onnx_runtime(graph, images), wanted)
    agree(in_openvino(graph, images), wanted)


def taking(net, above):
    """A size near `above` that all of the net takes, odd so that nothing divides evenly."""
    sizes = range(above | 1, above + 64, 2)
    return next(size for size in sizes if size >= minimum_size(net) and fits(net, size))


def fits(net, size):
    try:
        account(net, size)
    except InceptiveError:
        return False
    return True


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in nets.NETS]
)
def test_every_net_gives_torchs_logits_and_heads_in_both_runtimes(name):
    net = nets.NETS[name](5, channels=1 if name in ONE_CHANNEL else 3)
    beside(classifier_of(net, taking(net, 35)), list(net.heads()))


# Word by word, on maps of odd sides


def chain(*nodes, **named):
    parts = {f"part{k}": node for k, node in enumerate(nodes)} | named
    return Net("words", Chain(**parts, pool=AvgPool(grid=1), fc=Linear(4)), 4, "", channels=3)


WORDS = {
    "conv same": Conv(4, 3),
    "conv stride 2": Conv(4, 5, 2, norm=NORM),
    "conv valid": Conv(4, (1, 3), pad="valid", norm=BatchNorm(scale=False)),
    "conv tf, even": Conv(4, (2, 4), 2, "tf", norm=NORM),
    "conv tf": Conv(4, 3, 2, "tf"),
    "conv padded": Conv(4, (7, 1), pad=1),
    "conv without bias": Conv(4, 3, bias=False, relu=False),
    "conv with bias and norm": Conv(4, 3, bias=True, norm=NORM),
    "separable": Separable(5, 3, norm=NORM, multiplier=2),
    "separable tf": Separable(5, 3, 2, "tf", relu=False),
    "max same": MaxPool(3),
    "max ceil": MaxPool(3, 2, "ceil"),
    "max ceil, even": MaxPool(2, 2, "ceil"),
    "max tf": MaxPool(3, 2, "tf"),
    "max padded": MaxPool(3, 2, 1),
    "max of all": MaxPool(),
    "average": AvgPool(3, 1, pad="same"),
    "average counting zeros": AvgPool(3, 1, pad="same", count_pad=True),
    "average valid": AvgPool(3, 2),
    "average to a grid by windows": AvgPool(3, 2, grid=9),
    "average to a grid": AvgPool(5, 3, grid=4),
    "average to a larger grid": AvgPool(grid=7),
    "lrn": LRN(5, alpha=0.3, beta=0.5, k=2.0),
    "batch norm alone": NORM,
    "sigmoid": Activation("sigmoid"),
    "dropout": Dropout(0.5),
    "concat": Concat(a=Conv(2, 1), b=Chain(c=Conv(3, 3), d=MaxPool(3))),
    "multiply": Multiply(a=Conv(2, 1), b=Conv(2, 3), c=Conv(2, 5, relu=False)),
    "multiply by one": Multiply(a=Conv(2, 1)),
    "add": Add(Conv(3, 3, relu=False), relu=True),
    "add scaled": Add(Conv(6, 3), Conv(6, 1, relu=False), scale=0.17),
    "linear": Chain(a=Linear(6, relu=True), b=Linear(3, bias=False), c=BatchNorm(scale=False)),
}


@pytest.mark.parametrize("word", WORDS)
def test_every_word_means_the_same_to_torch_and_to_two_runtimes(word):
    if word != "linear":
        net = chain(Conv(3, 3, relu=False), WORDS[word])
    else:  # no pooling may follow vectors
        parts = Chain(stem=Conv(3, 3, 4), mixed=WORDS[word], fc=Linear(4))
        net = Net("words", parts, 4, "", image_size=19)
    beside(classifier_of(net, 19))


def test_what_is_alone_on_vectors_and_joined_maps_of_vectors():
    both = Concat(a=Linear(3), b=Linear(2))
    parts = Chain(stem=Conv(3, 3, 4), both=both, relu=Activation(), fc=Linear(4))
    beside(classifier_of(Net("words", parts, 4, "", channels=1, image_size=13), 13))


# Names, heads, and what is refused


@pytest.fixture(scope="module")
def googlenet():
    return classifier_of(nets.NETS["googlenet.bn"](4, channels=1), 33)


def test_nodes_and_weights_are_named_as_in_the_value(googlenet):
    graph = graph_of(googlenet).graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names) and set(NORMALISE) <= set(names)
    assert "inception_3a.b5x5.conv" in names
    assert not {node.op_type for node in graph.node} & {"BatchNormalization", "Dropout"}
    weights = {one.name: tuple(one.dims) for one in graph.initializer}
    state = googlenet.model.state_dict()
    shared = [name for name in weights if name in state]
    assert len(shared) > 50 and all(weights[name] == tuple(state[name].shape) for name in shared)
    batch, *shape = graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param == "N" and [one.dim_value for one in shape] == [1, 33, 33]


def test_properties_are_part_of_the_file(googlenet):
    import onnx

    file = with_metadata(graph_of(googlenet).SerializeToString(), {"told": "ä, 1"})
    assert [(one.key, one.value) for one in onnx.load_model_from_string(file).metadata_props] == [
        ("told", "ä, 1")
    ]


@pytest.mark.parametrize(("change", "said"), [
    ({"heads": ["aux_9"]}, "has no head 'aux_9'; there are: aux_4a, aux_4d"),
    ({"net": nets.NETS["googlenet.bn"](4, channels=3)}, "takes images of 3 channels, not 1"),
    ({"net": nets.NETS["inception_v3"](4, channels=1)}, "the least size is 75"),
    ({"net": nets.NETS["googlenet"](4, channels=1)}, "the weights lack conv1.bias"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused_in_one_line(googlenet, change, said):
    with pytest.raises(InceptiveError) as refused:
        graph_of(googlenet, **change)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_heads_whose_weights_were_not_kept_are_refused(googlenet):
    clf = classifier_of(googlenet.model.net.without_aux(), 33)
    with pytest.raises(InceptiveError, match=r"the weights lack aux_4a\.conv\.weight"):
        graph_of(clf, heads=["aux_4a"], net=googlenet.model.net)


def test_without_onnx_the_extra_is_named(googlenet, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InceptiveError, match=r"pip install 'inceptive\[export\]'"):
        graph_of(googlenet)
