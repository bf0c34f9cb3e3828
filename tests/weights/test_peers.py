"""Every net whose weights are published elsewhere, beside the peer's own class.

The peer's class draws the weights, running statistics among them, and saves them as its publisher
does; `Classifier.load` reads that file. Then logits and all stages have to agree, in float32 and in
float64. Matching shapes prove nothing: a padding, an eps or a scale shows here only.
"""

import importlib
import json
import sys
import types
import zipfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from inceptive.arch.nets import NETS
from inceptive.engines.classifier import Classifier
from inceptive.nn import build

pytestmark = pytest.mark.peers

ROOT = Path(__file__).parents[2]
SINGLE, DOUBLE = 1e-4, 1e-9  # largest difference, as a share of the largest value


def draw(model, seed=0):
    """Weights that keep the signal's size; statistics, gammas and betas that are not trivial."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                tensor.fill_(7)
            elif tensor.ndim > 1:
                depthwise = tensor.ndim == 4 and tensor.shape[1] == 1
                gain = 1.0 if depthwise else 2.0
                tensor.normal_(0, (gain / tensor[0].numel()) ** 0.5, generator=generator)
            elif key.endswith(("running_var", "weight")):
                tensor.uniform_(0.5, 1.5, generator=generator)
            else:
                tensor.normal_(0, 0.2, generator=generator)
    return model.eval()


def drawn(imported):
    """The model of a peer once imported, without the time that its own initialisation would take."""
    make = imported()
    with torch.device("meta"):
        model = make()
    return draw(model.to_empty(device="cpu"))


def images(size, count=2, seed=1):
    """Noise of a contrast of its own each: averages of large maps differ too."""
    noise = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return noise * torch.linspace(0.5, 2, count).view(-1, 1, 1, 1)


def outputs(name, model, x):
    """Logits of the peer of `name`, and its submodules' outputs by our names of them."""
    found, hooks, parts = {}, [], PEERS[name].parts
    for ours, theirs in parts.items():

        def keep(module, given, out, name=ours):
            found[name] = out.clone()  # what follows may work in place

        hooks.append(model.get_submodule(theirs).register_forward_hook(keep))
    with torch.inference_mode():
        logits = model(x.flip(1) if PEERS[name].bgr else x)
    for hook in hooks:
        hook.remove()
    return {"fc": logits[:, 1:] if logits.shape[1] == 1001 else logits} | found  # background


def agree(found, expected, bound):
    """Each expected value is ours to within `bound`, and differs between the images; the largest."""
    worst = 0.0
    for name, theirs in expected.items():
        ours = found[name]
        assert ours.shape == theirs.shape, name
        largest = theirs.abs().max().item()
        assert (theirs[0] - theirs[1]).abs().max().item() > 1e-2 * largest > 0, name
        difference = (ours - theirs).abs().max().item() / largest
        assert difference <= bound, f"{name}: {difference:.1e}"
        worst = max(worst, difference)
    return worst


@pytest.fixture
def state(record_property):
    """Writes what was compared, and the largest difference, into the report of the tests.

    `make peers` makes docs/peers.md of it. mode: eval, or train where heads are compared too.
    """

    def write(name, by, theirs, x, outputs, difference, mode="eval"):
        row = {"weights": name, "peer": f"{by} {version(by)}", "made": theirs, "mode": mode,
               "size": x.shape[-1], "outputs": outputs, "difference": difference,
               "precision": str(x.dtype).removeprefix("torch.")}  # fmt: skip
        record_property("compared", json.dumps(row))

    return write


def loaded(published, file):
    classifier = Classifier.load(published, file=file)
    assert not classifier.model.training
    return classifier.model


# torchvision, timm, pytorchcv, facenet-pytorch, pytorch-fid: state dicts


# Each function imports a peer and returns what makes its model.


def torchvision(module):
    """A module of torchvision. Beside a CPU build of torch its compiled operators are missing."""
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", boxes)
    return pytest.importorskip(module)


def torchvision_v1():
    made = torchvision("torchvision.models.googlenet").GoogLeNet
    return partial(made, num_classes=1000, aux_logits=True, init_weights=False)


def torchvision_v3():
    made = torchvision("torchvision.models.inception").Inception3
    return partial(made, num_classes=1000, aux_logits=True, init_weights=False)


def timm(name, made):
    torchvision("torchvision")
    return getattr(pytest.importorskip(f"timm.models.{name}"), made)


def at_any_size(made, pool, **how):
    """`made` with its last pooling, meant for maps of one size, global: the same at that size."""

    def make():
        model = made(**how)
        assert isinstance(model.get_submodule(pool), nn.AvgPool2d)
        model.set_submodule(pool, nn.AdaptiveAvgPool2d(1))
        return model

    return make


def pytorchcv(name):
    pool = "features.final_block.pool" if name == "xception" else "features.final_pool"
    return at_any_size(getattr(pytest.importorskip(f"pytorchcv.models.{name}"), name), pool)


def alone(module):
    """A module of a package whose `__init__` asks for much more, or for older libraries."""
    if find_spec(module.partition(".")[0]) is None:
        pytest.skip(f"{module.partition('.')[0]} is not installed")
    requests, adapters = types.ModuleType("requests"), types.ModuleType("requests.adapters")
    adapters.HTTPAdapter = object
    with pytest.MonkeyPatch.context() as patch:
        for stub in (requests, adapters):
            patch.setitem(sys.modules, stub.__name__, stub)
        parts = module.split(".")
        for depth in range(1, len(parts)):
            package = types.ModuleType(".".join(parts[:depth]))
            package.__path__ = list(find_spec(package.__name__).submodule_search_locations)
            patch.setitem(sys.modules, package.__name__, package)
        return importlib.import_module(module)


def facenet():
    module = alone("facenet_pytorch.models.inception_resnet_v1")
    return partial(module.InceptionResnetV1, classify=True, num_classes=8631)


def cadene(name, made, pool, classes):
    module = alone(f"pretrainedmodels.models.{name}")
    return at_any_size(getattr(module, made), pool, num_classes=classes)


def lucent():
    return alone("lucent.modelzoo.inceptionv1.InceptionV1").InceptionV1


def fid():
    """As pytorch-fid puts it together, without the weights that it would download."""
    torchvision("torchvision")
    module = pytest.importorskip("pytorch_fid.inception")

    def make():
        plain = module._inception_v3(num_classes=1008, aux_logits=False, weights=None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: plain.state_dict())
            return module.fid_inception_v3()

    return make


def counted(ours, theirs, start=0):
    return {name: theirs.format(k) for k, name in enumerate(ours, start)}


V1 = [f"inception_{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
V2 = [f"inception_{at}" for at in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
V3 = [f"mixed_{at}" for at in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")]
V4 = [
    f"mixed_{size}{letter}"
    for size, letters in ((3, "a"), (4, "a"), (5, "abcde"), (6, "abcdefgh"), (7, "abcd"))
    for letter in letters
]
STEM = ("1a", "2a", "2b", "3b", "4a")


def blocks(size, count, start=1):
    return [f"block{size}_{k}" for k in range(start, count + 1)]


def staged(*stages):
    """pytorchcv: every part of a stage is a unit."""
    return {
        ours: f"features.stage{s}.unit{k}"
        for s, stage in enumerate(stages, 1)
        for k, ours in enumerate(stage, 1)
    }


def first(*names):
    return {name: f"features.init_block.conv{k}" for k, name in enumerate(names, 1)}


PARTS_V1 = {"conv1": "conv1", "conv2_reduce": "conv2", "conv2": "conv3",
            **{name: name.replace("_", "") for name in V1}}  # fmt: skip
PARTS_V3 = {**{f"conv_{at}": f"Conv2d_{at}_{3 if at != '3b' else 1}x{3 if at != '3b' else 1}"
               for at in STEM}, **{name: name.capitalize() for name in V3}}  # fmt: skip
FIRST = {f"conv_{at}": f"conv2d_{at}" for at in STEM} | {
    "mixed_6a": "mixed_6a", "mixed_7a": "mixed_7a"
}  # fmt: skip
PARTS_RESNET_V2 = {
    **FIRST,
    "mixed_5b": "mixed_5b",
    **counted(blocks(35, 10), "repeat.{}"),
    **counted(blocks(17, 20), "repeat_1.{}"),
    **counted(blocks(8, 9), "repeat_2.{}"),
    "block8_10": "block8",
    "conv_7b": "conv2d_7b",
}
XCEPTION = [f"block{k}" for k in range(1, 13)]


class Peer(NamedTuple):
    """What is known of a peer's class.

    by: whose package. imported: returns what makes their model. parts: ours -> their submodules.
    size: of images; 139 pixels give the least last maps (3 x 3) on which every pooling and padding
    shows. bgr: theirs reads blue first.
    """

    by: str
    imported: Callable[[], Callable[[], nn.Module]]
    parts: dict[str, str]
    size: int = 139
    suffix: str = ".pth"
    bgr: bool = False


PEERS = {
    "googlenet.torchvision": Peer("torchvision", torchvision_v1, PARTS_V1, 64),
    # Its last layer is softmax, its pooling takes maps of 7 x 7 only, its paddings even sizes.
    "googlenet.inception5h": Peer(
        "torch-lucent",
        lucent,
        {"conv1": "conv2d0", "conv2_reduce": "conv2d1", "conv2": "conv2d2"}
        | {name: name.replace("inception_", "mixed") for name in V1}
        | {"fc": "softmax2_pre_activation_matmul"},
        224,
    ),
    "inception_v3.torchvision": Peer("torchvision", torchvision_v3, PARTS_V3),
    "inception_v3.tf_in1k": Peer(
        "timm",
        partial(timm, "inception_v3", "InceptionV3"), PARTS_V3, suffix=".safetensors"
    ),
    "inception_v4.timm": Peer(
        "timm",
        partial(timm, "inception_v4", "InceptionV4"),
        counted(["conv_1a", "conv_2a", "conv_2b", *V4], "features.{}"),
        suffix=".safetensors",
    ),
    "inception_v4.cadene": Peer(
        "pretrainedmodels",
        partial(cadene, "inceptionv4", "InceptionV4", "avg_pool", 1001),
        counted(["conv_1a", "conv_2a", "conv_2b", *V4], "features.{}"),
    ),
    "inception_resnet_v2.timm": Peer(
        "timm",
        partial(timm, "inception_resnet_v2", "InceptionResnetV2"),
        PARTS_RESNET_V2,
        suffix=".safetensors",
    ),
    "inception_resnet_v2.cadene": Peer(
        "pretrainedmodels",
        partial(cadene, "inceptionresnetv2", "InceptionResNetV2", "avgpool_1a", 1001),
        PARTS_RESNET_V2,
    ),
    "xception.timm": Peer(
        "timm",
        partial(timm, "xception", "Xception"),
        {"conv1": "act1", "conv2": "act2", "conv3": "act3", "conv4": "act4"}
        | {name: name for name in XCEPTION},
        96,
    ),
    "inception_resnet_v1.vggface2": Peer(
        "facenet-pytorch",
        facenet,
        {
            **FIRST,
            "conv_4b": "conv2d_4b",
            **counted(blocks(35, 5), "repeat_1.{}"),
            **counted(blocks(17, 10), "repeat_2.{}"),
            **counted(blocks(8, 5), "repeat_3.{}"),
            "block8_6": "block8",
            "embedding": "last_linear",
            "norm": "last_bn",
        },
        suffix=".pt",
    ),
    "inception_v3.fid": Peer("pytorch-fid", fid, PARTS_V3),
    "bn_inception.cadene": Peer(  # its modules have no submodule each
        "pretrainedmodels",
        partial(cadene, "bninception", "BNInception", "global_pool", 1000),
        {"conv1": "conv1_relu_7x7", "conv2": "conv2_relu_3x3"},
        64,
        bgr=True,
    ),
    "bn_inception.pytorchcv": Peer(
        "pytorchcv",
        partial(pytorchcv, "bninception"),
        {"conv1": "features.init_block.conv1", "conv2": "features.init_block.conv2"}
        | staged(V2[:2], V2[2:7], V2[7:]),
        64,
        ".pth.zip",
    ),
    "inception_v3.pytorchcv": Peer(
        "pytorchcv",
        partial(pytorchcv, "inceptionv3"),
        first(*(f"conv_{at}" for at in STEM)) | staged(V3[:3], V3[3:8], V3[8:]),
        suffix=".pth.zip",
    ),
    "inception_v4.pytorchcv": Peer(
        "pytorchcv",
        partial(pytorchcv, "inceptionv4"),
        first("conv_1a", "conv_2a", "conv_2b")
        | counted(V4[:3], "features.init_block.block{}", 1)
        | staged(V4[3:7], V4[7:15], V4[15:]),
        suffix=".pth.zip",
    ),
    "inception_resnet_v1.pytorchcv": Peer(
        "pytorchcv",
        partial(pytorchcv, "inceptionresnetv1"),
        first(*(f"conv_{at}" for at in STEM), "conv_4b")
        | staged(blocks(35, 5), ["mixed_6a", *blocks(17, 10)], ["mixed_7a", *blocks(8, 6)])
        | {"embedding": "output.fc1", "norm": "output.bn"},
        suffix=".pth.zip",
    ),
    "inception_resnet_v2.pytorchcv": Peer(
        "pytorchcv",
        partial(pytorchcv, "inceptionresnetv2"),
        first(*(f"conv_{at}" for at in STEM))
        | {"mixed_5b": "features.init_block.block", "conv_7b": "features.final_conv"}
        | staged(blocks(35, 10), ["mixed_6a", *blocks(17, 20)], ["mixed_7a", *blocks(8, 10)]),
        suffix=".pth.zip",
    ),
    "xception.pytorchcv": Peer(
        "pytorchcv",
        partial(pytorchcv, "xception"),
        first("conv1", "conv2")
        | staged(XCEPTION[:1], XCEPTION[1:2], XCEPTION[2:11], XCEPTION[11:])
        | {"conv4": "features.final_block.activ"},
        96,
        ".pth.zip",
    ),
}  # fmt: skip
# One of each peer; the others take over five seconds together with their imports.
QUICK = (
    "googlenet.torchvision",
    "xception.timm",
    "inception_resnet_v1.vggface2",
    "inception_v3.fid",
    "bn_inception.pytorchcv",
    "bn_inception.cadene",
    "googlenet.inception5h",
)


def saved(model, folder, suffix):
    """The file that the publisher would make of it: a state dict, in a zip, or in safetensors."""
    if suffix == ".safetensors":
        save_file = pytest.importorskip("safetensors.torch").save_file
        path = folder / "model.safetensors"
        save_file(model.state_dict(), path)
        return path
    path = folder / f"net{suffix.removesuffix('.zip')}"
    torch.save(model.state_dict(), path)
    if not suffix.endswith(".zip"):
        return path
    with zipfile.ZipFile(folder / f"net{suffix}", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        z.write(path, path.name)
    path.unlink()
    return folder / f"net{suffix}"


@pytest.mark.parametrize(
    "name", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in PEERS]
)
def test_logits_and_stages_are_the_peers(name, tmp_path, state):
    peer = PEERS[name]
    theirs = drawn(peer.imported)
    path = saved(theirs, tmp_path, peer.suffix)
    ours = loaded(name, path)
    path.unlink()
    for dtype, bound in ((torch.float32, SINGLE), (torch.float64, DOUBLE)):
        x = images(peer.size).to(dtype)
        expected = outputs(name, theirs.to(dtype), x)
        with torch.inference_mode():
            found = ours.to(dtype).endpoints(x, expected)
        difference = agree(found, expected, bound)
        state(name, peer.by, type(theirs).__name__, x, len(expected), difference)


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_logits_and_stages_are_the_peers_at_the_size_of_the_weights(name, tmp_path, state):
    """Maps of other sizes, odd ones among them, meet other borders."""
    peer = PEERS[name]
    theirs = drawn(peer.imported)
    ours = loaded(name, saved(theirs, tmp_path, peer.suffix))
    x = images(ours.net.image_size)
    expected = outputs(name, theirs, x)
    with torch.inference_mode():
        difference = agree(ours.endpoints(x, expected), expected, SINGLE)
    state(name, peer.by, type(theirs).__name__, x, len(expected), difference)


@pytest.mark.slow
def test_the_head_of_v3_is_torchvisions_while_training(tmp_path, state):
    name = "inception_v3.torchvision"
    theirs = drawn(torchvision_v3).double()
    ours = loaded(name, saved(theirs.float(), tmp_path, ".pth")).double()
    theirs.double()
    for model in (ours, theirs):
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    x = images(299, 4).double()
    with torch.no_grad():
        expected = theirs(x)
        found = ours.endpoints(x, ["fc", "aux_6e"])
    expected = {"fc": expected.logits, "aux_6e": expected.aux_logits}
    difference = agree(found, expected, DOUBLE)
    state(name, PEERS[name].by, type(theirs).__name__, x, len(expected), difference, "train")


# Keras


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        module = pytest.importorskip("keras")
        assert module.backend.backend() == "torch"
        yield module
        module.config.set_dtype_policy("float32")


def keras_weights(model, seed=0):
    """As `draw` does: by the end of each weight's path, laid out as Keras has them."""
    rng = np.random.default_rng(seed)
    drawn = []
    for weight in model.weights:
        shape, kind = tuple(weight.shape), weight.path.rpartition("/")[2]
        if kind.endswith("kernel"):
            depthwise = kind.startswith("depthwise")
            fan_in = int(np.prod(shape[:2] if depthwise else shape[:-1]))
            value = rng.normal(0, ((1 if depthwise else 2) / fan_in) ** 0.5, shape)
        elif kind in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            assert kind in ("beta", "bias", "moving_mean"), kind
            value = rng.normal(0, 0.2, shape)
        drawn.append(value.astype(np.float32))
    return drawn


def keras_parts(name, model):
    """Our parts -> the names of their layers."""
    if name == "inception_v3.keras":
        return counted(V3, "mixed{}")
    if name == "inception_resnet_v2.keras":
        rows = [*blocks(35, 10), *blocks(17, 20), *blocks(8, 9), "conv_7b"]
        mixed = {f"mixed_{at}": f"mixed_{at}" for at in ("5b", "6a", "7a")}
        return mixed | {row: f"{row}_ac" for row in rows}
    added = [layer.name for layer in model.layers if type(layer).__name__ == "Add"]
    alone = {"conv1": "block1_conv1", "conv2": "block1_conv2", "conv3": "block14_sepconv1",
             "conv4": "block14_sepconv2"}  # fmt: skip
    return dict(zip(XCEPTION, added, strict=True)) | {k: f"{v}_act" for k, v in alone.items()}


# Keras 3.15 reads torch's tensors in NumPy 1's way.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "made", "size"),
    [
        pytest.param("inception_v3.keras", "InceptionV3", 139, marks=pytest.mark.slow),
        pytest.param("inception_resnet_v2.keras", "InceptionResNetV2", 139, marks=pytest.mark.slow),
        # Of 96 pixels two poolings see maps of an even size, where SAME pads on one side only.
        ("xception.keras", "Xception", 96),
    ],
)
def test_logits_and_stages_are_keras(keras, tmp_path, monkeypatch, state, name, made, size):
    ours = weights = None
    for policy, dtype, bound in (("float32", torch.float32, SINGLE),
                                 ("float64", torch.float64, DOUBLE)):  # fmt: skip
        keras.config.set_dtype_policy(policy)
        x = images(size).to(dtype)
        model = getattr(keras.applications, made)(
            weights=None, input_shape=(size, size, 3), classifier_activation=None
        )
        weights = weights or keras_weights(model)
        model.set_weights(weights)
        if ours is None:
            model.save(tmp_path / "model.h5")
            ours = loaded(name, tmp_path / "model.h5")
        parts = keras_parts(name, model)
        layers = [model.get_layer(layer).output for layer in parts.values()]
        whole = keras.Model(model.input, [*layers, model.output])
        with monkeypatch.context() as patch, torch.inference_mode():
            # Batch normalisation and means would round to float32, whatever the policy.
            for module in (keras.src.backend, keras.src.backend.common.dtypes):
                patch.setattr(module, "result_type", lambda *_, policy=policy: policy)
            given = whole(x.permute(0, 2, 3, 1), training=False)
        with torch.inference_mode():
            found = ours.to(dtype).endpoints(x, [*parts, "fc"])
        *maps, logits = given
        assert logits.dtype == dtype
        expected = {key: one.permute(0, 3, 1, 2) for key, one in zip(parts, maps, strict=True)}
        expected["fc"] = logits
        difference = agree(found, expected, bound)
        state(name, "keras", made, x, len(expected), difference)


# Caffe, whose own code does not run here: its file format, names and layout, written by hand


def field(number, value):
    """A field of a protocol buffer: a varint, or bytes with their length before them."""

    def varint(whole):
        out = bytearray()
        while whole > 127:
            out.append(whole & 127 | 128)
            whole >>= 7
        return bytes([*out, whole])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def caffemodel(layers):
    """A NetParameter of 2014: V1LayerParameter (2), name (4), blobs (6) of four dimensions each."""
    net = field(1, b"GoogleNet")
    for name, tensors in layers.items():
        layer = field(4, name.encode())
        for tensor in tensors:
            sizes = (1,) * (4 - tensor.ndim) + tensor.shape
            shape = b"".join(field(k, size) for k, size in enumerate(sizes, 1))
            layer += field(6, shape + field(5, np.ascontiguousarray(tensor).tobytes()))
        net += field(2, layer)
    return net


def caffe_layers():
    """The layers with weights of models/bvlc_googlenet/train_val.prototxt -> our units."""
    layers = {"conv1/7x7_s2": "conv1", "conv2/3x3_reduce": "conv2_reduce", "conv2/3x3": "conv2"}
    for name in V1:
        layers |= {
            f"{name}/1x1": f"{name}.b1x1", f"{name}/3x3_reduce": f"{name}.b3x3.reduce",
            f"{name}/3x3": f"{name}.b3x3.conv", f"{name}/5x5_reduce": f"{name}.b5x5.reduce",
            f"{name}/5x5": f"{name}.b5x5.conv", f"{name}/pool_proj": f"{name}.pool.proj",
        }  # fmt: skip
    for loss, head in (("loss1", "aux_4a"), ("loss2", "aux_4d")):
        layers |= {f"{loss}/conv": f"{head}.conv", f"{loss}/fc": f"{head}.fc1",
                   f"{loss}/classifier": f"{head}.fc2"}  # fmt: skip
    return layers | {"loss3/classifier": "fc"}


def test_a_caffemodel_gives_the_logits_of_its_source(tmp_path):
    with torch.device("meta"):
        source = build(NETS["googlenet"]())
    source = draw(source.to_empty(device="cpu"))
    state = {key: value.numpy() for key, value in source.state_dict().items()}
    layers = {
        name: [state[f"{unit}.weight"], state[f"{unit}.bias"]]
        for name, unit in caffe_layers().items()
    }
    assert sum(map(len, layers.values())) == len(state)
    layers["conv1/7x7_s2"][0] = layers["conv1/7x7_s2"][0][:, [2, 1, 0]]  # it reads blue first
    path = tmp_path / "bvlc_googlenet.caffemodel"
    path.write_bytes(caffemodel(layers))
    ours = loaded("googlenet.caffe", path)
    heads = ["inception_3a", "inception_5b", "fc", "aux_4a", "aux_4d"]
    x = images(64)
    with torch.inference_mode():
        expected, found = (model.endpoints(x, heads) for model in (source, ours))
    agree(found, expected, 0.0)


def test_the_document_tells_of_every_peer_and_of_nothing_beyond_the_bounds():
    lines = (ROOT / "docs/peers.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| `" in line]
    ours = {f"{net}.keras" for net in ("inception_v3", "inception_resnet_v2", "xception")}
    assert {row[0].strip("`") for row in rows} == ours | set(PEERS)
    for row in rows:
        for told, bound in zip(row[-2:], (SINGLE, DOUBLE), strict=True):
            assert not told or float(told) <= bound, row
