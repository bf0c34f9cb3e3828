"""A set of labelled images that a model is judged on, opened as the model knew it."""

from typing import Any

from inceptive.cli.progress import Display
from inceptive.data.open import open_data
from inceptive.data.source import Data, Shares


def as_learned(name: str, told: dict[str, Any], display: Display, strict: bool = False) -> Data:
    """The set `name`, divided as `told`, a model's record of its data, says; with a word on what is
    odd about it. Raises InceptiveError as `open_data` does.
    """
    shares = Shares.from_dict(told["shares"]) if told.get("shares") else Shares()
    try:
        data = open_data(name, shares, strict, display.load)
    finally:
        display.close()
    warn(data, display)
    return data


def warn(data: Data, display: Display) -> None:
    """Say everything that is odd about the data, and name every file that is left out."""
    for note in data.notes:
        display.say(f"note: {note}")
    for error in data.unreadable:
        display.say(f"left out: {error}")
