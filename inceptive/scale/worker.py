"""Workers that score parts: their work, wherever they run, and the workers on this machine.

A process that runs `main` reads a job and then part numbers, one per line, and answers each with a line
of JSON, until its input ends, including when the command that started it is killed.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from inceptive.engines import features
from inceptive.engines.embedding import Embedder, gathered
from inceptive.engines.open import is_peer, open_engine
from inceptive.engines.prediction import answered
from inceptive.errors import InceptiveError, reason
from inceptive.io import store as storage
from inceptive.scale import answers, parts, plan, reading
from inceptive.scale.plan import Plan

READERS = 64
"""Threads at least where images come one by one from an object store: they wait more than they work."""
RETRIES = 5
"""Times that a part is given out again after its worker died: an image may be what kills it."""
START = f"import sys; sys.path[:] = {sys.path!r}; from inceptive.scale.worker import main; main()"
"""What a worker runs: it finds the modules that this process finds, whatever lies in the folder where it
is started."""
DIED = (
    f"a worker died {RETRIES + 1} times over the same images, of a part that is not in the folder "
    "({}); what is written stays"
)
ENDED = 10.0
"""Seconds for a worker that answers no more to end by itself."""


@dataclass(frozen=True)
class Job:
    """model and folder as given; root: where relative paths begin; threads: of each worker."""

    model: str
    folder: str
    root: str
    plan: Plan
    threads: int

    @classmethod
    def from_json(cls, text: str) -> "Job":
        values = json.loads(text)
        return cls(**values | {"plan": Plan(**values["plan"])})


class Worker:
    """Scores parts of a job with an engine opened once."""

    def __init__(self, job: Job):
        self.job, self.error = job, ""
        try:
            name = "auto" if is_peer(job.model) else job.plan.engine
            self.engine = open_engine(job.model, name, threads=job.threads)
            if self.engine.fingerprint != job.plan.model:
                raise InceptiveError(
                    f"{job.model}: is another model than the one that the answers were begun with"
                )
            layer, pool = job.plan.layer, job.plan.pool
            self.embedder = Embedder(self.engine, layer, pool) if layer else None
        except InceptiveError as error:
            self.error = str(error)
        except Exception as error:
            self.error = f"{job.model}: a worker cannot open it ({type(error).__name__}: {error})"

    def score(self, part: int) -> dict[str, Any]:
        """Write the answers of a part; return `parts.Written` as a dict, and any fatal `error`."""
        try:
            if self.error:
                raise InceptiveError(self.error)
            return asdict(self._score(part)) | {"error": ""}
        except InceptiveError as error:
            return {"error": str(error)}
        except Exception as error:
            return {"error": f"part {part} cannot be scored ({type(error).__name__}: {error})"}

    def _score(self, part: int) -> parts.Written:
        job, started = self.job, time.monotonic()
        items = plan.read_part(job.folder, part)
        loads = reading.images(job.plan.kind, items, self.engine.preprocessing)
        far = job.plan.kind == "images" and storage.is_uri(items[0].path)
        threads = max(job.threads, READERS) if far else job.threads
        top, batch = job.plan.top, job.plan.batch_size
        if self.embedder:
            embeddings = gathered(
                self.embedder, self.embedder.each(loads, batch, threads, full=True)
            )
            errors, table = embeddings.errors, partial(features.as_parquet, embeddings)
        else:
            rows = list(answered(self.engine, loads, top, batch, threads, full=True))
            errors, table = tuple(row.error for row in rows), partial(answers.as_parquet, rows, top)
        return parts.write(job.folder, part, errors, table, time.monotonic() - started)


class _Stopped(Exception):
    """Nobody waits for answers any more."""


class Local:
    """`workers` processes on this machine that score parts of `job`; none remain after the block."""

    def __init__(self, job: Job, workers: int):
        self.job, self.count = job, workers
        self._gpus = _gpus() if job.plan.engine == "torch" else []
        self._lock, self._stopped = threading.Lock(), False
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Local":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopped = True
            for process in self._processes.values():
                process.kill()
        for thread in self._threads:
            thread.join()

    def scored(self, numbers: Sequence[int]) -> Iterator[parts.Written]:
        """Yield each of the parts `numbers` when done, in any order.

        Raises InceptiveError if a part cannot be written, or workers keep dying.
        """
        todo: SimpleQueue[int] = SimpleQueue()
        done: SimpleQueue[dict[str, Any]] = SimpleQueue()
        for number in numbers:
            todo.put(number)
        for index in range(self.count):
            thread = threading.Thread(target=self._feed, args=(index, todo, done), daemon=True)
            self._threads.append(thread)
            thread.start()
        for _ in numbers:
            answer = done.get()
            if error := answer.pop("error"):
                raise InceptiveError(error)
            yield parts.Written(**answer)

    def _feed(self, index: int, todo: SimpleQueue[int], done: SimpleQueue[dict[str, Any]]) -> None:
        """Give parts to worker number `index`, and to those that take its place when it dies."""
        process: subprocess.Popen[str] | None = None
        try:
            while True:
                part, answer, how = todo.get_nowait(), "", ""
                for _ in range(RETRIES + 1):
                    process = process or self._start(index)
                    if answer := _ask(process, f"{part}\n"):
                        break
                    how = _death(process)
                    process = None
                done.put(json.loads(answer) if answer else {"error": DIED.format(how)})
        except (Empty, _Stopped):
            pass
        except OSError as error:
            done.put({"error": f"no worker can be started ({reason(error)})"})
        finally:
            if process:
                _end(process)

    def _start(self, index: int) -> subprocess.Popen[str]:
        """A new process that has the job. Raises _Stopped if all is to end."""
        with self._lock:
            if self._stopped:
                raise _Stopped
            environment = dict(os.environ)
            if self._gpus:
                environment["CUDA_VISIBLE_DEVICES"] = self._gpus[index % len(self._gpus)]
            process = self._processes[index] = subprocess.Popen(
                [sys.executable, "-P", "-c", START],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                encoding="utf-8", env=environment,
            )  # fmt: skip
        _ask(process, f"{json.dumps(asdict(self.job))}\n", answered=False)
        return process


def _ask(process: subprocess.Popen[str], line: str, answered: bool = True) -> str:
    """What a worker answers; nothing if it is dead."""
    assert process.stdin and process.stdout
    try:
        process.stdin.write(line)
        process.stdin.flush()
        answer = process.stdout.readline() if answered else ""
    except OSError:
        return ""
    return answer if answer.startswith("{") and answer.endswith("}\n") else ""


def _death(process: subprocess.Popen[str]) -> str:
    """How a worker ended that answers no more."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ENDED)
    status = process.poll()
    _end(process)
    if status == -9:  # SIGKILL, which Windows has no name for
        return "it was killed: more memory may help, or fewer workers"
    if status is None or status >= 0:
        return f"exit status {status}" if status else "it gave no answer"
    return f"by {signal.Signals(-status).name}"


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    with contextlib.suppress(OSError), process:  # of what was written and not read
        pass


def _gpus() -> list[str]:
    """The names that CUDA_VISIBLE_DEVICES has for the GPUs of this machine."""
    import torch

    names = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return names.split(",") if names else [str(k) for k in range(torch.cuda.device_count())]


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us hears Ctrl-C, and ends us
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    worker = Worker(Job.from_json(sys.stdin.readline()))
    for line in sys.stdin:
        print(json.dumps(worker.score(int(line))), file=answers, flush=True)
