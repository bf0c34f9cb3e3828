"""Published weights: the catalogue, key tables, layouts, the cache, and what is refused.

That a table pairs the right tensors is shown in test_peers.py and test_slim_names.py.
"""

import hashlib
import http.server
import logging
import pickle
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import replace
from functools import cache
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from inceptive.arch import nets
from inceptive.arch.account import minimum_size
from inceptive.data.open import open_data
from inceptive.data.source import ArrayImages, Samples, SplitFractions
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.io.progress import Lines
from inceptive.nn import build
from inceptive.training.loop import Run
from inceptive.training.objective import Objective
from inceptive.training.prepare import loaders_for, start_from
from inceptive.training.recipe import Recipe
from inceptive.weights import layouts
from inceptive.weights.catalogue import catalogue, published_labels
from inceptive.weights.load import by_hand, fetch, fill, load
from inceptive.weights.names import SOURCES, Source, key_table

EVERY = pytest.mark.parametrize("name", catalogue())


def net_of(published):
    net = nets.NETS[published.net](published.classes)
    return net if published.heads else net.without_aux()


def blank(net):
    with torch.device("meta"):
        return build(net)


@cache
def keys_of(net):
    return tuple(blank(net).state_dict())


least_size = cache(minimum_size)


def drawn(net, seed=0):
    """A model of `net`, no two of its tensors alike."""
    model, generator = blank(net).to_empty(device="cpu"), torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.fill_(int(torch.randint(1, 99, (), generator=generator)))
    return model


def line_of(call, *arguments):
    """The one line with which `call` refuses."""
    with pytest.raises(InceptiveError) as caught:
        call(*arguments)
    line = str(caught.value)
    assert "\n" not in line
    return line


# The catalogue


@EVERY
def test_a_key_table_pairs_every_tensor_with_one_of_theirs(name):
    published = catalogue()[name]
    source, keys = SOURCES[published.source], keys_of(net_of(published))
    table = key_table(source, keys)
    assert tuple(table) == keys
    named = [theirs for theirs in table.values() if theirs is not None]
    assert len(set(named)) == len(named)
    kept = {"num_batches_tracked"} if source.layout != "torch" else set()
    no_gamma = {key for key in table if key.endswith("bn.weight")} if "slim" in name else set()
    without = {key for key, theirs in table.items() if theirs is None}
    assert {key for key in without if key.rpartition(".")[2] not in kept} == no_gamma


def test_a_table_that_names_two_tensors_alike_or_one_not_at_all_is_refused():
    keys = ["a.weight", "b.weight"]
    with pytest.raises(InceptiveError, match=r"names twice: x\.conv\.weight"):
        key_table(Source({"a": "x.conv", "b": "x.conv"}), keys)
    with pytest.raises(InceptiveError, match="has no name for b"):
        key_table(Source({"a": "x"}), keys)


@EVERY
def test_labels_are_as_many_as_classes(name):
    labels = published_labels(catalogue()[name])
    assert len(labels) == catalogue()[name].classes
    assert all(label.strip() == label != "" for label in labels)


@EVERY
def test_the_preprocessing_is_one_that_the_net_can_see(name):
    published = catalogue()[name]
    shown, net = published.preprocessing, net_of(published)
    assert shown.channels == net.channels == 3
    assert least_size(net) <= shown.size <= shown.resize
    scale, shift = shown.scale_and_shift()
    black, white = shift.ravel(), (255 * scale + shift).ravel()
    if published.bgr or published.net == "googlenet.inception5h":
        assert np.allclose(white - black, 255)  # these read the mean taken off, and no division
        assert (black < -100).all()
    else:
        assert (abs(black) < 3).all() and (white > 0.9).all() and (white < 3).all()


def test_means_of_nets_that_read_blue_first_are_turned_round():
    """bvlc_googlenet and bninception take off (104, 117, 123 or 128) of blue, green, red."""
    for name, mean in (
        ("googlenet.caffe", (123, 117, 104)),
        ("bn_inception.cadene", (128, 117, 104)),
    ):
        scale, shift = catalogue()[name].preprocessing.scale_and_shift()
        np.testing.assert_allclose((-shift / scale).ravel(), mean, rtol=1e-6)
        assert catalogue()[name].bgr


def test_entries_are_complete_and_their_files_apart():
    files = Counter(one.file for one in catalogue().values())
    assert max(files.values()) == 1  # they share one folder of the cache
    for name, one in catalogue().items():
        assert one.url or one.hub or one.note, name
        assert not (one.url and one.hub), name
        assert set(one.digest) <= set("0123456789abcdef"), name
        assert one.licence, name
        assert (one.top1 is None) == (one.top5 is None) == (not one.accuracy_source), name
        assert one.top1 is None or 60 < one.top1 < one.top5 < 100, name
        assert one.background <= (one.classes == 1000), name


def test_an_unknown_name_is_refused_with_those_there_are():
    assert "inceptive nets" in line_of(Classifier.load, "googlenet.tv", __file__)


# Layouts


def test_a_tensorflow_kernel_multiplies_as_torchs_does():
    rng = np.random.default_rng(0)
    kernel, image = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(6, 7, 4))
    by_definition = np.zeros((5, 5, 5))
    for y in range(5):
        for x in range(5):
            by_definition[:, y, x] = np.einsum("hwi,hwio->o", image[y : y + 2, x : x + 3], kernel)
    ours = layouts.to_torch(kernel, "conv1.weight", "tensorflow", (5, 4, 2, 3))
    found = F.conv2d(torch.from_numpy(image.transpose(2, 0, 1))[None], torch.tensor(ours))
    np.testing.assert_allclose(found[0].numpy(), by_definition)


def test_a_depthwise_kernel_gives_each_channel_its_own_maps():
    """tf.nn.depthwise_conv2d: output k * multiplier + q is channel k under kernel (:, :, k, q)."""
    rng = np.random.default_rng(0)
    kernel, image = rng.normal(size=(3, 3, 4, 2)), rng.normal(size=(3, 3, 4))
    by_definition = np.einsum("hwk,hwkq->kq", image, kernel).ravel()
    ours = layouts.to_torch(kernel, "sep1.depthwise.weight", "tensorflow", (8, 1, 3, 3))
    assert ours.shape == (8, 1, 3, 3)
    found = F.conv2d(torch.tensor(image.transpose(2, 0, 1))[None], torch.tensor(ours), groups=4)
    np.testing.assert_allclose(found.ravel().numpy(), by_definition)


def test_linear_layers_of_every_source():
    weight = np.arange(6.0).reshape(2, 3)  # (out, in), as torch has it
    for theirs, layout in [
        (weight.T, "tensorflow"),
        (weight.T[None, None], "tensorflow"),  # a 1x1 convolution
        (weight[None, None], "caffe"),  # the four dimensions of 2014
        (weight, "torch"),
    ]:
        np.testing.assert_array_equal(layouts.to_torch(theirs, "fc.weight", layout, (2, 3)), weight)
    bias = np.arange(3.0)
    np.testing.assert_array_equal(
        layouts.to_torch(bias.reshape(1, 1, 1, 3), "fc.bias", "caffe", (3,)), bias
    )


def test_the_background_is_row_0_and_goes_only_where_it_is():
    rows = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(layouts.without_background(rows, 3), rows[1:])
    np.testing.assert_array_equal(layouts.without_background(rows, 4), rows)


def test_blue_first_becomes_red_first():
    kernel = np.arange(24.0).reshape(2, 3, 2, 2)
    turned = layouts.bgr_to_rgb(kernel)
    image = np.random.default_rng(0).normal(size=(3, 2, 2))  # red, green, blue
    np.testing.assert_allclose(
        (turned * image).sum((1, 2, 3)), (kernel * image[::-1]).sum((1, 2, 3))
    )


# Filling a net


TORCH = replace(catalogue()["googlenet.torchvision"], classes=4, heads=False, digest="")


def state_of(published, model):
    """The model's tensors by the publisher's names, as a torch file has them."""
    table = key_table(SOURCES[published.source], model.state_dict())
    state = model.state_dict()
    return {theirs: state[ours].clone() for ours, theirs in table.items() if theirs is not None}


@pytest.fixture(scope="module")
def theirs():
    """A state dict of googlenet.torchvision, 4 classes, without heads."""
    return state_of(TORCH, drawn(net_of(TORCH), seed=1))


@pytest.fixture
def model():
    return drawn(net_of(TORCH), seed=2)


def unchanged_by(model, call, *arguments):
    """The line with which `call` refuses, and the proof that nothing was put into `model`."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    line = line_of(call, *arguments)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    return line


def as_arrays(state):
    return {key: value.numpy() for key, value in state.items()}


def test_every_tensor_is_filled_in(theirs, model):
    fill(model, TORCH, as_arrays(theirs), "x.pth")
    found = state_of(TORCH, model)
    assert all(torch.equal(found[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(("drop", "add", "words"), [
    (["conv1.bn.running_var"], [], "missing 1: conv1.bn.running_var; unknown 0: none"),
    ([], ["aux1.fc2.bias"], "missing 0: none; unknown 1: aux1.fc2.bias"),
    (["fc.weight", "fc.bias"], ["a", "b"], "missing 2: fc.weight, fc.bias; unknown 2: a, b"),
    ([], [f"x{k}" for k in range(11)], "unknown 11: x0, x1, x10, x2, x3, x4, x5, x6 and 3 more"),
])  # fmt: skip
def test_a_file_of_other_tensors_is_refused_with_both_lists(theirs, model, drop, add, words):
    arrays = {key: value for key, value in as_arrays(theirs).items() if key not in drop}
    arrays |= {key: np.zeros(2, np.float32) for key in add}
    line = unchanged_by(model, fill, model, TORCH, arrays, "x.pth")
    assert line.startswith("x.pth: is not the checkpoint expected") and words in line


def test_a_tensor_of_another_shape_is_refused_with_both_shapes(theirs, model):
    arrays = as_arrays(theirs) | {
        "fc.weight": np.zeros((5, 1024), np.float32), "conv1.bn.bias": np.zeros(63, np.float32)
    }  # fmt: skip
    line = unchanged_by(model, fill, model, TORCH, arrays, "x.pth")
    assert "does not fit googlenet.torchvision" in line
    assert "conv1.bn.bias (63,) for (64,)" in line and "fc.weight (5, 1024) for (4, 1024)" in line


def test_a_publishers_head_is_not_taken_for_the_background(theirs, model):
    """Without `background`, a classifier of one row more is another classifier."""
    arrays = as_arrays(theirs) | {"fc.weight": np.zeros((5, 1024), np.float32)}
    assert "fc.weight (5, 1024)" in unchanged_by(model, fill, model, TORCH, arrays, "x.pth")


def test_files_from_before_batches_were_counted_are_welcome(theirs, model):
    arrays = {k: v for k, v in as_arrays(theirs).items() if not k.endswith("num_batches_tracked")}
    fill(model, TORCH, arrays, "x.pth")
    assert model.state_dict()["conv1.bn.num_batches_tracked"] == 0
    assert torch.equal(model.state_dict()["conv1.weight"], theirs["conv1.conv.weight"])


@pytest.mark.parametrize("name", ["googlenet.slim", "inception_v2.slim"])
def test_a_slim_checkpoint_is_turned_and_lacks_its_background_and_gamma(name):
    published = replace(catalogue()[name], classes=4)
    model = drawn(net_of(published))
    table = key_table(SOURCES[published.source], model.state_dict())
    arrays, rng = {"global_step": np.array(7)}, np.random.default_rng(0)
    for key, value in model.state_dict().items():
        shape = list(value.shape)
        if table[key] is None:
            continue
        if key.startswith("fc."):
            shape[0] += 1
        if key == "fc.weight":
            shape += [1, 1]
        if key.endswith("depthwise.weight"):
            shape = [3, shape[0] // 3, *shape[2:]]  # (in, multiplier, H, W)
            arrays[table[key]] = rng.normal(size=shape).transpose(2, 3, 0, 1)
        elif len(shape) == 4:
            arrays[table[key]] = rng.normal(size=shape).transpose(2, 3, 1, 0)  # (H, W, in, out)
        else:
            arrays[table[key]] = rng.normal(size=shape)
    fill(model, published, arrays, "x.ckpt")
    state = model.state_dict()
    assert table["fc.bias"].endswith("/biases")
    expected = arrays[table["fc.weight"]][0, 0].T[1:]
    np.testing.assert_array_equal(state["fc.weight"], expected.astype(np.float32))
    np.testing.assert_array_equal(state["fc.bias"], arrays[table["fc.bias"]][1:].astype(np.float32))
    reduce = arrays[table["conv2_reduce.weight"]][0, 0].T  # (out, in)
    np.testing.assert_array_equal(state["conv2_reduce.weight"][:, :, 0, 0], np.float32(reduce))
    for key in (key for key, theirs in table.items() if theirs is None):
        assert (state[key] == (1 if key.endswith("weight") else 0)).all(), key


def test_only_the_first_convolution_of_a_blue_first_net_is_turned(theirs, model):
    fill(model, replace(TORCH, bgr=True), as_arrays(theirs), "x.pth")
    state = model.state_dict()
    assert torch.equal(state["conv1.weight"], theirs["conv1.conv.weight"].flip(1))
    assert torch.equal(state["conv2.weight"], theirs["conv3.conv.weight"])


# Files


def test_a_file_gives_the_model_in_evaluation_mode(theirs, tmp_path):
    torch.save(theirs, tmp_path / "net.pth")
    made = load(TORCH, tmp_path / "net.pth")
    assert not made.training
    assert torch.equal(made.state_dict()["fc.weight"], theirs["fc.weight"])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_file_cut_short_is_refused_in_one_line(theirs, tmp_path, share):
    path = tmp_path / "net.pth"
    torch.save(theirs, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert str(path) in line_of(load, TORCH, path)


class Payload:
    def __reduce__(self):
        return (sys.exit, (3,))


def test_a_pickle_that_brings_code_is_refused_and_not_run(theirs, tmp_path):
    path = tmp_path / "net.pth"
    torch.save({**theirs, "extra": Payload()}, path)
    assert "sys.exit" in line_of(load, TORCH, path)
    path.write_bytes(pickle.dumps(Payload()))
    assert str(path) in line_of(load, TORCH, path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert (
        line_of(by_hand, TORCH, tmp_path / "no.pth") == f"{tmp_path}/no.pth: there is no such file"
    )
    assert str(tmp_path / "no.pth") in line_of(
        Classifier.load, "googlenet.torchvision", tmp_path / "no.pth"
    )


def test_a_file_by_hand_of_another_hash_is_loaded_and_said_to_be_other(theirs, tmp_path, caplog):
    path = tmp_path / "own.pth"
    torch.save(theirs, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with caplog.at_level(logging.INFO, "inceptive"):
        assert by_hand(replace(TORCH, digest=digest[:8]), path) == path
        assert by_hand(TORCH, path) == path  # nothing published to compare with
        assert not caplog.records
        assert by_hand(replace(TORCH, digest="00000000"), path) == path
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("inceptive", "WARNING")
    assert f"{path} is not the file published as googlenet.torchvision" in record.getMessage()


# The cache and the network


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def unreachable(*_, **__):
    raise AssertionError("the network was asked")


@pytest.fixture
def offline(monkeypatch):
    """No network; asking for it fails the way it does without a cable."""

    def down(*_, **__):
        raise urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr(urllib.request, "urlopen", down)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: down())
    monkeypatch.setattr("inceptive.weights.load.getproxies", dict)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The Hugging Face hub's own cache, empty."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


CONTENT = b"weights\0" * 100_000
DIGEST = hashlib.sha1(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """A server on this machine that has one file; it counts what it is asked for."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *arguments):
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}/net.pth", asked
    made.shutdown()
    made.server_close()
    thread.join()


def test_a_download_lands_in_the_cache_once_and_tells_its_progress(cache, server):
    url, asked = server
    published, told = replace(TORCH, url=url, digest=DIGEST), []
    progress = Mock(spec=Lines)
    progress.advance = lambda what, *counts: told.append((what, *counts))
    path = fetch(published, progress)
    assert path == cache / published.file and path.read_bytes() == CONTENT
    assert [one.name for one in cache.iterdir()] == [published.file]
    done, size = [done for _, done, _ in told], len(CONTENT) // 1000
    assert len(done) > 2 and done == sorted(done) and done[-1] == size
    assert {(what, total) for what, _, total in told} == {(f"downloading {path.name}, kB", size)}
    assert fetch(published) == path
    assert asked == ["/net.pth"]


def test_a_download_of_another_hash_leaves_nothing(cache, server):
    line = line_of(fetch, replace(TORCH, url=server[0], digest="0" * 40))
    assert "is not the file expected" in line and str(cache / TORCH.file) in line
    assert not cache.exists() or not list(cache.iterdir())


def test_a_file_in_the_cache_needs_no_network(cache, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    cache.mkdir(parents=True)
    for name in ("googlenet.torchvision", "inception_v4.timm", "inception_v3.nsfwjs"):
        published = replace(catalogue()[name], digest=DIGEST)
        path = cache / published.file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(CONTENT)
        assert fetch(published) == path


def test_a_damaged_file_in_the_cache_is_refused_and_named(cache):
    cache.mkdir(parents=True)
    (cache / TORCH.file).write_bytes(CONTENT[:-1])
    line = line_of(fetch, replace(TORCH, digest=DIGEST))
    assert str(cache / TORCH.file) in line and "its hash differs" in line and "remove it" in line


@pytest.mark.parametrize(
    "name", ["googlenet.torchvision", "inception_v4.timm", "inception_v3.nsfwjs"]
)
def test_without_a_network_it_says_what_to_put_where(name, cache, hub, offline):
    line = line_of(fetch, catalogue()[name])
    assert str(cache / catalogue()[name].file) in line
    assert (catalogue()[name].url or catalogue()[name].hub or "npm pack nsfwjs") in line


def in_hub(hub, repository, files):
    """`files` of a repository as the hub's own library keeps them."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    for name, content in files.items():
        (snapshot / name).write_bytes(content)
    return snapshot


def test_a_file_in_the_hubs_cache_needs_no_network(cache, hub, offline):
    snapshot = in_hub(hub, "timm/inception_v4.tf_in1k", {"model.safetensors": CONTENT})
    assert fetch(catalogue()["inception_v4.timm"]) == snapshot / "model.safetensors"


@pytest.mark.parametrize("variable", ["INCEPTIVE_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize("name", ["googlenet.torchvision", "inception_v4.timm"])
def test_where_the_network_is_forbidden_it_is_not_asked(cache, hub, monkeypatch, name, variable):
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setenv(variable, "1")
    line = line_of(fetch, catalogue()[name])
    assert f"{variable} is set" in line and str(cache / catalogue()[name].file) in line
    with pytest.raises(InceptiveError, match=f"{variable} is set"):
        Classifier.load("hf:someone/net")
    in_hub(hub, "timm/inception_v4.tf_in1k", {"model.safetensors": CONTENT})
    assert fetch(catalogue()["inception_v4.timm"]).read_bytes() == CONTENT


def test_what_is_fetched_is_said_first(cache, server):
    url, _ = server
    progress = Mock(spec=Lines)
    fetch(replace(TORCH, url=url, digest=DIGEST, megabytes=50), progress)
    progress.say.assert_called_once_with(
        f"fetching {TORCH.name} from {url} (50 MB, licence {TORCH.licence})"
    )


def test_a_model_folder_on_the_hub_is_asked_for_by_its_mark_only(hub, offline, monkeypatch):
    assert "someone/net: its model.safetensors" in line_of(Classifier.load, "hf:someone/net")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    assert "does not exist" in line_of(Classifier.load, "someone/net")


# Fine-tuning


def classifier(name, classes, seed, **more):
    model = drawn(nets.NETS[name](classes, **more), seed)
    channels = model.net.channels
    preprocessing = Preprocessing(
        size=96, channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels
    )
    return Classifier(model, preprocessing, tuple(f"class {k}" for k in range(classes)))


@pytest.mark.parametrize(
    ("name", "given"),
    [("inception_v3.keras", "inception_v3.nsfwjs"), ("inception_v3.nsfwjs", "inception_v3.keras")],
)
def test_all_is_taken_but_what_stands_after_the_pooling(name, given):
    learned, model = classifier(given, 5, seed=1), drawn(nets.NETS[name](3), seed=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    start_from(model, learned, "x")
    theirs = learned.model.state_dict()
    fresh = {"fc.weight", "fc.bias"}
    if name.endswith("nsfwjs"):
        fresh |= {f"fc{k}.fc.{leaf}" for k in (1, 2) for leaf in ("weight", "bias")}
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key] if key in fresh else theirs[key]), key


def test_classes_of_the_same_number_are_new_all_the_same():
    learned, model = classifier("googlenet.bn", 3, seed=1), drawn(nets.NETS["googlenet.bn"](3), 2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    start_from(model, learned, "x")
    ends = ("fc.", "aux_4a.fc2.", "aux_4d.fc2.")
    for key, value in model.state_dict().items():
        wanted = before if key.startswith(ends) else learned.model.state_dict()
        assert torch.equal(value, wanted[key]), key


@pytest.mark.parametrize(("given", "layer"), [
    ("googlenet", "conv1.bn."), ("googlenet.torchvision", "inception_3a.b5x5.conv.weight"),
])  # fmt: skip
def test_weights_of_another_net_are_refused_with_a_layer(given, layer):
    model = drawn(nets.NETS["googlenet.bn"](3))
    line = unchanged_by(model, start_from, model, classifier(given, 3, seed=1), "runs/x")
    assert line.startswith(f"weights runs/x: are for {given}, which has no {layer}")
    assert f"try net={given}" in line


def test_weights_of_another_number_of_channels_are_refused():
    model = drawn(nets.NETS["googlenet.bn"](3))
    grey = classifier("googlenet.bn", 3, seed=1, channels=1)
    assert "conv1.weight" in unchanged_by(model, start_from, model, grey, "runs/grey")


SOFT = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, 0.6, 0.4]])
WEIGHT = torch.tensor([0.5, 1.0, 2.5])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_the_loss_of_soft_labels_is_that_of_the_formula(smoothing, weight):
    """Mean of (t . w) * -sum(((1 - s) t + s / K) ln p), for the main logits and each head's."""
    torch.manual_seed(0)
    model = build(nets.NETS["googlenet.bn"](3, channels=1)).eval()
    with torch.no_grad():
        model.fc.weight.mul_(50)  # fresh logits are all near 0
    images = torch.randn(3, 1, 32, 32)
    with torch.no_grad():
        total, losses, logits = Objective(model, 0.3, smoothing, weight)(images, SOFT)
        found = model.endpoints(images, ["aux_4a", "aux_4d"])
    expected = []
    for one in (logits, found["aux_4a"], found["aux_4d"]):
        z = one.double()
        loss = 0.0
        for n in range(3):
            log_p = z[n] - z[n].exp().sum().log()
            cross = sum(
                -float(log_p[k]) * ((1 - smoothing) * float(SOFT[n, k]) + smoothing / 3)
                for k in range(3)
            )
            share = 1.0 if weight is None else float(SOFT[n] @ weight)
            loss += share * cross / 3
        expected.append(loss)
    assert losses.tolist() == pytest.approx(expected, rel=1e-4)
    assert float(total) == pytest.approx(expected[0] + 0.3 * sum(expected[1:]), rel=1e-4)
    certain = torch.eye(3)[[2, 0, 1]]
    with torch.no_grad():
        hard = Objective(model, 0.3, smoothing, weight)(images, torch.tensor([2, 0, 1]))[1]
        soft = Objective(model, 0.3, smoothing, weight)(images, certain)[1]
    torch.testing.assert_close(hard, soft)


def test_soft_labels_go_where_their_images_go():
    soft = np.array([[1, 0], [0.25, 0.75], [0, 1]])
    samples = Samples(ArrayImages(np.zeros((3, 4, 4), np.uint8)), np.array([0, 1, 1]), soft)
    some = samples.take(np.array([2, 1]))
    np.testing.assert_array_equal(some.targets, np.float32([[0, 1], [0.25, 0.75]]))
    assert samples.targets.dtype == np.float32
    np.testing.assert_array_equal(replace(samples, soft=None).targets, [0, 1, 1])


@pytest.mark.parametrize("memory", [True, False])
def test_a_recipe_says_whether_soft_labels_are_trained_on(stripes, tiny, monkeypatch, memory):
    if not memory:
        monkeypatch.setattr("inceptive.data.loading.MEMORY_LIMIT", 0)
    data = open_data(str(stripes), SplitFractions(0.2, 0.2))
    given = data.split("train")
    soft = np.eye(2)[given.labels] * 0.8 + 0.1
    splits = {**data.splits, "train": replace(given, soft=soft)}
    data = replace(data, splits=splits)
    shown = Preprocessing(size=32, channels=1, mean=(0.5,), std=(0.5,))
    for wanted, shape in (("true", (12, 2)), ("false", (12,))):
        recipe = Recipe.read(str(tiny), [f"data.soft={wanted}", "data.workers=0"])
        _, targets = next(iter(loaders_for(recipe, data, shown).train.epoch(0)))
        assert targets.shape == shape
        if wanted == "true":
            torch.testing.assert_close(targets.sum(1), torch.ones(12))


@pytest.mark.parametrize(
    ("how", "still"), [("frozen", True), pytest.param("train", False, marks=pytest.mark.training)]
)
def test_frozen_batch_norm_keeps_its_statistics(stripes, tiny, tmp_path, how, still):
    changes = ["epochs=1", "ema.decay=0", f"finetune.batch_norm={how}"]
    data = open_data(str(stripes), SplitFractions(0.2, 0.2))
    made = Run(Recipe.read(tiny, changes), data, tmp_path / "m").run().model
    fresh = build(made.net)
    before, after = fresh.state_dict(), made.state_dict()
    kept = [torch.equal(after[key], before[key]) for key in before if "running" in key]
    assert all(kept) if still else not any(kept)
    assert (after["conv1.bn.num_batches_tracked"] == 0) == still
    assert not torch.equal(after["conv1.bn.weight"], torch.ones(64))  # gammas go on learning
