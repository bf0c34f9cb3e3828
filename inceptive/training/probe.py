"""A linear probe: published layers stay as they are, and one linear layer learns from their maps.

Alain and Bengio, arXiv:1610.01644. Every image runs through the net once; the maps of each module,
averaged over height and width, are what a multinomial logistic regression learns from. Validation
picks the module, and how strongly the weights are held small. The classifier is the net up to that
module: an ordinary value with an ordinary model, and cheaper than the whole net.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from inceptive.arch.account import account
from inceptive.arch.spec import Add, Group, Net, gives_vector
from inceptive.data.cache import user_cache
from inceptive.data.pictures import in_order
from inceptive.data.source import Data, Samples
from inceptive.engines.classifier import Classifier
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.io.atomic import write_text
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent, duration
from inceptive.nn import Model, build
from inceptive.training.history import RunState, as_csv, environment, record, validation_row
from inceptive.training.objective import class_weights
from inceptive.training.prepare import preprocessing_for, start_from
from inceptive.training.recipe import Recipe

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Of the squared weights, beside the mean loss of an image; the module is picked with FIRST."""
FIRST = 1e-2
STEPS = 100


@dataclass(frozen=True)
class Linear:
    """logits = features @ weight.T + bias: weight (K, F), bias (K,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        return F.linear(features, self.weight, self.bias)


def train_probe(
    recipe: Recipe,
    data: Data,
    out: Path,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Classifier:
    """The classifier of the module of the recipe's `weights` whose probe validates best, as saved.

    Raises InceptiveError if the weights cannot be had, if they are of another net
    than the recipe's, and if the recipe's images are too small for it.
    """
    progress, started = progress or Silent(), time.monotonic()
    source = Classifier.load(recipe.weights, progress=progress)
    net = source.model.net
    if recipe.net != net.name:
        raise InceptiveError(
            f"weights {recipe.weights}: are for {net.name}, not for {recipe.net}; a probe learns from "
            "the maps of the net they were trained in: leave net out"
        )
    account(net, recipe.image_size)  # too small a picture is refused here, in words
    preprocessing = preprocessing_for(recipe, data)
    modules = modules_of(net)
    if not modules:
        raise InceptiveError(f"{net.name} has no modules whose maps a probe could learn from")
    train, val = (
        averages(source.model, modules, data.split(split), preprocessing, recipe, progress)
        for split in ("train", "val")
    )
    samples, labels = data.split("train"), data.split("val").labels
    targets = torch.from_numpy(samples.targets if recipe.data.soft else samples.labels)
    weights = class_weights(torch.from_numpy(data.counts("train")), recipe.data.balance)

    def probed(module: str, penalty: float) -> tuple[dict[str, float], Linear]:
        linear = fit(train[module], targets, len(data.classes), penalty, weights)
        return validation_row(linear(val[module]).numpy(), labels), linear

    def rank(module: str, penalty: float) -> tuple[float, float]:
        row, _ = probed(module, penalty)
        return row["val_top1"], -row["val_loss"]

    scores = {module: rank(module, FIRST) for module in modules}
    best = max(modules, key=lambda module: scores[module])
    for module in modules:
        mark = "  best" if module == best else ""
        progress.say(f"probe of {module}: {scores[module][0]:.1%} of validation images right{mark}")
    penalty = max(PENALTIES, key=partial(rank, best))
    row, linear = probed(best, penalty)
    model = _model(source, best, linear, recipe.weights)
    seconds = time.monotonic() - started
    run = RunState(epoch=1, seconds=seconds, history=[{"epoch": 1, **row, "seconds": seconds}])
    logits = linear(val[best]).numpy()
    temperature, info = record(recipe, data, run, logits, labels)
    info["training"] |= environment() | {"probe": {"module": best, "penalty": penalty}}
    classifier = Classifier(model.eval(), preprocessing, data.classes, temperature, info)
    classifier.save(out)
    write_text(out / "history.csv", as_csv(run.history))
    progress.say(
        f"the net ends after {best}: {account(model.net).macs / account(net).macs:.0%} of "
        f"{net.name}'s multiply-adds; trained in {duration(seconds)}"
    )
    return Classifier.load(out)


def modules_of(net: Net) -> list[str]:
    """The modules of `net` that give maps: groups and residuals of its body, by name."""
    names, vector = [], False
    for name, part in net.body:
        vector = gives_vector(part, vector, name)
        if isinstance(part, Group | Add) and not vector:
            names.append(name)
    return names


def averages(
    model: Model,
    modules: Sequence[str],
    samples: Samples,
    preprocessing: Preprocessing,
    recipe: Recipe,
    progress: Progress,
) -> dict[str, Tensor]:
    """The maps of each of `modules`, averaged over height and width: (N, C) for N samples in order."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows: dict[str, list[Tensor]] = {module: [] for module in modules}
    cache = user_cache() if recipe.data.cache else None
    workers, done = recipe.data.workers, 0
    for batch in in_order(samples, preprocessing, recipe.batch_size, cache, workers):
        images = preprocessing.normalise(torch.from_numpy(batch).to(device))
        with torch.inference_mode():
            maps = model.endpoints(images.contiguous(memory_format=torch.channels_last), modules)
        for module in modules:
            rows[module].append(maps[module].mean((2, 3)).cpu())
        done += len(batch)
        progress.advance("computing maps", done, len(samples))
    return {module: torch.cat(parts).clone() for module, parts in rows.items()}


def fit(
    features: Tensor,
    targets: Tensor,
    classes: int,
    penalty: float,
    class_weight: Tensor | None = None,
) -> Linear:
    """The multinomial logistic regression of targets (N,), or (N, K) of probabilities, on (N, F).

    It makes the mean cross-entropy, in which each class has its weight, plus `penalty` times the sum of
    the squared weights small, on features brought to mean 0 and deviation 1; the bias is free. What is
    returned takes the features as they are.
    """
    mean, deviation = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
    scaled = (features - mean) / deviation
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    if targets.ndim == 1:
        targets = F.one_hot(targets, classes).float()
    shares = targets if class_weight is None else targets * class_weight
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logs = F.linear(scaled, weight, bias).log_softmax(1)
        value = -(shares * logs).sum() / len(scaled) + penalty * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    weight, bias = weight.detach(), bias.detach()
    return Linear(weight / deviation, bias - weight @ (mean / deviation))


def _model(source: Classifier, module: str, linear: Linear, name: str) -> Model:
    """The net up to `module` with the weights of `source`, and `linear` as its last layer."""
    classes = len(linear.bias)
    model = build(source.model.net.without_aux().ending_at(module).with_classes(classes))
    start_from(model, source, name)
    last = model.get_submodule(model.net.last)
    last.load_state_dict({"weight": linear.weight, "bias": linear.bias})
    return model
