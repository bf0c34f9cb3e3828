"""Several processes that train as one: how they connect, and what they exchange.

torchrun starts them, on one machine or many. Each takes its part of every batch; what is drawn for a
batch (crops, augmentation, dropout) is drawn for all of it, and batch normalisation averages over all of
it, so training is the same, to rounding, with any number of processes.
"""

import os
import re
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from inceptive.data.loading import Rank
from inceptive.errors import InceptiveError

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)
"""How long a process waits for one that does not answer: a cut link may come back."""


class World:
    """The processes that torchrun started, or this one alone. Process 0 writes and reports.

    Every process must make the same calls in the same order.
    """

    def __init__(self) -> None:
        self._job = join_torchrun()
        several = dist.is_initialized()
        self.share = Rank(dist.get_rank(), dist.get_world_size()) if several else Rank()
        self.device = device()
        self.is_main = self.share.rank == 0

    @property
    def is_single(self) -> bool:
        return self.share.world == 1

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether any process has it set."""
        if self.is_single:
            return list(flags)
        values = torch.tensor(flags, dtype=torch.uint8, device=self.device)
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return [bool(value) for value in values.tolist()]

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum over all processes, of the shape of `values`."""
        total = values.clone()
        if not self.is_single:
            dist.all_reduce(total)
        return total

    def all_gather(self, rows: np.ndarray) -> np.ndarray:
        """Concatenate the rows (n, ...) of all processes, however many each has."""
        return rows if self.is_single else np.concatenate(self._gather_objects(rows))

    def broadcast(self, make: Callable[[], T]) -> T:
        """Return the result of `make` in process 0, or raise its InceptiveError, in every process."""
        if self.is_single:
            return make()
        box: list[Any] = [None, None]
        if self.is_main:
            try:
                box[0] = make()
            except InceptiveError as error:
                box[1] = str(error)
        dist.broadcast_object_list(box)
        if box[1] is not None:
            raise InceptiveError(box[1])
        value: T = box[0]
        return value

    def refuse_unless_alike(self, value: object, what: str) -> None:
        """Raise InceptiveError if `value`, described by `what`, is not the same everywhere."""
        values = [value] if self.is_single else self._gather_objects(value)
        other = next((rank for rank, theirs in enumerate(values) if theirs != values[0]), None)
        if other is not None:
            raise InceptiveError(
                f"process {other} has other {what} than process 0: {values[other]}, not {values[0]}"
            )

    def begin(self, what: str) -> None:
        """Record `what` for `begun`, also in processes that torchrun starts after these."""
        if self._job is not None:
            self._job.set(f"begun/{what}", "")

    def begun(self, what: str) -> bool:
        """Whether processes of this torchrun run began `what`: these are then restarts.

        torchrun's restart count tells neither that they got that far nor, with several machines,
        whether another one's processes caused the restart of all.
        """
        return self._job is not None and bool(self._job.check([f"begun/{what}"]))

    def wait(self) -> None:
        """Wait until every process is here."""
        if not self.is_single:
            dist.barrier()

    def leave(self) -> None:
        """Disconnect from the others; a process that just exits may abort with its own message."""
        if self._job is not None and dist.is_initialized():
            dist.destroy_process_group()
            join_torchrun.cache_clear()

    def _gather_objects(self, value: Any) -> list[Any]:
        values = [None] * self.share.world
        dist.all_gather_object(values, value)
        return values


def launched() -> tuple[int, int]:
    """This process's rank among those that torchrun started, and their number; (0, 1) alone."""
    if not dist.is_torchelastic_launched():
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def device() -> torch.device:
    """The training device: this process's accelerator, else the CPU."""
    if not torch.accelerator.is_available():
        return torch.device("cpu")
    kind = torch.accelerator.current_accelerator()
    assert kind is not None
    return torch.device(kind.type, torch.accelerator.current_device_index())


def lost(error: RuntimeError) -> str:
    """Why another process did not answer, in one line, if that is the `error`; else ""."""
    if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
        return ""
    # without the line of its source
    reason = re.sub(r"^\[[^]]*\] ", "", str(error)).partition(". ")[0]
    return " ".join(reason.split())[:200]


@cache
def join_torchrun() -> Store | None:
    """Initialise torch.distributed with the processes of this start; return torchrun's store.

    A single process has none, and nothing to initialise. The store may still hold the addresses of
    processes of an earlier start that are gone, so all use a part of it under a name that the first of
    them has just made up.
    """
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        return None
    store: Store
    store, rank, world = next(rendezvous("env://", timeout=PATIENCE))
    name = _name_round(store, world) if rank == 0 else _ask_round(store, rank)
    if torch.accelerator.is_available():
        torch.accelerator.set_device_index(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        dist.get_default_backend_for_device(device()),
        store=PrefixStore(name, store), rank=rank, world_size=world, timeout=PATIENCE,
    )  # fmt: skip
    return store


def _name_round(store: Store, world: int) -> str:
    """A new name, told to every process that asks until all of this start have it."""
    name, until = uuid4().hex, time.monotonic() + PATIENCE.total_seconds()
    while store.add(f"{name}/met", 0) < world - 1:
        for rank in range(1, world):
            if store.check([f"asks/{rank}"]):  # one that is gone may have asked: nobody reads that
                store.set(f"answer/{store.get(f'asks/{rank}').decode()}", name)
        if time.monotonic() > until:
            raise InceptiveError(f"not all of the {world} processes came within {PATIENCE}")
        time.sleep(0.02)
    return name


def _ask_round(store: Store, rank: int) -> str:
    me = uuid4().hex
    store.set(f"asks/{rank}", me)
    name: str = store.get(f"answer/{me}").decode()
    store.add(f"{name}/met", 1)
    return name
