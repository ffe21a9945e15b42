from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seefar.data import load_data
from seefar.data.reference import Reference, labels_sha256, load_reference
from seefar.errors import DataError
from seefar.evaluation.triage import triage
from seefar.evaluation.verdict import count_faults, fault_columns

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
        answers=published({0: 13, 3: 12, 4: 11, 5: 13}),
        classes=("cat", "dog"),
        labels_sha256=labels_sha256(LABELS),
    )


def judged(*wrong: int) -> np.ndarray:
    predicted = LABELS.copy()
    predicted[list(wrong)] = 1 - predicted[list(wrong)]
    return predicted


def test_every_mistake_gets_the_first_fault_that_applies(reference: Reference) -> None:
    reference = replace(reference, answers=published({0: 1, 3: 12, 4: 11, 5: 1}))
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


def test_the_numbers_and_the_sentence(reference: Reference) -> None:
    verdict, _ = triage(LABELS, judged(2, 40), replace(reference, answers=published({2: 3})))
    assert (verdict.people, verdict.people_true, verdict.people_predicted) == (50, 44, 6)
    assert (verdict.confirmed, verdict.nets, verdict.nets_wrong) == (3, 13, 3)
    assert verdict.entropy == pytest.approx(0.5294, abs=1e-4)
    assert verdict.sentence == (
        "people disagree: 3 of 5 checkers confirmed the label rather than dog; 6 of 50 people chose dog, "
        "44 chose cat (the label); 3 of 13 networks miss it"
    )


def test_a_third_class_that_most_people_chose_is_named() -> None:
    reference = Reference(
        counts=np.array([[5, 4, 40]]),
        confirmed=np.array([-1]),
        suggested=np.array([-1]),
        nets=("a",),
        answers=np.array([[0]]),
        classes=("cat", "dog", "frog"),
        labels_sha256=labels_sha256(np.array([0])),
    )
    (verdict,) = triage(np.array([0]), np.array([1]), reference)
    assert verdict.fault == "label"
    assert "4 of 49 people chose dog, 5 chose cat (the label), 40 chose frog" in verdict.sentence


def test_only_nets_above_90_percent_are_compared_with(reference: Reference) -> None:
    answers = reference.answers.copy()
    answers[0, 6:9] = 1  # seven of 60 wrong, with images 0, 3, 4 and 5
    (verdict,) = triage(LABELS, judged(4), replace(reference, answers=answers))
    assert verdict.nets == 12


def test_a_net_is_not_compared_with_itself(reference: Reference) -> None:
    missed = published({4: 12})
    verdict_of_another = triage(LABELS, judged(4, 40), replace(reference, answers=missed))[0]
    verdict_of_a = triage(LABELS, missed[0], replace(reference, answers=np.vstack([missed[0], missed[12:]])))[0]
    assert (verdict_of_another.nets, verdict_of_another.nets_wrong, verdict_of_another.fault) == (13, 12, "hard")
    assert (verdict_of_a.nets, verdict_of_a.nets_wrong) == (1, 0)


def test_wrong_input_is_refused(reference: Reference) -> None:
    with pytest.raises(DataError, match="official order"):
        triage(LABELS[::-1], judged(0), reference)
    with pytest.raises(DataError, match=r"60 integers; found int64 of shape \(3,\)"):
        triage(LABELS, np.zeros(3, dtype=np.int64), reference)
    with pytest.raises(DataError, match="found float64"):
        triage(LABELS, np.zeros(60), reference)
    with pytest.raises(DataError, match="found 0 to 2"):
        triage(LABELS, np.where(judged(0) == 1, 2, 0), reference)


def test_the_columns_are_joined_by_index_and_empty_where_nobody_checked(reference: Reference) -> None:
    columns = fault_columns(triage(LABELS, judged(2, 40), reference))
    assert columns["fault"] == {2: "ambiguous", 40: "model"}
    assert columns["checkers_confirmed"] == {2: 3}
    assert columns["people_entropy"] == {2: 0.5294, 40: 0.0}


@pytest.fixture(scope="module")
def official() -> tuple[Path, np.ndarray, Reference]:
    if "SEEFAR_DATA" not in os.environ:
        pytest.skip("SEEFAR_DATA is not set: the reference data are not at hand")
    folder = Path(os.environ["SEEFAR_DATA"])
    try:
        reference = load_reference(folder, fetch=False)
    except DataError as error:
        pytest.skip(str(error))
    if not (folder / "cifar-10-batches-py").exists():
        pytest.skip(f"CIFAR-10 is not in {folder}")
    return folder, load_data("cifar10", folder).test.labels, reference


def test_wrn_28_10_has_the_known_faults(official: tuple[Path, np.ndarray, Reference]) -> None:
    folder, labels, reference = official
    path = folder / "published-predictions" / "wrn_28_10_predictions.json"
    verdicts = triage(labels, np.array(json.loads(path.read_text(encoding="utf-8"))), reference)
    assert count_faults(verdicts) == {"errors": 407, "label": 51, "ambiguous": 170, "hard": 92, "model": 94}
    assert {verdict.nets for verdict in verdicts} == {23}  # 24 above 90 %, itself not among them
    assert (reference.majority != labels).sum() == 79
