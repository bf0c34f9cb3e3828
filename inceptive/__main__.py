"""The command: as `inceptive`, and as a module for launchers that start those, such as torchrun."""

import contextlib
import os
import signal
import sys
from collections.abc import Mapping

HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
"""Where Linux says who gets memory in pages of 2 MB: all, nobody, or who asks for it ("madvise")."""
ASKED_FOR, ANEW = "glibc.malloc.hugetlb", "inceptive_anew"


def main() -> None:
    """Run the command. Ctrl-C while it is imported ends it in silence: nothing has begun."""
    interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    ask_for_huge_pages()
    from inceptive.cli import main as command

    if interrupts:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def ask_for_huge_pages() -> None:
    """Start this process anew with memory in huge pages, where Linux gives them to those who ask.

    With small ones a training step takes 1.2 times as long, and on a busy machine twice (docs/log.md):
    torch returns large maps after use, and for each page of new ones the kernel has to step in.
    """
    if not sys.argv[0].endswith(("/bin/inceptive", "/inceptive/__main__.py")):
        return  # another program's
    # Told by an option, too: from a process with more rights than its user glibc takes the variable.
    if sys.executable and ANEW not in sys._xoptions and (more := huge_pages(os.environ)):
        os.environ |= more
        with contextlib.suppress(OSError):
            os.execv(sys.executable, [sys.executable, "-X", ANEW, *sys.orig_argv[1:]])


def huge_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """What has to be in the environment of a process from its start, so that glibc asks for them."""
    tunables = environment.get("GLIBC_TUNABLES", "")
    try:
        with open(HUGE_PAGES) as file:
            on_request = "[madvise]" in file.read()
    except OSError:
        on_request = False
    if not on_request or ASKED_FOR in tunables:
        return {}
    return {"GLIBC_TUNABLES": f"{tunables}:{ASKED_FOR}=1".lstrip(":")}


if __name__ == "__main__":
    main()
