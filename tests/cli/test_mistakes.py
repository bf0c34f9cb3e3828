"""Mistakes that cost a user an evening: each ends in a line, and nothing is lost or answered wrongly."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import command, picture

import inceptive
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.io.atomic import write_text

MAIN = [sys.executable, "-m", "inceptive"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.faults
def test_a_tilde_is_the_home_folder_wherever_something_is_written_or_read(
    home, trained, stripes, tiny
):
    clf = Classifier.load(trained[0])
    clf.save("~/model")
    write_text(inceptive.io.atomic.Path("~/note.txt"), "x")
    picture("down", 1).save(home / "a.png")
    assert clf.predict("~/a.png").error == ""
    done = command("predict", trained[0], home / "a.png", "--out", "~/a.json", "--json")
    assert done.returncode == 0
    done = command("train", stripes, "--recipe", tiny, "--set", "epochs=1", "--out", "~/new")
    assert done.returncode == 0 and (home / "new" / "report.html").exists()
    clf.evaluate(stripes, out="~/judged", progress=None)
    names = {path.name for path in home.iterdir()}
    assert names == {"model", "note.txt", "a.png", "a.json", "new", "judged"}
    assert not (home.parent / "~").exists()


def test_an_image_is_not_overwritten_by_its_answer(trained, tmp_path):
    picture("down", 1).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.png")
    for out in ("a.png", "link.csv"):
        done = command("predict", trained[0], tmp_path, "--out", tmp_path / out)
        assert done.returncode == 1 and "is one of the images" in done.stderr
    assert (tmp_path / "a.png").read_bytes() == before


def test_one_image_is_not_taken_for_several(trained, tmp_path):
    clf = Classifier.load(trained[0])
    image = picture("down", 1)
    image.save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    tensor = torch.from_numpy(np.array(image))
    for single in (
        str(tmp_path / "a.png"),
        tmp_path / "a.png",
        content,
        image,
        np.array(image),
        tensor,
    ):
        with pytest.raises(InceptiveError, match="predict takes one"):
            list(clf.predictions(single))
    assert len(list(clf.predictions([image, image]))) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full disk here")
def test_a_full_disk_behind_standard_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*MAIN, "table", "googlenet", "--json"], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "inceptive table: standard output cannot be written (No space left on device)\n"
    )


def test_a_closed_standard_output_is_one_line():
    words = [
        sys.executable,
        "-c",
        "import os, sys; os.close(1); os.execv(sys.argv[1], sys.argv[1:])",
    ]
    done = subprocess.run([*words, *MAIN, "nets"], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith(
        "inceptive nets: standard output is closed"
    )


def test_json_has_the_true_name_of_a_file(trained, tmp_path):
    path = tmp_path / "new\nline ü.png"
    picture("down", 1).save(path, "PNG")
    answers = json.loads(command("predict", trained[0], path, "--json").stdout)
    assert answers[0]["image"] == str(path)
    table = command("predict", trained[0], path).stdout
    assert "new\\nline ü.png" in table and len(table.strip().splitlines()) == 2


@pytest.mark.training
def test_a_training_is_not_ended_by_fewer_epochs_than_are_done(stripes, tiny, tmp_path):
    out = tmp_path / "m"
    stops = iter([False] * 7 + [True] * 99)
    with pytest.raises(inceptive.training.loop.Paused):
        inceptive.train(stripes, out, tiny, should_stop=lambda: next(stops), progress=None)
    for epochs in (1, 2):
        done = command("train", stripes, "--out", out, "--resume", "--set", f"epochs={epochs}")
        assert done.returncode == 1 and "2 epochs are done; to go on, give more" in done.stderr
    assert (out / "checkpoint.pt").exists()


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), None])
def test_a_temperature_that_no_answer_can_have_is_refused(trained, temperature):
    clf = Classifier.load(trained[0])
    with pytest.raises(InceptiveError, match="temperature is a finite number above 0"):
        Classifier(clf.model, clf.preprocessing, clf.labels, temperature)
    with pytest.raises(InceptiveError, match="labels are names"):
        Classifier(clf.model, clf.preprocessing, (1, 2))


def test_no_model_at_all_is_one_line(stripes):
    for call in (
        lambda: inceptive.evaluate([], stripes, progress=None),
        lambda: inceptive.evaluate({}, stripes, progress=None),
        lambda: inceptive.compare([], stripes, progress=None),
        lambda: inceptive.serve([], progress=None),
    ):
        with pytest.raises(InceptiveError, match="name at least one"):
            call()


def test_a_file_in_place_of_the_folder_is_said_to_be_one(stripes, tiny, tmp_path):
    (tmp_path / "file").touch()
    done = command("train", stripes, "--recipe", tiny, "--out", tmp_path / "file")
    assert done.returncode == 1 and "file: is a file; give another folder (out)" in done.stderr


@pytest.mark.parametrize("function", ["build", "account", "draw"])
def test_a_net_by_name_only_is_told_how_to_get_its_value(function):
    for net in ("googlenet", inceptive.NETS["googlenet"]):
        with pytest.raises(InceptiveError, match=r"NETS\['googlenet'\]\(num_classes=10\)"):
            getattr(inceptive, function)(net)
    with pytest.raises(InceptiveError, match=r"a whole number of pixels, not 224\.5"):
        inceptive.account(inceptive.NETS["googlenet"](num_classes=2), 224.5)


def test_interrupted_before_it_began_it_says_stopped():
    code = "import inceptive.cli as c; c.stoppable(lambda: (_ for _ in ()).throw(KeyboardInterrupt()))()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "inceptive: stopped\n")


@pytest.mark.parametrize("words", [
    ["table", "googlenet", "--json", "--format", "csv"],
    ["predict", "googlenet.torchvision", "a.png", "--json", "--format", "csv"],
    ["compare", "a", "b", "c", "--json", "--format", "csv"],
])  # fmt: skip
def test_two_formats_at_once_are_refused(words):
    done = command(*words)
    assert done.returncode == 2 and "--json and --format csv contradict each other" in done.stderr
