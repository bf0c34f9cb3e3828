"""Ray Data: workers on one machine or many, each with an engine of its own, restarted if they die.

What goes through Ray is the number of a part and, back, how many images it had: images are read and
answers are written by the worker that has them.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from inceptive.errors import InceptiveError
from inceptive.scale.parts import Written
from inceptive.scale.scorer import Job, Scorer

BLOCKS = 10_000
"""Tasks at most: of more parts than that, several are one task."""
STORE = 100 * 2**20
"""Bytes of Ray's object store on one machine: nothing large ever lies there."""


def package() -> Any:
    """The package ray, quiet, and kept from reporting to its makers. InceptiveError if missing."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it writes to our standard error
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
        try:
            if self.scorer is None:
                raise InceptiveError(self.error)
            return asdict(self.scorer.score(int(row["part"]))) | {"error": ""}
        except InceptiveError as error:
            return asdict(Written(int(row["part"]), 0, 0, 0.0)) | {"error": str(error)}


class Pool:
    """Ray, for as long as the block: started on this machine, or the cluster at `address`.

    Raises InceptiveError if the cluster cannot be reached, or has too few CPUs for one worker.
    """

    def __init__(self, address: str | None):
        self.address = address
        self.ray = package()

    def __enter__(self) -> "Pool":
        own: dict[str, Any] = {"num_cpus": cores(), "object_store_memory": STORE}
        quiet = {"include_dashboard": False} if self.address is None else {}
        try:
            self.ray.init(
                self.address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if self.address else own | quiet),
            )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            line = " ".join(str(error).split())[:200]
            raise InceptiveError(f"Ray does not start ({line})") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.ray.shutdown()

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
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = data.from_items(
            [{"part": part} for part in numbers], override_num_blocks=min(len(numbers), BLOCKS)
        )
        done = rows.map(
            Worker,
            fn_constructor_args=(job,),
            compute=data.ActorPoolStrategy(size=workers),
            num_cpus=job.threads,
            num_gpus=self._gpus(workers) if job.plan.engine == "torch" else 0,
        )
        for row in done.iter_rows():
            if error := row.pop("error"):
                raise InceptiveError(error)
            yield Written(**row)

    def _gpus(self, workers: int) -> float:
        """The share of a GPU that each worker gets; 0 where there is none."""
        gpus = int(self.ray.cluster_resources().get("GPU", 0))
        return 1 / -(-workers // gpus) if gpus else 0


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
