"""`report.html`: its figures, its charts, and that nothing from outside can act in it."""

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from importlib import import_module

import numpy as np
import pytest
from conftest import command, picture
from hypothesis import given
from hypothesis import strategies as st

from inceptive.arch import nets
from inceptive.arch.account import account
from inceptive.data.source import Data, PathImages, Samples
from inceptive.errors import InceptiveError
from inceptive.metrics import (
    Bin,
    Measures,
    RiskCoveragePoint,
    calibration_error,
    reliability,
    risk_coverage,
    threshold_for_accuracy,
)
from inceptive.report import charts
from inceptive.report.page import AnswersData, ReportData, answers_page, page
from inceptive.report.write import history

SVG = "{http://www.w3.org/2000/svg}"


def drawn(count=300, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(0, 1, (count, classes))
    logits[np.arange(count), labels] += rng.uniform(0, 4, count)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probs, labels


# Figures


@given(st.integers(0, 1000), st.integers(1, 20))
def test_the_bins_are_those_of_the_calibration_error(seed, bins):
    probs, labels = drawn(100, seed=seed)
    bins_filled = reliability(probs, labels, bins)
    assert sum(filled.count for filled in bins_filled) == 100
    gap = (
        sum(filled.count * abs(filled.accuracy - filled.confidence) for filled in bins_filled) / 100
    )
    assert gap == pytest.approx(calibration_error(probs, labels, bins))
    for filled in bins_filled:
        assert filled.low - 1e-9 <= filled.confidence <= filled.high + 1e-9


def test_the_risk_coverage_curve_is_what_counting_gives():
    probs, labels = drawn(200)
    probs = np.round(probs, 2)  # with ties
    for point in risk_coverage(probs, labels):
        answered = probs.max(axis=1) >= point.threshold
        assert point.coverage == pytest.approx(answered.mean())
        assert point.accuracy == pytest.approx((probs.argmax(1) == labels)[answered].mean())
    *_, whole = risk_coverage(probs, labels)
    assert whole.coverage == 1 and whole.accuracy == (probs.argmax(1) == labels).mean()


def test_the_threshold_for_a_target_answers_as_many_as_can_be():
    points = (
        (0.9, 0.2, 1.0),
        (0.8, 0.5, 0.96),
        (0.7, 0.6, 0.94),
        (0.6, 0.8, 0.95),
        (0.1, 1.0, 0.8),
    )
    curve = [RiskCoveragePoint(*point) for point in points]
    assert threshold_for_accuracy(curve, 0.95) == curve[3]
    assert threshold_for_accuracy(curve, 0.97) == curve[0]
    assert threshold_for_accuracy([curve[-1]], 0.9) is None


# Charts


def points(svg, kind="line"):
    """The corners of each path of that kind."""
    tree = ET.fromstring(svg)
    paths = [path.get("d") for path in tree.iter(f"{SVG}path") if path.get("class") == kind]
    return [[tuple(map(float, p)) for p in re.findall(r"[ML]([\d.]+) ([\d.]+)", d)] for d in paths]


def test_a_line_goes_where_its_numbers_say():
    x, y = charts.Axis("epoch", 1, 3), charts.Axis("loss", 0, 2)
    svg = charts.lines("Loss", x, y, {"a": [(1, 2.0), (2, 1.0), (3, 0.0)], "b": [(1, 1), (3, 1)]})
    first, second = [line for line in points(svg) if len(line) > 1]
    assert first[0] == (charts.LEFT, charts.TOP)
    assert first[2] == (charts.WIDTH - charts.RIGHT, charts.HEIGHT - charts.BOTTOM)
    assert first[1] == pytest.approx([np.mean([a, b]) for a, b in zip(*first[::2], strict=True)])
    assert second[0][1] == second[1][1] == first[1][1]
    assert ET.fromstring(svg).get("aria-label") == "Loss"


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 0.03), (1, 24), (0.8, 1), (0, 731.5), (2, 2)]
)
def test_ticks_are_a_few_round_numbers_inside(low, high):
    ticks = charts.Axis("x", low, high).ticks()
    assert 1 <= len(ticks) <= 7 and min(ticks) >= low - 1e-9 and max(ticks) <= high + 1e-9
    assert low == high or len(ticks) >= 3
    for value in ticks:
        assert len(f"{value:.10g}") <= 5


def test_an_honest_model_lies_on_the_diagonal_and_names_are_escaped():
    bins = [
        Bin(0.1 * k, 0.1 * k + 0.1, 10 * k + 1, 0.1 * k + 0.05, 0.1 * k + 0.05) for k in range(10)
    ]
    svg = charts.reliability('"<b>', bins, bins)
    assert "<b>" not in svg
    [(start, end)] = points(svg, "guide")
    for line in [curve for curve in points(svg) if len(curve) == 10]:
        for a, b in line:
            along = (a - start[0]) / (end[0] - start[0])
            assert b == pytest.approx(start[1] + along * (end[1] - start[1]), abs=0.11)


def test_a_chart_of_many_images_stays_small():
    probs, labels = drawn(20_000)
    svg = charts.risk_coverage("curve", risk_coverage(probs, labels))
    assert len(svg) < 10_000 and ET.fromstring(svg) is not None


# The page


class Read(HTMLParser):
    """Elements that are open, addresses, and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.text, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "data", "action", "srcset"):
                self.addresses.append(value)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def report(tmp_path, classes=("across", "down"), names=None, **more):
    names = names or [f"{k}.png" for k in range(12)]
    for k, name in enumerate(names):
        picture("across" if k % 2 == 0 else "down", k).save(tmp_path / name)
    labels = np.arange(len(names)) % 2
    samples = Samples(PathImages.of([tmp_path / name for name in names], tmp_path), labels)
    data = Data(str(tmp_path), classes, {"train": samples, "test": samples}, 3,
                notes=("3 images are copies",), unreadable=("bad.png: is empty",))  # fmt: skip
    probs = np.full((len(names), len(classes)), 0.1)
    probs[np.arange(len(names)), labels] = 0.8
    probs[2] = probs[2][::-1]  # one confident error
    probs /= probs.sum(1, keepdims=True)
    measures = Measures.of(probs, probs, labels, classes)
    accounts = [account(nets.NETS["googlenet.bn"](len(classes)), 32)]
    return ReportData("runs/m", data, "test", samples, classes, probs, probs, measures, accounts,
                      "inceptive evaluate runs/m data", **more)  # fmt: skip


def test_the_page_tells_everything_and_fetches_nothing(tmp_path):
    rows = [{"epoch": k, "lr": 0.1, "loss": 2 / k, "loss_aux_4a": 1.0, "top1": 0.9,
             "val_loss": 0.3, "val_top1": 0.95} for k in (1, 2, 3)]  # fmt: skip
    html = page(report(tmp_path, history=rows, facts={"seed": "7"}))
    document = Read(html)
    assert document.open == [] and document.text and "script" not in document.tags
    assert document.addresses and all(
        address.startswith("data:image/jpeg;base64,") for address in document.addresses
    )
    assert not re.search(r"https?://(?!www\.w3\.org/)", html)
    text = " ".join(" ".join(document.text).split())
    for words in (
        "91.7 %", "What it takes for what", "1 of 12 images", "is across", "2.png",
        "3 images are copies", "1 files cannot be read", "bad.png: is empty",
        "inceptive evaluate runs/m data", "seed 7", "parameters", "least sure",
        "Loss over the epochs", "Accuracy over the epochs", "Learning rate over the epochs",
    ):  # fmt: skip
        assert words in text, words
    assert "prefers-color-scheme: dark" in html and "@media print" in html


def test_names_from_outside_are_text_and_nothing_else(tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    named = report(
        tmp_path, classes=(evil, "down"), names=[f"{k}<svg onload=x>'\".png" for k in range(4)]
    )
    html = page(named)
    document = Read(html)  # asserts that no attribute is a handler
    assert all(address.startswith("data:") for address in document.addresses)
    assert evil in "".join(document.text)


def test_pictures_that_have_gone_leave_a_blank(tmp_path):
    report_data = report(tmp_path)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    assert Read(page(report_data)).addresses == []


def test_many_classes_are_told_by_what_is_mixed_up_most(tmp_path, monkeypatch):
    report_data = report(tmp_path, classes=tuple(f"class {k}" for k in range(40)))
    few = " ".join(Read(page(report_data)).text)
    assert "Rows are the true classes" in few
    assert few.count("class 30") < few.count("class 1 ")  # the former does not occur
    monkeypatch.setattr("inceptive.report.page.SHOWN_CLASSES", 1)
    text = " ".join(Read(page(report_data)).text)
    assert "most often" in text and "Rows are the true classes" not in text


def test_training_and_evaluation_write_it(trained, stripes, tmp_path):
    folder = trained[0]
    html = (folder / "report.html").read_text()
    config = json.loads((folder / "config.json").read_text())
    assert f"{100 * config['metrics']['top1']:.1f}\u00a0%" in html and "val images" in html
    assert "Loss over the epochs" in html and "googlenet.bn at 32 px" in html
    done = command("evaluate", folder, stripes, "--out", tmp_path)
    assert done.returncode == 0 and "report.html" in done.stderr
    judged = json.loads((tmp_path / "evaluation.json").read_text())
    html = (tmp_path / "report.html").read_text()
    assert f"{100 * judged['top1']:.1f}\u00a0%" in html and "12 test images" in html
    assert "inceptive" in html and len(html) < 2_000_000


def test_a_damaged_history_leaves_the_curves_out(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,val_loss\n1,0.5,\n2,0.4,0.3\n")
    assert history(tmp_path) == [
        {"epoch": 1, "loss": 0.5},
        {"epoch": 2, "loss": 0.4, "val_loss": 0.3},
    ]
    for text in ("epoch,loss\n1,much\n", "loss\n0.5\n", "epoch\n1,2,3\n", "\0\xff"):
        path.write_text(text)
        assert history(tmp_path) == []
    path.unlink()
    assert history(tmp_path) == []


@pytest.mark.faults
def test_a_training_stands_where_its_page_cannot_be_had(stripes, tiny, tmp_path, monkeypatch):
    def full(*_):
        raise InceptiveError("report.html: cannot be written (No space left on device)")

    monkeypatch.setattr(import_module("inceptive.training.train"), "write_report", full)
    out = tmp_path / "m"
    done = command("train", stripes, "--recipe", tiny, "--out", out, "--set", "epochs=1")
    assert done.returncode == 0 and done.stdout == f"{out}\n"
    assert "note: no report.html" in done.stderr and (out / "model.safetensors").exists()


def test_the_page_of_images_without_labels_escapes_names_and_leaves_blanks(tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    picture("across", 1).save(tmp_path / "one.png")
    costs = {"params": 1, "macs": 0, "bytes": None, "ms_per_image": 1.0, "latency_ratio": 1.0,
             "images_per_second": 1.0, "throughput_ratio": 1.0}  # fmt: skip
    rows = [
        (evil, tmp_path / "one.png", [(evil, 0.9)]),
        ("gone", tmp_path / "gone.png", [("b", 1)]),
    ]
    html = answers_page(AnswersData(evil, 2, 0, [{"model": evil} | costs], rows, f"x {evil}"))
    document = Read(html)  # asserts that no attribute is a handler
    assert document.open == [] and html.startswith("<!doctype html>")
    assert [address[:23] for address in document.addresses] == ["data:image/jpeg;base64,"]
    assert evil in "".join(document.text)
