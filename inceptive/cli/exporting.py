"""What `inceptive export` does once torch is loaded."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inceptive.cli import tables as output
from inceptive.cli.progress import Display
from inceptive.data.open import open_data_for
from inceptive.engines import records
from inceptive.engines.classifier import Classifier
from inceptive.engines.records import Record
from inceptive.errors import InceptiveError
from inceptive.exporting import export as making
from inceptive.exporting.check_set import CheckSet, from_data, made_up
from inceptive.io.paths import expand


@dataclass(frozen=True)
class Request:
    model: str
    to: str
    precision: str
    calibrate: str
    max_drop: float
    out: Path | None
    json: bool


def export(request: Request) -> None:
    """Export as asked and print the check. Raises InceptiveError, at the end, if it failed."""
    making.refuse(request.to, request.precision)
    display = Display()
    classifier = Classifier.load(request.model)
    folder = expand(request.model)
    out = request.out or folder
    if not request.out and not folder.is_dir():
        raise InceptiveError(f"{request.model} is no folder: name one for the file with --out")
    weights = folder / records.WEIGHTS
    record = making.export(
        classifier,
        out,
        request.to,
        request.precision,
        check_set(request, classifier, display),
        request.max_drop,
        records.fingerprint(weights) if weights.is_file() else "",
        display.say,
    )
    display.say(f"written: {_written(out, record)}; its check: {out / records.EXPORTS}")
    output.answer(output.as_json(asdict(record)) if request.json else as_text(record))
    if not record.passed:
        raise InceptiveError(f"{out / record.file}: is written but {why(record)}")


def check_set(request: Request, classifier: Classifier, display: Display) -> CheckSet:
    """Images of the data asked for, else of what the model was trained on, else random pictures.

    Raises InceptiveError if the data asked for cannot be had, or int8 has none.
    """
    told = classifier.info.get("data", {})
    name = request.calibrate or told.get("name", "")
    int8 = request.precision == "int8"
    if not name and not int8:
        display.say(
            "note: no images to check on (--calibrate DATA); random pictures stand for them"
        )
        return made_up(classifier.preprocessing)
    if not name:
        raise InceptiveError("int8 is calibrated on images: name a set of them with --calibrate")
    try:
        return from_data(classifier, open_data_for(name, told, progress=display), int8)
    except InceptiveError as error:
        if request.calibrate:
            raise
        if int8:
            raise InceptiveError(f"{error}; name other images with --calibrate") from None
        display.say(f"note: {error}; random pictures stand for the images it learned")
        return made_up(classifier.preprocessing)


def why(record: Record) -> str:
    """Why a check failed, in words."""
    check = record.check
    if record.precision == "f32":
        return (
            f"differs from torch by {check['difference']:.1e} of the largest logit, "
            f"over the bound of {check['bound']:.0e}"
        )
    lost = "of top-1" if check["top1"] is not None else "of the answers change"
    return (
        f"loses {check['drop']:.2f} points {lost} on {check['images']}, "
        f"over the bound of {check['bound']:g} (--max-drop)"
    )


def _written(out: Path, record: Record) -> str:
    paths = records.files(out / record.file)
    size = sum(path.stat().st_size for path in paths)
    return f"{' and '.join(map(str, paths))} ({size / 1e6:.1f} MB)"


def as_text(record: Record) -> str:
    """The check for a person to read: torch and the file side by side."""
    check, speed = record.check, record.speed
    rows: list[tuple[str, str, str]] = []
    if check["top1"] is not None:
        rows.append(("top-1", f"{check['top1_torch']:.2%}", f"{check['top1']:.2%}"))
    rows += [
        ("same answer", "", f"{check['agreement']:.2%}"),
        ("logits differ by", "", f"{check['difference']:.1e}"),
        ("ms for one image", *_both(speed, "ms_per_image")),
        ("images/s, 16 at once", *_both(speed, "images_per_second")),
    ]
    lines = [
        f"{record.file} beside torch on {check['images']}, differences in parts of the largest logit",
        "",
        output.columns(("", "torch", record.name), rows),
        "",
        f"{'passed' if record.passed else 'NOT PASSED'}: bound "
        + (
            f"{check['bound']:.0e} of the largest logit"
            if record.precision == "f32"
            else f"{check['bound']:g} points, lost {check['drop']:.2f} ({_net(check)} images)"
        ),
    ]
    return "\n".join(lines)


def _net(check: dict[str, Any]) -> str:
    """How many images the drop is: of a few hundred, one or two say little."""
    return f"{round(check['drop'] * check['count'] / 100)} of {check['count']}"


def _both(speed: dict[str, Any], key: str) -> tuple[str, str]:
    return f"{speed[f'torch_{key}']:.1f}", f"{speed[key]:.1f}"
