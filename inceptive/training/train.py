"""`train`: from a labelled dataset to a model folder, and the classifier in it."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inceptive.arch.spec import Net
from inceptive.arguments import checked
from inceptive.data.depth import training_notes
from inceptive.data.open import open_data, say_notes
from inceptive.data.source import Data
from inceptive.engines.classifier import JUDGED, Classifier
from inceptive.errors import InceptiveError
from inceptive.evaluation.evaluate import Evaluation, evaluate, report_data
from inceptive.io import store
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent, duration
from inceptive.metrics import softmax
from inceptive.report.write import REPORT, write_report
from inceptive.training import checkpoint
from inceptive.training.callbacks import Callback
from inceptive.training.choose import choose_recipe
from inceptive.training.distributed import World, lost
from inceptive.training.lock import LOCK, training_lock
from inceptive.training.loop import Paused as Paused
from inceptive.training.loop import Run
from inceptive.training.plan import paced
from inceptive.training.prepare import preprocessing_for, shares
from inceptive.training.probe import Start, is_cross_validated, probe
from inceptive.training.recipe import Changes, Recipe, as_pairs, refuse_unresumable, shipped

OF_EPOCHS = (
    "batch_size", "optimizer", "schedule", "loss", "aux", "augment", "ema", "stop.patience",
    "finetune.views", "finetune.lr_scale", "finetune.batch_norm", "data.random_interpolation",
    "data.workers", "speed.accumulate", "speed.checkpointing", "speed.sync_batch_norm",
)  # fmt: skip
"""What only epochs need, a key or a table: a probe alone does not."""


@checked
@torch.random.fork_rng(devices=[])  # what the caller draws next does not depend on a training
@torch.enable_grad()
def train(
    data: str | Path | Data,
    out: str | Path | None = None,
    recipe: str | Path | Recipe | None = None,
    net: str | Net | None = None,
    weights: str | Path | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    changes: Changes = (),
    resume: bool = False,
    seed: int | None = None,
    *,
    strict: bool = False,
    progress: Progress | None = ON_STANDARD_ERROR,
    callbacks: Sequence[Callback] = (),
    should_stop: Callable[[], bool] = lambda: False,
    command: str = "",
) -> Classifier:
    """Train on `data` and return the best classifier, which is also saved in the model folder `out`.

    data: a folder, URL or built-in dataset as for `open_data`, or a Data. out: a new or empty
    folder, by default "runs/" and the name of the data. recipe: a shipped recipe's name, a TOML file
    or a Recipe, by default one that fits the data. net: a net's name, "mynet.py:mynet" or a Net,
    instead of the recipe's. weights: a model folder or published name to start from, the default for
    photographs; "none": from scratch. minutes: the time that is planned for (a probe takes what it
    needs); epochs: how many at most; by default the recipe's.
    changes: {"optimizer.lr": 0.1}, applied after the recipe. strict: an unreadable image is an error.

    resume: continue from the checkpoint in `out`, with its recipe and the arguments given here; what
    cannot change midway is refused. should_stop is called after each step; once it returns True, the
    checkpoint is written and Paused raised. progress None is silent. command: what report.html, which
    is written on the validation images, gives to repeat it. Under torchrun, every process makes the
    same call; one writes and reports.

    Raises InceptiveError if the data, recipe, net or weights are unavailable or do not fit each other,
    if `out` is not free, and if training diverges.

    >>> clf = inceptive.train("photos", out="runs/photos", minutes=10)  # doctest: +SKIP
    >>> clf = inceptive.train("digits", out="runs/digits", epochs=1)
    >>> clf.info["data"]["name"]
    'digits'
    """
    began, out = time.monotonic(), expand(out) if out is not None else default_out(data)
    arguments = {
        "net": net.name if isinstance(net, Net) else net,
        "weights": None if weights is None else str(weights),
        "stop.minutes": minutes,
        "epochs": epochs,
        "seed": seed,
    }
    pairs = as_pairs(changes)
    pairs |= {key: value for key, value in arguments.items() if value is not None}
    if resume and pairs.get("weights") == "none":
        pairs["weights"] = ""
    world, value = World(), net if isinstance(net, Net) else None
    try:
        progress = progress if progress and world.is_main else Silent()
        # Another try of torchrun, after a process was lost, is the same training; one that found a
        # folder taken at its first try finds it taken at the next.
        again = world.broadcast(lambda: world.begun(str(out)))
        resume = world.broadcast(lambda: resume or (again and has_checkpoint(out)))
        if resume:
            values, done = world.broadcast(lambda: _begun(out))
            chosen = _resumed(values, done, recipe, pairs, out)
        else:
            if not again:
                world.broadcast(lambda: refuse_to_overwrite(out))
            chosen = choose_recipe(data, recipe, pairs, progress, value)
            say_unused(chosen, pairs, progress)
        if chosen.finetune.probe and not (resume or world.is_single):
            raise InceptiveError(
                "a probe is trained by one process: start it without torchrun, leave it out "
                "(finetune.probe=false), or train from scratch (weights none)"
            )
        data = _opened(data, chosen, strict, progress)
        # Not before the data is read: the folder may lie within, and is made here.
        with training_lock(out) if world.is_main else nullcontext():
            if not (resume or again):  # who had it until now may have left a model
                world.broadcast(lambda: refuse_to_overwrite(out))
            world.broadcast(lambda: world.begin(str(out)))
            start = logits = None
            if chosen.finetune.probe and not resume:
                chosen, start = _probed(chosen, data, out, world, began, progress)
            if start and not chosen.epochs:
                classifier, logits = Classifier.load(out), start.logits
            else:
                if not (start or resume):
                    pace = paced(chosen, data, value, world, began, progress)
                    chosen = world.broadcast(lambda: pace)
                run = Run(
                    chosen, data, out, value, resume, progress, callbacks, should_stop, start, began
                )
                classifier, logits = run.run(), run.best_logits
            if world.is_main:
                _report(classifier, data, out, command, progress, logits)
            progress.say(summary(classifier))
            return classifier
    except InceptiveError as error:
        if world.is_single:
            raise
        raise InceptiveError(f"{world.share}: {error}") from None
    except RuntimeError as error:
        if world.is_single or not (reason := lost(error)):
            raise
        raise InceptiveError(f"{world.share}: another process does not answer ({reason})") from None
    finally:
        world.leave()


def _opened(data: str | Path | Data, recipe: Recipe, strict: bool, progress: Progress) -> Data:
    """The data to train on, described, checked and divided as the recipe says."""
    if not isinstance(data, Data):
        data = open_data(str(data), shares(recipe), strict, progress)
    describe(data, progress)  # which may say why there is a single class
    data.check_classes()
    for note in training_notes(data.depth, preprocessing_for(recipe, data).sample_range):
        progress.say(f"note: {note}")
    return judged_by_itself(data, recipe, progress)


def say_unused(recipe: Recipe, requested: dict[str, Any], progress: Progress) -> None:
    """Name what was requested and a probe alone ignores."""
    unused = ", ".join(key for key in requested if key.startswith(OF_EPOCHS))
    if unused and not recipe.epochs:
        progress.say(f"note: epochs = 0 trains a probe alone, which ignores {unused}")


def _probed(
    recipe: Recipe,
    data: Data,
    out: Path,
    world: World,
    began: float,
    progress: Progress,
) -> tuple[Recipe, Start]:
    """A probe, which is saved in `out`, and the recipe of the epochs that follow it, if any."""
    if is_cross_validated(data):  # no images are left to choose an epoch by
        recipe = recipe.model_copy(update={"epochs": 0})
    start = probe(recipe, data, progress)
    chosen = start.recipe
    if chosen.epochs and not chosen.finetune.views:
        # How steps are fastest is found anew: the probe only went forward.
        chosen = chosen.model_copy(update={"speed": recipe.speed})
        chosen = paced(
            chosen, data, start.classifier.model.net, world, began, progress, behind=True
        )
    if not chosen.epochs:  # else it is saved where the training can be resumed from it: see `Run`
        start.save(out)
    return chosen, start


def _begun(out: Path) -> tuple[dict[str, Any], int]:
    """The recipe of the checkpoint in `out`, and how many epochs are done."""
    state = checkpoint.load(out)
    return state["recipe"], state["run"].get("epoch", 0)


def _resumed(
    values: dict[str, Any],
    done: int,
    recipe: str | Path | Recipe | None,
    changes: dict[str, Any],
    out: Path,
) -> Recipe:
    """The recipe of a checkpoint with what is requested now, if that can change on the way."""
    before = Recipe.of_checkpoint(values, out)
    now = before.changed(changes, recipe)
    if isinstance(recipe, str) and recipe in shipped():  # what its plan decided stays
        decided = {key for key in ("net", "small_net", "image_size") if key not in changes}
        now = now.model_copy(update={key: getattr(before, key) for key in decided})
    if now.weights == "published":  # which ones was decided when the training began
        now = now.model_copy(update={"weights": before.weights})
    if "epochs" in changes and now.stop.most_epochs:  # no longer as many as fit
        table = now.stop.model_copy(update={"most_epochs": 0})
        now = now.model_copy(update={"stop": table})
    most = max(now.epochs, now.stop.most_epochs)
    if most < done or (most == done and "epochs" in changes):  # else only its ending is left
        raise InceptiveError(
            f"{out}: {done} epochs are done; to go on, give more of them (epochs={done + 1})"
        )
    refuse_unresumable(before, now)  # before the data is read, and divided as `now` says
    return now


def has_checkpoint(out: Path) -> bool:
    """Whether training left a checkpoint in `out`."""
    return (out / checkpoint.CHECKPOINT).exists()


def refuse_to_overwrite(out: Path) -> None:
    """Raise InceptiveError if `out` contains anything."""
    if has_checkpoint(out):
        raise InceptiveError(
            f"{out}: holds a training that did not end; go on with it (resume), or give another "
            "folder (out)"
        )
    if out.exists() and not out.is_dir():
        raise InceptiveError(f"{out}: is a file; give another folder (out)")
    if out.exists() and ({path.name for path in out.iterdir()} - {LOCK}):
        raise InceptiveError(f"{out}: is not empty; give another folder (out)")


def default_out(data: str | Path | Data) -> Path:
    """runs/photos for sets/photos/ and https://host/photos?v=1, runs/solar for solar:grades."""
    name = data.name if isinstance(data, Data) else str(data)
    if store.is_uri(name):
        word = store.redact(name).rstrip("/").rpartition("/")[2]
    else:
        word = Path(name.partition(":")[0]).name
    return Path("runs") / (word or "model")


def describe(data: Data, progress: Progress) -> None:
    """Report what will be trained on, and everything wrong with it."""
    counts = ", ".join(f"{len(samples)} {split}" for split, samples in data.splits.items())
    progress.say(
        f"{data.name}: {len(data.classes)} classes, images: {counts}"
        + (f"; licence {data.licence}" if data.licence else "")
    )
    per_class = data.counts("train")
    if len(data.classes) <= 20:
        listed = ", ".join(f"{n} {c}" for n, c in zip(per_class, data.classes, strict=True))
        progress.say(f"to train on: {listed}")
    least, most = int(per_class.min()), int(per_class.max())
    if most > 1.5 * least:
        progress.say(
            f"unbalanced: the largest class has {most / max(least, 1):.1f} times the images of the "
            "smallest; data.balance weighs the loss"
        )
    say_notes(data, progress)


def judged_by_itself(data: Data, recipe: Recipe, progress: Progress) -> Data:
    """Return `data`; if too small to hold images out, validated on its training images: a probe by
    cross-validation, and then also if fewer than finetune.few were split off."""
    if not recipe.data.val:
        return data
    train, val, table = data.split("train"), data.splits.get("val", ()), recipe.finetune
    if len(val) and not (table.probe and data.divided and len(val) < table.few):
        return data
    if len(val):
        train = train.join([data.split("val")], data.name)
    progress.say(
        f"note: {len(train)} images of {len(data.classes)} classes are too few to hold any out: the "
        "model "
        + (
            "learns from all of them, and its accuracy is from cross-validation; no epochs follow"
            + (f" (finetune.few=0 holds {len(val)} out)" if len(val) else "")
            if table.probe
            else "is validated on the images it learns from, so its accuracy says little; 10 of each "
            "class or more are better"
        )
    )
    return replace(data, splits={**data.splits, "train": train, "val": train})


def _report(
    classifier: Classifier,
    data: Data,
    out: Path,
    command: str,
    progress: Progress,
    logits: np.ndarray | None = None,
) -> None:
    """`report.html` in the model folder, on the validation images, whose `logits` (N, K) may be known.

    The model is written by then: where the page cannot be had, it says why and the training stands.
    """
    try:
        if logits is None:
            evaluation = evaluate({str(out): classifier}, data, "val", progress=progress)
        else:
            probs = softmax(logits), softmax(logits, classifier.temperature)
            judged = classifier.info["metrics"]["split"]
            split = {"val": "val", "train": "train", "folds": "cross-validated"}[judged]
            evaluation = Evaluation.from_probs(
                *probs, data.classes, data.split("val"), model=str(out), engine=classifier.name,
                data=data.name, split=split, crops=1,
            )  # fmt: skip
            if judged == "folds":  # which no evaluation repeats
                command = command or f"inceptive.train({data.name!r}, {str(out)!r})"
        write_report(out, report_data(evaluation, [classifier], data, command))
        progress.say(f"written: {out / REPORT}")
    except InceptiveError as error:
        progress.say(f"note: no {REPORT}: {error}")


def summary(classifier: Classifier) -> str:
    """How well a trained model does, in one line."""
    metrics, training = classifier.info["metrics"], classifier.info["training"]
    low, high = metrics["top1_interval"]
    warning = ""
    if metrics["top1"] <= metrics["baseline"]:
        warning = f"; always answering the largest class is right for {metrics['baseline']:.2%}"
    best = f"best epoch {training['epoch']}" if training["epoch"] else "linear probe"
    return (
        f"{best}: {metrics['top1']:.2%} of {metrics['count']} "
        f"{JUDGED[metrics['split']][0]} images right "
        f"(95 % interval {low:.1%} to {high:.1%}), after {duration(training['seconds'])}{warning}"
    )
