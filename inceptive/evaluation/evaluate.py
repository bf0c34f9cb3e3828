"""Evaluation of a classifier, or several together, on labelled images."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np

from inceptive import metrics
from inceptive.arguments import PositiveInt, checked
from inceptive.data.cache import Cache, user_cache
from inceptive.data.learned import Learned
from inceptive.data.pictures import in_order
from inceptive.data.prefetch import prefetch
from inceptive.data.source import Data, Samples, class_indices, images_of
from inceptive.engines.early_exit import exit_summary
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError, InvalidArgument
from inceptive.evaluation.crops import PROTOCOLS, crops
from inceptive.evaluation.feature_map import feature_map
from inceptive.evaluation.open import Models, judged, named, open_models_and_data
from inceptive.images import Preprocessing
from inceptive.io.atomic import as_csv, csv_path, write_json, write_text
from inceptive.io.cores import cores
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent
from inceptive.metrics import Measures
from inceptive.report.page import ComparisonData, ReportData
from inceptive.report.write import REPORT, feedback, history, provenance, write_report

BATCH = 64
"""Views that go through the net at once, unless asked otherwise."""


@dataclass(frozen=True, repr=False, eq=False)
class Evaluation(Measures):
    """Results of `model`, run by `engine`, on the N images `samples` of one split of `data`.

    labels name the K columns: the classes of the data in order, then those only the model knows.
    probs (N, K) are calibrated, plain (N, K) before temperature scaling; `crops` views of each image
    are averaged. novel (N,): whether each is like none of the classes; None if unknown, or if several
    views or models are averaged. exit_shares: with early exit, the share of images that each head
    answered, "" the whole net. members: the individual models of an ensemble. Shares are 0-1.

    >>> evaluation = inceptive.evaluate("runs/mine", "digits")
    >>> low, high = evaluation.top1_interval
    >>> low <= evaluation.top1 <= high
    True
    """

    plain: np.ndarray
    probs: np.ndarray
    labels: tuple[str, ...]
    model: str
    engine: str
    data: str
    split: str
    crops: int
    samples: Samples
    novel: np.ndarray | None = None
    exit_shares: Mapping[str, float] = field(default_factory=dict)
    members: "tuple[Evaluation, ...]" = ()

    @classmethod
    def from_probs(
        cls,
        plain: np.ndarray,
        probs: np.ndarray,
        labels: tuple[str, ...],
        samples: Samples,
        **about: Any,
    ) -> "Evaluation":
        """Build from probabilities (N, K) before and after temperature scaling; `about`: the rest."""
        more = {"plain": plain, "probs": probs, "labels": labels, "samples": samples} | about
        return cls.of(plain, probs, samples.labels, labels, **more)

    def __repr__(self) -> str:
        low, high = self.top1_interval
        return (
            f"Evaluation({self.model!r} by {self.engine} on {self.count} {images_of(self.split)} "
            f"of {self.data}: top1 {self.top1:.4f}, 95 % interval {low:.4f} to {high:.4f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, without the answers to individual images."""
        about: dict[str, Any] = {
            key: getattr(self, key) for key in ("model", "data", "split", "crops", "engine")
        }
        if self.novel is not None:
            about["novel"] = float(self.novel.mean())
        if self.exit_shares:
            about["left"] = dict(self.exit_shares)
        return about | super().to_dict()

    def to_json(self) -> Any:
        """The content of evaluation.json: `to_dict`; for an ensemble, a list with its members first."""
        if not self.members:
            return self.to_dict()
        return [each.to_dict() for each in (*self.members, self)]

    def predictions(self) -> str:
        """CSV of each image, its class, the answer and its calibrated probability."""
        best, targets = self.probs.argmax(axis=1), self.samples.labels
        rows = [
            (
                csv_path(self.samples.name(i)),
                self.labels[targets[i]],
                self.labels[k],
                f"{self.probs[i, k]:.4f}",
            )
            for i, k in enumerate(best)
        ]
        return as_csv(("image", "class", "label", "prob"), rows) + "\n"


@checked
def evaluate(
    models: Models,
    data: str | Path | Data,
    split: str = "",
    *,
    engine: str = "auto",
    crops: int = 1,
    early_exit: bool = False,
    batch_size: PositiveInt = BATCH,
    strict: bool = False,
    out: str | Path | None = None,
    command: str = "",
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Evaluation:
    """Evaluate a model, or several and their ensemble, on labelled images.

    models: one model or several (see `evaluation.open`); for several, the probabilities are averaged
    and the ensemble's result is returned, with each model's in `members`. data: a folder, URL or
    built-in dataset as for `open_data`, split as the first model's was, or a Data. split:
    train, val, test or all; "": test if there is one, else val, or all of a dataset that the model has
    not learned from. Images it has learned are left out (see `evaluation.open.judged`). engine: as
    for `open_engine`; auto is what predict and serve use. crops: 1, 8, 10 or 144 views of each
    image, averaged. batch_size: maximum views per batch. strict: an unreadable image is an error, not
    left out.

    With `out`, evaluation.json, predictions.csv and report.html are written there; `command` is what
    the page gives to repeat it. Raises InceptiveError if a model, the data or the engine is
    unavailable, or a model does not know a class of the data.

    >>> inceptive.evaluate("runs/mine", "digits").split
    'test'
    """
    progress = progress or Silent()
    if crops not in PROTOCOLS:
        raise InvalidArgument(f"crops are {', '.join(map(str, PROTOCOLS))}, not {crops}")
    requests = named(models, engine)
    engines, labelled = open_models_and_data(requests, data, early_exit, strict, progress)
    if len({tuple(sorted(opened.labels)) for opened in engines}) > 1:
        raise InceptiveError("models of different classes cannot be averaged")
    by_name = {each.name: opened for each, opened in zip(requests, engines, strict=True)}
    labelled, split = judged(by_name, labelled, split, progress)
    labels = label_order(labelled.classes, engines[0].labels)
    evaluations = tuple(
        evaluate_engine(request.name, opened, labelled, split, labels, crops, batch_size, progress)
        for request, opened in zip(requests, engines, strict=True)
    )
    evaluation = evaluations[0] if len(evaluations) == 1 else _ensemble(evaluations)
    if out is not None:
        folder = expand(out)
        write_json(folder / "evaluation.json", evaluation.to_json())
        write_text(folder / "predictions.csv", evaluation.predictions())
        write_report(folder, report_data(evaluation, engines, labelled, command))
        progress.say(f"written: {out}/evaluation.json, predictions.csv, {REPORT}")
    return evaluation


def evaluate_engine(
    name: str,
    engine: Engine,
    data: Data,
    split: str,
    labels: tuple[str, ...],
    crops: int = 1,
    batch_size: int = BATCH,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Evaluation:
    """Evaluate `engine`, called `name`; labels are its own in the order of `label_order`."""
    progress = progress or Silent()
    samples = data.split(split)
    progress.say(f"evaluating {name} on {len(samples)} {images_of(split)} of {data.name}")
    advance = partial(progress.advance, "evaluating")
    plain, probs, novel = probabilities(engine, samples, crops, advance, user_cache(), batch_size)
    exits = engine.exit_shares()
    if exits:
        progress.say(exit_summary(exits))
    order = columns(labels, engine.labels)
    return Evaluation.from_probs(
        plain[:, order],
        probs[:, order],
        labels,
        samples,
        model=name,
        engine=engine.name,
        data=data.name,
        split=split,
        crops=crops,
        novel=novel,
        exit_shares=exits,
    )


def _ensemble(members: tuple[Evaluation, ...]) -> Evaluation:
    """The mean of the members' probabilities, before and after temperature scaling."""
    first = members[0]
    return Evaluation.from_probs(
        np.mean([member.plain for member in members], axis=0),
        np.mean([member.probs for member in members], axis=0),
        first.labels,
        first.samples,
        model=f"ensemble of {len(members)}",
        engine=", ".join(dict.fromkeys(member.engine for member in members)),
        data=first.data,
        split=first.split,
        crops=first.crops,
        members=members,
    )


def report_data(
    evaluation: Evaluation,
    engines: Sequence[Engine],
    data: Data,
    command: str = "",
    comparison: ComparisonData | None = None,
) -> ReportData:
    """The data of `report.html` for an evaluation of `engines`; `command` repeats it.

    The training history is read from the model folder that the evaluation is named after.
    """
    facts = {"engine": evaluation.engine, "crops": str(evaluation.crops)}
    if evaluation.members:
        facts |= {f"{member.model} alone": f"{member.top1:.2%}" for member in evaluation.members}
    else:
        facts |= provenance(engines[0].info)
    if not command:
        models = [member.model for member in evaluation.members] or evaluation.model
        command = f"inceptive.evaluate({models!r}, {evaluation.data!r}, {evaluation.split!r})"
    return ReportData(
        model=evaluation.model,
        data=data,
        split=evaluation.split,
        samples=evaluation.samples,
        labels=evaluation.labels,
        plain=evaluation.plain,
        probs=evaluation.probs,
        measures=evaluation,
        accounts=[account for engine in engines if (account := engine.account())],
        command=command,
        history=history(expand(evaluation.model)),
        flatters=_flatters(engines, evaluation),
        facts=facts,
        comparison=comparison,
        feedback={} if evaluation.members else feedback(engines[0].info),
        sample_range=engines[0].preprocessing.sample_range,
        features=feature_map(engines[0], evaluation.samples, user_cache()),
    )


def _flatters(engines: Sequence[Engine], evaluation: Evaluation) -> str:
    """What these images were to the models, as far as it is known: see `ReportData.flatters`."""
    trainings = [Learned.from_record(engine.data) for engine in engines]
    unknown = (
        engine.data and not learned for engine, learned in zip(engines, trainings, strict=True)
    )
    if evaluation.split == "cross-validated" or any(unknown):
        return evaluation.split
    every = reduce(or_, filter(None, trainings), Learned.nothing())
    trained = every.trained_on(evaluation.samples)
    if trained.any():
        return "train" if trained.all() else "all"
    return "val" if every.chose(evaluation.samples).any() else ""


def probabilities(
    engine: Engine,
    samples: Samples,
    count: int = 1,
    advance: Callable[[int, int], None] | None = None,
    cache: Cache | None = None,
    batch_size: int = BATCH,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Softmax of `engine`'s logits, averaged over `count` crops: plain (N, K), and with its temperature;
    and, for one crop, whether each image is like none of the classes (N,), if the engine knows.

    Single crops come from the `cache` where available; advance is called with the number of images
    done and their total. Raises InceptiveError, naming the file, for an image that cannot be decoded.
    """
    plain: list[np.ndarray] = []
    scaled: list[np.ndarray] = []
    novel: list[np.ndarray] = []
    done = 0
    for batch in _views(engine.preprocessing, samples, count, cache, max(1, batch_size // count)):
        logits, scores = engine.scored(batch) if count == 1 else (engine.logits(batch), None)
        if scores is not None:
            novel.append(scores > 0)
        for parts, temperature in ((plain, 1.0), (scaled, engine.temperature)):
            probs = metrics.softmax(logits, temperature)
            parts.append(probs.reshape(len(batch) // count, count, -1).mean(axis=1))
        done += len(batch) // count
        if advance:
            advance(done, len(samples))
    return np.concatenate(plain), np.concatenate(scaled), np.concatenate(novel) if novel else None


def _views(
    preprocessing: Preprocessing,
    samples: Samples,
    count: int,
    cache: Cache | None,
    images: int,
) -> Iterator[np.ndarray]:
    """Batches of views of so many `images`, `count` of each one after another, decoded ahead."""
    if count == 1:
        return in_order(samples, preprocessing, images, cache)

    def views(step: int) -> np.ndarray:
        indices = range(step * images, min((step + 1) * images, len(samples)))
        return np.concatenate([crops(preprocessing, samples.source(k), count) for k in indices])

    return prefetch(views, range(-(-len(samples) // images)), cores())


def label_order(classes: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, ...]:
    """A dataset's `classes` in order, then the model's `labels` that the dataset lacks.

    Raises InceptiveError, naming them, if some classes are unknown to the model.
    """
    indices = set(class_indices(classes, labels).tolist())
    return (*classes, *(label for k, label in enumerate(labels) if k not in indices))


def columns(order: tuple[str, ...], labels: tuple[str, ...]) -> list[int]:
    """The index of each label of `order` in a model's `labels`, the same ones in another order.

    ImageNet has two classes "crane": duplicates of a name keep their order.
    """
    indices: dict[str, deque[int]] = defaultdict(deque)
    for k, label in enumerate(labels):
        indices[label].append(k)
    return [indices[label].popleft() for label in order]
