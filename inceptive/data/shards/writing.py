"""A labelled set written as tar shards that webdataset and timm read.

    train-000000.tar ...   KEY.jpg, the unchanged bytes of the file, and KEY.cls, the label's number
    train-000000.npy ...   where each image lies in its tar, see `index`
    index.json             their content, see `index`; written last
    unfinished.json        the complete shards, while writing is in progress

Training images are shuffled, so that those read together are of all classes. The same set, sizes and
seed give the same bytes.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from inceptive import __version__
from inceptive.data.shards.index import INDEX, Index, Shard, as_table, table_name
from inceptive.data.shards.member import at_path
from inceptive.data.shards.scan import LARGEST, parts, read_through
from inceptive.data.source import SPLITS, ArrayImages, Data, Samples
from inceptive.errors import InceptiveError, printable, readable, reason, requires
from inceptive.images import SUFFIXES, Stored
from inceptive.io.atomic import as_json, atomic_write, write_bytes, write_json
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent

UNFINISHED = "unfinished.json"


@dataclass(frozen=True)
class Cut:
    """When a shard ends: after `images`, or once it holds that many bytes; 0 for no such limit."""

    images: int = 0
    bytes: int = 256 * 2**20

    def reached(self, images: int, size: int) -> bool:
        return 0 < self.images <= images or 0 < self.bytes <= size


def refuse_to_overwrite(out: Path) -> None:
    """Raise InceptiveError if `out` holds anything but unfinished shards."""
    if (out / UNFINISHED).exists():
        return
    if (out / INDEX).exists():
        raise InceptiveError(f"{printable(out)}: holds a finished set; give another folder (out)")
    if out.exists() and (not out.is_dir() or not all(map(_is_part, out.iterdir()))):
        raise InceptiveError(f"{printable(out)}: is not empty; give another folder (out)")


def write_shards(
    data: Data,
    out: Path,
    splits: tuple[str, ...] = SPLITS,
    cut: Cut = Cut(),
    seed: int = 0,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Index:
    """Write those `splits` of `data` that hold images; returns the content of index.json.

    Shards finished by an earlier call with the same arguments are kept. Raises InceptiveError if
    webdataset is not installed, if `out` holds anything else, if there are too few classes, if an image
    is gone or writing fails.
    """
    progress = progress or Silent()
    data.check_classes()
    refuse_to_overwrite(out)
    wanted = {name: data.splits[name] for name in splits if len(data.splits.get(name, ()))}
    plan = _plan(data, wanted, cut, seed)
    begun = _begun(out, plan)
    _write_unfinished(out, plan, begun)
    total, done = sum(map(len, wanted.values())), 0
    listed: dict[str, list[Shard]] = {name: [] for name in wanted}
    for name, samples in wanted.items():
        order = np.arange(len(samples))
        if name == "train":
            order = np.random.default_rng(seed).permutation(len(samples))
        while len(order):
            file = f"{name}-{len(listed[name]):06}.tar"
            if file not in begun:
                begun[file] = _write(out / file, samples, order, data, cut)
                _write_unfinished(out, plan, begun)
            listed[name].append(begun[file])
            order = order[begun[file].images :]
            done += begun[file].images
            progress.advance("writing images", done, total)
    index = Index(
        name=data.name,
        classes=list(data.classes),
        licence=data.licence,
        channels=1 if data.channels == 1 else 3,
        seed=seed,
        inceptive=__version__,
        splits=listed,
        depth=data.depth,
    )
    write_json(out / INDEX, index.model_dump())
    (out / UNFINISHED).unlink(missing_ok=True)
    return index


def _write_unfinished(out: Path, plan: str, shards: dict[str, Shard]) -> None:
    record = {file: shard.model_dump() for file, shard in shards.items()}
    write_json(out / UNFINISHED, {"plan": plan, "shards": record})


def _plan(data: Data, splits: dict[str, Samples], cut: Cut, seed: int) -> str:
    """What two calls must agree in for their shards to be the same."""
    digest = hashlib.sha256(as_json([data.classes, data.name, vars(cut), seed]).encode())
    for name, samples in splits.items():
        digest.update(f"{name} {len(samples)}".encode())
        digest.update(samples.images.fingerprint())
        digest.update(samples.images.digests().tobytes())
        digest.update(np.ascontiguousarray(samples.labels).data)
    return digest.hexdigest()


def _begun(out: Path, plan: str) -> dict[str, Shard]:
    """The shards that a call that did not end has finished, as they still are."""
    try:
        record = json.loads((out / UNFINISHED).read_bytes())
        if record["plan"] != plan:
            raise InceptiveError(
                f"{printable(out)}: holds the beginning of other shards (of other images, sizes or "
                "seed); give another folder (out)"
            )
        shards = {file: Shard.model_validate(shard) for file, shard in record["shards"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InceptiveError(
            f"{printable(out / UNFINISHED)}: cannot be read ({reason(error)}); give another folder (out)"
        ) from None
    for path in out.iterdir():  # of the process that was killed
        if _is_part(path):
            path.unlink(missing_ok=True)
    return {file: shard for file, shard in shards.items() if _is_whole(out, shard)}


def _is_part(path: Path) -> bool:
    """Whether `path` is the beginning of a file that a process was killed over."""
    kind = rf"\.((train|val|test)-\d{{6}}\.(tar|npy)|{INDEX}|{UNFINISHED})\.[0-9a-f]+\.part"
    return re.fullmatch(kind, path.name) is not None


def _is_whole(out: Path, shard: Shard) -> bool:
    """Whether the tar and its table lie in `out` as they were written."""
    files = ((shard.file, shard.sha256), (table_name(shard.file), shard.members))
    try:
        return all(_sha256(out / name) == sha256 for name, sha256 in files)
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, samples: Samples, order: np.ndarray, data: Data, cut: Cut) -> Shard:
    """One shard, of the first images of `order` that fit; what the index says of it."""
    with requires("shards are written by webdataset", "scale"):
        from webdataset import TarWriter
    counts = [0] * len(data.classes)
    with atomic_write(path) as file:
        hashed = _Hashed(file)
        with TarWriter(hashed, encoder=False, mtime=0, mode=0o644, user="", group="") as tar:
            for key, extension, content, label in _entries(samples, order):
                tar.write({"__key__": key, extension: content, "cls": str(label).encode()})
                counts[label] += 1
                if cut.reached(sum(counts), hashed.bytes):
                    break
    contents = read_through(at_path(str(path)), decoding=False)  # as a reader will
    if contents.sha256 != hashed.hash.hexdigest() or len(contents.labels) != sum(counts):
        raise InceptiveError(
            f"{printable(path)}: does not hold what was written to it; is the disk sound?"
        )
    table = as_table(contents.places, contents.labels)
    write_bytes(path.with_name(table_name(path.name)), table)
    return Shard(
        file=path.name,
        images=sum(counts),
        bytes=hashed.bytes,
        counts=counts,
        sha256=contents.sha256,
        members=hashlib.sha256(table).hexdigest(),
    )


def _entries(samples: Samples, order: np.ndarray) -> Iterator[tuple[str, str, bytes, int]]:
    """Key, extension, bytes and label of each image; keys begin with its number in the split."""
    arrays = isinstance(samples.images, ArrayImages)
    for index in order.tolist():
        name = samples.name(index)
        suffix = Path(name).suffix.lower()
        extension = (
            "png" if arrays else (suffix if suffix in SUFFIXES else ".jpg").removeprefix(".")
        )
        key = f"{index:08}" if arrays else f"{index:08}_{_readable(name)}"
        content = _content(samples, index)
        if len(content) > LARGEST:
            raise InceptiveError(
                f"{printable(name)}: is larger than {LARGEST >> 20} MiB, the most that a shard may hold "
                "of one image; remove it"
            )
        yield key, extension, content, int(samples.labels[index])


def _readable(name: str) -> str:
    """The name of an image's file as a part of a key, to know it by."""
    stem = parts(name)[0].rpartition("/")[2]
    stem = re.sub(r"^\d{8}_", "", stem)  # of the shards that it comes from
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:60]


def _content(samples: Samples, index: int) -> bytes:
    """The bytes of an image's file, or a PNG of an array."""
    source = samples.source(index)
    if isinstance(source, Stored):
        return source.read()
    if isinstance(source, np.ndarray):
        png = io.BytesIO()
        Image.fromarray(source).save(png, "PNG")
        return png.getvalue()
    with readable(samples.name(index)):
        return Path(str(source)).read_bytes()


class _Hashed:
    """What is written to a file, counted and hashed on the way."""

    def __init__(self, file: IO[bytes]):
        self.file, self.bytes, self.hash = file, 0, hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.hash.update(content)
        self.bytes += len(content)
        return self.file.write(content)
