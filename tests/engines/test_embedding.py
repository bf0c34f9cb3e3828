"""`embed`: features of any part of a net, in memory, in files and in a folder that resumes."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
import torch
from conftest import command, picture
from PIL import Image
from safetensors import safe_open

import inceptive
from inceptive.engines.embedding import Embeddings, gathered
from inceptive.engines.open import open_engine
from inceptive.errors import InceptiveError
from inceptive.exporting import check


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Five pictures, one of them broken."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(5):
        picture("down", number).save(folder / f"{number}.png")
    (folder / "3.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    """A copy of the trained model folder, with exports for both engines."""
    folder = shutil.copytree(trained[0], tmp_path_factory.mktemp("exported") / "stripes")
    clf = inceptive.Classifier.load(folder)
    with pytest.MonkeyPatch.context() as patch:  # what speed they have is not looked at here
        patch.setattr(check, "SECONDS", 0.0)
        patch.setattr(check, "ROUNDS", 1)
        for to in ("onnx", "openvino"):
            clf.export(to, progress=None)
    return folder


def hooked(clf, files, layer):
    """The maps of `layer`, caught by a hook while the whole net runs."""
    kept = []
    hook = clf.model.get_submodule(layer).register_forward_hook(
        lambda *values: kept.append(values[2])
    )
    squares = np.stack([clf.preprocessing.load(file) for file in files])
    with torch.inference_mode():
        clf.model(clf.normalise(torch.from_numpy(squares)))
    hook.remove()
    return kept[0].numpy()


def test_features_are_the_pooled_maps_and_what_cannot_be_read_is_told_in_its_place(model, images):
    clf = inceptive.Classifier.load(model)
    files = sorted(images.iterdir())
    sound = [files[k] for k in (0, 1, 2, 4)]
    found = clf.embed(files, "inception_4e", batch_size=2)
    maps = hooked(clf, sound, "inception_4e")
    assert found.features.shape == (5, maps.shape[1]) and found.features.dtype == np.float32
    np.testing.assert_allclose(
        found.features[[0, 1, 2, 4]], maps.mean((2, 3)), rtol=1e-4, atol=1e-5
    )
    assert np.isnan(found.features[3]).all() and [bool(error) for error in found.errors] == [
        False, False, False, True, False,
    ]  # fmt: skip
    assert "3.png" in found.errors[3] and found.images == tuple(map(str, files))
    assert (found.layer, found.pool, found.engine) == ("inception_4e", "mean", "torch")
    np.testing.assert_allclose(
        clf.embed(sound, "inception_4e", "max").features, maps.max((2, 3)), rtol=1e-4, atol=1e-5
    )
    whole = clf.embed(sound, "inception_4e", "none").features
    np.testing.assert_allclose(whole, maps, rtol=1e-4, atol=1e-5)
    inner = "inception_4e.b5x5"
    np.testing.assert_allclose(
        clf.embed(sound, inner, "none").features, hooked(clf, sound, inner), rtol=1e-4, atol=1e-5
    )
    assert "1 of them not decoded" in repr(found) and np.asarray(found).shape == (5, maps.shape[1])


def test_by_default_they_are_what_the_last_layer_reads(model, images):
    clf = inceptive.Classifier.load(model)
    square = clf.preprocessing.load(images / "0.png")
    found = clf.embed(Image.open(images / "0.png"))
    last = clf.model.get_submodule(clf.net.last)
    with torch.inference_mode():
        logits = last(torch.from_numpy(found.features)).numpy()
    np.testing.assert_allclose(logits, clf.logits(square[None]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("engine", ["onnx:f32", "openvino:f32"])
def test_exported_files_give_torchs_features(model, images, engine):
    for layer in ("", "inception_3b.b3x3.reduce", "fc"):
        ours = inceptive.embed(model, images / "1.png", layer, engine="torch", progress=None)
        other = inceptive.embed(model, images / "1.png", layer, engine=engine, progress=None)
        assert other.engine == engine and ours.layer == other.layer
        np.testing.assert_allclose(other.features, ours.features, rtol=1e-3, atol=1e-4)


@pytest.mark.nets
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_int8_gives_what_the_next_layer_reads(model, images, stripes, engine):
    """The quantiser merges a ReLU into the rounding behind it: the tensor before has values below 0."""
    clf = inceptive.Classifier.load(model)
    clf.export(engine, "int8", calibrate=stripes, max_drop=100, progress=None)
    for layer in ("conv1", "inception_3a.b3x3.reduce", "inception_4a"):
        exact = inceptive.embed(
            model, images / "1.png", layer, "none", engine="torch", progress=None
        )
        rounded = inceptive.embed(
            model, images / "1.png", layer, "none", engine=f"{engine}:int8", progress=None
        )
        assert rounded.features.min() >= 0
        far = np.abs(rounded.features - exact.features).max() / exact.features.max()
        assert 0 < far < 0.2, (layer, far)


def test_what_is_not_there_is_named(model, images):
    clf = inceptive.Classifier.load(model)
    with pytest.raises(InceptiveError, match=r"'inception_9z'.*conv1.*inception_5b"):
        clf.embed(images / "0.png", "inception_9z")
    with pytest.raises(InceptiveError, match="pool = 'sum'"):
        clf.embed(images / "0.png", pool="sum")
    with pytest.raises(InceptiveError, match="no image"):
        clf.embed(3)
    assert len(clf.embed([])) == 0
    exported = open_engine(model / "model.f32.onnx")
    net = inceptive.NETS["googlenet.bn"](num_classes=2, channels=clf.preprocessing.channels)
    exported.metadata = replace(exported.metadata, net=net)  # with its heads, which the file lacks
    with pytest.raises(InceptiveError, match=r"does not give aux_4a.*torch does"):
        inceptive.embed(exported, images / "0.png", "aux_4a")


def test_more_than_memory_should_hold_is_refused(model, images, monkeypatch):
    clf = inceptive.Classifier.load(model)
    monkeypatch.setattr("inceptive.engines.embedding.MOST", 3 * 4 * 1024)
    assert len(clf.embed([images / "0.png"] * 3)) == 3
    with pytest.raises(InceptiveError, match=r"features of 3 images.*--out FOLDER"):
        clf.embed([images / "0.png"] * 4)


def test_each_kind_of_file_says_names_order_and_type(model, images, tmp_path):
    outs = [tmp_path / f"features.{kind}" for kind in ("parquet", "npy", "safetensors")]
    for out in outs:
        done = command(
            "embed", model, images, "--out", out, "--layer", "inception_3a", "--pool", "max"
        )
        assert done.returncode == 1 and done.stdout == ""
        assert "1 of 5 images cannot be read" in done.stderr and "3.png" in done.stderr
    wanted = inceptive.embed(model, sorted(images.iterdir()), "inception_3a", "max", progress=None)
    for out in outs:
        found = Embeddings.load(out)
        assert (found.images, found.errors) == (wanted.images, wanted.errors)
        assert (found.layer, found.pool, found.engine) == ("inception_3a", "max", wanted.engine)
        np.testing.assert_allclose(found.features, wanted.features, rtol=1e-4, atol=1e-5)
    table = pyarrow.parquet.read_table(outs[0])
    assert table.column_names == ["image", "features", "error"]
    assert str(table.schema.field("features").type) == "fixed_size_list<element: float>[256]"
    about = json.loads(table.schema.metadata[b"inceptive.features"])
    assert about == {
        "layer": "inception_3a", "pool": "max", "shape": [256], "dtype": "float32",
        "engine": wanted.engine, "model": wanted.model,
    }  # fmt: skip
    array = np.load(outs[1], allow_pickle=False)
    assert array.dtype.names == ("image", "features", "error") and array["image"][4].endswith(
        "4.png"
    )
    assert json.loads(array.dtype.fields["features"][2]) == about
    with safe_open(outs[2], "np") as file:
        assert json.loads(file.metadata()["inceptive.features"])["images"] == list(wanted.images)


def test_maps_come_back_as_maps(model, images, tmp_path):
    found = inceptive.embed(model, [images / "0.png"] * 2, "inception_3a", "none", progress=None)
    for kind in ("parquet", "npy", "safetensors"):
        found.save(tmp_path / f"maps.{kind}")
        again = Embeddings.load(tmp_path / f"maps.{kind}")
        np.testing.assert_array_equal(again.features, found.features)
        assert again.pool == "none"


def test_a_npy_of_an_earlier_release_which_says_no_layer_is_read(tmp_path):
    kinds = [("image", "U1"), ("features", "f4", (2, 3, 3)), ("error", "U1")]
    np.save(tmp_path / "maps.npy", np.ones(4, kinds), allow_pickle=False)
    found = Embeddings.load(tmp_path / "maps.npy")
    assert (found.layer, found.pool, found.features.shape) == ("", "none", (4, 2, 3, 3))


def test_what_is_no_file_of_features_is_refused(tmp_path):
    np.save(tmp_path / "plain.npy", np.zeros(3, np.float32))
    pyarrow.parquet.write_table(pyarrow.table({"image": ["a"]}), tmp_path / "other.parquet")
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    for name in ("plain.npy", "other.parquet", "damaged.safetensors", "missing.npy"):
        with pytest.raises(InceptiveError, match=f"{name}.*no features"):
            Embeddings.load(tmp_path / name)
    with pytest.raises(InceptiveError, match=r"features\.csv.*\.npy"):
        Embeddings((), np.zeros((0, 3), np.float32), (), "fc", "mean", "torch").save(
            tmp_path / "features.csv"
        )


def test_usage(model, images, tmp_path):
    done = command("embed", model, images, "--out", tmp_path / "a.npy", "--layer", "inception_9z")
    assert done.returncode == 2 and "inception_9z" in done.stderr
    assert not (tmp_path / "a.npy").exists()
    done = command("embed", model, images, "--out", tmp_path / "a.csv")
    assert done.returncode == 2 and ".safetensors; a folder's name ends in /" in done.stderr
    done = command("embed", model, images, images, "--out", tmp_path / "folder")
    assert done.returncode == 2 and "one PATH" in done.stderr


@pytest.mark.scale
def test_a_folder_holds_the_same_and_resumes(model, images, tmp_path):
    asked = ("embed", model, images, "--out", tmp_path / "out", "--layer", "inception_4a")
    done = command(*asked)
    assert done.returncode == 0 and "5 images in 1 parts, 1 of them cannot be read" in done.stderr
    wanted = inceptive.embed(model, sorted(images.iterdir()), "inception_4a", progress=None)
    found = Embeddings.load(tmp_path / "out")
    assert (found.images, found.errors) == (wanted.images, wanted.errors)
    np.testing.assert_allclose(found.features, wanted.features, rtol=1e-4, atol=1e-5)
    assert "scored already" in command(*asked).stderr
    for words, reason in (
        (("--layer", "inception_4b"), "for the features of inception_4a"),
        (("--pool", "max"), "with pool mean"),
    ):
        done = command(*asked, *words)
        assert done.returncode == 1 and reason in done.stderr
    done = command("score", model, images, "--out", tmp_path / "out")
    assert done.returncode == 1 and "was begun" in done.stderr


def test_no_rows_are_an_empty_array(model):
    clf = inceptive.Classifier.load(model)
    assert gathered(inceptive.engines.embedding.Embedder(clf), []).features.shape == (0, 1024)
