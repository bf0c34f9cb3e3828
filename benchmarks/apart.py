"""A call in a process of its own, started with more in its environment."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import torch

from inceptive.errors import InceptiveError


def apart(
    environment: Mapping[str, str], build: Callable[..., Callable[[], object]], *args: Any
) -> Callable[[], None]:
    """What `build(*args)` returns, called in a process that ends when it is no longer held.

    It starts with `environment` besides. build and args are pickled: a function of a module, and
    values. Raises InceptiveError if build does, or if the process ends.
    """
    spawn = get_context("spawn")  # of a process that is forked glibc is set up already
    ours, theirs = spawn.Pipe()
    with mock.patch.dict(os.environ, environment):
        spawn.Process(
            target=_answer, args=(theirs, torch.get_num_threads(), build, args), daemon=True
        ).start()
    theirs.close()

    def wait() -> None:
        try:
            problem = ours.recv()
        except EOFError:
            problem = "its process ended"
        if problem:
            raise InceptiveError(problem)

    def call() -> None:
        ours.send("")
        wait()

    wait()
    return call


def maybe_apart(
    quick: bool, environment: Mapping[str, str], build: Callable[..., Any], *args: Any
) -> Callable[[], Callable[[], object]]:
    """How to build it `apart`; if `quick`, in this process."""
    return partial(build, *args) if quick else partial(apart, environment, build, *args)


def _answer(
    calls: Connection,
    threads: int,
    build: Callable[..., Callable[[], object]],
    args: tuple[Any, ...],
) -> None:
    torch.set_num_threads(threads)
    try:
        call = build(*args)
        while True:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            calls.send("")
            calls.recv()
            call()
    except InceptiveError as error:
        calls.send(str(error))
    except (EOFError, BrokenPipeError):
        return
