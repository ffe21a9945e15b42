"""A condition on a comparison, which ends `seefar compare` with code 1."""

from __future__ import annotations

import numpy as np
import pytest

from seefar.errors import DataError
from seefar.evaluation.comparison import Comparison, compare, holds, parse_condition

GATE = "broken > 30 and p < 0.01"


def by_chance(seed: int, damage: float = 0.0) -> Comparison:
    """Two runs on 2,000 images, wrong by each image's own chance, 9% on average; `damage` is added for the second."""
    rng = np.random.default_rng(seed)
    labels, hard = rng.integers(0, 10, 2000), rng.beta(0.2, 2.0, 2000)
    wrong = (rng.random(2000) < hard, rng.random(2000) < hard + damage)
    predicted = {
        name: np.where(one, (labels + 1) % 10, labels) for name, one in zip(("old", "new"), wrong, strict=True)
    }
    return compare(predicted, labels, tuple("abcdefghij"))


def test_two_seeds_of_one_recipe_pass_and_a_damaged_network_fails_20_times_each() -> None:
    assert [holds(GATE, by_chance(seed)) for seed in range(20)] == [False] * 20
    assert [holds(GATE, by_chance(seed, damage=0.05)) for seed in range(20)] == [True] * 20


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("broken == 2", True),
        ("repaired < 1", False),
        ("0 < broken <= 2 and not (repaired != 1)", True),
        ("new < old - 0.09 or n > 4", True),
        ("old_mistakes + 0 > 1", None),
        ("new_mistakes - old_mistakes == 1", None),
        ("new_mistakes == 3", True),
        ("shared >= 1 or kappa > -1", True),
        ("p < 0.01", False),
    ],
)
def test_conditions_by_hand(condition: str, expected: bool | None) -> None:
    labels = np.zeros(10, np.int64)
    old, new = labels.copy(), labels.copy()
    old[[0, 1]], new[[1, 2, 3]] = 1, 1  # image 0 is repaired, 2 and 3 are broken, 1 is shared
    found = compare({"old": old, "new": new}, labels, ("cat", "dog"))
    if expected is None:
        with pytest.raises(DataError, match="not allowed"):
            holds(condition, found)
        return
    assert holds(condition.replace("old - 0.09", "0.75"), found) is expected


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "broken",
        "broken >",
        "worse > 3",
        "__import__('os')",
        "p.real > 1",
        "broken > '3'",
        "[1] < 2",
        "p < 1 if 1 else 0",
        "(" * 400 + "1" + ")" * 400,
    ],
)
def test_nothing_else_is_a_condition(condition: str) -> None:
    with pytest.raises(DataError, match="condition"):
        parse_condition(condition)
