"""Patterns of mistakes: confused pairs in both directions, mistakes by class."""

from __future__ import annotations

from dataclasses import dataclass

from seefar.data.images import Labels
from seefar.evaluation.metrics import confusion_matrix


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for each other.

    Attributes:
        first, second: the classes; `first` is the one whose images are mistaken more often.
        first_as_second: images of `first` that are called `second`.
        second_as_first: images of `second` that are called `first`.
        share: of all mistakes, both directions together.
        first_share: of the images of `first`, those called `second`.
        second_share: of the images of `second`, those called `first`.
    """

    first: int
    second: int
    first_as_second: int
    second_as_first: int
    share: float
    first_share: float
    second_share: float


@dataclass(frozen=True)
class ClassMistakes:
    """The mistakes of one class.

    Attributes:
        index: the class.
        n: its images.
        missed: those of them that are called something else.
        wrongly_named: images of other classes that are called it.
        share: of all mistakes, those that miss it.
    """

    index: int
    n: int
    missed: int
    wrongly_named: int
    share: float


def confused_pairs(labels: Labels, predicted: Labels, num_classes: int) -> list[ConfusedPair]:
    """All pairs of classes that are taken for each other, the most mistakes first, with both directions.

    Args:
        labels: int (N,).
        predicted: int (N,).
        num_classes: K.

    Example:
        >>> import numpy as np, seefar
        >>> (pair,) = seefar.confused_pairs(np.array([0, 0, 1, 1]), np.array([1, 0, 1, 1]), 2)
        >>> pair.first, pair.second, pair.first_as_second, pair.second_as_first, pair.first_share
        (0, 1, 1, 0, 0.5)
    """
    confusion = confusion_matrix(labels, predicted, num_classes)
    sizes, total = confusion.sum(1), int(confusion.sum() - confusion.trace())
    pairs = []
    for one in range(num_classes):
        for other in range(one + 1, num_classes):
            first, second = (one, other) if confusion[one, other] >= confusion[other, one] else (other, one)
            there, back = int(confusion[first, second]), int(confusion[second, first])
            if there:
                shares = there / int(sizes[first]), back / max(1, int(sizes[second]))
                pairs.append(ConfusedPair(first, second, there, back, (there + back) / total, *shares))
    return sorted(pairs, key=lambda pair: -pair.share)


def mistakes_by_class(labels: Labels, predicted: Labels, num_classes: int) -> list[ClassMistakes]:
    """Each class's mistakes, the most missed class first.

    Args:
        labels: int (N,).
        predicted: int (N,).
        num_classes: K.

    Example:
        >>> import numpy as np, seefar
        >>> worst, _ = seefar.mistakes_by_class(np.array([0, 0, 1, 1]), np.array([1, 0, 1, 1]), 2)
        >>> worst.index, worst.n, worst.missed, worst.wrongly_named
        (0, 2, 1, 0)
    """
    confusion = confusion_matrix(labels, predicted, num_classes)
    right = confusion.diagonal()
    missed, named = confusion.sum(1) - right, confusion.sum(0) - right
    total = max(1, int(missed.sum()))
    found = [
        ClassMistakes(k, int(confusion[k].sum()), int(missed[k]), int(named[k]), int(missed[k]) / total)
        for k in range(num_classes)
    ]
    return sorted(found, key=lambda one: -one.missed)
