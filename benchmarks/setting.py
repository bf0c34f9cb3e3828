"""What a run of `python -m benchmarks` was asked for, in numbers that every section reads."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

Say = Callable[[str], None]
"""Who is told, line by line, what is being done."""


@dataclass(frozen=True)
class Setting:
    """net: the net of sections train, inference and growth. folder: where the run keeps its files.

    Each candidate gets about `seconds` in each of `rounds` rounds. images: a folder of photographs,
    or None to make some. model: a model folder for sections pipeline and startup, or "" to make one
    of random weights. With `quick` everything is as small as it can be: does it run at all?
    """

    folder: Path
    net: str = "googlenet.bn"
    rounds: int = 7
    seconds: float = 1.0
    threads: int = 1
    device: str = "cpu"
    images: Path | None = None
    model: str = ""
    quick: bool = False

    def smaller(self) -> "Setting":
        """The same in as little work as possible, if `quick`."""
        return replace(self, rounds=min(self.rounds, 2), seconds=0.0) if self.quick else self

    @property
    def batch_size(self) -> int:
        return 2 if self.quick else 16

    @property
    def num_classes(self) -> int:
        return 10 if self.quick else 1000

    def to_json(self) -> str:
        """As one word for another process: see `from_json`."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "Setting":
        values = json.loads(text)
        images = values["images"]
        values |= {"folder": Path(values["folder"]), "images": Path(images) if images else None}
        return cls(**values)


def settle(device: str) -> None:
    """Wait until `device` has done what it was given: an accelerator works on after a call returns."""
    if device == "cuda":
        torch.cuda.synchronize()
