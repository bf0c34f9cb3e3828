"""`inceptive.fid` and its command: on statistics, and on pictures with a net of four averages."""

import json

import numpy as np
import pytest
from conftest import command
from PIL import Image

import inceptive
from inceptive.errors import InceptiveError, InvalidArgument
from inceptive.fidelity import fid as module
from inceptive.fidelity.features import FeatureNet
from inceptive.fidelity.frechet import Statistics, frechet_distance
from inceptive.fidelity.resizing import square


def compute(images):
    """Features (N, 4): the averages of the channels, and the first one's spread."""
    return np.c_[images.mean(axis=(2, 3)), images[:, 0].std(axis=(1, 2))]


@pytest.fixture
def tiny_net(monkeypatch):
    def opened(weights, dims, resize, runner):
        last = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
        return FeatureNet(compute, "tests", 3, True, resize, 4, last, f"{weights} {resize}")

    monkeypatch.setattr(module, "open_net", opened)


def write(folder, count, seed):
    folder.mkdir()
    random = np.random.default_rng(seed)
    for k in range(count):
        size, light = random.integers(10, 40, 2), random.uniform(50, 250)
        pixels = random.integers(0, int(light), (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{k:02}.png")
    return folder


@pytest.fixture
def folders(tmp_path):
    return write(tmp_path / "real", 20, 1), write(tmp_path / "made", 15, 2)


@pytest.fixture
def two_files(tmp_path):
    """(0 - 3)² + 2 (2 - 1)²: covariances 4 I and I."""
    for name, mean, scale in (("real", 0, 4), ("made", 3, 1)):
        np.savez(tmp_path / f"{name}.npz", mu=np.array([mean, 0.0]), sigma=scale * np.eye(2))
    return tmp_path / "real.npz", tmp_path / "made.npz"


def test_two_files_of_statistics_need_no_net(two_files):
    fidelity = inceptive.fid(*two_files)
    assert fidelity.fid == pytest.approx(9 + 2, rel=1e-12) and fidelity.notes == ()
    assert repr(fidelity) == f"<Fidelity of {two_files[1]} to {two_files[0]}: fid 11>"


def test_the_command_prints_the_answer_alone(two_files):
    done = command("fid", *two_files)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].split() == ["FID", "11"]
    values = json.loads(command("fid", *two_files, "--json").stdout)
    assert values["fid"] == pytest.approx(11)
    assert values["real"] == {"name": str(two_files[0]), "count": None}
    assert values["settings"]["resize"] == "" and "kid" not in values
    assert "resized" not in done.stdout  # which a file does not tell


def test_statistics_alone_give_no_other_metric(two_files):
    done = command("fid", *two_files, "--metrics", "fid,kid")
    assert done.returncode == 1 and "kid needs the pictures" in done.stderr and not done.stdout


@pytest.mark.usefixtures("tiny_net")
def test_pictures_are_compared_by_every_metric(folders):
    metrics = ("fid", "fid_inf", "kid", "is", "prdc")
    fidelity = inceptive.fid(*folders, metrics, splits=3, progress=None)
    statistics = []
    for folder in folders:
        paths = sorted(folder.iterdir())
        squares = [square(np.asarray(Image.open(path)), "pytorch") for path in paths]
        statistics.append(Statistics.of(compute(np.stack(squares))))
    assert fidelity.fid == pytest.approx(frechet_distance(*statistics), rel=1e-6)
    assert (fidelity.real_count, fidelity.generated_count) == (20, 15)
    assert set(fidelity.values) == {
        "fid", "fid_inf", "kid", "kid_std", "inception_score", "inception_score_std", "precision",
        "recall", "density", "coverage",
    }  # fmt: skip
    assert 0 <= fidelity.precision <= 1 <= fidelity.inception_score
    text = " ".join(fidelity.notes)
    assert "15 generated pictures" in text and "subsets of 15" in text and "here of fewer" in text
    same = inceptive.fid(folders[0], folders[0], progress=None)
    assert abs(same.fid) < 1e-12


@pytest.mark.usefixtures("tiny_net")
def test_an_unreadable_picture_is_named_and_left_out(folders):
    real, made = folders
    before = inceptive.fid(real, made, progress=None).fid
    (made / "00a.png").write_bytes((made / "00.png").read_bytes()[:60])
    (made / "zz.jpg").write_text("no picture")
    done = command("fid", real, made, "--json")
    values = json.loads(done.stdout)
    assert done.returncode == 0 and values["fid"] == pytest.approx(before, rel=1e-12)
    assert values["generated"]["count"] == 15 and len(values["unreadable"]) == 2
    assert "2 of 17 pictures cannot be read, the first: " in done.stderr
    done = command("fid", real, made, "--strict")
    assert done.returncode == 1 and "00a.png" in done.stderr and not done.stdout


@pytest.mark.usefixtures("tiny_net")
def test_statistics_are_kept_and_a_wrong_file_is_refused(folders, tmp_path, monkeypatch):
    real, made = folders
    path = tmp_path / "real.npz"
    first = command("fid", real, made, "--stats", path, "--json", "--metrics", "fid,kid,prdc")
    assert f"written: {path}" in first.stderr
    second = command("fid", real, made, "--stats", path, "--json", "--metrics", "fid,kid,prdc")
    assert second.stdout == first.stdout and "written" not in second.stderr
    named = command("fid", path, made, "--json", "--metrics", "fid,kid,prdc")
    values = [json.loads(done.stdout) for done in (first, named)]
    assert [each.pop("real")["count"] for each in values] == [20, 20] and values[0] == values[1]
    other = command("fid", real, made, "--stats", path, "--resize", "clean")
    assert other.returncode == 1 and "other weights, resizing or layer" in other.stderr
    assert "other weights" in command("fid", path, made, "--resize", "clean").stderr
    (real / "05.png").unlink()
    changed = command("fid", real, made, "--stats", path)
    assert changed.returncode == 1 and "other pictures" in changed.stderr and not changed.stdout


@pytest.mark.usefixtures("tiny_net")
def test_statistics_of_one_folder_are_written_for_others(folders, tmp_path):
    done = command("fid", folders[0], "--stats", tmp_path / "real.npz")
    assert (done.returncode, done.stdout) == (0, "")
    with np.load(tmp_path / "real.npz") as file:
        assert file["mu"].shape == (4,) and file["sigma"].shape == (4, 4)
    assert command("fid", tmp_path / "real.npz", folders[1]).returncode == 0


def test_what_cannot_be_compared_is_refused(two_files, tmp_path):
    for options, why in (
        (["--metrics", "fid,lpips"], "metrics"),
        (["--dims", "100"], "dims = 100"),
        (["--metrics", "is", "--dims", "64"], "2048"),
    ):
        done = command("fid", *two_files, *options)
        assert done.returncode == 2 and why in done.stderr and not done.stdout, options
    assert command("fid", two_files[0]).returncode == 2
    np.savez(tmp_path / "wide.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(InceptiveError, match="has 3 features a picture"):
        inceptive.fid(two_files[0], tmp_path / "wide.npz")
    with pytest.raises(InceptiveError, match="no such file"):
        inceptive.fid(two_files[0], tmp_path / "none")
    with pytest.raises(InvalidArgument, match="metrics"):
        inceptive.fid(*two_files, metrics=())


@pytest.mark.usefixtures("tiny_net")
def test_too_few_pictures_are_refused(tmp_path):
    real, made = write(tmp_path / "real", 9, 1), write(tmp_path / "made", 1, 2)
    assert "holds one picture" in command("fid", real, made).stderr
    few = write(tmp_path / "few", 4, 2)
    assert "make no 10 splits" in command("fid", real, few, "--metrics", "is").stderr
    assert "more than 5 pictures" in command("fid", real, few, "--metrics", "prdc").stderr


def test_fid_inf_of_too_few_pictures_is_refused(tiny_net, tmp_path):
    real, made = write(tmp_path / "real", 8, 1), write(tmp_path / "made", 3, 2)
    with pytest.raises(InceptiveError, match=r"made: fid_inf needs 4 pictures"):
        inceptive.fid(real, made, ("fid_inf",))
    more = write(tmp_path / "more", 4, 3)
    assert np.isfinite(inceptive.fid(real, more, ("fid_inf",)).fid_inf)


@pytest.mark.parametrize("name", ['it\'s a "b" $c', "50% #1?", "-o"])
def test_every_path_may_be_called_anything(name, tiny_net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / name
    place.mkdir()
    real, made = write(place / "real", 8, 1), write(place / "made", 8, 2)
    (place / "net.pth").write_bytes(b"")
    known = place / "known.npz"
    for _ in range(2):
        done = command("fid", real, made, "--stats", known, "--weights", place / "net.pth")
        assert done.returncode == 0, done.stderr
    assert known.is_file() and {each.name for each in tmp_path.iterdir()} == {name}


@pytest.mark.usefixtures("tiny_net")
def test_what_kept_statistics_leave_out_is_said_again(folders, tmp_path):
    """With --strict, too, an unreadable picture counted only while they were made."""
    real, made = folders
    (real / "zz.jpg").write_text("no picture")
    asked = ["fid", real, made, "--stats", tmp_path / "real.npz"]
    assert command(*asked).returncode == 0
    assert "1 of 21 pictures cannot be read" in command(*asked).stderr
    done = command(*asked, "--strict")
    assert done.returncode == 1 and "zz.jpg" in done.stderr


def test_what_no_metric_takes_is_refused(two_files):
    with pytest.raises(
        InvalidArgument, match="kid_subset_size = 1: expected a whole number from 2"
    ):
        inceptive.fid(*two_files, kid_subset_size=1)
    with pytest.raises(InvalidArgument, match="seed = "):
        inceptive.fid(*two_files, seed=2**32)
    assert command("fid", *two_files, "--seed", 2**32).returncode == 2
