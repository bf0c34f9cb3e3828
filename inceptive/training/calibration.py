"""How a net is computed fastest on this machine: in which precision and layout.

Instructions promise more than they keep: a processor that lists bf16 may multiply faster in f32. So a
few steps are measured in each way, once for a net and its size; the cache keeps what they took.
"""

import time
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from inceptive.arch.account import account
from inceptive.io import measured
from inceptive.io.cores import machine
from inceptive.io.progress import Progress
from inceptive.nn import Model
from inceptive.nn.fused import fused
from inceptive.training.recipe import Recipe, SpeedTable

MEASURED = "steps"
"""Seconds of a step, by net, size and way."""
MACS, MOST = 3e9, 16
"""Multiply-adds of a forward pass that is measured, at least two images; and images at most."""
WORTH, A_MINUTE = 3e12, 1e12
"""Multiply-adds of a whole training: for less nothing is measured; and those of a minute, at least."""
BACKWARD = 3
"""A step of learning in forward passes: the way back takes about twice as long as the way there."""
ROUNDS = 3
"""In turns, after one that only prepares; the shortest time of each way counts."""
PATIENCE, DOUBT = 2.0, 10.0
"""Seconds after which no further turn begins, and where the usual way is not about the fastest: on a
busy machine that may be chance. Each way has one that counts."""
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
"""What a precision keeps fused convolutions in."""
CLEARLY = 1.03
"""Times as long as the fastest: closer than that the usual way, the first, is taken."""
TOO_SLOW = 1.2
"""Times the fastest until then: such a way is not measured again, unless it is the usual one; nor is
that, if it alone is left."""


def calibrated(
    recipe: Recipe,
    model: Model,
    device: torch.device,
    learns: bool,
    images: int,
    progress: Progress,
) -> Recipe:
    """Return `recipe` with the fastest of what `speed` leaves open (`auto`) for the net of `model`.

    learns: steps of training are measured, which move the running statistics of `model`; else the
    forward pass. So many `images` will pass through in all; where that is not WORTH it, nothing is
    measured, nor on an accelerator: bf16 is taken then if the hardware says it multiplies it.
    """
    speed = recipe.speed
    bf16 = wants_bf16(speed.precision, device)
    first = speed.model_copy(
        update={
            "precision": "bf16" if bf16 else "f32",
            "channels_last": speed.channels_last is not False,
        }
    )
    work: float = images * account(model.net, recipe.image_size).macs * (BACKWARD if learns else 1)
    if recipe.stop.minutes:
        work = min(work, recipe.stop.minutes * A_MINUTE)
    if device.type == "cpu" and work >= WORTH:
        precisions = ("bf16", "f32") if bf16 and speed.precision == "auto" else (first.precision,)
        layouts = (True, False) if speed.channels_last == "auto" else (first.channels_last,)
        first = Steps(recipe, model, learns, progress).fastest(
            [
                first.model_copy(update={"precision": precision, "channels_last": layout})
                for precision, layout in product(precisions, layouts)
            ]
        )
    compute_in(model, first)
    return recipe.model_copy(update={"speed": first})


class Steps:
    """Steps of one net on images of one size, whose times this machine knows or measures."""

    def __init__(self, recipe: Recipe, model: Model, learns: bool, progress: Progress):
        self.model, self.learns, self.progress = model, learns, progress
        self.nets: dict[str, Model] = {}
        side, net = recipe.image_size, model.net
        macs = account(net.with_classes(2), side).macs  # tells nets of the same name apart
        count = int(min(MOST, recipe.batch_size, MACS // macs))
        self.images = torch.zeros(max(2, count), net.channels, side, side)
        self.name = (
            f"{'training' if learns else 'fused maps'} {net.name} {macs} macs {side} pixels "
            f"torch {torch.__version__} {torch.get_num_threads()} threads"
        )

    def fastest(self, ways: Sequence[SpeedTable]) -> SpeedTable:
        """The fastest of `ways` here; the first one, unless another is CLEARLY faster."""
        if len(ways) == 1:
            return ways[0]
        this_machine = machine()
        seconds_of = measured.recall(MEASURED, this_machine)
        keys = [f"{self.name}, {described(way)}" for way in ways]
        if new := not all(key in seconds_of for key in keys):
            self.progress.say(
                f"measuring how {self.model.net.name} is fastest on this machine, once"
            )
            seconds_of |= dict(zip(keys, self._measure(ways), strict=True))
            measured.keep(MEASURED, this_machine, seconds_of)
        seconds = [seconds_of[key] for key in keys]
        best = min(range(len(ways)), key=seconds.__getitem__)
        if seconds[0] <= CLEARLY * seconds[best]:
            best = 0
        if new:
            others = ", ".join(
                f"{described(way)} {taken / seconds[best]:.2f}"
                for k, (way, taken) in enumerate(zip(ways, seconds, strict=True))
                if k != best
            )
            self.progress.say(f"taken: {described(ways[best])}; times as long: {others}")
        return ways[best]

    def _measure(self, ways: Sequence[SpeedTable]) -> list[float]:
        """The shortest time of a step in each way."""
        began = time.perf_counter()
        for way in ways:
            self._step(way)
        seconds = [self._step(way) for way in ways]
        for _ in range(ROUNDS - 1):
            close = {k for k, least in enumerate(seconds) if least <= TOO_SLOW * min(seconds)}
            patience = PATIENCE if seconds[0] <= CLEARLY * min(seconds) else DOUBT
            if close == {0} or time.perf_counter() - began > patience:
                break
            for k in sorted(
                close | {0}
            ):  # one disturbed step does not decide against the usual way
                seconds[k] = min(seconds[k], self._step(ways[k]))
        return seconds

    def _step(self, way: SpeedTable) -> float:
        """Seconds of one step."""
        compute_in(self.model, way)
        net = self.model.train(self.learns)
        images = laid_out(self.images, way)
        if not self.learns:
            net = self.nets.setdefault(described(way), fused(net, DTYPES[way.precision]))
        before = time.perf_counter()
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=way.precision == "bf16"),
            torch.set_grad_enabled(self.learns),
        ):
            logits = net(images)
        if self.learns:
            logits.float().logsumexp(1).mean().backward()
        seconds = time.perf_counter() - before
        self.model.zero_grad()
        return seconds


def compute_in(model: Model, way: SpeedTable) -> None:
    """Make `model` compute in the layout of `way`, keeping all activations or not."""
    model.checkpointing = way.checkpointing
    model.to(memory_format=_layout(way))  # type: ignore[call-overload]


def laid_out(images: Tensor, way: SpeedTable) -> Tensor:
    """`images` (N, C, H, W) in the layout of `way`."""
    return images.contiguous(memory_format=_layout(way))


def _layout(way: SpeedTable) -> torch.memory_format:
    """Where nothing was measured, `auto` is channels-last."""
    return torch.contiguous_format if way.channels_last is False else torch.channels_last


def described(way: SpeedTable) -> str:
    """In words, such as f32 channels-last."""
    layout = "contiguous" if way.channels_last is False else "channels-last"
    return f"{way.precision} {layout}"


def wants_bf16(precision: str, device: torch.device) -> bool:
    """Whether to train in bfloat16: as requested, or if the hardware says it multiplies it natively."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.backends.cpu.get_cpu_capability()
    flags = torch.cpu.get_capabilities() if capabilities.startswith("AVX512") else {}
    return bool(flags.get("avx512_bf16") or flags.get("amx_bf16"))
