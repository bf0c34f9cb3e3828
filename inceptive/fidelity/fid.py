"""The distance of generated pictures from real ones, by the metrics of the literature."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from inceptive.arguments import Allowed, PositiveInt, Seed, checked
from inceptive.errors import InceptiveError, InvalidArgument, printable
from inceptive.fidelity.features import FeatureNet, Features, Runner, extract, open_net
from inceptive.fidelity.frechet import LEAST, Statistics, frechet_distance, infinite_distance
from inceptive.fidelity.kernel import kernel_distance
from inceptive.fidelity.pictures import Pictures, open_pictures
from inceptive.fidelity.prdc import prdc
from inceptive.fidelity.resizing import Resize
from inceptive.fidelity.score import inception_score
from inceptive.fidelity.stats import MeasuredSet, is_stats, read_stats, refuse_other, write_stats
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent

Metric = Literal["fid", "fid_inf", "kid", "is", "prdc"]
ENOUGH = 10_000
"""Pictures from which the literature compares FIDs; most use 50,000."""
FEWEST = 4
"""Pictures of which a half still has a covariance, which fid_inf needs."""
SEED = 2020
"""torch-fidelity's."""


@dataclass(frozen=True)
class Settings:
    """What metrics depend on beside the pictures: see `fid`. runner: what computed the features; it and
    resize are "" where all came from files of statistics, which do not say."""

    resize: Resize | Literal[""] = "pytorch"
    dims: int = 2048
    kid_subsets: int = 100
    kid_subset_size: int = 1000
    splits: int = 10
    neighbours: int = 5
    seed: int = SEED
    runner: str = ""


@dataclass(frozen=True)
class Fidelity:
    """The metrics of generated pictures against real ones; None where not asked for.

    fid: Fréchet inception distance, fid_inf the same for infinitely many generated pictures. kid:
    kernel inception distance, its mean and standard deviation over subsets. inception_score: of the
    generated pictures, the same over splits. precision to coverage: see `prdc`. real_count,
    generated_count: pictures that were read, None where a file of statistics does not say. settings:
    what else the values depend on. notes: on what biases them. unreadable: why a picture was left out.

    >>> np.savez("real.npz", mu=np.zeros(2), sigma=np.eye(2))
    >>> np.savez("made.npz", mu=np.array([0.0, 0.5]), sigma=np.eye(2))
    >>> inceptive.fid("real.npz", "made.npz").fid
    0.25
    """

    real: str
    generated: str
    real_count: int | None
    generated_count: int | None
    fid: float | None = None
    fid_inf: float | None = None
    kid: float | None = None
    kid_std: float | None = None
    inception_score: float | None = None
    inception_score_std: float | None = None
    precision: float | None = None
    recall: float | None = None
    density: float | None = None
    coverage: float | None = None
    settings: Settings = Settings()
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, float]:
        """The metrics that were asked for, by name."""
        values = {name: getattr(self, name) for name in VALUES}
        return {name: value for name, value in values.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "real": {"name": self.real, "count": self.real_count},
            "generated": {"name": self.generated, "count": self.generated_count},
            **self.values,
            "settings": asdict(self.settings),
            "notes": list(self.notes),
            "unreadable": list(self.unreadable),
        }

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value:.6g}" for name, value in self.values.items())
        return f"<Fidelity of {self.generated} to {self.real}: {values or 'statistics alone'}>"


VALUES = ("fid", "fid_inf", "kid", "kid_std", "inception_score", "inception_score_std", "precision",
          "recall", "density", "coverage")  # fmt: skip


@checked
def fid(
    real: Any,
    generated: Any = None,
    metrics: Sequence[Metric] = ("fid",),
    *,
    weights: str | Path | None = None,
    resize: Resize = "pytorch",
    dims: PositiveInt = 2048,
    stats: str | Path | None = None,
    runner: Runner = "auto",
    kid_subsets: PositiveInt = 100,
    kid_subset_size: Annotated[int, Allowed("a whole number from 2", lambda n: n >= 2)] = 1000,
    splits: PositiveInt = 10,
    neighbours: PositiveInt = 5,
    seed: Seed = SEED,
    strict: bool = False,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Fidelity:
    """Return the `metrics` of `generated` pictures against `real` ones.

    Either is a folder, a tar, a .npy or .npz, an array (N, H, W, 3), a tensor (N, 3, H, W), or a list of
    images; or an .npz of statistics, of ours or of pytorch-fid's. The net is `inception_v3.fid`, with
    the weights in a file of pytorch-fid's format (None: those published). resize: whose, see
    `resizing.square`. dims: features of a picture, 64, 192, 768 or 2048, as pytorch-fid has layers.

    stats: a file that keeps statistics and features of the real pictures: written if missing, else used
    if it is of the same net and pictures, and refused if not. Without `generated` only that is done.
    kid_subsets, kid_subset_size, splits and seed are torch-fidelity's; neighbours is of prdc. A picture
    that cannot be read is left out, or an error with `strict`. Raises InceptiveError, saying what to do,
    for what cannot be compared.

    >>> np.savez("real.npz", mu=np.zeros(2), sigma=np.eye(2))
    >>> np.savez("made.npz", mu=np.array([0.0, 0.5]), sigma=np.eye(2))
    >>> inceptive.fid("real.npz", "made.npz")
    <Fidelity of made.npz to real.npz: fid 0.25>
    """
    if dims not in (64, 192, 768, 2048):
        raise InvalidArgument(f"dims = {dims}: expected 64, 192, 768 or 2048")
    if "is" in metrics and dims != 2048:
        raise InvalidArgument("the Inception Score needs the last features: dims=2048")
    if generated is None and not stats:
        raise InvalidArgument("name the generated pictures, or a file for the statistics (stats)")
    if not metrics:
        raise InvalidArgument("metrics is empty: expected fid, fid_inf, kid, is, prdc")
    if real is None:
        raise InvalidArgument(
            "real is None: name the pictures, or their statistics, to compare with"
        )
    progress = progress or Silent()
    asked = list(dict.fromkeys(metrics)) if generated is not None else []
    sides = [_opened(each) for each in (real, generated) if each is not None]
    net = None
    if "is" in asked or any(isinstance(side, Pictures) for side in sides):
        net = open_net(weights, dims, resize, runner)
    path = expand(stats) if stats else None
    measured = [
        _measure(side, what, net, path if what == "real" else None, strict, progress)
        for side, what in zip(sides, ("real", "generated"), strict=False)
    ]
    if generated is None:
        [only] = measured
        return Fidelity(
            only.name, "", only.statistics.count, None, unreadable=_unreadable(measured)
        )
    settings = Settings(
        resize if net else "", len(measured[0].statistics.mean), kid_subsets, kid_subset_size,
        splits, neighbours, seed, net.runner if net else "",
    )  # fmt: skip
    return _compared(measured[0], measured[1], asked, settings, net, progress)


def _opened(side: Any) -> Pictures | MeasuredSet:
    if isinstance(side, str | Path) and is_stats(path := expand(side)):
        return read_stats(path)
    return open_pictures(side)


def _measure(
    side: Pictures | MeasuredSet,
    what: str,
    net: FeatureNet | None,
    path: Path | None,
    strict: bool,
    progress: Progress,
) -> MeasuredSet:
    """The features of one side: computed, or from the file at `path`, which is written if missing."""
    if isinstance(side, MeasuredSet):
        if path:
            raise InceptiveError(f"{side.name}: holds statistics already; leave out `stats`")
        if net and side.net and side.net != net.digest:
            raise InceptiveError(f"{side.name}: is of other weights, resizing or layer")
        return side
    assert net
    for note in side.notes:
        progress.say(f"note: {note}")
    if path and path.exists():
        measured = replace(read_stats(path), name=side.name)
        refuse_other(path, measured, net.digest, side.digest)
        if measured.features:
            _say_unreadable(side, measured.features, strict, progress)
        return measured
    features = extract(net, side, partial(progress.advance, f"{what} pictures"))
    _say_unreadable(side, features, strict, progress)
    if len(features.values) < 2:
        raise InceptiveError(f"{side.name}: holds one picture; a distribution needs two or more")
    measured = MeasuredSet(
        side.name, Statistics.of(features.values), features, net.digest, side.digest
    )
    if path:
        write_stats(path, measured)
        progress.say(f"written: {printable(path)}")
    return measured


def _say_unreadable(side: Pictures, features: Features, strict: bool, progress: Progress) -> None:
    """Say what is left out. Raises InceptiveError if nothing may be, or fewer than two are left."""
    if not features.unreadable:
        return
    text = f"{len(features.unreadable)} of {len(side)} pictures cannot be read"
    text = f"{side.name}: {text}, the first: {features.unreadable[0]}"
    if strict or len(features.values) < 2:
        raise InceptiveError(text)
    progress.say(f"note: {text}; they are left out")


def _unreadable(measured: Sequence[MeasuredSet]) -> tuple[str, ...]:
    return tuple(text for each in measured if each.features for text in each.features.unreadable)


def _compared(
    real: MeasuredSet,
    generated: MeasuredSet,
    metrics: Sequence[str],
    settings: Settings,
    net: FeatureNet | None,
    progress: Progress,
) -> Fidelity:
    if real.net and generated.net and real.net != generated.net:
        raise InceptiveError(
            f"{real.name} and {generated.name}: are of different weights, resizings or layers"
        )
    if (dims := len(generated.statistics.mean)) != settings.dims:
        raise InceptiveError(
            f"{generated.name}: has {dims} features a picture, {real.name} {settings.dims}"
        )
    notes = list(_bias(real, generated, metrics, settings))
    for note in notes:
        progress.say(f"note: {note}")
    values: dict[str, Any] = {}
    if "fid" in metrics:
        values["fid"] = frechet_distance(real.statistics, generated.statistics)
    if "fid_inf" in metrics:
        advance = partial(progress.advance, "FID of subsets")
        features = _features(generated, "fid_inf")
        if len(features) < FEWEST:
            raise InceptiveError(f"{generated.name}: fid_inf needs {FEWEST} pictures or more")
        values["fid_inf"] = infinite_distance(real.statistics, features, settings.seed, advance)
    if "kid" in metrics:
        pair = _features(real, "kid"), _features(generated, "kid")
        size = min(settings.kid_subset_size, *map(len, pair))
        kid = kernel_distance(*pair, settings.kid_subsets, size, settings.seed)
        values |= {"kid": kid.mean, "kid_std": kid.std}
    if "is" in metrics and net:
        features = _features(generated, "is")
        if len(features) < settings.splits:
            raise InceptiveError(
                f"{generated.name}: {len(features)} pictures make no {settings.splits} splits"
            )
        score = inception_score(net.logits(features), settings.splits, settings.seed)
        values |= {"inception_score": score.mean, "inception_score_std": score.std}
    if "prdc" in metrics:
        pair = _features(real, "prdc"), _features(generated, "prdc")
        if min(map(len, pair)) <= settings.neighbours:
            raise InceptiveError(
                f"prdc needs more than {settings.neighbours} pictures on each side: see neighbours"
            )
        values |= prdc(*pair, settings.neighbours)._asdict()
    return Fidelity(
        real.name, generated.name, real.statistics.count, generated.statistics.count, **values,
        settings=settings, notes=tuple(notes), unreadable=_unreadable([real, generated]),
    )  # fmt: skip


def _features(measured: MeasuredSet, metric: str) -> np.ndarray:
    if measured.features is None:
        raise InceptiveError(
            f"{measured.name}: holds mean and covariance, enough for fid; {metric} needs the pictures"
        )
    return measured.features.values


def _bias(
    real: MeasuredSet, generated: MeasuredSet, metrics: Sequence[str], settings: Settings
) -> Iterator[str]:
    """What the numbers of pictures do to the metrics."""
    count = generated.statistics.count or ENOUGH  # where unknown, nothing can be said
    if {"fid", "fid_inf"} & set(metrics):
        for side in (real, generated):
            if (side.statistics.count or ENOUGH) <= settings.dims:
                yield (
                    f"{side.name}: the covariance of {side.statistics.count} pictures in "
                    f"{settings.dims} dimensions is singular, and FID says little"
                )
    if "fid" in metrics and count < ENOUGH:
        more = "" if "fid_inf" in metrics else "; fid_inf extrapolates to infinitely many"
        yield (
            f"the FID of {count} generated pictures is larger than that of many: compare it only with "
            f"one of as many{more}"
        )
    if "fid_inf" in metrics and count < 2 * LEAST:
        yield f"fid_inf is a line through the FIDs of {LEAST} pictures and more; here of fewer"
    if "kid" in metrics:
        counts = [each.statistics.count or ENOUGH for each in (real, generated)]
        if min(counts) < settings.kid_subset_size:
            yield f"KID is of subsets of {min(counts)} pictures: there are no more"
    if "is" in metrics and count < ENOUGH:
        yield f"the Inception Score of {count} pictures is lower than that of many"
