"""A linear probe: published layers stay frozen, and one linear layer learns from their maps.

Alain and Bengio, arXiv:1610.01644. Every image runs through the net once; a multinomial logistic
regression reads the averages and maxima of the maps of a few consecutive modules. Validation picks the
modules and the strength of the weight penalty. The classifier is the net up to the last of them: an
ordinary value (`Net.reading`) with an ordinary model, and cheaper than the whole net.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inceptive.arch.account import account, shapes
from inceptive.arch.spec import Add, Group, Net, gives_vector
from inceptive.data.cache import user_cache
from inceptive.data.pictures import in_order
from inceptive.data.source import Data
from inceptive.data.split import folds_of
from inceptive.engines.classifier import JUDGED, Classifier
from inceptive.engines.novelty import Novelty
from inceptive.errors import InceptiveError
from inceptive.io.atomic import write_text
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent, duration
from inceptive.nn import Model, build
from inceptive.training import feedback
from inceptive.training.calibration import calibrated
from inceptive.training.distributed import device
from inceptive.training.frozen import BATCH, FrozenMaps
from inceptive.training.history import RunState, as_csv, environment, record, validation_row
from inceptive.training.objective import class_weights
from inceptive.training.plan import (
    CHOOSING,
    ENLARGED_BEHIND,
    not_much_enlarged,
    planned,
    shorter_side,
    some_of_each,
    spread,
)
from inceptive.training.prepare import preprocessing_for
from inceptive.training.recipe import Recipe

PENALTIES = (1.0, 3e-1, 1e-1, 3e-2, 1e-2, 1e-3)
"""Of the squared weights, beside the mean loss of an image; the modules are picked with FIRST."""
FIRST = 3e-2
STEPS, CHOOSING_STEPS = 100, 30
"""Of L-BFGS for the probe that is kept, and for those that choose modules and penalty."""
FIRST_LOOK = 10_000
"""Images times classes, at most, for which a first look by five folds and STEPS takes seconds."""
FEEDBACK = 200_000
"""Images to learn from times classes, at most, for which feedback takes seconds and not minutes."""
TIMED, TIMED_STEPS, TRIES = 512, 10, 4
"""Images and steps that tell how long a probe takes, and how often they are tried."""
SPAN = 5
"""Modules in a row that are read together."""
HISTORY = 2**30
"""Bytes that L-BFGS keeps of earlier steps, about: two vectors of all weights for each."""


@dataclass(frozen=True)
class LinearProbe:
    """logits = features @ weight.T + bias: weight (K, F), bias (K,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        return F.linear(features, self.weight, self.bias)


@dataclass(frozen=True)
class Start:
    """The starting point of training from given weights: the part of their net whose probe is best.

    recipe is complete, including what was left to be planned. classifier has the probe as its last
    layer; `row`, as in the history, and the validation images' `logits` (N, K) are its results, and
    `details` is what else the model folder keeps. frozen computes the maps where learning begins.
    """

    recipe: Recipe
    classifier: Classifier
    row: dict[str, float]
    logits: np.ndarray
    details: dict[str, Any]
    frozen: FrozenMaps

    def save(self, out: Path) -> None:
        """Write the probe's model folder, and its row of history."""
        self.classifier.save(out)
        write_text(out / "history.csv", as_csv([self.row]))


def probe(recipe: Recipe, data: Data, progress: Progress | None = ON_STANDARD_ERROR) -> Start:
    """Fit a linear probe to modules of the recipe's `weights`; the net ends at the best.

    Where `data` is validated on the very images that it is trained on, the probes that are judged are
    each of four fifths of them, and answer for the rest (cross-validation); what is kept is one of all.

    Raises InceptiveError if no weights are named or they are unavailable, if they belong to another net
    than the recipe's, and if the recipe's images are too small for it.
    """
    progress, started = progress or Silent(), time.monotonic()
    source = _source(recipe, progress)
    net, modules = source.model.net, modules_of(source.model.net)
    side = shorter_side(data.split("train"))
    recipe = not_much_enlarged(recipe, net, side, ENLARGED_BEHIND)
    images = len(data.split("train")) + len(data.split("val"))
    recipe = calibrated(recipe, source.model, device(), False, images, progress)
    recipe, modules = _planned(recipe, data, source.model, modules, started, progress)
    cache = user_cache() if recipe.data.cache else None
    preprocessing, first = preprocessing_for(recipe, data), modules[0]
    options = preprocessing, recipe.speed, cache, progress
    reader = FrozenMaps(source.model, modules[-1], *options, read=modules)
    samples, val = data.split("train"), data.split("val")
    train_features = _columns(reader.centres(samples, "training"), source.model, modules)
    folds = torch.from_numpy(folds_of(samples)) if is_cross_validated(data) else None
    kind = kind_of(data)
    val_features = train_features
    if folds is None:
        maps = reader.centres(val, "validation", exact=True)
        val_features = _columns(maps, source.model, modules)
    targets = torch.from_numpy(samples.targets if recipe.data.soft else samples.labels)
    weights = class_weights(torch.from_numpy(data.counts("train")), recipe.data.balance)

    some = torch.from_numpy(spread(np.arange(len(samples)), CHOOSING))

    def probed(
        last: int, penalty: float, some: Tensor | slice = slice(None), steps: int = STEPS
    ) -> tuple[dict[str, float], LinearProbe, Tensor, np.ndarray]:
        def learned(features: Tensor, targets: Tensor) -> LinearProbe:
            return fit(features, targets, len(data.classes), penalty, weights, steps)

        read = _joined(train_features, modules[:last], some)
        linear = learned(read, targets[some])
        features = _joined(val_features, modules[:last])
        answers = linear(features)
        if folds is not None:
            answers = _answers(learned, read, targets, features, folds)
        logits = answers.numpy()
        return validation_row(logits, val.labels), linear, features, logits

    def rank(last: int, penalty: float) -> tuple[float, float]:
        row, *_ = probed(last, penalty, some, CHOOSING_STEPS)
        return row["val_top1"], -row["val_loss"]

    # Few images: a choice by them is worse than none (docs/log.md).
    ends = range(1, len(modules) + 1) if folds is None else [len(modules)]
    scores = {last: rank(last, FIRST) for last in ends}
    best = max(scores, key=lambda last: scores[last][1])  # the loss depends less on chance
    for last, (top1, loss) in scores.items():
        mark = "  best" if last == best else ""
        progress.say(
            f"probe of {first} to {modules[last - 1]}: {top1:.1%} of {kind} right, "
            f"loss {-loss:.3f}{mark}"
        )
    penalty = FIRST if folds is not None else max(PENALTIES, key=partial(rank, best))
    row, linear, features, logits = probed(best, penalty)
    end = modules[best - 1]
    pair = train_features[end].float(), val_features[end].float()
    advice = _feedback(*pair, penalty, data, folds, progress)
    model = _model(source, modules[:best], linear).eval()
    seconds = time.monotonic() - started
    row = {"epoch": 0, **row, "seconds": round(seconds, 2)}
    run = RunState(seconds=seconds, history=[row])
    temperature, info = record(recipe, data, run, logits, val.labels)
    details = {
        "probe": {"modules": list(modules[:best]), "penalty": penalty},
        "feedback": advice,
    }
    info["training"] |= environment() | {"device": str(device())} | details
    if folds is not None:
        info["metrics"]["split"] = "folds"
    if novelty := Novelty.fit(features.numpy(), logits):
        info["novelty"] = novelty.to_dict()
    classifier = Classifier(model, preprocessing, data.classes, temperature, info)
    progress.say(
        f"the net ends after {end}: {account(model.net).macs / account(net).macs:.0%} of "
        f"{net.name}'s multiply-adds; {row['val_top1']:.1%} of {kind} images right after "
        f"{duration(seconds)}"
    )
    frozen = FrozenMaps(source.model, first, *options)
    return Start(recipe, classifier, row, logits, details, frozen)


def is_cross_validated(data: Data) -> bool:
    """Whether a probe is judged by the very images that it learns from, and so by cross-validation."""
    return data.split("val") is data.split("train")


def kind_of(data: Data) -> str:
    """What a person should read of the images that a probe is judged by."""
    return JUDGED["folds" if is_cross_validated(data) else "val"][0]


def _sides(folds: Tensor | None) -> list[tuple[Tensor | slice, Tensor | slice]]:
    """What to learn from and what to judge by, in turn."""
    numbers = [] if folds is None else np.unique(folds).tolist()
    if len(numbers) < 2:  # one is of a single picture and its copies
        return [(slice(None), slice(None))]
    return [(folds != number, folds == number) for number in numbers]


def _answers(
    fit: Callable[[Tensor, Tensor], LinearProbe],
    features: Tensor,
    targets: Tensor,
    judged: Tensor,
    folds: Tensor | None,
) -> Tensor:
    """Logits (M, K) of `judged` (M, F) by a probe of features (N, F); with folds, which are of both,
    each by a probe of the other folds."""
    parts = [
        (held, fit(features[rest], targets[rest])(judged[held])) for rest, held in _sides(folds)
    ]
    logits = torch.empty(len(judged), parts[0][1].shape[1])
    for held, part in parts:
        logits[held] = part
    return logits


def _feedback(
    features: Tensor,
    val_features: Tensor,
    penalty: float,
    data: Data,
    folds: Tensor | None,
    progress: Progress,
) -> dict[str, Any]:
    """What probes of one module say of the images, told to a person and for the report."""
    samples, val, classes = data.split("train"), data.split("val"), data.classes
    if len(samples) * len(classes) > FEEDBACK:
        return {}

    def fitted(some: Tensor, labels: Tensor) -> LinearProbe:
        return fit(some, labels, len(classes), penalty)

    labels, truth = torch.from_numpy(samples.labels), torch.from_numpy(val.labels)
    sides = _sides(folds)
    curve = feedback.learning_curve(
        fitted,
        [(features[rest], labels[rest], val_features[held], truth[held]) for rest, held in sides],
    )
    every = _answers(fitted, features, labels, val_features, folds).argmax(1).numpy()
    count = len(samples) - (len(samples) // len(sides) if len(sides) > 1 else 0)
    curve.append((count, float((every == val.labels).mean())))
    hits = np.bincount(val.labels[every == val.labels], minlength=len(classes))
    recalls = hits / np.maximum(data.counts("val"), 1)
    mislabelled = feedback.suspects(fitted, features, samples, classes)
    feedback.say(curve, len(val), recalls.tolist(), classes, mislabelled, progress)
    return {"curve": curve, "suspects": mislabelled}


def _source(recipe: Recipe, progress: Progress) -> Classifier:
    """The recipe's weights. Raises InceptiveError if nothing can be learned from their maps."""
    source = Classifier.load(recipe.weights, progress=progress)
    net = source.model.net
    if recipe.net != net.name:
        raise InceptiveError(
            f"weights {recipe.weights}: are for {net.name}, not for {recipe.net}; a probe learns from "
            "the maps of the net they were trained in: leave net out"
        )
    source = replace(source, model=_trunk(source.model))
    net = source.model.net
    account(net, recipe.image_size)  # too small a picture is refused here, in words
    if not modules_of(net):
        raise InceptiveError(f"{net.name} has no modules whose maps a probe could learn from")
    source.model.to(device())
    return source


def _trunk(model: Model) -> Model:
    """The model that a probe was made of, its modules in a row, with a last layer that knows nothing;
    any other as it is."""
    net = model.net.unread()
    if net is model.net:
        return model
    trunk, parts = build(net), dict(net.body)
    for full, _ in model.net.trunk():
        if (name := full.rpartition(".")[2]) in parts and name != net.last:
            trunk.get_submodule(name).load_state_dict(model.get_submodule(full).state_dict())
    return trunk.eval()


def _planned(
    recipe: Recipe,
    data: Data,
    model: Model,
    modules: list[str],
    started: float,
    progress: Progress,
) -> tuple[Recipe, list[str]]:
    """The recipe that the time is enough for, and the modules to read.

    Some images of each class go through the whole net: a first probe of SPAN modules in a row, and
    how long one image takes.
    """
    preprocessing, classes = preprocessing_for(recipe, data), len(data.classes)
    reader = FrozenMaps(
        model, modules[-1], preprocessing, recipe.speed, None, progress, read=modules
    )
    features, labels, seconds, count = [], [], 0.0, 0
    folded = is_cross_validated(data)
    looked_at = [
        samples.take(some_of_each(samples.labels, classes))
        for samples in map(data.split, ("train",) if folded else ("train", "val"))
    ]
    total = sum(map(len, looked_at))
    for samples in looked_at:
        folds = torch.from_numpy(folds_of(samples)) if folded else None
        labels.append(torch.from_numpy(samples.labels))
        read = []
        for squares in in_order(samples, preprocessing, BATCH):
            before = time.monotonic()
            read.append(reader.compute(squares, reader.speed))
            if count:  # the first batch is slower than all others
                seconds += time.monotonic() - before
            count += len(squares)
            progress.advance("a first look", count, total)
        features.append(_columns(torch.cat(read), model, modules))
    scores = {}
    judged, many = labels[-1], len(labels[0]) * classes > FIRST_LOOK
    learned = partial(fit, classes=classes, penalty=FIRST, steps=CHOOSING_STEPS if many else STEPS)
    if many and folds is not None:
        folds = folds % 2
    for at in range(len(modules)):
        read = [_joined(split, modules[at : at + SPAN]) for split in features]
        logits = _answers(learned, read[0], labels[0], read[-1], folds)
        loss = float(F.cross_entropy(logits, judged))
        scores[at] = loss, float((logits.argmax(1) == judged).float().mean())
    best = min(range(max(1, len(modules) - SPAN + 1)), key=lambda at: scores[at][0])
    if wanted := recipe.finetune.freeze:
        if wanted not in modules:
            raise InceptiveError(
                f"finetune.freeze = {wanted!r}: {model.net.name} has no such module; "
                f"there are: {', '.join(modules)}"
            )
        best = modules.index(wanted)
    progress.say(
        f"first look, after {duration(time.monotonic() - started)}: with {len(labels[0])} images to "
        f"learn from, {scores[best][1]:.0%} of {len(judged)} {kind_of(data)} images right"
    )
    window = modules[best : best + SPAN]
    through = max(seconds, 1e-6) / max(count - BATCH, 1)
    numbers = sum(features[0][module].shape[1] for module in window)
    learned_from = len(data.split("train"))
    if fits_in_span(learned_from, numbers, classes, STEPS):
        numbers = learned_from
    fitting = _seconds_to_fit(numbers, classes)
    return planned(recipe, data, model.net, through, started, window, fitting, progress), window


def _seconds_to_fit(numbers: int, classes: int) -> float:
    """Seconds that `regression` takes on this machine for each image of so many numbers."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(TIMED, numbers, generator=generator)
    targets = F.one_hot(torch.arange(TIMED) % classes, classes).float()
    times = []
    for _ in range(TRIES):  # the first is slower than all others, and other work may disturb some
        before = time.monotonic()
        regression(features, targets, FIRST, TIMED_STEPS)
        times.append(time.monotonic() - before)
    return min(times) / TIMED * STEPS / TIMED_STEPS


def modules_of(net: Net) -> list[str]:
    """The modules of `net` that output maps: groups and residuals of its body, by name."""
    names, vector = [], False
    for name, part in net.body:
        vector = gives_vector(part, vector, name)
        if isinstance(part, Group | Add) and not vector:
            names.append(name)
    return names


def _columns(read: Tensor, model: Model, modules: Sequence[str]) -> dict[str, Tensor]:
    """What was read of each of `modules`: (N, 2 C), out of (N, F, 1, 1) of all of them."""
    after = shapes(model.net, model.net.image_size)
    widths = [2 * after[module][0] for module in modules]
    return dict(zip(modules, torch.split(read.flatten(1), widths, 1), strict=True))


def _joined(
    columns: dict[str, Tensor], modules: Sequence[str], some: Tensor | slice = slice(None)
) -> Tensor:
    """`some` rows of the columns of `modules`, side by side in float32."""
    return torch.cat([columns[module][some] for module in modules], 1).float()


def fit(
    features: Tensor,
    targets: Tensor,
    classes: int,
    penalty: float,
    class_weight: Tensor | None = None,
    steps: int = STEPS,
) -> LinearProbe:
    """Fit a multinomial logistic regression of targets (N,), or (N, K) of probabilities, on (N, F).

    It minimises the class-weighted mean cross-entropy plus `penalty` times the sum of squared weights,
    on features standardised to mean 0 and deviation 1; the bias is not penalised. The result takes the
    original features.
    """
    mean, deviation = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
    scaled = (features - mean).div_(deviation)
    if targets.ndim == 1:
        targets = F.one_hot(targets, classes).float()
    shares = targets if class_weight is None else targets * class_weight
    if fits_in_span(len(scaled), scaled.shape[1], classes, steps):
        basis, axes = torch.linalg.qr(scaled.T)
        weight, bias = regression(axes.T, shares, penalty, steps)
        weight = weight @ basis.T
    else:
        weight, bias = regression(scaled, shares, penalty, steps)
    return LinearProbe(weight / deviation, bias - weight @ (mean / deviation))


def fits_in_span(images: int, numbers: int, classes: int, steps: int) -> bool:
    """Whether so many steps take less work in the axes that the images span, in which the best weights
    lie, with what it takes to find these (QR)."""
    more = numbers - images
    return more > images and steps * classes * more > 4 * numbers * images


def regression(scaled: Tensor, shares: Tensor, penalty: float, steps: int) -> tuple[Tensor, Tensor]:
    """The weight (K, F) and bias (K,) of `fit`, for standardised features (N, F) and the weighted shares
    of the classes (N, K)."""
    weight = torch.zeros(shares.shape[1], scaled.shape[1], requires_grad=True)
    bias = torch.zeros(shares.shape[1], requires_grad=True)
    history = max(10, min(100, HISTORY // (8 * weight.numel())))
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=steps, history_size=history, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        logs = F.linear(scaled, weight, bias).log_softmax(1)
        value = -(shares * logs).sum() / len(scaled) + penalty * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def _model(source: Classifier, modules: Sequence[str], linear: LinearProbe) -> Model:
    """The net that reads `modules`, with the weights of `source` and `linear` at its end."""
    whole = source.model
    model = build(whole.net.without_aux().reading(modules).with_classes(len(linear.bias)))
    parts = [name for name, _ in whole.net.body]
    for part in parts[: parts.index(modules[-1]) + 1]:
        module = model.get_submodule(model.net.layer(part))
        module.load_state_dict(whole.get_submodule(part).state_dict())
    end = model.get_submodule(model.net.last)
    end.load_state_dict({"weight": linear.weight, "bias": linear.bias})
    return model.to(device())
