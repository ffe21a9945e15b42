"""Metrics: accuracy with its 95% Wilson interval, recall and precision of each class, confusion matrix, loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from seefar.data.images import check_labels
from seefar.errors import DataError

NORMAL_QUANTILE = 1.959964  # of 97.5%


@dataclass(frozen=True)
class ClassMetrics:
    """One class of n test images: recall and precision, None without any image or prediction."""

    name: str
    n: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class Metrics:
    """Metrics of a model on n test images.

    Attributes:
        accuracy: share of correct predictions, with its 95% Wilson interval.
        loss: mean cross-entropy in nats; None where only the predicted classes are known.
        confusion: row t, column p: how many images of class t are predicted as p.
    """

    accuracy: float
    interval: tuple[float, float]
    n: int
    mistakes: int
    loss: float | None
    classes: tuple[ClassMetrics, ...] = field(repr=False)
    confusion: tuple[tuple[int, ...], ...] = field(repr=False)

    @property
    def at_chance(self) -> bool:
        """Whether the model is not measurably better than predicting the largest class for every image."""
        return self.interval[0] <= max(row.n for row in self.classes) / self.n

    @property
    def cautions(self) -> list[str]:
        """At most one sentence, about a model whose mistakes carry no information: at chance, or blind to a class."""
        never = [row for row in self.classes if row.n and row.precision is None]
        if self.at_chance:
            largest = max(self.classes, key=lambda row: row.n)
            return [
                f"{self.accuracy:.1%} of {self.n:,} predictions are correct, not measurably more than by predicting "
                f"{largest.name} for every image ({largest.n / self.n:.1%}), so the mistakes carry no information: are "
                "classes and files in the same order?"
            ]
        names = ", ".join(f"{row.name} ({row.n} images)" for row in never[:5])
        more = f" and {len(never) - 5} more" if len(never) > 5 else ""
        return [f"never predicted: {names}{more}"] if never else []


def check_scores(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """The labels, (N,) from 0 to K-1, of scores (N, K), N >= 1, K >= 2; a `DataError` if they are anything else."""
    if scores.ndim != 2 or len(scores) == 0 or scores.shape[1] < 2:
        raise DataError(f"Scores must be (N, K) for at least one image and two classes (got {scores.shape}).")
    return check_labels(labels, *scores.shape)


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """The 95% Wilson interval of `right` in n trials (Wilson 1927, JASA 22:209), always within 0 to 1."""
    share, z = right / n, NORMAL_QUANTILE
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Rate:
    """How often something happened: share of n, and its 95% Wilson interval."""

    n: int
    share: float | None
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, hits: NDArray[np.bool_]) -> Rate:
        """The share of true values with its interval; None without any value."""
        n = len(hits)
        return cls(n, float(hits.mean()), wilson_interval(int(hits.sum()), n)) if n else cls(0, None, None)


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Exact two-sided p that two methods succeed equally often on the same cases (McNemar 1947).

    Only cases where one of them alone succeeds, bool (N,) each, count: under the null hypothesis each is a fair coin.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5)))


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """int64 (K, K): row is the true class, column the predicted one."""
    return np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def measure(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], losses: NDArray[np.float64], classes: Sequence[str]
) -> Metrics:
    """All metrics of predicted classes, int (N,), with the cross-entropy of each image and the K class names."""
    confusion = confusion_matrix(labels, predicted, len(classes))
    n, right = int(confusion.sum()), int(confusion.trace())
    per_class = tuple(
        ClassMetrics(
            name,
            n=int(confusion[k].sum()),
            recall=float(confusion[k, k] / confusion[k].sum()) if confusion[k].any() else None,
            precision=float(confusion[k, k] / confusion[:, k].sum()) if confusion[:, k].any() else None,
        )
        for k, name in enumerate(classes)
    )
    return Metrics(
        accuracy=right / n,
        interval=wilson_interval(right, n),
        n=n,
        mistakes=n - right,
        loss=float(losses.mean()),
        classes=per_class,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )
