"""What a caller is told of work that takes long."""

import importlib
import inspect
import pkgutil

import pytest

import inceptive
from inceptive.data.shards.writing import write_shards
from inceptive.io import progress
from inceptive.io.progress import Lines
from inceptive.scale.scoring import score


def test_lines_go_to_standard_error_and_work_has_one_every_ten_seconds(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines = Lines()
    lines.say("12 images\x1b[2J")
    for now in (1.0, 9.9, 10.0, 12.0, 21.0, 40.0):
        lines.advance("reading images", int(now), 40, "loss 0.5")
    assert capsys.readouterr() == (
        "",
        "12 images\\x1b[2J\n"
        "reading images: 10 of 40  loss 0.5\nreading images: 21 of 40  loss 0.5\n",
    )


LONG = [
    "open_data", "evaluate", "compare", "explain", "trace", "export", "export_all", "serve", "train",
    "Classifier.export", "Classifier.explain", "inceptive.scale.scoring:score",
    "inceptive.data.open:open_data_for", "inceptive.data.shards.writing:write_shards",
    "inceptive.evaluation.early_exit:choose_early_exit",
    "inceptive.evaluation.evaluate:evaluate_engine", "inceptive.evaluation.open:open_models_and_data",
]  # fmt: skip


def functions():
    """Every function and method of the package, by name, public or not."""
    for info in pkgutil.walk_packages(inceptive.__path__, "inceptive."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for holder in [module, *(v for v in vars(module).values() if inspect.isclass(v))]:
            for value in vars(holder).values():
                if inspect.isfunction(value) and value.__module__.startswith("inceptive."):
                    yield f"{value.__module__}.{value.__qualname__}", value


def test_progress_means_one_thing_and_has_one_default_everywhere():
    seen = {}
    for name, function in functions():
        parameter = inspect.signature(function).parameters.get("progress")
        if parameter and "Progress" in str(parameter.annotation):
            seen[name] = parameter.default
            assert parameter.default in (parameter.empty, progress.ON_STANDARD_ERROR), name
    assert len(seen) > 30
    for name in LONG:  # what a user calls needs no progress
        module, _, function = name.rpartition(":")
        thing = importlib.import_module(module) if module else inceptive
        for part in function.split("."):
            thing = getattr(thing, part)
        assert seen[f"{thing.__module__}.{thing.__qualname__}"] is progress.ON_STANDARD_ERROR


@pytest.mark.training
def test_none_is_silence(trained, stripes, tmp_path, capfd):
    folder, photo = trained[0], next((stripes / "down").iterdir())
    clf = inceptive.Classifier.load(folder)
    data = inceptive.open_data(stripes, progress=None)
    inceptive.evaluate(folder, data, "val", out=tmp_path / "e", progress=None)
    inceptive.compare([clf, folder], data, "val", seconds=0, out=tmp_path / "c", progress=None)
    inceptive.trace(clf, photo, "inception_3a.b1x1", progress=None)
    clf.explain(photo, "occlusion", progress=None)
    write_shards(data, tmp_path / "shards", progress=None)
    score(folder, stripes, tmp_path / "scored", workers=1, progress=None)
    assert capfd.readouterr() == ("", "")
    inceptive.evaluate(folder, data, "val")
    out, err = capfd.readouterr()
    assert out == "" and "evaluating" in err
