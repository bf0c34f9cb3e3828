"""inceptive nets: the available nets, and the published weights that fit them."""

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from typer import Option

from inceptive.cli import tables

if TYPE_CHECKING:
    from inceptive.arch.account import Account
    from inceptive.weights.catalogue import Published

NAME = "nets"
NETS_HEADER = (
    "net", "params", "with heads", "multiply-adds", "depth", "size", "least", "weights", "source",
)  # fmt: skip
WEIGHTS_HEADER = ("weights", "net", "licence", "classes", "top-1", "top-5", "MB", "from")


def run(json: Annotated[bool, Option("--json", help="print JSON")] = False) -> None:
    """List the nets with their costs, and the published weights.

    Parameters and multiply-adds are for 1000 classes and an image of side `size`; `least` is the
    smallest side. Accuracies are on the ImageNet validation set, as published, not measured here.
    Whole addresses of the weights are in the JSON.
    """
    from inceptive.arch.account import account
    from inceptive.arch.nets import NETS
    from inceptive.weights.catalogue import catalogue

    order = list(NETS)
    weights = sorted(catalogue().values(), key=lambda published: order.index(published.net))
    accounts = [account(make()) for make in NETS.values()]
    fitting = {
        name: [published.name for published in weights if published.net == name] for name in NETS
    }
    if json:
        nets = [_net_object(counted, fitting[counted.net.name]) for counted in accounts]
        published = [_weights_object(published) for published in weights]
        tables.answer(tables.as_json({"nets": nets, "weights": published}))
        return
    rows = [_net_row(counted, fitting[counted.net.name]) for counted in accounts]
    tables.answer(tables.columns(NETS_HEADER, rows, last=True) + "\n")
    rows = [_weights_row(published) for published in weights]
    tables.answer(tables.columns(WEIGHTS_HEADER, rows, left=3, last=True))


def _net_row(counted: "Account", weights: list[str]) -> tuple[str, ...]:
    from inceptive.arch.account import minimum_size

    costs = (counted.params, counted.params_with_aux, counted.macs)
    sizes = (counted.depth, counted.image_size, minimum_size(counted.net))
    return (
        counted.net.name, *(f"{cost:,}" for cost in costs), *map(str, sizes), str(len(weights) or ""),
        counted.net.source,
    )  # fmt: skip


def _weights_row(published: "Published") -> tuple[str, ...]:
    accuracies = (f"{share:.1f}%" if share else "" for share in (published.top1, published.top5))
    megabytes = f"{published.megabytes:.0f}" if published.megabytes else ""
    hub = f"hub {published.hub}" if published.hub else ""
    return (
        published.name, published.net, published.licence, f"{published.classes:,}", *accuracies,
        megabytes, urlsplit(published.url).hostname or hub or published.note,
    )  # fmt: skip


def _net_object(counted: "Account", weights: list[str]) -> dict[str, object]:
    from inceptive.arch.account import minimum_size

    return {
        "net": counted.net.name,
        "params": counted.params,
        "params_with_aux": counted.params_with_aux,
        "macs": counted.macs,
        "depth": counted.depth,
        "image_size": counted.image_size,
        "minimum_size": minimum_size(counted.net),
        "source": counted.net.source,
        "weights": weights,
    }


def _weights_object(published: "Published") -> dict[str, object]:
    top1, top5 = (
        None if percent is None else round(percent / 100, 6)
        for percent in (published.top1, published.top5)
    )
    return {
        "name": published.name,
        "net": published.net,
        "num_classes": published.classes,
        "top1": top1,
        "top5": top5,
        "accuracy_source": published.accuracy_source or None,
        "image_size": published.prepared["size"],
        "megabytes": published.megabytes or None,
        "licence": published.licence,
        "url": published.url or None,
        "hub": published.hub or None,
        "file": published.file,
        "note": published.note or None,
    }
