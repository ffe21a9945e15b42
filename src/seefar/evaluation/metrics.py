"""Metrics: accuracy with its 95% Wilson interval, recall and precision of each class, confusion matrix, calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from seefar.data.images import check_labels
from seefar.errors import DataError
from seefar.model.inference import log_softmax
from seefar.seeds import Stream

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
                f"{largest.name} for every image ({largest.n / self.n:.1%}), so the mistakes carry no information: "
                "check that the classes are in the order of the model"
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


# ---- Calibration: of the predictions of a calibrated model with a confidence of 80%, 80 in 100 are correct ----

BINS = 15
RESAMPLES = 1000
TEMPERATURES = (0.05, 20.0)
"""Bounds of `fit_temperature`: logits whose predictions are all correct have no best temperature, only a limit."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ReliabilityBin:
    """n images of about the same confidence: mean confidence, accuracy, and its 95% Wilson interval."""

    n: int
    confidence: float
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% bootstrap interval."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """Whether the probabilities agree with the accuracy.

    Attributes:
        temperature: what the logits were divided by; 1 changes nothing.
        confidence: mean probability of the predicted class; above the accuracy, the model is overconfident.
        bins: of equally many images, the least confident first.
        ece: expected calibration error, mean over the images of |accuracy - confidence| of their bin.
        ece_by_chance: mean of the same error if these confidences were exactly calibrated.
        brier: squared difference of probabilities and one-hot label, 0 to 2 (Brier 1950, Monthly Weather Review 78:1).
        loss: mean cross-entropy in nats.
    """

    temperature: float
    n: int
    confidence: float
    accuracy: float
    bins: tuple[ReliabilityBin, ...]
    ece: Estimate
    ece_by_chance: float
    brier: Estimate
    loss: float

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """The calibration from the values of its `dataclasses.asdict`, also if they were read from JSON."""
        bins = (ReliabilityBin(**{**row, "interval": tuple(row["interval"])}) for row in values["bins"])
        ece, brier = (Estimate(values[name]["value"], tuple(values[name]["interval"])) for name in ("ece", "brier"))
        return cls(**{**values, "bins": tuple(bins), "ece": ece, "brier": brier})


def measure_calibration(
    logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float = 1.0
) -> Calibration:
    """Calibration of logits, float (N, K), for the true classes, int (N,), with a temperature of `fit_temperature`.

    The bins hold equally many images (Nguyen & O'Connor 2015, arXiv 1508.05154), since most confidences of a good
    model are just below 1; the error over them is that of Naeini et al. 2015 (AAAI). Intervals are reflected bootstrap
    intervals: resampling adds as much to the error as sampling did, so the plain percentiles are too high. A
    `DataError` if the shapes do not fit, or no image is given.
    """
    logits = np.asarray(logits)
    labels = check_scores(logits, labels)
    logs = log_softmax(logits / temperature)
    right, confidence = logits.argmax(1) == labels, np.exp(logs.max(1))
    losses = -logs[np.arange(len(labels)), labels]
    squares = ((np.exp(logs) - np.eye(logs.shape[1])[labels]) ** 2).sum(1)
    order = np.argsort(confidence, kind="stable")
    sure, hits, starts = confidence[order], right[order].astype(np.float64), _starts(len(labels))[1:]
    rng = np.random.default_rng((Stream.CALIBRATION, 0))
    by_chance = [_ece(sure, (rng.random(len(sure)) < sure).astype(np.float64)) for _ in range(RESAMPLES // 10)]
    return Calibration(
        temperature=float(temperature),
        n=len(labels),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        bins=tuple(
            ReliabilityBin(len(part), float(part.mean()), float(hit.mean()), wilson_interval(int(hit.sum()), len(hit)))
            for part, hit in zip(np.split(sure, starts), np.split(hits, starts), strict=True)
        ),
        ece=_estimate(lambda draw: _ece(sure[draw], hits[draw]), len(labels), rng),
        ece_by_chance=float(np.mean(by_chance)),
        brier=_estimate(lambda draw: float(squares[draw].mean()), len(labels), rng),
        loss=float(losses.mean()),
    )


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature, within `TEMPERATURES`, that makes the labels most probable: above 1 if overconfident.

    No prediction changes (Guo et al. 2017, arXiv 1706.04599). Fit it on held-out training images, float (N, K) and int
    (N,), since a model is overconfident on those it was trained on. A `DataError` if the shapes do not fit.
    """
    from scipy.optimize import minimize_scalar  # here, since few commands need this slow import

    logits = np.asarray(logits)
    labels = check_scores(logits, labels)
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits / math.exp(log_temperature))[rows, labels].mean())

    low, high = (math.log(end) for end in TEMPERATURES)
    result = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return math.exp(float(result.x))


def _ece(confidence: Floats, right: Floats) -> float:
    """Expected calibration error of images sorted by confidence."""
    gaps = np.add.reduceat(confidence - right, _starts(len(confidence)))
    return float(np.abs(gaps).sum() / len(confidence))


def _starts(n: int) -> NDArray[np.int64]:
    """First image of each bin of n sorted images."""
    bins = min(BINS, n)
    return np.arange(bins, dtype=np.int64) * n // bins


def _estimate(value_of: Callable[[NDArray[np.int64]], float], n: int, rng: np.random.Generator) -> Estimate:
    """A value over n images with its reflected 95% bootstrap interval, which contains it and is 0 at least."""
    images = np.arange(n)
    value = value_of(images)
    draws = (rng.integers(0, n, n) for _ in range(RESAMPLES))
    resampled = [value_of(images.repeat(np.bincount(draw, minlength=n))) for draw in draws]  # stays sorted
    low, high = np.quantile(resampled, (0.025, 0.975))
    # Where resampling only adds error, the reflected interval would end below the value itself.
    return Estimate(value, (max(0.0, min(value, float(2 * value - high))), max(value, float(2 * value - low))))
