"""Printed tables beside what is counted: `inceptive table NET --against`."""

import csv
import io
import json

import pytest
from conftest import command

from inceptive.arch.account import account
from inceptive.arch.nets import NETS
from inceptive.arch.nets.printed import PRINTED, conv2_of_5x5, separable_inception5h

# arXiv:1409.4842v1, Table 1: thousands of parameters and millions of operations, row by row.
PAPER = {
    "conv1": (2.7, 34), "conv2": (112, 360), "inception_3a": (159, 128), "inception_3b": (380, 304),
    "inception_4a": (364, 73), "inception_4b": (437, 88), "inception_4c": (463, 100),
    "inception_4d": (580, 119), "inception_4e": (840, 170), "inception_5a": (1072, 54),
    "inception_5b": (1388, 71), "linear": (1000, 1),
}  # fmt: skip
# What its widths give, counted by hand: weights, and multiply-adds in millions.
COUNTED = {
    "conv1": (9_408, 118.0), "conv2": (114_688, 359.7), "inception_3a": (163_328, 128.05),
    "inception_3b": (388_096, 304.27), "inception_4a": (375_552, 73.61),
    "inception_4b": (448_512, 87.91), "inception_4c": (509_440, 99.85),
    "inception_4d": (604_672, 118.52), "inception_4e": (867_328, 170.00),
    "inception_5a": (1_042_432, 51.08), "inception_5b": (1_442_816, 70.70),
    "linear": (1_024_000, 1.02),
}  # fmt: skip
TUTORIAL = {
    "conv1": 9_408, "pool1": 0, "conv2_reduce": 4_096, "conv2": 307_392, "pool2": 0,
    "inception_3a": 159_936, "inception_3b": 376_320, "pool3": 0, "inception_4a": 364_544,
    "aux_4a": 1_000_000, "inception_4b": 437_952, "inception_4c": 462_592, "inception_4d": 580_544,
    "aux_4d": 1_000_000, "inception_4e": 840_896, "pool4": 0, "inception_5a": 1_071_936,
    "inception_5b": 1_382_400, "pool5": 0, "dropout": 0, "linear": 1_024_000, "softmax": 0,
}  # fmt: skip
OFF = {"conv2": 196_800, "inception_3a": -3_392, "inception_3b": -11_776, "inception_4a": -11_008,
       "inception_4b": -10_560, "inception_4c": -46_848, "inception_4d": -24_128,
       "inception_4e": -26_432, "inception_5a": 29_504, "inception_5b": -60_416}  # fmt: skip


def beside(against):
    done = command("table", "googlenet", "--against", against, "--json")
    assert done.returncode == 0 and done.stderr == ""
    table = json.loads(done.stdout)
    return table, {(cell["layer"], cell["count"]): cell for cell in table["cells"]}


def test_every_cell_of_the_paper_stands_beside_its_count():
    table, cells = beside("paper")
    assert set(cells) == {(layer, count) for layer in PAPER for count in ("params", "macs")}
    for layer, (params, macs) in PAPER.items():
        assert cells[layer, "params"]["printed"] == params
        assert cells[layer, "params"]["unit"] == 1024
        assert cells[layer, "macs"]["printed"] == macs and cells[layer, "macs"]["unit"] == 10**6
        weights, millions = COUNTED[layer]
        assert cells[layer, "params"]["derived"] == weights
        assert cells[layer, "macs"]["derived"] / 1e6 == pytest.approx(millions, abs=0.06)
    params, macs = table["sums"]
    assert (params["printed"], macs["printed"]) == (6797.7, 1502)
    assert (params["derived"], params["derived_with_biases"]) == (6_990_272, 6_998_552)
    assert macs["derived"] == account(NETS["googlenet"]()).macs == 1_582_671_872
    for cell in table["cells"]:
        off = cell["printed"] - cell["derived"] / cell["unit"]
        assert cell["difference"] == pytest.approx(off, abs=1e-6)


def test_one_net_gives_every_operation_that_the_paper_prints():
    _, cells = beside("paper")
    net = account(separable_inception5h())
    conv1 = net.body[0]
    assert conv1.macs == 34_019_328 and conv1.params == 7 * 7 * 3 * 8 + 24 * 64 + 64
    for layer in PAPER:
        cell = cells[layer, "macs"]
        count = cell["derived"] if cell["agrees"] else cell["explained"]
        assert round(count / 1e6) == cell["printed"]
        assert cell["agrees"] == (cell["reason"] is None)
    off = {layer: cells[layer, "macs"]["explained"] for layer in PAPER
           if not cells[layer, "macs"]["agrees"]}  # fmt: skip
    assert off == {"conv1": 34_019_328, "inception_4a": 72_930_816, "inception_5a": 54_240_256}


def test_what_is_known_of_the_parameters_is_said_and_no_more():
    _, cells = beside("paper")
    params = {layer: cells[layer, "params"] for layer in PAPER}
    explained = {layer: cell["explained"] for layer, cell in params.items() if cell["explained"]}
    assert explained == {"conv1": 2_776, "inception_3b": 388_736, "inception_4a": 372_716,
                         "inception_4b": 447_072}  # fmt: skip
    for layer, count in explained.items():
        step = 0.1 if layer == "conv1" else 1
        assert abs(count / 1024 - PAPER[layer][0]) <= step / 2
    nothing = {layer for layer, cell in params.items() if not (cell["agrees"] or cell["explained"])}
    assert nothing == {f"inception_{name}" for name in ("4c", "4d", "4e", "5a", "5b")}
    text = command("table", "googlenet", "--against", "paper").stdout
    assert text.count("not explained") == 5 and "not a statement by the authors" in text
    assert "K is 1,024" in text


def test_every_cell_of_the_tutorials_table_stands_beside_its_count():
    table, cells = beside("tutorial")
    assert {layer for layer, _ in cells} == set(TUTORIAL)
    for layer, printed in TUTORIAL.items():
        cell = cells[layer, "params"]
        assert cell["printed"] * cell["unit"] == printed
        wrong = layer in OFF or layer.startswith("aux")
        assert cell["agrees"] == (not wrong)
        if layer in OFF:
            assert cell["difference"] == OFF[layer]
    assert cells["aux_4a", "params"]["derived"] == 3_186_688
    assert cells["aux_4d", "params"]["derived_with_biases"] == 3_190_888
    assert cells["conv2", "params"]["explained"] == 307_392
    conv2 = next(line for line in account(conv2_of_5x5()).body if line.name == "conv2")
    assert conv2.params == 5 * 5 * 64 * 192 + 192 == 307_392
    added, total = table["sums"]
    assert added["printed"] == sum(TUTORIAL.values()) - 2_000_000 == 7_022_016
    assert total["printed"] == 6.8 and not total["agrees"] and "7,022,016" in total["reason"]


@pytest.mark.parametrize("against", ["paper", "tutorial"])
def test_every_format_has_every_cell(against):
    table, _ = beside(against)
    each = table["cells"] + table["sums"]
    words = ["table", "googlenet", "--against", against, "--format"]
    rows = list(csv.DictReader(io.StringIO(command(*words, "csv").stdout)))
    assert [int(row["derived"]) for row in rows] == [cell["derived"] for cell in each]
    assert [row["layer"] for row in rows] == [cell["layer"] for cell in each]
    markdown = [line for line in command(*words, "md").stdout.splitlines() if "|" in line]
    assert len({line.count("|") for line in markdown}) == 1 and len(markdown) == len(each) + 2
    text = command(*words, "text").stdout.splitlines()
    for line, cell in zip(text[1:], each, strict=False):
        assert line.startswith(cell["layer"]) and f"{cell['derived']:,}" in line


def test_what_has_no_printed_table_is_refused():
    done = command("table", "googlenet.bn", "--against", "paper")
    assert done.returncode == 1 and done.stdout == ""
    assert "no printed table 'paper'; there are: googlenet (paper, tutorial)" in done.stderr
    done = command("table", "vgg", "--against", "paper")
    assert done.returncode == 1 and "no net is called 'vgg'" in done.stderr
    done = command("table", "googlenet", "--against", "rumour")
    assert done.returncode == 2 and "Error" in done.stderr
    for option in (["--size", "299"], ["--aux"], ["--modules"], ["--classes", "10"]):
        done = command("table", "googlenet", "--against", "paper", *option)
        assert done.returncode == 1 and "its own rows and sizes" in done.stderr


def test_every_printed_table_is_of_a_net_there_is():
    for name, tables in PRINTED.items():
        parts = {part for part, _ in NETS[name]().body} | set(NETS[name]().heads())
        for printed in tables.values():
            assert all(part in parts for row in printed.rows for part in row.parts)
