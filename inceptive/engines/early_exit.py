"""Answers from the first sufficiently confident head: thresholds, their choice, and inference.

A head trained along with the net (arXiv:1409.4842, section 5) is a classifier of its own at a
fraction of the cost. An image that one is sure of can stop there (as in BranchyNet,
arXiv:1709.01686). Confidence is the probability of its best class after temperature scaling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from itertools import product
from math import isfinite
from typing import Any

import numpy as np

from inceptive.arch.account import Account, modules
from inceptive.arch.spec import Net
from inceptive.engines.protocol import Compute, Engine, Size, Stage
from inceptive.errors import InceptiveError, valid_values
from inceptive.metrics import Threshold, fit_temperature, softmax

NEVER = 2.0  # a threshold that no probability reaches
LEVELS = {1: 400, 2: 60, 3: 24}
"""Thresholds that are tried for each head, by the number of heads: every combination is judged."""


@dataclass(frozen=True)
class Exit:
    """A head answers where its best probability, at its own temperature, is at least threshold."""

    head: str
    temperature: float
    threshold: float


@dataclass(frozen=True)
class EarlyExit:
    """The exits in the order in which an image reaches them, and their results on the images that they
    were chosen on.

    max_drop is the bound on the drop in validation accuracy that they were chosen for, in points.
    validation: count, top1, top1_full, macs, macs_full and the share of images that exit at each end.
    """

    exits: tuple[Exit, ...]
    max_drop: float
    validation: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "EarlyExit":
        """Raises InceptiveError if `values` is not what `to_dict` returns."""
        with valid_values("early_exit"):
            exits = tuple(
                Exit(str(each["head"]), float(each["temperature"]), float(each["threshold"]))
                for each in values["exits"]
            )
            if not all(isfinite(each.threshold) and each.temperature > 0 for each in exits):
                raise InceptiveError("thresholds are numbers, temperatures above 0")
            old = "found" in values  # until 0.1
            validation = values["found" if old else "validation"]
            return cls(exits, float(values["max_drop"]), dict(validation))


def choose(
    net: Account, logits: Mapping[str, np.ndarray], labels: np.ndarray, max_drop: float
) -> EarlyExit:
    """Choose thresholds with the fewest multiply-adds among those that lose at most `max_drop` points.

    logits: of each head of `net` and, last, of the net itself, (N, K) on validation images. A head
    not worth its cost is left out. Raises InceptiveError for more than three heads, or none.
    """
    heads = list(logits)[:-1]
    if not 1 <= len(heads) <= max(LEVELS):
        raise InceptiveError(
            f"early exit takes 1 to {max(LEVELS)} heads, and {net.net.name} has "
            f'{", ".join(heads) or "none"}; train it with them: aux.at=["inception_4a"]'
        )
    temperatures = {name: fit_temperature(values, labels) for name, values in logits.items()}
    sure = np.stack([softmax(logits[head], temperatures[head]).max(axis=1) for head in heads])
    right = np.stack([values.argmax(axis=1) == labels for values in logits.values()])
    steps = np.linspace(0, 1, LEVELS[len(heads)])
    candidates = [[NEVER, *np.unique(np.quantile(probs, steps))] for probs in sure]
    everyone = np.arange(len(labels))
    allowed = int(right[-1].sum()) - max_drop / 100 * len(labels)

    @cache
    def cost(*active: str) -> np.ndarray:
        return np.asarray([spent(net, end, active) for end in logits])

    def outcome(thresholds: Sequence[float]) -> tuple[float, int, np.ndarray]:
        at = _leaves(sure, thresholds)
        active = (head for head, value in zip(heads, thresholds, strict=True) if value != NEVER)
        cost_at = cost(*active)[at]
        return float(cost_at.mean()), int(right[at, everyone].sum()), at

    best, (least, hits, at) = (NEVER,) * len(heads), outcome((NEVER,) * len(heads))
    for thresholds in product(*candidates):
        mean, right_now, leaves = outcome(thresholds)
        if right_now >= allowed and (mean, -right_now) < (least, -hits):
            best, least, hits, at = thresholds, mean, right_now, leaves
    exits = tuple(
        Exit(head, temperatures[head], float(threshold))
        for head, threshold in zip(heads, best, strict=True)
        if threshold != NEVER
    )
    leave = (np.bincount(at, minlength=len(logits)) / len(labels)).tolist()
    validation = {
        "count": len(labels),
        "top1": hits / len(labels),
        "top1_full": float(right[-1].mean()),
        "macs": least,
        "macs_full": net.macs,
        "leave": {end: share for end, share in zip(logits, leave, strict=True) if share},
    }
    return EarlyExit(exits, max_drop, validation)


def spent(net: Account, end: str, active: Sequence[str]) -> int:
    """Multiply-adds for an image that exits at the head `end` (or at the net's own last layer),
    including the heads among `active` that it passed."""
    total, lines = 0, modules(net.body)
    for name, _, heads in net.net.walk():
        total += sum(line.macs for line in lines.get(name, ()))
        for head in heads:
            if head in active or head == end:
                total += sum(line.macs for line in net.aux[head])
            if head == end:
                return total
    return total


def answer(
    images: Any, stages: Sequence[Stage], exits: Sequence[Exit], temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K) of `images`, each from the first confident end; and which end that was (N,).

    One stage for each exit, then the rest of the net, whose temperature is given. A head's logits
    are scaled so that this one temperature makes them the head's calibrated probabilities.
    """
    waiting = np.arange(len(images))
    answers: np.ndarray | None = None
    ends = np.full(len(images), len(exits))
    maps = images
    for k, stage in enumerate(stages):
        maps, logits = stage(maps)
        if answers is None:
            answers = np.empty((len(images), logits.shape[1]), dtype=np.float32)
        if k == len(exits):
            answers[waiting] = logits
            break
        at = exits[k]
        done = softmax(logits, at.temperature).max(axis=1) >= at.threshold
        answers[waiting[done]] = logits[done] * (temperature / at.temperature)
        ends[waiting[done]] = k
        waiting, maps = waiting[~done], maps[np.flatnonzero(~done)]
        if not len(waiting):
            break
    assert answers is not None
    return answers, ends


class EarlyExitEngine(Engine):
    """`engine` cut at its heads: answers from the first sufficiently confident head.

    answered counts the images at each exit and, last, by the whole net, since `exit_shares` told.
    Raises InceptiveError, naming `model`, if no exit was chosen for it.
    """

    def __init__(self, engine: Engine, model: str):
        policy = engine.early_exit
        if policy is None:
            raise InceptiveError(
                f"{model}: no head answers early there; `inceptive early-exit` chooses when one does, "
                "and an export that is to do it is made after that"
            )
        self.engine, self.policy = engine, policy
        self.name, self.labels, self.info = engine.name, engine.labels, engine.info
        self.preprocessing, self.temperature = engine.preprocessing, engine.temperature
        self._stages = engine.stages([exit.head for exit in policy.exits])
        self.answered = np.zeros(len(self._stages), dtype=np.int64)

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        return self.engine.thresholds

    @property
    def early_exit(self) -> EarlyExit:
        return self.policy

    @property
    def fingerprint(self) -> str:
        return sha256(f"{self.engine.fingerprint} {self.policy}".encode()).hexdigest()

    @property
    def net(self) -> Net | None:
        return self.engine.net

    def computing(self, layer: str) -> Compute:
        return self.engine.computing(layer)

    def size(self) -> Size:
        return self.engine.size()

    def stages(self, heads: Sequence[str]) -> list[Stage]:
        return self.engine.stages(heads)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Map preprocessed images (N, C, S, S) of uint8 to logits (N, K) of float32; see `answer`."""
        logits, ends = answer(images, self._stages, self.policy.exits, self.temperature)
        self.answered += np.bincount(ends, minlength=len(self.answered))
        return logits

    def exit_shares(self) -> dict[str, float]:
        total = max(1, int(self.answered.sum()))
        ends = [*(exit.head for exit in self.policy.exits), ""]
        shares = {end: float(n) / total for end, n in zip(ends, self.answered, strict=True)}
        self.answered[:] = 0
        return shares


def exit_summary(shares: Mapping[str, float]) -> str:
    """Describe where images were answered; `shares` are those of `Engine.exit_shares`."""
    ends = (f"{end or 'the whole net'} {share:.1%}" for end, share in shares.items())
    return f"answered by {', '.join(ends)}"


def _leaves(sure: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Where each image leaves, (N,): the first head that is sure enough, else after the last."""
    enough = sure >= np.asarray(thresholds)[:, None]
    return np.where(enough.any(axis=0), enough.argmax(axis=0), len(sure))
