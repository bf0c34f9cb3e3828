"""inceptive score: answers for millions of images, on one machine or many."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from inceptive.cli.net_argument import EngineOption
from inceptive.errors import InceptiveError, printable

if TYPE_CHECKING:
    from inceptive.io.progress import Lines
    from inceptive.scale.parts import Summary

NAME = "score"


def run(
    model: Annotated[str, Argument(metavar="MODEL", help="a model folder, or an exported file")],
    input: Annotated[
        str,
        Argument(
            metavar="INPUT",
            help="a folder, file or 'glob' of images, tar shards or Parquet files; a path or a URI",
        ),
    ],
    out: Annotated[
        str,
        Option(help="a folder for the Parquet answer files; a path or a URI", show_default=False),
    ],
    top: Annotated[int, Option(min=1, help="answers per image")] = 5,
    engine: EngineOption = "auto",
    batch_size: Annotated[int, Option(min=1, help="images per batch")] = 32,
    part: Annotated[int, Option(min=1, help="maximum images per output file")] = 1000,
    workers: Annotated[
        int | None, Option(min=1, help="processes, each with the model  [default: as many as fit]")
    ] = None,
    threads: Annotated[
        int | None, Option(min=1, help="CPUs per worker  [default: all of this machine, 8 at most]")
    ] = None,
    address: Annotated[
        str | None, Option(help="a Ray cluster whose machines can read MODEL, INPUT and --out")
    ] = None,
) -> None:
    """Classify every image in INPUT, as `inceptive predict` does, however many there are.

    The answers are Parquet files with the columns of `predict --format parquet`. An unreadable image
    gets a row with its error. After an interruption at any moment, the same command resumes, and in the
    end each image has one row.
    """
    from inceptive.scale import score

    with scoring() as lines:
        summary = score(
            model, input, out, engine=engine, top=top, batch_size=batch_size, part_size=part,
            workers=workers, threads=threads, address=address, progress=lines,
        )  # fmt: skip
        finished(summary, lines)


def finished(summary: "Summary", lines: "Lines") -> None:
    """Say how it ended. Raises InceptiveError if not one image could be read."""
    lines.say(str(summary))
    if summary.images and summary.errors == summary.images:
        raise InceptiveError(f"{printable(summary.input)}: none of its images can be read")


@contextmanager
def scoring() -> Iterator["Lines"]:
    """Show progress in lines; the end of this process in the block is a KeyboardInterrupt, so that no
    worker is left, and says that the same command resumes."""
    import signal

    from inceptive.io.progress import Lines

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield Lines()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same command goes on") from None
    finally:
        signal.signal(signal.SIGTERM, before)
