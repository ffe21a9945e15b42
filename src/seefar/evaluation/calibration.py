"""Calibration: reliability diagram, expected calibration error, Brier score, temperature scaling.

Of the predictions of a calibrated model with a confidence of 80%, 80 in 100 are correct.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.errors import DataError
from seefar.evaluation.metrics import check_scores, wilson_interval
from seefar.model.inference import log_softmax
from seefar.seeds import Stream

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
    `DataError` if the shapes do not fit, no image is given, or the temperature is not positive.
    """
    logits = np.asarray(logits)
    labels = check_scores(logits, labels)
    if not (math.isfinite(temperature) and temperature > 0):
        raise DataError(f"temperature must be above 0 (got {temperature}).")
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
