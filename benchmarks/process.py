"""A whole command as a candidate: how long it takes from start to end, and its peak of memory."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from inceptive.errors import InceptiveError

LAUNCH = Path(__file__).with_name("launch.py")
ROOT = Path(__file__).parents[1]
"""Where `python -m benchmarks.peers` is found from any folder."""


class Process:
    """A sampler that runs `words` once. peak_bytes is the most memory that any run has held.

    Of a command that starts others, workers that load images say, it is that of the largest one.
    Raises InceptiveError with the last line of its standard error if the command fails.
    """

    def __init__(self, words: Sequence[object], threads: int):
        self.words = [str(word) for word in words]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": path}
        self.peak_bytes = 0

    def __call__(self) -> list[float]:
        with tempfile.TemporaryDirectory(prefix="inceptive-bench-") as folder:
            result = Path(folder, "result.json")
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(LAUNCH), str(result), *self.words],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                env=self.environment, check=False,
            )  # fmt: skip
            told = json.loads(result.read_text()) if result.exists() else {"status": -1}
        if told["status"]:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise InceptiveError(
                f"{' '.join(self.words[:4])} ...: failed with status {told['status']} "
                f"({lines[-1] if lines else 'it said nothing'})"
            )
        self.peak_bytes = max(self.peak_bytes, told["peak_bytes"])
        return [told["seconds"]]


class Until(Process):
    """A sampler that runs `words` until a line of standard error has the pattern `said`, then ends it.

    then: what is waited for besides, given the match. fresh: a folder that is removed before each run.
    environment: variables beside those that are set.
    """

    def __init__(
        self,
        words: Sequence[object],
        threads: int,
        said: str,
        then: Callable[[re.Match[str]], None] = lambda _: None,
        *,
        fresh: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ):
        super().__init__(words, threads)
        self.said, self.then, self.fresh = said, then, fresh
        self.environment |= environment or {}

    def __call__(self) -> list[float]:
        if self.fresh:
            shutil.rmtree(self.fresh, ignore_errors=True)
        started = time.perf_counter()
        with subprocess.Popen(
            self.words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, env=self.environment,
        ) as process:  # fmt: skip
            try:
                line = ""
                assert process.stderr
                for line in process.stderr:
                    if found := re.search(self.said, line):
                        self.then(found)
                        return [time.perf_counter() - started]
            finally:
                process.kill()
        last = line.strip() or "it said nothing"
        raise InceptiveError(f"{' '.join(self.words[:4])} ...: ended before {self.said!r} ({last})")


def inceptive(*words: object) -> list[str]:
    """The command `inceptive WORDS`, in this environment."""
    return [sys.executable, "-m", "inceptive", *map(str, words)]
