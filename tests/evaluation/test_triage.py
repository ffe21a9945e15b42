from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cleanlab_cases import CASES

from seefar.data.reference import Reference, labels_sha256
from seefar.errors import DataError
from seefar.evaluation.metrics import wilson_interval
from seefar.evaluation.verdict import (
    accuracy_views,
    count_faults,
    fault_columns,
    find_label_issues,
    issue_columns,
    triage,
)

LABELS = np.array([0] * 30 + [1] * 30)


def published(missing: dict[int, int], nets: int = 13) -> np.ndarray:
    """Answers of nets that are right but for some images, each missed by the first so many of them, (M, N)."""
    answers = np.tile(LABELS, (nets, 1))
    for index, count in missing.items():
        answers[:count, index] = 1 - LABELS[index]
    return answers


@pytest.fixture
def reference() -> Reference:
    counts = np.where(np.arange(2) == LABELS[:, None], 50, 0)
    counts[1] = [24, 26]  # most people chose another class
    counts[2] = [44, 6]  # 0.529 bits
    counts[3] = [45, 5]  # 0.469 bits
    counts[5] = [26, 24]
    confirmed = np.full(60, -1)
    confirmed[[0, 2, 5]] = [2, 3, 5]
    return Reference(
        counts,
        confirmed,
        suggested=np.where(confirmed >= 0, 1, -1),
        nets=tuple("abcdefghijklm"),
        predictions=published({0: 13, 3: 12, 4: 11, 5: 13}),
        classes=("cat", "dog"),
        labels_sha256=labels_sha256(LABELS),
    )


def judged(*wrong: int) -> np.ndarray:
    predicted = LABELS.copy()
    predicted[list(wrong)] = 1 - predicted[list(wrong)]
    return predicted


def test_every_mistake_gets_the_first_fault_that_applies(reference: Reference) -> None:
    reference = replace(reference, predictions=published({0: 1, 3: 12, 4: 11, 5: 1}))
    verdicts = triage(LABELS, judged(5, 4, 3, 2, 1, 0, 40), reference)
    assert [(one.index, one.fault) for one in verdicts] == [
        (0, "label"),  # two of five confirmed it
        (1, "label"),  # the majority is another class
        (2, "ambiguous"),  # 0.529 bits; three of five confirmed it
        (3, "hard"),  # 0.469 bits; twelve nets miss it
        (4, "model"),  # eleven nets miss it
        (5, "ambiguous"),
        (40, "model"),
    ]
    assert count_faults(verdicts) == {"errors": 7, "label": 2, "ambiguous": 2, "hard": 1, "model": 2}


def test_the_numbers_of_a_verdict(reference: Reference) -> None:
    verdict, other = triage(LABELS, judged(2, 40), replace(reference, predictions=published({2: 3})))
    assert (verdict.people, verdict.people_true, verdict.people_predicted) == (50, 44, 6)
    assert (verdict.confirmed, verdict.nets, verdict.nets_wrong) == (3, 13, 3)
    assert verdict.entropy == pytest.approx(0.5294, abs=1e-4)
    columns = fault_columns([verdict, other])
    assert columns["fault"] == {2: "ambiguous", 40: "model"}
    assert columns["checkers_confirmed"] == {2: 3}  # empty where the label was not checked
    assert columns["people_entropy"] == {2: 0.5294, 40: 0.0}


def test_a_network_is_compared_with_others_above_90_percent(reference: Reference) -> None:
    missed = published({4: 12})
    verdict_of_another = triage(LABELS, judged(4, 40), replace(reference, predictions=missed))[0]
    verdict_of_a = triage(LABELS, missed[0], replace(reference, predictions=np.vstack([missed[0], missed[12:]])))[0]
    assert (verdict_of_another.nets, verdict_of_another.nets_wrong, verdict_of_another.fault) == (13, 12, "hard")
    assert (verdict_of_a.nets, verdict_of_a.nets_wrong) == (1, 0)  # not with itself
    missed[0, 6:12] = 1  # six of 60 wrong, with image 4 seven
    assert triage(LABELS, judged(4, 40), replace(reference, predictions=missed))[0].nets == 12


def test_wrong_input_is_refused(reference: Reference) -> None:
    for labels, predicted, message in (
        (LABELS[::-1], judged(0), "official order"),
        (LABELS[:9], judged(0), "official order"),
        (LABELS, np.zeros(3, dtype=np.int64), r"predicted must be \(60,\)"),
        (LABELS, np.zeros(60), "integers"),
        (LABELS, np.where(judged(0) == 1, 2, 0), "predicted must be 0 to 1"),
    ):
        with pytest.raises(DataError, match=message):
            triage(labels, predicted, reference)


# ---- Accuracy views ----

FEW = np.array([0, 0, 1, 1])
VOTES = Reference(
    counts=np.array([[4, 0], [3, 1], [0, 4], [4, 0]]),
    confirmed=np.array([-1, 1, -1, 4]),
    suggested=np.array([-1, 1, -1, 0]),
    nets=("a",),
    predictions=FEW[None],
    classes=("cat", "dog"),
    labels_sha256=labels_sha256(FEW),
)


def test_each_view_has_its_own_images() -> None:
    predicted = np.array([0, 1, 1, 0])
    views = {view.name: view for view in accuracy_views(FEW, predicted, VOTES)}
    found = {name: (view.right, view.n) for name, view in views.items()}
    # Image 1's label is an error. People agree on 0, 2 and 3, but on 3 about another class than the label.
    assert found == {
        "as labelled": (2, 4),
        "without label errors": (2, 3),
        "where people agree": (2, 2),
        "people": (None, 4),
    }
    assert views["as labelled"].interval == wilson_interval(2, 4)
    assert views["people"].accuracy == pytest.approx((1 + 0.75 + 1 + 0) / 4)
    half = 1.959964 * np.std([1, 0.75, 1, 0], ddof=1) / 2
    assert views["people"].interval == pytest.approx((0.6875 - half, min(1, 0.6875 + half)))


def test_without_a_reference_there_is_one_view_and_one_without_images_is_left_out() -> None:
    assert [view.right for view in accuracy_views(FEW, np.array([0, 7, 1, 1]))] == [3]  # no image is labelled 7
    nobody_agrees = replace(VOTES, counts=np.array([[3, 1], [3, 1], [1, 3], [4, 0]]))  # on 3 about the other class
    names = [view.name for view in accuracy_views(FEW, FEW, nobody_agrees)]
    assert names == ["as labelled", "without label errors", "people"]


# ---- Label issues ----

# Worked out by hand. Thresholds: class 0 (0.8 + 0.6 + 0.1) / 3 = 0.5, class 1 (0.9 + 0.35) / 2 = 0.625, class 2 1.0.
GIVEN = np.array([0, 0, 0, 1, 1, 2])
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


def test_label_issues_by_hand() -> None:
    found = find_label_issues(GIVEN, SHARES, ("cat", "dog", "frog"))
    assert [(one.index, one.given, one.suggested) for one in found] == [(2, 0, 1), (4, 1, 0)]
    np.testing.assert_allclose([one.margin for one in found], [-0.6, -0.2])
    assert found[1].sentence == "labelled dog (35%), rather cat (55%)"
    assert issue_columns(found) == {"label_issue": {2: 1, 4: 2}, "label_margin": {2: -0.6, 4: -0.2}}


@pytest.mark.parametrize("name", list(CASES))
def test_label_issues_equal_those_of_cleanlab(name: str) -> None:
    labels, shares = CASES[name]()
    expected = json.loads(Path(__file__).with_name("cleanlab_cases.json").read_text())
    indices = sorted(issue.index for issue in find_label_issues(labels, shares))
    assert len(indices) == expected["cases"][name]["count"]
    assert indices == expected["cases"][name]["indices"]


@pytest.mark.parametrize(
    ("labels", "shares", "message"),
    [
        (GIVEN, 2 * SHARES, "sum to 1"),
        (GIVEN, np.where(SHARES == 1, np.nan, SHARES), "sum to 1"),
        (GIVEN[:5], SHARES, r"labels must be \(6,\)"),
        (GIVEN + (GIVEN == 2), SHARES, "labels must be 0 to 2"),
        (GIVEN, SHARES[:, 0], r"must be \(N, K\)"),
    ],
)
def test_wrong_probabilities_are_refused(labels: np.ndarray, shares: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_label_issues(labels, shares)
