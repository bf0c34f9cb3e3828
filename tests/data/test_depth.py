"""Sets of pictures deeper than 8 bits: one range, found in the training pictures."""

import json

import numpy as np
import pytest
from conftest import Recorder, command, picture
from PIL import Image

import inceptive
from inceptive.data.depth import depth_of, evaluation_notes, range_for, training_notes
from inceptive.data.scan import ScannedImage, as_rows, from_row, scan
from inceptive.data.source import SampleDepth
from inceptive.engines.open import open_engine
from inceptive.errors import InceptiveError

RNG = np.random.default_rng(0)


def scans(*extents, floats=False):
    return [ScannedImage(f"{k}.png", samples=each, floats=floats) for k, each in enumerate(extents)]


def found_in(*extents, floats=False):
    depth = depth_of(scans(*extents, floats=floats))
    assert depth
    return depth.sample_range


@pytest.mark.parametrize(
    ("extents", "expected"),
    [
        ([(0, 1023), (5, 900)], (0, 1023)),
        ([(0, 1024), (5, 900)], (0, 4095)),
        ([(100, 4000)], (0, 4095)),
        ([(100, 200)], (0, 255)),
        ([(100, 9000)], (0, 16383)),
        ([(0, 65535)], (0, 65535)),
        ([(0, 30_000)], (0, 65535)),
        ([(27_990, 28_917), (28_000, 28_500)], (27_990, 28_917)),
        ([(-1000, 3000)], (-1000, 3000)),
        ([(0, 1_000_000)], (0, 1_000_000)),
        ([(7, 7)], (6, 8)),
        ([(100, 4000)] * 200 + [(0, 65535)], (0, 4095)),
        ([(28_000, 28_500)] * 200 + [(0, 0)], (28_000, 28_500)),
    ],
)
def test_whole_numbers_have_a_depth_or_where_they_lie_far_from_0_their_own_range(extents, expected):
    assert found_in(*extents) == expected


@pytest.mark.parametrize(
    ("extents", "expected"),
    [
        ([(0, 1)], None),
        ([(0, 1)] * 200 + [(0, 300)], (0, 1)),
        ([(-0.001, 1.001)], None),
        ([(0, 0.01)], (0, 0.01)),
        ([(0, 250)], (0, 255)),
        ([(0, 3)], (0, 3)),
        ([(280, 320), (290, 310)], (280, 320)),
    ],
)
def test_floats_are_of_0_to_1_or_to_255_or_have_their_own_range(extents, expected):
    assert found_in(*extents, floats=True) == expected


def test_a_picture_of_eight_bits_or_of_a_declared_range_says_nothing_of_the_set():
    assert depth_of([ScannedImage("a.jpg")]) is None


def test_whole_numbers_and_floats_without_a_common_range_are_not_guessed():
    both = [*scans((0, 4000)), *scans((0, 1), floats=True)]
    with pytest.raises(InceptiveError, match=r"others floats.*data\.sample_range"):
        range_for(depth_of(both), None)
    assert range_for(depth_of(both), (0, 4095)) == (0, 4095)
    assert range_for(depth_of([*scans((0, 60_000)), *scans((0, 1), floats=True)]), None) is None


def test_a_note_tells_the_range_and_whose_it_is():
    depth = SampleDepth(121, False, (0, 4095))
    [note] = training_notes(depth, (0, 4095))
    assert "121 images have more than 8 bits; 0 to 4095 are shown as black to white" in note
    [note] = training_notes(depth, (0, 65535))
    assert "0 to 65535 are shown" in note and "though the training images have 0 to 4095" in note
    assert evaluation_notes(depth, (0, 4095), "mine") == []
    [note] = evaluation_notes(depth, None, "mine")
    assert "which lie in 0 to 4095; mine takes 0 to 65535 for black to white" in note
    assert training_notes(None, None) == []


def test_a_hot_pixel_decides_nothing_and_rows_of_the_cache_keep_what_was_found(tmp_path):
    samples = RNG.integers(0, 1000, (64, 64), dtype=np.uint16)
    samples[3, 3] = 65535
    Image.fromarray(samples).save(tmp_path / "a.png")
    image = scan(str(tmp_path / "a.png"))
    assert image.samples and image.samples[1] < 1000 and not image.floats
    assert from_row(image.path, as_rows([image])[0]).samples == image.samples
    samples[40, 40] += 1  # too little for any thumbnail
    Image.fromarray(samples).save(tmp_path / "b.png")
    assert scan(str(tmp_path / "b.png")).pixels != image.pixels


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Stripes in 12 of 16 bits: the brightest of each picture is another."""
    root = tmp_path_factory.mktemp("deep") / "frames"
    for kind in ("across", "down"):
        (root / kind).mkdir(parents=True)
        for number in range(12):
            samples = np.asarray(picture(kind, number)).astype(np.uint16) * 16
            Image.fromarray(samples).save(root / kind / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def model(frames, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("deep") / "model"
    recorder = Recorder()
    inceptive.train(frames, out, tiny, epochs=2, progress=recorder)
    return out, recorder.said


@pytest.mark.training
def test_the_range_of_a_set_is_told_and_travels_into_the_model_and_its_exports(
    model, frames, tmp_path
):
    out, said = model
    assert any("0 to 4095 are shown as black to white" in line for line in said)
    assert json.loads((out / "config.json").read_text())["preprocessing"]["sample_range"] == [
        0,
        4095,
    ]
    clf = inceptive.Classifier.load(out)
    files = sorted(frames.rglob("*.png"))[:6]
    eight = [
        np.rint(np.asarray(Image.open(file)) * (255 / 4095)).astype(np.uint8) for file in files
    ]
    squares = np.stack([clf.preprocessing.load(file) for file in files])
    assert np.array_equal(squares, np.stack([clf.preprocessing.load(image) for image in eight]))
    done = command(
        "export", out, "--to", "onnx", "--out", tmp_path / "moved", "--calibrate", frames
    )
    assert done.returncode == 0, done.stderr
    exported = open_engine(next((tmp_path / "moved").glob("*.onnx")))
    assert exported.preprocessing == clf.preprocessing
    others = np.stack([exported.preprocessing.load(file) for file in files])
    assert np.array_equal(squares, others)
    assert np.abs(exported.logits(others) - clf.logits(squares)).max() < 1e-3


def test_a_model_judges_by_its_own_range_and_says_where_that_does_not_fit(model, frames, tmp_path):
    out, _ = model
    recorder = Recorder()
    dark = inceptive.evaluate(out, frames, "all", progress=recorder)
    assert not any("for black to white" in line for line in recorder.said)
    root = tmp_path / "brighter"
    for file in frames.rglob("*.png"):
        folder = root / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(Image.open(file)) * 16).save(folder / file.name)
    recorder = Recorder()
    bright = inceptive.evaluate(out, root, "all", progress=recorder)
    assert any("0 to 65535; " in line and "takes 0 to 4095" in line for line in recorder.said)
    assert len(bright.samples) == len(dark.samples)


@pytest.mark.training
def test_the_range_can_be_set_by_hand(frames, tiny, tmp_path):
    changes = {"data.sample_range": [0, 16383]}
    clf = inceptive.train(frames, tmp_path / "m", tiny, epochs=1, changes=changes, progress=None)
    assert clf.preprocessing.sample_range == (0, 16383)
    with pytest.raises(InceptiveError, match=r"data.sample_range = \[5, 1\]: expected \[black"):
        inceptive.train(frames, tmp_path / "n", tiny, changes={"data.sample_range": [5, 1]})
