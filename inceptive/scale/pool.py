"""Ray Data: workers on one machine or many, each with an engine of its own, restarted if they die.

What goes through Ray is the number of a part and, back, how many images it had: images are read and
answers are written by the worker that has them.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from inceptive.errors import InceptiveError
from inceptive.io.cores import cores
from inceptive.scale.parts import Written
from inceptive.scale.scorer import Job, Scorer

BLOCKS = 10_000
"""Tasks at most: of more parts than that, several are one task."""
RETRIES = 5
"""Times that a task is given out again after its worker died: an image may be what kills it."""
DIED = (
    f"a worker died {RETRIES + 1} times over the same images, of a part that is not in the folder; "
    "more memory may help, or fewer --workers; what is written stays"
)
STORE = 100 * 2**20
"""Bytes of Ray's object store on one machine: nothing large ever lies there."""


def package() -> Any:
    """The package ray, quiet, and kept from reporting to its makers. InceptiveError if missing."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.data
    except ImportError:
        raise InceptiveError("scoring needs Ray: pip install 'inceptive[scale]'") from None
    return ray


class Worker:
    """What Ray runs: a row {"part": k} to a row of `Written`, or of an `error` that ends the job."""

    def __init__(self, job: Job):
        self.scorer: Scorer | None = None
        try:
            self.scorer = Scorer(job)
        except InceptiveError as error:
            self.error = str(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        part = int(row["part"])
        try:
            if self.scorer is None:
                raise InceptiveError(self.error)
            return asdict(self.scorer.score(part)) | {"error": ""}
        except InceptiveError as error:
            told = str(error)
        except Exception as error:  # Ray would try again, and end with pages
            told = f"part {part} cannot be scored ({type(error).__name__}: {error})"
        return asdict(Written(part, 0, 0, 0.0)) | {"error": told}


class Pool:
    """Ray, for as long as the block: started on this machine, or the cluster at `address`.

    Raises InceptiveError if Ray does not start, or the cluster cannot be reached. SIGTERM is a
    KeyboardInterrupt inside, so that nothing that was started stays.
    """

    def __init__(self, address: str | None):
        self.address = address
        self.ray = package()
        self._left = contextlib.ExitStack()

    def __enter__(self) -> "Pool":
        if self.address:
            _reached(self.address)
        with contextlib.ExitStack() as left:
            left.enter_context(_quiet())
            own: dict[str, Any] = {}
            if self.address is None:
                folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
                own["_temp_dir"] = left.enter_context(folder)
                own |= {"num_cpus": cores(), "object_store_memory": STORE}
                own["include_dashboard"] = False
            left.callback(self.ray.shutdown)
            try:
                self.ray.init(
                    self.address or "local",
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    **own,
                )
            except (OSError, RuntimeError, ValueError) as error:
                line = " ".join(str(error).split())[:200]
                raise InceptiveError(f"Ray does not start ({line})") from None
            left.enter_context(_stopped_by_sigterm())
            self._left = left.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.close()

    def workers(self, threads: int) -> int:
        """How many workers of so many CPUs fit. Raises InceptiveError if none does."""
        nodes = [one["Resources"].get("CPU", 0) for one in self.ray.nodes() if one["Alive"]]
        count = sum(int(cpus // threads) for cpus in nodes)
        if not count:
            raise InceptiveError(
                f"--threads {threads}: no machine has so many CPUs for one worker; "
                f"the largest has {int(max(nodes, default=0))}"
            )
        return count

    def scored(self, job: Job, numbers: Sequence[int], workers: int) -> Iterator[Written]:
        """Each of the parts `numbers` as it is done, in any order.

        Raises InceptiveError if a part cannot be written, or workers keep dying.
        """
        data = self.ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        rows = data.from_items(
            [{"part": part} for part in numbers], override_num_blocks=min(len(numbers), BLOCKS)
        )
        with warnings.catch_warnings():
            # Without a limit, Ray Data would give out for ever what kills each worker. From 2.64 on
            # it is to be set in another way.
            warnings.filterwarnings("ignore", message="`ray_remote_args`")
            done = rows.map(
                Worker,
                fn_constructor_args=(job,),
                compute=data.ActorPoolStrategy(size=workers),
                num_cpus=job.threads,
                num_gpus=self._gpus(workers) if job.plan.engine == "torch" else 0,
                max_restarts=-1,
                max_task_retries=RETRIES,
            )
        try:
            for row in done.iter_rows():
                if error := row.pop("error"):
                    raise InceptiveError(error)
                yield Written(**row)
        except (self.ray.exceptions.RayError, data.exceptions.SystemException) as error:
            died = isinstance(error, self.ray.exceptions.RayActorError) or "ActorDied" in str(error)
            raise InceptiveError(DIED if died else _line(error)) from None

    def _gpus(self, workers: int) -> float:
        """The share of a GPU that each worker gets; 0 where there is none."""
        gpus = int(self.ray.cluster_resources().get("GPU", 0))
        return 1 / -(-workers // gpus) if gpus else 0


def _reached(address: str) -> None:
    """Raises InceptiveError unless something listens at HOST:PORT; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            reason = error.strerror or error
            raise InceptiveError(f"--address {address}: no Ray answers there ({reason})") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what Ray writes out of our streams: its processes share them, and each has much to say.

    Who prints to sys.stderr, as we do, is still heard.
    """
    own = sys.stderr
    with contextlib.ExitStack() as left:
        nothing = left.enter_context(open(os.devnull, "w"))
        left.enter_context(contextlib.redirect_stdout(nothing))
        kept = os.dup(2)
        left.callback(os.close, kept)
        own.flush()
        os.dup2(nothing.fileno(), 2)
        left.callback(os.dup2, kept, 2)
        if own is sys.__stderr__:
            heard = left.enter_context(open(os.dup(kept), "w", errors="backslashreplace"))
            left.enter_context(contextlib.redirect_stderr(heard))
        yield


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM as Ctrl-C; Ray would end with its own words, and prints a trace."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _line(error: BaseException) -> str:
    lines = [one.strip() for one in str(error).splitlines() if one.strip()]
    return f"Ray gave up: {(lines or [type(error).__name__])[0][:300]}"
