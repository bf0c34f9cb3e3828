"""inceptive nets: the nets there are."""

from typing import Annotated

from typer import Option

from inceptive import nets
from inceptive.account import account, minimum_size
from inceptive.commands import output

NAME = "nets"


def run(json: Annotated[bool, Option("--json", help="as JSON")] = False) -> None:
    """List the nets: parameters and multiply-adds for 1000 classes, least image size, source."""
    made = [account(make()) for make in nets.NETS.values()]
    if json:
        output.answer(
            output.as_json(
                [
                    {
                        "net": one.net.name,
                        "params": one.params,
                        "params_with_aux": one.params_with_aux,
                        "macs": one.macs,
                        "image_size": one.image_size,
                        "minimum_size": minimum_size(one.net),
                        "source": one.net.source,
                    }
                    for one in made
                ]
            )
        )
        return
    header = ("net", "source", "params", "with heads", "multiply-adds", "size", "least")
    rows = [
        (
            one.net.name,
            one.net.source,
            f"{one.params:,}",
            f"{one.params_with_aux:,}",
            f"{one.macs:,}",
            str(one.image_size),
            str(minimum_size(one.net)),
        )
        for one in made
    ]
    output.answer(output.columns(header, rows, left=2))
