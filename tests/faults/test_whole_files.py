"""Full disks, read-only folders, two trainings at once, kills between write and rename: what was good
before can always be used, what went wrong is one line, and nothing is left lying about."""

import csv
import functools
import hashlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import command, picture, rewrite_config

import inceptive
from inceptive.cli.predict import write_csv, write_parquet
from inceptive.engines import records
from inceptive.engines.classifier import Classifier
from inceptive.engines.open import open_exported
from inceptive.engines.prediction import Prediction
from inceptive.errors import InceptiveError
from inceptive.exporting import write
from inceptive.exporting.calibration import synthetic
from inceptive.images import Preprocessing
from inceptive.io import atomic
from inceptive.io.atomic import atomic_write, write_bytes, write_json, write_text
from inceptive.training import checkpoint
from inceptive.training.lock import training_lock

pytestmark = pytest.mark.faults

OLD, NEW = 2.0, 5.0


@functools.cache
def classifier(temperature):
    """A model whose weights, labels, temperature and metrics all tell which one it is."""
    torch.manual_seed(int(temperature))
    model = inceptive.build(inceptive.NETS["googlenet.bn"](num_classes=2, channels=1).without_aux())
    shown = Preprocessing(size=32, channels=1, mean=(0.4,), std=(0.3,))
    labels = (f"a{temperature}", f"b{temperature}")
    return Classifier(
        model.eval(), shown, labels, temperature, {"training": {"epoch": temperature}}
    )


def is_one_model(folder):
    """Which model lies in `folder`, every part of it."""
    found = Classifier.load(folder)
    one = classifier(found.temperature)
    assert found.labels == one.labels
    assert found.info["training"] == {"epoch": found.temperature}
    for key, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, one.model.state_dict()[key]), key
    return found.temperature


def exported_file(folder, temperature, kind):
    data = synthetic(classifier(OLD).preprocessing)
    write.write_export(
        classifier(temperature), folder, kind, "f32", data, weights=str(temperature),
        say=lambda _: None,
    )  # fmt: skip


def is_one_export(folder, kind):
    """Which model the usable export answers with; OLD where none is usable (it is to be made again)."""
    usable = records.usable(folder, lambda _: None)
    if not usable:
        return OLD
    opened = open_exported(folder / usable[0].file)
    one = classifier(opened.temperature)
    assert opened.labels == one.labels and opened.metadata.weights == usable[0].weights
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32), dtype=np.uint8)
    np.testing.assert_allclose(opened.logits(images), one.logits(images), atol=1e-3)
    return opened.temperature


def predictions(temperature):
    return [Prediction(f"{k}.png", ((str(temperature), 0.75),)) for k in range(50)]


def is_one_csv(folder):
    with (folder / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 50 and len({row["label"] for row in rows}) == 1
    return float(rows[0]["label"])


def is_one_parquet(folder):
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(folder / "found.parquet").to_pylist()
    assert len(rows) == 50 and len({row["label"] for row in rows}) == 1
    return float(rows[0]["label"])


def page(temperature):
    return f"<html>{temperature}{'x' * 100_000}</html>"


def is_one_page(folder):
    [told] = re.fullmatch(
        r"<html>(.*?)x{100000}</html>", (folder / "report.html").read_text()
    ).groups()
    return float(told)


KINDS = {
    "checkpoint": (
        lambda folder, t: checkpoint.save(
            folder,
            {"epoch": int(t), "model": {"weight": torch.full((9999,), t)}, "optimizer": {}, "recipe": {},
             "data": {}, "net": {}, "run": {}},
        ),
        lambda folder: checkpoint.load(folder)["epoch"],
    ),
    "model folder": (lambda folder, t: classifier(t).save(folder), is_one_model),
    "config of a model folder": (
        lambda folder, t: write_json(folder / "config.json", {"t": [t] * 999}),
        lambda folder: json.loads((folder / "config.json").read_text())["t"][998],
    ),
    "predictions as CSV": (
        lambda folder, t: write_csv(predictions(t), 1, folder / "found.csv"), is_one_csv
    ),
    "predictions as Parquet": (
        lambda folder, t: write_parquet(predictions(t), 1, folder / "found.parquet"), is_one_parquet
    ),
    "report": (lambda folder, t: write_text(folder / "report.html", page(t)), is_one_page),
    "export for ONNX Runtime": (
        lambda folder, t: exported_file(folder, t, "onnx"), lambda f: is_one_export(f, "onnx")
    ),
    "export for OpenVINO": (
        lambda folder, t: exported_file(folder, t, "openvino"), lambda f: is_one_export(f, "openvino")
    ),
}  # fmt: skip
KIND = pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow if "export" in k else ()) for k in KINDS]
)


def left_over(folder):
    return sorted(path.name for path in folder.rglob("*.part"))


def one_line(error):
    assert "\n" not in str(error) and "Traceback" not in str(error)
    return str(error)


# Power cuts


def dies_at(kind, folder, temperature, call):
    """In a process of its own: write, and die by SIGKILL before the `call`-th fsync or rename."""
    torch.set_num_threads(1)
    calls = 0

    def counted(function):
        def wrapped(*args, **more):
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **more)

        return wrapped

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    KINDS[kind][0](folder, temperature)


def in_a_process(target, *args):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["inceptive.engines.classifier", "test_whole_files"])
    process = context.Process(target=target, args=args)
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


@KIND
def test_killed_before_any_fsync_or_rename_the_old_or_the_new_is_there(
    kind, tmp_path, record_property
):
    write, which = KINDS[kind]
    write(tmp_path, OLD)
    found, call, left = [], 0, 0
    while True:
        call += 1
        status = in_a_process(dies_at, kind, tmp_path, NEW, call)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        found.append(which(tmp_path))
        left += bool(left_over(tmp_path))
        write(tmp_path, OLD)
        assert which(tmp_path) == OLD
        assert left_over(tmp_path) == []  # who writes next sweeps up
    assert len(found) >= 3 and found[0] == OLD and NEW in found and left
    assert which(tmp_path) == NEW
    record_property("reliability", json.dumps({
        "table": "faults", "what": f"kill -9 before each fsync and rename: {kind}",
        "tried": len(found), "survived": len(found), "lost": "nothing",
        "note": "the old or the new, whole; what was left is swept up by the next writer",
    }))  # fmt: skip


def test_a_model_killed_in_its_first_writing_is_no_model_yet_and_the_next_is(tmp_path):
    for call in range(1, 20):
        folder = tmp_path / str(call)
        folder.mkdir()
        status = in_a_process(dies_at, "model folder", folder, NEW, call)
        if (folder / "model.safetensors").exists():
            assert is_one_model(folder) == NEW
        else:
            with pytest.raises(InceptiveError, match="no config"):
                Classifier.load(folder)
        classifier(OLD).save(folder)
        assert is_one_model(folder) == OLD and left_over(folder) == []
        if status == 0:
            return
    raise AssertionError("it never came to its end")


@pytest.mark.slow
def test_killed_twice_in_a_row_it_is_still_one_model(tmp_path):
    classifier(OLD).save(tmp_path)
    for first in range(1, 13):
        in_a_process(dies_at, "model folder", tmp_path, NEW, first)
        which = is_one_model(tmp_path)
        in_a_process(dies_at, "model folder", tmp_path, 7.0, 13 - first)
        assert is_one_model(tmp_path) in (which, 7.0)


def test_who_reads_while_another_writes_never_sees_two_models(tmp_path):
    classifier(OLD).save(tmp_path)
    process = multiprocessing.get_context("forkserver").Process(target=writes_on, args=(tmp_path,))
    process.start()
    try:
        seen = {is_one_model(tmp_path) for _ in range(30)}
    finally:
        process.kill()
        process.join()
    assert seen == {OLD, NEW}
    assert is_one_model(tmp_path) in seen


def writes_on(folder):
    torch.set_num_threads(1)
    models = [classifier(NEW), classifier(OLD)]
    while True:
        for one in models:
            one.save(folder)


def test_a_folder_without_hashes_is_read_as_before_and_replaced_as_any(tmp_path):
    classifier(OLD).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["weights"]  # as version 0.1 wrote it
    found = []
    for call in (1, 2, 4, 8):
        rewrite_config(tmp_path, None)
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert is_one_model(tmp_path) == OLD
        in_a_process(dies_at, "model folder", tmp_path, NEW, call)
        found.append(is_one_model(tmp_path))
        classifier(OLD).save(tmp_path)
    assert {OLD, NEW} == set(found)


def test_weights_of_another_model_are_refused(tmp_path):
    for t in (OLD, NEW):
        classifier(t).save(tmp_path / str(t))
        rewrite_config(tmp_path / str(t), None)  # as until 0.1
    (tmp_path / f"{NEW}/model.safetensors").replace(tmp_path / f"{OLD}/model.safetensors")
    with pytest.raises(InceptiveError, match="not the file that config"):
        Classifier.load(tmp_path / str(OLD))


def test_one_flipped_bit_in_the_weights_is_noticed(tmp_path):
    classifier(OLD).save(tmp_path)
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InceptiveError, match=r"model\.safetensors: is damaged"):
        Classifier.load(tmp_path)


def test_a_config_written_alone_keeps_the_hash_and_what_it_is_of(tmp_path):
    classifier(OLD).save(tmp_path)
    made = Classifier.load(tmp_path)
    made.info["early_exit"] = None
    made.save_config(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["weights"] == records.fingerprint(tmp_path / "model.safetensors")
    assert config["early_exit"] is None is Classifier.load(tmp_path).info["early_exit"]
    assert is_one_model(tmp_path) == OLD
    (tmp_path / "model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(InceptiveError, match=r"model\.safetensors: is damaged"):
        made.save_config(tmp_path)


def test_the_weights_file_holds_the_config_and_its_tensors_are_those_of_the_file_without(tmp_path):
    model = classifier(OLD)
    model.save(tmp_path)
    path, state = tmp_path / "model.safetensors", model.model.state_dict()
    plain = safetensors.torch.save(state, {"format": "pt"})
    digest = hashlib.sha256(plain).hexdigest()
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata()["inceptive"] == (tmp_path / "config.json").read_text()
        assert file.metadata()["format"] == "pt"
        assert sorted(file.keys()) == sorted(state)
        assert all(torch.equal(file.get_tensor(key), state[key]) for key in state)
    assert json.loads((tmp_path / "config.json").read_text())["weights"] == digest
    assert records.fingerprint(path) == digest  # what 0.1 wrote in exports.json stays right
    rewrite_config(tmp_path, None)
    assert path.read_bytes() == plain and records.fingerprint(path) == digest


def test_an_edited_config_is_not_used_and_that_is_said_in_one_line(tmp_path, caplog):
    classifier(OLD).save(tmp_path)
    path = tmp_path / "config.json"
    text = path.read_text()
    path.write_text(json.dumps(json.loads(text)))  # laid out anew, it says the same
    assert is_one_model(tmp_path) == OLD and not caplog.records
    for edited in (text.replace('"temperature": ', '"temperature": 1'), text[:50], "[]"):
        path.write_text(edited)
        caplog.clear()
        assert is_one_model(tmp_path) == OLD
        [line] = caplog.messages
        assert f"{path}: differs from the config inside model.safetensors" in line
        assert "\n" not in line and "save it" in line
    path.unlink()
    caplog.clear()
    assert is_one_model(tmp_path) == OLD and not caplog.records
    classifier(NEW).save(tmp_path)  # as where a writer died between the two: it is the old copy
    path.write_text(text)
    assert is_one_model(tmp_path) == NEW and not caplog.records


# What killed writers leave


def test_what_a_living_writer_has_begun_is_left_alone(tmp_path):
    path = tmp_path / "text"
    with atomic_write(path) as file:
        file.write(b"the longer one")
        write_text(path, "the shorter one")
        assert len(left_over(tmp_path)) == 1
    assert path.read_bytes() == b"the longer one" and left_over(tmp_path) == []


def test_two_threads_that_write_one_file_write_one_or_the_other(tmp_path):
    texts = [str(k) * 200_000 for k in range(4)]
    with ThreadPoolExecutor(20) as pool:  # raises what a writer raised
        list(pool.map(lambda text: write_text(tmp_path / "t", text), texts * 100))
    assert (tmp_path / "t").read_text() in texts and left_over(tmp_path) == []


def test_who_swept_a_file_before_it_was_locked_does_not_remove_the_next(tmp_path, monkeypatch):
    """Two sweepers may open the file that a writer is about to lock: one removes it, the writer makes
    another, and the second, which holds the lock of the file that is gone, removes its name too."""
    names = []

    def swept_once(file, wait):
        names.append(Path(file.name))
        if len(names) == 1:
            names[0].unlink()
        return True

    monkeypatch.setattr(atomic, "lock_file", swept_once)
    with atomic_write(tmp_path / "t") as file:
        names[0].unlink(missing_ok=True)  # the second sweeper
        file.write(b"whole")
    assert len(names) == 2 and (tmp_path / "t").read_bytes() == b"whole"
    assert left_over(tmp_path) == []


def test_only_what_belongs_to_the_file_is_swept(tmp_path):
    mine, other = tmp_path / ".a[1].12345678.part", tmp_path / ".b.12345678.part"
    mine.touch(), other.touch()
    write_bytes(tmp_path / "a[1]", b"")
    assert left_over(tmp_path) == [".b.12345678.part"]


# Disks that refuse


def mounted(*words):
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MB."""
    if sys.platform != "linux":
        pytest.skip("tmpfs is Linux's")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted("-t", "tmpfs", "-o", "size=3m", "tmpfs", disk)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk):
    """Take all room of `disk`."""
    try:
        with (disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass


SMALL = [kind for kind in KINDS if "model" not in kind and "export" not in kind]


@pytest.mark.parametrize("kind", [*SMALL, "config of a model folder"])
def test_a_full_disk_leaves_the_old_one_and_says_so(kind, small_disk, record_property):
    write, which = KINDS[kind]
    write(small_disk, OLD)
    fill(small_disk)
    for _ in range(3):
        with pytest.raises(InceptiveError) as caught:
            write(small_disk, NEW)
        assert "cannot be written (No space left on device)" in one_line(caught.value)
        assert which(small_disk) == OLD and left_over(small_disk) == []
    (small_disk / "filler").unlink()
    write(small_disk, NEW)
    assert which(small_disk) == NEW
    record_property("reliability", json.dumps({
        "table": "faults", "what": f"disk full: {kind}", "tried": 3, "survived": 3,
        "lost": "nothing", "note": "the old file stays, one line says why",
    }))  # fmt: skip


@pytest.fixture
def model_disk(tmp_path):
    """A disk with room for one model and a half, which is what replacing one does not fit in."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(v.nbytes for v in classifier(OLD).model.state_dict().values())
    mounted("-t", "tmpfs", "-o", f"size={int(size * 1.5)}", "tmpfs", disk)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_model_that_does_not_fit_on_the_disk_leaves_the_one_before(model_disk, record_property):
    classifier(OLD).save(model_disk)
    for _ in range(3):
        with pytest.raises(InceptiveError, match="No space left on device") as caught:
            classifier(NEW).save(model_disk)
        one_line(caught.value)
        assert is_one_model(model_disk) == OLD and left_over(model_disk) == []
    record_property("reliability", json.dumps({
        "table": "faults", "what": "disk full: model folder", "tried": 3, "survived": 3,
        "lost": "nothing", "note": "the model before stays and answers",
    }))  # fmt: skip


def test_predictions_onto_a_full_disk_are_one_line(trained, small_disk, tmp_path, record_property):
    picture("down", 3).save(tmp_path / "one.png")
    fill(small_disk)
    for form in ("csv", "json", "table", "parquet"):
        out = small_disk / f"found.{form}"
        done = command("predict", trained[0], tmp_path / "one.png", "--format", form, "--out", out)
        assert done.returncode == 1 and "No space left on device" in done.stderr
        engine, *errors = done.stderr.strip().splitlines()
        assert engine.endswith(": answered by torch") and len(errors) == 1
        assert left_over(small_disk) == [] and not out.exists()
    record_property("reliability", json.dumps({
        "table": "faults", "what": "disk full: inceptive predict --out, each format", "tried": 4,
        "survived": 4, "lost": "nothing", "note": "one line, no half file",
    }))  # fmt: skip


def test_a_training_onto_a_full_disk_ends_with_one_line(stripes, tiny, small_disk, record_property):
    fill(small_disk)
    done = command("train", stripes, "--recipe", tiny, "--out", small_disk / "run")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr.strip().splitlines()[-1]
    assert left_over(small_disk) == []
    record_property("reliability", json.dumps({
        "table": "faults", "what": "disk full: inceptive train", "tried": 1, "survived": 1,
        "lost": "nothing that was kept", "note": "one line",
    }))  # fmt: skip


@pytest.fixture
def read_only(tmp_path):
    """A function that makes a folder read-only until the test ends, for root too."""
    turned = []

    def turn(folder):
        mounted("--bind", folder, folder)
        turned.append(folder)
        mounted("-o", "remount,bind,ro", folder)

    yield turn
    for folder in turned:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kind", [k for k in KINDS if "export" not in k])
def test_a_read_only_folder_keeps_the_old_one_and_says_so(
    kind, tmp_path, read_only, record_property
):
    write, which = KINDS[kind]
    write(tmp_path, OLD)
    read_only(tmp_path)
    with pytest.raises(InceptiveError) as caught:
        write(tmp_path, NEW)
    assert "cannot be written (Read-only file system)" in one_line(caught.value)
    assert which(tmp_path) == OLD
    record_property("reliability", json.dumps({
        "table": "faults", "what": f"read-only folder: {kind}", "tried": 1, "survived": 1,
        "lost": "nothing", "note": "still loads; one line says why",
    }))  # fmt: skip


def test_a_model_in_a_read_only_folder_answers(trained, tmp_path, read_only):
    picture("down", 3).save(tmp_path / "one.png")
    read_only(trained[0])
    done = command("predict", trained[0], tmp_path / "one.png", "--engine", "torch")
    assert done.returncode == 0 and "one.png" in done.stdout, done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not hold root")
def test_a_folder_without_permission_is_refused(tmp_path):
    write_text(tmp_path / "text", "old")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InceptiveError, match="Permission denied"):
            write_text(tmp_path / "text", "new")
        assert (tmp_path / "text").read_text() == "old"
    finally:
        tmp_path.chmod(0o700)


# Two trainings in one folder


HOLDS = """
import sys, time
from pathlib import Path
from inceptive.training.lock import training_lock
with training_lock(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def holder(folder):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE,
                               text=True)  # fmt: skip
    assert process.stdout.readline() == "in\n"
    return process


def test_the_second_training_in_a_folder_is_refused_until_the_first_is_dead(
    tmp_path, record_property
):
    out = tmp_path / "run"
    first = holder(out)
    try:
        for _ in range(2):  # being refused takes nothing away from who is in
            with pytest.raises(InceptiveError) as caught, training_lock(out):
                raise AssertionError("two at once")
            assert one_line(caught.value) == (
                f"{out}: another training is writing there now; wait for its end, or give another "
                "folder (out)"
            )
        assert [path.name for path in out.iterdir()] == [".lock"]
    finally:
        first.kill()
        first.communicate()
    with training_lock(out):
        (out / "kept").touch()
    with training_lock(out):
        assert {path.name for path in out.iterdir()} == {"kept", ".lock"}
    assert [path.name for path in out.iterdir()] == ["kept"]
    record_property("reliability", json.dumps({
        "table": "faults", "what": "a second training in the same folder", "tried": 2,
        "survived": 2, "lost": "nothing", "note": "refused with one line; free once the first is dead",
    }))  # fmt: skip


def test_a_claim_leaves_no_file_and_no_empty_folder(tmp_path):
    with training_lock(tmp_path / "a" / "run"):
        assert (tmp_path / "a" / "run").is_dir()
    assert not (tmp_path / "a" / "run").exists()
    with pytest.raises(InceptiveError), training_lock(tmp_path / "b"):
        raise InceptiveError("no data")
    assert not (tmp_path / "b").exists()


def test_a_claim_on_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InceptiveError, match="cannot be written"), training_lock(Path(path)):
            pass
