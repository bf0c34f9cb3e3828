"""Runs one command and writes how long it took and the most memory it held: a script, by itself.

    python -I -S launch.py RESULT.json COMMAND...

A process of its own, and a small one: Linux counts the memory of whoever starts a program into that
program's peak, and the one that measures has torch loaded. Nothing is imported from inceptive.
"""

import json
import os
import subprocess
import sys
import time


def main(result: str, words: list[str]) -> None:
    started = time.perf_counter()
    process = subprocess.Popen(words)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for already
    peak = used.ru_maxrss if sys.platform == "darwin" else used.ru_maxrss * 1024
    with open(result, "w", encoding="utf-8") as file:
        json.dump({"status": process.returncode, "seconds": seconds, "peak_bytes": peak}, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
