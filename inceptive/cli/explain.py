"""inceptive explain: what a net sees in an image, and what its answer rests on."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

NAME = "explain"


def run(
    model: Annotated[str, Argument(metavar="MODEL", help="a model folder or a published name")],
    image: Annotated[
        Path | None, Argument(metavar="[IMAGE]", help="an image file (not for visualise)")
    ] = None,
    method: Annotated[
        Literal["gradcam", "occlusion", "features", "branches", "deepdream", "visualise"],
        Option(help="what to show"),
    ] = "gradcam",
    layer: Annotated[
        str, Option(help="a part, as in `inceptive table`: inception_4e [default: the last maps]")
    ] = "",
    channel: Annotated[
        int | None, Option(min=0, help="of the layer, for deepdream and visualise [all; the first]")
    ] = None,
    label: Annotated[str, Option(help="class, by name or number [default: the answer]")] = "",
    data: Annotated[
        str, Option(help="features: a set, to show the images that excite each channel most")
    ] = "",
    count: Annotated[int, Option(min=1, max=256, help="features: channels that are shown")] = 32,
    steps: Annotated[int, Option(min=0, help="deepdream, visualise: 0 is 20 an octave, 256")] = 0,
    seed: Annotated[int, Option(min=0, help="deepdream and visualise")] = 0,
    out: Annotated[Path, Option(help="a folder for PNG and JSON")] = Path("explained"),
    json: Annotated[bool, Option("--json", help="print the JSON too")] = False,
) -> None:
    """Show what MODEL sees in IMAGE, as PNG and JSON in a folder.

    gradcam and occlusion: where the answer comes from. features: the strongest maps of a layer.
    branches: what 1x1, 3x3, 5x5 and pool carry. deepdream: the image with what excites a layer grown
    in it. visualise: an image, from noise, that a channel or a class answers to.
    """
    from inceptive.cli.explaining import Request, explain

    explain(
        Request(model, image, method, layer, channel, label, data, count, steps, seed, out, json)
    )
