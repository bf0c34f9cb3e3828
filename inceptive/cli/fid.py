"""inceptive fid: how close generated pictures are to real ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from inceptive.cli import tables
from inceptive.cli.progress import Display

if TYPE_CHECKING:
    from inceptive.fidelity.fid import Fidelity

NAME = "fid"


def run(
    real: Annotated[
        str,
        Argument(
            metavar="REAL",
            help="a folder, a .tar, a .npy or .npz of (N, H, W, 3) uint8, or an .npz of statistics "
            "(mu and sigma, as pytorch-fid writes them)",
        ),
    ],
    generated: Annotated[
        str | None,
        Argument(
            metavar="[GENERATED]", help="the same; without it, --stats of REAL is written, no more"
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        Option(help="weights of the net: a file of pytorch-fid's [default: the published ones]"),
    ] = None,
    metrics: Annotated[
        str,
        Option(
            help="comma-separated: fid, fid_inf (extrapolated to infinitely many), kid, is, prdc"
        ),
    ] = "fid",
    resize: Annotated[
        Literal["pytorch", "tensorflow", "clean"],
        Option(help="as pytorch-fid; as TensorFlow 1 and torch-fidelity; as clean-fid"),
    ] = "pytorch",
    dims: Annotated[
        int, Option(help="features of a picture: 64, 192, 768 or 2048, as pytorch-fid's --dims")
    ] = 2048,
    stats: Annotated[
        Path | None,
        Option(help="an .npz that caches the statistics of REAL; pytorch-fid reads it, too"),
    ] = None,
    runner: Annotated[
        Literal["auto", "torch", "openvino"],
        Option(help="auto: OpenVINO if it is installed and there is no GPU"),
    ] = "auto",
    kid_subsets: Annotated[int, Option(min=1, help="subsets of KID")] = 100,
    kid_subset_size: Annotated[int, Option(min=2, help="pictures of each")] = 1000,
    splits: Annotated[int, Option(min=1, help="splits of the Inception Score")] = 10,
    neighbours: Annotated[int, Option(min=1, help="nearest neighbours of prdc")] = 5,
    seed: Annotated[
        int, Option(min=0, max=2**32 - 1, help="random seed of subsets and splits")
    ] = 2020,
    json: Annotated[bool, Option("--json", help="print JSON")] = False,
    strict: Annotated[bool, Option("--strict", help="stop if any picture cannot be read")] = False,
) -> None:
    """Compare GENERATED pictures with REAL ones: FID and its kin.

    The values are those of pytorch-fid, torch-fidelity and clean-fid with the same weights and resizing.
    All depend on how many pictures there are: compare only what was measured alike.
    """
    from inceptive.fidelity.fid import fid

    with Display() as display:
        fidelity = fid(
            real, generated, tuple(name.strip() for name in metrics.split(",")),  # type: ignore[misc]
            weights=weights, resize=resize, dims=dims, stats=stats, runner=runner,
            kid_subsets=kid_subsets, kid_subset_size=kid_subset_size, splits=splits,
            neighbours=neighbours, seed=seed, strict=strict, progress=display,
        )  # fmt: skip
    if json:
        tables.answer(tables.as_json(fidelity.to_dict()))
    elif fidelity.values:
        tables.answer(as_text(fidelity))


def as_text(fidelity: "Fidelity") -> str:
    """The metrics, one a line, under what was compared."""
    values, settings = fidelity.values, fidelity.settings
    rows = [
        (title, f"{values[name]:.6g}", f"± {values[spread]:.2g}" if spread in values else "")
        for name, title in NAMES.items()
        for spread in [f"{name}_std"]
        if name in values
    ]
    title = (
        f"{_counted(fidelity.generated, fidelity.generated_count)} against "
        f"{_counted(fidelity.real, fidelity.real_count)}; "
        + (f"resized as {settings.resize}, " if settings.resize else "")
        + f"{settings.dims} features"
    )
    return f"{title}\n\n{tables.columns(('metric', 'value', ''), rows)}"


def _counted(name: str, count: int | None) -> str:
    return name if count is None else f"{name} ({count} pictures)"


NAMES = {
    "fid": "FID",
    "fid_inf": "FID, infinitely many",
    "kid": "KID",
    "inception_score": "Inception Score",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
