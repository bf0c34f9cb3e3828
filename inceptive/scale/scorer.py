"""Scores parts, one after the other: what a worker does, wherever it runs."""

import contextlib
import os
import time
from dataclasses import dataclass

from inceptive.engines.open import open_engine
from inceptive.engines.prediction import answered
from inceptive.io import store as storage
from inceptive.scale import parts, plan, reading
from inceptive.scale.plan import Plan

READERS = 64
"""Threads at least where images come one by one from an object store: they wait more than they work."""


@dataclass(frozen=True)
class Job:
    """model and folder as given; root: where relative paths begin; threads: of each worker."""

    model: str
    folder: str
    root: str
    plan: Plan
    threads: int


class Scorer:
    """Scores parts of a job with an engine that is opened once. Raises InceptiveError as it does."""

    def __init__(self, job: Job):
        with contextlib.suppress(OSError):  # of a node that has no such folder, paths are absolute
            os.chdir(job.root)
        self.job = job
        self.engine = open_engine(job.model, job.plan.engine, threads=job.threads)

    def score(self, part: int) -> parts.Written:
        """Score part number `part` and write it. Raises InceptiveError if it cannot be written."""
        job, started = self.job, time.monotonic()
        pieces = plan.read_part(job.folder, part)
        loads = reading.images(job.plan.kind, pieces, self.engine.preprocessing)
        far = job.plan.kind == "images" and storage.is_uri(pieces[0].path)
        threads = max(job.threads, READERS) if far else job.threads
        top, batch = job.plan.top, job.plan.batch_size
        found = list(answered(self.engine, loads, top, batch, threads, full=True))
        return parts.write(job.folder, part, found, top, time.monotonic() - started)
