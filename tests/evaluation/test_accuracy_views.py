from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seefar.data import load_data
from seefar.data.reference import Reference, labels_sha256, load_reference
from seefar.errors import DataError
from seefar.evaluation.metrics import wilson_interval
from seefar.evaluation.triage import accuracy_views

LABELS = np.array([0, 0, 1, 1])
REFERENCE = Reference(
    counts=np.array([[4, 0], [3, 1], [0, 4], [4, 0]]),
    confirmed=np.array([-1, 1, -1, 4]),
    suggested=np.array([-1, 1, -1, 0]),
    nets=("a",),
    answers=LABELS[None],
    classes=("cat", "dog"),
    labels_sha256=labels_sha256(LABELS),
)


def test_each_view_has_its_own_images() -> None:
    predicted = np.array([0, 1, 1, 0])
    views = {view.name: view for view in accuracy_views(LABELS, predicted, REFERENCE)}
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


def test_without_a_reference_there_is_one_view() -> None:
    (view,) = accuracy_views(LABELS, np.array([0, 7, 1, 1]))  # no image is labelled 7
    assert view.right == 3
    assert [view.name for view in accuracy_views(LABELS, LABELS)] == ["as labelled"]


def test_a_view_without_images_is_left_out() -> None:
    nobody_agrees = replace(REFERENCE, counts=np.array([[3, 1], [3, 1], [1, 3], [4, 0]]))  # on 3 about the other class
    names = [view.name for view in accuracy_views(LABELS, LABELS, nobody_agrees)]
    assert names == ["as labelled", "without label errors", "people"]


def test_wrong_input_is_refused() -> None:
    with pytest.raises(DataError, match="official order"):
        accuracy_views(1 - LABELS, LABELS, REFERENCE)
    with pytest.raises(DataError, match="4 integers"):
        accuracy_views(LABELS, LABELS[:3], REFERENCE)


def test_people_are_right_on_95_percent_of_the_test_set() -> None:
    if "SEEFAR_DATA" not in os.environ:
        pytest.skip("SEEFAR_DATA is not set: the reference data are not at hand")
    folder = Path(os.environ["SEEFAR_DATA"])
    try:
        reference = load_reference(folder, fetch=False)
    except DataError as error:
        pytest.skip(str(error))
    if not (folder / "cifar-10-batches-py").exists():
        pytest.skip(f"CIFAR-10 is not in {folder}")
    labels = load_data("cifar10", folder).test.labels
    views = {view.name: view for view in accuracy_views(labels, labels, reference)}
    assert round(views["people"].accuracy, 4) == 0.9523
    assert views["without label errors"].n == 10_000 - 54
    assert views["where people agree"].n == 4_392  # 4,393 unanimous images, of one of which the label differs
