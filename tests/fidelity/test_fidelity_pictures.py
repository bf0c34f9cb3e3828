"""Pictures from everywhere, decoded as Pillow's `convert("RGB")` does."""

import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from inceptive.errors import InceptiveError
from inceptive.fidelity.pictures import open_pictures


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    (root / "inner").mkdir(parents=True)
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (20, 30, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned, which the peers do not
    Image.fromarray(colours).save(root / "a.jpg", exif=exif)
    Image.fromarray(np.dstack([colours, colours[..., :1]])).save(root / "b.png")
    Image.fromarray(colours[..., 0]).save(root / "inner/c.png")
    Image.fromarray(colours).quantize(16).save(root / "d.gif")
    Image.fromarray(colours).convert("CMYK").save(root / "e.jpeg")
    (root / "notes.txt").write_text("not a picture")
    return root


def test_a_folder_is_decoded_as_the_peers_do(folder):
    pictures = open_pictures(folder)
    assert [path.rpartition("/")[2] for path in pictures.sources] == [
        "a.jpg", "b.png", "d.gif", "e.jpeg", "c.png"
    ]  # fmt: skip
    for k, path in enumerate(pictures.sources):
        with Image.open(path) as image:
            np.testing.assert_array_equal(pictures.load(k), np.asarray(image.convert("RGB")))


def test_a_tar_holds_the_same(folder, tmp_path):
    tar = tmp_path / "some.tar"
    with tarfile.open(tar, "w") as archive:
        archive.add(folder, "some")
    pictures, loose = open_pictures(tar), open_pictures(folder)
    names = [member.file.removeprefix("some/") for member in pictures.sources]
    assert sorted(names) == ["a.jpg", "b.png", "d.gif", "e.jpeg", "inner/c.png"]
    for k, name in enumerate(names):
        other = [path.endswith(f"/{name}") for path in loose.sources].index(True)
        np.testing.assert_array_equal(pictures.load(k), loose.load(other))


def test_arrays_are_taken_as_they_are(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (4, 8, 9, 3), np.uint8)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array)
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2)
    for given in (array, tmp_path / "a.npy", tmp_path / "a.npz", tensor, list(array)):
        pictures = open_pictures(given)
        assert len(pictures) == 4
        np.testing.assert_array_equal(pictures.load(3), array[3])
    grey = open_pictures(array[..., 0])
    np.testing.assert_array_equal(grey.load(0), np.stack([array[0, ..., 0]] * 3, axis=-1))


def test_deep_samples_are_scaled_where_pillow_would_cut_them_off():
    deep = np.array([[0, 128 * 257], [65535, 257]], np.uint16)
    file = io.BytesIO()
    Image.fromarray(deep).save(file, "PNG")
    assert open_pictures([file.getvalue()]).load(0)[..., 1].tolist() == [[0, 128], [255, 1]]


def test_a_changed_picture_changes_the_digest(folder):
    digest = open_pictures(folder).digest
    assert digest == open_pictures(folder).digest
    (folder / "inner/c.png").write_bytes(b"another")
    assert digest != open_pictures(folder).digest
    array = np.zeros((2, 4, 4, 3), np.uint8)
    other = array.copy()
    other[1, 0, 0] = 1
    assert open_pictures(array).digest != open_pictures(other).digest


def test_what_holds_no_pictures_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "bad.tar").write_text("no tar")
    (tmp_path / "bad.npy").write_text("no array")
    np.save(tmp_path / "floats.npy", np.zeros((2, 4, 4, 3)))
    for name, why in {
        "empty": "holds no pictures", "text.txt": "not of a known kind", "none": "no such file",
        "bad.tar": "is no tar", "bad.npy": "holds no array", "floats.npy": "uint8 .* not float64",
    }.items():  # fmt: skip
        with pytest.raises(InceptiveError, match=why):
            open_pictures(tmp_path / name)
    for given in ([], 3, np.zeros((4, 4), np.uint8)):
        with pytest.raises(InceptiveError, match="pictures"):
            open_pictures(given)
    for channels in (3, 4):  # it was 64 pictures in grey, 3 pixels wide
        with pytest.raises(InceptiveError, match="is one picture"):
            open_pictures(np.zeros((64, 64, channels), np.uint8))


def test_a_tar_with_a_damaged_header_is_refused(folder, tmp_path):
    """Pictures behind it were left out in silence."""
    tar = tmp_path / "some.tar"
    with tarfile.open(tar, "w") as archive:
        archive.add(folder, "some")
    with tarfile.open(tar) as archive:
        last = archive.getmembers()[-1].offset
    content = bytearray(tar.read_bytes())
    content[last + 150] ^= 1
    tar.write_bytes(content)
    with pytest.raises(InceptiveError, match=f"is damaged at byte {last}"):
        open_pictures(tar)
