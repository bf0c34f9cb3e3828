"""inceptive similar: the images of a folder that look most like one, or like each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from inceptive.cli import tables
from inceptive.cli.net_argument import EngineOption
from inceptive.cli.progress import Display
from inceptive.cli.tables import columns
from inceptive.errors import InvalidArgument

if TYPE_CHECKING:
    from inceptive.comparison.similar import NearCopies, Similar

NAME = "similar"


def run(
    paths: Annotated[
        list[str],
        Argument(
            metavar="[IMAGE] FOLDER",
            help="an image, and a folder of images or a file of `inceptive embed`; a folder alone: "
            "groups of near-copies in it",
        ),
    ],
    model: Annotated[
        str | None,
        Option(
            help="the model whose features are compared  [default: the weights that train starts from]"
        ),
    ] = None,
    layer: Annotated[
        str, Option(help="a part of the net  [default: the last before its answer]")
    ] = "",
    count: Annotated[int, Option(min=1, help="images to find")] = 12,
    out: Annotated[
        Path | None, Option(help="a folder for a contact sheet, similar.png and similar.html")
    ] = None,
    engine: EngineOption = "auto",
    json: Annotated[bool, Option("--json", help="print JSON")] = False,
) -> None:
    """List the images of FOLDER that look most like IMAGE to a net, with a contact sheet.

    The similarity is the cosine of features standardised over the folder: 1 for the same image, about 0
    for any two. Without IMAGE: the groups of near-copies in FOLDER, by features and by pixels.
    """
    from inceptive.comparison.similar import near_copies, similar

    if len(paths) > 2:
        raise InvalidArgument("similar takes an image and a folder, or a folder")
    if len(paths) == 1 and out:
        raise InvalidArgument("--out is for the images that are most like IMAGE; name one")
    with Display() as display:
        if len(paths) == 1:
            groups = near_copies(paths[0], model, layer=layer, engine=engine, progress=display)
            tables.answer(tables.as_json(groups.to_dict()) if json else _groups(groups))
            unreadable = groups.unreadable
        else:
            result = similar(
                paths[0], paths[1], model, layer=layer, count=count, engine=engine, progress=display
            )
            tables.answer(tables.as_json(result.to_dict()) if json else _matches(result))
            unreadable = result.unreadable
            if out:
                display.say(f"written: {' and '.join(map(str, result.save(out)))}")
        for error in unreadable:
            display.say(f"note: left out: {error}")


def _matches(result: "Similar") -> str:
    rows = [(name, f"{cosine:.2f}") for name, cosine in result.matches]
    return columns(("image", "similarity"), rows)


def _groups(result: "NearCopies") -> str:
    """The number of each image's group, by features and by pixels."""
    if not result.by_features and not result.by_pixels:
        return f"no near-copies among {result.compared} images"
    by = [
        {name: str(number) for number, group in enumerate(groups, 1) for name in group}
        for groups in (result.by_features, result.by_pixels)
    ]
    names = {name: None for groups in by for name in groups}
    rows = [(name, *(numbers.get(name, "") for numbers in by)) for name in names]
    return columns(("image", "group by features", "by pixels"), rows)
