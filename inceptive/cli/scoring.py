"""What `inceptive score` does."""

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import inceptive
from inceptive.cli.progress import duration, say
from inceptive.engines.open import open_engine
from inceptive.errors import InceptiveError
from inceptive.images import printable
from inceptive.io import store as storage
from inceptive.io.cores import cores
from inceptive.scale import inputs, parts
from inceptive.scale.plan import Plan
from inceptive.scale.pool import Pool
from inceptive.scale.scorer import Job

THREADS = 8
"""CPUs of a worker at most, unless asked for: more share one interpreter too long."""
EVERY = 10.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class Request:
    model: str
    input: str
    out: str
    top: int
    engine: str
    batch_size: int
    part: int
    workers: int | None
    threads: int | None
    address: str | None


def score(request: Request) -> None:
    """Score what is not scored yet, and say how it went. Raises InceptiveError if it cannot go on."""
    folder = storage.local(request.out)
    plan, found = planned(request)
    with parts.exclusive(folder):
        before = Plan.read(folder)
        if before is None:
            refuse_foreign(folder)
            plan = plan.write(folder, found)
        else:
            plan.check_same_plan(before, folder)
            plan = before
        there = parts.existing_parts(folder)
        missing = [number for number in range(plan.parts) if number not in there]
        if not missing and (summary := parts.read_summary(folder)):
            say(f"{printable(folder)}: all is scored already; {told(summary)}")
            return
        try:
            run = scored(request, plan, missing) if missing else {}
        except KeyboardInterrupt:
            raise KeyboardInterrupt("stopped; the same command goes on") from None
        summary = summed(request, plan, run)
        parts.write_summary(folder, summary)
    say(told(summary))


def planned(request: Request) -> tuple[Plan, inputs.Input]:
    """The plan, its parts not counted yet, and the input that it is for."""
    engine = open_engine(request.model, request.engine, say)
    top = min(request.top, len(engine.labels))
    found = inputs.find(request.input)
    return Plan(
        input=found.fingerprint,
        model=engine.fingerprint,
        engine=engine.name,
        top=top,
        batch_size=request.batch_size,
        part=request.part,
        kind=found.kind,
    ), found


def refuse_foreign(folder: str) -> None:
    """Raises InceptiveError if the folder holds tables that are not this scoring's."""
    for name in sorted(storage.names(folder)):
        if name.endswith(".parquet"):
            raise InceptiveError(
                f"{printable(storage.join(folder, name))}: is there already, and no plan that it "
                "belongs to; name another folder"
            )


def scored(request: Request, plan: Plan, missing: list[int]) -> dict[str, Any]:
    """Score the parts that are missing, and tell how fast, the start of the workers included."""
    threads = request.threads or min(THREADS, cores())
    job = Job(request.model, storage.local(request.out), os.getcwd(), plan, threads)
    ready = plan.parts - len(missing)
    say(f"{len(missing)} of {plan.parts} parts to score" + (f", {ready} are done" if ready else ""))
    with Pool(request.address) as pool:
        workers = min(request.workers or pool.workers(threads), len(missing))
        started = shown = time.monotonic()
        images = 0
        for done, one in enumerate(pool.scored(job, missing, workers), 1):
            images += one.images
            now = time.monotonic()
            if now - shown >= EVERY:
                shown = now
                left = (now - started) / done * (len(missing) - done)
                say(
                    f"{done + ready}/{plan.parts} parts  {images / (now - started):.0f} images/s  "
                    f"{duration(now - started)} gone, {duration(left)} left"
                )
        seconds = time.monotonic() - started
    return {
        "images": images,
        "seconds": seconds,
        "images_per_second": images / seconds,
        "workers": workers,
        "threads": threads,
    }


def summed(request: Request, plan: Plan, run: dict[str, Any]) -> dict[str, Any]:
    """What `_summary.json` tells, counted from the parts that are there."""
    written = parts.read(storage.local(request.out), range(plan.parts))
    return {
        "images": sum(one.images for one in written),
        "errors": sum(one.errors for one in written),
        "parts": plan.parts,
        "last_run": run,
        "model": request.model,
        "engine": plan.engine,
        "input": request.input,
        "fingerprints": {"model": plan.model, "input": plan.input},
        "versions": {
            "inceptive": inceptive.__version__,
            "ray": version("ray"),
            "python": platform.python_version(),
        },
    }


def told(summary: dict[str, Any]) -> str:
    run = summary["last_run"]
    speed = f", {run['images_per_second']:.0f} images/s" if run else ""
    bad = f", {summary['errors']} of them cannot be read" if summary["errors"] else ""
    return f"{summary['images']} images in {summary['parts']} parts{bad}{speed}"
