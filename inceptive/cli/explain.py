"""inceptive explain: what a net sees in an image, and what its answer rests on."""

from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from inceptive.cli.progress import Display
from inceptive.cli.tables import answer, as_json, columns

NAME = "explain"


def run(
    model: Annotated[
        str,
        Argument(
            metavar="MODEL",
            help="a model folder, a published name or hf:OWNER/NAME; for occlusion also an exported "
            "file, torchvision:NAME or timm:NAME",
        ),
    ],
    image: Annotated[
        Path | None, Argument(metavar="[IMAGE]", help="an image file (not for visualise)")
    ] = None,
    method: Annotated[
        Literal["gradcam", "occlusion", "features", "branches", "deepdream", "visualise"],
        Option(help="what to show"),
    ] = "gradcam",
    layer: Annotated[
        str, Option(help="part name from `inceptive table`, e.g. inception_4e [default: last maps]")
    ] = "",
    channel: Annotated[
        int | None, Option(min=0, help="channel for deepdream [all] and visualise [the first]")
    ] = None,
    label: Annotated[
        str | None, Option(help="class name or number [default: the model's answer]")
    ] = None,
    data: Annotated[
        str | None, Option(help="features: a dataset, for the top activating images per channel")
    ] = None,
    count: Annotated[int, Option(min=1, max=256, help="features: channels to show")] = 32,
    steps: Annotated[
        int | None, Option(min=1, help="steps: deepdream, for each octave [20]; visualise [256]")
    ] = None,
    seed: Annotated[int, Option(min=0, help="random seed of deepdream and visualise")] = 0,
    out: Annotated[Path, Option(help="a folder for the PNG and JSON files")] = Path("explained"),
    json: Annotated[bool, Option("--json", help="also print the JSON")] = False,
) -> None:
    """Show what MODEL sees in IMAGE, as PNG and JSON files in a folder.

    gradcam and occlusion: the image regions behind the answer. features: a layer's strongest maps.
    branches: what 1x1, 3x3, 5x5 and pool contribute. deepdream: the image with what activates a layer
    amplified. visualise: an image, grown from noise, that activates a channel or a class.
    """
    from inceptive.explaining.explain import explain

    with Display() as display:
        explanation = explain(
            model, image, method, layer=layer, channel=channel, label=label, data=data, count=count,
            steps=steps, seed=seed, progress=display,
        )  # fmt: skip
        display.say(f"written: {', '.join(map(str, explanation.save(out)))}")
    answer(as_json(explanation.to_dict(out)) if json else as_text(explanation.details))


def as_text(details: dict[str, Any]) -> str:
    """The result in a few lines."""
    if "modules" in details:
        modules = details["modules"]
        names = sorted({name for module in modules for name in module["share"]})
        rows = [
            (module["name"], *(f"{share[name]:.1%}" if name in share else "" for name in names))
            for module in modules
            for share in [module["share"]]
        ]
        return columns((f"what speaks for {details['label']}", *names), rows)
    if "channels" in details:
        rows = [
            (str(channel["channel"]), f"{channel['mean']:.4g}", f"{channel['most']:.4g}",
             "{}, {}".format(*channel["at"]))
            for channel in details["channels"]
        ]  # fmt: skip
        return columns((f"channel of {details['layer']}", "mean", "most", "at"), rows)
    if "activation_after" in details:
        before, after = details["activation_before"], details["activation_after"]
        return f"{before:.4g} -> {after:.4g}, mean of the target"
    row, column = details["at"]
    where = f"{row:.0%} from the top, {column:.0%} from the left"
    return f"{details['label']} {details['prob']:.1%}; most at {where}"
