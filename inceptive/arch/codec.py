"""Conversion of a net's value to and from plain JSON, lossless both ways, for storage in files.

A word is an object whose `type` is its name and whose other keys are its fields; a group's parts
are a list of [name, word], so their order is kept. Every field is written, defaults included, so a
file keeps its meaning if a later version changes a default.
"""

from dataclasses import MISSING, fields
from typing import Any, get_args

from inceptive.arch.spec import MAX_DEPTH, Group, Net, Node, Word
from inceptive.arguments import brief
from inceptive.errors import InceptiveError, printable

WORDS: dict[str, type[Word]] = {word.__name__: word for word in (*get_args(Node), Net)}


def net_to_dict(net: Net) -> dict[str, Any]:
    """Convert `net` to plain JSON: dicts, lists, strings, numbers, true, false and null."""
    data = _write(net)
    assert isinstance(data, dict)
    return data


def net_from_dict(data: object) -> Net:
    """Rebuild the net that `net_to_dict` wrote as `data`.

    Raises InceptiveError, with the path to what is missing or invalid. `data` may be untrusted:
    nesting and size are bounded, and no code is run.
    """
    net = _read(data, "net", 0)
    if not isinstance(net, Net):
        raise InceptiveError(f"net is missing or invalid: {brief(net)}")
    return net


def first_difference(a: object, b: object, path: str = "") -> str:
    """Where value `a` first differs from `b`: "body.pool4.kernel is 2, not 3"; "" if they are equal.

    Accepts nets or any words. Parts are compared in order.
    """
    place = path or "the value"
    left, right = _children(a), _children(b)
    if type(a) is not type(b) or left is None or right is None:
        return "" if a == b else f"{place} is {a!r}, not {b!r}"
    for k, (name, child) in enumerate(left):
        if k == len(right):
            return f"{place} has a part {name} too many"
        other, twin = right[k]
        if name != other:
            return f"{place} has the part {name} where {other} should be"
        if difference := first_difference(child, twin, f"{path}.{name}".lstrip(".")):
            return difference
    return f"{place} has no part {right[len(left)][0]}" if len(left) < len(right) else ""


def _children(value: object) -> list[tuple[str, object]] | None:
    """What a value holds, by name: parts of a group, fields of a word, heads; None for the rest."""
    if isinstance(value, Group):
        return list(value)
    if isinstance(value, Word):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    pairs = isinstance(value, tuple) and all(isinstance(pair, tuple) for pair in value)
    return list(value) if pairs else None  # type: ignore[call-overload, no-any-return]


def _write(value: object) -> object:
    if isinstance(value, Word):
        fields_data = {field.name: _write(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, **fields_data}
    return [_write(item) for item in value] if isinstance(value, tuple) else value


def _read(data: object, path: str, depth: int) -> object:
    """What `_write` wrote as `data`. A word checks its fields itself. Raises InceptiveError."""
    if depth > 4 * MAX_DEPTH:  # a word, its parts, a pair, the part: at most four levels a word
        raise InceptiveError(f"{path} is nested more than {MAX_DEPTH} words deep")
    if isinstance(data, dict):
        return _read_word(data, path, depth)
    if not isinstance(data, list):
        return data
    if len(data) == 2 and isinstance(data[0], str):  # a part: [name, word]
        return data[0], _read(data[1], f"{path}.{printable(data[0])}", depth + 1)
    return tuple(_read(item, path, depth + 1) for item in data)


def _read_word(data: dict[str, Any], path: str, depth: int) -> Word:
    name = data.get("type")
    word = WORDS.get(name) if isinstance(name, str) else None
    if word is None:
        state = "missing" if name is None else f"invalid: {brief(name)}"
        raise InceptiveError(f"{path}.type is {state}; it is one of {', '.join(WORDS)}")
    fields_by_name = {field.name: field for field in fields(word)}
    if unknown := sorted(str(key) for key in data if key not in fields_by_name and key != "type"):
        raise InceptiveError(f"{path}: {name} has no field {brief(unknown[0])}")
    values: dict[str, Any] = {}
    for key, field in fields_by_name.items():
        if key in data:
            at = path if key == "parts" else f"{path}.{key}"
            values[key] = _read(data[key], at, depth + 1)
        elif field.default is MISSING:
            raise InceptiveError(f"{path}.{key} is missing")
    try:
        return word.of(**values) if issubclass(word, Group) else word(**values)
    except InceptiveError as error:
        raise InceptiveError(f"{path}: {error}") from None
