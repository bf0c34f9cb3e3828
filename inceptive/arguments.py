"""Validation of values by their annotations: for the words of a net, and for public functions.

`Annotated[float, Allowed("a number from 0", lambda x: x >= 0)]` accepts such a number; errors say so.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial, wraps
from inspect import signature
from math import inf
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    ParamSpec,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from inceptive.errors import InvalidArgument, printable


class Allowed(NamedTuple):
    """The accepted values of a type: in words, and as a test."""

    words: str
    test: Callable[[Any], bool]


PositiveInt: TypeAlias = Annotated[int, Allowed("a whole number from 1", lambda n: n >= 1)]
NonNegativeInt: TypeAlias = Annotated[int, Allowed("a whole number from 0", lambda n: n >= 0)]
Seed: TypeAlias = Annotated[
    int, Allowed("a whole number from 0 below 2**32", lambda n: 0 <= n < 2**32)
]
NonNegativeFloat: TypeAlias = Annotated[float, Allowed("a number from 0", lambda x: x >= 0)]

P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap `function` to raise InvalidArgument, before it runs, for a value not as annotated.

    NumPy numbers are accepted, and passed on as Python's; an empty string is not a path, since it would
    mean the working folder.
    """
    parameters = signature(function).parameters

    @cache
    def tests() -> dict[str, tuple[Any, Callable[[Any], bool]]]:
        hints = get_type_hints(function, include_extras=True)
        one_value = [name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD]
        return {name: (hints[name], matcher(hints[name])) for name in one_value if name in hints}

    def take(name: str, value: Any) -> Any:
        hint, matches = tests().get(name, (Any, None))
        if hint is Any or not matches:
            return value
        if not matches(value):
            problem = "is empty" if isinstance(value, str) and not value else f"= {brief(value)}"
            raise InvalidArgument(f"{name} {problem}: expected {in_words(hint)}")
        return _plain(value)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        rest = args[len(parameters) :]  # too many, which Python refuses
        options = {name: take(name, value) for name, value in kwargs.items()}
        return function(*map(take, parameters, args), *rest, **options)  # type: ignore[arg-type]

    return call


def _plain(value: Any) -> Any:
    """A number of any library as Python's own, which JSON takes; so in a tuple. Else `value` itself."""
    if type(value) is tuple:
        return tuple(map(_plain, value))
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def matcher(hint: Any, exact: bool = False) -> Callable[[Any], bool]:
    """Return a test of whether a value is of type `hint`; bool, nan and inf are not numbers.

    exact: accept only Python's own types, as in JSON, not equivalents.
    """
    kind, options = get_origin(hint), get_args(hint)
    inner = partial(matcher, exact=exact)
    if hint is Any:
        return lambda value: True
    if hint in (int, float) and not exact:
        number: Any = {int: Integral, float: Real}[hint]
        return lambda value: (
            isinstance(value, number) and not isinstance(value, bool) and -inf < value < inf
        )
    if hint is float:
        return lambda value: type(value) in (int, float) and -inf < value < inf
    if kind is Annotated:
        matches, allowed = inner(options[0]), options[1].test
        return lambda value: matches(value) and allowed(value)
    if kind is Literal:
        return lambda value: type(value) is str and value in options
    if kind is tuple and options[-1] is not Ellipsis:
        items = [inner(option) for option in options]
        return lambda value: (
            type(value) is tuple
            and len(value) == len(items)
            and all(item(part) for item, part in zip(items, value, strict=True))
        )
    if kind in (tuple, Sequence):
        item = inner(options[0])
        return lambda value: isinstance(value, kind) and all(map(item, value))
    if kind is Mapping:
        key, item = map(inner, options)
        return lambda value: (
            isinstance(value, Mapping) and all(map(key, value)) and all(map(item, value.values()))
        )
    if kind in (Union, UnionType):
        classes = tuple(option for option in options if _is_class(option))
        others = [inner(option) for option in options if not _is_class(option)]
        paths = not exact and any(map(_is_path, options))
        return lambda value: (
            not (paths and isinstance(value, str) and not value)
            and (isinstance(value, classes) or any(other(value) for other in others))
        )
    if _is_path(hint):
        return lambda value: isinstance(value, os.PathLike)
    if exact and not _is_class(hint):
        return lambda value: type(value) is hint
    return lambda value: isinstance(value, kind or hint)


def _is_class(hint: Any) -> bool:
    """Whether `hint` is a class of which every value will do: no number, and nothing generic."""
    return (
        isinstance(hint, type)
        and not get_origin(hint)
        and hint not in (int, float, bool, str, Path)
    )


def _is_path(hint: Any) -> bool:
    return os.PathLike in (get_origin(hint), hint) or hint is Path


def in_words(hint: Any) -> str:
    """Describe a type as in an error message."""
    kind, options = get_origin(hint), get_args(hint)
    if kind is Annotated:
        return str(options[1].words)
    if kind is Literal:
        return ", ".join(map(repr, options))
    if kind in (tuple, Sequence) and options[-1] is not Ellipsis and len(options) > 1:
        return f"({', '.join(map(in_words, options))})"
    if kind in (tuple, Sequence):
        return f"several of {in_words(options[0])}"
    if kind in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(in_words, options)))
    names = {int: "a whole number", float: "a number", bool: "True or False", str: "text",
             NoneType: "None", Mapping: "a mapping", Callable: "a function"}  # fmt: skip
    return "a path" if _is_path(hint) else names.get(kind or hint) or hint.__name__


def brief(value: object) -> str:
    """Return the repr of `value`, shortened."""
    text = printable(" ".join(repr(value).split()))
    return text if len(text) <= 80 else f"{text[:80]}…"
