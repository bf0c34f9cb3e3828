"""Readers of foreign checkpoints, on files of the publishers' own code or of writers written here.

tests/fixtures/README.md says how the files there were made.
"""

import base64
import gzip
import io
import json
import pickle
import random
import sys
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import h5py
import numpy as np
import pyarrow
import pytest
import safetensors.numpy
import torch

from inceptive.errors import InceptiveError
from inceptive.weights import readers
from inceptive.weights.readers import keras_h5
from inceptive.weights.readers.table import entries, unsnap

FIXTURES = Path(__file__).parents[1] / "fixtures"
RNG = np.random.default_rng(7)
STATE = {
    "conv1.conv.weight": RNG.normal(size=(4, 3, 2, 2)).astype(np.float32),
    "conv1.bn.num_batches_tracked": np.array(12, np.int64),
    "fc.bias": RNG.normal(size=5).astype(np.float16),
}


def same(got, wanted):
    assert list(got) == list(wanted)
    for name, tensor in wanted.items():
        assert got[name].dtype == tensor.dtype and got[name].shape == tensor.shape, name
        np.testing.assert_array_equal(got[name], tensor)


def refused(path, *words):
    with pytest.raises(InceptiveError) as caught:
        readers.read(path)
    line = str(caught.value)
    assert "\n" not in line and str(path) in line
    for word in words:
        assert word in line, line


def tarball(path, files, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = len(data), kind
            archive.addfile(member, io.BytesIO(data))
    return path


# PyTorch and safetensors


def state(as_torch=torch.from_numpy):
    return OrderedDict((name, as_torch(np.array(tensor))) for name, tensor in STATE.items())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("nested", [True, False], ids=["nested", "plain"])
def test_a_file_of_torch_save(tmp_path, zipped, nested):
    path = tmp_path / "googlenet-1378be20.pth"
    value = {"state_dict": state(), "epoch": 3} if nested else state()
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    same(readers.read(path), STATE)


def test_parameters_and_views_come_out_as_they_are_seen(tmp_path):
    path = tmp_path / "net.pth"
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save({"w": torch.nn.Parameter(whole[:, 1:]), "t": whole.t()}, path)
    same(readers.read(path), {"w": whole[:, 1:].numpy(), "t": whole.t().numpy()})


def test_a_zip_of_one_pth(tmp_path):
    torch.save(state(), tmp_path / "inceptionv3-0558.pth")
    path = tmp_path / "inceptionv3-0558.pth.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "inceptionv3-0558.pth", "inceptionv3-0558.pth")
    same(readers.read(path), STATE)


def test_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(STATE, path)
    assert set(readers.read(path)) == set(STATE)
    same(dict(sorted(readers.read(path).items())), dict(sorted(STATE.items())))


class Payload:
    def __reduce__(self):
        return (sys.exit, (3,))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(tmp_path, zipped):
    path = tmp_path / "evil.pth"
    torch.save({"w": Payload()}, path, _use_new_zipfile_serialization=zipped)
    refused(path, "sys.exit")
    path.write_bytes(pickle.dumps(Payload()))
    refused(path)


def test_what_is_no_plain_tensor_is_refused(tmp_path):
    path = tmp_path / "net.pth"
    for value, word in [
        ({"w": torch.ones(2), "epoch": 3}, "'epoch' is a int"),
        ([torch.ones(2)], "a list"),
        ({}, "no tensors"),
        ({"w": torch.ones(2).to(torch.float8_e4m3fn)}, "float8_e4m3fn"),
        ({"w": torch.ones(1).expand(10**9)}, "larger than what is stored"),
        ({"w": torch.eye(3).to_sparse()}, "not a plain tensor"),
        ({"w": torch.ones(2, device="meta")}, "'w'"),
    ]:
        torch.save(value, path)
        refused(path, word)


def test_a_zip_that_unpacks_without_end_is_refused(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net.pth", bytes(1 << 25))
    refused(path, "unpacks to far more")
    torch.save(state(), tmp_path / "net.pth")
    with zipfile.ZipFile(tmp_path / "net.pth") as stored:
        parts = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, bytes(1 << 22) if name.endswith("data/0") else part)
    refused(path, "claim more bytes")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README", b"hello")
    refused(path, "0 weights files")


# Keras

KERAS = {
    "conv2d_1/kernel:0": RNG.normal(size=(3, 3, 3, 4)).astype(np.float32),
    "batch_normalization_1/beta:0": RNG.normal(size=4).astype(np.float32),
    "batch_normalization_1/moving_mean:0": RNG.normal(size=4).astype(np.float32),
    "predictions/kernel:0": RNG.normal(size=(4, 2)).astype(np.float32),
}


def keras_layout(file, weights):
    """The legacy layout, as Keras 2.0 to 2.x wrote it: names as arrays of bytes."""
    layers = list(dict.fromkeys(["input_1", *(name.split("/")[0] for name in weights)]))
    file.attrs["layer_names"] = [layer.encode() for layer in layers]
    file.attrs["backend"] = b"tensorflow"
    for layer in layers:
        names = [name for name in weights if name.startswith(f"{layer}/")]
        group = file.create_group(layer)
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name in names:
            group[name] = weights[name]


def keras_file(path):
    with h5py.File(path, "w") as file:
        keras_layout(file, KERAS)
    return path


def test_a_legacy_keras_file(tmp_path):
    same(readers.read(keras_file(tmp_path / "inception_v3_weights.h5")), KERAS)
    with h5py.File(tmp_path / "model.h5", "w") as file:
        keras_layout(file.create_group("model_weights"), KERAS)
        file.create_group("optimizer_weights")["adam/m:0"] = np.ones(3)
    same(readers.read(tmp_path / "model.h5"), KERAS)


def test_a_list_of_layers_too_long_for_one_attribute(tmp_path):
    path = keras_file(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        names = list(file.attrs["layer_names"])
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:2], names[2:]
    same(readers.read(path), KERAS)


def test_a_layer_that_is_a_model_and_weights_without_the_layers_name(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["inception_v3", "dense"]
        for layer, name in [("inception_v3", "conv2d_1/kernel:0"), ("dense", "dense_3/bias:0")]:
            file.create_group(layer).attrs["weight_names"] = [name]
            file[layer][name] = np.ones(2, np.float32)
    assert list(readers.read(path)) == ["inception_v3/conv2d_1/kernel:0", "dense/dense_3/bias:0"]


@pytest.mark.faults
def test_an_h5_file_reaches_for_nothing_outside_itself(tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones(4, np.float32)
    path = tmp_path / "evil.h5"

    def made(put):
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = ["a"]
            file.create_group("a").attrs["weight_names"] = ["w"]
            put(file["a"])
        return path

    def linked(group):
        group["w"] = h5py.ExternalLink(str(secret), "/x")

    def outside(group):
        group.create_dataset("w", (4,), "f4", external=[(str(secret), 0, 16)])

    def virtual(group):
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
        group.create_virtual_dataset("w", layout)

    refused(made(linked), "a link")
    refused(made(outside), "another file")
    refused(made(virtual), "another file")
    refused(made(lambda group: group.create_dataset("w", (1 << 40,), "f4")), "more bytes")
    refused(made(lambda group: group.create_dataset("w", (4,), "f4", chunks=(2,))), "packed")
    refused(made(lambda group: group.create_dataset("w", data=[b"text"])), "numbers")
    refused(made(lambda group: None), "missing")


@pytest.mark.parametrize("fate", ["os.abort()", "time.sleep(60)"])
def test_a_file_on_which_the_hdf5_library_crashes_or_hangs(tmp_path, monkeypatch, fate):
    path = keras_file(tmp_path / "x.h5")
    (tmp_path / "h5py.py").write_text(f"import os, time\n{fate}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(keras_h5, "PATIENCE", 2)
    refused(path, "the HDF5 library")


def test_missing_h5py_is_said_with_the_extra(tmp_path, monkeypatch):
    path = keras_file(tmp_path / "x.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InceptiveError, match=r"pip install 'inceptive\[weights\]'"):
        readers.read(path)


# Protocol buffers, written from their public description


def varint(number):
    number &= (1 << 64) - 1
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


# Caffe

CAFFE = {
    "conv1/7x7_s2/0": RNG.normal(size=(4, 3, 7, 7)).astype(np.float32),
    "conv1/7x7_s2/1": RNG.normal(size=4).astype(np.float32),
    "loss3/classifier/0": RNG.normal(size=(5, 4)).astype(np.float64),
}


def blob(tensor, legacy=False, packed=True):
    number, kind = (8, 1) if tensor.dtype == np.float64 else (5, 5)
    if packed:
        data = field(number, tensor.tobytes())
    else:
        data = b"".join(varint(number << 3 | kind) + one.tobytes() for one in tensor.ravel())
    if legacy:
        sizes = (1,) * (4 - tensor.ndim) + tensor.shape
        return b"".join(field(k + 1, size) for k, size in enumerate(sizes)) + data
    return data + field(7, field(1, b"".join(map(varint, tensor.shape))))


def caffemodel(tensors, new=True, **how):
    layer, name, blobs = (100, 1, 7) if new else (2, 4, 6)
    net = field(1, "GoogleNet") + field(layer, field(name, "data"))
    for one in dict.fromkeys(key.rsplit("/", 1)[0] for key in tensors):
        held = [blob(tensor, **how) for key, tensor in tensors.items() if key.startswith(one)]
        net += field(layer, field(name, one) + b"".join(field(blobs, each) for each in held))
    return net


@pytest.mark.parametrize("new", [True, False], ids=["layer", "layers"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "one by one"])
def test_a_caffemodel(tmp_path, new, packed):
    path = tmp_path / "bvlc_googlenet.caffemodel"
    path.write_bytes(caffemodel(CAFFE, new=new, packed=packed))
    same(readers.read(path), CAFFE)


def test_the_four_dimensions_of_old_blobs_stay(tmp_path):
    path = tmp_path / "bvlc_googlenet.caffemodel"
    path.write_bytes(caffemodel(CAFFE, new=False, legacy=True))
    got = readers.read(path)
    assert [tensor.shape for tensor in got.values()] == [(4, 3, 7, 7), (1, 1, 1, 4), (1, 1, 5, 4)]
    for name, tensor in CAFFE.items():
        np.testing.assert_array_equal(got[name].ravel(), tensor.ravel())


def test_a_caffemodel_cannot_claim_more_than_it_holds(tmp_path):
    path = tmp_path / "x.caffemodel"
    large = field(7, field(1, varint(1 << 30) + varint(1 << 30))) + field(5, bytes(4))
    path.write_bytes(field(100, field(1, "a") + field(7, large)))
    refused(path, "1073741824×1073741824", "4 bytes")
    path.write_bytes(field(100, field(7, field(7, field(1, varint(-1))))))
    refused(path, "makes no sense")
    path.write_bytes(varint(802) + varint(1 << 50) + b"abc")
    refused(path, "ends inside a field")
    path.write_bytes(caffemodel(CAFFE) * 2)
    refused(path, "there twice")


# TensorFlow, written from its public description

TENSORFLOW = {
    "InceptionV1/Conv2d_1a_7x7/BatchNorm/beta": RNG.normal(size=4).astype(np.float32),
    "InceptionV1/Conv2d_1a_7x7/weights": RNG.normal(size=(7, 7, 3, 4)).astype(np.float32),
    "double": RNG.normal(size=(2, 3)),
    "flags": np.array([True, False, True]),
    "global_step": np.array(-(1 << 40)),
    "half": RNG.normal(size=3).astype(np.float16),
    "small": np.array([-3, 4], np.int8),
}
CODES = {"float32": 1, "float64": 2, "int8": 6, "int64": 9, "bool": 10, "float16": 19}
VALUES = {"float32": 5, "float64": 6, "int8": 7, "int64": 10, "bool": 11, "float16": 13}
MAGIC = 0xDB4775248B80FB57


def table(pairs, per_block=2, pack=None):
    """A LevelDB table: blocks with shared prefixes, an index, an empty metaindex, the footer."""
    out = bytearray()

    def block(items):
        body, last = b"", b""
        for key, value in items:
            shared = 0
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
            body += varint(shared) + varint(len(key) - shared) + varint(len(value))
            body, last = body + key[shared:] + value, key
        body += bytes(4) + (1).to_bytes(4, "little")
        stored = pack(body) if pack else body
        handle = varint(len(out)) + varint(len(stored))
        out.extend(stored + bytes([pack is not None]) + bytes(4))
        return handle

    pairs = sorted(pairs)
    groups = [pairs[k : k + per_block] for k in range(0, len(pairs), per_block)]
    index = [(group[-1][0], block(group)) for group in groups]
    footer = block([]) + block(index)
    return bytes(out) + footer.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def shape_proto(shape):
    return b"".join(field(2, field(1, size)) for size in shape)


def values(tensor):
    if tensor.dtype in (np.float32, np.float64):
        return tensor.tobytes()
    plain = tensor.view(np.uint16) if tensor.dtype == np.float16 else tensor
    return b"".join(varint(int(one)) for one in plain.ravel())


def v1(tensors, extent=b"", **how):
    meta, pairs = b"", []
    for name, tensor in tensors.items():
        code, shape = CODES[tensor.dtype.name], shape_proto(tensor.shape)
        extents = field(1, extent) * tensor.ndim
        meta += field(1, field(1, name) + field(2, shape) + field(3, code) + field(4, extents))
        data = field(VALUES[tensor.dtype.name], values(tensor))
        saved = field(1, name) + field(2, extents) + field(3, data)
        pairs.append((b"\0" + name.encode(), field(2, saved)))
    return table([(b"", field(1, meta)), *pairs], **how)


def v2(folder, tensors, prefix="model.ckpt", edit=lambda entry: entry, **how):
    data, pairs = b"", [(b"", field(1, 1) + field(3, field(1, 1)))]
    for name, tensor in tensors.items():
        entry = field(1, CODES[tensor.dtype.name]) + field(2, shape_proto(tensor.shape))
        entry += field(4, len(data)) + field(5, tensor.nbytes) + varint(6 << 3 | 5) + bytes(4)
        pairs.append((name.encode(), edit(entry)))
        data += tensor.tobytes()
    pairs.append((b"_CHECKPOINTABLE_OBJECT_GRAPH", field(1, 7) + field(5, 3)))
    (folder / f"{prefix}.index").write_bytes(table(pairs, **how))
    (folder / f"{prefix}.data-00000-of-00001").write_bytes(data + b"abc")
    return folder / prefix


def snappy(data):
    return pyarrow.compress(data, codec="snappy", asbytes=True)


@pytest.mark.parametrize("pack", [None, snappy], ids=["plain", "snappy"])
def test_a_v1_checkpoint(tmp_path, pack):
    path = tmp_path / "inception_v1.ckpt"
    path.write_bytes(v1(TENSORFLOW, pack=pack))
    same(readers.read(path), TENSORFLOW)
    archive = tarball(tmp_path / "inception_v1_2016_08_28.tar.gz", {path.name: path.read_bytes()})
    same(readers.read(archive), TENSORFLOW)


@pytest.mark.parametrize("pack", [None, snappy], ids=["plain", "snappy"])
def test_a_v2_checkpoint(tmp_path, pack):
    path = v2(tmp_path, TENSORFLOW, pack=pack)
    same(readers.read(path), TENSORFLOW)
    same(readers.read(tmp_path / "model.ckpt.index"), TENSORFLOW)
    files = {f"./net/{one.name}": one.read_bytes() for one in tmp_path.iterdir()}
    archive = tarball(tmp_path / "net.tar.gz", files | {"./net/graph.pbtxt": b"node {}"})
    same(readers.read(archive), TENSORFLOW)


def test_a_v2_checkpoint_without_its_data(tmp_path):
    path = v2(tmp_path, TENSORFLOW)
    (tmp_path / "model.ckpt.data-00000-of-00001").unlink()
    refused(path, "model.ckpt.data-00000-of-00001 is not beside its index")


def test_slices_and_overlaps_are_refused(tmp_path):
    path = tmp_path / "x.ckpt"
    path.write_bytes(v1(TENSORFLOW, extent=field(1, 2)))
    refused(path, "stored in slices")
    refused(v2(tmp_path, TENSORFLOW, edit=lambda entry: entry + field(7, b"")), "slices")
    refused(v2(tmp_path, {"\0coded": np.ones(3)}), "slices")
    beyond = v2(tmp_path, TENSORFLOW, edit=lambda entry: entry + field(4, 1 << 50))
    refused(beyond, "InceptionV1/Conv2d_1a_7x7", "0 bytes")
    refused(v2(tmp_path, TENSORFLOW, edit=lambda entry: entry + field(5, 1 << 50)), "claim more")


def test_a_table_that_names_one_block_many_times_is_refused():
    """Else a small file could unpack without end."""
    restarts = bytes(4) + (1).to_bytes(4, "little")
    block = bytes(3) + restarts + bytes(5)  # one entry without key or value, then type and checksum
    index = b"".join(b"\0\1\2" + bytes([k]) + varint(0) + varint(11) for k in range(3)) + restarts
    footer = (b"\0\0" + varint(len(block)) + varint(len(index))).ljust(40, b"\0")
    data = block + index + bytes(5) + footer + MAGIC.to_bytes(8, "little")
    with pytest.raises(ValueError, match="out of order"):
        list(entries(memoryview(data)))


def test_an_archive_is_never_unpacked_to_the_disk(tmp_path):
    data = v1(TENSORFLOW)
    inner = tmp_path / "inner"
    inner.mkdir()
    path = tarball(inner / "x.tar.gz", {"../../escape.ckpt": data})
    same(readers.read(path), TENSORFLOW)
    assert [one.name for one in tmp_path.rglob("*") if one.is_file()] == ["x.tar.gz"]
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with tarfile.open(path, "w:gz") as archive:
            member = tarfile.TarInfo("x.ckpt")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        refused(path, "it holds none")
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("x.ckpt")
        member.size = len(data)
        member.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 60)}
        archive.addfile(member, io.BytesIO(data))
    refused(path, "it holds none")
    refused(tarball(path, {"a.ckpt": data, "b.ckpt": data}), "2 checkpoints")
    with gzip.open(path, "wb") as bomb:
        bomb.write(bytes(1 << 25))
    refused(path, "times its size")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a",
        b"abcdefgh" * 1000,
        bytes(100_000),
        RNG.bytes(100_000),
        RNG.integers(0, 3, 5000).astype(np.uint8).tobytes() * 3,
    ],
    ids=["nothing", "one", "periodic", "zeros", "noise", "mixed"],
)
def test_snappy_against_the_library(data):
    packed = snappy(data)
    assert unsnap(memoryview(packed)) == data
    for cut in range(0, len(packed), max(1, len(packed) // 50)):
        with pytest.raises(ValueError):
            unsnap(memoryview(packed[:cut]))


# TensorFlow.js

TFJS = {
    "conv2d_1/kernel": RNG.normal(size=(3, 3, 3, 4)).astype(np.float32),
    "batch_normalization_1/beta": RNG.normal(size=4).astype(np.float32),
    "step": np.array([7, -8], np.int32),
}


HUGE = {"dtype": "int32", "scale": 1e300, "min": 0}


def tfjs(quantised=False):
    """(manifest, shards, the tensors to come out)."""
    weights, data, wanted = [], b"", {}
    for name, tensor in TFJS.items():
        spec = {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype.name}
        if quantised and tensor.dtype == np.float32:
            low, scale = float(tensor.min()), float(np.ptp(tensor)) / 255
            tensor = np.rint((tensor - low) / scale).astype(np.uint8)
            spec["quantization"] = {"min": low, "scale": scale, "dtype": "uint8"}
            numbers = [float(one) * scale + low for one in tensor.ravel()]
            wanted[name] = np.array(numbers, np.float32).reshape(tensor.shape)
        else:
            wanted[name] = tensor
        weights.append(spec)
        data += tensor.tobytes()
    cut = len(data) // 2 + 1
    shards = {"group1-shard1of2": data[:cut], "group1-shard2of2": data[cut:]}
    return [{"paths": list(shards), "weights": weights}], shards, wanted


def tfjs_folder(folder, manifest, shards):
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
    for name, data in shards.items():
        (folder / name).write_bytes(data)
    return folder


def module(value):
    """As browserify and a minifier write a module that exports one literal."""
    return f"!function(e){{e()}}(function(){{return{{1:[function(a,n,i){{n.exports={value}}}]}}}});"


def minified(value):
    """A JavaScript literal with bare keys, !0 for true and numbers without their zero."""
    match value:
        case bool():
            return "!0" if value else "!1"
        case dict():
            return "{" + ",".join(f"{key}:{minified(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ",".join(map(minified, value)) + "]"
        case float():
            return repr(value).replace("0.", ".", 1) if abs(value) < 1 else repr(value)
    return json.dumps(value)


def nsfwjs(path, manifest, shards, folder="inception_v3", more=()):
    model = {"modelTopology": {"dtype": "float32", "sparse": False}, "weightsManifest": manifest}
    files = {f"package/dist/models/{folder}/model.min.js": module(minified(model)).encode()}
    for name, data in shards.items():
        text = json.dumps(base64.b64encode(data).decode())
        files[f"package/dist/models/{folder}/{name}.min.js"] = module(text).encode()
    return tarball(path, files | dict(more))


@pytest.mark.parametrize("quantised", [True, False])
def test_a_tensorflow_js_folder_and_package(tmp_path, quantised):
    manifest, shards, wanted = tfjs(quantised)
    folder = tfjs_folder(tmp_path / "model", manifest, shards)
    same(readers.read(folder), wanted)
    same(readers.read(folder / "model.json"), wanted)
    other = {"package/dist/models/mobilenet_v2/model.min.js": b"alert(1)"}
    same(readers.read(nsfwjs(tmp_path / "nsfwjs.tgz", manifest, shards, more=other)), wanted)
    files = {f"x/{one.name}": one.read_bytes() for one in folder.iterdir()}
    same(readers.read(tarball(tmp_path / "plain.tgz", files)), wanted)


def test_a_manifest_reaches_for_nothing_outside_its_folder(tmp_path):
    manifest, shards, _ = tfjs()
    (tmp_path / "group1-shard1of2").write_bytes(shards["group1-shard1of2"])
    for name in ("../group1-shard1of2", str(tmp_path / "group1-shard1of2"), "..", ""):
        manifest[0]["paths"][0] = name
        refused(tfjs_folder(tmp_path / "model", manifest, {}), "not plain")
        refused(nsfwjs(tmp_path / "x.tgz", manifest, shards), "not plain")


def test_a_manifest_that_does_not_fit_its_shards(tmp_path):
    for change, word in [
        (lambda group: group["weights"].pop(), "the weights"),
        (lambda group: group["weights"][0].update(shape=[1 << 39, 1 << 39]), "549755813888×"),
        (lambda group: group["weights"][0].update(shape=[-1]), "makes no sense"),
        (lambda group: group["weights"][0].update(dtype="string"), "'string'"),
        (lambda group: group["weights"][2].update(quantization=HUGE), "beyond float32"),
        (lambda group: group["paths"].append("group1-shard2of2"), "different names"),
        (lambda group: group.pop("paths"), "paths"),
    ]:
        manifest, shards, _ = tfjs()
        change(manifest[0])
        refused(tfjs_folder(tmp_path / "model", manifest, shards), word)
        refused(nsfwjs(tmp_path / "x.tgz", manifest, shards), word)


def test_javascript_that_is_more_than_data_is_refused(tmp_path):
    name = "package/dist/models/inception_v3/model.min.js"
    for script in ("weightsManifest:[f(1)]", "weightsManifest:[", "weightsManifest:]", "x", ""):
        refused(tarball(tmp_path / "x.tgz", {name: module(script).encode()}))


# Files of the publishers' own code


def ramp(shape, step):
    """Numbers that are exact in float32: what every fixture's tensors were set to."""
    return (np.arange(np.prod(shape, dtype=int)).reshape(shape) * step - 3).astype(np.float32)


REAL = {
    "InceptionV1/Conv2d_1a_7x7/BatchNorm/beta": ramp((4,), 0.5),
    "InceptionV1/Conv2d_1a_7x7/weights": ramp((2, 3, 3, 4), 0.25),
    "InceptionV1/Logits/half": ramp((3,), 0.125).astype(np.float16),
    "flags": np.array([True, False]),
    "global_step": np.array(-(1 << 40), np.int64),
    "small": np.array([[-3, 4]], np.int32),
}


@pytest.mark.parametrize("name", ["tf_v1.ckpt", "tf_v2", "tf_v2.index"])
def test_checkpoints_of_tensorflow_itself(name):
    same(readers.read(FIXTURES / name), REAL)


def test_a_checkpoint_of_tf_train_checkpoint_without_its_text():
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    got = readers.read(FIXTURES / "tf_object-1.index")
    wanted = {f"kernel{suffix}": ramp((2, 3), 0.5), f"save_counter{suffix}": np.array(1)}
    same(got, wanted)


KERAS_SHAPES = {
    "conv2d_1/kernel": (2, 2, 3, 4),
    "batch_normalization_1/gamma": (4,),
    "batch_normalization_1/beta": (4,),
    "batch_normalization_1/moving_mean": (4,),
    "batch_normalization_1/moving_variance": (4,),
    "predictions/kernel": (4, 2),
    "predictions/bias": (2,),
}


def test_an_h5_file_of_keras_itself():
    wanted = [ramp(shape, k + 0.5) for k, shape in enumerate(KERAS_SHAPES.values())]
    same(readers.read(FIXTURES / "keras3.h5"), dict(zip(KERAS_SHAPES, wanted, strict=True)))
    of_keras_2 = dict(zip([f"{name}:0" for name in KERAS_SHAPES], wanted, strict=True))
    same(readers.read(FIXTURES / "keras2.h5"), of_keras_2)
    places = readers.read(FIXTURES / "keras3.weights.h5")
    assert sorted(map(np.sum, places.values())) == sorted(map(np.sum, wanted))
    same({"k": places["layers/conv2d/vars/0"]}, {"k": wanted[0]})


# Damaged files


def samples(folder):
    """(path, the tensors it holds) of each format, small."""
    same_named = {name: tensor.copy() for name, tensor in STATE.items()}
    for name, zipped in [("new.pth", True), ("old.pth", False)]:
        torch.save(state(), folder / name, _use_new_zipfile_serialization=zipped)
        yield folder / name, same_named
    safetensors.numpy.save_file(STATE, folder / "model.safetensors")
    yield folder / "model.safetensors", same_named
    yield keras_file(folder / "keras.h5"), KERAS
    (folder / "x.caffemodel").write_bytes(caffemodel(CAFFE))
    yield folder / "x.caffemodel", CAFFE
    (folder / "v1.ckpt").write_bytes(v1(TENSORFLOW, pack=snappy))
    yield folder / "v1.ckpt", TENSORFLOW
    data = (folder / "v1.ckpt").read_bytes()
    yield tarball(folder / "v1.tar.gz", {"x.ckpt": data}), TENSORFLOW
    v2(folder, TENSORFLOW)
    yield folder / "model.ckpt.index", TENSORFLOW
    manifest, shards, wanted = tfjs(quantised=True)
    yield nsfwjs(folder / "nsfwjs.tgz", manifest, shards), wanted
    yield tfjs_folder(folder / "tfjs", manifest, shards) / "model.json", wanted


SAMPLES = ["new.pth", "old.pth", "model.safetensors", "keras.h5", "x.caffemodel", "v1.ckpt",
           "v1.tar.gz", "model.ckpt.index", "nsfwjs.tgz", "model.json"]  # fmt: skip


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    made = samples(tmp_path_factory.mktemp("samples"))
    return {path.name: (path, wanted) for path, wanted in made}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_cut_short_is_refused_or_right(sample, name, monkeypatch):
    if name == "keras.h5":  # a process for each cut would take long
        monkeypatch.setattr(keras_h5, "read", keras_h5.read_here)
    path, wanted = sample[name]
    whole = path.read_bytes()
    same(dict(sorted(readers.read(path).items())), dict(sorted(wanted.items())))
    cuts = {*range(0, len(whole), max(1, len(whole) // 60)), *range(9), len(whole) - 1}
    try:
        for cut in sorted(cuts):
            path.write_bytes(whole[:cut])
            try:
                got = readers.read(path)
            except InceptiveError as error:
                assert str(path) in str(error) and "\n" not in str(error)
                continue
            # Caffe's format has no end mark: a file cut between two layers is a shorter net.
            assert got.keys() == wanted.keys() or name == "x.caffemodel", cut
            same(got, {key: wanted[key] for key in got})
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "keras.h5"])
def test_a_file_with_wrong_bytes_raises_one_kind_of_error(sample, name):
    path, _ = sample[name]
    whole = path.read_bytes()
    rng = random.Random(name)
    try:
        for _ in range(60):
            wrong = bytearray(whole)
            for _ in range(rng.choice([1, 1, 4, 30])):
                wrong[rng.randrange(len(wrong))] = rng.choice(
                    [0, 1, 127, 128, 255, rng.getrandbits(8)]
                )
            path.write_bytes(wrong)
            try:
                readers.read(path)
            except InceptiveError as error:
                assert "\n" not in str(error)
    finally:
        path.write_bytes(whole)


def test_anything_else_is_refused_by_name(tmp_path):
    path = tmp_path / "weights.bin"
    for data in (b"", b"hello", RNG.bytes(5000)):
        path.write_bytes(data)
        refused(path, "none of the weights files known here")
    for name in ("x.h5", "x.caffemodel", "x.ckpt", "x.index", "x.pth", "x.json", "x.safetensors"):
        path = tmp_path / name
        for data in (b"", b"hello, world", RNG.bytes(5000)):
            path.write_bytes(data)
            refused(path)
    refused(tmp_path / "nothing", "no such")
    refused(tmp_path, "model.json")
    refused(Path("/dev/zero"), "no such")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_program_is_refused_in_words(tmp_path):
    """Such as the net of clean-fid and StyleGAN, inception-2015-12-05.pt."""
    torch.jit.script(torch.nn.Linear(2, 3)).save(tmp_path / "net.pt")
    with pytest.raises(InceptiveError, match="TorchScript program; save its state_dict"):
        readers.read(tmp_path / "net.pt")


def test_a_keras_file_in_the_other_order_of_bytes(tmp_path):
    """torch takes no array of it."""
    turned = {name: value.astype(value.dtype.newbyteorder(">")) for name, value in KERAS.items()}
    with h5py.File(tmp_path / "x.h5", "w") as file:
        keras_layout(file, turned)
    read = readers.read(tmp_path / "x.h5")
    same(read, KERAS)
    assert all(torch.from_numpy(value) is not None for value in read.values())
