from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cleanlab_cases import CASES

from seefar.errors import DataError
from seefar.evaluation.triage import find_label_issues, issue_columns

# Worked out by hand. Thresholds: class 0 (0.8 + 0.6 + 0.1) / 3 = 0.5, class 1 (0.9 + 0.35) / 2 = 0.625, class 2 1.0.
LABELS = np.array([0, 0, 0, 1, 1, 2])
SHARES = np.array(
    [
        [0.80, 0.10, 0.10],  # counts as 0
        [0.60, 0.40, 0.00],  # counts as 0
        [0.10, 0.70, 0.20],  # labelled 0, counts as 1
        [0.05, 0.90, 0.05],  # counts as 1
        [0.55, 0.35, 0.10],  # labelled 1, counts as 0
        [0.00, 0.00, 1.00],  # counts as 2
    ]
)


def test_thresholds_and_rank_by_hand() -> None:
    found = find_label_issues(LABELS, SHARES, ("cat", "dog", "frog"))
    np.testing.assert_allclose(found.thresholds, [0.5, 0.625, 1.0])
    assert [(one.index, one.given, one.suggested) for one in found.issues] == [(2, 0, 1), (4, 1, 0)]
    np.testing.assert_allclose([one.margin for one in found.issues], [-0.6, -0.2])
    assert found.issues[1].sentence == "labelled dog (35%), rather cat (55%)"
    assert issue_columns(found) == {"label_issue": {2: 1, 4: 2}, "label_margin": {2: -0.6, 4: -0.2}}


def test_a_confident_class_is_no_issue_where_the_label_is_more_probable() -> None:
    # Class 1 is rarely confident, so 0.4 is much for it; the label's 0.6 is more.
    shares = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.6, 0.4]])
    found = find_label_issues(np.array([0, 0, 0, 1, 1]), shares)
    np.testing.assert_allclose(found.thresholds, [0.8, 0.35])
    assert found.issues == ()
    found = find_label_issues(np.array([0, 1]), np.array([[0.1, 0.0, 0.9], [0.2, 0.7, 0.1]]))
    assert np.isnan(found.thresholds[2])  # a class without images is never suggested
    assert 2 not in [one.suggested for one in found.issues]


@pytest.mark.parametrize("name", list(CASES))
def test_the_issues_are_those_of_cleanlab(name: str) -> None:
    labels, shares = CASES[name]()
    expected = json.loads(Path(__file__).with_name("cleanlab_cases.json").read_text())
    indices = sorted(issue.index for issue in find_label_issues(labels, shares).issues)
    assert len(indices) == expected["cases"][name]["count"]
    assert indices == expected["cases"][name]["indices"]


@pytest.mark.parametrize(
    ("labels", "shares", "message"),
    [
        (LABELS, 2 * SHARES, "sum to 1"),
        (LABELS, np.where(SHARES == 1, np.nan, SHARES), "sum to 1"),
        (LABELS[:5], SHARES, r"6 integers; found int64 of shape \(5,\)"),
        (LABELS + (LABELS == 2), SHARES, "0 to 2; found 0 to 3"),
        (LABELS, SHARES[:, 0], r"must be \(N, K\)"),
    ],
)
def test_wrong_input_is_refused(labels: np.ndarray, shares: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_label_issues(labels, shares)
