from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact, hypergeom

from seefar.evaluation.mistakes import confused_pairs, count_confusions, error_slices, holm

LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
PREDICTED = np.array([0, 1, 1, 2, 0, 1, 2, 2, 1, 1])


def test_confused_pairs_count_both_directions() -> None:
    pairs = confused_pairs(LABELS, PREDICTED, 3)
    found = [(one.first, one.second, one.first_as_second, one.second_as_first) for one in pairs]
    assert found == [(0, 1, 2, 1), (2, 1, 2, 0), (0, 2, 1, 0)]
    assert [one.share for one in pairs] == [3 / 6, 2 / 6, 1 / 6]
    assert (pairs[0].first_share, pairs[0].second_share) == (2 / 4, 1 / 2)


def test_each_direction_of_a_confusion_counts_for_itself() -> None:
    found = count_confusions([[5, 2, 0], [2, 1, 3], [0, 0, 9]])
    assert found == [(1, 2, 3), (0, 1, 2), (1, 0, 2)]  # true, predicted, images


def test_no_mistakes_no_pairs() -> None:
    assert confused_pairs(LABELS, LABELS, 3) == []


def test_holm_by_hand() -> None:
    # 4 x 0.01, 3 x 0.02, 2 x 0.03 (not below the one before), 1 x 0.04 (likewise).
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def images(levels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(levels[:, None, None, None], (len(levels), 8, 8, 3)).astype(np.uint8)


def test_mistakes_in_the_dark_are_found_with_fishers_p() -> None:
    labels = np.zeros(40, dtype=np.int64)
    predicted = labels.copy()
    predicted[[0, 1, 2, 30]] = 1  # three of the four darkest, one of the others
    slices = {one.name: one for one in error_slices(images(np.arange(40)), labels, predicted)}
    dark = slices["dark"]
    assert (dark.n, dark.mistakes, dark.error_rate, dark.rest_error_rate) == (4, 3, 0.75, 1 / 36)
    assert dark.odds_ratio == pytest.approx(3 * 35)
    # Three or four of the four darkest, when four of forty are mistakes; no other table is as improbable.
    assert dark.p == pytest.approx(hypergeom.sf(2, 40, 4, 4))
    assert dark.p_holm == pytest.approx(4 * dark.p)
    assert dark.meaning == "mean brightness at most 3 of 255"
    assert slices["bright"].meaning == "mean brightness at least 36 of 255"
    assert next(iter(slices)) == "dark"


@pytest.mark.parametrize("mistakes", [0, 1, 7, 60, 599, 600])
def test_p_and_odds_of_a_slice_are_those_of_scipy(mistakes: int) -> None:
    rng = np.random.default_rng(mistakes)
    levels = rng.permutation(600) % 256
    wrong = rng.permutation(600) < mistakes
    found = {one.name: one for one in error_slices(images(levels), np.zeros(600, int), wrong.astype(int))}
    for name, inside in (
        ("dark", np.argsort(levels, kind="stable")[:60]),
        ("bright", np.argsort(-levels, kind="stable")[:60]),
    ):
        dark = np.isin(np.arange(600), inside)
        table = [[int((wrong & side).sum()), int((~wrong & side).sum())] for side in (dark, ~dark)]
        odds_ratio, p = fisher_exact(table)
        assert found[name].p == pytest.approx(p, rel=1e-9)
        assert found[name].odds_ratio == (pytest.approx(odds_ratio) if np.isfinite(odds_ratio) else None)


def test_busy_and_flat_images_are_told_apart() -> None:
    pictures = images(np.full(20, 100)).copy()
    pictures[:2, ::2] = 200  # stripes
    pictures[2:18, :, 4:] = 200  # a step
    found = {one.name: one for one in error_slices(pictures, np.zeros(20, int), (np.arange(20) < 2).astype(int))}
    assert found["busy"].mistakes == 2
    assert found["low contrast"].mistakes == 0
    assert found["low contrast"].meaning == "standard deviation of brightness at most 0 of 255"
    assert found["busy"].odds_ratio is None  # no mistake elsewhere
