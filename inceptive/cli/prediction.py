"""What `inceptive predict` does. torch is loaded only if it is the engine."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inceptive.cli import tables as output
from inceptive.cli.progress import say
from inceptive.data.listing import list_images
from inceptive.engines.early_exit import exit_summary
from inceptive.engines.open import open_engine
from inceptive.engines.prediction import Prediction, header, predictions, row
from inceptive.errors import InceptiveError
from inceptive.images import printable
from inceptive.io.atomic import atomic_write, write_bytes, write_text
from inceptive.scale.answers import as_parquet


@dataclass(frozen=True)
class Request:
    model: str
    paths: list[Path]
    top: int
    format: str
    out: Path | None
    batch_size: int
    engine: str = "auto"
    early_exit: bool = False


def predict(request: Request) -> None:
    """Answer as asked. Raises InceptiveError, after all the rest is done, if an image was unreadable."""
    if request.format == "parquet" and not request.out:
        raise InceptiveError("parquet is not text: name a file with --out")
    engine = open_engine(request.model, request.engine, say, request.early_exit)
    images = list(find(request.paths))
    top = min(request.top, len(engine.labels))
    if len(images) > request.batch_size:
        say(f"{len(images)} images")
    bad: list[str] = []

    def found() -> Iterator[Prediction]:
        for one in predictions(engine, images, top, request.batch_size):
            if one.error:
                bad.append(one.error)
            yield one

    write(found(), top, request)
    if shares := engine.exit_shares():
        say(exit_summary(shares))
    if bad:
        for error in bad:
            say(f"inceptive predict: {error}")
        raise InceptiveError(f"{len(bad)} of {len(images)} images cannot be read; the rest is done")


def find(paths: list[Path]) -> Iterator[Path]:
    """The files among `paths`, and the images in the folders among them; what is not there stays in,
    so that it is answered with an error. Raises InceptiveError for a folder without images."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        images, others, unread = list_images(path)
        for note in unread:
            say(f"note: {note}")
        if others:
            first = printable(others[0])
            say(
                f"note: {len(others)} files are not named as images and are left out, among them {first}"
            )
        if not images:
            raise InceptiveError(f"{printable(path)}: holds no images")
        yield from map(Path, images)


def write(found: Iterable[Prediction], top: int, request: Request) -> None:
    """The answers in the format asked for, to the file or to standard output.

    CSV row by row as they come, so that any number of images takes the same memory; the other
    formats know all answers before they write the first.
    """
    if request.format == "csv":
        write_csv(found, top, request.out)
        return
    answers = list(found)
    if request.format == "parquet":
        assert request.out
        write_parquet(answers, top, request.out)
        return
    text = FORMATS[request.format](answers, top)
    if request.out:
        write_text(request.out, text + "\n")
    else:
        output.answer(text)


def _table(found: list[Prediction], top: int) -> str:
    rows = []
    for one in found:
        answers = [f"{label} {prob:.1%}" for label, prob in one.top]
        blank = [""] * (top - len(answers))
        rows.append(
            (one.image, *answers, *blank) if answers else (one.image, "cannot be read", *blank[1:])
        )
    header = ("image", *(["answer"] + [f"{k}." for k in range(2, top + 1)]))
    return output.columns(header, rows, left=top + 1)


def write_csv(found: Iterable[Prediction], top: int, out: Path | None) -> None:
    """Row by row; a file appears when its last row is written."""
    lines = _csv_lines(found, top)
    if out is None:
        for line in lines:
            output.answer(line)
        return
    with atomic_write(out) as file:
        for line in lines:
            file.write(f"{line}\n".encode(errors="backslashreplace"))


def _csv_lines(found: Iterable[Prediction], top: int) -> Iterator[str]:
    yield output.as_csv(header(top), [])
    for one in found:
        cells = [f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row(one, top)]
        yield output.as_csv(cells, [])


def _json(found: list[Prediction], top: int) -> str:
    return output.as_json(
        [
            {
                "image": one.image,
                "top": [{"label": label, "prob": prob} for label, prob in one.top],
                "error": one.error or None,
            }
            for one in found
        ]
    )


def write_parquet(found: list[Prediction], top: int, out: Path) -> None:
    """One row an image, the columns of the CSV."""
    write_bytes(out, as_parquet(found, top))


FORMATS = {"table": _table, "json": _json}
