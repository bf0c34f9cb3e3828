"""inceptive embed: the features of images, from any part of a net."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from inceptive.cli.net_argument import EngineOption
from inceptive.cli.progress import Display, say
from inceptive.errors import InceptiveError, InvalidArgument, printable

NAME = "embed"


def run(
    model: Annotated[
        str,
        Argument(metavar="MODEL", help="a model folder, an exported file or a published name"),
    ],
    paths: Annotated[
        list[str], Argument(metavar="PATH...", help="images, folders of images, or web addresses")
    ],
    out: Annotated[
        str,
        Option(
            help="a .parquet, .npy or .safetensors file; or a folder or URI, for any number of images",
            show_default=False,
        ),
    ],
    layer: Annotated[
        str,
        Option(
            help="a part of the net, or a layer in one: mixed_6e, inception_3a.b5x5 "
            "[default: what the last layer reads]"
        ),
    ] = "",
    pool: Annotated[
        Literal["mean", "max", "none"], Option(help="over each map; none: the maps themselves")
    ] = "mean",
    engine: EngineOption = "auto",
    batch_size: Annotated[int, Option(min=1, help="images per batch")] = 32,
) -> None:
    """Write the features of each image of PATH...: the output of a part of the net, as float32.

    An unreadable image gets a row with its error, and the exit status is 1. With a folder as --out,
    there is one PATH (images, tar shards or Parquet files, as for `inceptive score`), and after an
    interruption at any moment the same command resumes.
    """
    from inceptive.cli.images import find_images
    from inceptive.engines.embedding import embed
    from inceptive.engines.features import SUFFIXES
    from inceptive.io.store import arrow, is_uri

    ending = Path(out).suffix.lower()
    if is_uri(out) or out.endswith("/") or not ending or Path(out).is_dir():
        from inceptive.cli.score import finished, scoring
        from inceptive.scale import score

        if len(paths) > 1:
            raise InvalidArgument(
                "with a folder as --out there is one PATH; a glob in quotes is one"
            )
        with scoring() as lines:
            summary = score(
                model, paths[0], out, engine=engine, layer=layer, pool=pool, batch_size=batch_size,
                progress=lines,
            )  # fmt: skip
            finished(summary, lines)
        return
    if ending not in SUFFIXES:
        raise InvalidArgument(
            f"{printable(out)}: features are written as {', '.join(SUFFIXES)}; a folder's name ends in /"
        )
    if ending == ".parquet":
        arrow()  # before any image is looked at
    images = list(find_images(paths))
    with Display() as display:
        embeddings = embed(
            model, images, layer, pool, engine=engine, batch_size=batch_size, progress=display
        )
    embeddings.save(out)
    say(f"{printable(out)}: {embeddings!r}")
    for error in filter(None, embeddings.errors):
        say(f"inceptive embed: {error}")
    if bad := sum(map(bool, embeddings.errors)):
        raise InceptiveError(f"{bad} of {len(images)} images cannot be read")
