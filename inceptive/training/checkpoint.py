"""The state of an unfinished training, in one file, so that it can resume."""

import io
from pathlib import Path
from typing import Any

import torch

from inceptive.engines.header import WEIGHTS
from inceptive.errors import InceptiveError
from inceptive.io.atomic import write_bytes

CHECKPOINT = "checkpoint.pt"
FORMAT = 3
"""To be raised when what a checkpoint holds changes its meaning."""
HOLDS = ("run", "recipe", "net", "data", "model", "optimizer")


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write the checkpoint: tensors and plain values only. The previous one stays until it is whole."""
    content = io.BytesIO()  # torch.save to a file tells a full disk in riddles
    torch.save({"format": FORMAT} | state, content)
    write_bytes(folder / CHECKPOINT, content.getbuffer())


def load(folder: Path) -> dict[str, Any]:
    """Read the state that `save` wrote. Raises InceptiveError if there is none or it is damaged."""
    path = folder / CHECKPOINT
    if not path.exists():
        ended = f"; that training has ended: train on from its weights: --weights {folder}"
        ended = ended if (folder / WEIGHTS).exists() else ""
        raise InceptiveError(f"{folder}: holds no checkpoint to resume from{ended}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InceptiveError(f"{path}: is damaged ({reason})") from None
    if not isinstance(state, dict) or "format" not in state:
        raise InceptiveError(f"{path}: is not a checkpoint of inceptive")
    if state["format"] != FORMAT:
        raise InceptiveError(
            f"{path}: is of another version of inceptive; end that training with it, or begin anew"
        )
    if invalid := [name for name in HOLDS if not isinstance(state.get(name), dict)]:
        raise InceptiveError(f"{path}: is damaged (missing or invalid: {', '.join(invalid)})")
    return state
