from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import fisher_exact

from seefar.data import Split
from seefar.errors import ChoiceError, DataError
from seefar.evaluation.mistakes import (
    ErrorSlice,
    confused_pairs,
    count_confusions,
    find_mistakes,
    holm,
    measure_slices,
    tenths,
)
from seefar.evaluation.predictions import Predictions

# Four images, three classes, as probabilities. 0 is right; 1 and 2 are wrong and sure; 3 is wrong and unsure.
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.8, 0.15, 0.05], [0.1, 0.6, 0.3], [0.4, 0.35, 0.25]])
LABELS = np.array([0, 2, 2, 1])
CLASSES = ("cat", "dog", "ship")


SPLIT = Split(np.zeros((4, 8, 8, 3), np.uint8), LABELS, CLASSES)
PREDICTIONS = Predictions.of(np.log(PROBABILITIES), SPLIT)


def test_all_mistakes_with_both_classes_and_both_probabilities() -> None:
    mistakes = find_mistakes(PREDICTIONS, order="index")
    assert [(m.index, m.true, m.predicted) for m in mistakes] == [(1, 2, 0), (2, 2, 1), (3, 1, 0)]
    assert [m.confidence for m in mistakes] == pytest.approx([0.8, 0.6, 0.4], rel=1e-5)
    assert [m.true_probability for m in mistakes] == pytest.approx([0.05, 0.3, 0.35], rel=1e-5)
    assert [m.loss for m in mistakes] == pytest.approx(-np.log([0.05, 0.3, 0.35]), rel=1e-5)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [3, 1, 2]),  # loss: probability of the label 0.01, 0.05, 0.3
        ({"order": "confidence"}, [1, 3, 2]),
        ({"true": 2}, [1, 2]),
        ({"predicted": 0}, [3, 1]),
        ({"true": "ship", "predicted": "cat"}, [1]),
        ({"true": 0}, []),
    ],
)
def test_mistakes_can_be_ordered_and_chosen(chosen: dict[str, Any], expected: list[int]) -> None:
    shares = PROBABILITIES.copy()
    shares[3] = [0.75, 0.01, 0.24]
    assert [m.index for m in find_mistakes(Predictions.of(np.log(shares), SPLIT), **chosen)] == expected


@pytest.mark.parametrize("wrong", ["dgo", 3, -1, True])
def test_a_class_that_does_not_exist_is_refused(wrong: str | int) -> None:
    with pytest.raises(DataError, match=r"no class .*cat, dog, ship"):
        find_mistakes(PREDICTIONS, predicted=wrong)
    with pytest.raises(DataError, match="choose two different classes"):
        find_mistakes(PREDICTIONS, true="cat", predicted=0)
    with pytest.raises(ChoiceError, match="conf"):
        find_mistakes(PREDICTIONS, "conf")  # type: ignore[arg-type]


# ---- Confused classes and slices ----

TRUE = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
GUESSES = np.array([0, 1, 1, 2, 0, 1, 2, 2, 1, 1])


def test_confused_pairs_count_both_directions() -> None:
    pairs = confused_pairs(TRUE, GUESSES, 3)
    found = [(one.first, one.second, one.first_as_second, one.second_as_first) for one in pairs]
    assert found == [(0, 1, 2, 1), (2, 1, 2, 0), (0, 2, 1, 0)]
    assert [one.share for one in pairs] == [3 / 6, 2 / 6, 1 / 6]
    assert (pairs[0].first_share, pairs[0].second_share) == (2 / 4, 1 / 2)
    assert confused_pairs(TRUE, TRUE, 3) == []
    assert count_confusions([[5, 2, 0], [2, 1, 3], [0, 0, 9]]) == [(1, 2, 3), (0, 1, 2), (1, 0, 2)]


def test_holm_by_hand() -> None:
    # 4 x 0.01, 3 x 0.02, 2 x 0.03 (not below the one before), 1 x 0.04 (likewise).
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def slices_of(images: np.ndarray, wrong: np.ndarray) -> dict[str, ErrorSlice]:
    return {one.name: one for one in measure_slices(tenths(images), wrong)}


def images(levels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(levels[:, None, None, None], (len(levels), 8, 8, 3)).astype(np.uint8)


@pytest.mark.parametrize("mistakes", [0, 7, 60, 600])
def test_p_and_odds_of_a_slice_are_those_of_scipy(mistakes: int) -> None:
    rng = np.random.default_rng(mistakes)
    levels = rng.permutation(600) % 256
    wrong = rng.permutation(600) < mistakes
    found = slices_of(images(levels), wrong)
    for name, inside in (
        ("dark", np.argsort(levels, kind="stable")[:60]),
        ("bright", np.argsort(-levels, kind="stable")[:60]),
    ):
        dark = np.isin(np.arange(600), inside)
        table = [[int((wrong & side).sum()), int((~wrong & side).sum())] for side in (dark, ~dark)]
        odds_ratio, p = fisher_exact(table)
        assert found[name].p == pytest.approx(p, rel=1e-9)
        assert found[name].odds_ratio == (pytest.approx(odds_ratio) if np.isfinite(odds_ratio) else None)


def test_busy_and_flat_images_are_distinguished() -> None:
    pictures = images(np.full(20, 100)).copy()
    pictures[:2, ::2] = 200  # stripes
    pictures[2:18, :, 4:] = 200  # a step
    found = slices_of(pictures, np.arange(20) < 2)
    assert found["busy"].mistakes == 2
    assert found["low contrast"].mistakes == 0
    assert found["low contrast"].meaning == "standard deviation of brightness at most 0 of 255"
    assert found["busy"].odds_ratio is None  # no mistake elsewhere
