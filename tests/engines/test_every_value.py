"""Whatever the words allow runs in every reader, and all give the same: nets made by hypothesis."""

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from values import nets

import inceptive
from inceptive.arch.account import account, shapes
from inceptive.engines import onnx as onnx_runtime
from inceptive.engines.classifier import Classifier
from inceptive.engines.graph import ending_at, onnx_graph, tensor_of
from inceptive.images import Preprocessing
from inceptive.reference.net import Pass

QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink a net takes minutes
    print_blob=True,
)


def built(net):
    """A model with random weights and random running statistics, in evaluation."""
    torch.manual_seed(3)
    model = inceptive.build(net).eval().double()
    for key, value in model.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.ndim == 1:
            value.normal_(0, 0.2)
    return model


def close(found, wanted, within):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= within * max(1.0, np.abs(wanted).max())


@QUICK
@given(nets())
def test_account_torch_and_the_reference_agree(net):
    table, model = account(net), built(net)
    pixels = np.random.default_rng(5).random((2, net.channels, net.image_size, net.image_size))
    with torch.no_grad():
        outputs = model.endpoints(torch.from_numpy(pixels))
    assert sum(p.numel() for p in model.parameters()) == table.params_with_aux
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    run = Pass(net, weights)
    run.forward(pixels)
    lines = {line.name: line for line in table.body}
    for name, output in outputs.items():
        close(run.values[name], output.numpy(), 1e-9)
        if name in lines and output.ndim == 4:
            assert tuple(output.shape[1:]) == lines[name].view.shape
    logits = {name: np.ones((2, net.num_classes)) for name in (net.last, *net.heads())}
    assert run.backward(logits).shape == pixels.shape


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))),
    reason="the extra `export` is not installed",
)
@QUICK
@given(nets())
def test_the_exported_graph_gives_torchs_logits(net):
    import onnx

    model = built(net)
    shown = Preprocessing(
        size=net.image_size, channels=net.channels, mean=(0.4,) * net.channels,
        std=(0.3,) * net.channels,
    )  # fmt: skip
    tensors = {key: value.numpy() for key, value in model.state_dict().items()}
    graph = onnx_graph(net, tensors, shown, [*net.heads()])
    onnx.checker.check_model(graph, full_check=True)
    runtime = onnx_runtime.package()
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = runtime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    pixels = np.random.default_rng(5).integers(
        256, size=(2, net.channels, net.image_size, net.image_size), dtype=np.uint8
    )
    scale, shift = shown.scale_and_shift()
    with torch.no_grad():
        outputs = model.endpoints(torch.from_numpy(pixels * scale + shift).double())
    found = session.run(None, {"images": pixels})
    assert len(found) == 1 + len(net.heads())
    for value, name in zip(found, (net.last, *net.heads()), strict=True):
        close(value, outputs[name].numpy(), 1e-4)


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))),
    reason="the extra `export` is not installed",
)
@settings(QUICK, max_examples=20)
@given(nets())
def test_every_layers_features_are_the_references_with_torch_and_in_the_file(net):
    model = built(net)
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    side = net.image_size
    plain = {"mean": (0.4,) * net.channels, "std": (0.3,) * net.channels}
    classifier = Classifier(
        model.float(),
        Preprocessing(size=side, channels=net.channels, **plain),
        tuple(f"class {k}" for k in range(net.num_classes)),
    )
    pixels = np.random.default_rng(5).integers(
        256, size=(2, net.channels, side, side), dtype=np.uint8
    )
    run = Pass(net, weights)
    run.forward(classifier.preprocessing.normalise(pixels).astype(np.float64))
    graph = onnx_graph(net, weights, classifier.preprocessing, [*net.heads()])
    file = graph.SerializeToString()
    found = shapes(net, side)
    for name, _, _ in net.nodes():
        wanted = run.values[name]
        assert wanted.shape[1:] in (found[name], found[name][:1]), name
        close(classifier.computing(name)(pixels).reshape(wanted.shape), wanted, 1e-4)
        tensor = tensor_of(net, name)
        part = ending_at(file, tensor)
        assert part is not None, name
        [output] = onnx_runtime.session(part, 1).run(None, {"images": pixels})
        close(output.reshape(wanted.shape), wanted, 1e-4)
