"""From a recipe and a labelled set to the inputs of the loop: batches, net, preprocessing."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from inceptive.arch import nets
from inceptive.arch.account import account
from inceptive.arch.spec import AvgPool, Net
from inceptive.data.cache import Cache, user_cache
from inceptive.data.depth import range_for
from inceptive.data.loading import (
    Batches,
    RandomCrop,
    Rank,
    fits_in_memory,
    in_memory,
    memory_for,
)
from inceptive.data.pictures import CachedImages, ModelInputs
from inceptive.data.shards.member import TarImages
from inceptive.data.source import Data, Samples, SplitFractions
from inceptive.data.streaming import StreamBatches
from inceptive.engines.classifier import Classifier, described
from inceptive.engines.folder import read_config
from inceptive.engines.header import folder_of
from inceptive.errors import InceptiveError
from inceptive.images import FILTERS, Preprocessing
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Advance, Progress
from inceptive.nn import Model, build
from inceptive.training.frozen import FrozenMaps, MapBatches, ViewBatches
from inceptive.training.muon import Muon
from inceptive.training.recipe import Recipe
from inceptive.weights.catalogue import catalogue
from inceptive.weights.load import fetch, first_choice, named_weights


@dataclass(frozen=True)
class Loaders:
    """Batches for training, and images for validation."""

    train: Batches | StreamBatches
    val: Samples
    val_images: Tensor | None  # (N, C, S, S) of uint8, if they fit in memory; or maps, of float32
    cache: Cache | None = None  # where decoded images are kept, if the recipe wants it


def shares(recipe: Recipe) -> SplitFractions:
    return SplitFractions(recipe.data.val, recipe.data.test, recipe.data.copies)


def preprocessing_for(recipe: Recipe, data: Data) -> Preprocessing:
    """The preprocessing of this recipe for the images of `data`, in training and afterwards.

    Raises InceptiveError if there is no single range for the samples of its deep images.
    """
    table = recipe.data
    channels = table.channels or data.channels
    wanted = (table.sample_range[0], table.sample_range[1]) if table.sample_range else None
    return Preprocessing(
        size=recipe.image_size,
        channels=channels,
        crop=table.crop,
        interpolation=table.interpolation,
        mean=_for_channels(table.mean, channels),
        std=_for_channels(table.std, channels),
        sample_range=range_for(data.depth, wanted),
    )


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One number for each channel; the mean of three for grey images."""
    if len(values) == channels:
        return values
    return (sum(values) / len(values),) * channels


def loaders_for(
    recipe: Recipe,
    data: Data,
    preprocessing: Preprocessing,
    advance: Advance | None = None,
    share: Rank = Rank(),
    frozen: FrozenMaps | None = None,
) -> Loaders:
    """Make batches of `data` for the recipe. Raises InceptiveError without a validation split.

    Each of several processes takes its `share` of every batch. With `frozen`, possible in a single
    process only, they are the maps of its layers, computed once.
    """
    samples, val = data.split("train"), data.split("val")
    if not recipe.data.soft:
        samples = replace(samples, soft=None)
    cache = user_cache() if recipe.data.cache else None
    table, size, seed = recipe.augment, recipe.batch_size, recipe.seed
    kinds = tuple(FILTERS) if recipe.data.random_interpolation else ()
    crop = RandomCrop(preprocessing, table.area, table.aspect, kinds)
    if frozen:
        return Loaders(
            MapBatches(samples, crop, recipe, frozen), val, frozen.centres(val, "validation", True)
        )
    train: Batches | StreamBatches
    if recipe.finetune.views:
        train = ViewBatches(samples, crop, recipe, cache, share)
    else:
        pictures = CachedImages(samples, crop.spec, cache)
        if small := fits_in_memory(pictures, share):
            pictures.keep_in_memory(memory_for(share), advance)
        if small or not isinstance(samples.images, TarImages):
            train = Batches(pictures, crop, size, seed, recipe.data.workers, share)
        else:
            train = StreamBatches(samples, crop, size, seed, recipe.data.workers, share)
    val_images = None
    if fits_in_memory(CachedImages(val, ModelInputs(preprocessing), cache), share):
        val_images = in_memory(val, preprocessing, advance, cache)
    return Loaders(train, val, val_images, cache)


def as_weights_expect(recipe: Recipe, progress: Progress | None = ON_STANDARD_ERROR) -> Recipe:
    """Return `recipe` with what it leaves open taken from its weights: net, channels, mean and std.

    weights = "published" are the first in the catalogue that fit the recipe's net; if it names no
    net, the first of FIRST_CHOICES that is in the cache, else the first of them, which is downloaded.
    Raises InceptiveError if there are none, or if the model folder is not one.
    """
    if not recipe.weights:
        return recipe
    name = recipe.weights
    if name == "published" and "net" not in recipe.model_fields_set:
        name = first_choice()
        fetch(catalogue()[name], progress)
    elif name == "published":
        name = next((each.name for each in catalogue().values() if each.net == recipe.net), "")
        if not name:
            raise InceptiveError(f"no weights are published for {recipe.net}; see `inceptive nets`")
    folder = folder_of(expand(name))
    if not folder.is_dir() and (weights := named_weights(name)):
        net, preprocessing = weights[0].net, weights[0].preprocessing
    else:
        value, preprocessing = described(folder)
        net = value.name
    table, explicit = recipe.data, recipe.data.model_fields_set
    data = {key: getattr(preprocessing, key) for key in ("mean", "std") if key not in explicit}
    data["channels"] = table.channels or preprocessing.channels
    return recipe.model_copy(
        update={
            "weights": name,
            "net": recipe.net if "net" in recipe.model_fields_set else net,
            "data": table.model_copy(update=data),
        }
    )


def published_origin(weights: str) -> dict[str, str]:
    """Name and licence of the published weights that `weights`, a recipe's, are or were trained from."""
    if published := catalogue().get(weights):
        return {"name": published.name, "licence": published.licence}
    try:
        origin = read_config(folder_of(expand(weights))).get("published", {}) if weights else {}
    except InceptiveError:  # no model folder, or gone: a training that ends must not fail for it
        return {}
    return {key: str(origin[key]) for key in ("name", "licence") if key in origin}


def net_for(recipe: Recipe, data: Data, channels: int, net: Net | None = None) -> Net:
    """The net to train for the classes of `data`: `net`, else the one that the recipe names.

    Raises InceptiveError if it does not fit the data, or the recipe's pictures are too small for it.
    """
    count = len(data.classes)
    if net is None and recipe.weights and recipe.net not in nets.NETS:
        # A net of one's own is had from where it was trained.
        learned, _ = described(expand(recipe.weights))
        net = learned.with_classes(count) if learned.name == recipe.net else None
    net = net or nets.open_net(recipe.net, count, channels)
    if (net.num_classes, net.channels) != (count, channels):
        raise InceptiveError(
            f"{net.name}: is for {net.num_classes} classes and {net.channels} channels; {data.name} "
            f"has {count} classes and the recipe {channels} channels"
        )
    if recipe.aux.at:
        net = net.with_heads(recipe.aux.at)
    account(net, recipe.image_size)  # too small a picture is refused here, in words
    grows = recipe.schedule.smallest < 1
    if (recipe.image_size != net.image_size or grows) and _takes_one_size(net):
        raise InceptiveError(
            f"{net.name}: a fully connected layer reads whole maps, so it takes images of "
            f"{net.image_size} pixels only; set image_size = {net.image_size} and "
            "schedule.smallest = 1"
        )
    return net if recipe.aux.weight else net.without_aux()


def _takes_one_size(net: Net) -> bool:
    """Whether weights for images of one size do not fit those of another."""
    twice = account(net, 2 * net.image_size)
    return twice.params_with_aux != account(net).params_with_aux


def model_for(recipe: Recipe, data: Data, channels: int, net: Net | None = None) -> Model:
    """Build the recipe's net with random weights, or with those that `weights` names.

    From a model folder or published weights, every layer is taken but the last of each head, which are
    new for new classes. Raises InceptiveError if they belong to another net.
    """
    model = build(net_for(recipe, data, channels, net)).float()
    if recipe.weights:
        start_from(model, Classifier.load(recipe.weights), recipe.weights)
    return model


def start_from(model: Model, source: Classifier, name: str) -> None:
    """Load the weights of `source` into `model`: all layers up to those that depend on its classes.

    Heads, and layers after the pooling (such as another classifier's), may be missing on either side:
    they stay random. Raises InceptiveError, naming a layer, if another one is missing or of another
    shape.
    """
    source_state, state = source.model.state_dict(), model.state_dict()
    pools = [k for k, (_, node) in enumerate(model.net.body) if isinstance(node, AvgPool)]
    pooled = max(pools, default=len(model.net.body.parts) - 1)
    after = [part for part, _ in model.net.body.parts[pooled:]]
    free = tuple(f"{part}." for part in [*after, *model.net.heads()])
    ends = tuple(f"{layer}." for layer in [*last_layers(model), *last_layers(source.model)])
    shared = {
        key: value
        for key, value in source_state.items()
        if key in state and not key.startswith(ends) and value.shape == state[key].shape
    }
    missing = [key for key in state if key not in shared and not key.startswith(free + ends)]
    if missing:
        raise InceptiveError(
            f"weights {name}: are for {source.model.net.name}, which has no {missing[0]} such as "
            f"{model.net.name} has; try net={source.model.net.name}"
        )
    model.load_state_dict(shared, strict=False)


def last_layers(model: Model) -> list[str]:
    """The layers that output logits, of the body and of each head: they depend on the classes."""
    ends = [model.net.last]
    return ends + [f"{head}.{chain.parts[-1][0]}" for head, (_, chain) in model.net.heads().items()]


def parameter_groups(model: Model, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameter groups for the optimizer: weights decay, not biases or batch norm; old layers slower.

    Parts up to `finetune.freeze` are left out, and their modules are frozen.
    Raises InceptiveError if no part has that name.
    """
    frozen = frozen_parts(model.net, recipe.finetune.freeze)
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    fresh = tuple(f"{name}." for name in last_layers(model))
    table = recipe.optimizer
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (parameter.ndim > 1, name.startswith(fresh))
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": table.weight_decay if decays else 0.0,
            "lr": table.lr * (1.0 if new else recipe.finetune.lr_scale),
            "orthogonal": decays and not new,
        }
        for (decays, new), parameters in groups.items()
    ]


def optimizer_for(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Make the recipe's optimizer for `groups`, with fused steps."""
    table = recipe.optimizer
    if table.kind == "muon":
        return Muon(groups, table.lr, table.momentum, table.nesterov)
    if table.kind == "adamw":
        return torch.optim.AdamW(groups, lr=table.lr, fused=True)
    return torch.optim.SGD(
        groups, lr=table.lr, momentum=table.momentum, nesterov=table.nesterov, fused=True
    )


def frozen_parts(net: Net, last: str) -> list[str]:
    """The parts of the body up to and including `last`; [] for ""."""
    names = [name for name, _ in net.body]
    if not last:
        return []
    if last not in names[:-1]:
        raise InceptiveError(
            f"finetune.freeze = {last!r}: {net.name} has no such part; "
            f"there are: {', '.join(names[:-1])}"
        )
    return names[: names.index(last) + 1]
