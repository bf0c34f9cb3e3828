"""A recipe: everything one training run is, in one TOML file that is checked before anything starts.

A recipe is complete: no file inherits from another. `--set optimizer.lr=0.1` changes one value, and
the recipe as it ran is written into the model folder.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from inceptive.arguments import checked
from inceptive.errors import InceptiveError, InvalidArgument, printable, reason
from inceptive.images import Interpolation, is_range

Fraction = float
Changes = Mapping[str, Any] | Sequence[str]
"""{"optimizer.lr": 0.1} or ["optimizer.lr=0.1"]."""


class Table(BaseModel):
    """One table of a recipe. Unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class DataTable(Table):
    """How the images are divided, shown and weighed."""

    val: Fraction = Field(0.15, ge=0, lt=1, description="share for validation if there is none")
    test: Fraction = Field(0.15, ge=0, lt=1, description="share for testing of an undivided set")
    copies: Literal["together", "ignore"] = Field(
        "together", description="whether near-copies stay on one side of an undivided set"
    )
    channels: Literal[0, 1, 3] = Field(0, description="0: 1 if every image is grey, else 3")
    crop: float = Field(1.0, gt=0, le=1, description="share of the shorter side that is seen")
    interpolation: Interpolation = Field("bilinear", description="how images are resized")
    mean: tuple[float, ...] = Field((0.5,), description="of pixels in 0-1: one number, or three")
    std: tuple[float, ...] = Field((0.5,), description="the same: their standard deviation")
    sample_range: tuple[float, ...] = Field(
        (),
        description="black and white of samples of more than 8 bits: [0, 4095]; none: as the training "
        "images let expect",
    )
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
        numbers = all(type(number) in (int, float) and isfinite(number) for number in values)
        if not numbers or len(values) not in (1, 3):
            raise ValueError("expected one number, or a list of three")
        return tuple(float(number) for number in values)

    @field_validator("std")
    @classmethod
    def _above_zero(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) <= 0:
            raise ValueError("expected numbers above 0")
        return value

    @field_validator("sample_range", mode="before")
    @classmethod
    def _in_order(cls, value: Any) -> Any:
        if value not in ([], ()) and not is_range(value):
            raise ValueError("expected [black, white], the lower number first")
        return tuple(float(number) for number in value)

    @field_validator("channels", mode="before")
    @classmethod
    def _no_truth(cls, value: Any) -> Any:
        """Python takes true for 1; a recipe does not."""
        if isinstance(value, bool):
            raise ValueError("expected 0, 1 or 3")
        return value


class OptimizerTable(Table):
    kind: Literal["sgd", "adamw", "muon"] = Field(
        "sgd", description="the rule by which weights move"
    )
    lr: float = Field(0.05, gt=0, le=1e6, description="the highest learning rate of the schedule")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd and muon")
    nesterov: bool = Field(False, description="look ahead along the momentum")
    weight_decay: float = Field(
        0.0, ge=0, le=1e6, description="on weights; never on biases or batch norm"
    )
    clip: float = Field(0.0, ge=0, description="largest norm of the gradient; 0: no limit")

    @field_validator("nesterov")
    @classmethod
    def _with_momentum(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not info.data.get("momentum", 1.0):
            raise ValueError("needs a momentum above 0")
        return value


class ScheduleTable(Table):
    """The learning rate over epochs, after a linear warm-up."""

    kind: Literal["constant", "step", "cosine", "linear"] = Field(
        "cosine", description="how the rate falls over the training"
    )
    warmup_epochs: float = Field(0.0, ge=0, description="in which the rate rises from 0")
    step_epochs: float = Field(30, gt=0, description="step: times `factor` every so many epochs")
    factor: float = Field(0.1, gt=0, le=1, description="of step: what the rate is multiplied by")
    final: float = Field(0.0, ge=0, lt=1, description="cosine, linear: the last lr, as a share")
    smallest: Fraction = Field(
        1.0,
        gt=0,
        le=1,
        description="image size of the first epoch, as a share; it grows (progressive resizing)",
    )
    grown: Fraction = Field(
        0.6, gt=0, le=1, description="share of the training after which images have their full size"
    )


class LossTable(Table):
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of a label that goes to all classes alike"
    )


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
    border: Literal["zeros", "reflection", "border"] = Field(
        "reflection", description="what stands beyond the edge of a shifted image"
    )
    brightness: float = Field(0.0, ge=0, le=1, description="changed by at most this share")
    contrast: float = Field(0.0, ge=0, le=1, description="changed by at most this share")
    saturation: float = Field(0.0, ge=0, le=1, description="changed by at most this share")
    hue: float = Field(0.0, ge=0, le=0.5, description="as a share of the colour circle")
    erase: Fraction = Field(0.0, ge=0, le=1, description="how often a rectangle is erased")

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
    minutes: float = Field(
        0.0, ge=0, description="the rate ends when they do, within an epoch too; 0: no limit"
    )
    smallest: int = Field(
        0,
        ge=0,
        description="image size that may be planned at least; 0: size and epochs as they are",
    )
    most_epochs: int = Field(
        0,
        ge=0,
        description="epochs are what was planned for the minutes, and as many as fit are done, at most "
        "these; 0: epochs as they are. Set by the plan",
    )


class FinetuneTable(Table):
    probe: bool = Field(
        False,
        description="a linear layer on the weights' maps picks the part the net ends at, and begins",
    )
    freeze: str = Field(
        "",
        description="the last part that keeps its weights: 'inception_3b'; a probe picks it",
    )
    views: int = Field(
        0,
        ge=0,
        le=64,
        description="fixed views of each image, frozen layers computed once; 0: new ones",
    )
    lr_scale: float = Field(1.0, ge=0, le=1, description="of all that is not a new last layer")
    batch_norm: Literal["train", "frozen"] = Field(
        "train", description="frozen: statistics stay those of the given weights"
    )


class SpeedTable(Table):
    precision: Literal["auto", "f32", "bf16"] = Field(
        "auto", description="of the products; auto: what is fastest here"
    )
    channels_last: bool = Field(True, description="the layout of maps in memory")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are added up")
    sync_batch_norm: bool = Field(
        True, description="statistics over all processes' parts of a batch"
    )


class Recipe(Table):
    """One training run. `weights`: a model folder or published name to start from, or empty."""

    net: str = Field("googlenet.bn", description="a net's name, or FILE.py:FUNCTION")
    weights: str = Field(
        "",
        description="a model folder, a file or a published name to start from; none: from scratch",
    )
    image_size: int = Field(
        224, ge=8, le=4096, description="side of the square that is seen, in pixels"
    )
    epochs: int = Field(30, ge=0, description="0: a probe, and what stop.minutes leave time for")
    batch_size: int = Field(64, ge=1, description="images in a step")
    seed: int = Field(1, ge=0, lt=2**32, description="of everything that is drawn at random")
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

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not self.epochs and not self.finetune.probe:
            raise ValueError(
                "epochs = 0: only a probe (finetune.probe) is trained without an epoch"
            )
        if self.finetune.views and self.schedule.smallest < 1:
            raise ValueError(
                "finetune.views: images whose maps are computed once cannot grow; set "
                "schedule.smallest = 1"
            )
        return self

    @classmethod
    @checked
    def read(cls, name: "str | Path | Recipe", changes: Changes = ()) -> "Recipe":
        """The shipped recipe called `name`, that of a TOML file or a value, with `changes` made.

        changes are {"optimizer.lr": 0.1} or ["optimizer.lr=0.1"]. Raises InceptiveError, naming the
        key and what was expected, for anything a recipe cannot hold.

            Recipe.read("photos", {"epochs": 5})
        """
        return cls.from_dict(apply_changes(_read(name), changes), _called(name))

    @classmethod
    def from_dict(cls, values: dict[str, Any], name: str = "recipe") -> "Recipe":
        """`values` as a Recipe. Raises InceptiveError with one line for the first thing wrong."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InceptiveError(f"{name}: {_first(error)}") from None

    def changed(
        self,
        changes: Changes = (),
        recipe: "str | Path | Recipe | None" = None,
        name: str = "recipe",
    ) -> "Recipe":
        """This recipe with what the other, `recipe`, says in its place, then with `changes` made."""
        values = self.model_dump(mode="json")
        if recipe is not None:
            values = apply_changes(values, flat(_read(recipe)))
        return self.from_dict(apply_changes(values, changes), name)

    def __repr__(self) -> str:
        """What differs from the defaults."""
        changed = flat(self.model_dump(exclude_defaults=True))
        return f"Recipe({', '.join(f'{key}={value!r}' for key, value in changed.items())})"

    __str__ = __repr__


LONGEST = 1 << 14
"""Bytes of a recipe at most: TOML may be written so that reading it takes hours."""


def shipped() -> dict[str, Path]:
    """The recipes that come with inceptive, by name."""
    folder = Path(str(resources.files("inceptive"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _called(name: str | Path | Recipe) -> str:
    if isinstance(name, Recipe):
        return "recipe"
    return f"recipe {name}" if name in shipped() else str(name)


def _read(name: str | Path | Recipe) -> dict[str, Any]:
    """What the recipe sets."""
    if isinstance(name, Recipe):
        return name.model_dump(mode="json", exclude_unset=True)
    recipes = shipped()
    path = recipes.get(str(name), Path(name))
    if str(name) not in recipes and path.suffix != ".toml":
        raise InceptiveError(
            f"no recipe is called {str(name)!r}; there are: {', '.join(recipes)}; or give a .toml file"
        )
    try:
        return tomllib.loads(_text(path))
    except OSError as error:
        raise InceptiveError(f"{path}: cannot be read ({reason(error)})") from None
    except (ValueError, RecursionError) as error:  # bad syntax or UTF-8, absurd numbers, nesting
        raise InceptiveError(f"{path}: is not valid TOML ({printable(str(error))})") from None


def _text(path: Path) -> str:
    with open(path, "rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise InceptiveError(f"{path}: is no recipe: they have at most {LONGEST} bytes")
    return content.decode().replace("\r\n", "\n")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"epochs": 3, "optimizer.lr": 0.1} of {"epochs": 3, "optimizer": {"lr": 0.1}}."""
    pairs: dict[str, Any] = {}
    for key, value in values.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        pairs |= inner
    return pairs


def _first(error: ValidationError) -> str:
    """One line for the first thing that is wrong, with the key and what it may be."""
    first = error.errors()[0]
    key = printable(".".join(str(part) for part in first["loc"] if not isinstance(part, int)))
    if first["type"] == "extra_forbidden":
        table: Any = Recipe
        for part in first["loc"][:-1]:
            table = table.model_fields[part].annotation
        return f"unknown key {key}; there are: {', '.join(table.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    if not key:  # of values that do not go together
        return message
    return f"{key} = {first['input']!r}: {message[0].lower()}{message[1:]}"


def apply_changes(values: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """`values` of a recipe with `changes` made, each "table.key=value" or a pair of key and value."""
    values = {
        key: dict(value) if isinstance(value, dict) else value for key, value in values.items()
    }
    for key, value in as_pairs(changes).items():
        *tables, last = key.strip().split(".")
        table = values
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise InvalidArgument(f"{printable(key)}: {name} is a value, not a table")
        table[last] = value
    return values


def as_pairs(changes: Changes) -> dict[str, Any]:
    """`changes` as keys and values."""
    if isinstance(changes, str):
        changes = [changes]
    return dict(changes if isinstance(changes, Mapping) else map(_parse, changes))


def _parse(change: str) -> tuple[str, Any]:
    """The key and the value of "table.key=value": TOML, or a bare word taken as a string."""
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise InvalidArgument(f"{printable(change)}: expected key=value, as in optimizer.lr=0.1")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        parsed = {"value": text}
    if len(parsed) > 1:
        raise InvalidArgument(f"{printable(change)}: expected one key=value")
    return key.strip(), parsed["value"]


RESUMABLE = (
    "epochs", "optimizer.lr", "optimizer.momentum", "optimizer.nesterov", "optimizer.weight_decay",
    "optimizer.clip", "schedule", "loss", "augment", "ema.decay", "stop", "finetune.lr_scale",
    "data.balance", "data.workers", "data.cache", "speed.precision", "speed.channels_last",
    "speed.sync_batch_norm",
)  # fmt: skip
"""What may change on the way, a key or a table."""
WHY_FIXED = {
    "net": "the checkpoint holds its weights",
    "weights": "the checkpoint has replaced them",
    "image_size": "it decides what the net has learned to see",
    "batch_size": "the steps of an epoch are counted in it",
    "seed": "the division of the data and all that is drawn follow from it",
    "data": "the net has learned from images that are divided and shown so",
    "optimizer.kind": "the checkpoint holds the state of the other",
    "aux": "the heads are part of the checkpoint",
    "ema.decay": "the checkpoint holds averaged weights, or none",
    "finetune": "the optimizer's state is of the layers that learn",
    "speed.accumulate": "the steps of an epoch are counted in it",
}


def refuse_unresumable(before: Recipe, now: Recipe) -> None:
    """Raises InceptiveError, naming the key, if a training of `before` cannot go on with `now`."""
    old, new = (flat(recipe.model_dump(mode="json")) for recipe in (before, now))
    for key in old:
        table = key.partition(".")[0]
        switched = key == "ema.decay" and (old[key] == 0) != (new[key] == 0)
        if old[key] == new[key] or ({key, table} & set(RESUMABLE) and not switched):
            continue
        raise InceptiveError(
            f"{key} cannot change from {old[key]!r} to {new[key]!r} on resuming: "
            f"{WHY_FIXED.get(key, WHY_FIXED.get(table))}; leave it as it is, or begin anew elsewhere"
        )
