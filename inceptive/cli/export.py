"""inceptive export: a model as a file that runs without torch, checked against torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from inceptive.cli.progress import Display
from inceptive.cli.tables import answer, as_json, columns
from inceptive.errors import InceptiveError

if TYPE_CHECKING:
    from inceptive.exporting.export import Export

NAME = "export"


def run(
    model: Annotated[
        str, Argument(metavar="MODEL", help="a model folder, or with --out a published name")
    ],
    to: Annotated[
        Literal["onnx", "openvino", "web", "all"],
        Option(
            help="the target engine; web: a page that needs no server; all: every installed engine, "
            "side by side"
        ),
    ],
    precision: Annotated[
        Literal["f32", "bf16", "int8"] | None,
        Option(
            help="f32: as trained; bf16: OpenVINO on CPUs that support it; int8: calibrated "
            "[f32; --to all: each]"
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        Option(metavar="DATA", help="data for calibration and checks [default: its training data]"),
    ] = None,
    max_drop: Annotated[
        float, Option(min=0, help="largest drop in validation top-1, in percentage points")
    ] = 0.5,
    out: Annotated[
        Path | None,
        Option(help="a folder for the file [default: the model folder; web: its `site`]"),
    ] = None,
    json: Annotated[bool, Option("--json", help="print the check as JSON")] = False,
) -> None:
    """Export MODEL to a file that runs without torch, and check it.

    It is compared with torch on real images, and the difference recorded. The file holds the net,
    classes, preprocessing, temperature and licence, so it can be deployed alone. A file that fails its
    check is kept but never chosen automatically; the exit status is 1 (with --to all: if none passed).
    """
    from inceptive.exporting.export import export, export_all

    with Display() as display:
        if to == "all":
            exports = export_all(
                model, precision, calibrate=calibrate, max_drop=max_drop, out=out, progress=display
            )
            text = _comparison(exports)
        else:
            exports = [
                export(
                    model, to, precision or "f32", calibrate=calibrate, max_drop=max_drop, out=out,
                    progress=display,
                )
            ]  # fmt: skip
            text = _check(exports[0])
        objects = [each.to_dict() for each in exports]
        answer(as_json(objects if to == "all" else objects[0]) if json else text)
        failed = [each for each in exports if not each.passed]
        for each in failed:
            message = f"{each.path}: is written but {each.reason}"
            if len(failed) == len(exports):
                raise InceptiveError(message)
            display.say(f"note: {message}")


def _check(export: "Export") -> str:
    """torch and the file side by side."""
    rows: list[tuple[str, str, str]] = []
    if export.top1 is not None:
        rows.append(("top-1", f"{export.top1_torch:.2%}", f"{export.top1:.2%}"))
    rows += [
        ("same answer", "", f"{export.agreement:.2%}"),
        ("logits differ by", "", f"{export.difference:.1e}"),
        ("ms for one image", f"{export.ms_per_image_torch:.1f}", f"{export.ms_per_image:.1f}"),
        ("images/s, 16 at once", f"{export.images_per_second_torch:.1f}",
         f"{export.images_per_second:.1f}"),
    ]  # fmt: skip
    # How many images the drop is: of a few hundred, one or two say little.
    images = f"{round(export.drop * export.count / 100)} of {export.count} images"
    bound = (
        f"{export.bound:.0e} of the largest logit"
        if export.precision == "f32"
        else f"{export.bound:g} points, lost {export.drop:.2f} ({images})"
    )
    return "\n".join(
        [
            f"{export.path.name} beside torch on {export.images}, differences in parts of the "
            "largest logit",
            "",
            columns(("", "torch", export.name), rows),
            "",
            f"{'passed' if export.passed else 'NOT PASSED'}: bound {bound}",
        ]
    )


def _comparison(exports: "list[Export]") -> str:
    """A line for each engine and precision; times torch: images a second, measured in turns."""
    header = (
        "engine", "MB", "top-1", "torch's top-1", "same answer", "ms for one image",
        "images/s, 16 at once", "times torch", "check",
    )  # fmt: skip
    rows = [
        (
            each.name,
            f"{each.bytes / 1e6:.1f}",
            "" if each.top1 is None else f"{each.top1:.2%}",
            "" if each.top1_torch is None else f"{each.top1_torch:.2%}",
            f"{each.agreement:.2%}",
            f"{each.ms_per_image:.1f}",
            f"{each.images_per_second:.1f}",
            f"{each.images_per_second / each.images_per_second_torch:.2f}",
            "passed" if each.passed else "NOT PASSED",
        )
        for each in exports
    ]
    return f"beside torch on {exports[0].images}\n\n{columns(header, rows)}"
