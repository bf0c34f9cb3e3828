"""inceptive compare: several models on the same images, and what each costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, BadParameter, Option

from inceptive.cli import tables
from inceptive.cli.net_argument import SplitOption, StrictOption
from inceptive.cli.progress import Display

if TYPE_CHECKING:
    from inceptive.comparison.compare import ComparedModel, Comparison

NAME = "compare"
COST = ("params", "MACs", "MB", "ms", "times", "images/s", "times")


def run(
    models_and_data: Annotated[
        list[str],
        Argument(
            metavar="MODEL... DATA",
            help="two or more models: model folders, exported files, published names, or torchvision "
            "or timm nets (torchvision:resnet18, timm:resnet50; @FILE for local weights); then "
            "a folder of class folders or tar shards, a shard URL, a built-in dataset, or "
            "unlabelled images: a folder or one file",
        ),
    ],
    split: SplitOption = "",
    engine: Annotated[
        str,
        Option(
            help="auto (the fastest export that passed its check, as in predict and serve), torch, "
            "openvino or onnx; openvino:int8 selects a precision; all: every engine of each MODEL; "
            "one MODEL is then enough"
        ),
    ] = "auto",
    seconds: Annotated[
        float, Option(min=0, help="approximate seconds per timing, three per model; 0: one call")
    ] = 0.5,
    format: Annotated[
        Literal["table", "json", "csv"],
        Option("--format", help="csv: each image with each model's answer"),
    ] = "table",
    json: Annotated[bool, Option("--json", help="the same as --format json")] = False,
    out: Annotated[
        Path | None,
        Option(help="a folder for compare.json, disagreements.csv (answers.csv) and report.html"),
    ] = None,
    strict: StrictOption = False,
) -> None:
    """Compare models on the images in DATA: accuracy and cost.

    Every model classifies the same images with its own preprocessing. For each pair, the images that
    only one gets right decide whether the difference is more than chance (McNemar's exact test).
    For unlabelled images it shows each model's answers. Timings are interleaved.
    """
    if len(models_and_data) < (2 if engine == "all" else 3):
        raise BadParameter("name at least two models, and the data to evaluate them on")
    from inceptive.comparison.compare import compare

    kind = tables.one_format(format, json, "table")
    *models, data = models_and_data
    with Display() as display:
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
    if kind == "json":
        tables.answer(tables.as_json(comparison.to_dict()))
    elif kind == "csv":
        tables.answer(comparison.answers_csv().removesuffix("\n"))
    else:
        tables.answer(as_text(comparison))


def as_text(comparison: "Comparison") -> str:
    """The comparison as readable text."""
    from inceptive.data.source import images_of

    if not comparison.targets:
        return _answers_text(comparison)
    header = ("model", "top-1", "95 % interval", "balanced", *COST)
    lines = [
        f"{len(comparison.images)} {images_of(comparison.split)} of {comparison.data}; "
        + _units(comparison),
        "",
        tables.columns(header, [(r.model, *_accuracy(r), *_cost(r)) for r in comparison.models]),
    ]
    if comparison.pairs:
        columns = (
            "pair", "only first right", "only second", "second less first, points",
            "95 % interval", "p",
        )  # fmt: skip
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


def _answers_text(comparison: "Comparison") -> str:
    """What each model says of each image without a label."""
    answering = comparison.answering
    rows = [
        (name, *(f"{r.answers[k].label} {r.answers[k].prob:.1%}" for r in answering))
        for k, name in enumerate(comparison.images)
    ]
    costs = [(r.model, *_cost(r)) for r in comparison.models]
    count = len(comparison.images)
    return "\n".join(
        [
            f"{count} images of {comparison.data}, and what each model says",
            "",
            tables.columns(("image", *(r.model for r in answering)), rows, left=len(answering) + 1),
            "",
            f"they answer differently on {len(comparison.different)} of {count} images",
            "",
            tables.columns(("model", *COST), costs),
            "",
            _units(comparison),
        ]
    )


def _units(comparison: "Comparison") -> str:
    from inceptive.engines.timing import BATCH

    first = comparison.models[0].model
    return f"ms for one image, images/s in batches of {BATCH}, times as fast as {first}"


def _accuracy(row: "ComparedModel") -> tuple[str, str, str]:
    if row.evaluation is None:
        return "-", "-", "-"
    low, high = row.evaluation.top1_interval
    balanced = row.evaluation.balanced_accuracy
    return f"{row.evaluation.top1:.2%}", f"{low:.1%} to {high:.1%}", f"{balanced:.2%}"


def _cost(row: "ComparedModel") -> tuple[str, ...]:
    return (
        f"{row.size.params:,}",
        f"{row.size.macs / 1e6:,.0f} M",
        f"{row.size.bytes / 1e6:.1f}" if row.size.bytes else "-",
        f"{row.speed.ms_per_image:.1f}",
        f"{row.speed.latency_ratio:.2f}",
        f"{row.speed.images_per_second:.1f}",
        f"{row.speed.throughput_ratio:.2f}",
    )
