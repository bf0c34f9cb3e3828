"""`inceptive score`: the answers of `predict`, each image once, whatever is killed on the way."""

import dataclasses
import functools
import importlib.util
import io
import itertools
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from unittest import mock

import fsspec
import numpy as np
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest
import torch
from conftest import command, logo, picture

import inceptive.scale
from inceptive.engines.peers import package
from inceptive.errors import InceptiveError, InvalidArgument
from inceptive.images import Preprocessing
from inceptive.io import store as storage
from inceptive.scale import inputs, parts, reading, scoring, worker
from inceptive.scale.answers import as_parquet
from inceptive.scale.plan import Plan, read_part

RUN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell starts all with &
from inceptive.cli import main
main()
"""
SQUARE = Preprocessing(size=8, channels=1, mean=(0.5,), std=(0.5,))
PLAN = Plan("input", "model", "torch", 2, 4, 3, "images")


def started(*words, cwd=None, env=None):
    """`inceptive score WORDS` as a process of its own, to be killed."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, "score", *map(str, words)],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd, start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | (env or {}),
    )  # fmt: skip


def scored(*words, **options):
    process = started(*words, **options)
    out, err = process.communicate(timeout=200)
    assert out == ""
    return process.returncode, err


def rows(folder):
    return pyarrow.dataset.dataset(folder).to_table().to_pylist()


def ours(folder):
    """The processes whose environment names `folder`: the command and its workers."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def many(tmp_path_factory, stripes):
    """1,202 images in folders, one of them broken, one not there (a dangling link), one blank."""
    root = tmp_path_factory.mktemp("many") / "many"
    for number in range(20):
        (root / f"{number:02}").mkdir(parents=True)
        for kind in ("across", "down"):
            for file in (stripes / kind).iterdir():
                os.link(file, root / f"{number:02}" / f"{kind}-{file.name}")
    (root / "05" / "broken.png").write_text("no picture")
    (root / "05" / "gone.png").symlink_to(root / "nowhere")
    (blank := next((root / "06").iterdir())).unlink()  # a link to what others use
    logo(blank)
    return root


@pytest.fixture(scope="module")
def predicted(tmp_path_factory, trained, many):
    """What `predict` answers for the same images."""
    out = tmp_path_factory.mktemp("predicted") / "found.parquet"
    done = command("predict", trained[0], many, "--format", "parquet", "--out", out)
    assert done.returncode == 1 and "2 of 1202" in done.stderr
    return pyarrow.parquet.read_table(out)


def same_as_predicted(folder, predicted):
    """Each image once, with its answer; returns the largest difference of a probability."""
    table = pyarrow.dataset.dataset(folder).to_table()
    assert table.schema.remove_metadata() == predicted.schema.remove_metadata()
    found, wanted = table.to_pylist(), predicted.to_pylist()
    assert [one["image"] for one in found] == [one["image"] for one in wanted]
    far = 0.0
    for one, other in zip(found, wanted, strict=True):
        assert all(one[key] == other[key] for key in ("label", "error", "notes"))
        for key in ("prob", "prob_2"):
            assert (one[key] is None) == (other[key] is None)
            far = max(far, abs((one[key] or 0) - (other[key] or 0)))
    assert far < 1e-5
    return far


def kept(record_property, table="faults", **values):
    record_property("reliability", json.dumps({"table": table} | values))


@pytest.mark.scale
def test_a_folder_is_scored_as_predict_does_and_once(trained, many, predicted, tmp_path):
    out = tmp_path / "answers"
    asked = (trained[0], many, "--out", out, "--part", 200)
    status, err = scored(*asked)
    _, *lines = err.splitlines()  # the first names the engine
    assert status == 0 and all("parts" in line for line in lines), err
    assert "1202 images in 7 parts, 2 of them cannot be read" in err
    same_as_predicted(out, predicted)
    summary = json.loads((out / "_summary.json").read_text())
    assert (summary["images"], summary["errors"], summary["parts"]) == (1202, 2, 7)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}

    assert "is scored already" in command("score", *asked).stderr
    assert "1202 images in 7 parts, 2 of them cannot be read" in command("score", *asked).stderr
    for words, reason in (
        (("--top", 1), "was begun with top 2"),
        (("--batch-size", 7), "was begun with batches of 32"),
        (("--part", 300), "was begun with parts of 200"),
    ):
        done = command("score", *asked, *words)
        assert done.returncode == 1 and reason in done.stderr
    done = command("score", trained[0], many / "05", "--out", out, "--part", 200)
    assert done.returncode == 1 and "of another input" in done.stderr
    os.utime(many / "05" / "broken.png", ns=(1, 1))
    done = command("score", *asked)
    assert done.returncode == 1 and "of another input, or a file of it has changed" in done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.faults
def test_a_damaged_summary_is_written_again(stripes, trained, tmp_path):
    out = tmp_path / "answers"
    before = inceptive.scale.score(trained[0], stripes, out, top=1, engine="torch")
    assert (before.images, before.errors, before.parts) == (60, 0, 1)
    for damage in (b"", b"{", b"[]", b"{}", b'{"images": 1, "last_run": null}', b"\xff", b'"x"'):
        (out / "_summary.json").write_bytes(damage)
        again = inceptive.scale.score(trained[0], stripes, out, top=1, engine="torch")
        assert again == dataclasses.replace(before, last_run={})
        assert parts.read_summary(str(out)) == again


@pytest.mark.scale
def test_a_classifier_is_scored_as_its_folder_is(stripes, trained, tmp_path):
    classifier = inceptive.Classifier.load(trained[0])
    models = {"memory": dataclasses.replace(classifier, path=None), "file": trained[0]}
    done = [
        inceptive.scale.score(
            model, stripes, tmp_path / name, engine="torch", workers=1, progress=None
        )
        for name, model in models.items()
    ]
    assert [(summary.images, summary.errors) for summary in done] == [(60, 0)] * 2
    memory, file = (rows(tmp_path / name) for name in ("memory", "file"))
    assert memory == file
    again = inceptive.scale.score(trained[0], stripes, tmp_path / "memory", engine="torch")
    assert again.last_run == done[0].last_run and again.fingerprints == done[1].fingerprints
    with pytest.raises(InceptiveError, match="save it where the machines see it"):
        inceptive.scale.score(classifier, stripes, tmp_path / "new", address="127.0.0.1:1")


def test_what_cannot_be_scored_is_one_line(trained, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "both").mkdir()
    picture("down", 1).save(tmp_path / "both" / "a.png")
    (tmp_path / "both" / "b.tar").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other.parquet").touch()
    for given, out, reason in (
        ("empty", "x", "holds no images, tar shards or Parquet files"),
        ("none", "x", "there is no such file or folder"),
        ("both", "x", "holds files of several kinds (images, tar)"),
        ("both/*.png", "out", "is there already, and no plan"),
        ("nosuch://bucket/a", "x", "cannot be reached"),
        ("[be]*", "x", "names folders only; add /*"),
    ):
        path = given if "://" in given else tmp_path / given
        done = command("score", trained[0], path, "--out", tmp_path / out)
        engine, line = done.stderr.splitlines()
        assert done.returncode == 1 and reason in line and "answered by" in engine, done.stderr
    assert not (tmp_path / "x").exists()


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    with parts.exclusive(str(tmp_path)):
        (tmp_path / ".part-000000.parquet.1.part").touch()
        with pytest.raises(InceptiveError, match="another run"), parts.exclusive(str(tmp_path)):
            pass
    with parts.exclusive(str(tmp_path)):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 10])
@pytest.mark.parametrize("where", ["disk", "memory"])
def test_the_parts_of_a_plan_hold_each_image_once_and_in_order(tmp_path, count, where):
    names = [f"{k}\udcff" for k in range(count)]  # a name of bytes that are no text
    folder = str(tmp_path) if where == "disk" else f"memory://plan-{count}"
    written = PLAN.write(folder, inputs.Input("images", tuple(names), ""))
    assert written == Plan.read(folder) and written.parts == -(-count // 3)
    found = [read_part(folder, part) for part in range(written.parts)]
    assert [piece.path for part in found for piece in part] == names
    assert {len(part) for part in found[:-1]} <= {3}


def png(number):
    content = io.BytesIO()
    picture("down", number, 12).save(content, "PNG")
    return content.getvalue()


def read(kind, pieces):
    """Names, and whether there is a square, and the reasons."""
    loaded = [load() for load in reading.images(kind, pieces, SQUARE)]
    return [(name, s if isinstance(s, str) else s.shape) for name, s, _ in loaded]


def write_tar(path, count, start=0):
    with tarfile.open(path, "w") as tar:
        for number in range(start, start + count):
            for ending, content in (("png", png(number)), ("cls", b"1")):
                info = tarfile.TarInfo(f"{number}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def test_the_images_of_a_tar_are_read_until_it_breaks(tmp_path, record_property):
    path = tmp_path / "a.tar"
    write_tar(path, 5)
    assert read("tar", [inputs.WorkItem(str(path))]) == [
        (f"{path}/{k}.png", (1, 8, 8)) for k in range(5)
    ]
    whole = path.read_bytes()
    end = whole.rstrip(b"\0")
    cuts = random.Random(0).sample(range(len(end)), 40)
    cuts += range(0, len(end), tarfile.BLOCKSIZE)  # between two members, too
    for cut in cuts:
        path.write_bytes(whole[:cut])
        found = read("tar", [inputs.WorkItem(str(path))])
        good = [one for one in found if not isinstance(one[1], str)]
        assert all(str(path) in one[1] for one in found if isinstance(one[1], str))
        assert found[: len(good)] == good and len(found) == len(good) + 1
    path.write_bytes(b"\xff" * 3000)
    assert "a.tar: is truncated or damaged" in read("tar", [inputs.WorkItem(str(path))])[0][1]
    kept(
        record_property, table="inputs", what="a tar to be scored, cut off anywhere",
        tried=len(cuts), survived=len(cuts), lost="the images behind the cut",
        note="the images before it have answers",
    )  # fmt: skip


@pytest.mark.parametrize("layout", ["bytes", "image", "struct", "paths"])
def test_rows_of_parquet_are_read_whatever_the_row_groups(tmp_path, layout):
    files = [tmp_path / f"{k}.png" for k in range(11)]
    for k, file in enumerate(files):
        file.write_bytes(png(k))
    content, names = [file.read_bytes() for file in files], list(map(str, files))
    columns = {
        "bytes": {"path": names, "bytes": content, "other": range(11)},
        "image": {"image": content},
        "struct": {"image": [{"bytes": b, "path": n} for b, n in zip(content, names, strict=True)]},
        "paths": {"image": names},
    }[layout]
    path = tmp_path / "a.parquet"
    for group, size in itertools.product((1, 3, 4, 11), (1, 2, 4, 5, 20)):
        pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=group)
        found = inputs.find(str(path))
        pieces = list(itertools.chain(*inputs.split_work(found, size)))
        called = [f"{path}/{k}" for k in range(11)] if layout == "image" else names
        assert read("parquet", pieces) == [(name, (1, 8, 8)) for name in called]


def test_parquet_without_images_and_damaged_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), path)
    with pytest.raises(InceptiveError, match=r"has no column `path` or `image`.*it has x"):
        list(inputs.split_work(inputs.find(str(path)), 10))
    table = pyarrow.table({"bytes": [png(1), None, b"", png(2)]})
    pyarrow.parquet.write_table(table, path)
    found = read("parquet", [inputs.WorkItem(str(path), 0, 4)])
    assert [isinstance(one[1], str) for one in found] == [False, True, True, False]
    path.write_bytes(path.read_bytes()[:100])
    found = read("parquet", [inputs.WorkItem(str(path), 1, 2)])
    assert len(found) == 2 and all("cannot be read as Parquet" in why for _, why in found)


def test_folders_globs_and_stores_name_the_same_images(tmp_path):
    memory = fsspec.filesystem("memory")
    for name in ("b.png", "sub/a.png", "sub/.hidden.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(1))
        memory.pipe(f"/pictures/{name}", png(1))
    wanted = ["b.png", "sub/a.png"]
    for given, root in (
        (tmp_path, tmp_path),
        (f"file://{tmp_path}", tmp_path),
        ("memory://pictures", "memory://pictures"),
    ):
        found = inputs.find(str(given))
        assert [*found.files] == [f"{root}/{name}" for name in wanted]
        assert read("images", map(inputs.WorkItem, found.files)) == [
            (f"{root}/{name}", (1, 8, 8)) for name in wanted
        ]
    for given in (f"{tmp_path}/*/*.png", "memory://pictures/*/a*.png"):
        assert [Path(one).name for one in inputs.find(given).files] == ["a.png"]
    [(name, why)] = read("images", [inputs.WorkItem("memory://pictures/none.png")])
    assert name in why and "cannot be read" in why


def test_what_lies_in_the_folder_of_answers_is_no_input(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "part-0.parquet").write_bytes(b"")
    found = inputs.find(str(tmp_path), str(tmp_path / "answers"))
    assert found.files == (str(tmp_path / "a.png"),)


def test_folders_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    notes = ["b cannot be read (Permission denied) and is left out"]
    monkeypatch.setattr(inputs, "list_images", lambda *_: ([str(tmp_path / "a.png")], [], notes))
    said = []
    inputs.find(str(tmp_path), note=said.append)
    assert said == [f"note: {notes[0]}"]


def test_rows_without_bytes_are_read_by_their_path(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    image = [
        {"bytes": png(2), "path": "inside.png"},
        {"bytes": None, "path": str(tmp_path / "a.png")},
    ]
    pyarrow.parquet.write_table(pyarrow.table({"image": image}), tmp_path / "a.parquet")
    pieces = list(itertools.chain(*inputs.split_work(inputs.find(str(tmp_path / "a.parquet")), 5)))
    assert read("parquet", pieces) == [
        ("inside.png", (1, 8, 8)),
        (str(tmp_path / "a.png"), (1, 8, 8)),
    ]


def test_paths_may_be_a_dictionary(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    paths = pyarrow.array([str(tmp_path / "a.png")] * 2).dictionary_encode()
    pyarrow.parquet.write_table(pyarrow.table({"path": paths}), tmp_path / "a.parquet")
    pieces = list(itertools.chain(*inputs.split_work(inputs.find(str(tmp_path / "a.parquet")), 5)))
    assert read("parquet", pieces) == [(str(tmp_path / "a.png"), (1, 8, 8))] * 2


def test_the_folder_it_is_started_in_is_not_where_workers_find_modules(
    trained, stripes, tmp_path, monkeypatch
):
    (tmp_path / "random.py").write_text("print('not the library')\nraise SystemExit")
    monkeypatch.chdir(tmp_path)
    done = command("score", trained[0], stripes, "--out", "answers", "--engine", "torch")
    assert done.returncode == 0, done.stderr


def test_home_is_meant_by_a_tilde_and_an_empty_out_by_nothing(
    trained, stripes, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = command("score", trained[0], stripes, "--out", "~/answers", "--engine", "torch")
    assert done.returncode == 0 and list((tmp_path / "answers").glob("part-*")), done.stderr
    assert not (tmp_path / "~").exists()
    done = command("score", trained[0], stripes, "--out", "", "--engine", "torch")
    assert done.returncode != 0 and "out is empty" in done.stderr


def test_if_no_image_can_be_read_the_status_says_so(trained, tmp_path):
    (tmp_path / "pictures.tar.gz").write_bytes(b"\x1f\x8b no picture")
    asked = ["score", trained[0], tmp_path / "pictures.tar.gz", "--out", tmp_path / "answers"]
    done = command(*asked, "--engine", "torch")
    assert done.returncode == 1 and "none of its images can be read" in done.stderr


def test_the_options_of_a_store_are_told_from_a_glob():
    assert storage.split_query("s3://b/?.png") == ("s3://b/?.png", "")
    assert storage.split_query("s3://b/*.png?x=y&z=1") == ("s3://b/*.png", "?x=y&z=1")
    assert storage.join("s3://key:secret@b/c/?x=y", "d") == "s3://key:secret@b/c/d?x=y"
    assert storage.redact("s3://key:secret@b/c?x=y") == "s3://b/c"
    assert storage.redact("disk/c?x=y") == "disk/c?x=y"
    signed = "https://h/c?Policy=a&X-Amz-Signature=secret&Key-Pair-Id=K"
    assert storage.redact(signed) == "https://h/c"
    assert storage.join(signed, "d").startswith("https://h/c/d?Policy=a&X-Amz")
    fsspec.filesystem("memory").pipe("/optional/a.png", png(1))
    assert inputs.find("memory://optional/?.png").files == ("memory://optional/a.png",)


def test_answers_in_an_object_store_are_whole_and_found_again():
    from inceptive.engines.prediction import Prediction

    folder = "memory://answers"
    rows = [Prediction("a", (("x", 0.5),)), Prediction("b", error="b: no")]
    table = functools.partial(as_parquet, rows, 1)
    parts.write(folder, 3, [row.error for row in rows], table, 2.0)
    assert parts.existing_parts(folder) == {3} and parts.existing_parts("memory://nothing") == set()
    assert parts.read(folder, [3]) == [parts.Written(3, 2, 1, 2.0)]
    summary = parts.Summary(2, 1, 4, {}, "m", "torch", "i", {"model": "x"}, {})
    parts.write_summary(folder, summary)
    assert parts.read_summary(folder) == summary
    storage.write("memory://answers/part-000004.parquet", b"half of")
    with pytest.raises(InceptiveError, match=r"part-000004\.parquet: is damaged"):
        parts.read(folder, [3, 4])


def parts_of(out):
    return len(list(out.glob("part-*"))) if out.exists() else 0


def workers(out):
    """The processes of the run that hold the model and score."""

    def is_worker(pid):
        try:
            return b"inceptive.scale.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    return [pid for pid in ours(out) if is_worker(pid)]


@pytest.mark.slow
def test_a_killed_worker_is_started_again(trained, many, predicted, tmp_path, record_property):
    out, killed = tmp_path / "answers", 0
    process = started(trained[0], many, "--out", out, "--part", 20, env={"MARK": str(out)})
    chance = random.Random(1)
    while killed < 4 and process.poll() is None:
        before = parts_of(out)
        wait_for(lambda: parts_of(out) > before or process.poll() is not None)  # noqa: B023
        time.sleep(chance.uniform(0, 0.3))
        for pid in workers(out)[:1]:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0 and killed >= 3, err
    same_as_predicted(out, predicted)
    kept(
        record_property, what="score: kill -9 of a worker", tried=killed, survived=killed,
        lost="nothing", note="another is started; 1,202 images, each has one row",
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_driver_goes_on(trained, many, predicted, tmp_path, record_property):
    out, killed = tmp_path / "answers", 0
    chance = random.Random(2)
    asked = (trained[0], many, "--out", out, "--part", 20)
    for number in range(8):
        process = started(*asked, env={"MARK": str(out)})
        if number < 7:
            before = parts_of(out)
            if number % 2:
                wait_for(lambda: parts_of(out) > before or process.poll() is not None)  # noqa: B023
                time.sleep(chance.uniform(0, 0.5))
            else:
                time.sleep(chance.uniform(0.5, 12))
        else:
            process.wait(timeout=200)
        if process.poll() is None:
            for pid in {process.pid, *workers(out)}:  # all at once, as when the machine goes down
                os.kill(pid, signal.SIGKILL)
            killed += 1
        _, err = process.communicate(timeout=30)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, err
    assert process.returncode == 0 and killed >= 3
    same_as_predicted(out, predicted)
    assert not list(out.glob(".*.part"))
    kept(
        record_property, what="score: kill -9 of the command and its workers at random moments",
        tried=killed, survived=killed, lost="nothing",
        note="the same command goes on; 1,202 images, each has one row",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_so_and_leaves_nothing(trained, many, tmp_path, number, record_property):
    out = tmp_path / "answers"
    process = started(trained[0], many, "--out", out, "--part", 20, env={"MARK": str(out)})
    wait_for(lambda: parts_of(out) > 2)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "inceptive: stopped; the same command goes on", err
    wait_for(lambda: not ours(out), 10)
    kept(
        record_property, what=f"score: {number.name}", tried=1, survived=1, lost="nothing",
        note="one line, status 130, no process left",
    )  # fmt: skip


POISON = """
import os
from inceptive.images import preprocessing
load = preprocessing.Preprocessing.load
def poisoned(self, source, *rest, **options):
    if str(source).endswith("across-003.png"):
        os.kill(os.getpid(), 9)
    return load(self, source, *rest, **options)
preprocessing.Preprocessing.load = poisoned
"""


@pytest.mark.slow
def test_an_image_that_kills_every_worker_ends_the_run_with_one_line(trained, many, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(POISON)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    status, err = scored(
        trained[0], many / "00", "--out", tmp_path / "out", "--part", 20, env={"PYTHONPATH": path}
    )
    assert status == 1 and "a worker died 6 times over the same images" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("os.kill(os.getpid(), 9)", "it was killed: more memory may help, or fewer workers"),
        ("os.kill(os.getpid(), 11)", "by SIGSEGV"),
        ("sys.exit(3)", "exit status 3"),
    ],
)
def test_how_a_worker_ended_is_told(end, told):
    """Whatever it was, memory was blamed."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import os, sys; sys.stdin.readline(); {end}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
    )  # fmt: skip
    assert worker._ask(process, "0\n") == ""
    assert worker._death(process) == told


@pytest.mark.peers
def test_a_net_of_another_package_scores(tmp_path, stripes):
    """Its engine is called like the net, and no worker could open one of that name."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    weights = tmp_path / "squeezenet.pth"
    torch.save(package("torchvision.models").squeezenet1_1().state_dict(), weights)
    model, out = f"torchvision:squeezenet1_1@{weights}", tmp_path / "out"
    summary = inceptive.scale.score(model, stripes, out, threads=1, workers=1, progress=None)
    assert (summary.images, summary.errors) == (60, 0)
    weights.unlink()
    job = worker.Job(model, str(out), "", Plan.read(str(out)), 1)
    assert worker.Worker(job).score(0)["error"].startswith(str(weights))


def test_whatever_keeps_a_worker_from_opening_a_model_is_its_answer(monkeypatch):
    monkeypatch.setattr(
        worker, "open_engine", mock.Mock(side_effect=ImportError("no such library"))
    )
    told = worker.Worker(worker.Job("runs/mine", "", "", PLAN, 1)).score(0)["error"]
    assert told == "runs/mine: a worker cannot open it (ImportError: no such library)"


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_one_line(trained, many, tmp_path):
    code = (
        "import inceptive.io.store as s, inceptive.scale.parts as p\n"
        "from inceptive.errors import InceptiveError\n"
        "old = s.write\n"
        "def full(path, content):\n"
        "    if 'part-000001' in path: raise InceptiveError(f'{path}: cannot be written (full)')\n"
        "    old(path, content)\n"
        "s.write = full\n"
    )
    (tmp_path / "sitecustomize.py").write_text(code)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    status, err = scored(
        trained[0], many / "00", "--out", tmp_path / "out", "--part", 20, env={"PYTHONPATH": path}
    )
    assert status == 1 and err.splitlines()[-1].endswith(
        "part-000001.parquet: cannot be written (full)"
    )


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def cluster():
    """Two nodes of one CPU each, on this machine: the address, and what its clients need.

    They listen on every interface, so they want a token: one of this test's own.
    """
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    port = free_port()
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1",
             "--object-store-memory", "100000000", "--disable-usage-stats"]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        nodes = []
        try:
            for words in (
                ["--head", "--port", port, "--include-dashboard", "false", "--temp-dir", folder],
                ["--address", f"127.0.0.1:{port}"],
            ):
                nodes.append(
                    subprocess.Popen([*start, *map(str, words)], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, env=os.environ | env)
                )  # fmt: skip
                wait_for(lambda: answers(port))
                time.sleep(8)
            yield f"127.0.0.1:{port}", env
        finally:
            for node in reversed(nodes):
                node.terminate()
                node.wait(timeout=60)


@pytest.mark.slow
def test_a_cluster_of_two_nodes_scores_the_same(
    cluster, trained, many, predicted, tmp_path, record_property
):
    out = tmp_path / "answers"
    address, env = cluster
    asked = (trained[0], many, "--out", out, "--part", 50, "--address", address)
    status, err = scored(*asked, "--threads", 64, env=env)
    assert status == 1 and "no machine has so many CPUs" in err
    status, err = scored(*asked, "--threads", 1, env=env)
    assert status == 0, err
    same_as_predicted(out, predicted)
    assert json.loads((out / "_summary.json").read_text())["last_run"]["workers"] == 2
    kept(
        record_property, what="score: two Ray nodes on one machine", tried=1, survived=1,
        lost="nothing", note="the answers of predict",
    )  # fmt: skip


def test_an_address_where_no_ray_is_is_told_at_once(trained, many, tmp_path):
    address = f"127.0.0.1:{free_port()}"
    done = command("score", trained[0], many, "--out", tmp_path / "x", "--address", address)
    assert done.returncode == 1 and f"address {address}: no Ray answers there" in done.stderr


def test_the_same_bits_however_the_batches_were_decoded(many):
    """`full` batches do not depend on what was decoded first."""
    from test_prediction import Mean

    from inceptive.engines.prediction import Decoded, answered

    def late(number):
        def load():
            time.sleep(random.random() / 200)
            return Decoded(str(number), np.full((1, 8, 8), number, np.uint8))

        return load

    engine = Mean()
    found = list(answered(engine, map(late, range(50)), 1, 16, threads=4, full=True))
    assert engine.seen == [16, 16, 16, 2]
    assert [one.image for one in found] == [str(number) for number in range(50)]


def test_no_damaged_header_of_a_tar_loses_images_in_silence(tmp_path):
    """A small tar is read to its end by then, which looked like the mark that ends a tar."""
    path = tmp_path / "a.tar"
    write_tar(path, 3)
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        second = tar.getmembers()[1].offset
    content[second + 150] ^= 1  # of its checksum
    path.write_bytes(content)
    found = read("tar", [inputs.WorkItem(str(path))])
    assert len(found) == 2 and f"is damaged at byte {second}" in found[1][1]
    sparse = tarfile.TarInfo("b.png")
    sparse.pax_headers = {"GNU.sparse.size": "x"}
    path.write_bytes(sparse.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    assert "is truncated or damaged" in read("tar", [inputs.WorkItem(str(path))])[0][1]


def test_the_answers_of_a_glob_and_of_a_store_are_no_input(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "part-0.parquet").write_bytes(b"")
    found = inputs.find(f"{tmp_path}/**/*", str(tmp_path / "answers"))
    assert found.files == (str(tmp_path / "a.png"),)
    memory = fsspec.filesystem("memory")
    memory.pipe("/own/a.png", png(1))
    memory.pipe("/own/answers/part-0.parquet", b"")
    assert inputs.find("memory://own", "memory://own/answers").files == ("memory://own/a.png",)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"part_size": -1}, {"threads": 0}, {"pool": "avg"}]
)
def test_what_no_run_can_have_is_refused(trained, stripes, tmp_path, options):
    """No batch hung for ever, no part was 0 images in all, and another pool was the maximum."""
    [name] = options
    with pytest.raises(InvalidArgument, match=f"{name} = "):
        inceptive.scale.score(trained[0], stripes, tmp_path / "out", progress=None, **options)


@pytest.mark.parametrize(
    ("count", "workers", "threads"),
    [(2, None, 2), (12, None, 6), (15, None, 7), (8, 4, 2), (1, 3, 1)],
)
def test_the_workers_of_a_machine_take_all_its_cores(count, workers, threads, monkeypatch):
    monkeypatch.setattr(scoring, "cores", lambda: count)
    assert scoring._threads_of(workers) == threads


def test_a_worker_with_another_model_than_the_one_begun_with_writes_nothing(trained, tmp_path):
    """As after a training into the same folder: answers of two models stood side by side."""
    job = worker.Job(str(trained[0]), str(tmp_path), "", PLAN, 1)
    assert "is another model than the one" in worker.Worker(job).score(0)["error"]
    assert not list(tmp_path.iterdir())
