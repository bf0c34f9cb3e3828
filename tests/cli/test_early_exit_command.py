"""`inceptive early-exit` and what then answers early: torch, and an OpenVINO file cut at its heads."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
from conftest import command, picture, rewrite_config

from inceptive.engines.classifier import Classifier
from inceptive.engines.early_exit import EarlyExit
from inceptive.engines.open import open_engine
from inceptive.errors import InceptiveError
from inceptive.exporting import check, write
from inceptive.exporting.calibration import ExportData, synthetic

with_export = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "openvino"))),
    reason="the extra `export` is not installed",
)


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "model")


def change(folder, thresholds):
    """Thresholds by hand, so that images leave at every end."""
    config = json.loads((folder / "config.json").read_text())
    config["early_exit"] = EarlyExit.from_dict(
        {
            "exits": [
                {"head": head, "temperature": 1.3, "threshold": one}
                for head, one in thresholds.items()
            ],
            "max_drop": 0.2,
            "validation": {},
        }
    ).to_dict()
    rewrite_config(folder, json.dumps(config))


def squares(folder, count=24):
    load = Classifier.load(folder).preprocessing.load
    kinds = ("across", "down")
    return np.stack([load(picture(kinds[k % 2], 900 + k)) for k in range(count)])


def spread(folder, images):
    """Thresholds at which a part of `images` leaves at each head."""
    found = {}
    for head in ("aux_4a", "aux_4d"):
        change(folder, {**found, head: 1.0})
        engine = open_engine(folder, "torch", early_exit=True)
        stages = Classifier.load(folder).stages([one.head for one in engine.policy.exits])
        maps, logits = images, None
        for stage in stages[: len(engine.policy.exits)]:
            maps, logits = stage(maps)
        scaled = np.exp(logits / 1.3)
        found[head] = float(np.quantile((scaled / scaled.sum(1, keepdims=True)).max(1), 0.6))
    change(folder, found)
    return found


def test_exits_are_chosen_on_validation_and_kept_in_the_model_folder(folder):
    done = command("early-exit", folder, "--max-drop", "0", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    kept = json.loads((folder / "config.json").read_text())["early_exit"]
    assert kept == said and said["max_drop"] == 0
    assert said["validation"]["top1"] >= said["validation"]["top1_full"]
    assert said["validation"]["macs"] <= said["validation"]["macs_full"]
    again = Classifier.load(folder)
    assert again.early_exit == EarlyExit.from_dict(kept)


def test_the_table_tells_thresholds_accuracy_and_multiply_adds(folder):
    done = command("early-exit", folder, "--max-drop", "20")
    assert "the whole net" in done.stdout and "validation images, on which this was" in done.stdout
    assert "times fewer" in done.stdout


def test_exits_are_not_chosen_on_what_was_learned(folder, stripes, tmp_path):
    for split in ("train", "val"):
        shutil.copytree(stripes, tmp_path / "leak" / split)
    done = command("early-exit", folder, tmp_path / "leak", "--max-drop", "20")
    assert done.returncode == 0 and "were learned from" in done.stderr


def test_shares_of_one_evaluation_are_not_those_of_all_before(folder):
    change(folder, {"aux_4a": 0.0})
    engine = open_engine(folder, "torch", early_exit=True)
    engine.logits(squares(folder, 4))
    assert engine.exit_shares() == {"aux_4a": 1.0, "": 0.0}
    assert engine.exit_shares() == {"aux_4a": 0.0, "": 0.0}


def test_evaluate_and_predict_say_who_answered(folder, stripes, tmp_path):
    command("early-exit", folder, "--max-drop", "20")
    done = command("evaluate", folder, stripes, "--early-exit", "--json")
    assert done.returncode == 0 and "answered by aux_4a" in done.stderr
    told = json.loads(done.stdout)
    assert sum(told["left"].values()) == pytest.approx(1)
    picture("across", 901).save(tmp_path / "one.png")
    done = command("predict", folder, tmp_path / "one.png", "--early-exit", "--engine", "torch")
    assert done.returncode == 0 and "answered by" in done.stderr
    assert "heads do not tell whether an image is like none of the classes" in done.stderr


@pytest.mark.nets
def test_torch_leaves_at_each_end_as_the_heads_themselves_say(folder):
    images = squares(folder)
    spread(folder, images)
    engine = open_engine(folder, "torch", early_exit=True)
    found = engine.probs(images)
    assert (engine.answered > 0).all() and engine.answered.sum() == len(images)
    whole = Classifier.load(folder)
    import torch

    ends = whole.model.endpoints(
        whole.normalise(torch.from_numpy(images)), ["aux_4a", "aux_4d", "fc"]
    )
    for i in range(len(images)):
        for end, t, threshold in [
            *((one.head, one.temperature, one.threshold) for one in engine.policy.exits),
            ("fc", whole.temperature, 0.0),
        ]:
            scaled = np.exp((ends[end][i].detach().double() / t).numpy())
            probs = scaled / scaled.sum()
            if probs.max() >= threshold:
                np.testing.assert_allclose(found[i], probs, atol=1e-5)
                break


@pytest.mark.nets
@with_export
@pytest.mark.parametrize("precision", ["f32", pytest.param("int8", marks=pytest.mark.slow)])
def test_an_openvino_file_cut_at_its_heads_answers_as_torch_does(folder, precision, monkeypatch):
    monkeypatch.setattr(check, "SECONDS", 0.0)
    images = squares(folder)
    spread(folder, images)
    classifier = Classifier.load(folder)
    shown = synthetic(classifier.preprocessing)
    labels = np.asarray(classifier.logits(images).argmax(1))
    given = ExportData(
        "stripes", images, labels, images if precision == "int8" else shown.calibration
    )
    write.write_export(classifier, folder, "openvino", precision, given, 100.0, say=lambda _: None)
    torch_one = open_engine(folder, "torch", early_exit=True)
    cut = open_engine(folder / f"model.{precision}.xml", early_exit=True)
    ours, theirs = torch_one.probs(images), cut.probs(images)
    if precision == "f32":
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
        assert (torch_one.answered == cut.answered).all() and (cut.answered > 0).all()
    else:
        assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.8 and cut.answered.sum() == len(
            images
        )
    plain = open_engine(folder / f"model.{precision}.xml")
    assert plain.logits(images).shape == (len(images), 2)  # the heads do not get in its way


def test_what_cannot_answer_early_is_said_in_one_line(folder, stripes, tmp_path):
    done = command("evaluate", folder, stripes, "--early-exit")
    assert (
        done.returncode == 1
        and "no head answers early there; `inceptive early-exit`" in done.stderr
    )
    done = command("early-exit", tmp_path / "none")
    assert done.returncode == 1 and "is no model folder" in done.stderr
    config = json.loads((folder / "config.json").read_text())
    rewrite_config(folder, json.dumps(config | {"early_exit": {"exits": 1}}))
    done = command("evaluate", folder, stripes, "--early-exit")
    assert done.returncode == 1 and done.stderr.count("early_exit: missing or invalid") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.nets
@with_export
def test_onnx_runtime_does_not_stop_at_heads(folder, monkeypatch):
    monkeypatch.setattr(check, "SECONDS", 0.0)
    change(folder, {"aux_4a": 0.9})
    classifier = Classifier.load(folder)
    write.write_export(classifier, folder, "onnx", "f32", synthetic(classifier.preprocessing),
                  say=lambda _: None)  # fmt: skip
    with pytest.raises(InceptiveError, match="no head answers early there"):
        open_engine(folder / "model.f32.onnx", early_exit=True)
