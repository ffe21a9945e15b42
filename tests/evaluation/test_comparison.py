from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from seefar.errors import DataError
from seefar.evaluation.comparison import Comparison, compare, holds, parse_condition

CLASSES = ("cat", "dog", "owl")
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
#                  right in both, ...
A = np.array([0, 1, 1, 2, 1, 1, 1, 0, 0, 0])  # wrong: 1 2 3 7 8 9
B = np.array([0, 0, 1, 1, 1, 1, 0, 0, 2, 1])  # wrong: 2 3 6 7 8
C = np.array([0, 0, 1, 0, 1, 1, 1, 2, 1, 1])  # wrong: 2 7


def test_two_runs_worked_out_by_hand() -> None:
    found = compare({"a": A, "b": B}, LABELS, CLASSES)
    (pair,), (a, b) = found.pairs, found.runs
    assert (a.name, a.mistakes, a.accuracy, a.recall) == ("a", 6, 0.4, (0.25, 0.5, None))
    assert (b.name, b.mistakes, b.accuracy, b.recall) == ("b", 5, 0.5, (0.5, 0.5, None))
    assert a.interval == pytest.approx((0.1682, 0.6873), abs=1e-4)
    assert (pair.first, pair.second) == ("a", "b")
    assert pair.repaired == (1, 9)
    assert pair.broken == (6,)
    assert pair.repaired_by_class == (1, 1, 0)
    assert pair.broken_by_class == (0, 1, 0)
    assert pair.p == 1.0  # 2 against 1 of 3 coins: as likely as anything
    assert pair.shared == found.shared == 4
    assert pair.same_answer == 2  # images 2 and 7
    # 4 cats, missed by 3/4 and 2/4; 6 dogs, missed by 3/6 and 3/6.
    assert pair.shared_by_chance == found.shared_by_chance == pytest.approx(4 * 3 / 8 + 6 / 4)
    # a names 4 cats, 5 dogs, 1 owl; b 4, 5, 1; they agree on 0, 2, 4, 5 and 7.
    assert pair.kappa == pytest.approx((0.5 - 0.42) / (1 - 0.42))
    # wrong in 6 and 5 of 10; alike in 7; by chance .6 * .5 + .4 * .5.
    assert pair.error_kappa == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    (pair,) = compare({"one": 0 * LABELS, "same": 0 * LABELS}, LABELS, CLASSES).pairs
    assert (pair.kappa, pair.error_kappa) == (1.0, 1.0)  # also where chance alone agrees always


def test_a_mistake_of_the_first_is_luck_if_any_other_run_gets_it_right() -> None:
    found = compare({"a": A, "b": B, "c": C}, LABELS, CLASSES)
    assert (found.luck, found.settled, found.shared) == ((1, 3, 8, 9), (2, 7), 2)
    # cats: 3/4 * 2/4 * 1/4 of 4; dogs: 3/6 * 3/6 * 1/6 of 6
    assert found.shared_by_chance == pytest.approx(4 * 6 / 64 + 6 * 9 / 216)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found.images == (4, 6, 0)


def test_json_has_each_list_of_numbers_on_one_line_and_class_names_unchanged() -> None:
    names = ("[1   2]", "cat [3,\n4]", "[]")
    found = compare({"[5   6]": A, "b": B, "c": C}, LABELS, names)
    text = found.to_json()
    assert json.loads(text) == json.loads(json.dumps(asdict(found)))
    assert '"settled": [2, 7]' in text


def test_incomparable_runs_are_refused() -> None:
    with pytest.raises(DataError, match=r"b has predictions of shape \(9,\) for labels of shape \(10,\)"):
        compare({"a": A, "b": B[:9]}, LABELS, CLASSES)


# ---- Conditions, with which `seefar compare` ends with code 1 ----

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


def test_two_seeds_pass_and_a_damaged_network_fails_20_times_each() -> None:
    assert [holds(GATE, by_chance(seed)) for seed in range(20)] == [False] * 20
    assert [holds(GATE, by_chance(seed, damage=0.05)) for seed in range(20)] == [True] * 20


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("broken == 1", True),
        ("0 < broken and repaired>=2 and  5 != old_mistakes", True),
        ("new <= .5 and n > 9.5 and kappa > -1e-3", True),
        ("new < old", False),
        ("lost < -0.09 and lost > -0.11", True),  # one mistake of ten less
        ("new > old and p < 0.01", False),
    ],
)
def test_conditions_worked_out_by_hand(condition: str, expected: bool) -> None:
    assert holds(condition, compare({"a": A, "b": B}, LABELS, CLASSES)) is expected


@pytest.mark.parametrize(
    "condition",
    ["", "broken", "worse > 3", "old_mistakes + 0 > 1", "broken > 3 or p < 1", "broken > '3'"],
)
def test_nothing_else_is_a_condition(condition: str) -> None:
    with pytest.raises(DataError, match="condition"):
        parse_condition(condition)
