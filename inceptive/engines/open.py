"""Which engine answers: torch, or an exported file that needs no torch.

Nothing here imports torch unless it is the engine: an exported model starts in a fraction of the time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.arch import nets
from inceptive.arch.account import Account, account
from inceptive.engines import onnx as onnx_runtime
from inceptive.engines import openvino as open_vino
from inceptive.engines import records
from inceptive.engines.early_exit import EarlyExit, Stage, Staged, Whole
from inceptive.engines.metadata import About
from inceptive.engines.prediction import Engine
from inceptive.engines.records import ENGINES, Record
from inceptive.errors import InceptiveError
from inceptive.images import Preprocessing
from inceptive.io.paths import expand
from inceptive.metrics import Threshold, softmax

KINDS = ("auto", "torch", *ENGINES)
PRECISIONS = ("f32", "bf16", "int8")
OPENED = {"onnx": onnx_runtime.opened, "openvino": open_vino.opened}
Note = Callable[[str], None]


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class Exported:
    """An exported file, ready to answer. name: "openvino:int8", say; about: what the file tells."""

    path: Path
    name: str
    about: About
    run: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def open(cls, path: Path, threads: int = 0) -> "Exported":
        """Ready to run on `threads` of the CPU (0: as many as the engine takes).

        Raises InceptiveError, naming the file, if it is none of ours, damaged or cannot be run.
        """
        if not path.is_file():
            raise InceptiveError(f"{path}: there is no such file")
        kind = engine_of(path)
        told, run = OPENED[kind](path, threads)
        about = About.from_json(told, str(path))
        return cls(path, f"{kind}:{about.precision}", about, run)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.about.labels

    @property
    def preprocessing(self) -> Preprocessing:
        return self.about.preprocessing

    @property
    def temperature(self) -> float:
        return self.about.temperature

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Preprocessed images (N, C, S, S) of uint8 to logits (N, K) of float32.

        Raises InceptiveError for images of another shape or kind.
        """
        shape = (self.preprocessing.channels, self.preprocessing.size, self.preprocessing.size)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
            raise InceptiveError(
                f"{self.path} takes images (N, {', '.join(map(str, shape))}) of uint8, "
                f"not {images.shape} of {images.dtype}"
            )
        return self.run(images)

    def account(self) -> Account:
        """Shapes, parameters and multiply-adds of the net in the file. InceptiveError if it is none
        of ours."""
        shown = self.preprocessing
        net = nets.find(self.about.net)(len(self.labels), channels=shown.channels)
        return account(net.without_aux(), shown.size)

    @property
    def abstain(self) -> tuple[Threshold, ...]:
        """How sure answers have to be for a share of them to be right, as training found."""
        return self.about.abstain

    @property
    def early_exit(self) -> EarlyExit | None:
        """When the heads in the file answer, if it has any."""
        return self.about.early_exit

    def stages(self, heads: Sequence[str]) -> list[Stage]:
        """The net in the file cut behind what `heads` read. InceptiveError unless it is OpenVINO's."""
        if engine_of(self.path) != "openvino":
            raise InceptiveError(f"{self.path}: only torch and OpenVINO stop at a head")
        return open_vino.stages(self.path, heads)

    def probs(self, images: np.ndarray) -> np.ndarray:
        """Preprocessed images (N, C, S, S) of uint8 to calibrated probabilities (N, K)."""
        return softmax(self.logits(images), self.temperature)


def whole_of(engine: Engine) -> Engine:
    """The engine itself, where it is not cut at its heads."""
    return engine.whole if isinstance(engine, Staged) else engine


def name_of(engine: Engine) -> str:
    """What runs the net, as `--engine` takes it: torch, openvino:int8."""
    whole = whole_of(engine)
    return whole.name if isinstance(whole, Exported) else "torch"


def data_of(engine: Engine) -> dict[str, Any]:
    """What is known of the images an engine's model was trained on: name, shares; {} if nothing."""
    engine = whole_of(engine)
    if isinstance(engine, Exported):
        return engine.about.data
    found: dict[str, Any] = getattr(engine, "info", {}).get("data", {})
    return found


def is_exported(model: str | Path) -> bool:
    """Whether `model` is an exported file, by its ending, and no folder."""
    path = Path(model)
    return path.suffix in ENGINES.values() and not path.is_dir()


def engine_of(path: Path) -> str:
    """The engine that runs the exported file at `path`: onnx or openvino."""
    return next(kind for kind, ending in ENGINES.items() if path.suffix == ending)


def open_engine(
    model: str | Path,
    name: str = "auto",
    note: Note = _silent,
    early_exit: bool = False,
    threads: int = 0,
) -> Engine:
    """What answers for `model`: a model folder, an exported file, or a published name.

    name is torch, onnx or openvino (the fastest file of it that passed its check, or one precision:
    "openvino:int8", whether it passed or not), or auto: the fastest export of the folder that
    passed its check and was made from the weights that lie there, else torch. note is told what is
    left out and why. With early_exit its heads answer where they are sure, as the model folder says:
    torch and openvino can. It runs on `threads` of the CPU (0: as many as it takes). Raises
    InceptiveError if there is no such engine or file, or it cannot run.
    """
    whole = _whole(model, name, note, early_exit, threads)
    return staged(whole, str(model)) if early_exit else whole


def staged(whole: Whole, model: str) -> Staged:
    """`whole` cut at its heads. Raises InceptiveError if none was chosen to answer early."""
    policy = whole.early_exit
    if policy is None:
        raise InceptiveError(
            f"{model}: no head answers early there; `inceptive early-exit` chooses when one does, "
            "and an export that is to do it is made after that"
        )
    stages = whole.stages([one.head for one in policy.exits])
    return Staged(whole, policy, stages)


def _whole(model: str | Path, name: str, note: Note, early_exit: bool, threads: int) -> Whole:
    kind, _, precision = name.partition(":")
    if kind not in KINDS or (precision and (kind not in ENGINES or precision not in PRECISIONS)):
        raise InceptiveError(
            f"no engine is called {name!r}; there are: {', '.join(KINDS)}, "
            f"and {', '.join(f'{one}:PRECISION' for one in ENGINES)} ({', '.join(PRECISIONS)})"
        )
    folder = expand(model)
    if is_exported(folder):
        return _file(folder, kind, precision, threads)
    if kind == "torch":
        return _in_torch(model, threads)
    if precision:
        return Exported.open(_named(folder, kind, precision, note), threads)
    if kind in ENGINES:
        found = [one for one in records.usable(folder, note) if one.engine == kind]
        if not found:
            raise InceptiveError(
                f"{folder}: has no export for {kind} that passed its check; "
                f"`inceptive export {folder} --to {kind}` makes one"
            )
        return Exported.open(folder / found[0].file, threads)
    return _fastest(folder, note, early_exit, threads) or _in_torch(model, threads)


def _file(path: Path, kind: str, precision: str, threads: int) -> Exported:
    own = engine_of(path)
    if kind not in ("auto", own):
        raise InceptiveError(f"{path}: is run by the engine {own}, not {kind}")
    found = Exported.open(path, threads)
    if precision and precision != found.about.precision:
        raise InceptiveError(f"{path}: is {found.about.precision}, not {precision}")
    return found


def _named(folder: Path, kind: str, precision: str, note: Note) -> Path:
    """The file of one precision; a note if it did not pass its check, or is of other weights."""
    path = folder / file_name(kind, precision)
    if not path.is_file():
        raise InceptiveError(
            f"{folder}: has no {path.name}; "
            f"`inceptive export {folder} --to {kind} --precision {precision}` makes one"
        )
    if path.name not in [one.file for one in records.usable(folder, note)]:
        note(f"note: {path.name} has not passed its check beside these weights")
    return path


def _fastest(folder: Path, note: Note, early_exit: bool, threads: int) -> Exported | None:
    """The fastest export that can be used; those that cannot be opened here are left out, and with
    early_exit those without heads."""
    try:
        found: list[Record] = records.usable(folder, note)
    except InceptiveError as error:
        note(f"note: {error}")
        return None
    for record in found:
        try:
            found_one = Exported.open(folder / record.file, threads)
            if found_one.early_exit or not early_exit:
                return found_one
        except InceptiveError as error:
            note(f"note: {record.file} is left out: {error}")
    return None


def file_name(kind: str, precision: str) -> str:
    return f"model.{precision}{ENGINES[kind]}"


def _in_torch(model: str | Path, threads: int) -> Whole:
    import torch

    from inceptive.engines.classifier import Classifier

    if threads:
        torch.set_num_threads(threads)
    return Classifier.load(model).to("cuda" if torch.cuda.is_available() else "cpu")
