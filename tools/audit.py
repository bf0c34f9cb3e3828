"""What is known against the packages that constraints.txt pins; pip-audit asks OSV or PyPI.

    python tools/audit.py PIP_AUDIT

pip-audit calls a package that it could not ask about "skipped" and the whole free of vulnerabilities.
Here that is an error: nothing was found out. Exit status: 0 none known, 1 some known, or not all asked.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 600


def audit(program: str) -> tuple[str, int]:
    """What was found, as text, and the exit status."""
    words = [program, "--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json",
             "--requirement", str(ROOT / "constraints.txt")]  # fmt: skip
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
        asked = json.loads(done.stdout)["dependencies"]
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        return f"audit: nothing was found out: {program} does not answer ({error})", 1
    return judged(asked, done.stderr)


def judged(asked: list[dict], said: str = "") -> tuple[str, int]:
    """What pip-audit's list of packages means."""
    skipped = [one["name"] for one in asked if "skip_reason" in one]
    known = [(one["name"], one["version"], flaw) for one in asked for flaw in one.get("vulns", ())]
    lines = [
        f"{name} {version}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for name, version, flaw in known
    ]
    if skipped or not asked:
        which = "none" if len(skipped) == len(asked) else f"only {len(asked) - len(skipped)}"
        lines.append(
            f"audit: {which} of {len(asked)} packages could be asked about: the vulnerability service "
            f"cannot be reached from here, or does not know {', '.join(skipped[:3])} ..."
        )
    elif not known:
        lines.append(
            f"audit: nothing is known against the {len(asked)} packages of constraints.txt"
        )
    return "\n".join(lines), int(bool(known or skipped or not asked))


if __name__ == "__main__":
    text, status = audit(sys.argv[1])
    print(text)
    sys.exit(status)
