"""Calibration: reliability diagram, expected calibration error, Brier score, temperature scaling.

Of the predictions of a calibrated model with a confidence of 80%, 80 in 100 are correct. All from logits and labels.
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
    """Images of about the same confidence.

    Attributes:
        n: how many.
        confidence: their mean probability of the predicted class.
        accuracy: share of them that is predicted correctly.
        interval: 95% Wilson interval of the accuracy.
    """

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
        n: images.
        confidence: mean probability of the predicted class; above the accuracy, the model is overconfident.
        accuracy: share of correct predictions.
        bins: `ReliabilityBin`s of equally many images, the least confident first.
        ece: expected calibration error, mean over the images of |accuracy - confidence| of their bin.
        ece_by_chance: mean of the same error if these confidences were exactly calibrated: it is not 0, since a bin
            of few images differs from its expectation.
        brier: mean over the images of the squared differences between probabilities and one-hot label, summed over
            the classes: 0 is perfect, 2 the worst.
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
        """The calibration of which `dataclasses.asdict` gave these values, also after a passage through JSON."""
        bins = (ReliabilityBin(**{**one, "interval": tuple(one["interval"])}) for one in values["bins"])
        ece, brier = (Estimate(values[name]["value"], tuple(values[name]["interval"])) for name in ("ece", "brier"))
        return cls(**{**values, "bins": tuple(bins), "ece": ece, "brier": brier})


def measure_calibration(
    logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float = 1.0
) -> Calibration:
    """Calibration of logits divided by a temperature.

    The bins hold equally many images (Nguyen & O'Connor 2015, arXiv 1508.05154), since most confidences of a good
    model are just below 1; the error over them is that of Naeini et al. 2015 (AAAI). Intervals are reflected
    bootstrap intervals: resampling adds as much to the error as sampling did, so the plain percentiles are too high
    (40 simulations of 10,000 images with a true error of 0.5 %: they contain it in 26, the reflected ones in 35).

    Args:
        logits: float (N, K).
        labels: int (N,), the true classes.
        temperature: from `fit_temperature`, fitted on other images.

    Raises:
        DataError: the shapes do not fit, or there is no image, or the temperature is not positive.

    Examples:
        >>> import numpy as np
        >>> logits = np.log(np.array([[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.8, 0.2]]))
        >>> calibration = measure_calibration(logits, np.array([0, 0, 0, 0, 1]))
        >>> f"{calibration.accuracy:.2f} {calibration.confidence:.2f} {calibration.brier.value:.2f}"
        '0.80 0.80 0.32'
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    check_scores(logits, labels)
    if not (math.isfinite(temperature) and temperature > 0):
        raise DataError(f"temperature must be above 0 (got {temperature}).")
    logs = log_softmax(logits / temperature)
    right, confidence = logits.argmax(1) == labels, np.exp(logs.max(1))
    losses = -logs[np.arange(len(labels)), labels]
    squares = brier_scores(np.exp(logs), labels)
    order = np.argsort(confidence, kind="stable")
    sure, hits = confidence[order], right[order].astype(np.float64)
    rng = np.random.default_rng((Stream.CALIBRATION, 0))
    by_chance = [_ece(sure, (rng.random(len(sure)) < sure).astype(np.float64)) for _ in range(RESAMPLES // 10)]
    return Calibration(
        temperature=float(temperature),
        n=len(labels),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        bins=reliability_bins(confidence, right),
        ece=_estimate(lambda draw: _ece(sure[draw], hits[draw]), len(labels), rng),
        ece_by_chance=float(np.mean(by_chance)),
        brier=_estimate(lambda draw: float(squares[draw].mean()), len(labels), rng),
        loss=float(losses.mean()),
    )


def reliability_bins(confidence: Floats, right: NDArray[np.bool_], bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Bins of equally many images (they differ by one at most), the least confident first.

    Args:
        confidence: probability of the predicted class, (N,).
        right: whether the prediction is correct, (N,).
        bins: how many; one for each image if there are fewer images.
    """
    parts = np.split(np.argsort(confidence, kind="stable"), _starts(len(confidence), bins)[1:])
    return tuple(
        ReliabilityBin(
            n=len(part),
            confidence=float(confidence[part].mean()),
            accuracy=float(right[part].mean()),
            interval=wilson_interval(int(right[part].sum()), len(part)),
        )
        for part in parts
    )


def brier_scores(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    """Squared differences of probabilities (N, K) to the one-hot labels (N,), summed over the classes, (N,).

    Source: Brier 1950, Monthly Weather Review 78:1.
    """
    differences = probabilities.copy()
    differences[np.arange(len(labels)), labels] -= 1
    scores: Floats = (differences**2).sum(1)
    return scores


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature that makes the labels most probable: above 1 if the model is overconfident.

    One number for all logits, so no prediction changes (Guo et al. 2017, arXiv 1706.04599). Fit it on held-out
    training images: neither on the test set nor on images that the model was trained on, where it is overconfident.

    Args:
        logits: float (N, K) of held-out images.
        labels: int (N,), their true classes.

    Returns:
        The temperature, within `TEMPERATURES`.

    Raises:
        DataError: the shapes do not fit, or there is no image.

    Examples:
        >>> import numpy as np
        >>> logits = np.array([[4.0, 0.0]] * 4)  # confidence 98%, correct in 3 of 4 cases
        >>> temperature = fit_temperature(logits, np.array([0, 0, 0, 1]))
        >>> round(float(1 / (1 + np.exp(-4 / temperature))), 3)
        0.75
    """
    from scipy.optimize import minimize_scalar  # here, since few commands need this slow import

    logits, labels = np.asarray(logits), np.asarray(labels)
    check_scores(logits, labels)
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits / math.exp(log_temperature))[rows, labels].mean())

    low, high = (math.log(end) for end in TEMPERATURES)
    result = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return math.exp(float(result.x))


def _ece(confidence: Floats, right: Floats) -> float:
    """Expected calibration error of images sorted by confidence."""
    gaps = np.add.reduceat(confidence - right, _starts(len(confidence), BINS))
    return float(np.abs(gaps).sum() / len(confidence))


def _starts(n: int, bins: int) -> NDArray[np.int64]:
    """First image of each bin of n sorted images."""
    bins = min(bins, n)
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
