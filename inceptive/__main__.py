"""The command: as `inceptive`, and as a module for launchers that start those, such as torchrun."""

import contextlib
import os
import signal
import sys
from collections.abc import Mapping

ALLOCATION = {"hugetlb": 1, "mmap_max": 0, "trim_threshold": 10**12}
"""How glibc allocates: in pages of 2 MB where Linux has them, and it keeps what torch frees after each
step, which is needed again in the next. It reads them when a process starts."""
SPINS = "20000"
"""How often an idle thread of torch's looks for work before it sleeps, some milliseconds at most. By
libgomp's 300,000 it spins in the way of those that have work, wherever another program needs a core."""
ANEW = "inceptive_anew"


def main() -> None:
    """Run the command. Ctrl-C while it is imported ends it in silence: nothing has begun."""
    interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    start_anew()
    from inceptive.cli import main as command

    if interrupts:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def start_anew() -> None:
    """Start this process anew with glibc's ALLOCATION and libgomp's SPINS, unless the user set glibc's.

    A training step takes 1.05 to 1.3 times as long otherwise (docs/log.md): for each page of memory that
    was given back the kernel has to step in, and clear it.
    """
    if not sys.argv[0].endswith(("/bin/inceptive", "/inceptive/__main__.py")):
        return  # another program's
    # Told by an option, too: from a process with more rights than its user glibc takes the variable.
    if sys.executable and ANEW not in sys._xoptions and (more := environment_for_speed(os.environ)):
        os.environ |= more
        with contextlib.suppress(OSError):
            os.execv(sys.executable, [sys.executable, "-X", ANEW, *sys.orig_argv[1:]])


def environment_for_speed(environment: Mapping[str, str]) -> dict[str, str]:
    """What has to be in the environment of a process from its start besides."""
    tunables = environment.get("GLIBC_TUNABLES", "")
    if sys.platform != "linux" or "glibc.malloc." in tunables:
        return {}
    ours = ":".join(f"glibc.malloc.{name}={value}" for name, value in ALLOCATION.items())
    more = {"GLIBC_TUNABLES": f"{tunables}:{ours}".lstrip(":")}
    if not environment.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        more["GOMP_SPINCOUNT"] = SPINS
    return more


if __name__ == "__main__":
    main()
