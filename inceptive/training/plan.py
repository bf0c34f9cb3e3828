"""A plan for the available time: the first seconds measure this machine, and the rest follows."""

import time
from collections.abc import Sequence
from math import ceil, inf
from typing import Any

import numpy as np
import torch

from inceptive.arch.account import account, minimum_size
from inceptive.arch.spec import Net
from inceptive.data.source import Data, Samples
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing, read_picture
from inceptive.io.progress import Progress, duration
from inceptive.nn import Model, build
from inceptive.training.augment import Augment
from inceptive.training.calibration import BACKWARD, calibrated
from inceptive.training.distributed import World
from inceptive.training.learner import Learner
from inceptive.training.prepare import net_for, preprocessing_for
from inceptive.training.recipe import Recipe
from inceptive.training.schedule import size_at

CHOOSING = 5000
"""Images to learn from, at most, while modules and penalty are chosen."""
PILOT = 128
"""Images of each side that the plan is made from, at least two of each class."""
PROBES = 3.5
"""Whole probes that those which choose are as much work as, of some images; and of all images, the one
that is kept and those of the feedback."""
SEEN, OF_USE = 25_000, (4, 8)
"""Images that such epochs should see in all to be worth beginning, and the fewest and most epochs that
this may ask for: few undo more of what the weights know than they teach."""
BEHIND = 0.64
"""Of the size of a probe's images, at least, for epochs behind it: at half of it they lose accuracy."""
STEP = 16
"""Pixels between the sizes that images may have."""
SAVED = 0.25
"""Of the time to fit a probe: if images take less, smaller ones save nothing."""
SIZES = (1.0, 0.8, 0.64, 0.5, 0.4, 0.32)
"""Shares of the recipe's image size that are tried, until the time is enough."""
WRITING, AT_MOST = 15.0, 0.1
"""Seconds for what is written in the end, and their share of the time at most."""
ENLARGED, ENLARGED_BEHIND = 2.0, 4.0
"""Times, at most, that small pictures are enlarged: the stem halves an image at least twice, and what
published weights know is larger."""
SMALL = 48
"""Pixels of the shorter side, at most, of pictures that a recipe's small_net learns, not enlarged."""
FEWEST = 10
"""Epochs that a training from scratch should have, before its images become smaller."""
MOMENTS = 20
"""Of a training, at which the size of its images is looked up."""
SOME = 16
"""Pictures whose size is looked up."""
PATIENCE = 10.0
"""Seconds after which no further step is measured."""


def spread(indices: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of `indices` (N,), evenly over their order: neighbours are often alike."""
    some = np.linspace(0, len(indices) - 1, min(count, len(indices)))
    return indices[some.round().astype(np.int64)]


def some_of_each(labels: np.ndarray, classes: int) -> np.ndarray:
    """Indices of about PILOT labels (N,), as many of each class as possible; of very many classes, some
    of PILOT classes."""
    some = spread(np.arange(classes), PILOT)
    each = max(2, PILOT // len(some))
    chosen = [spread(np.flatnonzero(labels == label), each) for label in some]
    return np.sort(np.concatenate(chosen))


def planned(
    recipe: Recipe,
    data: Data,
    net: Net,
    through: float,
    started: float,
    window: Sequence[str],
    fitting: float,
    progress: Progress,
) -> Recipe:
    """Return `recipe` with the image size, views and epochs that the time allows.

    An image takes `through` seconds to pass through the whole net, and it all `started` at that time.
    A probe takes `fitting` seconds per image. With `finetune.views`, the net learns from after
    window[0], whose maps of each view are computed once, up to window[-1]. Without, all that the probe
    reads learns later, and is planned once the probe exists: see `paced`.
    """
    minutes = recipe.stop.minutes
    spent = time.monotonic() - started
    budget = 60 * minutes or inf
    images, judged = len(data.split("train")), len(data.split("val"))
    fitting *= PROBES * (min(images, CHOOSING) + images)
    whole = account(net, recipe.image_size).macs
    for share in SIZES:
        size = _size(recipe, recipe.image_size * share)
        try:
            frozen, end = (
                account(net.ending_at(part), size).macs * through / whole
                for part in (window[0], window[-1])
            )
        except InceptiveError:  # so small an image is none to this net
            break
        needed = spent + WRITING + fitting + (images + judged) * end
        chosen, view = size, images * frozen
        epoch = (images * BACKWARD + judged) * (end - frozen)
        if needed <= budget or (images + judged) * end < SAVED * fitting:
            break
    left = budget - needed - judged * end  # which are judged once more in the end
    views, epochs, freeze = recipe.finetune.views, recipe.epochs, window[0]
    later = bool(minutes and not views)  # `paced` finds how much of it there is time for
    if views:
        views = int(max(1, min(views, left / 2 / view)))
        epochs = int(max(0, min(epochs, (left - views * view) / epoch)))
        views = max(1, min(views, epochs))
        needed += views * view + epochs * epoch + judged * end if epochs else 0
    else:
        parts = [name for name, _ in net.body]
        freeze = recipe.finetune.freeze or parts[max(parts.index(window[0]) - 1, 0)]
        needed += 0 if later else epochs * (images * BACKWARD + judged) * end
    progress.say(
        f"plan: {chosen} pixels, a probe of {window[0]} to {window[-1]}"
        + (f", then {epochs} epochs behind {freeze}" if epochs and not later else "")
        + (f" with {views} views" if epochs and views else "")
        + f": about {duration(needed)} on this machine"
        + (f", of {minutes:g} minutes" if minutes else "")
        + (f"; then at most {epochs} epochs behind {freeze}" if epochs and later else "")
    )
    table = recipe.finetune.model_copy(update={"freeze": freeze, "views": views})
    return recipe.model_copy(update={"epochs": epochs, "finetune": table, "image_size": chosen})


def shorter_side(samples: Samples) -> float:
    """The median shorter side of some pictures, in pixels; for large ones, at least 512."""
    some = samples.take(spread(np.arange(len(samples)), SOME))
    sides = [min(read_picture(some.images.source(k), 256).size) for k in range(len(some))]
    return float(np.median(sides))


def not_much_enlarged(recipe: Recipe, net: Net, side: float, times: float) -> Recipe:
    """`recipe` with images of at most so many `times` the pictures' `side`, if it leaves them to a plan,
    and none too small for `net`."""
    if not recipe.stop.smallest:
        return recipe
    table = recipe.stop.model_copy(update={"smallest": max(recipe.stop.smallest, _least(net))})
    recipe = recipe.model_copy(update={"stop": table})
    return recipe.model_copy(update={"image_size": _size(recipe, times * side)})


def _least(net: Net) -> int:
    """The least size of the images of `net`, in steps of 16."""
    return STEP * ceil(minimum_size(net) / STEP)


def _size(recipe: Recipe, pixels: float) -> int:
    """So many pixels in steps of 16, if the recipe leaves them to a plan; else those of the recipe."""
    if not recipe.stop.smallest or pixels >= recipe.image_size:
        return recipe.image_size
    return min(recipe.image_size, max(recipe.stop.smallest, round(pixels / STEP) * STEP))


def epochs_of_use(images: int) -> int:
    """How many epochs behind a probe are worth beginning with so many images to learn from."""
    return min(max(ceil(SEEN / images), OF_USE[0]), OF_USE[1])


def seconds_to_learn(minutes: float, judging: float = 0.0) -> float:
    """The seconds that `minutes` leave for learning, without final evaluation and writing."""
    return max(1e-3, 60 * minutes - min(WRITING, AT_MOST * 60 * minutes) - judging)


def paced(
    recipe: Recipe,
    data: Data,
    net: Net | None,
    world: World,
    began: float,
    progress: Progress,
    behind: bool = False,
) -> Recipe:
    """Return `recipe` with the image size and epochs that stop.minutes allow, at most its own.

    Images become smaller until FEWEST epochs fit; if they never do, there are fewer. `behind` a probe,
    `epochs_of_use` must fit, with images of at least BEHIND of the size; else there are none.

    The minutes count from when training `began`. Steps of a net like the one that will learn are
    measured. The loop keeps to the time even if this machine becomes slower meanwhile: see `Run`. If
    the recipe leaves the size open, pictures are enlarged at most ENLARGED times, or as a probe's were.
    """
    side = shorter_side(data.split("train")) if recipe.stop.smallest or recipe.small_net else 0
    if recipe.small_net:
        recipe = _for_small(recipe, side, progress)
    model = build(net_for(recipe, data, preprocessing_for(recipe, data).channels, net))
    recipe = not_much_enlarged(recipe, model.net, side, inf if behind else ENLARGED)
    preprocessing, least = preprocessing_for(recipe, data), _least(model.net)

    def of_size(size: int) -> Recipe:
        """`recipe` with images that have `size` pixels in the end, and never too few for the net."""
        share = max(recipe.schedule.smallest, min(1.0, least / size))
        table = recipe.schedule.model_copy(update={"smallest": share})
        return recipe.model_copy(update={"image_size": size, "schedule": table})

    minutes, trained, judged = recipe.stop.minutes, len(data.split("train")), len(data.split("val"))
    recipe, images = of_size(recipe.image_size), trained * recipe.epochs
    # The same way in every process: they exchange statistics layer by layer.
    recipe = world.broadcast(
        lambda: calibrated(recipe, model, world.device, True, images, progress)
    )
    if not minutes:
        return recipe
    fixed, each = _seconds_per_image(recipe, data, model, preprocessing, world)

    def epoch_seconds(size: int) -> float:
        """Of a mean epoch whose images have `size` pixels in the end."""
        table = of_size(size).schedule
        sizes = [size_at(table, k + 0.5, MOMENTS, size) for k in range(MOMENTS)]
        costs = {pixels: account(model.net, pixels).macs * each for pixels in {*sizes, size}}
        mean = fixed + sum(costs[pixels] for pixels in sizes) / MOMENTS
        return trained * mean + judged * costs[size] / BACKWARD

    left = seconds_to_learn(minutes) - (time.monotonic() - began)
    enough = min(recipe.epochs, epochs_of_use(trained) if behind else FEWEST)
    for share in SIZES:
        if behind and share < BEHIND:
            break
        chosen = _size(recipe, recipe.image_size * share)
        seconds = epoch_seconds(chosen)
        # A recipe that fixes the size fixes the epochs: had this machine been busy while steps were
        # measured, fewer would end long before the time does. What does not fit, the clock sees to.
        fit = ceil(left / seconds) if recipe.stop.smallest else recipe.epochs
        epochs = max(1, min(recipe.epochs, fit))
        if left / seconds >= enough:
            break
    if behind and left / seconds < enough:
        needed = (time.monotonic() - began + enough * seconds + WRITING) / 60
        progress.say(
            f"the {duration(max(left, 0))} that are left are too few to learn more: {enough} epochs of "
            f"{chosen} pixels take {duration(enough * seconds)} (at least --minutes {ceil(needed)})"
        )
        return recipe.model_copy(update={"epochs": 0})
    recipe = of_size(chosen)
    smallest = size_at(recipe.schedule, 0, epochs, chosen)
    progress.say(
        f"plan: {chosen} pixels"
        + (f" ({smallest} in the beginning)" if smallest < chosen else "")
        + f", {epochs} epochs in {recipe.speed.precision}: about "
        f"{duration(min(60 * minutes, epochs * seconds + WRITING))} on this machine, of "
        f"{minutes:g} minutes" + (", which are too few for one epoch" if left < seconds else "")
    )
    # Planned for the time, they are a measure of it: should this machine be faster, more of them fit.
    was_planned = recipe.stop.smallest and epochs < recipe.epochs
    most = recipe.epochs if was_planned else recipe.stop.most_epochs
    table = recipe.stop.model_copy(update={"most_epochs": most})
    return recipe.model_copy(update={"epochs": epochs, "stop": table})


def _for_small(recipe: Recipe, side: float, progress: Progress) -> Recipe:
    """`recipe` with small_net as its net, and images as large as the pictures, if these are SMALL."""
    chosen: dict[str, Any] = {"small_net": ""}
    if side <= SMALL:
        progress.say(f"pictures of {side:g} pixels: {recipe.small_net} in place of {recipe.net}")
        chosen["net"] = recipe.small_net
        if recipe.stop.smallest:
            size = min(recipe.image_size, STEP * ceil(side / STEP))
            chosen["image_size"] = size
            chosen["stop"] = recipe.stop.model_copy(update={"smallest": size})
    return recipe.model_copy(update=chosen)


def _seconds_per_image(
    recipe: Recipe, data: Data, model: Model, preprocessing: Preprocessing, world: World
) -> tuple[float, float]:
    """Seconds that an image takes in a step: whatever its size, and for each multiply-add of the net.

    Steps are measured with images as they are in the end and, where they grow, in the beginning.
    """
    augment = Augment(recipe.augment, recipe.image_size, world.share)
    learner = Learner(recipe, data, model, preprocessing, augment, world)
    learner.set_training()
    batch, side = min(len(data.split("train")), recipe.batch_size), recipe.image_size
    count = max(2, batch // world.share.world)
    images = torch.zeros((count, preprocessing.channels, side, side), dtype=torch.uint8)
    labels, draws = torch.zeros(count, dtype=torch.int64, device=world.device), torch.Generator()
    seconds = {}
    for epoch in (
        0,
        recipe.epochs,
    ):  # small ones first: what has never run is slow in the beginning
        learner.set_size(epoch)
        times: list[float] = []
        # Decided by one process: each step is one of all of them.
        while learner.size not in seconds and world.broadcast(
            lambda: len(times) < 3 and sum(times) < PATIENCE / 2  # noqa: B023
        ):
            before = time.monotonic()
            learner.step(images, labels, draws)[0].tolist()  # an accelerator has then done its work
            times.append(time.monotonic() - before)
        if times:
            seconds[learner.size] = min(times) / (count * world.share.world)
    (small, few), (large, many) = min(seconds.items()), max(seconds.items())
    macs = account(model.net, large).macs
    if small == large:
        return 0.0, many / macs
    each = max(many - few, 0.0) / (macs - account(model.net, small).macs)
    return max(many - each * macs, 0.0), each
