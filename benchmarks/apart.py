"""A call in a process of its own, started as `inceptive` starts itself: with memory in huge pages."""

import os
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import torch

from inceptive.__main__ import huge_pages


def apart(build: Callable[..., Callable[[], object]], *args: Any) -> Callable[[], None]:
    """What `build(*args)` returns, called in a process that ends with this one.

    Both are pickled: a function of a module, and values.
    """
    spawn = get_context("spawn")  # of a process that is forked glibc is set up already
    ours, theirs = spawn.Pipe()
    with mock.patch.dict(os.environ, huge_pages(os.environ)):
        spawn.Process(
            target=_answer, args=(theirs, torch.get_num_threads(), build, args), daemon=True
        ).start()
    ours.recv()

    def call() -> None:
        ours.send(None)
        ours.recv()

    return call


def _answer(
    calls: Connection,
    threads: int,
    build: Callable[..., Callable[[], object]],
    args: tuple[Any, ...],
) -> None:
    torch.set_num_threads(threads)
    call = build(*args)
    while True:
        calls.send(None)
        calls.recv()
        call()
