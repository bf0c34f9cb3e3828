"""inceptive predict: classify images. torch is imported only if it is the engine."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from inceptive.cli import tables
from inceptive.cli.net_argument import EarlyExitOption, EngineOption
from inceptive.cli.progress import say
from inceptive.errors import InceptiveError, InvalidArgument, printable, readable
from inceptive.io.atomic import atomic_write, csv_path, write_bytes, write_text
from inceptive.io.paths import expand

if TYPE_CHECKING:
    from inceptive.engines.prediction import Prediction

NAME = "predict"


def run(
    model: Annotated[
        str,
        Argument(
            metavar="MODEL",
            help="model folder, exported file, published name, hf:OWNER/NAME, torchvision or timm net",
        ),
    ],
    paths: Annotated[
        list[str],
        Argument(metavar="PATH...", help="image files, folders of images, or URLs (https://)"),
    ],
    top: Annotated[int, Option(min=1, help="answers per image")] = 5,
    format: Annotated[
        Literal["table", "json", "csv", "parquet"] | None,
        Option("--format", help="[default: from the suffix of --out, else table]"),
    ] = None,
    json: Annotated[bool, Option("--json", help="the same as --format json")] = False,
    out: Annotated[Path | None, Option(help="a file to write instead of standard output")] = None,
    batch_size: Annotated[int, Option(min=1, help="maximum images per batch")] = 32,
    engine: EngineOption = "auto",
    labels: Annotated[
        Path | None,
        Option(help="class names, one per line, if MODEL is a weights file without them"),
    ] = None,
    early_exit: EarlyExitOption = False,
) -> None:
    """Classify each image of PATH..., with calibrated probabilities.

    An unreadable image is reported in the output; the others are still classified, and the exit status
    is 1.
    """
    from inceptive.cli.images import find_images
    from inceptive.data.scan import grouped
    from inceptive.engines.early_exit import exit_summary
    from inceptive.engines.open import NAMES_ITSELF, open_engine
    from inceptive.engines.prediction import is_url, predictions
    from inceptive.io import store

    ending = out.suffix.lower().removeprefix(".") if out else ""
    by_ending = ending if ending in ("json", "csv", "parquet") else "table"
    kind = tables.one_format(format or by_ending, json, by_ending)
    if kind == "parquet":
        if not out:
            raise InvalidArgument("parquet is not text: name a file with --out")
        store.arrow()  # before any image is classified
    classes = _lines(labels) if labels else ()
    opened = open_engine(model, engine, say, early_exit, classes=classes)
    if classes and opened.labels != classes:
        raise InceptiveError(f"{model}: {NAMES_ITSELF}")
    images = list(find_images(paths))
    if out and any(not is_url(image) and _same_file(out, Path(image)) for image in images):
        raise InceptiveError(f"{printable(out)}: is one of the images; give another --out")
    top = min(top, len(opened.labels))
    if len(images) > batch_size:
        say(f"{len(images)} images")
    errors: list[str] = []
    odd: dict[str, list[str]] = {}

    def answers() -> Iterator["Prediction"]:
        for answer in predictions(opened, images, top, batch_size):
            if answer.error:
                errors.append(answer.error)
            for note in answer.notes:
                odd.setdefault(note, []).append(answer.image)
            yield answer

    _write(answers(), top, kind, out)
    if shares := opened.exit_shares():
        say(exit_summary(shares))
    for line in grouped(odd):
        say(f"note: {line}")
    for error in errors:
        say(f"inceptive predict: {error}")
    if errors:
        rest = "; the rest is done" if len(errors) < len(images) else ""
        raise InceptiveError(f"{len(errors)} of {len(images)} images cannot be read{rest}")


def _lines(path: Path) -> tuple[str, ...]:
    """The lines of a text file that are not blank. Raises InceptiveError if it cannot be read."""
    with readable(path, ValueError):
        lines = expand(path).read_text(encoding="utf-8-sig").splitlines()
    return tuple(name for line in lines if (name := line.strip()))


def _same_file(out: Path, image: Path) -> bool:
    try:
        return expand(out).samefile(image)
    except (OSError, InceptiveError):  # one of them is not there
        return False


def _write(answers: Iterable["Prediction"], top: int, format: str, out: Path | None) -> None:
    """The answers in the format asked for, to the file or to standard output.

    CSV row by row as they come, so that any number of images takes the same memory; the other
    formats know all answers before they write the first.
    """
    if format == "csv":
        write_csv(answers, top, out)
    elif format == "parquet":
        assert out
        write_parquet(list(answers), top, out)
    else:
        text = (_json if format == "json" else _table)(list(answers), top)
        if out:
            write_text(out, text + "\n")
        else:
            tables.answer(text)


def _table(answers: list["Prediction"], top: int) -> str:
    from inceptive.engines.prediction import NOVEL

    rows = []
    has_novel = any(answer.novel for answer in answers)
    for answer in answers:
        cells = [f"{label} {prob:.1%}" for label, prob in answer.top]
        blank = [""] * (top - len(cells))
        rows.append(
            (answer.image, *cells, *blank, *[NOVEL if answer.novel else ""] * has_novel)
            if cells
            else (answer.image, "cannot be read", *blank[1:], *[""] * has_novel)
        )
    header = ("image", "answer", *(f"{k}." for k in range(2, top + 1)), *[""] * has_novel)
    return tables.columns(header, rows, left=len(header))


def write_csv(answers: Iterable["Prediction"], top: int, out: Path | None) -> None:
    """Write row by row; a file appears once its last row is written."""
    lines = _csv_lines(answers, top)
    if out is None:
        for line in lines:
            tables.answer(line)
        return
    with atomic_write(out) as file:
        for line in lines:
            file.write(f"{line}\n".encode(errors="backslashreplace"))


def _csv_lines(answers: Iterable["Prediction"], top: int) -> Iterator[str]:
    from inceptive.engines.prediction import header, row

    yield tables.as_csv(header(top), [])
    for answer in answers:
        cells = [_csv_cell(cell) for cell in row(answer, top)]
        cells[0] = csv_path(answer.image)  # a line for each image; JSON has the name as it is
        yield tables.as_csv(cells, [])


def _csv_cell(cell: Any) -> Any:
    if isinstance(cell, bool):
        return str(cell).lower()
    return f"{cell:.6f}" if isinstance(cell, float) else cell


def _json(answers: list["Prediction"], top: int) -> str:
    return tables.as_json(
        [
            {
                "image": answer.image,
                "top": [{"label": label, "prob": prob} for label, prob in answer.top],
                "novel": answer.novel,
                "error": answer.error or None,
                "notes": list(answer.notes),
            }
            for answer in answers
        ]
    )


def write_parquet(answers: list["Prediction"], top: int, out: Path) -> None:
    """Write one row per image, with the columns of the CSV."""
    from inceptive.scale.answers import as_parquet

    write_bytes(out, as_parquet(answers, top))
