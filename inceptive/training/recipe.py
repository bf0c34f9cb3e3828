"""A recipe: everything one training run is, in one TOML file that is checked before anything starts.

A recipe is complete: no file inherits from another. `--set optimizer.lr=0.1` changes one value, and
the recipe as it ran is written into the model folder.
"""

import tomllib
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from inceptive.errors import InceptiveError
from inceptive.images import Interpolation, printable

Share = float


class Table(BaseModel):
    """One table of a recipe. Unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class DataTable(Table):
    """How the images are divided, shown and weighed."""

    val: Share = Field(0.15, ge=0, lt=1, description="share for validation if there is none")
    test: Share = Field(0.15, ge=0, lt=1, description="share for testing of an undivided set")
    channels: Literal[0, 1, 3] = Field(0, description="0: 1 if every image is grey, else 3")
    crop: float = Field(1.0, gt=0, le=1, description="share of the shorter side that is seen")
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = Field((0.5,), description="of pixels in 0-1: one number, or three")
    std: tuple[float, ...] = (0.5,)
    balance: float = Field(0.0, ge=0, le=1, description="loss weight of a class ~ count^-balance")
    workers: int = Field(
        2, ge=0, le=1024, description="threads that decode a set too large for memory"
    )
    cache: bool = Field(True, description="keep decoded images for the next epoch and run")
    soft: bool = Field(False, description="train on the experts' doubt, where a set tells it")
    random_interpolation: bool = Field(False, description="a filter at random for each image")

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _one_or_three(cls, value: Any) -> Any:
        """A number, or a list of one or three, as a tuple."""
        values = list(value) if isinstance(value, list | tuple) else [value]
        numbers = all(type(one) in (int, float) and isfinite(one) for one in values)
        if not numbers or len(values) not in (1, 3):
            raise ValueError("expected one number, or a list of three")
        return tuple(float(one) for one in values)

    @field_validator("std")
    @classmethod
    def _above_zero(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) <= 0:
            raise ValueError("expected numbers above 0")
        return value

    @field_validator("channels", mode="before")
    @classmethod
    def _no_truth(cls, value: Any) -> Any:
        """Python takes true for 1; a recipe does not."""
        if isinstance(value, bool):
            raise ValueError("expected 0, 1 or 3")
        return value


class OptimizerTable(Table):
    kind: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.05, gt=0, description="the highest learning rate of the schedule")
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(0.0, ge=0, description="on weights; never on biases or batch norm")
    clip: float = Field(0.0, ge=0, description="largest norm of the gradient; 0: no limit")


class ScheduleTable(Table):
    """The learning rate over epochs, after a linear warm-up."""

    kind: Literal["constant", "step", "cosine", "linear"] = "cosine"
    warmup_epochs: float = Field(0.0, ge=0)
    step_epochs: float = Field(30, gt=0, description="step: times `factor` every so many epochs")
    factor: float = Field(0.1, gt=0, le=1)
    final: float = Field(0.0, ge=0, lt=1, description="cosine, linear: the last lr, as a share")


class LossTable(Table):
    label_smoothing: float = Field(0.0, ge=0, lt=1)


class AuxTable(Table):
    weight: float = Field(0.3, ge=0, description="of each auxiliary loss; 0 leaves the heads out")
    at: tuple[str, ...] = Field((), description="parts that heads read; none: the net's own choice")

    _tuple = field_validator("at", mode="before")(_as_tuple)


class AugmentTable(Table):
    flip: bool = Field(False, description="mirror left and right, half of the time")
    dihedral: bool = Field(False, description="one of the 8 turns and mirrorings of a square")
    shift: float = Field(0.0, ge=0, le=0.5, description="at most, as a share of the side")
    area: tuple[float, float] = Field((1.0, 1.0), description="share of the area that is kept")
    aspect: tuple[float, float] = Field((1.0, 1.0), description="width / height of what is kept")
    rotate: float = Field(0.0, ge=0, le=180, description="degrees, at most")
    border: Literal["zeros", "reflection", "border"] = "reflection"
    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
    hue: float = Field(0.0, ge=0, le=0.5, description="as a share of the colour circle")
    erase: Share = Field(0.0, ge=0, le=1, description="how often a rectangle is erased")

    _pairs = field_validator("area", "aspect", mode="before")(_as_tuple)

    @field_validator("area", "aspect")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("expected [least, most], both above 0")
        return value


class EmaTable(Table):
    decay: float = Field(0.0, ge=0, lt=1, description="of averaged weights, per step; 0: none")


class StopTable(Table):
    patience: int = Field(0, ge=0, description="epochs without a better validation; 0: never stop")
    minutes: float = Field(0.0, ge=0, description="stop there, within an epoch too; 0: no limit")


class FinetuneTable(Table):
    freeze: str = Field("", description="the last part that keeps its weights: 'inception_3b'")
    lr_scale: float = Field(1.0, ge=0, le=1, description="of all that is not a new last layer")
    batch_norm: Literal["train", "frozen"] = Field(
        "train", description="frozen: statistics stay those of the given weights"
    )


class SpeedTable(Table):
    precision: Literal["auto", "f32", "bf16"] = "auto"
    channels_last: bool = True
    accumulate: int = Field(1, ge=1, description="batches whose gradients are added up")
    sync_batch_norm: bool = True  # statistics over all processes' parts of a batch


class Recipe(Table):
    """One training run. `weights`: a model folder or published name to start from, or empty."""

    net: str = "googlenet.bn"
    weights: str = ""
    image_size: int = Field(224, ge=8, le=4096)
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(64, ge=1)
    seed: int = Field(1, ge=0, lt=2**32)
    data: DataTable = DataTable()
    optimizer: OptimizerTable = OptimizerTable()
    schedule: ScheduleTable = ScheduleTable()
    loss: LossTable = LossTable()
    aux: AuxTable = AuxTable()
    augment: AugmentTable = AugmentTable()
    ema: EmaTable = EmaTable()
    stop: StopTable = StopTable()
    finetune: FinetuneTable = FinetuneTable()
    speed: SpeedTable = SpeedTable()


LONGEST = 1 << 14
"""Bytes of a recipe at most: TOML may be written so that reading it takes hours."""


def shipped() -> dict[str, Path]:
    """The recipes that come with inceptive, by name."""
    folder = Path(str(resources.files("inceptive"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read(name: str, changes: list[str] | None = None) -> Recipe:
    """The recipe called `name`, or in the TOML file `name`, with `changes` ("key=value") made.

    Raises InceptiveError, naming the key and what was expected, for anything a recipe cannot hold.
    """
    known = shipped()
    path = known.get(name, Path(name))
    if name not in known and path.suffix != ".toml":
        raise InceptiveError(
            f"no recipe is called {name!r}; there are: {', '.join(known)}; or give a .toml file"
        )
    try:
        values = tomllib.loads(_text(path))
    except OSError as error:
        raise InceptiveError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:  # bad syntax or UTF-8, absurd numbers, nesting
        raise InceptiveError(f"{path}: is not valid TOML ({printable(str(error))})") from None
    for change in changes or []:
        _apply(values, change)
    return check(values, str(path) if name not in known else f"recipe {name}")


def _text(path: Path) -> str:
    with open(path, "rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise InceptiveError(f"{path}: is no recipe: they have at most {LONGEST} bytes")
    return content.decode().replace("\r\n", "\n")


def check(values: dict[str, Any], name: str) -> Recipe:
    """`values` as a Recipe. Raises InceptiveError with one line for the first thing wrong."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise InceptiveError(f"{name}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """One line for the first thing that is wrong, with the key and what it may be."""
    one = error.errors()[0]
    key = printable(".".join(str(part) for part in one["loc"] if not isinstance(part, int)))
    if one["type"] == "extra_forbidden":
        table: Any = Recipe
        for part in one["loc"][:-1]:
            table = table.model_fields[part].annotation
        return f"unknown key {key}; there are: {', '.join(table.model_fields)}"
    said = one["msg"].removeprefix("Value error, ")
    return f"{key} = {one['input']!r}: {said[0].lower()}{said[1:]}"


def _apply(values: dict[str, Any], change: str) -> None:
    """Put "table.key=value" into `values`; the value is TOML, or a bare word taken as a string."""
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise InceptiveError(f"--set {change}: expected key=value, as in optimizer.lr=0.1")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        parsed = {"value": text}
    if len(parsed) > 1:
        raise InceptiveError(f"--set {printable(change)}: expected one key=value")
    value = parsed["value"]
    *tables, last = key.strip().split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise InceptiveError(f"--set {change}: {table} is a value, not a table")
    values[last] = value
