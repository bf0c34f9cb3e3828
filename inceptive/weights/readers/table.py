"""LevelDB's sorted table, the file format of both generations of TensorFlow checkpoints.

Blocks of key and value pairs, then an index of the blocks, then a footer that ends with a magic
number. Source: github.com/google/leveldb, doc/table_format.md, and google/snappy,
format_description.txt. Checksums are not verified: publishers of weights state a hash of the whole.
"""

from collections.abc import Iterator

from inceptive.weights.readers.marks import TABLE_END
from inceptive.weights.readers.wire import varint

FOOTER = 48  # bytes: two block handles padded to 40, and the magic number
LONGEST_KEY = 4096  # bytes; keys share prefixes, so that a small file could spell out endless ones


def entries(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The table's (key, value) pairs in the order of their keys. Raises ValueError."""
    if len(data) < FOOTER or data[-8:] != TABLE_END:
        raise ValueError("it does not end as such a file does; was the download cut short?")
    footer = data[-FOOTER:]
    _, at = _handle(footer, 0)  # of the block about blocks, empty in checkpoints
    index, _ = _handle(footer, at)
    end = 0
    for _, value in _pairs(_block(data, index)):
        block, _ = _handle(value, 0)
        if block[0] < end:  # else many could name one block, and small files unpack without end
            raise ValueError("its blocks are out of order")
        end = sum(block)
        yield from _pairs(_block(data, block))


def _handle(data: memoryview, at: int) -> tuple[tuple[int, int], int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block(data: memoryview, handle: tuple[int, int]) -> memoryview:
    offset, size = handle
    if offset + size >= len(data):
        raise ValueError("a block lies outside the file")
    match data[offset + size]:
        case 0:
            return data[offset : offset + size]
        case 1:
            return memoryview(unsnap(data[offset : offset + size]))
        case kind:
            raise ValueError(f"a block is compressed in unknown way {kind}")


def _pairs(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise ValueError("a block is too short")
    body, at, key = block[:end], 0, b""
    while at < end:
        shared, at = varint(body, at)
        fresh, at = varint(body, at)
        size, at = varint(body, at)
        if shared > len(key) or shared + fresh > LONGEST_KEY or at + fresh + size > end:
            raise ValueError("a block's entry runs past its end")
        key = key[:shared] + bytes(body[at : at + fresh])
        at += fresh
        yield key, body[at : at + size]
        at += size


def unsnap(data: memoryview) -> bytes:
    """Unpack raw snappy data, to at most 22 times its size. Raises ValueError."""
    total, at = varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            size = (tag >> 2) + 1
            if size > 60:  # the length less one follows in 1 to 4 bytes
                extra = size - 60
                size = int.from_bytes(data[at : at + extra], "little") + 1
                at += extra
            out += data[at : at + size]
            at += size
        else:
            extra = (0, 1, 2, 4)[tag & 3]
            size = (tag >> 2 & 7) + 4 if extra == 1 else (tag >> 2) + 1
            back = int.from_bytes(data[at : at + extra], "little")
            back |= tag >> 5 << 8 if extra == 1 else 0
            at += extra
            if not 0 < back <= len(out):
                raise ValueError("snappy data points before its start")
            piece = bytes(out[-back:][:size])  # shorter than size where it repeats itself
            out += (piece * (size // len(piece) + 1))[:size]
        if len(out) > total:
            break
    if len(out) != total or at != len(data):
        raise ValueError("snappy data is damaged")
    return bytes(out)
