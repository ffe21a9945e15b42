"""Accuracy seen several ways: as labelled, without label errors, where people agree, human accuracy, two views.

One figure hides that some labels are wrong and some images cannot be told apart. Each view has its own images, so the
figures must not be compared as if they were of one test set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Labels
from seefar.data.reference import Reference
from seefar.evaluation.metrics import wilson_interval
from seefar.evaluation.triage import check_classes


@dataclass(frozen=True)
class AccuracyView:
    """One accuracy.

    Attributes:
        name: a short name, for tables and JSON.
        meaning: which images, whose answers.
        n: how many images.
        right: how many of them are answered as labelled; None for people, of whom many answered each image.
        accuracy: share of 1.
        interval: 95 % interval: Wilson's, for people that of a mean over images.
    """

    name: str
    meaning: str
    n: int
    right: int | None
    accuracy: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.accuracy:.2%} ({low:.2%} to {high:.2%}) of {self.n:,}: {self.meaning}"


def accuracy_views(
    labels: Labels,
    predicted: Labels,
    reference: Reference | None = None,
    *,
    two_views: Labels | None = None,
    others: Mapping[str, tuple[Labels, Labels]] | None = None,
) -> list[AccuracyView]:
    """The accuracy on different images, each with its 95 % interval.

    `as labelled`: all images. With a reference also `without label errors`: without the images whose label fewer than
    three of five checkers confirmed; `where people agree`: only images for which everybody chose one class, and that
    class is the label; and `people`: the mean share of people who chose the label.

    Args:
        labels: int (N,).
        predicted: int (N,), the classes that a model predicts from one view of each image.
        reference: from `load_reference`, if the labels are those of CIFAR-10's test set.
        two_views: int (N,), the classes it predicts from each image and its mirror image together; a view of its own,
            since it costs twice as much.
        others: further test sets: name -> their labels and predicted classes, such as CIFAR-10.1.

    Raises:
        DataError: predictions have another form than the labels, or the reference belongs to others.

    Example:
        >>> import numpy as np, seefar
        >>> for view in seefar.accuracy_views(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0])):
        ...     print(view)
        75.00% (30.06% to 95.44%) of 4: all test images, as labelled
    """
    for given in (predicted, *(() if two_views is None else (two_views,))):
        _check(labels, given)
    right = predicted == labels
    views = [_view("as labelled", "all test images, as labelled", right)]
    if reference:
        reference.check_labels(labels)
        kept = ~reference.label_errors
        meaning = f"without the {int((~kept).sum())} labels that most checkers did not confirm"
        views.append(_view("without label errors", meaning, right[kept]))
        chosen = reference.counts[np.arange(len(labels)), labels]
        people = reference.counts.sum(1)
        views.append(
            _view(
                "where people agree",
                "only images that everybody labelled alike",
                (predicted == labels)[chosen == people],
            )
        )
        views.append(_of_people(chosen / people))
    if two_views is not None:
        meaning = "two views: image and mirror image averaged, all test images, as labelled"
        views.append(_view("two views", meaning, two_views == labels))
    for name, (other_labels, other_predicted) in (others or {}).items():
        _check(other_labels, other_predicted)
        views.append(_view(name, f"{name}, another test set", other_predicted == other_labels))
    return views


def _check(labels: Labels, predicted: Labels) -> None:
    """Any class may be predicted, also one that no image is labelled with."""
    check_classes(predicted, len(labels), 1 + max(int(labels.max()), int(predicted.max(initial=0))))


def _view(name: str, meaning: str, right: NDArray[np.bool_]) -> AccuracyView:
    count, n = int(right.sum()), len(right)
    return AccuracyView(name, meaning, n, count, count / n, wilson_interval(count, n))


def _of_people(share: NDArray[np.float64]) -> AccuracyView:
    """Mean over the images of the share of people who chose the label."""
    mean = float(share.mean())
    half = 1.959964 * float(share.std(ddof=1)) / len(share) ** 0.5
    meaning = "people, one at a time, on all test images (CIFAR-10H)"
    return AccuracyView("people", meaning, len(share), None, mean, (mean - half, min(1.0, mean + half)))
