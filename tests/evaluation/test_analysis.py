from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seefar.data import Split
from seefar.data.reference import CLASSES, Reference, labels_sha256
from seefar.errors import DataError
from seefar.evaluation.evaluate import analyse_mistakes
from seefar.evaluation.evidence import ONE_RUN
from seefar.evaluation.predictions import Predictions


def predictions_of(split: Split, predicted: np.ndarray) -> Predictions:
    logits = 5 * np.eye(len(split.classes), dtype=np.float32)[predicted]
    return Predictions(logits, logits, split.labels, split.classes, "model", split.fingerprint)


@pytest.fixture
def split() -> Split:
    labels = np.arange(40) % 10
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    return Split(images, labels, CLASSES)


@pytest.fixture
def reference(split: Split) -> Reference:
    """As if the split were CIFAR-10's test set; most people chose another class for image 3."""
    counts = 50 * np.eye(10, dtype=np.int64)[split.labels]
    counts[3] = 50 * np.eye(10, dtype=np.int64)[5]
    unchecked = np.full(40, -1)
    return Reference(counts, unchecked, unchecked, ("a",), split.labels[None], CLASSES, labels_sha256(split.labels))


@pytest.fixture
def predicted(split: Split) -> np.ndarray:
    """Images 3 and 13 are cats called dogs, image 5 a dog called cat."""
    found = split.labels.copy()
    found[[3, 13]], found[5] = 5, 3
    return found


@pytest.mark.parametrize(("right", "reported"), [(18, False), (38, True)])
def test_a_model_that_is_mostly_wrong_reports_no_labels(split: Split, right: int, reported: bool) -> None:
    """With 18 of 40 right it confidently contradicts 22 labels, and it is not the labels that are wrong."""
    found = np.where(np.arange(40) < right, split.labels, (split.labels + 1) % 10)
    analysis = analyse_mistakes(predictions_of(split, found), split)
    assert len(analysis.issues.issues) > 0
    assert any("labels may be wrong" in line for line in analysis.lines) is reported


def test_other_data_have_patterns_label_issues_and_faults_by_evidence(split: Split, predicted: np.ndarray) -> None:
    analysis = analyse_mistakes(predictions_of(split, predicted), split)
    assert {verdict.rule.name for verdict in analysis.verdicts} == {ONE_RUN.name}
    assert [view.name for view in analysis.views] == ["as labelled"]
    assert sorted(issue.index for issue in analysis.issues.issues) == [3, 5, 13]
    assert (analysis.pairs[0].first_as_second, analysis.pairs[0].second_as_first) == (2, 1)
    assert analysis.sections["fault_rule"]["name"] == ONE_RUN.name
    assert analysis.columns["fault"].keys() == {3, 5, 13}
    assert "most confused: cat predicted as dog 2 times, dog as cat 1 times, 100% of all mistakes" in analysis.lines


def test_the_official_test_set_has_faults(split: Split, predicted: np.ndarray, reference: Reference) -> None:
    analysis = analyse_mistakes(predictions_of(split, predicted), split, reference)
    assert analysis.sections["faults"] == {"errors": 3, "label": 1, "ambiguous": 0, "hard": 0, "model": 2}
    assert analysis.columns["fault"] == {3: "label", 5: "model", 13: "model"}
    assert analysis.columns["label_issue"].keys() == {3, 5, 13}
    assert analysis.lines[0] == "causes: label 1, ambiguous 0, hard 0, model 2"


def test_a_split_without_mistakes_one_of_one_image_and_another_split(split: Split) -> None:
    assert analyse_mistakes(predictions_of(split, split.labels), split).lines == []
    one = split.take([0])
    assert analyse_mistakes(predictions_of(one, one.labels + 1), one).slices == []
    with pytest.raises(DataError, match="other images or labels"):
        analyse_mistakes(predictions_of(split, split.labels), replace(split, images=split.images[::-1]))
