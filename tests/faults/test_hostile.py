"""Whatever is handed in: one clear line for each bad thing, and nothing else happens."""

import io
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import corpus
import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import TINY, command, picture, rewrite_config

from inceptive.cli import main
from inceptive.cli import tables as output
from inceptive.data.builtin import plain_pickle
from inceptive.data.open import open_data
from inceptive.data.source import SplitFractions
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.images import decoding
from inceptive.training import checkpoint
from inceptive.weights import readers

pytestmark = pytest.mark.faults

HUNG = 120  # seconds for a hundred small images, which take about one


@pytest.fixture
def recorded(record_property):
    """Keep a row of docs/reliability.md."""

    def record(what, tried, failures=0, note="", table="inputs"):
        record_property("reliability", json.dumps({
            "table": table, "what": what, "tried": tried, "survived": tried - failures,
            "lost": "nothing" if not failures else f"{failures}", "note": note,
        }))  # fmt: skip

    return record


def is_shown_safely(done, most=None):
    """The error of a command: single lines that a terminal only shows, and no traceback."""
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    lines = [line for line in done.stderr.splitlines() if ": answered by " not in line]
    assert all(line.isprintable() for line in lines), lines
    if most is not None:
        assert len(lines) <= most, lines
    return lines


def tree(folder):
    """Every file under `folder`, with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Images


IN_ITS_OWN_PROCESS = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
signal.alarm(int(sys.argv.pop(1)))
from inceptive.cli import main
main()
"""


def predicted(model, folder, seconds):
    """`inceptive predict` in a process of its own, which ends by SIGALRM if it hangs."""
    return subprocess.run(
        [sys.executable, "-c", IN_ITS_OWN_PROCESS, str(seconds), "predict", str(model), str(folder),
         "--json", "--engine", "torch"],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip


def all_answered(done, names):
    """Every image has an answer or one line; how many had an answer."""
    assert done.returncode in (0, 1), (done.returncode, done.stderr[-3000:])
    told = json.loads(done.stdout)
    assert sorted(Path(one["image"]).name for one in told) == sorted(names)
    bad = [one["error"] for one in told if one["error"]]
    assert all(bool(one["top"]) != bool(one["error"]) for one in told)
    lines = [line for line in is_shown_safely(done) if "images" not in line.split(":")[0]]
    told_bad = [line for line in lines if line.startswith("inceptive predict: ")]
    assert [line.removeprefix("inceptive predict: ") for line in told_bad[: len(bad)]] == bad
    notes = sum(len(one["notes"]) for one in told)
    assert sum(line.startswith("note: ") for line in lines) == notes
    assert len(lines) == len(bad) + bool(bad) + notes, lines[:5]
    return len(told) - len(bad)


def test_every_sound_kind_is_answered(trained, tmp_path):
    names = [str(Path(name).with_suffix(".png")) for name in corpus.sound()]
    names = [f"{k}-{name}" for k, name in enumerate(names)]
    for name, content in zip(names, corpus.sound().values(), strict=True):
        (tmp_path / name).write_bytes(content)
    assert all_answered(predicted(trained[0], tmp_path, HUNG), names) == len(names) > 30


def test_the_corpus_is_the_same_each_time_and_damages_about_all():
    first, again = list(corpus.mutants(80)), list(corpus.mutants(80))
    assert first == again and first != list(corpus.mutants(80, seed=1))
    sound = set(corpus.sound().values())
    assert sum(content not in sound for _, content in first) > 70


@pytest.mark.parametrize(
    ("count", "seed"), [(300, 1), pytest.param(10_000, 2, marks=pytest.mark.slow)]
)
def test_mutated_images(trained, tmp_path, count, seed, recorded):
    (tmp_path / "canary").write_text("sings")
    folder, answered, batch = tmp_path / "images", 0, {}
    for number, (name, content) in enumerate(corpus.mutants(count, seed), 1):
        batch[str(Path(name).with_suffix(".png"))] = content  # the content decides, not the name
        if len(batch) == 500 or number == count:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for one, data in batch.items():
                (folder / one).write_bytes(data)
            done = predicted(trained[0], folder, HUNG * 5)
            assert done.returncode != -signal.SIGALRM, "it hangs"
            answered += all_answered(done, batch)
            assert tree(folder) == batch
            batch = {}
    assert {path.name for path in tmp_path.iterdir()} == {"canary", "images"}
    assert 0.05 < answered / count < 0.7  # some damage does no harm, most does
    recorded(f"mutated images through predict, seed {seed}", count,
             note=f"{answered} still answered, one line for each of the rest")  # fmt: skip


def test_images_that_claim_or_unpack_to_far_more_than_they_hold(trained, tmp_path, recorded):
    images = {f"{k}-{name}": b for k, (name, b) in enumerate(corpus.bombs().items())}
    images = {f"{name}.png": content for name, content in images.items()}
    for name, content in images.items():
        (tmp_path / name).write_bytes(content)
    all_answered(predicted(trained[0], tmp_path, HUNG), images)
    recorded("decompression bombs and absurd headers through predict", len(images))


def test_a_decoder_of_the_command_writes_nothing_to_standard_error_itself(tmp_path, capfd):
    decoding.quiet_decoders()
    broken = corpus.sound()["fax.tif"]
    for at in range(8, len(broken), 7):
        content = bytearray(broken)
        content[at] ^= 0xFF
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoding, "MAX_PIXELS", 1_000_000)
            try:
                decoding.decode(bytes(content))
            except InceptiveError as error:
                assert str(error).isprintable()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["pipe", "device", "endless", "sparse", "folder"])
def test_what_only_looks_like_an_image_file_is_left_out(kind, stripes, trained, tmp_path):
    """A pipe that nobody writes to, a device without an end, a file of 8 TB of nothing."""
    data = tmp_path / "data"
    shutil.copytree(stripes, data)
    odd = data / "down" / "odd.png"
    match kind:
        case "pipe":
            os.mkfifo(odd)
        case "device":
            odd.symlink_to("/dev/null")
        case "endless":
            odd.symlink_to("/dev/zero")
        case "sparse":
            with odd.open("wb") as file:
                file.truncate(8 << 40)
        case "folder":
            odd.mkdir()
    signal.alarm(HUNG)
    try:
        read = open_data(str(data), SplitFractions())
        done = command("predict", trained[0], odd)
    finally:
        signal.alarm(0)
    assert len(read.unreadable) == (kind != "folder")
    assert done.returncode == 1
    [first, *_] = is_shown_safely(done, 2)
    said = {"sparse": "too large to decode safely (8796.1 GB", "folder": "holds no images"}
    assert said.get(kind, "cannot be read (it is not a file)") in first


# Names


def named(folder, names=corpus.NAMES):
    """Sound pictures under the oddest names; how many this disk can have."""
    folder.mkdir(parents=True, exist_ok=True)
    made = 0
    for k, name in enumerate(names):
        try:
            picture("down", k).save(folder / name.replace("/", "∕"), "PNG")
            made += 1
        except OSError:
            continue
    return made


def test_names_of_files_are_shown_and_never_obeyed(trained, tmp_path, recorded):
    made = named(tmp_path / "odd")
    (tmp_path / "odd" / "bad\x1b[2J\n.png").write_bytes(b"no image")
    before = sorted(os.listdir(os.fsencode(tmp_path / "odd")))
    for words in (["--format", "table"], ["--json"], ["--format", "csv"]):
        done = command("predict", trained[0], tmp_path / "odd", *words, cwd=tmp_path)
        assert done.returncode == 1 and "1 of" in done.stderr
        is_shown_safely(done)
        assert all(line.isprintable() for line in done.stdout.splitlines())
        assert len(re.findall(r"down|across", done.stdout)) >= made
    out = tmp_path / "found.csv"
    command("predict", trained[0], tmp_path / "odd", "--format", "csv", "--out", out)
    assert len(out.read_text().splitlines()) == made + 2
    assert sorted(os.listdir(os.fsencode(tmp_path / "odd"))) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["found.csv", "odd"]
    recorded("file names with escapes, markup, commands, no text at all", made)


CLASSES = (
    "\x1b]0;owned\x07class", "<img src=x onerror=alert(1)>", "two\nlines", "[bold]rich[/bold]",
    "&lt;b&gt;", "{{ 7 * 7 }}", "-rf", "\u202eright to left", "\udcff", "'\"--", "| a | b |",
)  # fmt: skip


@pytest.fixture(scope="module")
def oddly_named(tmp_path_factory):
    """A model of two classes whose names try everything, and its data."""
    folder = tmp_path_factory.mktemp("odd")
    for k, name in enumerate((CLASSES[0] + CLASSES[2], CLASSES[1] + CLASSES[3] + CLASSES[5])):
        (folder / "data" / name).mkdir(parents=True)
        for number in range(14):
            picture(("across", "down")[k], number).save(folder / "data" / name / f"{number}.png")
    (folder / "tiny.toml").write_text(TINY)
    done = command("train", folder / "data", "--recipe", folder / "tiny.toml", "--out",
                   folder / "model", "--set", "epochs=1")  # fmt: skip
    return folder, done


def test_names_of_classes_are_shown_and_never_obeyed(oddly_named, recorded):
    folder, trained = oddly_named
    assert trained.returncode == 0, trained.stderr
    is_shown_safely(trained)
    model, data = folder / "model", folder / "data"
    one = next(data.rglob("*.png"))
    runs = [
        ("predict", model, one), ("evaluate", model, data), ("compare", model, model, data),
        ("evaluate", model, data, "--out", folder / "judged"),
        ("explain", model, one, "--out", folder / "explained"),
        ("explain", model, one, "--label", CLASSES[1], "--out", folder / "explained"),
        ("export", model, "--to", "onnx"), ("predict", model / "model.f32.onnx", one),
        ("early-exit", model), ("train", data, "--out", folder / "again", "--weights", model,
                                "--set", "epochs=0"),
    ]  # fmt: skip
    for words in runs:
        done = command(*words)
        is_shown_safely(done)
        assert done.returncode in (0, 1)
        assert all(line.isprintable() for line in done.stdout.splitlines()), words
    for page in (model / "report.html", folder / "judged" / "report.html"):
        text = page.read_text(errors="surrogateescape")
        assert "<img src=x onerror" not in text and "&lt;img src=x onerror" in text
        assert "49" not in re.findall(r"\[/bold\](\d+)", text)
        assert not [c for c in text if unicodedata.category(c) == "Cc" and c not in "\n\t"]
        assert "\\x1b]0;owned" in text
    assert {p.name for p in folder.iterdir()} >= {"data", "model", "tiny.toml", "judged"}
    recorded("class names with escapes, markup, templates: each command", len(runs) + 1)


@pytest.mark.parametrize("name", CLASSES)
def test_a_terminal_is_shown_names_and_a_file_is_given_them(name, capsys, monkeypatch):
    table = output.columns(("image", "answer"), [("a.png", name)])
    assert all(line.isprintable() for line in table.splitlines()) and len(table.splitlines()) == 2
    for terminal in (True, False):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal, raising=False)
        output.answer(f"{name}\n")
        shown = capsys.readouterr().out
        if terminal:
            assert all(line.isprintable() for line in shown.splitlines())
        else:
            assert shown == f"{name}\n\n".encode(errors="backslashreplace").decode()


def test_links_out_of_the_tree_and_loops(stripes, tmp_path, recorded):
    data = tmp_path / "data"
    shutil.copytree(stripes, data)
    (tmp_path / "secret").write_text("root:x:0:0")
    (data / "down" / "secret.png").symlink_to(tmp_path / "secret")
    (data / "down" / "self.png").symlink_to("self.png")
    (data / "down" / "up").symlink_to("..")
    (data / "down" / "root").symlink_to(data / "down")
    (data / "across" / "to").symlink_to(data / "down")
    read = open_data(str(data), SplitFractions())
    assert sum(len(one) for one in read.splits.values()) == 60
    assert len(read.unreadable) == 2
    assert not any("root:x" in line for line in (*read.unreadable, *read.notes))
    recorded("links out of a data folder, loops of links", 5)


# Model folders


VALUES = (None, True, -1, 3, 1e308, float("nan"), 2**70, "x", "\x1b[31mred\n", [], {}, ["a", 1], [[[]]],
          "../../x")  # fmt: skip
DEEP = "[" * 100_000 + "]" * 100_000


def places(value, at=()):
    """Where every value of a JSON object lies; of a list only the first."""
    if at:
        yield at
    inside = (
        value if isinstance(value, dict) else {0: value[0]} if value and type(value) is list else {}
    )
    for key, one in inside.items():
        yield from places(one, (*at, key))


def changed(value, at, new):
    """A copy of `value` with `new` at a place; nothing there if it is Ellipsis."""
    copy = json.loads(json.dumps(value))
    inside = copy
    for key in at[:-1]:
        inside = inside[key]
    if new is ...:
        del inside[at[-1]]
    else:
        inside[at[-1]] = new
    return copy


@pytest.fixture
def model(trained, tmp_path):
    """A copy of the trained model."""
    return shutil.copytree(trained[0], tmp_path / "model")


RUNS = {
    "predict": lambda model, one, data: ("predict", model, one, "--engine", "torch"),
    "evaluate": lambda model, one, data: (
        "evaluate",
        model,
        data,
        "--out",
        model.parent / "judged",
    ),
    "early-exit": lambda model, one, data: ("predict", model, one, "--early-exit"),
    "compare": lambda model, one, data: ("compare", model, model, data),
    "explain": lambda model, one, data: ("explain", model, one, "--out", model.parent / "seen"),
    "export": lambda model, one, data: ("export", model, "--to", "onnx"),
}
READ_BY = {"recipe": ["evaluate"], "training": ["evaluate"], "torch": ["predict"],
           "inceptive": ["predict"], "data": ["evaluate", "export"], "metrics": ["predict", "export"],
           "early_exit": ["early-exit", "predict"]}  # fmt: skip


def tried(model, one, data, config, runs):
    """Run commands on a model with this config; how many were refused."""
    rewrite_config(model, config if isinstance(config, str) else json.dumps(config))
    refused = 0
    for run in runs:
        try:
            done = command(*RUNS[run](model, one, data))
        except Exception as error:
            raise AssertionError(f"{run}: {str(config)[-300:]}") from error
        is_shown_safely(done)
        assert done.returncode in (0, 1)
        refused += done.returncode
    return refused


PARTS = ("net", "labels", "preprocessing", "temperature", "weights", "early_exit", "data", "metrics",
         "training", "recipe")  # fmt: skip


@pytest.mark.parametrize(
    ("part", "most"),
    [*((part, 1) for part in PARTS[:6]),
     *(pytest.param(part, 99, marks=pytest.mark.slow) for part in PARTS[:6]),
     *(pytest.param(part, 4, marks=pytest.mark.slow) for part in PARTS[6:])],
)  # fmt: skip
def test_a_garbled_config(part, most, model, stripes, tmp_path, recorded):
    """Each value of the file in turn gone, or another; `most` others of VALUES."""
    (model / "exports.json").unlink(missing_ok=True)
    picture("down", 1).save(tmp_path / "one.png")
    config = json.loads((model / "config.json").read_text())
    exits = [{"head": "aux_4a", "temperature": 1.0, "threshold": 0.5}]
    config["early_exit"] = {"exits": exits, "max_drop": 0.2, "found": {}}
    del config["metrics"]["thresholds"][1:]  # all are alike
    small = tmp_path / "small"
    for kind in ("across", "down"):
        shutil.copytree(stripes / kind, small / kind, ignore=lambda _, names: sorted(names)[6:])
    runs = READ_BY.get(part, ["predict"])
    assert tried(model, tmp_path / "one.png", small, config, runs) == 0
    count = refused = 0
    rng = np.random.default_rng(0)
    inside = [at for at in places(config) if at[0] == part]
    for k in rng.permutation(len(inside))[:40]:  # a net has thousands
        for new in [..., *(VALUES[v] for v in rng.permutation(len(VALUES))[:most])]:
            bad = changed(config, inside[k], new)
            refused += tried(model, tmp_path / "one.png", small, bad, runs)
            count += len(runs)
    assert refused or part in ("training", "recipe", "metrics")
    recorded(f"config.json garbled in `{part}`, read by {', '.join(runs)}", count,
             note=f"{refused} refused with one line")  # fmt: skip


def test_a_config_that_is_no_sound_json(model, tmp_path, recorded):
    picture("down", 1).save(tmp_path / "one.png")
    config = (model / "config.json").read_text()
    bad = [DEEP, '{"a":' * 100_000, config[:-20], "", "null", "1" * 100_000, '{"net": ' + DEEP + "}",
           config.replace('"labels"', '"labels": [], "labels"', 1), "\ufeff" + config,
           '{"temperature": 1e999}']  # fmt: skip
    for text in bad:
        tried(model, tmp_path / "one.png", tmp_path, text, ["predict"])
    recorded("config.json that is no sound JSON", len(bad))


def test_damaged_weights_are_refused(model, recorded):
    """Header and data of model.safetensors, without the hash that would notice first."""
    config = json.loads((model / "config.json").read_text())
    del config["weights"]
    (model / "config.json").write_text(json.dumps(config))
    rewrite_config(model, None)
    path = model / "model.safetensors"
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    bad = [whole[:n] for n in (0, 7, 8, 100, 8 + length, len(whole) - 1)]
    bad += [n.to_bytes(8, "little") + whole[8:] for n in (0, 2**63, 2**64 - 1, 10**8, length - 1)]
    first = next(key for key in header if len(header[key].get("shape", ())) == 4)
    for new in VALUES:
        for at in ((first,), (first, "shape"), (first, "dtype"), (first, "data_offsets")):
            text = json.dumps(changed(header, at, new)).encode()
            bad.append(len(text).to_bytes(8, "little") + text + whole[8 + length :])
    deep = DEEP.encode()
    bad += [len(deep).to_bytes(8, "little") + deep, whole + b"more"]
    for k, content in enumerate(bad):
        path.write_bytes(content)
        with pytest.raises(InceptiveError) as caught:
            Classifier.load(model)
            pytest.fail(f"number {k} is taken: {content[:200]!r}")
        assert "\n" not in str(caught.value)
    recorded("model.safetensors with a damaged header or cut data", len(bad))


def test_any_other_byte_of_the_weights_is_noticed_by_their_hash(model, recorded):
    path = model / "model.safetensors"
    whole, rng = path.read_bytes(), np.random.default_rng(5)
    for _ in range(12):
        content = bytearray(whole)
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        with pytest.raises(InceptiveError, match="is damaged"):
            Classifier.load(model)
    recorded("model.safetensors with one bit flipped", 12)


# Recipes


RECIPES = (
    "epochs = " + "9" * 5000, "epochs = 1e400", "epochs = nan", "a = " + "[" * 50_000,
    "a" + ".a" * 50_000 + " = 1", "epochs = [1]", "optimizer = 3", "[optimizer]\nlr = '0.1'",
    "[optimizer]\nlr = -inf", "image_size = 1000000000", "batch_size = -1", "net = 3",
    "net = '../../etc/passwd'", "weights = '/etc/passwd'", "[aux]\nat = [[]]", "seed = 1e9",
    '"\\u001b[31m" = 1', "[data]\nworkers = 99999999999", "epochs = 1\nepochs = 2", "\0", "\ufeffx",
    "[augment]\n" + "x = 1\n" * 3, "net = '''" + "x" * 100_000 + "'''", "[[data]]\nval = 0.5",
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_a_garbled_recipe_is_one_line(number, stripes, tmp_path, recorded):
    path = tmp_path / "r.toml"
    path.write_text(RECIPES[number], errors="surrogateescape")
    signal.alarm(HUNG)
    try:
        done = command("train", stripes, "--recipe", path, "--out", tmp_path / "out")
    finally:
        signal.alarm(0)
    assert done.returncode == 1, RECIPES[number][:80]
    [*_, last] = is_shown_safely(done)
    assert last.startswith("inceptive train: ") and len(last) < 600
    assert not (tmp_path / "out").exists()
    if number == 0:
        recorded("recipes: wrong types, huge, deep, unknown", len(RECIPES))


# Other people's files


class Code:
    """Unpickled, it runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def archive(path, members):
    with tarfile.open(path, "w:gz") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                packed.addfile(info)
            else:
                info.size = len(content)
                packed.addfile(info, io.BytesIO(content))
    return path


TRAVERSAL = (
    "../canary",
    "/tmp/inceptive-canary",
    "a/../../canary",
    "..\\canary",
    "C:\\canary",
    "a\0b",
)


def foreign(folder, canary):
    """(file, name of published weights) that try to run code or to write elsewhere."""
    code = Code(canary)
    (folder / "plain.pth").write_bytes(pickle.dumps({"a": code}))
    torch.save({"state_dict": {"a": code}}, folder / "torch.pth")
    torch.save({"a": code}, folder / "old.pth", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(folder / "zip.zip", "w") as packed:
        for name in TRAVERSAL:
            packed.writestr(f"{name}.pth", pickle.dumps(code))
    with zipfile.ZipFile(folder / "one.zip", "w") as packed:
        packed.writestr("../../canary.pth", pickle.dumps(code))
    (folder / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + pickle.dumps(code) * 9)
    (folder / "x.caffemodel").write_bytes(pickle.dumps(code))
    (folder / "x.ckpt").write_bytes(pickle.dumps(code))
    (folder / "x.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{" * 99)
    members = {name: pickle.dumps(code) for name in TRAVERSAL[:-1]} | {"link": "/etc/passwd"}
    archive(folder / "x.tar.gz", members)
    archive(folder / "nsfwjs.tgz", {"../../inception/model.json": b'{"weightsManifest": [{"paths": '
                                    b'["../../../canary"], "weights": []}]}'})  # fmt: skip
    (folder / "model.json").write_text(json.dumps(
        {"weightsManifest": [{"paths": ["../../../../../etc/passwd"], "weights": []}]}))  # fmt: skip
    (folder / "deep.json").write_text('{"weightsManifest": ' + DEEP + "}")
    return sorted(path for path in folder.iterdir())


def test_weights_of_others_run_nothing_and_write_nothing(tmp_path, recorded):
    folder, canary = tmp_path / "weights", tmp_path / "canary"
    folder.mkdir()
    pickle.loads(pickle.dumps(Code(canary)))
    assert canary.exists(), "the trap itself does not work"
    canary.unlink()
    files = foreign(folder, canary)
    before = tree(tmp_path)
    for path in files:
        with pytest.raises(InceptiveError) as caught:
            readers.read(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 700, path
        for name in ("inception_v3.nsfwjs", "inception_v4.timm"):
            with pytest.raises(InceptiveError):
                Classifier.load(name, file=path)
    assert tree(tmp_path) == before and not Path("/tmp/inceptive-canary").exists()
    recorded("weight files with code, path traversal, deep nesting", 3 * len(files))


@pytest.mark.parametrize("name", TRAVERSAL[:-1])
def test_an_archive_of_cifar10_writes_nothing(name, tmp_path, recorded):
    canary = tmp_path / "canary"
    code = pickle.dumps({b"data": Code(canary), b"labels": []}, protocol=2)
    path = archive(tmp_path / "x.tar.gz", {
        f"{name}/data_batch_1": code, name: code, f"{name}/test_batch": "../../etc/passwd",
    })  # fmt: skip
    before = tree(tmp_path)
    done = command("train", f"cifar10:{path}", "--out", tmp_path / "out")
    assert done.returncode == 1
    is_shown_safely(done)
    assert "refused" in done.stderr
    assert tree(tmp_path) == before and not canary.exists()
    recorded(f"cifar10:ARCHIVE with the member {name!r} and code", 1)


def test_a_checkpoint_that_is_not_ours_is_one_line(stripes, tmp_path, recorded):
    out = tmp_path / "out"
    out.mkdir()
    bad = [{"epoch": 1}, {"epoch": "x", "recipe": 3}, {"epoch": 1, "recipe": {"epochs": "x"}},
           {"epoch": 1, "recipe": {}}, {"epoch": 1, "recipe": {}, "data": 3},
           {"epoch": 1, "recipe": {}, "data": {}, "progress": {}, "model": {},
            "optimizer": {}}]  # fmt: skip
    for state in bad:
        checkpoint.save(out, state)
        try:
            done = command("train", stripes, "--out", out, "--resume")
        except Exception as error:
            raise AssertionError(state) from error
        assert done.returncode == 1
        is_shown_safely(done)
    recorded("checkpoints with parts missing or of the wrong kind", len(bad))


# Exports


OPENS = """
import signal, sys
signal.alarm(60)
from pathlib import Path
import numpy as np
from inceptive.errors import InceptiveError
from inceptive.engines.open import open_exported
for path in map(Path, sys.argv[1:]):
    try:
        opened = open_exported(path)
        size, channels = opened.preprocessing.size, opened.preprocessing.channels
        if size <= 64:
            opened.probs(np.zeros((1, channels, size, size), np.uint8))
        print("opened", flush=True)
    except InceptiveError as error:
        assert "\\n" not in str(error)
        print("refused", flush=True)
"""


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
@pytest.mark.parametrize("count", [12, pytest.param(150, marks=pytest.mark.slow)])
def test_damaged_exports(kind, count, trained, tmp_path, recorded):
    folder = tmp_path / "made"
    done = command("export", trained[0], "--to", kind, "--out", folder)
    assert done.returncode == 0, done.stderr
    path = next(p for p in folder.iterdir() if p.suffix in (".onnx", ".xml"))
    whole, rng, files = path.read_bytes(), np.random.default_rng(count), []
    other = corpus.sound()["rgb.png"]
    for k in range(count):
        there = tmp_path / f"{k}{path.suffix}"
        content = corpus.mutated(rng, whole, other)
        there.write_bytes(content[: len(content) // 2] if k % 10 == 9 else content)
        if kind == "openvino":
            weights = path.with_suffix(".bin").read_bytes()
            there.with_suffix(".bin").write_bytes(weights[: len(weights) // (1 + k % 3)])
        files.append(there)
    before = tree(tmp_path)
    said = []
    while len(said) < len(files):  # a library that crashes takes its process along, not ours
        words = [sys.executable, "-c", OPENS, *map(str, files[len(said) :])]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        said += done.stdout.split()
        if len(said) < len(files):
            assert done.returncode < 0, done.stderr[-2000:]
            said.append("crashed")
    assert tree(tmp_path) == before
    assert "crashed" not in said  # it would be the library's fault, and ours to keep from users
    recorded(f"damaged exports for {kind}", count, note=f"{said.count('refused')} refused")


@pytest.mark.parametrize("code", [b"]r\xff\xff\xff\x7f.", b"]p99999999999\n.", b"P\n."])
def test_a_pickle_of_a_few_bytes_takes_no_gigabytes(code):
    with pytest.raises(InceptiveError, match="a damaged pickle") as caught:
        plain_pickle(code)
    assert "\n" not in str(caught.value)


def test_the_program_says_so_when_memory_ends(monkeypatch, capsys):
    def gone(**_):
        raise MemoryError

    monkeypatch.setattr("inceptive.cli.app", gone)
    monkeypatch.setattr(sys, "argv", ["inceptive", "predict"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert capsys.readouterr().err == "inceptive predict: there is not enough memory for it\n"


def test_the_safetensors_of_these_tests_are_read():
    """So that what is refused above is refused for its damage."""
    assert safetensors.torch.load(safetensors.torch.save({"a": torch.ones(2)}))["a"].sum() == 2
