"""A classifier in memory and as a folder."""

import json

import numpy as np
import pytest
import torch
from conftest import picture
from safetensors.torch import load_file, save_file

import inceptive
from inceptive.engines.classifier import Classifier, load_weights
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing


@pytest.fixture(scope="module")
def clf():
    torch.manual_seed(7)
    model = inceptive.build(inceptive.NETS["googlenet.bn"](num_classes=3, channels=1)).eval()
    shown = Preprocessing(size=32, channels=1, mean=(0.4,), std=(0.3,))
    return Classifier(model, shown, ("a", "b", "c"), temperature=2.0)


def test_probabilities_are_those_of_the_model_on_normalised_pixels(clf):
    x = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        expected = torch.softmax(clf.model((x / 255 - 0.4) / 0.3).double() / 2.0, 1)
    np.testing.assert_allclose(clf.probs(x), expected, atol=1e-5)


def test_predict_takes_paths_bytes_pictures_and_arrays(clf, tmp_path):
    image = picture("down", 3)
    image.save(tmp_path / "photo.png")
    given = [
        tmp_path / "photo.png", str(tmp_path / "photo.png"),
        (tmp_path / "photo.png").read_bytes(), image, np.asarray(image),
    ]  # fmt: skip
    found = clf.predict(given, top=2)
    assert [one.image for one in found] == [
        str(tmp_path / "photo.png"), str(tmp_path / "photo.png"), "image 2", "image 3", "image 4"
    ]  # fmt: skip
    assert len({one.top for one in clf.predict(given[:1] * 2)}) == 1
    for one in found:
        assert len(one.top) == 2 and not one.error
        np.testing.assert_allclose([p for _, p in one.top], [p for _, p in found[0].top], rtol=1e-5)


def test_an_unreadable_image_has_an_error_and_no_answer(clf, tmp_path):
    found = clf.predict([picture("down", 1), tmp_path / "none.png", picture("across", 1)])
    assert [bool(one.top) for one in found] == [True, False, True]
    assert "none.png: cannot be read" in found[1].error


def test_labels_must_fit_the_net(clf):
    with pytest.raises(InceptiveError, match="2 labels for a net of 3 classes"):
        Classifier(clf.model, clf.preprocessing, ("a", "b"))


def damage(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


def without(key):
    def change(content):
        config = json.loads(content)
        del config[key]
        return json.dumps(config).encode()

    return change


@pytest.mark.parametrize(("name", "change", "said"), [
    ("config.json", lambda c: c[:50], "config.json: is damaged"),
    ("config.json", lambda c: b"[]", "config.json: is damaged"),
    ("config.json", lambda c: b"\xff\xfe", "config.json: is damaged"),
    ("config.json", without("labels"), "config.json: missing or invalid 'labels'"),
    ("config.json", without("net"), "config.json: missing or invalid 'net'"),
    ("config.json", lambda c: c.replace(b"googlenet.bn", b"lenet"), "no net is called 'lenet'"),
    ("config.json", lambda c: c.replace(b'"size"', b'"sise"'), "preprocessing takes"),
    ("config.json", lambda c: c.replace(b'"num_classes": 3', b'"num_classes": 4'),
     "num_classes' (4 for 3 labels)"),
    ("model.safetensors", lambda c: c[:1000], "model.safetensors: is damaged"),
    ("model.safetensors", lambda c: b"", "model.safetensors: is damaged"),
    ("model.safetensors", lambda c: b"\x80\x04pickle", "model.safetensors: is damaged"),
])  # fmt: skip
def test_a_damaged_folder_is_refused_in_one_line(clf, tmp_path, name, change, said):
    clf.save(tmp_path)
    damage(tmp_path, name, change)
    with pytest.raises(InceptiveError) as refused:
        Classifier.load(tmp_path)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_missing_parts_are_named(clf, tmp_path):
    with pytest.raises(InceptiveError, match="does not exist"):
        Classifier.load(tmp_path / "none")
    with pytest.raises(InceptiveError, match="is not a model folder"):
        Classifier.load(tmp_path)
    clf.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InceptiveError, match=r"model.safetensors: there is no such file"):
        Classifier.load(tmp_path)


def test_keys_that_do_not_fit_are_listed_on_both_sides(clf, tmp_path):
    clf.save(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["strange.weight"] = tensors.pop("conv1.weight").clone()
    save_file({key: value.clone() for key, value in tensors.items()}, path)
    with pytest.raises(InceptiveError) as refused:
        load_weights(clf.model, path)
    assert "lacks conv1.weight" in str(refused.value)
    assert "too much strange.weight" in str(refused.value)


def test_the_card_says_what_the_model_is(clf, tmp_path):
    clf.save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "googlenet.bn for 3 classes" in card and "Classes: a, b, c" in card
