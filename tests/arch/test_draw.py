"""The drawings: well-formed, true to the account, and nothing on top of anything else."""

import re
from itertools import combinations
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from conftest import command
from PIL import ImageFont

from inceptive.arch.account import Account, account
from inceptive.arch.draw import DARK, LIGHT, draw_net, draw_part
from inceptive.arch.nets import NETS
from inceptive.arch.spec import Add, Chain, Concat, Conv, Linear, MaxPool, Net
from inceptive.errors import InceptiveError

SVG = "{http://www.w3.org/2000/svg}"
ACCOUNTS = {name: account(make()) for name, make in NETS.items()}
FONT = ImageFont.load_default(10)  # a real font's widths, for 10 px


class Rect(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other):
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def holds(self, other):
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


class Seen(NamedTuple):
    root: ElementTree.Element
    page: Rect
    boxes: list[Rect]
    texts: list[tuple[str, str, Rect]]  # class, text, extent


def parsed(text):
    root = ElementTree.fromstring(text)
    page = Rect(0, 0, float(root.get("width")), float(root.get("height")))
    boxes, texts = [], []
    for element in root.iter(f"{SVG}rect"):
        if "box" in element.get("class"):
            x, y, w, h = (float(element.get(key)) for key in ("x", "y", "width", "height"))
            boxes.append(Rect(x, y, x + w, y + h))
    for element in root.iter(f"{SVG}text"):
        x, y, size = (float(element.get(key)) for key in ("x", "y", "font-size"))
        width = len(element.text) * 0.62 * size
        left = x - width / 2 if element.get("text-anchor") == "middle" else x
        place = Rect(left, y - 0.75 * size, left + width, y + 0.25 * size)
        texts.append((element.get("class"), element.text, place))
    return Seen(root, page, boxes, texts)


def shapes(drawing):
    return [text for kind, text, _ in drawing.texts if kind == "shape"]


def as_text(shape):
    return " × ".join(map(str, shape))


def lines(counted: Account, part: str):
    every = [*counted.body, *(line for head in counted.aux.values() for line in head)]
    return [line for line in every if line.name.split(".")[0] == part]


def distinct_parts():
    """(net, part) for every part that is drawn in its own way."""
    drawn = set()
    for name, counted in ACCOUNTS.items():
        heads = {head: chain for head, (_, chain) in counted.net.heads().items()}
        for part, node in [*counted.net.body, *heads.items()]:
            key = (node, tuple(line.view.shape for line in lines(counted, part)))
            if key not in drawn:
                drawn.add(key)
                yield name, part


PARTS = list(distinct_parts())


def assert_nothing_overlaps(drawing):
    for box, other in combinations(drawing.boxes, 2):
        assert not box.meets(other)
    for kind, text, place in drawing.texts:
        assert drawing.page.holds(place), text
        around = [box for box in drawing.boxes if box.meets(place)]
        if kind in ("bold", "muted") and place.top > 60:  # below the title: inside its box
            assert len(around) == 1 and around[0].holds(place), text
        else:
            assert not around, text
    for (_, text, place), (_, other_text, elsewhere) in combinations(drawing.texts, 2):
        assert not place.meets(elsewhere), (text, other_text)


@pytest.mark.parametrize("name", NETS)
def test_a_whole_net_has_each_part_and_the_accounts_shapes(name):
    counted = ACCOUNTS[name]
    drawing = parsed(draw_net(counted))
    assert_nothing_overlaps(drawing)
    outputs = {
        as_text(line.view.shape)
        for part, _ in counted.net.body
        for line in lines(counted, part)[-1:]
    }
    heads = [as_text(head[-1].view.shape) for head in counted.aux.values()]
    size = counted.image_size
    labels = shapes(drawing)
    assert labels[0] == f"3 × {size} × {size}" and as_text(counted.body[-1].view.shape) in labels
    assert set(labels) <= outputs | set(heads) | {labels[0]}
    words_drawn = " ".join(text for _, text, _ in drawing.texts)
    words = set(words_drawn.split())
    folded = re.findall(r"(\S+) … (\S+)", words_drawn)
    names = [part for part, _ in counted.net.body]
    missing = [part for part in [*names, *counted.aux] if part not in words]
    inside = {part for first, last in folded
              for part in names[names.index(first) + 1 : names.index(last)]}  # fmt: skip
    assert set(missing) == inside
    assert f"{counted.params:,} parameters" in words_drawn


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_a_part_shows_its_layers_and_the_shapes_of_the_account(name, part):
    counted = ACCOUNTS[name]
    drawing = parsed(draw_part(counted, part))
    assert_nothing_overlaps(drawing)
    inside = lines(counted, part)
    assert len(drawing.boxes) == len(inside)
    kinds = sorted(text for kind, text, place in drawing.texts if kind == "bold" and place.top > 60)
    assert kinds == sorted(line.kind for line in inside)
    quiet = ("relu", "lrn", "dropout", "batch norm", "sigmoid")
    out = [as_text(line.view.shape) for line in inside if not line.kind.startswith(quiet)]
    labels = shapes(drawing)
    assert set(out) <= set(labels[1:]) and len(labels) <= 1 + len(inside)
    assert labels[-1] == as_text(inside[-1].view.shape)


def test_equal_modules_in_a_row_are_one_box_and_others_are_not():
    texts = [text for _, text, _ in parsed(draw_net(ACCOUNTS["inception_resnet_v2"])).texts]
    assert "block35_1 … block35_10" in texts and "10 × 123,168 parameters" in texts
    assert "block8_1 … block8_9" in texts and "block8_10" in texts  # the last is another: no ReLU
    texts = [text for _, text, _ in parsed(draw_net(ACCOUNTS["inception_v3"])).texts]
    assert {"mixed_5c", "mixed_5d", "mixed_6c … mixed_6d"} <= set(
        texts
    )  # 5d is given more channels


def test_the_estimate_of_widths_is_not_too_small():
    for _, text, place in parsed(draw_part(ACCOUNTS["googlenet"], "inception_3a")).texts:
        size = (place.bottom - place.top) / 1.0
        assert FONT.getlength(text) / 10 * size <= place.right - place.left, text


def test_text_is_escaped_and_the_drawing_is_named_for_those_who_cannot_see_it():
    body = Chain(
        mixed=Concat(a=Conv(8, 1), b=MaxPool(3)), last=Add(branch=Conv(11, 3)), fc=Linear(11)
    )
    counted = account(Net("a<b>&\"c'", body, 11, "R&D <draft>"), 32)
    for drawing in (draw_net(counted), draw_part(counted, "mixed")):
        root = ElementTree.fromstring(drawing)
        assert root.get("role") == "img"
        assert counted.net.name in root.find(f"{SVG}title").text
        assert "parameters" in root.find(f"{SVG}desc").text
    assert "mixed" in root.find(f"{SVG}title").text
    assert "Branches joined by concat: a, b." in root.find(f"{SVG}desc").text


def test_it_reads_in_light_and_dark():
    def luminance(colour):
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    assert set(LIGHT) == set(DARK)
    for colours in (LIGHT, DARK):
        for behind in ("paper", "conv", "pool", "quiet", "linear", "join", "module"):
            for ink in ("ink", "muted"):
                low, high = sorted(luminance(colours[key]) for key in (behind, ink))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (behind, ink)  # WCAG 2.2, 1.4.3
    text = draw_net(ACCOUNTS["googlenet"])
    assert "prefers-color-scheme:dark" in text and "fill:currentColor" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")  # nothing from elsewhere


def test_an_unknown_part_names_those_there_are():
    with pytest.raises(
        InceptiveError, match=r"no part called 'mixed_9z'; there are: conv_1a, .*aux_6e"
    ):
        draw_part(ACCOUNTS["inception_v3"], "mixed_9z")


def test_the_command_writes_a_file_or_prints(tmp_path):
    done = command("draw", "googlenet", "--part", "inception_3a")
    assert done.returncode == 0 and done.stderr == ""
    out = tmp_path / "new" / "3a.svg"
    quiet = command("draw", "googlenet", "--part", "inception_3a", "--out", out)
    assert quiet.returncode == 0 and quiet.stdout == ""
    assert out.read_text() == done.stdout == draw_part(ACCOUNTS["googlenet"], "inception_3a")
    assert [path.name for path in out.parent.iterdir()] == ["3a.svg"]


def test_the_command_draws_for_other_images():
    done = command("draw", "googlenet.bn", "--size", "64", "--classes", "10", "--channels", "1")
    labels = shapes(parsed(done.stdout))
    assert labels[0] == "1 × 64 × 64" and labels[-1] == "10 × 1 × 1"
