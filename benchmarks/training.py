"""Section train: one step of training, ours as `inceptive train` makes it, beside the peers' loops."""

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import peers
from benchmarks.apart import maybe_apart
from benchmarks.benchmark import Benchmark, Candidate, Peaks, run
from benchmarks.peers import Peer
from benchmarks.setting import Say, Setting
from inceptive.__main__ import environment_for_speed
from inceptive.arch import nets
from inceptive.arch.account import account, minimum_size
from inceptive.data.source import ArrayImages, Data, Samples
from inceptive.io.progress import Silent
from inceptive.nn import build
from inceptive.training.augment import Augment
from inceptive.training.calibration import calibrated, described, wants_bf16
from inceptive.training.distributed import World
from inceptive.training.learner import Learner
from inceptive.training.prepare import model_for, preprocessing_for
from inceptive.training.recipe import AuxTable, OptimizerTable, Recipe, SpeedTable

SECTION = "train"
RATE = 1e-4
"""Learning rate of all: so low that noise as images cannot make any of them diverge."""
BACKWARD = 3
"""Multiply-adds of a step over those of a forward pass: as many again for either gradient."""
AUX = 0.3
AS_IT_COMES = SpeedTable()


def measure(setting: Setting, peaks: Peaks, say: Say) -> Iterator[dict[str, Any]]:
    for benchmark in benchmarks(setting):
        yield run(benchmark, setting, peaks, say)


def benchmarks(setting: Setting) -> list[Benchmark]:
    """At each size the setting's net without auxiliary heads; with them at the first; then timm's v3."""
    if setting.quick:
        return [
            benchmark(setting, setting.net, minimum_size(nets.NETS[setting.net]()), heads=False)
        ]
    full = nets.NETS[setting.net]().image_size
    sizes = dict.fromkeys((full, *(size for size in (96, 64) if size < full)))
    least = minimum_size(nets.NETS[setting.net]())
    made = [benchmark(setting, setting.net, size, heads=False) for size in sizes if size >= least]
    if nets.NETS[setting.net]().aux:
        made.insert(1, benchmark(setting, setting.net, full, heads=True))
    if not setting.net.startswith("inception_v3"):
        made.append(benchmark(setting, "inception_v3.torchvision", 299, heads=False))
    return made


def benchmark(setting: Setting, net: str, size: int, heads: bool) -> Benchmark:
    """A step of `net` with batches of the setting's size: the peers' nets, then ours.

    Of each peer its defaults and what its user can set; of ours what is chosen on this machine and, of
    the setting's net without heads, all it was chosen from. Each in a process of its own, ours as the
    command starts itself: whoever divides operations in several threads slows down all others in the
    process.
    """
    batch, classes, device = setting.batch_size, setting.num_classes, setting.device
    bf16 = wants_bf16("auto", torch.device(device))
    more = environment_for_speed(os.environ)
    candidates = []

    def add(
        environment: dict[str, str],
        name: str,
        macs: int,
        half: bool,
        step: Callable[..., Any],
        *args: Any,
    ) -> None:
        build = maybe_apart(setting.quick, environment, step, *args)
        candidates.append(Candidate(name, build, macs, batch, "bf16" if half else "f32"))

    ways: list[tuple[bool, bool, dict[str, str]]] = [(False, False, {}), (True, False, {})]
    if bf16:
        ways += [(True, True, {}), *([(True, True, more)] if more else [])]
    ours = [net]
    for peer in peers.equivalents(net):
        if heads and not peer.heads:
            continue
        macs = step_macs(peer.counts, size, batch, classes, heads)
        for last, half, kept in ways:
            layout, kind = "channels-last" if last else "eager", "bf16" if half else "f32"
            name = f"{peer.package} {peer.name}, {layout}, {kind}{', memory kept' if kept else ''}"
            theirs = peer, size, batch, classes, heads, device, last, half
            add(kept, name, macs, half, peer_step, *theirs)
        if peer.counts not in ours:
            ours.append(peer.counts)  # so that one of ours does exactly the peer's work
    for name in ours:
        speed = speed_here(setting, name, size, batch, classes)
        speeds = {f"chosen here: {described(speed)}": speed}
        if name == net == setting.net and not heads:  # of larger nets they would fill the memory
            speeds |= {
                described(fixed): fixed
                for precision, last in product(("bf16", "f32") if bf16 else ("f32",), (True, False))
                for fixed in [SpeedTable(precision=precision, channels_last=last)]  # type: ignore[arg-type]
            }
        macs = step_macs(name, size, batch, classes, heads)
        for words, speed in speeds.items():
            args = name, size, batch, classes, heads, speed
            add(
                more, f"inceptive {name}, {words}", macs, speed.precision == "bf16", our_step, *args
            )
    facts = {"net": net, "image_size": size, "batch_size": batch, "heads": heads,
             "num_classes": classes}  # fmt: skip
    heads_words = "with auxiliary heads" if heads else "no heads"
    return Benchmark(
        SECTION, f"{net}, {size} px, batch {batch}, {heads_words}", tuple(candidates), facts
    )


def speed_here(setting: Setting, net: str, size: int, batch: int, classes: int) -> SpeedTable:
    """What `inceptive train` chooses on this machine for such steps."""
    recipe = recipe_of(net, size, batch, heads=False)
    model = build(nets.NETS[net](classes).without_aux())
    return calibrated(
        recipe, model, torch.device(setting.device), True, 0 if setting.quick else 10**9, Silent()
    ).speed


def step_macs(net: str, size: int, batch: int, classes: int, heads: bool) -> int:
    """Multiply-adds of one step: three times those of the forward pass."""
    made = account(nets.NETS[net](classes), size)
    aux = sum(line.macs for lines in made.aux.values() for line in lines) if heads else 0
    return BACKWARD * batch * (made.macs + aux)


def our_step(
    net: str, size: int, batch: int, classes: int, heads: bool, speed: SpeedTable = AS_IT_COMES
) -> Callable[[], object]:
    """A step exactly as the loop of `inceptive train` makes it, from images of uint8 on: noise."""
    learner = learner_of(net, size, batch, classes, heads, speed)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (batch, 3, size, size), dtype=np.uint8))
    labels, draws = (torch.arange(batch) % classes).to(learner.device), torch.Generator()
    return lambda: learner.step(images, labels, draws)


def recipe_of(
    net: str, size: int, batch: int, heads: bool, speed: SpeedTable = AS_IT_COMES
) -> Recipe:
    return Recipe(
        net=net,
        image_size=size,
        batch_size=batch,
        optimizer=OptimizerTable(lr=RATE),
        aux=AuxTable(weight=AUX if heads else 0),
        speed=speed,
    )


def learner_of(
    net: str, size: int, batch: int, classes: int, heads: bool, speed: SpeedTable = AS_IT_COMES
) -> Learner:
    """A net with fresh weights, ready for its steps."""
    return learner_for(recipe_of(net, size, batch, heads, speed), classes)


def learner_for(recipe: Recipe, classes: int) -> Learner:
    """A net with fresh weights as `recipe` trains it, ready for its steps."""
    size, channels = recipe.image_size, recipe.data.channels or 3
    none = Samples(ArrayImages(np.empty((0, size, size, 3), np.uint8)), np.empty(0, np.int64))
    names = tuple(f"class {k}" for k in range(classes))
    data = Data("none", names, {"train": none}, channels=channels)
    augment = Augment(recipe.augment, size)
    model = model_for(recipe, data, channels)
    learner = Learner(recipe, data, model, preprocessing_for(recipe, data), augment, World())
    learner.set_training()
    return learner


def peer_step(
    peer: Peer,
    size: int,
    batch: int,
    classes: int,
    heads: bool,
    device: str,
    channels_last: bool,
    bf16: bool,
) -> Callable[[], object]:
    """The plain loop of torch's tutorials: forward, cross-entropy, backward, SGD with momentum.

    By default in torch's layout and float32; channels_last and bf16 are what timm's train.py has with
    --channels-last --amp --amp-dtype bfloat16; of timm its own optimizer.
    """
    model: nn.Module = peer.build(classes, heads).to(device)
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    if peer.package == "timm":
        optimizer = peers.timm_optimizer(model, RATE)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, size, size, generator=generator).to(device)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    labels = (torch.arange(batch) % classes).to(device)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16) if bf16 else nullcontext():
            loss = _loss(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def _loss(outputs: Any, labels: Tensor) -> Tensor:
    """Of logits, or of torchvision's tuple of logits and those of its heads."""
    if isinstance(outputs, Tensor):
        return F.cross_entropy(outputs, labels)
    main, *aux = (F.cross_entropy(one, labels) for one in outputs)
    return main + AUX * sum(aux, start=torch.zeros((), device=main.device))
