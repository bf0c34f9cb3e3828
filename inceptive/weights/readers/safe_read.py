"""Rules of every reader: a bad file gives one clear line, and takes no more memory than its size."""

import gzip
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from inceptive.errors import InceptiveError

# Weights are noise and hardly compress: an archive that unpacks to far more than this is a bomb.
EXPANSION = 8
SMALL = 1 << 20  # bytes that any archive may unpack to, the padding of a tar of tiny files

Buffer = bytes | bytearray | memoryview


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever goes wrong inside into an InceptiveError of one line: file, `kind` and reason."""
    try:
        yield
    except InceptiveError:
        raise
    except Exception as error:  # a damaged file raises anything out of the libraries beneath
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0] if len(lines[0]) <= 200 else f"{lines[0][:200]}…"
        raise InceptiveError(f"{path}: cannot be read as {kind} ({reason})") from error


def content(path: Path) -> bytes:
    """Read the bytes of a file; ValueError if it is a folder, or a device that never ends."""
    if not path.is_file():
        raise ValueError("there is no such file")
    return path.read_bytes()


def array(data: Buffer, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
    """A copy of `data` as an array; ValueError unless it is exactly the bytes that `shape` needs."""
    if elements(shape) * dtype.itemsize != len(data):
        described = "×".join(map(str, shape)) or "scalar"
        raise ValueError(f"a tensor of shape {described} has {len(data)} bytes of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def elements(shape: Sequence[int]) -> int:
    """The number of elements of a tensor; ValueError for an impossible shape."""
    if len(shape) > 32 or any(size < 0 or size >> 40 for size in shape):
        raise ValueError("a tensor's shape makes no sense")
    return prod(shape)


def collect(tensors: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The tensors by name, in order; ValueError for a duplicate name, or if there are none."""
    by_name: dict[str, np.ndarray] = {}
    for name, tensor in tensors:
        if name in by_name:
            raise ValueError(f"tensor {name!r} is there twice")
        by_name[name] = tensor
    if not by_name:
        raise ValueError("it holds no tensors")
    return by_name


def max_unpacked(packed: int) -> int:
    """The maximum unpacked size of an archive of `packed` bytes."""
    return EXPANSION * packed + SMALL


def untar(path: Path) -> dict[str, memoryview]:
    """The regular files of a .tar.gz by their path inside it, in memory: nothing is written to disk.

    Links, devices and sparse files are skipped; no name is ever used as a path on this machine.
    """
    packed = content(path)
    limit = max_unpacked(len(packed))
    with gzip.open(io.BytesIO(packed)) as stream:
        data = memoryview(stream.read(limit + 1))
    if len(data) > limit:
        raise ValueError(f"unpacks to more than {EXPANSION} times its size")
    files = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for member in archive:
            if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse():
                inside = data[member.offset_data : member.offset_data + member.size]
                if len(inside) != member.size:
                    raise ValueError(f"{member.name} ends early")
                files[member.name] = inside
    return files
