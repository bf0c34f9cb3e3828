"""From what a person writes as DATA to labelled images."""

from pathlib import Path

from inceptive.data.builtin import BUILTIN
from inceptive.data.folder import Progress, read_folder
from inceptive.data.source import Data, Shares
from inceptive.errors import InceptiveError


def open_data(
    name: str, shares: Shares = Shares(), strict: bool = False, progress: Progress | None = None
) -> Data:
    """The set called `name`: a folder, or a built-in set with its option ("solar:grades").

    A folder of that name comes before a built-in set. Raises InceptiveError if there is neither.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return read_folder(path, shares, strict, progress)
    builtin, _, option = name.partition(":")
    if builtin in BUILTIN:
        return BUILTIN[builtin](option, shares, progress)
    known = ", ".join(BUILTIN)
    if path.exists():
        raise InceptiveError(f"{name}: is a file; expected a folder of class folders, or {known}")
    raise InceptiveError(f"{name}: there is no such folder, nor a built-in set; those are {known}")
