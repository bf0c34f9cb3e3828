"""Models and labelled images, opened together.

A model is what `engines.open.open_engine` takes: an engine (a `Classifier`, say), a model folder, a
published name, an exported file, a peer's net ("torchvision:resnet18@FILE"), an ONNX file of others.
Several are a sequence, or a mapping from the names that they shall have.
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
from inceptive.data.source import Data, Samples, SplitFractions
from inceptive.engines.open import open_engine, tells_no_classes
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent

Model = str | Path | Engine
Models = Model | Sequence[Model] | Mapping[str, Model]


@dataclass(frozen=True)
class NamedModel:
    """A model, what to call it, and the engine that is to run it (see `open_engine`)."""

    name: str
    model: Model
    engine: str


def named(models: Models, engine: str = "auto") -> list[NamedModel]:
    """Each of `models` with its name; an engine without one is called after its net."""
    if isinstance(models, Mapping | list | tuple) and not models:
        raise InceptiveError("there is no model: name at least one")
    if isinstance(models, Mapping):
        return [NamedModel(name, model, engine) for name, model in models.items()]
    several = models if isinstance(models, list | tuple) else [cast(Model, models)]
    return [NamedModel(_name(model), model, engine) for model in several]


def _name(model: Model) -> str:
    if isinstance(model, str | Path):
        return str(model)
    account = model.account()
    return account.net.name if account else model.name


def open_models_and_data(
    models: Sequence[NamedModel],
    data: str | Path | Data,
    early_exit: bool = False,
    strict: bool = False,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> tuple[list[Engine], Data]:
    """The engine of each of `models`, and the data, divided as the first model's was.

    Nets of others take the classes of the data for their own. Raises InceptiveError if one of them
    cannot be had.
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
            shown = first.preprocessing.sample_range if first else range_for(labelled.depth, None)
            engines[k].preprocessing = replace(engines[k].preprocessing, sample_range=shown)
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
    """The set and the split that `engines`, by their names, are judged on: no picture that one of them
    has learned, as far as they tell.

    split "" is what none has seen: of a set divided by its person or unknown to them its test part, else
    all that is new to them. Of a part of such a set, what was learned is left out; "train", "all" and
    the parts of a set that its person divided are taken whole. `progress` is told how much was learned.
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
            new = whole.take(~(every.trained_on(whole) | every.chose(whole)))
            if len(new) and not _same(new, data.splits.get("test")):
                progress.say(
                    f"note: judging on all {len(new)} images of {data.name} that were not learned"
                )
                return replace(data, splits={"new": new}), "new"
    samples = data.split(split)
    mask = every.trained_on(samples)
    if split == "test":
        mask |= every.chose(samples)
    if not mask.any():
        return data, split
    what = "images" if split == "all" else f"{split} images"
    count = f"{mask.sum()} of {len(samples)} {what} of {data.name} were learned from"
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
    """The split that a set is evaluated on unless another is asked for."""
    return next((split for split in ("test", "val") if len(data.splits.get(split, ()))), "all")
