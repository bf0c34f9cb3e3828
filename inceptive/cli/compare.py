"""inceptive compare: several models on the same images, and what each costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, BadParameter, Option

if TYPE_CHECKING:
    from inceptive.comparison.compare import ComparedModel, Comparison

NAME = "compare"


def run(
    models_and_data: Annotated[
        list[str],
        Argument(
            metavar="MODEL... DATA",
            help="two models or more: model folders, exported files, published names, or nets of a "
            "peer (torchvision:resnet18, timm:resnet50; @FILE for weights at hand); then "
            "a folder of class folders or of tar shards, a URL of shards, or a built-in set",
        ),
    ],
    split: Annotated[
        str, Option(help="train, val, test or all [default: test if there is one, else val]")
    ] = "",
    engine: Annotated[
        str,
        Option(
            help="auto (the fastest export that passed its check, as in predict and serve), torch, "
            "openvino or onnx; openvino:int8 names a precision"
        ),
    ] = "auto",
    seconds: Annotated[
        float, Option(min=0, help="about how long each model's turn takes, of three; 0: one call")
    ] = 0.5,
    json: Annotated[bool, Option("--json", help="as JSON")] = False,
    out: Annotated[
        Path | None, Option(help="a folder for compare.json, disagreements.csv and report.html")
    ] = None,
    strict: Annotated[bool, Option("--strict", help="stop if any image cannot be read")] = False,
) -> None:
    """Set models side by side on the labelled images of DATA: right answers, and what they cost.

    Every model answers for the same images, each with its own preprocessing. Of each two, the images
    that only one gets right decide whether the difference is more than luck (McNemar's exact test).
    Times are taken in turns.
    """
    if len(models_and_data) < 3:
        raise BadParameter("name at least two models, and the data to evaluate them on")
    from contextlib import closing

    from inceptive.cli import tables
    from inceptive.cli.progress import Display
    from inceptive.comparison.compare import compare

    *models, data = models_and_data
    with closing(Display()) as display:
        comparison = compare(
            models,
            data,
            split,
            engine=engine,
            seconds=seconds,
            strict=strict,
            out=out,
            command=tables.command_line(),
            progress=display,
        )
    tables.answer(tables.as_json(comparison.to_dict()) if json else as_text(comparison))


def as_text(comparison: "Comparison") -> str:
    """The comparison for a person to read."""
    from inceptive.cli import tables
    from inceptive.comparison.cost import BATCH

    first = comparison.models[0].model
    header = ("model", "top-1", "95 % interval", "balanced", "params", "MACs", "MB", "ms", "times",
              "images/s", "times")  # fmt: skip
    lines = [
        f"{len(comparison.images)} {comparison.split} images of {comparison.data}; ms for one image, "
        f"images/s in batches of {BATCH}, times as fast as {first}",
        "",
        tables.columns(header, [_row(row) for row in comparison.models]),
    ]
    if comparison.pairs:
        columns = ("pair", "only first right", "only second", "difference, points", "95 % interval",
                   "p")  # fmt: skip
        pairs = [
            (
                f"{names[0]} | {names[1]}",
                str(pair.only_first),
                str(pair.only_second),
                f"{100 * pair.difference:+.2f}",
                f"{100 * pair.interval[0]:+.2f} to {100 * pair.interval[1]:+.2f}",
                f"{pair.p:.2g}",
            )
            for names, pair in comparison.pairs.items()
        ]
        lines += [
            "",
            tables.columns(columns, pairs),
            "",
            f"they answer differently on {len(comparison.different)} images; "
            "p: McNemar's exact test",
        ]
    return "\n".join(lines)


def _row(row: "ComparedModel") -> tuple[str, ...]:
    accuracy = ("-", "-", "-")
    if row.evaluation:
        low, high = row.evaluation.top1_interval
        accuracy = (
            f"{row.evaluation.top1:.2%}",
            f"{low:.1%} to {high:.1%}",
            f"{row.evaluation.balanced_accuracy:.2%}",
        )
    return (
        row.model,
        *accuracy,
        f"{row.size.params:,}",
        f"{row.size.macs / 1e6:,.0f} M",
        f"{row.size.bytes / 1e6:.1f}" if row.size.bytes else "-",
        f"{row.speed.ms_per_image:.1f}",
        f"{row.speed.latency_ratio:.2f}",
        f"{row.speed.images_per_second:.1f}",
        f"{row.speed.throughput_ratio:.2f}",
    )
