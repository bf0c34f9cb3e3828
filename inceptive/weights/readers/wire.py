"""The wire format of protocol buffers, as far as checkpoints need it.

Parsed by hand rather than with the protobuf package: Caffe's and TensorFlow's messages need four field
types and no schema, a tensor's bytes stay one slice of the file where that package makes a Python
float of each number, and descriptors registered here would clash with those of caffe or tensorflow
in the same process. Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

Value = int | memoryview


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """(field number, value) in the message's order: an int of a varint, else the field's bytes."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        match tag & 7:
            case 0:
                value, at = varint(message, at)
                yield tag >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = varint(message, at)
            case 5:
                size = 4
            case kind:
                raise ValueError(f"a field of unknown type {kind}")
        if size > len(message) - at:
            raise ValueError("the file ends inside a field")
        yield tag >> 3, message[at : at + size]
        at += size


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read the unsigned 64-bit number at `at`; return it and where the next item starts."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("the file ends inside a number")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
    raise ValueError("a number of more than 64 bits")


def as_int(value: Value) -> int:
    """A varint field as the signed number that int32 and int64 fields encode."""
    if not isinstance(value, int):
        raise ValueError("bytes where a number belongs")
    return value - (1 << 64) if value >> 63 else value


def as_bytes(value: Value) -> memoryview:
    """The bytes of a field that holds bytes, a string, a message or packed numbers."""
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value


def text(value: Value) -> str:
    return str(as_bytes(value), "utf-8")


def as_ints(value: Value) -> Iterator[int]:
    """The numbers of a repeated varint field, packed or not."""
    if isinstance(value, int):
        yield as_int(value)
        return
    at = 0
    while at < len(value):
        number, at = varint(value, at)
        yield as_int(number)
