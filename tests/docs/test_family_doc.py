"""docs/family.md is what tools/family.py writes, and that says what there is to say."""

import importlib.util
import re
from dataclasses import fields
from pathlib import Path

import pytest

from inceptive.arch.account import minimum_size
from inceptive.arch.nets import NETS
from inceptive.weights.catalogue import catalogue

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def family():
    spec = importlib.util.spec_from_file_location("family", ROOT / "tools/family.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(document, name):
    found = re.search(rf"^### `{re.escape(name)}`\n(.*?)(?=^#)", document, re.DOTALL | re.MULTILINE)
    return found[1]


def test_the_document_is_what_the_tool_writes(family):
    written = (ROOT / "docs/family.md").read_text()
    assert written == family.document(), "run python tools/family.py"


def test_every_net_and_every_published_weight_is_in_it(family):
    document = family.document()
    for name in NETS:
        assert section(document, name).strip().startswith("Source: ")
    for name, one in catalogue().items():
        row = next(line for line in document.splitlines() if line.startswith(f"| `{name}` |"))
        assert one.licence in row and one.net in row


def test_every_variant_is_told_and_no_field_is_forgotten(family):
    told = set(family.VARIANTS) | set(family.TEXT_ONLY)
    assert told == set(NETS)
    known = set(family.WORDS) | {"source", "departures", "table"}
    used = {field.name for variant in family.VARIANTS.values() for field in fields(variant)}
    assert used == known


def test_a_changed_field_changes_the_document(family):
    than = family.VARIANTS["googlenet"]
    changed = type(than)(dropout=0.25, pool_pad="tf")
    family.VARIANTS["googlenet.changed"] = changed
    try:
        assert family.derived("googlenet.changed", "googlenet") == [
            "Dropout: 0.25 instead of 0.4.",
            "Padding of the poolings that halve the map: TensorFlow's SAME instead of Caffe's (none, "
            "but a last window may hang over).",
        ]
    finally:
        del family.VARIANTS["googlenet.changed"]


@pytest.mark.nets
@pytest.mark.parametrize(("name", "said"), [
    ("googlenet.torchvision", "Kernel of branch `b5x5`: 3 instead of 5."),
    ("googlenet.inception5h", "`inception_4a`: `3x3` 204 instead of 208."),
    ("inception_v2.slim", "`inception_4c`: `proj` 96 instead of 128."),
    ("bn_inception", "sum to 608 channels and print 576"),
    ("inception_resnet_v2.paper", "1154 channels after reduction A and 2048"),
    ("inception_v3.torchvision", "(padded zeros counted) instead of"),
    ("inception_v3.fid", "in `mixed_7c`: maximum 3×3/1"),
    ("xception", "One pooling of the four"),
    ("inception_v4.slim", "An auxiliary head."),
])  # fmt: skip
def test_the_known_departures_are_told(family, name, said):
    assert said in section(family.document(), name)


@pytest.mark.nets
def test_only_one_net_leaves_out_sizes_above_its_least():
    def gaps(net):
        least = minimum_size(net)
        return any(minimum_size(net, above=size) != size + 1 for size in range(least, least + 40))

    assert [name for name, make in NETS.items() if gaps(make())] == ["bn_inception.cadene"]
