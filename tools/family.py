"""Writes docs/family.md: every net of the family, its departures, and its published weights.

    python tools/family.py

All of it is read from the nets (inceptive/arch/nets) and the catalogue (inceptive/weights); a test
writes it again and compares.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

from inceptive.arch.account import account, minimum_size
from inceptive.arch.nets import NETS
from inceptive.arch.nets.baselines import DEPARTURES as BASELINES
from inceptive.arch.nets.bn_inception import VARIANTS as BN_INCEPTION
from inceptive.arch.nets.googlenet import VARIANTS as GOOGLENET
from inceptive.arch.nets.hadamard import DEPARTURES as HADAMARD
from inceptive.arch.nets.inception_resnet import VARIANTS as INCEPTION_RESNET
from inceptive.arch.nets.inception_small import DEPARTURES as INCEPTION_SMALL
from inceptive.arch.nets.inception_v3 import VARIANTS as INCEPTION_V3
from inceptive.arch.nets.inception_v4 import VARIANTS as INCEPTION_V4
from inceptive.arch.nets.xception import VARIANTS as XCEPTION
from inceptive.arch.spec import LRN, AvgPool, BatchNorm, Conv, MaxPool, Net, Separable
from inceptive.cli.tables import markdown
from inceptive.weights.catalogue import Published, catalogue

OUT = Path(__file__).parents[1] / "docs/family.md"
HEAD = """\
# The family

Written by `tools/family.py` from the nets and the catalogue of weights: change those, then run it.

Parameters and multiply-adds are for 1000 classes and one image of the size given; `with heads` adds
the auxiliary heads that only training uses. Depth counts layers with weights on the longest way from
the image to the logits. `least` is the smallest image (`bn_inception.cadene` leaves out some larger
sizes, where its paddings do not meet). Accuracies are per cent of ImageNet's validation images, top-1 /
top-5 at one crop, as the publishers of the weights state them: quoted, not measured here.
"""
ABSENT = """\
## What is not here

- **The "Inception-v2" of "Rethinking the Inception Architecture"** (arXiv:1512.00567, Table 1). The
  table prints no widths inside the modules, and every network that was ever released contradicts its
  stem and the channels on 35×35: whatever stood here would be guessed. `inception_v2.slim` and
  `bn_inception` are the net of the batch normalisation paper, which is also called Inception v2.
- **torchvision's int8 checkpoints** (`googlenet_fbgemm`, `inception_v3_google_fbgemm`). They are
  quantised already, for one engine; their values fit no net that can be trained on.
- **Measured accuracies of the published weights.** Those below are their publishers'.
"""
VARIANTS: dict[str, Any] = {
    **GOOGLENET, **BN_INCEPTION, **INCEPTION_V3, **INCEPTION_V4, **INCEPTION_RESNET, **XCEPTION,
}  # fmt: skip
TEXT_ONLY = {**INCEPTION_SMALL, "hadamard_inception": HADAMARD, **BASELINES}
PADS = {
    "same": "half the kernel on each side",
    "valid": "none",
    "ceil": "Caffe's (none, but a last window may hang over)",
    "tf": "TensorFlow's SAME",
}
# Fields of the variants, in words. A pair is what a true and a false field say; "" says nothing.
WORDS: dict[str, str | tuple[str, str]] = {
    "aux_pool": "pooling of the heads",
    "average": "pooling of branch `pool`",
    "bias": ("biases under batch normalisation", "no biases under batch normalisation"),
    "channels": "",  # the stem says it
    "conv1": "`conv1`",
    "conv1_pad": "padding of `conv1`",
    "conv_7b": "channels of one more 1×1 before the pooling",
    "count_pad": ("averages count padded zeros", "averages do not count padded zeros"),
    "dropout": "dropout",
    "embedding": "width of a linear layer, without bias and normalised, before `fc`",
    "heads": ("an auxiliary head", "no auxiliary heads"),
    "image_size": "image size",
    "large": "kernel of branch `b5x5`",
    "last": "pooling of branch `pool` in `mixed_7c`",
    "linear_last": ("one more module C, unscaled, that no ReLU follows", "no last linear module"),
    "lrn": "local response normalisation",
    "norm": "normalisation",
    "pad": "padding of the convolutions that halve the map",
    "pool": "padding of the poolings that halve the map",
    "pool4": "kernel of `pool4`",
    "pool_pad": "padding of the poolings that halve the map",
    "repeats": "modules A, B and C",
    "scales": "scales of the residuals",
    "stem": "stem",
    "top": "fully connected layers before `fc`",
    "top_dropout": "dropout after them",
    "widths": "widths",
}


def parent(name: str) -> str | None:
    """The net that `name` is told against: its family's own; and that one against the paper's."""
    for other in (name.split(".")[0], f"{name.split('.')[0]}.paper"):
        if other in VARIANTS and other != name and not name.endswith(".paper"):
            return other
    return "bn_inception" if name == "inception_v2.slim" else None


def told(value: Any) -> str:
    """A value of a variant's field in words."""
    match value:
        case None:
            return "the average of the other modules"
        case 0:
            return "none"
        case str():
            return PADS[value]
        case tuple():
            return ", ".join(map(told, value)) or "none"
        case BatchNorm(eps, momentum, scale):
            return f"batch (eps {eps:g}, momentum {momentum:g}{'' if scale else ', no gamma'})"
        case LRN(size, alpha, beta, k):
            return f"over {size} channels (alpha {alpha:g}, beta {beta:g}, k {k:g})"
        case AvgPool(kernel=None, grid=grid):
            return f"adaptive to {grid}×{grid}"
        case AvgPool(kernel, stride, count_pad=count):
            padded = f" (padded zeros {'counted' if count else 'left out'})"
            return f"average {kernel}×{kernel}/{stride}{padded if value.pad != 'valid' else ''}"
        case MaxPool(kernel, stride):
            return f"maximum {kernel}×{kernel}/{stride}"
        case Separable(out, kernel, stride, norm=norm, multiplier=times):
            how = "normalised" if norm else "with a bias, not normalised"
            return f"separable {kernel}×{kernel}/{stride} to {out} (multiplier {times}, {how})"
        case Conv(out, kernel, stride):
            return f"plain {kernel}×{kernel}/{stride} to {out}"
        case _ if callable(value):
            said = value.__doc__.rstrip(".").split(": ")[0]
            return said if said.startswith("Figure") else said[0].lower() + said[1:]
    return f"{value:g}" if isinstance(value, float) else str(value)


def derived(name: str, than: str) -> list[str]:
    """What the fields of a variant say against those of another, one sentence each."""
    mine, theirs = VARIANTS[name], VARIANTS[than]
    found = []
    for field in fields(mine):
        new, old = getattr(mine, field.name), getattr(theirs, field.name)
        if field.name in ("source", "departures") or new == old:
            continue
        if field.name == "table":
            found += [_row(at, row, old[at]) for at, row in new.items() if row != old[at]]
            continue
        words = WORDS[field.name]
        if isinstance(words, tuple):
            found.append(words[0 if new else 1])
        elif field.name == "norm" and old is None:
            found.append(f"normalisation: {told(new)}, in place of biases and LRN")
        elif words:
            found.append(f"{words}: {told(new)} instead of {told(old)}")
    return [f"{text[0].upper()}{text[1:]}." for text in found]


def _row(at: str, new: Any, old: Any) -> str:
    pairs = zip(new._fields, new, old, strict=True)
    return f"`inception_{at}`: " + ", ".join(
        f"`{cell.removeprefix('c')}` {told(one)} instead of {told(other)}"
        for cell, one, other in pairs
        if one != other
    )


def departures(name: str) -> str:
    """The section of one net."""
    variant, than = VARIANTS.get(name), parent(name)
    text = list(TEXT_ONLY[name] if variant is None else variant.departures)
    lines = [f"### `{name}`", "", f"Source: {NETS[name]().source}."]
    heads = NETS[name]().heads()
    if heads:
        where = " and ".join(f"`{at}`" for at, _ in heads.values())
        lines[-1] += f" Auxiliary head{'s' * (len(heads) > 1)} on {where}."
    if than is not None:
        lines[-1] += f" Departs from `{than}`:"
        text = derived(name, than) + text
    if not text:
        lines[-1] += " As printed."
    return "\n".join([*lines, *([""] if text else []), *(f"- {one}" for one in text)])


def nets_table() -> str:
    header = ("net", "published weights (top-1 / top-5)", "parameters", "with heads",
              "multiply-adds", "depth", "input", "least")  # fmt: skip
    rows = []
    for name, make in NETS.items():
        made = account(make())
        fitting = [f"`{one.name}`{_accuracy(one)}" for one in catalogue().values()
                   if one.net == name]  # fmt: skip
        rows.append((
            f"[`{name}`](#{name.replace('.', '')})", "<br>".join(fitting), f"{made.params:,}",
            f"{made.params_with_aux:,}" if made.aux else "", f"{made.macs / 1e9:.4f} G",
            str(made.depth), _input(made.net), str(minimum_size(made.net)),
        ))  # fmt: skip
    return markdown(header, rows, left=2)


def _input(net: Net) -> str:
    return f"{net.channels} × {net.image_size} × {net.image_size}"


def _accuracy(one: Published) -> str:
    return f" ({one.top1:.1f} / {one.top5:.1f})" if one.top1 and one.top5 else ""


def weights_table() -> str:
    header = ("weights", "net", "licence", "file", "top-1 and top-5 as stated by", "note",
              "classes", "top-1", "top-5", "MB")  # fmt: skip
    order = list(NETS)
    rows = []
    for one in sorted(catalogue().values(), key=lambda one: order.index(one.net)):
        url = one.url or (f"https://huggingface.co/{one.hub}" if one.hub else "")
        shown = f"hub: `{one.hub}`" if one.hub else f"`{one.file}`"
        rows.append((
            f"`{one.name}`", f"`{one.net}`", one.licence, f"[{shown}]({url})" if url else shown,
            one.accuracy_source, one.note, f"{one.classes:,}",
            "" if one.top1 is None else f"{one.top1:g}",
            "" if one.top5 is None else f"{one.top5:g}",
            f"{one.megabytes:.0f}" if one.megabytes else "",
        ))  # fmt: skip
    return markdown(header, rows, left=6)


def document() -> str:
    return "\n".join([
        HEAD, nets_table(), "",
        "## Departures", "",
        "What each net has that its paper does not print, prints otherwise, or leaves open.", "",
        *(f"{departures(name)}\n" for name in NETS),
        ABSENT, "## Published weights", "",
        "The licence is the one its publisher gives the file. `inceptive nets --json` has all of "
        "this.", "", weights_table(), "",
    ])  # fmt: skip


if __name__ == "__main__":
    OUT.write_text(document(), encoding="utf-8")
