"""Built-in datasets: digits, fashion-mnist, cifar10, solar.

None is shipped with inceptive. Each is read from where its owner or a distribution puts it, or from
the cache (INCEPTIVE_CACHE, else ~/.cache/inceptive), or downloaded and verified by its hash.
"""

import gzip
import importlib.util
import io
import pickle
import pickletools
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inceptive.data.folder import build_splits
from inceptive.data.scan import scan_all
from inceptive.data.source import SPLITS, ArrayImages, Data, Samples, SplitFractions
from inceptive.data.split import divide
from inceptive.errors import InceptiveError, reason
from inceptive.io.downloads import download
from inceptive.io.paths import cache_folder, expand
from inceptive.io.progress import Advance

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FASHION_DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_SHA256 = {
    "train-images-idx3-ubyte.gz":
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz":
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz":
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz":
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}  # fmt: skip
CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
SOLAR_GRADES = {"0.0": "functional", "0.3333333333333333": "possibly defective",
                "0.6666666666666666": "likely defective", "1.0": "defective"}  # fmt: skip


def digits(option: str, shares: SplitFractions, advance: Advance | None) -> Data:
    """1,797 handwritten digits of 8 x 8 pixels, from scikit-learn (UCI; BSD)."""
    if option:
        raise InceptiveError(f"digits has no option {option!r}")
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InceptiveError("digits comes with scikit-learn: pip install scikit-learn") from None
    loaded = load_digits()
    images = np.rint(loaded.images * (255 / 16)).astype(np.uint8)
    samples = Samples(ArrayImages(images, "digits"), loaded.target.astype(np.int64))
    splits, classes = divided(samples, shares), tuple("0123456789")
    return Data("digits", classes, splits, 1, "BSD-3-Clause", divided=True)


def fashion_mnist(option: str, shares: SplitFractions, advance: Advance | None) -> Data:
    """70,000 grey pictures of clothes, 28 x 28 pixels (Zalando; MIT), with the publisher's test set.

    Source: Xiao, Rasul, Vollgraf, arXiv:1708.07747.
    """
    if option:
        raise InceptiveError(f"fashion-mnist has no option {option!r}")

    def part(name: str) -> Samples:
        images = _idx(_fashion_file(f"{name}-images-idx3-ubyte.gz"), 3)
        path = _fashion_file(f"{name}-labels-idx1-ubyte.gz")
        labels = _idx(path, 1)
        if len(labels) != len(images) or (labels >= len(FASHION_CLASSES)).any():
            raise InceptiveError(f"{path}: its labels are not those of {name}-images-idx3-ubyte.gz")
        return Samples(ArrayImages(images, f"fashion-mnist/{name}"), labels.astype(np.int64))

    splits = divided(part("train"), SplitFractions(shares.val, 0.0)) | {"test": part("t10k")}
    return Data("fashion-mnist", FASHION_CLASSES, splits, 1, "MIT")


def cifar10(option: str, shares: SplitFractions, advance: Advance | None) -> Data:
    """60,000 colour pictures of 32 x 32 pixels (Krizhevsky 2009), with the publisher's test set.

    option is the path of cifar-10-python.tar.gz; without one, the cache is tried, then the publisher.
    Nothing in the archive's pickles is executed.
    """
    if option:
        path = expand(option)
        if not path.is_file():
            raise InceptiveError(f"cifar10: there is no file {option}")
    else:
        path = cache_folder() / "cifar-10-python.tar.gz"
        if not path.exists():
            download(CIFAR_URL, CIFAR_SHA256, path)
    batches, names = _cifar_archive(path)

    def part(wanted: list[str], origin: str) -> Samples:
        if missing := [name for name in wanted if name not in batches]:
            raise InceptiveError(
                f"{path}: lacks {', '.join(missing)}; is it cifar-10-python.tar.gz?"
            )
        rows = np.concatenate([batches[name][0] for name in wanted])
        labels = np.concatenate([batches[name][1] for name in wanted])
        pixels = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return Samples(ArrayImages(pixels, origin), labels)

    train = part([f"data_batch_{k}" for k in range(1, 6)], "cifar10/train")
    splits = divided(train, SplitFractions(shares.val, 0.0)) | {
        "test": part(["test_batch"], "cifar10/test")
    }
    return Data("cifar10", names, splits, 3, "not stated by its authors")


def solar(option: str, shares: SplitFractions, advance: Advance | None) -> Data:
    """2,624 electroluminescence photographs of solar cells, 300 x 300 grey, from PyPI's elpv-dataset.

    Sources: Buerhop-Lutz et al. 2018; Deitsch et al. 2019 and 2021. Licence CC BY-NC-SA 4.0:
    non-commercial. Options: "" defective or not (probability of a defect at least 0.5); "grades" the
    experts' four grades; "cells" the grades for each type of cell, mono and poly.
    """
    if option not in ("", "grades", "cells"):
        raise InceptiveError(f"solar has no option {option!r}; there are: grades, cells")
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise InceptiveError(
            "solar is in the package elpv-dataset (CC BY-NC-SA 4.0, non-commercial): "
            "pip install elpv-dataset"
        )
    folder = Path(spec.submodule_search_locations[0]) / "data"
    try:
        table = (folder / "labels.csv").read_text(encoding="utf-8")
    except OSError as error:
        raise InceptiveError(f"elpv-dataset is damaged, reinstall it: {reason(error)}") from None
    rows = [line.split() for line in table.splitlines() if line]

    def name(probability: str, cell: str) -> str:
        grade = SOLAR_GRADES.get(probability, "unknown")
        if not option:
            return "defective" if float(probability) >= 0.5 else "functional"
        return grade if option == "grades" else f"{cell} {grade}"

    names = [name(probability, cell) for _, probability, cell in rows]
    classes = tuple(sorted(set(names)))
    labels = np.array([classes.index(name) for name in names], dtype=np.int64)
    scanned = scan_all([str(folder / path) for path, _, _ in rows], advance)
    if bad := [image.error for image in scanned if image.error]:
        raise InceptiveError(f"elpv-dataset is damaged, reinstall it: {bad[0]}")
    splits, _, notes = build_splits(scanned, labels, shares, "solar", classes, advance=advance)
    title = f"solar:{option}" if option else "solar"
    if not option:
        # The experts' doubt: 0, 1/3, 2/3 or 1 is the probability of "defective", the first class.
        doubt = {str(folder / path): float(probability) for path, probability, _ in rows}
        for part, samples in splits.items():
            paths = [samples.name(index) for index in range(len(samples))]
            defective = np.array([doubt[path] for path in paths], dtype=np.float32)
            splits[part] = replace(samples, soft=np.stack([defective, 1 - defective], axis=1))
    licence = "CC BY-NC-SA 4.0 (non-commercial)"
    return Data(title, classes, splits, 1, licence, tuple(notes), divided=True)


BUILTIN: dict[str, Callable[[str, SplitFractions, Advance | None], Data]] = {
    "digits": digits,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
    "solar": solar,
}


def divided(samples: Samples, shares: SplitFractions) -> dict[str, Samples]:
    """Split a set of arrays by the content of each image; exact copies stay together."""
    assert isinstance(samples.images, ArrayImages)
    digests = samples.images.digests()
    groups = np.unique(digests, return_inverse=True)[1]
    split = divide(samples.labels, digests, groups, shares)
    return {part: samples.take(split == part) for part in SPLITS if (split == part).any()}


def _fashion_file(name: str) -> Path:
    for folder in (FASHION_DEBIAN, cache_folder() / "fashion-mnist"):
        if (folder / name).exists():
            return folder / name
    path = cache_folder() / "fashion-mnist" / name
    download(FASHION_URL + name, FASHION_SHA256[name], path)
    return path


def _idx(path: Path, dimensions: int) -> np.ndarray:
    """An array in LeCun's idx format, unsigned bytes: magic 0 0 8 d, d big-endian sizes, data."""
    try:
        content = gzip.decompress(path.read_bytes())
        if content[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError(f"starts {content[:4]!r}")
        shape = np.frombuffer(content, ">i4", dimensions, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InceptiveError(
            f"{path}: is not an idx file of {dimensions} dimensions, gzipped ({reason(error)}); "
            "remove it"
        ) from None


def _cifar_archive(
    path: Path,
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], tuple[str, ...]]:
    """Each batch's rows (N, 3072) of uint8 and labels (N,), and the class names."""
    batches: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    names: tuple[str, ...] = ()
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = Path(member.name).name
                content = archive.extractfile(member) if member.isfile() else None
                if content is None:
                    continue
                if name.startswith("data_batch_") or name == "test_batch":
                    batch = plain_pickle(content.read())
                    rows = np.asarray(batch[b"data"], dtype=np.uint8)
                    labels = np.asarray(batch[b"labels"], dtype=np.int64)
                    if rows.shape != (len(labels), 3072) or (labels % 10 != labels).any():
                        raise ValueError(f"{name} is not pictures of 3,072 bytes with labels 0-9")
                    batches[name] = rows, labels
                elif name == "batches.meta":
                    listed = plain_pickle(content.read())[b"label_names"]
                    names = tuple(map(bytes.decode, listed))
            while archive.fileobj and archive.fileobj.read(2**20):
                pass  # what compresses the archive checks its sum at the end
    except Exception as error:  # a damaged archive may raise anything
        raise InceptiveError(
            f"{path}: is not CIFAR-10's python archive ({reason(error)})"
        ) from None
    if not names:
        raise InceptiveError(f"{path}: lacks batches.meta; is it cifar-10-python.tar.gz?")
    return batches, names


def plain_pickle(content: bytes) -> Any:
    """Load a pickle of plain data and NumPy arrays; anything else is refused.

    A pickle can call any function. Here only the two that rebuild an array are allowed, under the names
    used by old and new NumPy.
    """
    try:
        for code, argument, _ in pickletools.genops(content):
            if code.name in ("PUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= len(content):
                raise ValueError("it asks for gigabytes of memory")  # for all places up to that one
        return _Plain(io.BytesIO(content), encoding="bytes").load()
    except InceptiveError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise InceptiveError(f"a damaged pickle ({reason(error)})") from None


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _Array
        if module == "numpy" and name in ("ndarray", "dtype"):
            return {"ndarray": _ndarray, "dtype": _Dtype}[name]
        raise InceptiveError(f"a pickle that wants to run {module}.{name}: refused")


def _ndarray(*arguments: Any) -> Any:
    """Stands for numpy.ndarray, which a pickle may name but not call."""
    raise InceptiveError("a pickle that wants to run numpy.ndarray: refused")


class _Dtype:
    """Stands for numpy.dtype. The real ones would let a pickle pass bytes off as objects."""

    def __init__(self, code: str | bytes, align: object = False, copy: object = False):
        if code not in ("u1", b"u1"):
            raise InceptiveError(f"a pickle of an array of {code!r}, not of bytes: refused")

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """Stands for a numpy.ndarray of bytes: NumPy's `_reconstruct` begins it, its state fills it."""

    def __init__(self, kind: Any, shape: tuple[int, ...], code: bytes):
        if kind is not _ndarray:
            raise InceptiveError("a pickle of an array subclass: refused")

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes]) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype):
            raise InceptiveError("a pickle of an array without a type: refused")
        self.array = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.array, dtype=dtype)
