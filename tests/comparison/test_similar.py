"""`similar`: the nearest images by features, contact sheets, and groups of near-copies."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import command, picture
from PIL import Image, ImageFilter

import inceptive
from inceptive.engines.embedding import Embeddings
from inceptive.errors import InceptiveError


def embeddings(features, names=None, errors=None):
    names = names or [f"{k}.png" for k in range(len(features))]
    return Embeddings(
        tuple(names), np.asarray(features, np.float32), tuple(errors or [""] * len(names)), "pool",
        "mean", "torch",
    )  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two kinds of stripes, and a blurred, smaller copy of one of them; and what is no picture."""
    folder = tmp_path_factory.mktemp("photos")
    for kind in ("across", "down"):
        for number in range(6):
            picture(kind, number).save(folder / f"{kind}{number}.png")
    image = picture("down", 2).resize((37, 37)).filter(ImageFilter.GaussianBlur(0.4))
    image.save(folder / "copy.png")
    (folder / "broken.png").write_text("no picture")
    return folder


def test_the_nearest_come_first_and_the_image_itself_never():
    made = embeddings([[1, 0], [0.9, 0.1], [0, 1], [np.nan, np.nan]], errors=["", "", "", "bad"])
    found = inceptive.similar("0.png", made, progress=None)
    assert [name for name, _ in found.matches] == ["1.png", "2.png"]
    assert found.matches[0][1] == pytest.approx(0.9 / np.hypot(0.9, 0.1))
    assert found.matches[1][1] == pytest.approx(0)
    assert (found.compared, found.unreadable) == (2, ("bad",))
    assert len(inceptive.similar("0.png", made, count=1, progress=None).matches) == 1


def test_features_of_another_model_are_refused(trained, photos, tmp_path):
    clf = inceptive.Classifier.load(trained[0])
    made = clf.embed(sorted(photos.glob("*.png")))
    assert len(made.model) == 64
    made.save(tmp_path / "features.npy")
    assert Embeddings.load(tmp_path / "features.npy").model == made.model
    picture("down", 9).save(tmp_path / "new.png")
    other = inceptive.Classifier.load(trained[0])
    with torch.no_grad():
        next(iter(other.model.parameters())).mul_(-1)
    asked = tmp_path / "new.png", tmp_path / "features.npy"
    inceptive.similar(*asked, clf, progress=None)
    with pytest.raises(InceptiveError, match="made by another model"):
        inceptive.similar(*asked, other, progress=None)


def test_files_that_are_not_found_are_named_and_not_called_different(tmp_path):
    made = embeddings(np.eye(3), names=[str(tmp_path / f"{k}.png") for k in range(3)])
    picture("down", 1).save(tmp_path / "0.png")
    made.save(tmp_path / "made.npy")
    found = inceptive.near_copies(tmp_path / "made.npy", progress=None)
    assert len(found.unreadable) == 2 and "1.png" in found.unreadable[0]


def test_over_a_set_features_are_standardised():
    """A feature that is large in every image says nothing; each counts by how it varies."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 6)) * [1, 1, 1, 1, 1, 100] + [0, 0, 0, 0, 0, 5000]
    features[7] = features[3] + rng.normal(size=6) * [0.1, 0.1, 0.1, 0.1, 0.1, 10]
    found = inceptive.similar("3.png", embeddings(features), progress=None)
    assert found.matches[0][0] == "7.png"
    scaled = (features - features.mean(0)) / features.std(0)
    a, b = scaled[3], scaled[7]
    wanted = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert found.matches[0][1] == pytest.approx(wanted, abs=1e-4)


def test_a_copy_is_nearest_to_what_it_is_of(trained, photos, tmp_path):
    done = command(
        "similar", photos / "copy.png", photos, "--model", trained[0], "--layer", "inception_3a",
        "--count", 3, "--out", tmp_path, "--json",
    )  # fmt: skip
    assert done.returncode == 0 and "left out" in done.stderr and "broken.png" in done.stderr
    found = json.loads(done.stdout)
    assert found["compared"] == 12 and found["layer"] == "inception_3a"
    assert found["matches"][0]["image"].endswith("down2.png") and len(found["matches"]) == 3
    with Image.open(tmp_path / "similar.png") as sheet:
        assert sheet.mode == "RGB" and np.asarray(sheet).std() > 10
    page = (tmp_path / "similar.html").read_text()
    assert page.count("data:image/jpeg") == 4 and "down2.png" in page


def test_the_image_itself_is_left_out_however_its_path_is_written(trained, photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    (photos.parent / "link").symlink_to(photos)
    made = inceptive.embed(trained[0], sorted(photos.glob("d*.png")), progress=None)
    for image in (f"./{photos.name}/down1.png", photos / "down1.png", "link/down1.png"):
        for images in (photos.name, made):
            similar = inceptive.similar(image, images, trained[0], progress=None)
            assert not any(name.endswith("down1.png") for name, _ in similar.matches)


def test_maps_are_compared_too(trained, photos):
    made = inceptive.embed(trained[0], sorted(photos.glob("*.png")), "conv1", "none", progress=None)
    assert inceptive.similar(photos / "down1.png", made, progress=None).compared == 12
    made.save(photos.parent / "maps.npy")
    assert inceptive.near_copies(photos.parent / "maps.npy", progress=None).compared == 13


def test_features_on_disk_are_used_again_by_the_model_that_made_them(trained, photos, tmp_path):
    made = inceptive.embed(trained[0], sorted(photos.glob("down*")), "inception_3a", progress=None)
    made.save(tmp_path / "made.npy")
    image = picture("down", 4)
    found = inceptive.similar(
        image, tmp_path / "made.npy", trained[0], layer="inception_3a", progress=None
    )
    assert found.matches[0][0].endswith("down4.png") and found.matches[0][1] > 0.999
    with pytest.raises(InceptiveError, match="are of inception_3a, not of conv1: name that layer"):
        inceptive.similar(image, tmp_path / "made.npy", trained[0], layer="conv1", progress=None)


def test_groups_join_no_chains():
    from inceptive.comparison.similar import _first_alike

    angles = np.radians([0, 20, 40, 60, 180, 182])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert _first_alike(rows, np.cos(np.radians(25))).tolist() == [0, 0, 2, 2, 4, 4]


def test_few_different_pictures_are_no_near_copies(tmp_path):
    """Not standardised, features of different photographs have cosines of up to 0.95."""
    rng = np.random.default_rng(0)
    features = (2 + rng.normal(0, 1, (6, 64))).clip(0).astype(np.float32)
    made = embeddings(np.concatenate([features, features[:1] * 1.02]))
    made.save(tmp_path / "made.npy")
    found = inceptive.near_copies(tmp_path / "made.npy", progress=None)
    assert found.by_features == (("0.png", "6.png"),)


def test_near_copies_by_features_stand_beside_those_by_pixels(trained, photos):
    found = inceptive.near_copies(
        photos, trained[0], layer="inception_3a", alike=0.9, progress=None
    )
    names = [[name.rpartition("/")[2] for name in group] for group in found.by_features]
    assert ["copy.png", "down2.png"] in names and found.compared == 13
    assert "broken.png" in found.unreadable[0]
    done = command("similar", photos, "--model", trained[0], "--layer", "inception_3a")
    assert "group by features  by pixels" in done.stdout and "copy.png" in done.stdout
    done = command("similar", photos, "--model", trained[0], "--json")
    assert set(json.loads(done.stdout)) == {
        "by_features", "by_pixels", "compared", "layer", "unreadable",
    }  # fmt: skip


def test_usage(photos, tmp_path):
    assert command("similar", "a", "b", "c").returncode == 2
    done = command("similar", photos, "--out", tmp_path)
    assert done.returncode == 2 and "--out" in done.stderr
    (tmp_path / "empty").mkdir()
    done = command("similar", tmp_path / "empty")
    assert done.returncode == 1 and "holds no images" in done.stderr
    with pytest.raises(InceptiveError, match="no other image"):
        inceptive.similar("0.png", embeddings([[1, 0]]), progress=None)


def test_features_of_another_layer_are_refused(trained, photos, tmp_path):
    """Of one width, they were compared all the same: 4b and 4c of googlenet are."""
    made = inceptive.embed(trained[0], sorted(photos.glob("*.png")), "inception_4b", progress=None)
    picture("down", 9).save(tmp_path / "new.png")
    inceptive.similar(tmp_path / "new.png", made, trained[0], progress=None)
    with pytest.raises(
        InceptiveError, match="the features are of inception_4b, not of inception_4c"
    ):
        inceptive.similar(
            tmp_path / "new.png", made, trained[0], layer="inception_4c", progress=None
        )


def test_one_picture_in_an_array_is_one(trained, photos):
    """Its rows were compared."""
    array = np.zeros((24, 24, 3), np.uint8)
    found = inceptive.similar(photos / "down1.png", array, trained[0], progress=None)
    assert found.compared == 1


def test_that_two_engines_cannot_tell_whether_one_model_made_both_is_said(trained, photos, capsys):
    made = inceptive.embed(trained[0], sorted(photos.glob("down*")), progress=None)
    theirs = replace(made, engine="onnx:f32")
    inceptive.similar(picture("down", 9), theirs, inceptive.Classifier.load(trained[0]))
    assert "whether one model made both cannot be told" in capsys.readouterr().err
    inceptive.similar(picture("down", 9), made, trained[0])
    assert "cannot be told" not in capsys.readouterr().err
