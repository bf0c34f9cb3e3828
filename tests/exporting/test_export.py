"""`inceptive export`, the files it writes, and the engines that run them in torch's place."""

import csv
import dataclasses
import importlib.util
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import command, picture, rewrite_config

import inceptive
from inceptive.data.open import open_data
from inceptive.engines import fastest, records
from inceptive.engines import onnx as onnx_runtime
from inceptive.engines import open as engines
from inceptive.engines import openvino as open_vino
from inceptive.engines.classifier import Classifier
from inceptive.engines.exported import ExportedEngine
from inceptive.engines.graph import NORMALISE, onnx_graph
from inceptive.engines.metadata import KEY, Metadata
from inceptive.engines.open import open_engine, open_exported
from inceptive.errors import InceptiveError, InvalidArgument
from inceptive.exporting import check
from inceptive.exporting import export as exporting
from inceptive.exporting.calibration import ExportData, from_data, synthetic
from inceptive.exporting.check import compare_outputs
from inceptive.exporting.export import export_all
from inceptive.images import Preprocessing
from inceptive.metrics import softmax

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "openvino", "nncf"))),
    reason="the extra `export` is not installed",
)
KINDS = ["onnx:f32", "onnx:int8", "openvino:f32", "openvino:bf16", "openvino:int8"]


def fast(*kinds):
    """All kinds, those not named only in the slow run."""
    return [one if one in kinds else pytest.param(one, marks=pytest.mark.slow) for one in KINDS]


def file_of(kind):
    return engines.file_name(*kind.split(":"))


@pytest.fixture(scope="module")
def quick():
    """Exports whose speed is looked at once, for no time at all: what is measured is not tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "SECONDS", 0.0)
        patch.setattr(check, "ROUNDS", 1)
        yield


@pytest.fixture(scope="module")
def exported(trained, quick, tmp_path_factory):
    """A model folder with every export that this CPU can run, and what each command printed."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    shutil.copytree(trained[0], folder)
    done = {}
    for kind in KINDS:
        to, precision = kind.split(":")
        if precision != "bf16" or open_vino.has_bf16():
            done[kind] = command("export", folder, "--to", to, "--precision", precision)
    return folder, done


@pytest.fixture
def folder(exported, tmp_path):
    """A copy to change; the large files are links."""
    copy = tmp_path / "model"
    shutil.copytree(exported[0], copy, copy_function=os.link)
    (copy / "exports.json").unlink()
    shutil.copy(exported[0] / "exports.json", copy)
    return copy


@pytest.fixture(scope="module")
def squares(trained):
    """All the pictures of stripes there could be: 40 that the model has never seen."""
    shown = Classifier.load(trained[0]).preprocessing
    kinds = ["across", "down"] * 20
    images = np.stack([shown.load(picture(kind, 500 + k)) for k, kind in enumerate(kinds)])
    return images, np.array([k % 2 for k in range(40)])


def needs(kind):
    if kind == "openvino:bf16" and not open_vino.has_bf16():
        pytest.skip("this CPU has no bf16")


def told(folder):
    return {f"{one['engine']}:{one['precision']}": one for one in records_of(folder)}


def records_of(folder):
    return json.loads((folder / "exports.json").read_text())


def change(folder, changes):
    """Rewrite some records: kind -> what is new in it."""
    found = told(folder)
    for kind, new in changes.items():
        found[kind] |= new
    (folder / "exports.json").write_text(json.dumps(list(found.values())))


def speeds(folder, fastest):
    """Make `fastest` the fastest by far."""
    change(folder, {
        kind: {"speed": one["speed"] | {"images_per_second": 1e6 if kind == fastest else 1.0}}
        for kind, one in told(folder).items()
    })  # fmt: skip


# The files


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_written_checked_and_recorded(exported, kind):
    needs(kind)
    folder, done = exported
    assert done[kind].returncode == 0, done[kind].stderr
    assert "beside torch on 12 val images" in done[kind].stdout and "passed" in done[kind].stdout
    assert f"written: {folder / file_of(kind)}" in done[kind].stderr
    record = told(folder)[kind]
    assert record["file"] == file_of(kind) and record["passed"]
    assert record["weights"] == records.fingerprint(folder / "model.safetensors")
    assert record["check"]["count"] == 12
    assert {
        "ms_per_image",
        "images_per_second",
        "torch_ms_per_image",
        "torch_images_per_second",
    } == set(record["speed"])
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_as_torch_does(exported, squares, kind):
    needs(kind)
    images, labels = squares
    clf, engine = Classifier.load(exported[0]), open_engine(exported[0], kind)
    ours, theirs = clf.logits(images), engine.logits(images)
    apart = np.abs(ours - theirs).max() / np.abs(ours).max()
    assert theirs.shape == (40, 2) and theirs.dtype == np.float32
    if kind.endswith("f32"):
        assert apart < 1e-5
    else:
        assert apart > 1e-5  # it does compute in fewer bits
    assert (theirs.argmax(1) == labels).mean() >= (ours.argmax(1) == labels).mean() - 0.05
    assert (engine.labels, engine.preprocessing) == (clf.labels, clf.preprocessing)
    np.testing.assert_allclose(engine.probs(images), softmax(theirs, clf.temperature))
    for count in (1, 3):  # the batch is open
        alone = engine.logits(images[:count])
        assert np.abs(alone - theirs[:count]).max() <= 0.03 * np.abs(ours).max()


def test_quantising_leaves_the_callers_logging_alone(trained, quick, stripes, tmp_path):
    """ONNX Runtime advises on the root logger, which then has a handler for good."""
    root = logging.getLogger()
    before, root.handlers[:] = root.handlers[:], []
    try:
        inceptive.export(
            trained[0], "onnx", "int8", calibrate=str(stripes), out=tmp_path, progress=None
        )
        assert root.handlers == []
    finally:
        root.handlers[:] = before


def test_int8_is_int8_and_leaves_the_normalisation_alone(exported):
    import onnx

    folder = exported[0]
    graph = onnx.load(folder / "model.int8.onnx").graph
    convs = [node for node in graph.node if node.op_type == "Conv"]
    writes = {out: node for node in graph.node for out in node.output}
    assert len(convs) == 57  # googlenet.bn's
    assert all(writes[one.input[1]].op_type == "DequantizeLinear" for one in convs)
    # Cast, scale and shift stand one directly behind the other, with nothing rounded between.
    by_name = {node.name: node for node in graph.node}
    first, scale, shift = (by_name[name] for name in NORMALISE)
    assert [writes[one.input[0]].name for one in (scale, shift)] == [first.name, scale.name]
    assert not {one.input[1] for one in (scale, shift)} & set(writes)
    for ending in (".onnx", ".bin"):
        small, large = (folder / f"model.{p}{ending}" for p in ("int8", "f32"))
        assert small.stat().st_size < 0.3 * large.stat().st_size
    assert 'element_type="i8"' in (folder / "model.int8.xml").read_text()


@pytest.mark.parametrize("kind", fast("onnx:f32", "openvino:int8"))
def test_a_file_moved_away_alone_is_enough(exported, tmp_path, kind):
    needs(kind)
    folder = exported[0]
    for path in (folder / file_of(kind), (folder / file_of(kind)).with_suffix(".bin")):
        if path.exists():
            shutil.copy(path, tmp_path)
    torch_says = Classifier.load(folder).predict
    sure = (picture("across", number, 50) for number in range(950, 1000))
    next(one for one in sure if torch_says(one).probability > 0.8).save(tmp_path / "photo.png")
    asked = [tmp_path / "photo.png", "--json"]
    alone = json.loads(command("predict", tmp_path / file_of(kind), *asked).stdout)
    beside = json.loads(command("predict", folder, *asked, "--engine", kind).stdout)
    expected = torch_says(tmp_path / "photo.png").label
    assert alone == beside and alone[0]["top"][0]["label"] == expected


def test_the_file_says_what_it_is(exported):
    folder, config = exported[0], json.loads((exported[0] / "config.json").read_text())
    for kind in ("onnx:int8", "openvino:f32"):
        about = open_exported(folder / file_of(kind)).metadata
        assert about == Metadata.from_json(about.to_json(), "again")
        said = json.loads(about.to_json())
        for key in ("labels", "preprocessing", "temperature"):
            assert json.loads(json.dumps(said[key])) == config[key]
        assert said["net"]["name"] == "googlenet.bn" and said["num_classes"] == 2
        assert said["precision"] == kind.split(":")[1]
        assert said["weights"] == records.fingerprint(folder / "model.safetensors")
        assert said["data"]["shares"] == config["data"]["shares"]
        assert said["thresholds"] == config["metrics"]["thresholds"] != []


def test_the_licence_of_the_images_goes_along(trained, quick, tmp_path):
    shutil.copytree(trained[0], tmp_path / "m")
    config = json.loads((tmp_path / "m/config.json").read_text())
    config["data"] |= {"licence": "CC BY 4.0", "name": "no/longer/there"}
    rewrite_config(tmp_path / "m", json.dumps(config))
    done = command("export", tmp_path / "m", "--to", "onnx", "--json")
    assert done.returncode == 0, done.stderr
    assert "no/longer/there: there is no such folder" in done.stderr
    assert json.loads(done.stdout)["images"] == "64 random pictures"
    assert open_exported(tmp_path / "m/model.f32.onnx").metadata.licence == "CC BY 4.0"


# Engines


@pytest.mark.parametrize("kind", fast("onnx:int8", "openvino:f32"))
def test_evaluate_takes_every_engine(exported, stripes, kind):
    needs(kind)
    asked = ["evaluate", exported[0], stripes, "--json"]
    wanted = json.loads(command(*asked, "--engine", "torch").stdout)
    done = command(*asked, "--engine", kind)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    lost = (
        0 if kind.endswith("f32") else 1
    )  # which weights there are to round depends on the processor
    assert found["count"] == 12 and found["top1"] >= wanted["top1"] - lost / 12 - 1e-9
    if kind.endswith("f32"):
        assert found["confusion"] == wanted["confusion"]
        assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
    file = exported[0] / file_of(kind)
    again = json.loads(command("evaluate", file, stripes, "--json").stdout)
    assert again | {"model": ""} == found | {"model": ""}


def test_auto_takes_the_fastest_that_passed(folder):
    for kind in ("onnx:int8", "openvino:f32"):
        speeds(folder, kind)
        assert open_engine(folder).name == kind
        change(folder, {kind: {"passed": False}})
        assert open_engine(folder).name != kind
    for file in folder.glob("model.*.*"):
        file.unlink()
    assert isinstance(open_engine(folder), Classifier)


def test_on_another_machine_the_one_that_is_fastest_there_answers(folder, monkeypatch, tmp_path):
    """What was fastest where it was exported need not be where it is used."""
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fastest, "machine", lambda: "another")
    speeds(folder, "onnx:int8")
    measured, told = [], []

    def as_if(engine):
        measured.append(engine.name)
        return 9.0 if engine.name == "openvino:f32" else 1.0

    monkeypatch.setattr(fastest, "_images_per_second", as_if)
    assert open_engine(folder, note=told.append).name == "openvino:f32"
    assert sorted(measured) == sorted(
        each["engine"] + ":" + each["precision"] for each in records_of(folder)
    )
    assert "on this machine, once" in told[0]
    count = len(measured)
    assert open_engine(folder).name == "openvino:f32"
    assert open_engine(folder, "onnx").name.startswith("onnx:") and len(measured) == count
    (tmp_path / "cache/engines.json").write_text('{"another": 7}')  # damaged: measured again
    assert open_engine(folder).name == "openvino:f32" and len(measured) == 2 * count


def test_the_speed_here_is_measured_and_what_cannot_be_opened_is_never_first(
    folder, monkeypatch, tmp_path
):
    monkeypatch.setenv("INCEPTIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fastest, "machine", lambda: "another")
    broken = folder / "model.int8.onnx"
    broken.unlink()
    broken.write_bytes(b"no graph")
    assert open_engine(folder).name != "onnx:int8"
    kept = json.loads((tmp_path / "cache/engines.json").read_text())["another"]
    assert len(kept) == len(records_of(folder)) - 1 and min(kept.values()) > 0
    assert not any("model.int8.onnx" in key for key in kept)  # it may be whole the next time
    monkeypatch.setenv("INCEPTIVE_CACHE", str(broken))  # no folder can be there
    assert open_engine(folder).name != "onnx:int8"


def test_answers_of_int8_depend_on_no_processor(exported):
    """With weights of 8 bits, sums saturate where AVX2 has no VNNI: 1.5 points lost on Imagenette."""
    import onnx

    graph = onnx.load(exported[0] / "model.int8.onnx").graph
    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    ]
    assert len(weights) > 50 and 60 <= max(np.abs(each.astype(int)).max() for each in weights) <= 64


def test_onnx_or_openvino_takes_the_fastest_of_its_own(folder):
    speeds(folder, "onnx:int8")
    assert open_engine(folder, "onnx").name == "onnx:int8"
    assert open_engine(folder, "openvino").name.startswith("openvino:")
    assert isinstance(open_engine(folder, "torch"), Classifier)


@pytest.mark.parametrize("key", ["labels", "temperature"])
def test_exports_made_before_the_config_changed_are_left_out(key, folder, tmp_path):
    classifier = Classifier.load(folder)
    changed = {
        "labels": tuple(f"new {label}" for label in classifier.labels),
        "temperature": 20 * classifier.temperature,
    }
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    dataclasses.replace(classifier, **{key: changed[key]}).save(tmp_path)
    notes = []
    assert isinstance(open_engine(tmp_path, "auto", notes.append), Classifier)
    assert any("made before labels, temperature or other settings" in note for note in notes)
    classifier.save(tmp_path)
    assert not isinstance(open_engine(tmp_path, "auto", notes.append), Classifier)


def test_exports_of_other_weights_are_left_out_with_one_note(folder, tmp_path):
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()  # it is a link
    weights.write_bytes(content[:-4] + b"\0\0\0\0")
    told = json.loads((folder / "config.json").read_text())
    del told["weights"]  # of a folder that was changed by hand
    rewrite_config(folder, json.dumps(told))
    picture("down", 3).save(tmp_path / "photo.png")
    done = command("predict", folder, tmp_path / "photo.png", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)[0]["top"][0]["label"] == "down"
    note, used = done.stderr.strip().splitlines()
    assert used.endswith("model: answered by torch")
    assert "made from other weights; export again" in note and "model.int8.onnx" in note
    done = command("predict", folder, tmp_path / "photo.png", "--engine", "openvino")
    assert done.returncode == 1 and "has no export for openvino that passed" in done.stderr


def test_an_export_that_stands_in_for_a_broken_model_says_so(folder):
    notes = []
    (folder / "config.json").unlink()
    (folder / "config.json").write_text("{")
    assert open_engine(folder, note=notes.append).name != "torch"
    assert "config.json: is damaged" in notes[0] and "answered by" in notes[1]
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").unlink()
    assert open_engine(folder, note=notes.append).name != "torch"
    assert "its model.safetensors is missing; only exports made from it are left" in notes[2]
    (folder / "config.json").unlink()  # a folder of exports alone is whole
    open_engine(folder, note=notes.append)
    assert len(notes) == 5


def test_what_cannot_be_opened_is_left_out_with_a_note(folder, tmp_path):
    speeds(folder, "onnx:f32")
    (folder / "model.f32.onnx").unlink()
    (folder / "model.f32.onnx").write_bytes(b"no graph")
    notes = []
    assert open_engine(folder, note=notes.append).name != "onnx:f32"
    assert len(notes) == 2 and "model.f32.onnx is left out" in notes[0]
    (folder / "exports.json").write_text("[{}]")
    assert isinstance(open_engine(folder, note=notes.append), Classifier)
    assert "exports.json: is damaged" in notes[2] and notes[3].endswith("answered by torch")


def test_predict_with_an_export_needs_no_torch_and_writes_nothing_elsewhere(folder, tmp_path):
    """Nor does it import the packages that only export needs, nor leave an id in the home folder."""
    picture("down", 77).save(tmp_path / "photo.png")
    home = tmp_path / "home"
    home.mkdir()
    speeds(folder, "openvino:f32")
    for kind in ("auto", "onnx:f32"):
        words = ["predict", str(folder), str(tmp_path / "photo.png"), "--engine", kind]
        code = (
            f"import sys; sys.argv = ['inceptive', *{words!r}]\n"
            "from inceptive.cli import main\nmain_left = None\n"
            "try: main()\nexcept SystemExit as left: main_left = left.code\n"
            "heavy = {'torch', 'onnx', 'nncf', 'safetensors'} & set(sys.modules)\n"
            "assert not heavy and not main_left, (heavy, main_left)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False,
            env=os.environ | {"HOME": str(home)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        used = "openvino:f32" if kind == "auto" else kind
        assert "down" in done.stdout and done.stderr == f"{folder}: answered by {used}\n"
    assert list(home.iterdir()) == []


def test_csv_comes_row_by_row_and_its_file_whole_or_not(exported, tmp_path, monkeypatch):
    for number in range(5):
        picture("down", number).save(tmp_path / f"{number}.png")
    asked = ["predict", exported[0], *sorted(tmp_path.glob("*.png")), "--format", "csv"]
    printed = command(*asked, "--engine", "onnx:f32").stdout
    out = tmp_path / "out.csv"
    assert command(*asked, "--engine", "onnx:f32", "--out", out).returncode == 0
    rows, kept = (list(csv.DictReader(io.StringIO(one))) for one in (printed, out.read_text()))
    assert [row["image"] for row in rows] == [row["image"] for row in kept]
    assert {row["label"] for row in kept} == {"down"} and len(kept) == 5
    out.write_text("old")

    def stop(self, images):
        raise InceptiveError("the power is gone")

    monkeypatch.setattr(ExportedEngine, "scored", stop)
    done = command(*asked, "--engine", "onnx:f32", "--out", out)
    assert done.returncode == 1 and "the power is gone" in done.stderr
    assert out.read_text() == "old" and sorted(p.name for p in tmp_path.glob("*out*")) == [
        "out.csv"
    ]


# The check


def stub(logits, labels=("a", "b")):
    return SimpleNamespace(logits=lambda images: logits[: len(images)], labels=labels)


def test_one_engine_that_fails_does_not_keep_the_others_from_being_written(
    trained, tmp_path, monkeypatch, capsys
):
    real = exporting.write_export

    def write(classifier, folder, to, *rest):
        if to in failing:
            raise InceptiveError("the disk said no")
        return real(classifier, folder, to, *rest)

    monkeypatch.setattr(exporting, "write_export", write)
    failing = ["onnx"]
    written = exporting.export_all(trained[0], "f32", out=tmp_path)
    assert [each.name for each in written] == ["openvino:f32"]
    assert "onnx:f32 failed: the disk said no" in capsys.readouterr().err
    failing = ["onnx", "openvino"]
    with pytest.raises(InceptiveError, match="the disk said no"):
        exporting.export_all(trained[0], "f32", out=tmp_path, progress=None)


def test_a_graph_is_quantised_as_often_as_wanted(trained):
    """The second time with some layers in float32, as where int8 everywhere costs too much."""
    classifier = Classifier.load(trained[0])
    net = classifier.model.net.without_aux()
    tensors = {key: value.numpy() for key, value in classifier.model.state_dict().items()}
    graph = onnx_graph(net, tensors, classifier.preprocessing)
    size = classifier.preprocessing.size
    images = np.random.default_rng(0).integers(0, 256, (8, 1, size, size), dtype=np.uint8)
    layers = [node.name for node in graph.graph.node if node.op_type == "Conv"]
    every, some = (onnx_runtime.quantised(graph, images, plain) for plain in ([], layers[:3]))
    assert len(every) < len(some) < len(graph.SerializeToString())


def check_of(ours, theirs, labels=None, precision="int8", max_drop=0.5):
    images = np.zeros((len(ours), 1, 4, 4), dtype=np.uint8)
    pictures = ExportData("some", images, labels, images[:0])
    return compare_outputs(
        *(stub(np.array(one)) for one in (ours, theirs)), pictures, precision, max_drop
    )


OURS = [[1.0, 0.0], [0.0, 2.0], [4.0, -4.0], [0.0, 1.0]]


def test_the_check_measures_difference_agreement_and_drop():
    theirs = [[1.0, 0.0], [2.1, 2.0], [4.0, -4.0], [0.0, 1.0]]
    found = check_of(OURS, theirs, np.array([0, 1, 0, 0]))
    assert found.difference == pytest.approx(2.1 / 4)
    assert (found.agreement, found.top1_torch, found.top1) == (0.75, 0.75, 0.5)
    assert found.drop == 25 and not found.passed
    assert check_of(OURS, theirs, np.array([0, 1, 0, 0]), max_drop=25).passed
    assert check_of(OURS, theirs, np.array([0, 0, 0, 0])).drop == -25  # it may get better


def test_without_labels_the_answers_that_change_stand_for_the_drop():
    theirs = [[1.0, 0.0], [2.1, 2.0], [4.0, -4.0], [0.0, 1.0]]
    found = check_of(OURS, theirs)
    assert found.drop == 25 and found.top1 is None and not found.passed
    assert check_of(OURS, OURS).passed


@pytest.mark.parametrize(("apart", "passed"), [(0.0, True), (3.9e-4, True), (4.1e-4, False)])
def test_f32_is_bound_by_the_difference(apart, passed):
    theirs = np.array(OURS)
    theirs[1, 0] += apart  # the largest logit is 4: a relative 1e-4 is 4e-4
    assert check_of(OURS, theirs, precision="f32").passed == passed


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_what_is_not_finite_never_passes(precision):
    theirs = np.array(OURS)
    theirs[0, 1] = np.nan
    assert not check_of(OURS, theirs, precision=precision, max_drop=100).passed


def test_an_export_over_its_bound_stays_and_exits_1_and_is_not_used(folder, quick, monkeypatch):
    monkeypatch.setattr(check, "DIFFERENCE", 1e-12)
    done = command("export", folder, "--to", "onnx")
    assert done.returncode == 1 and "NOT PASSED" in done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert "model.f32.onnx: is written but differs from torch by" in last
    assert (folder / "model.f32.onnx").stat().st_size > 1e6
    assert not told(folder)["onnx:f32"]["passed"]
    speeds(folder, "onnx:f32")
    assert open_engine(folder).name != "onnx:f32"
    notes = []
    assert open_engine(folder, "onnx:f32", notes.append).name == "onnx:f32"
    assert "has not passed its check" in notes[0]


def test_random_pictures_are_always_the_same_and_of_the_right_shape():
    shown = Preprocessing(size=19, channels=1, mean=(0.5,), std=(0.5,))
    first, second = synthetic(shown), synthetic(shown)
    assert first.images.shape == (64, 1, 19, 19) and first.labels is None
    np.testing.assert_array_equal(first.images, second.images)
    assert first.images.std() > 30


# What cannot be done


def one_line(done, said, command="export", status=1):
    assert done.returncode == status and done.stdout == "", done
    last = done.stderr.strip().splitlines()[-1]
    assert said in last and last.startswith(f"inceptive {command}: "), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("words", "said"), [
    (["no/model", "--to", "onnx"], "model no/model: does not exist"),
    (["MODEL", "--to", "onnx", "--precision", "bf16"], "has no bf16 convolutions"),
    (["MODEL", "--to", "onnx", "--calibrate", "no/data"], "no/data: there is no such folder"),
    (["MODEL", "--to", "onnx", "--calibrate", "odd"], "does not know diagonal; it knows: "),
    (["MODEL", "--to", "onnx", "--out", "/proc/none"], "cannot be written"),
])  # fmt: skip
def test_an_export_that_cannot_be_made_is_refused_in_one_line(exported, words, said, tmp_path):
    for kind in ("across", "diagonal"):
        (tmp_path / "odd" / kind).mkdir(parents=True)
        picture("down", len(kind)).save(tmp_path / "odd" / kind / "a.png")
    words = [str(exported[0]) if word == "MODEL" else word for word in words]
    one_line(command("export", *words, cwd=tmp_path), said)


@pytest.mark.parametrize(
    "words", [["m"], ["m", "--to", "coreml"], ["m", "--to", "onnx", "--max-drop", "-1"]]
)
def test_bad_usage(words):
    assert command("export", *words).returncode == 2


def test_int8_needs_images(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "m")
    config = json.loads((tmp_path / "m/config.json").read_text())
    del config["data"]
    rewrite_config(tmp_path / "m", json.dumps(config))
    done = command("export", tmp_path / "m", "--to", "onnx", "--precision", "int8")
    one_line(done, "int8 is calibrated on images: name a set of them (calibrate)")


@pytest.mark.parametrize(("package", "words"), [
    ("onnx", ["--to", "openvino"]),
    ("onnxruntime", ["--to", "onnx"]),
    ("openvino", ["--to", "openvino"]),
    ("nncf", ["--to", "openvino", "--precision", "int8"]),
])  # fmt: skip
def test_a_missing_package_names_the_extra(folder, quick, monkeypatch, package, words):
    monkeypatch.setitem(sys.modules, package, None)
    one_line(command("export", folder, *words), "pip install 'inceptive[export]'")


@pytest.mark.parametrize(("engine", "said"), [
    ("tpu", "no engine is called 'tpu'; there are: auto, torch, onnx, openvino"),
    ("torch:int8", "no engine is called 'torch:int8'"),
    ("onnx:f16", "no engine is called 'onnx:f16'"),
    ("openvino", "has no export for openvino that passed its check; `inceptive export"),
    ("onnx:int8", "has no model.int8.onnx; `inceptive export"),
])  # fmt: skip
def test_an_engine_that_is_not_there_is_refused_in_one_line(trained, tmp_path, engine, said):
    picture("down", 1).save(tmp_path / "a.png")
    asked = ["predict", trained[0], tmp_path / "a.png", "--engine", engine]
    one_line(command(*asked), said, "predict", status=2 if said.startswith("no engine") else 1)


def damaged(path, content):
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize(("name", "content", "said"), [
    ("model.f32.onnx", b"", "ONNX Runtime does not take it"),
    ("model.f32.onnx", b"\x08\x08", "ONNX Runtime does not take it"),
    ("model.f32.xml", b"<net/>", "OpenVINO does not take it"),
    ("model.f32.xml", b"", "OpenVINO does not take it"),
    ("model.f32.bin", b"1234", "OpenVINO does not take it"),
])  # fmt: skip
def test_a_damaged_file_is_refused_in_one_line(folder, name, content, said):
    damaged(folder / name, content)
    with pytest.raises(InceptiveError) as refused:
        open_exported((folder / name).with_suffix(Path(name).suffix.replace(".bin", ".xml")))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_files_that_are_none_of_ours_are_refused(folder):
    import onnx

    model = onnx.load(folder / "model.f32.onnx")
    del model.metadata_props[:]
    damaged(folder / "model.f32.onnx", model.SerializeToString())
    with pytest.raises(InceptiveError, match="was not written by `inceptive export`"):
        open_exported(folder / "model.f32.onnx")
    onnx.helper.set_model_props(model, {KEY: '{"net": "googlenet"}'})
    damaged(folder / "model.f32.onnx", model.SerializeToString())
    with pytest.raises(InceptiveError, match="missing or invalid 'labels'"):
        open_exported(folder / "model.f32.onnx")
    text = (folder / "model.f32.xml").read_text()
    damaged(folder / "model.f32.xml", text.replace(KEY, "somebody").encode())
    with pytest.raises(InceptiveError, match="was not written by `inceptive export`"):
        open_exported(folder / "model.f32.xml")
    (folder / "model.f32.bin").unlink()
    with pytest.raises(InceptiveError, match=r"its weights model\.f32\.bin are not beside it"):
        open_exported(folder / "model.f32.xml")
    with pytest.raises(InceptiveError, match="there is no such file"):
        open_exported(folder / "model.f64.onnx")


@pytest.mark.parametrize(("engine", "said"), [
    ("openvino", "is run by the engine onnx, not openvino"),
    ("torch", "is run by the engine onnx, not torch"),
    ("onnx:int8", "is f32, not int8"),
])  # fmt: skip
def test_a_file_has_one_engine(exported, engine, said):
    with pytest.raises(InceptiveError, match=said):
        open_engine(exported[0] / "model.f32.onnx", engine)


def test_images_of_another_shape_are_refused(exported):
    engine = open_engine(exported[0], "onnx:f32")
    for wrong in (np.zeros((1, 3, 32, 32), np.uint8), np.zeros((1, 1, 32, 32), np.float32)):
        with pytest.raises(InceptiveError, match=r"takes images \(N, 1, 32, 32\) of uint8"):
            engine.logits(wrong)


def test_the_images_of_a_check_are_named_and_those_learned_are_counted(trained, stripes):
    folder, _ = trained
    engine = Classifier.load(folder)
    data = replace(open_data(stripes), name="stripes")
    whole = replace(data, splits={"all": data.split("all")})
    learned = engine.data["train"]
    assert from_data(engine, data, False).description == "8 val images of stripes"
    assert from_data(engine, whole, False).description == (
        f"60 images of stripes, of which it learned {learned}"
    )
    del engine.info["data"]["pictures"]
    assert from_data(engine, whole, False).description == "60 images of stripes"


def test_a_model_changed_in_memory_leaves_no_export_for_its_folder(trained, quick, tmp_path):
    """The file answered for the folder, with the other labels."""
    folder = shutil.copytree(trained[0], tmp_path / "model")
    clf = Classifier.load(folder)
    clf.labels = clf.labels[::-1]
    clf.export("onnx", progress=None)
    notes = []
    assert open_engine(folder, note=notes.append).name == "torch"
    assert "made from other weights" in notes[0]


def test_why_nothing_can_be_exported_is_said(trained, quick, monkeypatch):
    """It was always the extra that is missing."""
    with pytest.raises(InvalidArgument, match="f16"):
        export_all(trained[0], "f16", progress=None)
    monkeypatch.setattr(open_vino, "has_bf16", lambda: False)
    with pytest.raises(InceptiveError, match=r"nothing can be exported here: .*bf16"):
        export_all(trained[0], "bf16", progress=None)


def test_an_engine_that_is_given_is_not_exchanged_in_silence(trained):
    clf = Classifier.load(trained[0])
    assert open_engine(clf, "torch") is clf
    with pytest.raises(InceptiveError, match="engine onnx: the model is run by torch already"):
        open_engine(clf, "onnx")
    with pytest.raises(InceptiveError, match="no head answers early there"):
        open_engine(clf, early_exit=True)


def test_exports_at_once_keep_all_their_records(tmp_path):
    records_ = [
        records.Record(file=f"model.{k}.onnx", engine="onnx", precision="f32", weights="", passed=True,
                       check={}, speed={"images_per_second": 1.0})
        for k in range(8)
    ]  # fmt: skip
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            list(pool.map(partial(records.keep, tmp_path), records_))
            assert len(records.read(tmp_path)) == 8
            list(pool.map(lambda record: records.drop(tmp_path, record.file), records_))
            assert records.read(tmp_path) == []
