"""Opening models together with labelled images.

A model is what `engines.open.open_engine` accepts: an engine (such as a `Classifier`), a model folder,
a published name, an exported file, a torchvision or timm net ("torchvision:resnet18@FILE"), a
third-party ONNX file. Several are a sequence, or a mapping from the names to give them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, cast

import numpy as np

from inceptive.data.depth import evaluation_notes, range_for
from inceptive.data.learned import Learned
from inceptive.data.open import open_data_for
from inceptive.data.source import Data, Samples, SplitFractions, images_of
from inceptive.engines.open import open_engine, tells_no_classes
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent

Model = str | Path | Engine
Models = Model | Sequence[Model] | Mapping[str, Model]


@dataclass(frozen=True)
class NamedModel:
    """A model, its name, and the engine to run it (see `open_engine`)."""

    name: str
    model: Model
    engine: str


def named(models: Models, engine: str = "auto") -> list[NamedModel]:
    """Each of `models` with its name; an engine is named after its net, the second of them with (2)."""
    if isinstance(models, Mapping | list | tuple) and not models:
        raise InceptiveError("there is no model: name at least one")
    if isinstance(models, Mapping):
        return [NamedModel(name, model, engine) for name, model in models.items()]
    several = models if isinstance(models, list | tuple) else [cast(Model, models)]
    names: list[str] = []
    for model in several:
        name = _name(model)
        if not isinstance(model, str | Path) and (before := names.count(name)):
            name += f" ({before + 1})"
        names.append(name)
    return [NamedModel(name, model, engine) for name, model in zip(names, several, strict=True)]


def _name(model: Model) -> str:
    if isinstance(model, str | Path):
        return str(model)
    return model.net.name if model.net else model.name


def open_models_and_data(
    models: Sequence[NamedModel],
    data: str | Path | Data,
    early_exit: bool = False,
    strict: bool = False,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> tuple[list[Engine], Data]:
    """Open the engine of each of `models`, and the data, split as the first model's was.

    Third-party nets adopt the classes of the data. Raises InceptiveError if one of them is
    unavailable.
    """
    progress = progress or Silent()
    engines: dict[int, Engine] = {}
    for k, named in enumerate(models):
        if not isinstance(named.model, str | Path) or not tells_no_classes(named.model):
            engines[k] = open_engine(named.model, named.engine, progress.say, early_exit)
    first = next(iter(engines.values()), None)
    record = first.data if first else {}
    labelled = open_data_for(data, record, strict, progress)
    for k, named in enumerate(models):
        if k in engines:
            _note_other_split(named.name, engines[k].data, record, progress)
        else:
            engines[k] = open_engine(named.model, note=progress.say, classes=labelled.classes)
            # What others' nets see of deep pictures is nobody's word but the data's, or our model's.
            sample_range = (
                first.preprocessing.sample_range if first else range_for(labelled.depth, None)
            )
            engines[k].preprocessing = replace(engines[k].preprocessing, sample_range=sample_range)
        for note in evaluation_notes(
            labelled.depth, engines[k].preprocessing.sample_range, named.name
        ):
            progress.say(f"note: {note}")
    return [engines[k] for k in range(len(models))], labelled


def _note_other_split(
    name: str, record: Mapping[str, Any], first: Mapping[str, Any], progress: Progress
) -> None:
    """Say so if `name` may have learned from what it is evaluated on: its set was divided otherwise."""
    own = record.get("shares")
    if not (own and first.get("shares")) or "pictures" in record:  # then `judged` knows
        return
    if SplitFractions.from_dict(own) != SplitFractions.from_dict(first["shares"]):
        progress.say(
            f"note: {name} was trained with another division of its data ({own}); if that was "
            "this set, it has learned some of these images"
        )


def judged(
    engines: Mapping[str, Engine], data: Data, split: str, progress: Progress
) -> tuple[Data, str]:
    """The dataset and split to evaluate `engines`, by their names, on: no picture that one of them has
    learned, as far as is known.

    split "" means unseen images: the test split of a dataset split by its owner or unknown to them, else
    all that is new to them. Learned images are left out of one split of such a dataset; "train", "all"
    and the splits of its owner are taken whole. `progress` reports how much was learned.
    """
    trainings = {name: Learned.from_record(engine.data) for name, engine in engines.items()}
    silent = [name for name in engines if not trainings[name] and engines[name].data.get("shares")]
    if data.of_files:
        for name in silent:
            progress.say(
                f"note: {name} does not tell which images it learned (it was trained from shards, or "
                "by an earlier version, which divided folders otherwise): some of those judged may be "
                "among them"
            )
    every = reduce(or_, filter(None, trainings.values()), Learned.nothing())
    if not len(every.train):
        return data, split or default_split(data)
    if not split:
        split = default_split(data)
        if data.divided and not silent:
            whole = data.split("all")
            seen = every.trained_on(whole) | every.chose(whole)
            alike = seen
            if whole.groups is not None:
                alike = np.isin(whole.groups, whole.groups[seen])
            new = whole.take(~alike)
            if len(new) and not _same(new, data.splits.get("test")):
                copies = int((alike & ~seen).sum())
                progress.say(
                    f"note: judging on all {len(new)} images of {data.name} that were not learned"
                    + (f"; {copies} near-copies of learned ones are left out" if copies else "")
                )
                return replace(data, splits={"new": new}), "new"
    samples = data.split(split)
    mask = every.trained_on(samples)
    if split == "test":
        mask |= every.chose(samples)
    if not mask.any():
        return data, split
    count = f"{mask.sum()} of {len(samples)} {images_of(split)} of {data.name} were learned from"
    if mask.all() or split in ("train", "all") or not data.divided:
        progress.say(f"note: {count}: their share of right answers is no measure of others")
        return data, split
    progress.say(f"note: {count} and are left out")
    return replace(data, splits={**data.splits, split: samples.take(~mask)}), split


def _same(some: Samples, others: Samples | None) -> bool:
    if others is None:
        return False
    return np.array_equal(np.sort(some.images.digests()), np.sort(others.images.digests()))


def default_split(data: Data) -> str:
    """The split that a dataset is evaluated on by default."""
    return next((split for split in ("test", "val") if len(data.splits.get(split, ()))), "all")
