"""The image files that lie under a folder."""

import os
from collections.abc import Iterable
from pathlib import Path

from inceptive.images import SUFFIXES, printable


def list_images(
    folder: Path, elsewhere: Iterable[Path] = ()
) -> tuple[list[str], list[str], list[str]]:
    """Image files under `folder` and other files, sorted paths; and notes on what cannot be read.

    Hidden files and folders are in neither. Links are followed, each real folder once and those in
    `elsewhere` never, so a loop of links ends.
    """
    images: list[str] = []
    others: list[str] = []
    notes: list[str] = []
    seen = {identity(path) for path in elsewhere} - {identity(folder)}

    def refused(error: OSError) -> None:
        path = printable(error.filename)
        notes.append(f"{path} cannot be read ({error.strerror}) and is left out")

    for where, folders, files in os.walk(folder, onerror=refused, followlinks=True):
        if identity(where) in seen:
            folders.clear()
            continue
        seen.add(identity(where))
        folders[:] = sorted(name for name in folders if not hidden(name))
        for name in files:
            if not hidden(name):
                kind = images if Path(name).suffix.lower() in SUFFIXES else others
                kind.append(os.path.join(where, name))
    return sorted(images), sorted(others), notes


def identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX")) or name in ("Thumbs.db", "desktop.ini")
