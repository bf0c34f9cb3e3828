"""A net's value to and from plain JSON, exact both ways: how a value travels in files.

A word is an object whose `type` is its name and whose other keys are its fields; a group's parts
are a list of [name, word], so their order is kept. Every field is written, defaults too: a file
keeps its meaning if a later version has other defaults.
"""

from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from inceptive.arch import spec
from inceptive.errors import InceptiveError, printable

MAX_DEPTH = 32
"""Words within words, the net itself being one."""
MAX_WORDS = 10_000


def net_to_dict(net: spec.Net) -> dict[str, Any]:
    """`net` as plain JSON: dicts, lists, strings, numbers, true, false and null."""
    written = _write(net)
    assert isinstance(written, dict)
    return written


def net_from_dict(data: object) -> spec.Net:
    """The net that `net_to_dict` wrote as `data`.

    Raises InceptiveError, with the path to what is missing or invalid. `data` may come from anyone:
    nesting and size are bounded, and no code is run.
    """
    net = _Reader().read(spec.Net, data, "net", 0)
    assert isinstance(net, spec.Net)
    return net


def first_difference(a: object, b: object, path: str = "") -> str:
    """Where value `a` first differs from `b`: "body.pool4.kernel is 2, not 3"; "" if they are equal.

    Takes nets or any words. Parts are compared in order.
    """
    here = path or "the value"
    left, right = _children(a), _children(b)
    if type(a) is not type(b) or left is None or right is None:
        return "" if a == b else f"{here} is {_brief(a)}, not {_brief(b)}"
    for k, (name, child) in enumerate(left):
        if k == len(right):
            return f"{here} has a part {name} too many"
        other, twin = right[k]
        if name != other:
            return f"{here} has the part {name} where {other} should be"
        if difference := first_difference(child, twin, f"{path}.{name}".lstrip(".")):
            return difference
    return f"{here} has no part {right[len(left)][0]}" if len(left) < len(right) else ""


def _children(value: object) -> list[tuple[str, object]] | None:
    """What a value holds, by name: parts of a group, fields of a word, heads; None for the rest."""
    if isinstance(value, spec.Group):
        return list(value)
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    pairs = isinstance(value, tuple) and all(isinstance(pair, tuple) for pair in value)
    return list(value) if pairs else None  # type: ignore[call-overload, no-any-return]


def _brief(value: object) -> str:
    """A value in a few words: a long one by its type alone."""
    return type(value).__name__ if is_dataclass(value) and len(repr(value)) > 60 else repr(value)


def _write(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        held = {field.name: _write(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, **held}
    return [_write(item) for item in value] if isinstance(value, tuple) else value


@cache
def _hints(word: type) -> dict[str, Any]:
    return get_type_hints(word)


class _Reader:
    """Reads by the type hints of the words; counts them."""

    def __init__(self) -> None:
        self.words = 0

    def read(self, hint: Any, data: object, path: str, depth: int) -> Any:
        """`data` as a value of type `hint`. Raises InceptiveError."""
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        match data:
            case dict():
                words = [kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)]
                if words:
                    return self._word(words, data, path, depth)
            case list():
                for kind in kinds:
                    if get_origin(kind) is tuple:
                        return self._tuple(get_args(kind), data, path, depth)
            case str() if str in kinds or any(data in _literals(kind) for kind in kinds):
                return data
            case bool() | None if type(data) in kinds:
                return data
            case bool():
                pass
            case int() if int in kinds or float in kinds:
                return data
            case float() if float in kinds:
                return data
        raise InceptiveError(f"{path} is invalid: {_excerpt(data)}")

    def _word(self, words: list[type], data: dict[str, Any], path: str, depth: int) -> Any:
        self.words += 1
        if depth > MAX_DEPTH or self.words > MAX_WORDS:
            raise InceptiveError(
                f"{path}: a net has at most {MAX_WORDS:,} words, nested at most {MAX_DEPTH} deep"
            )
        name = data.get("type")
        word: Any = next((word for word in words if word.__name__ == name), None)
        if word is None:
            state = "missing" if name is None else f"invalid: {_excerpt(name)}"
            named = ", ".join(word.__name__ for word in words)
            raise InceptiveError(f"{path}.type is {state}; it is one of {named}")
        hints, values = _hints(word), {}
        if unknown := data.keys() - hints.keys() - {"type"}:
            raise InceptiveError(f"{path}: {name} has no field {_excerpt(min(map(str, unknown)))}")
        for field in fields(word):
            if field.name in data:
                at = path if field.name == "parts" else f"{path}.{field.name}"
                values[field.name] = self.read(hints[field.name], data[field.name], at, depth + 1)
            elif field.default is MISSING and field.default_factory is MISSING:
                raise InceptiveError(f"{path}.{field.name} is missing")
        try:
            return word.of(values["parts"]) if issubclass(word, spec.Group) else word(**values)
        except InceptiveError as error:
            raise InceptiveError(f"{path}: {error}") from None

    def _tuple(self, kinds: tuple[Any, ...], data: list[Any], path: str, depth: int) -> object:
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(data)
        if len(kinds) != len(data):
            raise InceptiveError(f"{path} is invalid: {_excerpt(data)}")
        read = []
        for k, (kind, item) in enumerate(zip(kinds, data, strict=True)):
            named = isinstance(item, list) and item and isinstance(item[0], str)
            place = printable(item[0]) if named else str(k)  # type: ignore[index]
            at = path if isinstance(data[0], str) else f"{path}.{place}"
            read.append(self.read(kind, item, at, depth))
        return tuple(read)


def _literals(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _excerpt(data: object) -> str:
    text = printable(repr(data) if isinstance(data, str | int | float | bool | None) else
                     type(data).__name__)  # fmt: skip
    return text if len(text) <= 60 else f"{text[:60]}…"
