"""Values from JSON as what annotations say: each kind is taken, and all else is refused by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from seefar.runs.values import Count, Share, from_plain


@dataclass(frozen=True)
class Inner:
    share: Share
    kind: Literal["one", "two"]


@dataclass(frozen=True)
class Outer:
    inner: list[Inner]
    pair: tuple[Count, float]
    many: tuple[str, ...]
    flag: bool
    perhaps: float | None
    later: int = 3


RIGHT: dict[str, Any] = {
    "inner": [{"share": 1, "kind": "two"}],
    "pair": [0, -2.5],
    "many": ["a", "b"],
    "flag": True,
    "perhaps": None,
}


def test_each_kind_is_taken_and_a_default_where_there_is_none() -> None:
    found = from_plain(Outer, RIGHT)
    assert found == Outer([Inner(1.0, "two")], (0, -2.5), ("a", "b"), True, None, 3)
    assert type(found.inner[0].share) is float


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("inner", [{"share": 1.5, "kind": "two"}], "share is 1.5, 0 to 1 was wanted"),
        ("inner", [{"share": 1, "kind": ["two"]}], r"kind is \['two'\], one or two was wanted"),
        ("inner", [{"share": 1}], "inner is .*, an object with share, kind was wanted"),
        ("inner", {"share": 1, "kind": "two"}, "inner is .*, a list was wanted"),
        ("pair", [-1, 0], "pair is -1, 0 or more was wanted"),
        ("pair", [True, 0], "pair is True, a whole number was wanted"),
        ("pair", [0.0, 0], "pair is 0.0, a whole number was wanted"),
        ("pair", [0], r"pair is \[0\], a list of 2 was wanted"),
        ("pair", [0, float("inf")], "pair is inf, a number was wanted"),
        ("pair", [10**400, 0], "pair is 1000.*, a whole number was wanted"),
        ("many", "ab", "many is 'ab', a list was wanted"),
        ("many", [5], "many is 5, a text was wanted"),
        ("flag", 1, "flag is 1, true or false was wanted"),
        ("perhaps", "x", "perhaps is 'x', a number was wanted"),
        ("later", None, "later is None, a whole number was wanted"),
        ("other", 1, "it is .*, an object with inner, .* was wanted"),
    ],
)
def test_all_else_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_plain(Outer, {**RIGHT, name: value})
