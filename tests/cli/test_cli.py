"""The commands as a person uses them: what they print, where, and how they end."""

import csv
import io
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import command, logo, picture

import inceptive
from inceptive.__main__ import environment_for_speed, start_anew
from inceptive.engines.header import fingerprint
from inceptive.errors import InceptiveError
from inceptive.weights.catalogue import catalogue


def one_line(text):
    return len(text.strip().splitlines()) == 1


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_one_line_on_standard_output(option):
    done = command(option)
    assert done == (0, f"inceptive {inceptive.__version__}\n", "")


def test_help_lists_the_commands():
    done = command("--help")
    assert done.returncode == 0 and done.stderr == ""
    for name in ("nets", "table", "trace", "draw", "train", "evaluate", "predict"):
        assert name in done.stdout


@pytest.mark.parametrize("name", ["nets", "table", "trace", "draw", "train", "evaluate", "predict"])
def test_every_command_has_help(name):
    done = command(name, "--help")
    assert done.returncode == 0 and done.stderr == "" and "Usage: inceptive" in done.stdout


@pytest.mark.parametrize(("name", "arguments"), [
    ("train", " DATA"), ("predict", " MODEL PATH..."), ("early-exit", " MODEL [DATA]"), ("nets", ""),
])  # fmt: skip
def test_usage_names_the_arguments_as_help_does(name, arguments):
    assert command(name, "--help").stdout.startswith(
        f"Usage: inceptive {name} [OPTIONS]{arguments}\n"
    )


@pytest.mark.parametrize("words", [
    ["paint"], ["table"], ["table", "googlenet", "--size", "big"], ["train"], ["evaluate", "only"],
    ["predict", "model"], ["table", "googlenet", "--format", "xml"],
])  # fmt: skip
def test_bad_usage_ends_with_2_and_says_so_on_standard_error(words):
    done = command(*words)
    assert done.returncode == 2 and done.stdout == "" and "Error" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("words", "said"), [
    (["table", "vgg"], "no net is called 'vgg'"),
    (["table", "googlenet", "--size", "20"], "the least size is 31"),
    (["draw", "vgg"], "no net is called 'vgg'"),
    (["draw", "googlenet", "--part", "3a"], "no part called '3a'; there are: conv1, pool1,"),
    (["draw", "googlenet", "--out", "."], "cannot be written"),
    (["draw", "googlenet", "--out", "net.jpg"], "net.jpg: a drawing is an SVG file"),
    (["predict", "googlenet.torchvison", "photo.jpg"], "with such a name: googlenet.torchvision"),
    (["train", "no/such/folder"], "there is no such folder"),
    (["train", "digits", "--recipe", "nonsense"], "no recipe is called 'nonsense'"),
    (["train", "digits", "--set", "optimizer.rate=1"], "unknown key optimizer.rate"),
    (["train", "digits", "--net", "vgg"], "no net is called 'vgg'"),
    (["evaluate", "no/model", "digits"], "model no/model: does not exist"),
    (["predict", "no/model", "photo.jpg"], "model no/model: does not exist"),
    (["train", "digits", "--resume", "--out", "no/run"], "holds no checkpoint"),
])  # fmt: skip
def test_what_cannot_be_met_ends_with_1_and_one_line(words, said, tmp_path):
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert said in last and last.startswith(f"inceptive {words[0]}: ")
    assert "Traceback" not in done.stderr


def test_no_recipe_is_announced_for_a_folder_that_is_not_there(tmp_path):
    assert len(command("train", "no/such/folder", cwd=tmp_path).stderr.strip().splitlines()) == 1


def test_table_prints_totals_and_formulas():
    done = command("table", "googlenet", "--aux")
    assert done.returncode == 0 and done.stderr == ""
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "6,998,552" in lines["total"] and "1,582,671,872" in lines["total"]
    assert "13,378,280" in lines["with"]
    assert lines["inception_3a.b5x5.conv"].endswith("5·5·16·32 + 32")
    assert "1024 x 7 x 7" in lines["inception_5b"]
    assert "aux_4a.fc1" in lines


def test_table_as_json_csv_and_markdown_say_the_same():
    found = json.loads(command("table", "googlenet.torchvision", "--json").stdout)
    assert found["params"] == 6_624_904 and found["params_with_aux"] == 13_004_888
    assert sum(line["params"] for line in found["layers"]) == found["params"]
    assert sum(line["macs"] for line in found["layers"]) == found["macs"]
    rows = list(
        csv.DictReader(
            io.StringIO(command("table", "googlenet.torchvision", "--format", "csv").stdout)
        )
    )
    assert [int(row["params"]) for row in rows] == [line["params"] for line in found["layers"]]
    assert [int(row["field"]) for row in rows] == [
        line["receptive_field"] for line in found["layers"]
    ]
    markdown = command("table", "googlenet.torchvision", "--format", "md").stdout.splitlines()
    assert len({line.count("|") for line in markdown}) == 1 and len(markdown) == len(rows) + 3


def test_nets_lists_every_net_as_text_and_json():
    found = json.loads(command("nets", "--json").stdout)
    assert set(found) == {"nets", "weights"}
    assert [one["net"] for one in found["nets"]] == list(inceptive.NETS)
    text = command("nets").stdout
    assert all(one["net"] in text and f"{one['params']:,}" in text for one in found["nets"])


def test_nets_lists_the_published_weights_and_what_each_fits():
    found = json.loads(command("nets", "--json").stdout)
    weights = {one["name"]: one for one in found["weights"]}
    assert set(weights) == set(catalogue())
    fitting = {one["net"]: one["weights"] for one in found["nets"]}
    assert sorted(name for names in fitting.values() for name in names) == sorted(weights)
    assert all(weights[name]["net"] == net for net, names in fitting.items() for name in names)
    assert weights["inception_v4.timm"]["top1"] == 0.80144  # a share
    assert all(
        one["top1"] is None or 0.6 < one["top1"] < one["top5"] < 1 for one in found["weights"]
    )
    text = command("nets").stdout.split("\n\n")[1]
    assert len(text.splitlines()) == 1 + len(weights)
    for line, one in zip(text.splitlines()[1:], found["weights"], strict=True):
        assert line.split()[:2] == [one["name"], one["net"]]
        host = one["url"] and one["url"].split("/")[2]
        whence = host or one["hub"] or one["note"]
        assert whence and line.endswith(whence) and one["licence"] in line


def test_a_table_says_how_a_separable_convolution_multiplies():
    layers = json.loads(command("table", "bn_inception", "--json").stdout)["layers"]
    assert layers[0]["formula"] == "7·7·3·8 + 3·8·64 + 2·64"


def test_the_light_commands_leave_torch_alone():
    light = {"--help": "torch PIL numpy", "table": "torch PIL numpy", "nets": "torch"}
    for words in (
        ["--help"],
        ["table", "googlenet"],
        ["draw", "vgg16"],
        ["nets"],
        ["train", "--help"],
        ["trace", "--help"],
        ["table", "googlenet", "--against", "paper"],
    ):
        heavy = set(light.get(words[0], light["--help"]).split())
        code = (
            f"import sys; sys.argv = ['inceptive', *{words!r}]\n"
            "from inceptive.cli import main\n"
            "try: main()\nexcept SystemExit: pass\n"
            f"assert not {heavy!r} & set(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert done.returncode == 0, (words, done.stderr)


def test_a_model_is_loaded_without_the_compiler(trained):
    """torch._dynamo and sympy took two seconds of each `predict`."""
    code = (
        "import sys, inceptive\n"
        f"inceptive.Classifier.load({str(trained[0])!r})\n"
        "assert 'torch' in sys.modules and not {'torch._dynamo', 'sympy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_train_says_what_it_does_and_writes_a_model_folder(trained):
    out, done = trained
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert "2 classes, images: 36 train, 12 val, 12 test" in done.stderr
    assert "epoch 8/8" in done.stderr and "validation images right" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "config.json",
        "history.csv",
        "model.safetensors",
        "report.html",
    ]
    history = list(csv.DictReader(io.StringIO((out / "history.csv").read_text())))
    assert [row["epoch"] for row in history] == list("12345678")
    assert {"loss", "loss_aux_4a", "loss_aux_4d", "top1", "val_loss", "val_top1", "lr"} <= set(
        history[0]
    )
    config = json.loads((out / "config.json").read_text())
    assert config["labels"] == ["across", "down"]
    assert config["preprocessing"]["channels"] == 1
    assert config["recipe"]["image_size"] == 32


def test_train_refuses_to_write_over_a_model(trained, stripes, tiny):
    out, _ = trained
    before = (out / "model.safetensors").read_bytes()
    done = command("train", stripes, "--recipe", tiny, "--out", out)
    assert done.returncode == 1 and "is not empty" in done.stderr
    assert (out / "model.safetensors").read_bytes() == before


def test_evaluate_judges_the_test_split_and_json_is_one_object(trained, stripes, tmp_path):
    out, _ = trained
    done = command("evaluate", out, stripes, "--json", "--out", tmp_path / "judged")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["split"] == "test" and found["count"] == 12
    assert sum(map(sum, found["confusion"])) == 12
    low, high = found["top1_interval"]
    assert low <= found["top1"] <= high
    assert json.loads((tmp_path / "judged/evaluation.json").read_text()) == found
    rows = list(csv.DictReader(io.StringIO((tmp_path / "judged/predictions.csv").read_text())))
    right = sum(row["class"] == row["label"] for row in rows)
    assert right / len(rows) == found["top1"]


def test_evaluate_prints_a_table_for_people(trained, stripes):
    done = command("evaluate", trained[0], stripes, "--split", "all", "--crops", "10")
    assert done.returncode == 0, done.stderr
    assert "on 60 images of" in done.stdout and "10 crops" in done.stdout
    assert "95 % interval" in done.stdout and "true \\ answered" in done.stdout


def test_several_models_are_evaluated_each_and_together(trained, stripes, tmp_path):
    done = command("evaluate", trained[0], trained[0], stripes, "--json", "--out", tmp_path)
    found = json.loads(done.stdout)
    assert [one["model"] for one in found][-1] == "ensemble of 2" and len(found) == 3
    assert found[2]["top1"] == found[0]["top1"]
    assert found[2]["loss"] == pytest.approx(found[0]["loss"])
    page = (tmp_path / "report.html").read_text()
    assert "<h1>ensemble of 2</h1>" in page and page.count("The net drawn") == 2
    assert f"<dt>{trained[0]} alone</dt><dd>{found[0]['top1']:.2%}</dd>" in page


@pytest.mark.parametrize(("words", "said"), [
    (["--crops", "7"], "crops are 1, 8, 10, 144, not 7"),
    (["--engine", "tpu"], "no engine is called 'tpu'"),
    (["--split", "best"], "has no best split"),
])  # fmt: skip
def test_evaluate_refuses_what_it_cannot_do(trained, stripes, words, said):
    done = command("evaluate", trained[0], stripes, *words)
    assert (
        done.returncode == (1 if "--split" in words else 2)
        and said in done.stderr
        and done.stdout == ""
    )


def test_evaluate_refuses_classes_that_the_model_does_not_know(trained, tmp_path):
    for kind in ("across", "diagonal"):
        (tmp_path / "odd" / kind).mkdir(parents=True)
        for number in range(3):
            picture("down", number + 50).save(tmp_path / "odd" / kind / f"{number}{kind}.png")
    done = command("evaluate", trained[0], tmp_path / "odd", "--split", "all")
    assert done.returncode == 1 and "the model does not know diagonal" in done.stderr


def photographs(folder):
    folder.mkdir()
    picture("across", 900).save(folder / "a photo.png")
    picture("down", 901).convert("RGB").save(folder / "b.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_predict_does_the_rest_when_one_image_is_broken(trained, tmp_path):
    folder = photographs(tmp_path / "photos")
    done = command("predict", trained[0], folder, folder / "gone.png", "--json", "--top", "1")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [one["image"].rsplit("/", 1)[1] for one in found] == [
        "a photo.png",
        "b.jpg",
        "broken.jpg",
        "gone.png",
    ]
    assert [bool(one["error"]) for one in found] == [False, False, True, True]
    assert found[0]["top"][0]["label"] == "across" and found[1]["top"][0]["label"] == "down"
    assert "2 of 4 images cannot be read; the rest is done" in done.stderr
    assert "notes.txt" in done.stderr


def test_predict_notes_pictures_that_it_answers_all_the_same(trained, tmp_path):
    for name in ("logo.png", "other.png"):
        logo(tmp_path / name)
    picture("down", 901).save(tmp_path / "plain.png", icc_profile=b"no profile")
    done = command("predict", trained[0], *sorted(tmp_path.glob("*.png")), "--json")
    assert done.returncode == 0
    profile, blank = done.stderr.splitlines()[-2:]
    assert f"{tmp_path / 'logo.png'} and 1 more: the picture comes out in one flat colour" in blank
    assert f"note: {tmp_path / 'plain.png'}: the colour profile is damaged" in profile
    assert [len(one["notes"]) for one in json.loads(done.stdout)] == [1, 1, 1]


def test_predict_answers_the_same_in_every_format(trained, tmp_path):
    import pyarrow.parquet

    folder = photographs(tmp_path / "photos")
    (folder / "broken.jpg").unlink()
    logo(folder / "logo.png")
    asked = ["predict", trained[0], folder]
    as_json = json.loads(command(*asked, "--format", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(command(*asked, "--format", "csv").stdout)))
    done = command(*asked, "--format", "parquet", "--out", tmp_path / "found.parquet")
    assert done.returncode == 0 and done.stdout == ""
    table = pyarrow.parquet.read_table(tmp_path / "found.parquet").to_pylist()
    text = command(*asked).stdout
    for one, row, columns in zip(as_json, rows, table, strict=True):
        assert one["image"] == row["image"] == columns["image"] and one["image"] in text
        first, second = one["top"]
        assert first["label"] == row["label"] == columns["label"]
        assert first["prob"] == pytest.approx(float(row["prob"]), abs=1e-6)
        assert second["prob"] == pytest.approx(columns["prob_2"], abs=1e-6)  # batches vary
        assert first["prob"] + second["prob"] == pytest.approx(1)
        assert "; ".join(one["notes"]) == row["notes"] == (columns["notes"] or "")
        assert bool(one["notes"]) == one["image"].endswith("logo.png")


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
@pytest.mark.parametrize("asked", [["predict", "--format", "parquet"], ["embed"]])
def test_a_name_that_is_not_utf_8_is_written_to_parquet(trained, tmp_path, asked):
    import pyarrow.parquet

    folder = tmp_path / "photos"
    folder.mkdir()
    picture("down", 901).save(folder / "a.png")
    os.rename(folder / "a.png", os.path.join(os.fsencode(folder), b"a\xff.png"))
    out = tmp_path / "out.parquet"
    done = command(asked[0], trained[0], folder, *asked[1:], "--out", out)
    assert done.returncode == 0, done.stderr
    [image] = pyarrow.parquet.read_table(out)["image"].to_pylist()
    assert image.endswith(r"a\xff.png")


@pytest.mark.nets
def test_predict_batches_do_not_change_the_answers(trained, stripes):
    answers = [
        json.loads(command("predict", trained[0], stripes, "--json", "--batch-size", n).stdout)
        for n in (1, 7)
    ]
    for one, other in zip(*answers, strict=True):
        assert one["image"] == other["image"]
        assert one["top"][0]["prob"] == pytest.approx(other["top"][0]["prob"], abs=1e-4)


def test_an_empty_folder_and_parquet_without_a_file_are_refused(trained, tmp_path):
    done = command("predict", trained[0], tmp_path)
    assert done.returncode == 1 and "holds no images" in done.stderr
    done = command("predict", trained[0], tmp_path, "--format", "parquet")
    assert done.returncode == 2 and "name a file with --out" in done.stderr


def test_training_names_broken_images_first_and_goes_on_without_them(stripes, tiny, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(stripes, data)
    (data / "down" / "broken.png").write_bytes((data / "down" / "000.png").read_bytes()[:300])
    out = tmp_path / "out"
    done = command("train", data, "--recipe", tiny, "--out", out, "--set", "epochs=1")
    assert done.returncode == 0, done.stderr
    told = done.stderr.index("broken.png: is truncated or damaged")
    assert told < done.stderr.index("epoch 1/1")
    done = command("train", data, "--recipe", tiny, "--out", tmp_path / "two", "--strict")
    assert done.returncode == 1 and "1 of 61 files cannot be read" in done.stderr
    assert not (tmp_path / "two").exists()


AT_THE_BEGINNING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell starts all with &
class Finder:
    def find_spec(name, path, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
from inceptive.__main__ import main
main()
"""


def test_ctrl_c_while_the_command_is_imported_prints_nothing():
    done = subprocess.run([sys.executable, "-c", AT_THE_BEGINNING, "--version"],
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


TWICE = """
import os, sys
print(os.environ.get("GLIBC_TUNABLES"), flush=True)
sys.argv = [os.environ["STARTED_AS"], "--version"]
from inceptive.__main__ import main
main()
"""


KEPT = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000"


@pytest.mark.parametrize(
    ("started", "set_before", "expected"),
    [
        ("/usr/bin/inceptive", None, ["None", KEPT]),
        (
            "/lib/inceptive/__main__.py",
            "glibc.cpu.x86_ibt=off",
            ["glibc.cpu.x86_ibt=off", f"glibc.cpu.x86_ibt=off:{KEPT}"],
        ),
        ("/usr/bin/inceptive", "glibc.malloc.hugetlb=0", ["glibc.malloc.hugetlb=0"]),
        ("/lib/mine/__main__.py", None, ["None"]),
        ("script_of_mine.py", None, ["None"]),
    ],
)
def test_it_starts_anew_with_memory_kept_where_the_user_says_nothing(started, set_before, expected):
    own = {key: value for key, value in os.environ.items() if key != "GLIBC_TUNABLES"}
    own |= {"STARTED_AS": started} | ({"GLIBC_TUNABLES": set_before} if set_before else {})
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, env=own,
                          timeout=60, check=True)  # fmt: skip
    *seen, version = done.stdout.splitlines()
    assert version == f"inceptive {inceptive.__version__}" and done.stderr == ""
    assert seen == (expected if sys.platform == "linux" else expected[:1])


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_only_linux_has_glibc(system, monkeypatch):
    monkeypatch.setattr(sys, "platform", system)
    assert environment_for_speed({}) == {}


def test_how_long_threads_wait_is_left_to_a_user_who_says_so(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert environment_for_speed({}) == {"GLIBC_TUNABLES": KEPT, "GOMP_SPINCOUNT": "20000"}
    assert (
        KEPT in (Path(__file__).parents[2] / "Makefile").read_text()
    )  # tests and book run so, too
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        assert environment_for_speed({name: "1"}) == {"GLIBC_TUNABLES": KEPT}


AGAIN = """
import resource
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for k in range(4):
    before = faults()
    block = bytearray(100 * 2**20)
    del block
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")
def test_memory_is_kept_for_the_next_step():
    own = {key: value for key, value in os.environ.items() if key != "GLIBC_TUNABLES"}
    faults = [
        int(subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True,
                           env=own | more, timeout=60, check=True).stdout)
        for more in ({}, environment_for_speed({}))
    ]  # fmt: skip
    assert faults[0] > 40 and faults[1] < 10


def test_it_starts_anew_once_only_where_the_environment_does_not_survive(monkeypatch):
    """As of a Python with capabilities of its own: it would have started for ever."""
    started = []
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    monkeypatch.setattr(
        "inceptive.__main__.environment_for_speed", lambda _: {"GLIBC_TUNABLES": "x"}
    )
    monkeypatch.setattr(sys, "argv", ["/usr/bin/inceptive", "nets"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "/usr/bin/inceptive", "nets"])
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    start_anew()
    [words] = started
    assert words == [sys.executable, "-X", words[2], "/usr/bin/inceptive", "nets"]
    monkeypatch.setattr(sys, "_xoptions", {words[2]: True})
    start_anew()
    assert len(started) == 1


STOPPED = """
import os, signal, sys, threading, time
from inceptive.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell starts all with &
history, how = sys.argv.pop(1), int(sys.argv.pop(1))
def stop():
    while not os.path.exists(history):
        time.sleep(0.001)
    os.kill(os.getpid(), how)
threading.Thread(target=stop, daemon=True).start()
main()
"""


def stopped_training(data, recipe, out, how):
    """A training that is sent `how` at the end of its first epoch, on a busy machine too: who watches
    from outside may see nothing until it has ended."""
    words = [out / "history.csv", int(how), "train", data, "--recipe", recipe, "--out", out]
    return subprocess.run([sys.executable, "-c", STOPPED, *map(str, words)],
                          capture_output=True, text=True, timeout=240, check=False)  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize(
    ("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGKILL, -9)]
)
def test_a_training_that_was_stopped_goes_on_and_ends_as_if_never_stopped(
    how, status, stripes, tiny, trained, tmp_path
):
    whole, out = trained[0], tmp_path / "cut"
    done = stopped_training(stripes, tiny, out, how)
    assert done.returncode == status and "Traceback" not in done.stderr
    if how != signal.SIGKILL:
        assert f"{how.name}: stopping after this step" in done.stderr
        *_, last = done.stderr.strip().splitlines()
        assert re.search(r"stopped after (step \d of 3 of )?epoch \d", last)
        assert last.endswith(f"go on with: inceptive train {stripes} --out {out} --resume")
    assert (
        "holds a training that did not end"
        in command("train", stripes, "--recipe", tiny, "--out", out).stderr
    )
    resumed = command("train", stripes, "--out", out, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "going on after epoch" in resumed.stderr
    weights = [fingerprint(folder / "model.safetensors") for folder in (out, whole)]
    assert weights[0] == weights[1]
    rows = [
        [{k: row[k] for k in row if k not in ("seconds", "images_per_second")}
         for row in csv.DictReader(io.StringIO((folder / "history.csv").read_text()))]
        for folder in (out, whole)
    ]  # fmt: skip
    assert rows[0] == rows[1] and len(rows[0]) == 8


def test_a_training_that_diverges_stops_with_a_line_and_keeps_what_was_good(
    stripes, tiny, tmp_path
):
    out = tmp_path / "out"
    done = command("train", stripes, "--recipe", tiny, "--out", out, "--set", "optimizer.lr=1e6",
                   "--set", "schedule.warmup_epochs=0", "--net", "googlenet")  # fmt: skip
    assert done.returncode == 1 and "training diverged in epoch 1" in done.stderr
    assert "--set optimizer.lr=3.33e+05" in done.stderr and "Traceback" not in done.stderr


def test_output_into_a_closed_pipe_is_quiet():
    code = f"{sys.executable} -c 'from inceptive.cli import main; main()' table googlenet | head -1"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("layer") and done.stderr == ""


def test_the_error_class_is_public():
    assert inceptive.InceptiveError is InceptiveError
