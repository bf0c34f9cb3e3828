"""History for TensorBoard, beside the display on the terminal."""

from pathlib import Path
from typing import Any

from inceptive.cli.progress import Display
from inceptive.errors import InceptiveError


class TensorBoardDisplay(Display):
    """A Display that also writes each epoch's numbers as TensorBoard events in `out`/tensorboard."""

    def __init__(self, out: Path) -> None:
        super().__init__()
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InceptiveError(
                "--tensorboard needs tensorboard: pip install 'inceptive[tensorboard]'"
            ) from None
        self.writer = SummaryWriter(str(out / "tensorboard"))

    def row(self, row: dict[str, Any], better: bool) -> None:
        super().row(row, better)
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, row["epoch"])
        self.writer.flush()
