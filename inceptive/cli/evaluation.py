"""What `inceptive evaluate` does once torch is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.cli import tables as output
from inceptive.cli.dataset import as_learned
from inceptive.cli.progress import Display, say
from inceptive.cli.reporting import REPORT, facts_of, write_report
from inceptive.data.cache import user_cache
from inceptive.data.source import Data, Samples
from inceptive.engines.early_exit import exit_summary
from inceptive.engines.open import is_exported, open_engine
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError
from inceptive.evaluation.crops import PROTOCOLS
from inceptive.evaluation.judge import in_order_of, judge, probabilities
from inceptive.io.atomic import write_json, write_text


@dataclass(frozen=True)
class Request:
    models: list[str]
    data: str
    split: str
    crops: int
    json: bool
    out: Path | None
    strict: bool
    engine: str = ""
    early_exit: bool = False


def evaluate(request: Request) -> None:
    """Judge as asked and print the answer."""
    if request.crops not in PROTOCOLS:
        raise InceptiveError(f"--crops {request.crops}: there are {', '.join(map(str, PROTOCOLS))}")
    display = Display()
    engines = [opened(model, request.engine, request.early_exit) for model in request.models]
    data = as_learned(request.data, engines[0].data, display, request.strict)
    split = request.split or default_split(data)
    samples = data.split(split)
    about = {"data": data.name, "split": split, "crops": request.crops}
    plain, scaled, answers = [], [], []
    for name, engine in zip(request.models, engines, strict=True):
        display.say(f"judging {name} on {len(samples)} {split} images of {data.name}")
        found = probabilities(engine, samples, request.crops, display.load, user_cache())
        display.close()
        if shares := engine.exit_shares():
            display.say(exit_summary(shares))
            about |= {"left": shares}
        plain.append(in_order_of(engine, data.classes, found[0]))
        scaled.append(in_order_of(engine, data.classes, found[1]))
        judged = judge(plain[-1], scaled[-1], samples.labels, data.classes)
        answers.append({"model": name} | about | judged)
    if len(engines) > 1:
        if len({frozenset(engine.labels) for engine in engines}) > 1:
            raise InceptiveError("models of different classes cannot be averaged")
        together = np.mean(plain, axis=0), np.mean(scaled, axis=0)
        answers.append(
            {"model": f"ensemble of {len(engines)}"}
            | about
            | judge(*together, samples.labels, data.classes)
        )
    answer: Any = answers if len(answers) > 1 else answers[0]
    if request.out:
        write_json(request.out / "evaluation.json", answer)
        write_text(request.out / "predictions.csv", predictions(samples, data, np.mean(scaled, 0)))
        probs = np.mean(plain, axis=0), np.mean(scaled, axis=0)
        report(request, engines, data, split, probs, answers)
        display.say(f"written: {request.out}/evaluation.json, predictions.csv, {REPORT}")
    text = "\n\n".join(as_text(one) for one in answers)
    output.answer(output.as_json(answer) if request.json else text)


def opened(model: str, engine: str, early_exit: bool) -> Engine:
    """What is judged: torch unless another engine was asked for, or `model` is an exported file."""
    return open_engine(
        model, engine or ("auto" if is_exported(model) else "torch"), say, early_exit
    )


def report(
    request: Request,
    engines: Sequence[Engine],
    data: Data,
    split: str,
    probs: tuple[np.ndarray, np.ndarray],
    answers: Sequence[dict[str, Any]],
) -> None:
    """The page on the model, or on all together, beside the figures; `answers` end with its own."""
    assert request.out
    more = {
        "engine": ", ".join(dict.fromkeys(engine.name for engine in engines)),
        "crops": str(request.crops),
    }
    accounts = [account for engine in engines if (account := engine.account())]
    if len(engines) > 1:
        facts = more | {f"{one['model']} alone": f"{one['top1']:.2%}" for one in answers[:-1]}
    else:
        facts = facts_of(engines[0].info, more)
    name = answers[-1]["model"]
    write_report(request.out, name, accounts, data, split, probs, answers[-1], facts)


def default_split(data: Data) -> str:
    """What a set is judged on unless another split is asked for."""
    return next((one for one in ("test", "val") if len(data.splits.get(one, ()))), "all")


def predictions(samples: Samples, data: Data, probs: np.ndarray) -> str:
    """CSV: each image, its class, the answer and how sure it is (calibrated)."""
    best = probs.argmax(axis=1)
    names = [*data.classes, *(f"(other {k + 1})" for k in range(probs.shape[1]))]
    rows = [
        (samples.name(i), data.classes[samples.labels[i]], names[k], f"{probs[i, k]:.4f}")
        for i, k in enumerate(best)
    ]
    return output.as_csv(("image", "class", "label", "prob"), rows) + "\n"


def as_text(judged: dict[str, Any]) -> str:
    """One model's result for a person to read."""
    classes = judged["classes"]
    low, high = (f"{one:.2%}" for one in judged["balanced_accuracy_interval"])
    lines = [
        f"{judged['model']} on {judged['count']} {judged['split']} images of {judged['data']}, "
        f"{judged['crops']} crop{'s' if judged['crops'] > 1 else ''}",
        "",
        _share("top-1", judged, "top1"),
    ]
    if len(classes) > 5:
        lines.append(_share("top-5", judged, "top5"))
    lines += [
        f"balanced     {judged['balanced_accuracy']:.2%}  ({low} to {high}), mean recall of the classes",
        f"calibration  {judged['calibration_error']:.2%} off, {judged['calibration_error_scaled']:.2%} "
        "after temperature scaling",
        "",
        output.columns(
            ("class", "images", "precision", "recall", "f1"),
            [
                (
                    one["label"],
                    str(one["count"]),
                    *(_percent(one[k]) for k in ("precision", "recall", "f1")),
                )
                for one in classes
            ],
        ),
    ]
    if len(classes) <= 20:
        numbers = [str(k + 1) for k in range(len(classes))]
        rows = [
            (f"{k + 1} {one['label']}", *map(str, row))
            for k, (one, row) in enumerate(zip(classes, judged["confusion"], strict=True))
        ]
        lines += ["", output.columns(("true \\ answered", *numbers), rows)]
    return "\n".join(lines)


def _share(name: str, judged: dict[str, Any], key: str) -> str:
    low, high = judged[f"{key}_interval"]
    return f"{name:<11}  {judged[key]:.2%}  ({low:.2%} to {high:.2%}), 95 % interval"


def _percent(share: float) -> str:
    return "-" if share != share else f"{share:.1%}"
