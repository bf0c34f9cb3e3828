"""inceptive nets: the nets there are, and the published weights that fit them."""

from typing import TYPE_CHECKING, Annotated

from typer import Option

from inceptive.arch import nets
from inceptive.arch.account import Account, account, minimum_size
from inceptive.cli import tables as output

if TYPE_CHECKING:
    from inceptive.weights.catalogue import Published

NAME = "nets"
NETS_HEADER = (
    "net", "source", "params", "with heads", "multiply-adds", "depth", "size", "least", "weights",
)  # fmt: skip
WEIGHTS_HEADER = ("weights", "net", "licence", "classes", "top-1", "top-5", "MB")


def run(json: Annotated[bool, Option("--json", help="as JSON")] = False) -> None:
    """List the nets with what they cost, and the published weights with the net that each fits.

    Parameters and multiply-adds are for 1000 classes and an image of side `size`; `least` is the
    least side. Accuracies are on ImageNet's validation images, as published: not measured here.
    """
    from inceptive.weights.catalogue import catalogue

    made = [account(make()) for make in nets.NETS.values()]
    order = list(nets.NETS)
    weights = sorted(catalogue().values(), key=lambda one: order.index(one.net))
    if json:
        answer = {
            "nets": [_net(one, weights) for one in made],
            "weights": [_weights(one) for one in weights],
        }
        output.answer(output.as_json(answer))
        return
    rows = [
        (
            one.net.name,
            one.net.source,
            f"{one.params:,}",
            f"{one.params_with_aux:,}",
            f"{one.macs:,}",
            str(one.depth),
            str(one.image_size),
            str(minimum_size(one.net)),
            str(len(_fitting(one, weights)) or ""),
        )
        for one in made
    ]
    output.answer(output.columns(NETS_HEADER, rows, left=2) + "\n")
    published = [
        (
            one.name,
            one.net,
            one.licence,
            f"{one.classes:,}",
            f"{one.top1:.1f}%" if one.top1 else "",
            f"{one.top5:.1f}%" if one.top5 else "",
            f"{one.megabytes:.0f}" if one.megabytes else "",
        )
        for one in weights
    ]
    table = output.columns(WEIGHTS_HEADER, published, left=3)
    output.answer(output.with_last(table, ["from", *map(_whence, weights)]))


def _fitting(made: Account, weights: "list[Published]") -> list[str]:
    return [one.name for one in weights if one.net == made.net.name]


def _whence(one: "Published") -> str:
    return one.url or (f"hub {one.hub}" if one.hub else one.note)


def _net(one: Account, weights: "list[Published]") -> dict[str, object]:
    return {
        "net": one.net.name,
        "params": one.params,
        "params_with_aux": one.params_with_aux,
        "macs": one.macs,
        "depth": one.depth,
        "image_size": one.image_size,
        "minimum_size": minimum_size(one.net),
        "source": one.net.source,
        "weights": _fitting(one, weights),
    }


def _weights(one: "Published") -> dict[str, object]:
    return {
        "name": one.name,
        "net": one.net,
        "num_classes": one.classes,
        "top1": None if one.top1 is None else round(one.top1 / 100, 6),
        "top5": None if one.top5 is None else round(one.top5 / 100, 6),
        "accuracy_source": one.accuracy_source or None,
        "image_size": one.preprocessing.size,
        "megabytes": one.megabytes or None,
        "licence": one.licence,
        "url": one.url or None,
        "hub": one.hub or None,
        "file": one.file,
        "note": one.note or None,
    }
