"""Workers on the machines of a Ray cluster, which restarts them when they die.

Only part numbers and, in return, image counts go through Ray: each worker reads its images and writes
its answers itself.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from inceptive.errors import InceptiveError, reason, requires
from inceptive.scale.parts import Written
from inceptive.scale.worker import DIED, RETRIES, Job, Worker


class ClusterWorker(Worker):
    """A Worker in a Ray process, which has another working directory."""

    def __init__(self, job: Job):
        with contextlib.suppress(OSError):  # of a node that has no such folder, paths are absolute
            os.chdir(job.root)
        super().__init__(job)


class Cluster:
    """The Ray cluster at `address`, for the duration of the block. InceptiveError if unreachable."""

    def __init__(self, address: str):
        with requires("a cluster needs Ray", "scale"):
            import ray
            import ray.util
        self.ray: Any = ray
        _check_reached(address)
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
        except (OSError, RuntimeError, ValueError) as error:
            raise InceptiveError(f"address {address}: cannot be joined ({reason(error)})") from None
        finally:
            if main and before is not None:  # Ray has put its own in its place
                signal.signal(signal.SIGTERM, before)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.ray.shutdown()

    def workers(self, threads: int) -> int:
        """How many workers with `threads` CPUs each fit. Raises InceptiveError if none does."""
        nodes = [node["Resources"].get("CPU", 0) for node in self.ray.nodes() if node["Alive"]]
        count = sum(int(cpus // threads) for cpus in nodes)
        if not count:
            raise InceptiveError(
                f"threads {threads}: no machine has so many CPUs for one worker; "
                f"the largest has {int(max(nodes, default=0))}"
            )
        return count

    def scored(self, job: Job, numbers: Sequence[int], workers: int) -> Iterator[Written]:
        """Yield each of the parts `numbers` when done, in any order.

        Raises InceptiveError if a part cannot be written, or workers keep dying.
        """
        gpus = int(self.ray.cluster_resources().get("GPU", 0)) if job.plan.engine == "torch" else 0
        actor = self.ray.remote(
            num_cpus=job.threads, num_gpus=1 / -(-workers // gpus) if gpus else 0,
            max_restarts=-1, max_task_retries=RETRIES,
        )(ClusterWorker)  # fmt: skip
        pool = self.ray.util.ActorPool([actor.remote(job) for _ in range(workers)])
        try:
            for answer in pool.map_unordered(
                lambda worker, part: worker.score.remote(part), numbers
            ):
                if error := answer.pop("error"):
                    raise InceptiveError(error)
                yield Written(**answer)
        except self.ray.exceptions.RayActorError:
            raise InceptiveError(DIED.format("Ray's logs say how")) from None
        except self.ray.exceptions.RayError as error:
            raise InceptiveError(f"Ray gave up: {reason(error, 300)}") from None


def _check_reached(address: str) -> None:
    """Raises InceptiveError unless something listens at HOST:PORT; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise InceptiveError(
                f"address {address}: no Ray answers there ({reason(error)})"
            ) from None
