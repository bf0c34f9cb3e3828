"""What `inceptive compare` does once torch is loaded, and its tables."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.cli import tables as output
from inceptive.cli.dataset import as_learned
from inceptive.cli.evaluation import default_split, opened
from inceptive.cli.progress import Display
from inceptive.cli.reporting import REPORT, facts_of, write_report
from inceptive.comparison.cost import BATCH, speeds
from inceptive.comparison.pairs import pair
from inceptive.data.cache import user_cache
from inceptive.data.pictures import in_order
from inceptive.data.source import Data, Samples
from inceptive.engines.open import open_engine, tells_no_classes
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError
from inceptive.evaluation.judge import in_order_of, judge, probabilities
from inceptive.io.atomic import write_json, write_text
from inceptive.report.page import Compared

ROUNDS = 3
JUDGED = ("top1", "top1_interval", "top5", "top5_interval", "balanced_accuracy",
          "balanced_accuracy_interval", "loss_scaled", "calibration_error_scaled")  # fmt: skip


@dataclass(frozen=True)
class Request:
    models: list[str]
    data: str
    split: str
    seconds: float
    json: bool
    out: Path | None
    strict: bool


def compare(request: Request) -> None:
    """Judge, pair, time, and print the answer."""
    if len(set(request.models)) < len(request.models):
        raise InceptiveError("a model is named twice; compare different ones")
    display = Display()
    engines, data, split = opened_all(request, display)
    samples = data.split(split)
    answers = judged(engines, samples, data, display)
    some = samples.take(np.arange(min(BATCH, len(samples))))
    shown = {
        model: np.concatenate(list(in_order(some, engine.preprocessing, BATCH, user_cache())))
        for model, engine in engines.items()
    }
    display.say("timing, in turns")
    fast = speeds(engines, shown, ROUNDS, request.seconds)
    found = {model: judge(*probs, samples.labels, data.classes) for model, probs in answers.items()}
    rows = []
    for model, engine in engines.items():
        row: dict[str, Any] = {"model": model}
        if model in found:
            row |= {key: found[model][key] for key in JUDGED}
        rows.append(row | asdict(engine.size()) | asdict(fast[model]))
    best = {model: scaled.argmax(axis=1) for model, (_, scaled) in answers.items()}
    answer = {
        "data": data.name,
        "split": split,
        "count": len(samples),
        "models": rows,
        "pairs": pairs(best, samples.labels),
        "disagreements": int(disagree(best).sum()),
    }
    if request.out:
        write_json(request.out / "compare.json", answer)
        write_text(request.out / "disagreements.csv", disagreements(answers, samples, data))
        written = ["compare.json", "disagreements.csv"]
        if page := reported(request, engines, data, split, answers, found, answer):
            written.append(page)
        display.say(f"written: {request.out}/{', '.join(written)}")
    output.answer(output.as_json(answer) if request.json else as_text(answer))


def opened_all(request: Request, display: Display) -> tuple[dict[str, Engine], Data, str]:
    """Every model, in the order asked for, the data, and the split of it that is judged."""
    ours = {
        model: opened(model, "", False) for model in request.models if not tells_no_classes(model)
    }
    trained_on = next(iter(ours.values())).data if ours else {}
    data = as_learned(request.data, trained_on, display, request.strict)
    split = request.split or default_split(data)
    engines: dict[str, Engine] = {}
    for model in request.models:
        if model in ours:
            engines[model] = ours[model]
            warn_of_shares(model, ours[model], trained_on, split, display)
        else:
            engines[model] = open_engine(model, note=display.say, classes=data.classes)
    return engines, data, split


def reported(
    request: Request,
    engines: Mapping[str, Engine],
    data: Data,
    split: str,
    answers: Mapping[str, tuple[np.ndarray, np.ndarray]],
    found: Mapping[str, dict[str, Any]],
    answer: dict[str, Any],
) -> str:
    """Write the page on the first of our models, with the others beside it: its name, "" without one."""
    assert request.out
    for model, probs in answers.items():
        engine = engines[model]
        if (account := engine.account()) is None:
            continue
        facts = facts_of(engine.info, {"engine": engine.name})
        beside = Compared(
            answer["models"], answer["pairs"], {name: one for name, (_, one) in answers.items()}
        )
        write_report(request.out, model, [account], data, split, probs, found[model], facts, beside)
        return REPORT
    return ""


def warn_of_shares(
    model: str, engine: Engine, told: dict[str, Any], split: str, display: Display
) -> None:
    """Say so if `model` may have learned from what it is judged on: its set was divided otherwise."""
    own = engine.data.get("shares")
    if split != "all" and own and told.get("shares") and own != told["shares"]:
        display.say(
            f"note: {model} was trained with another division of its data ({own}); if that was "
            "this set, it has learned some of these images"
        )


def judged(
    engines: Mapping[str, Engine], samples: Samples, data: Data, display: Display
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Probabilities (N, K), plain and calibrated, of each model that knows the classes of the data."""
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for model, engine in engines.items():
        if unknown := [name for name in data.classes if name not in engine.labels]:
            display.say(
                f"note: {model} does not know {', '.join(unknown[:3])}: only its cost is told"
            )
            continue
        display.say(f"judging {model} on {len(samples)} images")
        plain, scaled = probabilities(engine, samples, 1, display.load, user_cache())
        display.close()
        found[model] = (
            in_order_of(engine, data.classes, plain),
            in_order_of(engine, data.classes, scaled),
        )
    return found


def pairs(best: Mapping[str, np.ndarray], labels: np.ndarray) -> list[dict[str, Any]]:
    """Each two models: see `compare.pairs`."""
    return [
        {"first": a, "second": b} | asdict(pair(best[a] == labels, best[b] == labels))
        for a, b in combinations(best, 2)
    ]


def disagree(best: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) of bool: the images on which not all answer alike."""
    if not best:
        return np.zeros(0, dtype=bool)
    answers = np.stack(list(best.values()))
    return np.asarray((answers != answers[0]).any(axis=0))


def disagreements(
    answers: Mapping[str, tuple[np.ndarray, np.ndarray]], samples: Samples, data: Data
) -> str:
    """CSV: each image on which models differ, its class, and each answer with its probability."""
    header = ["image", "class"]
    for model in answers:
        header += [model, f"prob of {model}"]
    rows = []
    best = {model: scaled.argmax(axis=1) for model, (_, scaled) in answers.items()}
    for i in np.flatnonzero(disagree(best)):
        row = [samples.name(int(i)), data.classes[samples.labels[i]]]
        for model, (_, scaled) in answers.items():
            k = int(best[model][i])
            label = data.classes[k] if k < len(data.classes) else "(other)"
            row += [label, f"{scaled[i, k]:.4f}"]
        rows.append(row)
    return output.as_csv(header, rows) + "\n"


def as_text(answer: dict[str, Any]) -> str:
    """The comparison for a person to read."""
    rows = answer["models"]
    header = ("model", "top-1", "95 % interval", "balanced", "params", "MACs", "MB", "ms", "times",
              "images/s", "times")  # fmt: skip
    table = output.columns(
        header,
        [
            (
                one["model"],
                *_accuracy(one),
                f"{one['params']:,}",
                f"{one['macs'] / 1e6:,.0f} M",
                f"{one['bytes'] / 1e6:.1f}" if one["bytes"] else "-",
                f"{one['ms_per_image']:.1f}",
                f"{one['latency_ratio']:.2f}",
                f"{one['images_per_second']:.1f}",
                f"{one['throughput_ratio']:.2f}",
            )
            for one in rows
        ],
    )
    lines = [
        f"{answer['count']} {answer['split']} images of {answer['data']}; ms for one image, images/s "
        f"in batches of {BATCH}, times as fast as {rows[0]['model']}",
        "",
        table,
    ]
    if answer["pairs"]:
        lines += [
            "",
            output.columns(
                (
                    "pair",
                    "only first right",
                    "only second",
                    "difference, points",
                    "95 % interval",
                    "p",
                ),
                [
                    (
                        f"{one['first']} | {one['second']}",
                        str(one["only_first"]),
                        str(one["only_second"]),
                        f"{100 * one['difference']:+.2f}",
                        f"{100 * one['interval'][0]:+.2f} to {100 * one['interval'][1]:+.2f}",
                        f"{one['p']:.2g}",
                    )
                    for one in answer["pairs"]
                ],
            ),
            "",
            f"they answer differently on {answer['disagreements']} images; p: McNemar's exact test",
        ]
    return "\n".join(lines)


def _accuracy(row: dict[str, Any]) -> tuple[str, str, str]:
    if "top1" not in row:
        return "-", "-", "-"
    low, high = row["top1_interval"]
    return f"{row['top1']:.2%}", f"{low:.1%} to {high:.1%}", f"{row['balanced_accuracy']:.2%}"
