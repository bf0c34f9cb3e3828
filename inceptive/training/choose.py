"""The recipe for a training: the requested one, or one that fits the data."""

from pathlib import Path
from typing import Any

from inceptive.arch.spec import Net
from inceptive.data.builtin import BUILTIN
from inceptive.data.source import Data
from inceptive.errors import InceptiveError
from inceptive.io import store
from inceptive.io.paths import expand
from inceptive.io.progress import Progress
from inceptive.training.prepare import as_weights_expect, frozen_parts, net_for
from inceptive.training.recipe import Recipe

FITTING = {name: name.replace("-", "_") for name in BUILTIN}
"""The recipe for each built-in set; photographs take `finetune`, without weights `photos`."""


def choose_recipe(
    data: str | Path | Data,
    recipe: str | Path | Recipe | None,
    changes: dict[str, Any],
    progress: Progress,
    net: Net | None = None,
) -> Recipe:
    """The requested recipe, or one that fits the data, with the changes made, for `net` if given.

    For photographs that is `finetune`, from published weights, unless weights are "none" or
    unavailable: then `photos`, from scratch.
    """
    if changes.get("weights") == "none":
        changes = changes | {"weights": ""}
    if recipe is not None:
        chosen = as_weights_expect(Recipe.read(recipe, changes), progress)
        refuse_unfit(chosen, net)
        return chosen
    weights = changes.get("weights")
    if not weights and is_builtin(data):
        name = FITTING[str(getattr(data, "name", data)).partition(":")[0]]
    else:
        name = "finetune" if weights or not {"weights", "net"} & changes.keys() else "photos"
    if name == "finetune" and not weights and not is_there(data):  # nothing is fetched for it
        name = "photos"
    chosen = Recipe.read(name, changes)
    try:
        chosen = as_weights_expect(chosen, progress)
    except InceptiveError as error:
        if name != "finetune" or weights:
            raise
        name = "photos"
        progress.say(f"no published weights to start from: {error}")
        chosen = Recipe.read(name, changes)
    refuse_unfit(chosen, net)
    start = f", from {chosen.weights}" if chosen.weights else ", from scratch"
    time = f", {minutes:g} minutes at most" if (minutes := chosen.stop.minutes) else ""
    if is_there(data) or is_builtin(data):  # else opening it says what is wrong, and only that
        progress.say(
            f"recipe: {name}{start}{time} (another: --recipe or recipe=, --minutes or minutes=; one "
            "value: --set or changes=)"
        )
    return chosen


def is_there(data: str | Path | Data) -> bool:
    """Whether `data` may be a dataset: opened, at a URI, or a folder."""
    return isinstance(data, Data) or store.is_uri(str(data)) or expand(data).is_dir()


def is_builtin(data: str | Path | Data) -> bool:
    """Whether `data` is a built-in dataset, which has its own recipe."""
    name = str(getattr(data, "name", data))
    return name.partition(":")[0] in FITTING and not Path(name).is_dir()


def refuse_unfit(recipe: Recipe, net: Net | None) -> None:
    """Raise InceptiveError, before any data is read, for what no data could be trained with: a net that
    does not exist, lacks the named parts or is too large for the pictures; a probe without weights.
    """
    if recipe.finetune.probe and not recipe.weights:
        raise InceptiveError(
            "a probe learns from the maps of trained weights: name a model folder or published weights "
            "(weights=...; `inceptive nets` lists those)"
        )
    if net is None and ".py" in recipe.net:  # its file is run when the classes are known
        return
    channels = net.channels if net else recipe.data.channels or 3
    any_data = Data("", ("",) * (net.num_classes if net else 2), {}, channels)
    frozen_parts(net_for(recipe, any_data, channels, net), recipe.finetune.freeze)
