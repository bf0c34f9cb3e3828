"""`python -m benchmarks`: the arithmetic of rounds on fake clocks, its parts, and that it runs. No
timing is ever asserted: what is measured here is made by hand."""

import importlib.util
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from benchmarks import benchmark as benchmarks
from benchmarks import engines, peers, pipeline, process, report, training
from benchmarks.__main__ import main
from benchmarks.benchmark import Benchmark, Candidate
from benchmarks.classify import Classified
from benchmarks.machine import machine
from benchmarks.pictures import photographs
from benchmarks.report import SECTIONS
from benchmarks.setting import Setting
from benchmarks.tables import as_text, cells
from inceptive.arch import nets
from inceptive.arch.account import account
from inceptive.engines.timing import Timing, interleave, ratio, repeated
from inceptive.errors import InceptiveError
from inceptive.exporting import write
from inceptive.io.cores import processor
from inceptive.nn import build
from tools.bars import Bar, bars

ROOT = Path(__file__).parents[2]


def quiet(text):
    """A listener that does not listen."""


@pytest.fixture
def setting(tmp_path):
    return Setting(folder=tmp_path, rounds=2, quick=True).smaller()


@pytest.fixture
def alone(monkeypatch):
    """As on a machine without the peers."""

    def missing(name):
        raise InceptiveError(f"{name.partition('.')[0]} is not installed")

    monkeypatch.setattr(peers, "package", missing)


def sampler(name, seconds, log):
    """A sampler of one call that takes the next of `seconds`."""
    left = iter(seconds)

    def sample():
        log.append(name)
        return [next(left)]

    return sample


# The arithmetic


def test_candidates_alternate_and_the_ratio_is_that_of_each_round():
    log: list[str] = []
    samplers = {
        "a": sampler("a", [4.0, 8.0, 1.0], log),
        "b": sampler("b", [2.0, 2.0, 2.0], log),
    }
    timings = interleave(samplers, 3)
    assert log == ["a", "b"] * 3
    found = ratio(timings["a"], timings["b"])
    assert (found.least, found.median, found.most) == (0.5, 2.0, 4.0)
    assert (found.low, found.high) == (1.25, 3.0)
    back = ratio(timings["b"], timings["a"])
    assert (back.least, back.median, back.most) == (0.25, 0.5, 2.0)


def test_a_drift_that_both_see_leaves_the_ratio_alone():
    drift = [1.0, 1.5, 0.8, 2.0, 1.1]
    slow = Timing(tuple(3 * d for d in drift), ())
    fast = Timing(tuple(d for d in drift), ())
    found = ratio(slow, fast)
    assert found.least == pytest.approx(3) and found.most == pytest.approx(3)


def test_quartiles_are_numpys():
    rng = np.random.default_rng(0)
    times = rng.uniform(1, 2, 9)
    found = ratio(Timing((1.0,) * 9, ()), Timing(tuple(times), ()))
    np.testing.assert_allclose(
        (found.low, found.median, found.high), np.quantile(1 / times, [0.25, 0.5, 0.75])
    )


def test_one_round_has_no_spread():
    found = ratio(Timing((2.0,), ()), Timing((1.0,), ()))
    assert {found.low, found.median, found.high, found.least, found.most} == {2.0}


def test_a_sample_repeats_until_its_time_is_over():
    ticks = iter([0.0, 0.25, 1.0, 1.5, 2.0, 2.5])  # calls of 0.25, 0.5 and 0.5 seconds
    calls: list[int] = []
    sample = repeated(lambda: calls.append(1), 0.7, clock=lambda: next(ticks))
    assert sample() == [0.25, 0.5] and len(calls) == 2


def test_a_sample_of_no_time_is_one_call():
    calls: list[int] = []
    assert len(repeated(lambda: calls.append(1), 0.0)()) == 1 and len(calls) == 1


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101])
def test_percentiles_are_of_the_nearest_rank(count):
    times = np.random.default_rng(count).uniform(1, 2, count)
    timing = Timing((1.0,), tuple(times))
    for share in (0.5, 0.99, 1.0):
        expected = np.quantile(times, share, method="inverted_cdf")
        assert timing.percentile(share) == expected


# A benchmark


def faked(monkeypatch, seconds):
    """Turns of given times in place of measured ones: name -> seconds of a call."""
    monkeypatch.setattr(
        benchmarks, "_sampler", lambda one, _: one.build() or (lambda: [seconds[one.name]])
    )


def test_a_peer_that_is_slower_by_construction_reads_as_slower(monkeypatch, setting):
    faked(monkeypatch, {"peer": 0.2, "ours": 0.05, "worse": 0.4})
    made = Benchmark("train", "a race", tuple(
        Candidate(name, lambda: None, macs=1000, images=4, precision=kind)
        for name, kind in (("peer", "f32"), ("ours", "bf16"), ("worse", None))
    ), {"net": "googlenet"})  # fmt: skip
    found = benchmarks.run(made, setting, {"f32": 10_000.0, "bf16": 50_000.0}, quiet)
    peer, ours, worse = found["rows"]
    assert found["baseline"] == "peer" and peer["ratio"] == 1
    assert ours["ratio"] == pytest.approx(4) and worse["ratio"] == pytest.approx(0.5)
    assert ours["images_per_second"] == pytest.approx(80)
    assert ours["macs_per_second"] == pytest.approx(20_000)
    assert peer["roofline_share"] == pytest.approx(0.5)
    assert ours["roofline_share"] == pytest.approx(0.4)
    assert worse["roofline_share"] is None
    assert set(peer) == set(ours) == set(worse)
    header, rows = cells(found)
    assert [row[header.index("ratio")] for row in rows] == ["1.00", "4.00", "0.50"]
    assert "MB" not in header and "agrees" not in header


def test_what_cannot_run_is_left_out_with_its_reason(monkeypatch, setting):
    faked(monkeypatch, {"ours": 0.05})

    def missing():
        raise InceptiveError("timm is not installed")

    made = Benchmark(
        "train", "alone", (Candidate("timm", missing), Candidate("ours", lambda: None))
    )
    heard: list[str] = []
    found = benchmarks.run(made, setting, {}, heard.append)
    assert found["baseline"] == "ours" and [row["name"] for row in found["rows"]] == ["ours"]
    assert found["skipped"] == {"timm": "timm is not installed"}
    assert any("left out: timm: timm is not installed" in line for line in heard)


def test_nobody_can_run(setting):
    def missing():
        raise InceptiveError("no")

    found = benchmarks.run(
        Benchmark("train", "none", (Candidate("a", missing),)), setting, {}, quiet
    )
    assert found["baseline"] is None and found["rows"] == []
    assert cells(found)[1] == []


# Multiply-adds, machine, photographs


@pytest.mark.parametrize("heads", [False, True])
def test_a_step_is_three_forward_passes(heads):
    from torch.utils.flop_counter import FlopCounterMode

    net = "googlenet.torchvision"
    with torch.device("meta"):
        images = torch.empty(2, 3, 64, 64)
        model = build(nets.NETS[net](10))
        names = ["fc", *(model.net.heads() if heads else ())]
        with FlopCounterMode(display=False) as counter:
            model.endpoints(images, names)
    assert training.step_macs(net, 64, 2, 10, heads) == 3 * counter.get_total_flops() // 2


def test_the_machine_is_told_whole():
    told = machine()
    assert told["cores"] >= 1 and told["memory_bytes"] > 2**28 and told["processor"]
    assert told["versions"]["torch"] == torch.__version__
    assert json.loads(json.dumps(told)) == told


def test_a_processor_of_another_kind(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n")
    name, flags = processor(cpuinfo)
    assert name and flags == ("asimd", "bf16", "i8mm")
    assert processor(tmp_path / "none")[1] == ()


def test_photographs_are_made_alike_and_given_ones_are_taken(setting, stripes):
    files, origin = photographs(setting, (60, 40), 2)
    assert len(files) == 2 and "60 x 40" in origin
    from PIL import Image

    with Image.open(files[0]) as one, Image.open(files[1]) as other:
        assert one.size == (60, 40) and one.format == "JPEG"
        assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() > 20
    given = Setting(folder=setting.folder, images=stripes)
    assert len(photographs(given, (60, 40), 2)[0]) == 60
    with pytest.raises(InceptiveError, match="holds no images"):
        photographs(Setting(folder=setting.folder, images=ROOT / "tools"), (60, 40), 2)


# Processes


def test_a_process_tells_its_time_and_its_own_memory_not_ours():
    held = bytearray(400 * 2**20)  # of this process; the small one must not inherit the figure
    command = process.Process([sys.executable, "-I", "-S", "-c", "b = bytearray(60 << 20)"], 1)
    [seconds] = command()
    assert seconds > 0 and len(held) > 0
    assert 60 * 2**20 < command.peak_bytes < 200 * 2**20


def test_a_process_that_fails_is_told_in_one_line():
    command = process.Process([sys.executable, "-c", "import sys; sys.exit('no such thing')"], 1)
    with pytest.raises(InceptiveError, match=r"status 1 \(no such thing\)"):
        command()


def test_a_setting_survives_the_way_to_another_process(setting, tmp_path):
    other = Setting(folder=tmp_path, images=tmp_path, model="x", seconds=0.5)
    for one in (setting, other):
        assert Setting.from_json(one.to_json()) == one


def test_agreement_counts_what_both_name(tmp_path):
    theirs, ours = tmp_path / "theirs.csv", tmp_path / "ours.csv"
    theirs.write_text("filename,index,prob\na.jpg,0,0.5\nb.jpg,1,0.5\nc.jpg,1,0.5\n")
    rows = "x/a.jpg,cat,0.5,\nx/b.jpg,cat,0.5,\nx/c.jpg,dog,0.5,\nx/d.jpg,dog,0.5,\n"
    ours.write_text(f"image,label,prob,error\n{rows}")
    one, other = (pipeline.read(path, ("cat", "dog")) for path in (theirs, ours))
    assert one == {"a.jpg": 0, "b.jpg": 1, "c.jpg": 1} and other["a.jpg"] == 0
    assert pipeline.agreement(one, other) == 2 / 3
    assert pipeline.agreement(one, {}) is None


# The whole


@pytest.mark.parametrize("words", [["speed"], ["decode", "--rounds", "0"]])
def test_bad_usage(words, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    message = capsys.readouterr().err
    assert left.value.code == 2 and ("no section speed" in message or "--rounds" in message)


def test_a_folder_that_is_not_there():
    with pytest.raises(InceptiveError, match="nowhere: there is no such folder"):
        main(["decode", "--images", "nowhere"])


@pytest.mark.peers
def test_a_smoke_of_all_that_runs_in_one_process(alone, monkeypatch, tmp_path, capsys):
    """Of our engines one, and without its own timing: `slow` tests have them all."""
    monkeypatch.setattr(engines, "KINDS", (("onnx", "f32"),))
    monkeypatch.setattr(write, "speed", lambda *_: {"images_per_second": 1.0})
    out = tmp_path / "bench.json"
    words = ["train", "inference", "decode", "--quick", "--rounds", "1", "--threads", "1", "--json"]
    assert main([*words, "--out", str(out)]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made == json.loads(out.read_text())
    complete(made, {"train", "inference", "decode"})
    net = account(nets.NETS["googlenet.bn"](10), made["sections"]["train"][0]["image_size"])
    rows = [row for row in made["sections"]["train"][0]["rows"] if "googlenet.bn" in row["name"]]
    assert {row["macs"] for row in rows} == {3 * 2 * net.macs}
    assert "chosen here" in rows[0]["name"] and len(rows) >= 5
    batch, single = made["sections"]["inference"]
    assert (batch["batch_size"], single["batch_size"]) == (2, 1)
    for benchmark in (batch, single):
        assert "torchvision is not installed" in " ".join(benchmark["skipped"].values())
        assert "inceptive googlenet.bn, onnx f32" in [row["name"] for row in benchmark["rows"]]
    assert "quick" in as_text(made)


def complete(made, sections):
    """The JSON has everything that a reader may count on, with values that can be."""
    assert set(made["sections"]) == sections and made["stopped"] is False
    assert made["setting"]["quick"] and made["machine"]["versions"]["torch"]
    everything = [one for found in made["sections"].values() for one in found]
    if made["roofline"]:
        everything.append(made["roofline"])
        peaks, slow = set(made["roofline"]["peaks"]), " ".join(made["roofline"]["skipped"])
        assert {"f32", "int8"} <= peaks  # bf16 is left out where it would be a plain loop
        assert ("bf16" in peaks) == ("bf16" not in slow)
    for benchmark in everything:
        assert benchmark["section"] and benchmark["title"] and benchmark["rows"], benchmark
        assert benchmark["baseline"] == benchmark["rows"][0]["name"]
        for row in benchmark["rows"]:
            assert row["seconds"] > 0 and row["p50"] <= row["p99"]
            spread = [row[f"ratio_{k}"] for k in ("least", "low", "high", "most")]
            assert spread == sorted(spread) and spread[0] <= row["ratio"] <= spread[3]
            assert (row["macs"] is None) == (row["macs_per_second"] is None)
        assert benchmark["rows"][0]["ratio"] == 1


def test_ctrl_c_gives_what_was_done_until_then(monkeypatch, alone, tmp_path, capsys):
    real = dict(report.SECTIONS)

    def stopped(setting, peaks, say):
        yield from real["decode"](setting, peaks, say)
        kept.append(json.loads(out.read_text()))  # were it killed now
        raise KeyboardInterrupt

    monkeypatch.setitem(report.SECTIONS, "decode", stopped)
    out, kept = tmp_path / "bench.json", []
    assert main([*["decode", "startup", "--quick", "--rounds", "1", "--out"], str(out)]) == 130
    printed = capsys.readouterr()
    assert "stopped" in printed.err
    made = json.loads(out.read_text())
    assert made["stopped"] and list(made["sections"]) == ["decode"] and kept == [made]
    assert made["sections"]["decode"][0]["rows"] and "inceptive" in printed.out


@pytest.mark.slow
def test_the_made_model_tells_photographs_apart(setting):
    classified = Classified(setting)
    from inceptive.engines.classifier import Classifier

    files, _ = photographs(setting, (640, 480), 10)
    answers = Classifier.load(classified.name).predict(files, top=1)
    right = [one.top[0][0] == f"class {k}" for k, one in enumerate(answers)]
    assert all(right) and len(right) == 10
    with pytest.raises(InceptiveError, match="keras has no net that fits inception_v3"):
        classified.theirs("keras", "folder", files[0], setting.folder / "out.csv")


def test_a_process_is_timed_until_it_says_so(tmp_path):
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    code = "import os, sys, time; print('at', os.environ['PLACE'], file=sys.stderr); time.sleep(60)"
    met = []
    until = process.Until(
        [sys.executable, "-c", code], 1, r"^at (\w+)", lambda found: met.append(found[1]),
        fresh=fresh, environment={"PLACE": "home"},
    )  # fmt: skip
    assert 0 < until()[0] < 60 and met == ["home"] and not fresh.exists()
    with pytest.raises(InceptiveError, match=r"ended before 'never' \(boom\)"):
        process.Until([sys.executable, "-c", "raise SystemExit('boom')"], 1, "never")()


def performance():
    path = ROOT / "tools/performance.py"
    spec = importlib.util.spec_from_file_location("performance", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_shows_every_row_and_refuses_a_quick_run(monkeypatch, setting, tmp_path):
    faked(monkeypatch, {"peer": 0.2, "ours": 0.05})
    candidates = (Candidate("peer", lambda: None, images=4), Candidate("ours", lambda: None))
    found = benchmarks.run(Benchmark("train", "a | race", candidates), setting, {}, quiet)
    made = {"date": "2026-01-01", "command": "benchmarks", "machine": machine(), "roofline": None,
            "setting": {"net": "n", "rounds": 2, "seconds": 1.0, "threads": 1, "device": "cpu",
                        "quick": False},
            "sections": {"train": [found], "decode": []}, "stopped": False}  # fmt: skip

    def page(one):
        performance().store(one, tmp_path / "kept")
        return performance().document(performance().machines(tmp_path / "kept"), "Nothing helped.")[
            0
        ]

    text = page(made)
    assert "## A training step" in text and "## Decoding" not in text
    assert "| ours | 50 |" in text and "4.00" in text and text.endswith("Nothing helped.\n")
    later = benchmarks.run(Benchmark("train", "again", candidates), setting, {}, quiet)
    again = page(made | {"sections": {"train": [later]}})
    assert "**again**" in again and "a | race" not in again

    faked(monkeypatch, {"peer": 0.2, "ours": 0.1, "new": 0.02})
    other = benchmarks.run(
        Benchmark("train", "again", (*candidates, Candidate("new", lambda: None))),
        setting,
        {},
        quiet,
    )
    here = made["machine"] | {"processor": "Other", "flags": ["avx2", "fma"], "accelerator": None}
    both = page(made | {"machine": here, "date": "2026-02-01", "sections": {"train": [other]}})
    first = performance().machine_name(made["machine"])
    assert f"| candidate | Other, avx2: ms | ratio | quartiles | {first}: ms | ratio |" in both
    assert "| ours | 100 | 2.00 | 2.00 to 2.00 | 50 | 4.00 | 4.00 to 4.00 |" in both
    assert "| new | 20 | 10.00 | 10.00 to 10.00 |  |  |  |" in both
    for name, change in (("quick", {"setting": made["setting"] | {"quick": True}}),
                         ("stopped", {"stopped": True})):  # fmt: skip
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(made | change))
        with pytest.raises(InceptiveError, match="not to be printed"):
            performance().read(path)
    with pytest.raises(InceptiveError, match="no report"):
        performance().read(tmp_path / "none.json")


def test_the_document_begins_with_the_result_and_its_picture():
    rows = [{"name": "timm's loader", "ratio": 1.0},
            {"name": "inceptive, the first epoch", "ratio": 0.5},
            {"name": "inceptive, later epochs", "ratio": 4.0}]  # fmt: skip
    one = {"title": "training batches of 224 px: many", "rows": rows}
    batch = [{"name": "torchvision", "ratio": 1.0}, {"name": "inceptive, f32", "ratio": 2.0},
             {"name": "inceptive, int8", "ratio": 9.0}]  # fmt: skip
    measured = {
        "epochs": {"benchmarks": [one]},
        "inference": {"benchmarks": [{"title": "googlenet.bn, 224 px, batch 16", "rows": batch}]},
    }
    shown = performance().headlines(measured)
    assert list(shown.values()) == [
        ("inceptive, int8", 9.0), ("inceptive, the first epoch", 0.5), ("inceptive, later epochs", 4.0),
    ]  # fmt: skip


def test_bars_are_as_long_as_what_they_stand_for():
    def lengths(svg):
        found = ElementTree.fromstring(svg).findall("{http://www.w3.org/2000/svg}rect")
        return [float(bar.get("width")) for bar in found[1:]]  # the first is the paper

    rows = [Bar("a & b", 1.0, "1"), Bar("c", 4.0, "4", faint=True), Bar("d", 100.0, "100")]
    one, four, hundred = lengths(bars("A title", "a & b 1, c 4, d 100", rows))
    assert four == pytest.approx(4 * one, rel=0.05) and hundred == pytest.approx(
        100 * one, rel=0.05
    )
    one, four, hundred = lengths(bars("A title", "described", rows, logarithmic=True))
    assert hundred == pytest.approx(3 * one, rel=0.05) and one < four < hundred


# Beside the real peers


@pytest.mark.slow
def test_the_peers_classes_do_the_work_that_is_counted_for_them():
    from torch.utils.flop_counter import FlopCounterMode

    for family, equivalents in peers.EQUIVALENTS.items():
        for peer in equivalents:
            size = account(nets.NETS[peer.counts]()).image_size
            with torch.device("meta"):
                model = peer.build(1000).eval()
                with FlopCounterMode(display=False) as counter:
                    model(torch.empty(1, 3, size, size))
            counted = account(nets.NETS[peer.counts](1000)).macs
            assert counter.get_total_flops() // 2 == counted, (family, peer)


@pytest.mark.slow
def test_everything_beside_the_peers_and_their_answers_agree(tmp_path):
    out = tmp_path / "bench.json"
    assert main([*["--quick", "--rounds", "1", "--threads", "1", "--out"], str(out)]) == 0
    made = json.loads(out.read_text())
    complete(made, set(SECTIONS))
    names = {
        row["name"] for found in made["sections"].values() for one in found for row in one["rows"]
    }
    for peer in ("torchvision GoogLeNet, eager, f32", "timm inference.py", "import timm"):
        assert peer in names
    [folder] = made["sections"]["pipeline"]
    plain = {row["name"]: row["agreement"] for row in folder["rows"]}
    assert plain["timm inference.py"] == 1 and plain["inceptive predict --engine torch"] == 1
