"""Files of statistics: `mu` and `sigma` as pytorch-fid keeps them, and in our own also the features."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inceptive.errors import InceptiveError, printable, readable, valid_values
from inceptive.fidelity.features import Features
from inceptive.fidelity.frechet import Statistics
from inceptive.io.atomic import atomic_write

MEAN, COVARIANCE = "mu", "sigma"


@dataclass(frozen=True)
class MeasuredSet:
    """Statistics and features of a set of pictures called `name`.

    features is None for a file of pytorch-fid's. net and pictures: the digests of the net and of the
    pictures that it follows from, "" if not recorded.
    """

    name: str
    statistics: Statistics
    features: Features | None = None
    net: str = ""
    pictures: str = ""


def is_stats(path: Path) -> bool:
    """Whether `path` is a file of statistics, and not of pictures."""
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{MEAN}.npy", f"{COVARIANCE}.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def read_stats(path: Path) -> MeasuredSet:
    """Read a file of `write_stats`, of pytorch-fid or of clean-fid.

    Raises InceptiveError if it cannot be read, or holds no mean and covariance.
    """
    title = printable(path)
    with (
        readable(path, ValueError, EOFError, zipfile.BadZipFile),
        path.open("rb") as opened,
        np.load(opened, allow_pickle=False) as file,
    ):
        arrays = {name: file[name] for name in file.files}
    with valid_values(title):
        mean = arrays[MEAN].astype(np.float64)
        covariance = arrays[COVARIANCE].astype(np.float64)
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(
                f"'mu' and 'sigma' (their shapes are {mean.shape}, {covariance.shape})"
            )
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("'mu' and 'sigma' (some are no finite numbers)")
        features = None
        if "features" in arrays:
            values = arrays["features"].astype(np.float32)
            if values.ndim != 2 or values.shape[1] != len(mean):
                raise ValueError(f"'features' (their shape is {values.shape})")
            features = Features(values, tuple(map(str, arrays["unreadable"])))
        statistics = Statistics(
            mean, covariance, None if features is None else len(features.values)
        )
        marks = (str(arrays.get(name, "")) for name in ("net", "pictures"))
        return MeasuredSet(title, statistics, features, *marks)


def write_stats(path: Path, measured: MeasuredSet) -> None:
    """Write `measured` so that pytorch-fid reads its mean and covariance, and `read_stats` all of it."""
    assert measured.features is not None
    with atomic_write(path) as file:
        np.savez(
            file,
            allow_pickle=False,
            **{MEAN: measured.statistics.mean, COVARIANCE: measured.statistics.covariance},
            features=measured.features.values,
            unreadable=np.array(measured.features.unreadable, np.str_),
            net=np.array(measured.net),
            pictures=np.array(measured.pictures),
        )


def refuse_other(path: Path, measured: MeasuredSet, net: str, pictures: str) -> None:
    """Raise InceptiveError if the file at `path`, which holds `measured`, is of another net or set."""
    title, mend = printable(path), "give another file, or remove it, and it is written anew"
    if not measured.net:
        raise InceptiveError(
            f"{title}: holds statistics without what they were made of; to compare with them, name the "
            "file in place of the real pictures"
        )
    if measured.net != net:
        raise InceptiveError(f"{title}: is of other weights, resizing or layer; {mend}")
    if measured.pictures != pictures:
        raise InceptiveError(f"{title}: is of other pictures, or some have changed since; {mend}")
