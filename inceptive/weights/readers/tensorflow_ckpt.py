"""TensorFlow checkpoints of both generations.

V1 is one table whose first value lists the tensors and whose other values hold them (TF-Slim's
inception_v1.ckpt of 2016). V2 is a table `x.index` that says where in `x.data-00000-of-00001`
each tensor lies. Sources: tensorflow/core/util/saved_tensor_slice.proto,
tensorflow/core/protobuf/tensor_bundle.proto, tensorflow/core/framework/{tensor,types}.proto.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from inceptive.weights.readers.marks import GZIP, TABLE_END
from inceptive.weights.readers.safe_read import array, collect, content, reading, untar
from inceptive.weights.readers.table import entries
from inceptive.weights.readers.wire import as_bytes, as_int, as_ints, fields, text

# TensorFlow's DataType: what NumPy calls it, and the field of TensorProto that holds its values.
TYPES = {1: ("<f4", 5), 2: ("<f8", 6), 3: ("<i4", 7), 4: ("u1", 7), 5: ("<i2", 7), 6: ("i1", 7),
         9: ("<i8", 10), 10: ("?", 11), 17: ("<u2", 7), 19: ("<f2", 13)}  # fmt: skip
STRING = 7


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a checkpoint by their TensorFlow names, in the order of those names.

    "InceptionV1/Conv2d_1a_7x7/weights" is (kernel height, kernel width, in, out). path is a V1
    file, a V2 prefix or its .index file, or a .tar.gz that holds one of these. Strings (what
    tf.train.Checkpoint notes about its objects) are left out.
    Raises InceptiveError if it cannot be read, or if a tensor is stored in slices.
    """
    with reading(path, "a TensorFlow checkpoint"):
        files = _files(path)
        indexes = [name for name in files if name.endswith(".index")]
        tables = indexes or [name for name, data in files.items() if data[-8:] == TABLE_END]
        tables = tables or (list(files) if len(files) == 1 else [])  # to say what is wrong with it
        if len(tables) != 1:
            raise ValueError(f"it holds {len(tables)} checkpoints" if tables else "it holds none")
        table = tables[0]
        if indexes:
            return collect(_bundle(files, table.removesuffix(".index")))
        return collect(_slices(files[table]))


def _files(path: Path) -> Mapping[str, memoryview]:
    """The checkpoint's files by name: those of an archive, or `path` and what belongs to it."""
    prefix = path.name.removesuffix(".index")
    if path.with_name(f"{prefix}.index").is_file():
        beside = [each for each in path.parent.iterdir() if each.name.startswith(f"{prefix}.data-")]
        paths = [path.with_name(f"{prefix}.index"), *sorted(beside)]
        return {each.name: memoryview(content(each)) for each in paths}
    data = memoryview(content(path))
    return untar(path) if data[:2] == GZIP else {path.name: data}


def _bundle(files: Mapping[str, memoryview], prefix: str) -> Iterator[tuple[str, np.ndarray]]:
    shards, remaining = 1, sum(map(len, files.values()))
    for key, value in entries(files[f"{prefix}.index"]):
        if not key:
            shards = _header(value)
            continue
        if key[0] == 0:  # a slice's key is coded, and starts so; TensorFlow sorts it to the front
            raise ValueError("a tensor is stored in slices")
        name, (code, shape, number, offset, size) = str(key, "utf-8"), _entry(value)
        if code == STRING:
            continue
        shard = f"{prefix}.data-{number:05}-of-{shards:05}"
        if shard not in files:
            raise ValueError(f"{shard} is not beside its index")
        remaining -= size
        if min(offset, size, remaining) < 0:
            raise ValueError("its tensors claim more bytes than there are")
        data = files[shard][offset : offset + size]
        yield name, _named(name, data, _type(name, code)[0], shape)


def _header(message: memoryview) -> int:
    """How many data files there are, of a BundleHeaderProto."""
    header = {number: value for number, value in fields(message) if number in (1, 2)}
    if header.get(2, 0) != 0:
        raise ValueError("its numbers are big-endian")
    return as_int(header.get(1, 0))


def _entry(message: memoryview) -> tuple[int, list[int], int, int, int]:
    """Type, shape, number of the data file, offset and size, of a BundleEntryProto."""
    numbers, shape = {1: 0, 3: 0, 4: 0, 5: 0}, list[int]()
    for number, value in fields(message):
        if number == 7:
            raise ValueError("a tensor is stored in slices")
        if number == 2:
            shape = _shape(as_bytes(value))
        elif number in numbers:
            numbers[number] = as_int(value)
    return numbers[1], shape, numbers[3], numbers[4], numbers[5]


def _slices(table: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    listed: dict[str, tuple[int, list[int]]] = {}
    for _, record in entries(table):
        for number, value in fields(record):
            if number == 1:  # SavedTensorSliceMeta, in the first record
                listed |= dict(
                    _meta(as_bytes(meta)) for k, meta in fields(as_bytes(value)) if k == 1
                )
            elif number == 2:
                yield from _slice(as_bytes(value), listed)
    if missing := [name for name, (code, _) in listed.items() if code != STRING]:
        raise ValueError(f"it lists {missing[0]!r} but does not hold it")


def _meta(message: memoryview) -> tuple[str, tuple[int, list[int]]]:
    """Name, type and shape, of a SavedSliceMeta."""
    name, code, shape = "", 0, list[int]()
    for number, value in fields(message):
        match number:
            case 1:
                name = text(value)
            case 2:
                shape = _shape(as_bytes(value))
            case 3:
                code = as_int(value)
    return name, (code, shape)


def _slice(
    message: memoryview, listed: dict[str, tuple[int, list[int]]]
) -> Iterator[tuple[str, np.ndarray]]:
    """The tensor of a SavedSlice; it is struck off the list."""
    name, tensor = "", memoryview(b"")
    for number, value in fields(message):
        match number:
            case 1:
                name = text(value)
            case 2:  # a TensorSliceProto; a whole tensor's has neither starts nor lengths
                if any(len(as_bytes(extent)) for _, extent in fields(as_bytes(value))):
                    raise ValueError(f"{name!r} is stored in slices")
            case 3:
                tensor = as_bytes(value)
    if name not in listed:
        raise ValueError(f"it holds {name!r} twice, or does not list it")
    code, shape = listed.pop(name)
    if code != STRING:
        dtype, field = _type(name, code)
        yield name, _named(name, _values(tensor, dtype, field), dtype, shape)


def _values(message: memoryview, dtype: np.dtype, field: int) -> bytearray:
    """The bytes of a TensorProto's values: floats as they are, whole numbers out of varints."""
    data = bytearray()
    bits = np.dtype("<u2") if dtype.kind == "f" and dtype.itemsize == 2 else dtype
    for number, value in fields(message):
        if number == 4 or (number == field and field in (5, 6)):
            data += as_bytes(value)
        elif number == field:
            data += np.fromiter(as_ints(value), np.int64).astype(bits).tobytes()
    return data


def _type(name: str, code: int) -> tuple[np.dtype, int]:
    if code not in TYPES:
        raise ValueError(f"{name!r} is of TensorFlow's type {code}, which is not supported")
    dtype, field = TYPES[code]
    return np.dtype(dtype), field


def _named(
    name: str, data: memoryview | bytearray, dtype: np.dtype, shape: list[int]
) -> np.ndarray:
    try:
        return array(data, dtype, shape)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _shape(message: memoryview) -> list[int]:
    """The sizes of a TensorShapeProto."""
    sizes = []
    for number, dimension in fields(message):
        if number == 2:
            numbers = [as_int(value) for k, value in fields(as_bytes(dimension)) if k == 1]
            sizes.append(numbers[-1] if numbers else 0)
    return sizes
