"""`score`: answers for a folder of images or for millions, each image once."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import inceptive
from inceptive.arguments import PositiveInt, checked
from inceptive.engines.embedding import Embedder, Pool, most_images
from inceptive.engines.open import open_engine
from inceptive.engines.protocol import Engine
from inceptive.errors import InceptiveError, InvalidArgument, printable
from inceptive.io import store as storage
from inceptive.io.cores import cores
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent
from inceptive.scale import inputs, parts
from inceptive.scale.parts import Summary, Written
from inceptive.scale.plan import Plan
from inceptive.scale.worker import Job, Local

THREADS = 8
"""CPUs of a worker at most, unless asked for: more share one interpreter too long."""


@checked
def score(
    model: str | Path | Engine,
    images: str | Path,
    out: str | Path,
    *,
    engine: str = "auto",
    top: PositiveInt = 5,
    layer: str | None = None,
    pool: Pool = "mean",
    batch_size: PositiveInt = 32,
    part_size: PositiveInt = 1000,
    workers: PositiveInt | None = None,
    threads: PositiveInt | None = None,
    address: str | None = None,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Summary:
    """Write the `top` answers of `model` for each image of `images` into `out`; existing answers are not
    recomputed.

    model is a model folder, an exported file or a name as for `open_engine`, or a Classifier, which
    workers on this machine run with torch. images is a folder, a file or a glob of images, tar
    shards or Parquet files; images and out are paths or URIs. out becomes Parquet files of at most
    `part_size` images each. `workers` processes (None: as many as fit) score on this machine, each on
    `threads` CPUs (None: 8 at most), or on the machines of the Ray cluster at `address`. After a kill at
    any moment, the same call resumes.

    layer: write the features of this layer, with `pool`, instead of answers ("" the input of the last
    layer): see `inceptive.embed`, and `Embeddings.load` for reading them.

    Raises InceptiveError if the model, the input or `out` cannot be used, `out` was begun with another
    model or input, or workers keep dying.
    """
    progress = progress or Silent()
    folder = storage.local(str(out))
    if not folder:
        raise InvalidArgument("out is empty: name a folder for the answers")
    if not storage.is_uri(folder):
        folder = str(expand(folder))
    opened = open_engine(model, engine, progress.say)
    embedder = None if layer is None else Embedder(opened, layer, pool)
    files = inputs.find(str(images), folder, progress.say)
    if embedder:  # the features of a part are held in memory
        part_size = min(part_size, most_images(embedder))
    plan = Plan(
        input=files.fingerprint,
        model=opened.fingerprint,
        engine=opened.name,
        top=0 if embedder else min(top, len(opened.labels)),
        batch_size=batch_size,
        part=part_size,
        kind=files.kind,
        layer=embedder.layer if embedder else "",
        pool=pool,
    )
    del opened, embedder  # the workers have their own
    with parts.exclusive(folder), ExitStack() as stack:
        before = Plan.read(folder)
        if before is None:
            _refuse_foreign(folder)
            plan = plan.write(folder, files)
        else:
            plan.check_same_plan(before, folder)
            plan = before
        written = parts.existing_parts(folder)
        missing = [number for number in range(plan.parts) if number not in written]
        if not missing and (summary := parts.read_summary(folder)):
            progress.say(f"{printable(folder)}: all is scored already")
            return summary
        run: dict[str, Any] = {}
        if missing:
            file = model if isinstance(model, str | Path) else _saved(model, address, stack)
            each = threads or (min(THREADS, cores()) if address else _threads_of(workers))
            job = Job(str(file), folder, os.getcwd(), plan, each)
            run = _run(job, missing, workers, address, progress)
        scored = parts.read(folder, range(plan.parts))
        summary = Summary(
            images=sum(part.images for part in scored),
            errors=sum(part.errors for part in scored),
            parts=plan.parts,
            last_run=run,
            model=_name(model),
            engine=plan.engine,
            input=storage.redact(str(images)),
            fingerprints={"model": plan.model, "input": plan.input},
            versions={"inceptive": inceptive.__version__, "python": platform.python_version()},
        )
        parts.write_summary(folder, summary)
    return summary


def _threads_of(workers: int | None) -> int:
    """How many CPUs each of so many workers takes, so that all take all: THREADS at most."""
    return max(1, min(THREADS, cores() // (workers or ceil(cores() / THREADS))))


def _saved(engine: Engine, address: str | None, stack: ExitStack) -> str:
    """A folder for the workers to read a Classifier from, until `stack` is closed."""
    from inceptive.engines.classifier import Classifier

    if not isinstance(engine, Classifier):
        raise InvalidArgument(
            f"model is run by {engine.name}: name its folder or file for the workers"
        )
    if address:
        raise InceptiveError(
            "a cluster reads the model itself: save it where the machines see it, and name the folder"
        )
    folder = stack.enter_context(TemporaryDirectory(prefix="inceptive-"))
    engine.save(folder)
    return folder


def _name(model: str | Path | Engine) -> str:
    if isinstance(model, str | Path):
        return str(model)
    path = getattr(model, "path", None)
    return str(path.parent) if path else model.net.name if model.net else model.name


def _refuse_foreign(folder: str) -> None:
    """Raises InceptiveError if the folder holds tables that are not this scoring's."""
    for name in sorted(storage.names(folder)):
        if name.endswith(".parquet"):
            raise InceptiveError(
                f"{printable(storage.join(folder, name))}: is there already, and no plan that it "
                "belongs to; name another folder"
            )


def _run(
    job: Job, missing: list[int], workers: int | None, address: str | None, progress: Progress
) -> dict[str, Any]:
    """Score the parts that are missing, and tell how fast, the start of the workers included."""
    ready = job.plan.parts - len(missing)
    progress.say(
        f"{len(missing)} of {job.plan.parts} parts to score"
        + (f", {ready} are done" if ready else "")
    )
    started, images = time.monotonic(), 0
    with ExitStack() as stack:
        count, results = _start(job, missing, workers, address, stack)
        for done, part in enumerate(results, 1):
            images += part.images
            rate = images / (time.monotonic() - started)
            progress.advance("parts scored", done + ready, job.plan.parts, f"{rate:.0f} images/s")
        seconds = time.monotonic() - started
    return {
        "images": images,
        "seconds": seconds,
        "images_per_second": images / seconds,
        "workers": count,
        "threads": job.threads,
    }


def _start(
    job: Job, missing: list[int], workers: int | None, address: str | None, stack: ExitStack
) -> tuple[int, Iterator[Written]]:
    """How many workers there are, and the parts as they are done."""
    if address:
        from inceptive.scale.cluster import Cluster

        cluster = stack.enter_context(Cluster(address))
        room = cluster.workers(job.threads)
        count = min(workers or room, room, len(missing))
        return count, cluster.scored(job, missing, count)
    count = min(workers or max(1, cores() // job.threads), len(missing))
    return count, stack.enter_context(Local(job, count)).scored(missing)
