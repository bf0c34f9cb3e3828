"""A recipe: all settings of one training run, in one TOML file that is checked before it starts.

A recipe is complete: no file inherits from another. `--set optimizer.lr=0.1` changes one value, and
the recipe as run is written into the model folder.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from inceptive.arguments import brief, checked
from inceptive.errors import InceptiveError, InvalidArgument, printable, readable
from inceptive.images import Interpolation, is_range

Fraction = float
MOST = 2**20
"""Of what is counted: beyond it, numbers do not fit into what computes with them."""
Changes = Mapping[str, Any] | Sequence[str]
"""{"optimizer.lr": 0.1} or ["optimizer.lr=0.1"]."""


class Table(BaseModel):
    """One table of a recipe. Unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class DataTable(Table):
    """How the images are split, preprocessed and weighted."""

    val: Fraction = Field(0.15, ge=0, lt=1, description="validation fraction if none is given")
    test: Fraction = Field(0.15, ge=0, lt=1, description="test fraction of a set not yet split")
    copies: Literal["together", "ignore"] = Field(
        "together", description="whether near-copies stay together when a set is split"
    )
    channels: Literal[0, 1, 3] = Field(0, description="0: 1 if every image is greyscale, else 3")
    crop: float = Field(1.0, gt=0, le=1, description="fraction of the shorter side kept")
    interpolation: Interpolation = Field("bilinear", description="how images are resized")
    mean: tuple[float, ...] = Field((0.5,), description="pixel mean, 0-1: one number or three")
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.5,), description="pixel standard deviation, likewise"
    )
    sample_range: tuple[float, ...] = Field(
        (),
        description="black and white levels of samples over 8 bits: [0, 4095]; none: inferred from the "
        "training images",
    )
    balance: float = Field(0.0, ge=0, le=1, description="loss weight of a class ~ count^-balance")
    workers: int = Field(
        2, ge=0, le=1024, description="threads that decode a dataset too large for memory"
    )
    cache: bool = Field(True, description="cache decoded images for later epochs and runs")
    soft: bool = Field(False, description="train on experts' soft labels where a set has them")
    random_interpolation: bool = Field(False, description="a random filter for each image")

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _one_or_three(cls, value: Any) -> Any:
        """A number, or a list of one or three, as a tuple."""
        values = list(value) if isinstance(value, list | tuple) else [value]
        numbers = all(type(number) in (int, float) and isfinite(number) for number in values)
        if not numbers or len(values) not in (1, 3):
            raise ValueError("expected one number, or a list of three")
        return tuple(float(number) for number in values)

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
        "sgd", description="the rule that updates the weights"
    )
    lr: float = Field(0.05, gt=0, le=1e6, description="the peak learning rate of the schedule")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd and muon")
    nesterov: bool = Field(False, description="use Nesterov momentum")
    weight_decay: float = Field(
        0.0, ge=0, le=1e6, description="applied to weights, never to biases or batch norm"
    )
    clip: float = Field(0.0, ge=0, description="maximum gradient norm; 0: no clipping")

    @field_validator("nesterov")
    @classmethod
    def _with_momentum(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not info.data.get("momentum", 1.0):
            raise ValueError("needs a momentum above 0")
        return value


class ScheduleTable(Table):
    """The learning rate over epochs, after a linear warm-up."""

    kind: Literal["constant", "step", "cosine", "linear"] = Field(
        "cosine", description="how the learning rate decays over training"
    )
    warmup_epochs: float = Field(0.0, ge=0, description="epochs of linear warm-up from 0")
    step_epochs: float = Field(30, gt=0, description="step: epochs between drops by `factor`")
    factor: float = Field(0.1, gt=0, le=1, description="step: multiplier of the learning rate")
    final: float = Field(0.0, ge=0, lt=1, description="cosine, linear: final lr / peak lr")
    smallest: Fraction = Field(
        1.0,
        gt=0,
        le=1,
        description="initial image size, as a fraction; it grows (progressive resizing)",
    )
    grown: Fraction = Field(
        0.6, gt=0, le=1, description="fraction of training after which images have their full size"
    )


class LossTable(Table):
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="label mass spread evenly over all classes"
    )


class AuxTable(Table):
    weight: float = Field(0.3, ge=0, description="weight of each auxiliary loss; 0: no heads")
    at: tuple[str, ...] = Field((), description="parts that feed heads; none: the net's default")

    _tuple = field_validator("at", mode="before")(_as_tuple)

    @model_validator(mode="after")
    def _has_weight(self) -> Self:
        if self.at and not self.weight:
            raise ValueError("aux.at: weight = 0 leaves all heads out; set aux.weight, such as 0.3")
        return self


class AugmentTable(Table):
    flip: bool = Field(False, description="mirror horizontally, half of the time")
    dihedral: bool = Field(False, description="one of the 8 symmetries of a square")
    shift: float = Field(
        0.0, ge=0, le=0.5,
        description="maximum, as a fraction of the side; by whole pixels, unless rotated too",
    )  # fmt: skip
    area: tuple[float, float] = Field((1.0, 1.0), description="fraction of the area kept")
    aspect: tuple[float, float] = Field((1.0, 1.0), description="width / height of the part kept")
    rotate: float = Field(0.0, ge=0, le=180, description="maximum rotation, in degrees")
    border: Literal["zeros", "reflection", "border"] = Field(
        "reflection", description="how pixels beyond the edge of a shifted image are filled"
    )
    brightness: float = Field(0.0, ge=0, le=1, description="maximum, as a fraction of the range")
    contrast: float = Field(0.0, ge=0, le=1, description="maximum relative change")
    saturation: float = Field(0.0, ge=0, le=1, description="maximum relative change")
    hue: float = Field(0.0, ge=0, le=0.5, description="maximum, as a fraction of the hue circle")
    erase: Fraction = Field(0.0, ge=0, le=1, description="probability of erasing a rectangle")

    _pairs = field_validator("area", "aspect", mode="before")(_as_tuple)

    @field_validator("area", "aspect")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("expected [least, most], both above 0")
        return value


class EmaTable(Table):
    decay: float = Field(0.0, ge=0, lt=1, description="per-step decay of weight averages; 0: none")


class StopTable(Table):
    patience: int = Field(0, ge=0, description="epochs without validation gain; 0: never stop")
    minutes: float = Field(
        0.0, ge=0, description="time limit; the schedule ends with it, even mid-epoch; 0: none"
    )
    smallest: int = Field(
        0,
        ge=0,
        description="smallest image size a plan may choose; 0: size and epochs as given",
    )
    most_epochs: int = Field(
        0,
        ge=0,
        description="epochs holds the number planned for the minutes; as many as fit are run, at most "
        "these; 0: epochs as given. Set by the plan",
    )


class FinetuneTable(Table):
    probe: bool = Field(
        False,
        description="begin with a linear probe of the weights' maps; it picks the part the net ends at",
    )
    freeze: str = Field(
        "",
        description="the last frozen part, such as 'inception_3b'; a probe picks it",
    )
    views: int = Field(
        0,
        ge=0,
        le=64,
        description="fixed views per image, so frozen layers run once; 0: new views",
    )
    few: int = Field(
        50,
        ge=0,
        description="with fewer validation images than this split off, a probe alone learns from them "
        "too and is judged by cross-validation; 0: never",
    )
    lr_scale: float = Field(1.0, ge=0, le=1, description="lr factor for all but new last layers")
    batch_norm: Literal["train", "frozen"] = Field(
        "train", description="frozen: keep the running statistics of the weights"
    )


class SpeedTable(Table):
    precision: Literal["auto", "f32", "bf16"] = Field(
        "auto", description="precision of matrix products; auto: the fastest here"
    )
    channels_last: bool | Literal["auto"] = Field(
        "auto", description="channels-last memory layout; auto: the fastest here"
    )
    checkpointing: bool = Field(
        False,
        description="keep fewer activations for the backward pass and compute the others again: less "
        "memory, more time",
    )
    accumulate: int = Field(1, ge=1, le=MOST, description="batches whose gradients are accumulated")
    sync_batch_norm: bool = Field(
        True, description="batch-norm statistics over all processes' batches"
    )


class Recipe(Table):
    """Settings of one training run. `weights`: model folder or published name to start from, or empty.

    >>> recipe = inceptive.Recipe.read("photos", {"image_size": 160, "optimizer.lr": 0.002})
    >>> recipe.image_size, recipe.optimizer.kind
    (160, 'muon')
    """

    net: str = Field("googlenet.bn", description="a net's name, or FILE.py:FUNCTION")
    small_net: str = Field(
        "",
        description="the net in its place for pictures of at most 48 pixels, unless `net` is set too; "
        "none: the same",
    )
    weights: str = Field(
        "",
        description="a model folder, a file or a published name to start from; none: from scratch",
    )
    image_size: int = Field(
        224, ge=8, le=4096, description="side of the square input image, in pixels"
    )
    epochs: int = Field(
        30, ge=0, le=MOST, description="most passes over the training images; 0: a probe alone"
    )
    batch_size: int = Field(64, ge=1, le=MOST, description="images per step")
    seed: int = Field(1, ge=0, lt=2**32, description="random seed")
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

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InceptiveError(_first(error)) from None

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
        """Read a shipped recipe, a TOML file or a Recipe, and apply `changes`.

        changes: {"optimizer.lr": 0.1} or ["optimizer.lr=0.1"]. Raises InceptiveError, naming the key
        and what was expected, for any unknown key or invalid value.

            Recipe.read("photos", {"epochs": 5})
        """
        return cls.from_dict(apply_changes(_read(name), changes), _called(name))

    @classmethod
    def from_dict(cls, values: dict[str, Any], name: str = "recipe") -> "Recipe":
        """Build a Recipe from `values`. Raises InceptiveError, in one line, for the first error."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:  # no table at all
            raise InceptiveError(f"{name}: {_first(error)}") from None
        except InceptiveError as error:
            raise InceptiveError(f"{name}: {error}") from None

    @classmethod
    def of_checkpoint(cls, values: dict[str, Any], out: Path) -> "Recipe":
        """Build the Recipe kept in a checkpoint of the folder `out`, of earlier releases too."""
        speed = dict(values.get("speed", {}))
        speed.pop("merge", None)  # of 0.1: convolutions run as one, which gained nothing
        return cls.from_dict(values | {"speed": speed}, f"{out}: its recipe")

    def changed(
        self,
        changes: Changes = (),
        recipe: "str | Path | Recipe | None" = None,
    ) -> "Recipe":
        """Return this recipe overridden by what `recipe` sets, then by `changes`."""
        values = self.model_dump(mode="json")
        if recipe is not None:
            values = apply_changes(values, flat(_read(recipe)))
        return self.from_dict(apply_changes(values, changes))

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
        with readable(path):
            return tomllib.loads(_text(path))
    except (ValueError, RecursionError) as error:  # bad syntax or UTF-8, absurd numbers, nesting
        raise InceptiveError(f"{path}: is not valid TOML ({printable(str(error))})") from None


def _text(path: Path) -> str:
    with open(path, "rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise InceptiveError(f"{path}: is no recipe: they have at most {LONGEST} bytes")
    return content.decode().replace("\r\n", "\n")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten {"epochs": 3, "optimizer": {"lr": 0.1}} to {"epochs": 3, "optimizer.lr": 0.1}."""
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
    return f"{key} = {brief(first['input'])}: {message[0].lower()}{message[1:]}"


def apply_changes(values: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """Apply `changes` to a recipe's `values`: "table.key=value" strings, or keys with values."""
    values = {
        key: dict(value) if isinstance(value, dict) else value for key, value in values.items()
    }
    pairs = as_pairs(changes)
    if "net" in pairs:  # asked for, whatever the pictures
        values["small_net"] = ""
    for key, value in pairs.items():
        *tables, last = key.strip().split(".")
        table = values
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise InvalidArgument(f"{printable(key)}: {name} is a value, not a table")
        if isinstance(before := table.get(last), dict) and isinstance(value, Mapping):
            value = before | dict(value)  # a table in one value is as its keys one by one
        table[last] = value
    return values


def as_pairs(changes: Changes) -> dict[str, Any]:
    """Return `changes` as a dict of keys and values."""
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
    "speed.checkpointing", "speed.sync_batch_norm",
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
    "small_net": "the checkpoint holds the weights of the net that was chosen by the pictures",
}


def refuse_unresumable(before: Recipe, now: Recipe) -> None:
    """Raise InceptiveError, naming the key, if training with `before` cannot resume with `now`."""
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
