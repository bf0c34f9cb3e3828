"""The whole run: sections in order, one object for JSON, and what is left of it when it is stopped."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from benchmarks import (
    decoding,
    epochs,
    growth,
    inference,
    memory,
    pipeline,
    startup,
    training,
    waiting,
)
from benchmarks.benchmark import Peaks
from benchmarks.machine import machine
from benchmarks.roofline import roofline
from benchmarks.setting import Say, Setting

Section = Callable[[Setting, Peaks, Say], Iterator[dict[str, Any]]]
SECTIONS: dict[str, Section] = {
    training.SECTION: training.measure,
    inference.SECTION: inference.measure,
    epochs.SECTION: epochs.measure,
    pipeline.SECTION: pipeline.measure,
    decoding.SECTION: decoding.measure,
    startup.SECTION: startup.measure,
    waiting.SECTION: waiting.measure,
    memory.SECTION: memory.measure,
    growth.SECTION: growth.measure,
}
COUNTED = {training.SECTION, inference.SECTION, growth.SECTION}
"""Sections whose multiply-adds are set beside the machine's peak."""


def measure(
    sections: Sequence[str],
    setting: Setting,
    say: Say,
    command: str,
    save: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """The report: machine, setting, roofline, and the benchmarks of each of `sections`, for JSON.

    Stopped with Ctrl-C it returns what is done, with "stopped" true. So far it is true in what `save`
    is given after each benchmark: if this process is ended, half an hour of measuring is not lost.
    """
    torch.set_num_threads(setting.threads)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": machine(),
        "setting": {
            "net": setting.net,
            "rounds": setting.rounds,
            "seconds": setting.seconds,
            "threads": setting.threads,
            "device": setting.device,
            "quick": setting.quick,
        },
        "roofline": None,
        "sections": {},
        "stopped": True,
    }
    peaks: Peaks = {}
    try:
        if COUNTED.intersection(sections):
            report["roofline"], peaks = roofline(setting, say)
        for name in sections:
            done = report["sections"][name] = []
            for benchmark in SECTIONS[name](setting, peaks, say):
                done.append(benchmark)
                save(report)
        report["stopped"] = False
    except KeyboardInterrupt:
        pass  # the report says so
    return report
