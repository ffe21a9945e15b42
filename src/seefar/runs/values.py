"""Values from JSON made into what their annotations say, dataclasses and all they hold, or refused with their name."""

from __future__ import annotations

import math
import reprlib
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from seefar.runs.files import is_finite_number

Made = TypeVar("Made")
Share = Annotated[float, (0, 1)]
"""A float that `from_plain` takes from 0 to 1 only; a millionth beyond is rounding."""
Count = Annotated[int, (0, math.inf)]
"""An int that `from_plain` takes from 0 only."""

WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", NoneType: "null"}


def from_plain(kind: type[Made], value: object, name: str = "it") -> Made:
    """A value of JSON as an object of this type.

    Args:
        kind: int, float, str, bool, Literal, Share, Count, a list or tuple of them, one of them or None, or a dataclass
            whose fields are such.
        value: what was read. A list stands for a tuple, and an object for a dataclass; it has all fields that have no
            default.
        name: what an error calls it.

    Raises:
        ValueError: it is something else, or a number in it is not finite or held by no float.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Point:
        ...     at: tuple[int, int]
        ...     weight: float | None
        >>> from_plain(Point, {"at": [1, 2], "weight": 0.5})
        Point(at=(1, 2), weight=0.5)
        >>> from_plain(Point, {"at": [1, "x"], "weight": None})
        Traceback (most recent call last):
            ...
        ValueError: at is 'x', a whole number was wanted
    """
    made: Made = _made(kind, value, name)
    return made


def _made(kind: Any, value: Any, name: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _object(kind, value, name)
    if origin is Annotated:
        low, high = inner[1]
        made = _made(inner[0], value, name)
        if not low - 1e-6 <= made <= high + 1e-6:
            raise _wanted(name, value, f"{low} or more" if high == math.inf else f"{low} to {high}")
        return made
    if origin in (list, tuple):
        return _row(origin, inner, value, name)
    if origin in (Union, UnionType):  # of one type and None
        (other,) = set(inner) - {NoneType}
        return None if value is None else _made(other, value, name)
    if origin is Literal:
        if not (isinstance(value, str) and value in inner):
            raise _wanted(name, value, " or ".join(inner))
        return value
    if kind is float:
        if not is_finite_number(value):
            raise _wanted(name, value, WORDS[kind])
        return float(value)
    if type(value) is not kind or (kind is int and not is_finite_number(value)):
        raise _wanted(name, value, WORDS[kind])
    return value


def _object(kind: Any, value: Any, name: str) -> Any:
    hints, needed = _fields(kind)
    if not isinstance(value, dict) or not needed <= set(value) <= set(hints):
        raise _wanted(name, value, f"an object with {', '.join(hints)}")
    return kind(**{field: _made(hints[field], one, field) for field, one in value.items()})


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], set[str]]:
    """The types of a dataclass's fields by their names, and the names of those that have no default."""
    hints = get_type_hints(kind, include_extras=True)
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    return {field.name: hints[field.name] for field in fields(kind)}, needed


def _row(origin: Any, inner: tuple[Any, ...], value: Any, name: str) -> Any:
    many = origin is list or inner[-1] is Ellipsis
    if not isinstance(value, list) or not (many or len(value) == len(inner)):
        raise _wanted(name, value, "a list" if many else f"a list of {len(inner)}")
    kinds = [inner[0]] * len(value) if many else inner
    return origin(_made(kind, one, name) for kind, one in zip(kinds, value, strict=True))


def _wanted(name: str, value: object, wanted: str) -> ValueError:
    return ValueError(f"{name} is {reprlib.repr(value)}, {wanted} was wanted")
