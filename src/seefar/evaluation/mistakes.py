"""Mistakes and their patterns: every mistake ranked, confused classes, error rates of dark or busy images.

A slice is a tenth of the images with a visible property: the darkest, the busiest. More mistakes in a slice do not
prove that the property is their cause.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from seefar.choices import Order
from seefar.data.images import Images, Labels, find_class
from seefar.errors import ChoiceError, DataError
from seefar.evaluation.metrics import confusion_matrix, wilson_interval
from seefar.evaluation.predictions import Predictions

SLICE_SHARE = 0.1
BLOCK = 100  # images at a time, which stay in the processor's cache
LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]  # (N,), which images


@dataclass(frozen=True)
class Mistake:
    """A test image whose predicted class differs from its label.

    Attributes:
        index: position in the test set.
        true: its label.
        predicted: the predicted class.
        confidence: probability of the predicted class; this and the next two are NaN where only classes are known.
        true_probability: probability of the true class.
        loss: cross-entropy in nats, minus the logarithm of `true_probability`.
    """

    index: int
    true: int
    predicted: int
    confidence: float
    true_probability: float
    loss: float


def find_mistakes(
    predictions: Predictions,
    order: Order = "loss",
    *,
    true: str | int | None = None,
    predicted: str | int | None = None,
) -> list[Mistake]:
    """Every mistake, ranked.

    Args:
        predictions: of the complete test set.
        order: `loss`: highest loss first; `confidence`: most confident first; `index`: as in the test set. Ties are
            ordered by index.
        true: only mistakes on images of this class, its name or index.
        predicted: only mistakes with this predicted class, its name or index.

    Raises:
        DataError: there is no such class, or both are the same.
        ChoiceError: there is no such order.

    Examples:
        >>> import numpy as np
        >>> from seefar.evaluation.predictions import Predictions
        >>> logits, features = np.float32([[3, 1], [2, 0]]), np.zeros((2, 0), np.float32)
        >>> predictions = Predictions(logits, features, np.array([0, 1]), ("cat", "dog"), model="", images="")
        >>> [(mistake.index, mistake.true, mistake.predicted) for mistake in find_mistakes(predictions, true="dog")]
        [(1, 1, 0)]
    """
    keys = {"loss": lambda m: -m.loss, "confidence": lambda m: -m.confidence, "index": lambda m: m.index}
    if order not in keys:
        raise ChoiceError(f"order={order!r} is unknown: choose one of {', '.join(keys)}.")
    true, predicted = chosen_classes(predictions.classes, true, predicted)
    logs = predictions.log_probabilities
    if not predictions.has_probabilities:
        order, logs = "index", np.full_like(logs, np.nan)
    pairs = zip(predictions.labels.tolist(), predictions.predicted.tolist(), strict=True)
    mistakes = [
        Mistake(
            index,
            label,
            guess,
            confidence=math.exp(logs[index, guess]),
            true_probability=math.exp(logs[index, label]),
            loss=float(-logs[index, label]),
        )
        for index, (label, guess) in enumerate(pairs)
        if guess != label and true in (None, label) and predicted in (None, guess)
    ]
    return sorted(mistakes, key=keys[order])


def chosen_classes(
    classes: Sequence[str], true: str | int | None, predicted: str | int | None
) -> tuple[int | None, int | None]:
    """The indices of the classes that mistakes are filtered by; None where any class is accepted.

    Args:
        classes: names of the K classes.
        true: name or index of the true class.
        predicted: name or index of the predicted class.

    Raises:
        DataError: there is no such class, or both are the same.
    """
    one, other = (None if name is None else find_class(classes, name) for name in (true, predicted))
    if one is not None and one == other:
        raise DataError(
            f"Images of {classes[one]} predicted as {classes[one]} are no mistakes: choose two different classes."
        )
    return one, other


# ---- Confused classes ----


class Confusion(NamedTuple):
    """How many images of one class were predicted as another one."""

    true: int
    predicted: int
    n: int


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are confused with each other.

    Attributes:
        first, second: the classes; `first` is the one whose images are misclassified more often.
        first_as_second: images of `first` that are predicted as `second`.
        second_as_first: images of `second` that are predicted as `first`.
        share: of all mistakes, both directions together.
        first_share: of the images of `first`, those predicted as `second`.
        second_share: of the images of `second`, those predicted as `first`.
    """

    first: int
    second: int
    first_as_second: int
    second_as_first: int
    share: float
    first_share: float
    second_share: float


def count_confusions(confusion: Sequence[Sequence[int]] | NDArray[np.int64]) -> list[Confusion]:
    """All confusions, those of the most images first; ties are ordered by true, then by predicted class.

    Args:
        confusion: (K, K), such as `Metrics.confusion`: row is the true class, column the predicted one.
    """
    counts = np.array(confusion)
    np.fill_diagonal(counts, 0)
    confusions = [
        Confusion(true, predicted, int(counts[true, predicted])) for true, predicted in np.argwhere(counts).tolist()
    ]
    return sorted(confusions, key=lambda one: -one.n)


def confused_pairs(labels: Labels, predicted: Labels, num_classes: int) -> list[ConfusedPair]:
    """All pairs of classes that are confused with each other, the most mistakes first, with both directions.

    Args:
        labels: int (N,).
        predicted: int (N,).
        num_classes: K.

    Examples:
        >>> import numpy as np, seefar
        >>> (pair,) = confused_pairs(np.array([0, 0, 1, 1]), np.array([1, 0, 1, 1]), 2)
        >>> pair.first, pair.second, pair.first_as_second, pair.second_as_first, pair.first_share
        (0, 1, 1, 0, 0.5)
    """
    confusion = confusion_matrix(labels, predicted, num_classes)
    sizes, total = confusion.sum(1), int(confusion.sum() - confusion.trace())
    pairs = {}
    for first, second, there in count_confusions(confusion):
        key = (min(first, second), max(first, second))
        if key not in pairs:  # the more frequent direction comes first
            back = int(confusion[second, first])
            shares = there / int(sizes[first]), back / max(1, int(sizes[second]))
            pairs[key] = ConfusedPair(first, second, there, back, (there + back) / total, *shares)
    return [pairs[key] for key in sorted(pairs, key=lambda key: (-pairs[key].share, key))]


# ---- Slices ----


@dataclass(frozen=True)
class ErrorSlice:
    """The mistakes among images with one property, compared with all other images.

    Attributes:
        name: such as `dark`.
        meaning: how the images were chosen.
        n: images in the slice.
        mistakes: of them.
        error_rate: share of them that are mistakes.
        interval: 95% Wilson interval of the error rate.
        rest_error_rate: error rate of all other images.
        odds_ratio: odds of a mistake in the slice over those elsewhere; None where that divides by zero.
        p: Fisher's exact two-sided p that the slice makes no difference.
        p_holm: p corrected for the number of slices (Holm 1979).
    """

    name: str
    meaning: str
    n: int
    mistakes: int
    error_rate: float
    interval: tuple[float, float]
    rest_error_rate: float
    odds_ratio: float | None
    p: float
    p_holm: float


def error_slices(images: Images, labels: Labels, predicted: Labels) -> list[ErrorSlice]:
    """Error rates of the darkest, brightest, flattest and busiest tenth of the images, against the other nine tenths.

    Brightness and contrast are the mean and the standard deviation of the grey image; busy is the mean step between
    neighbouring pixels.

    Args:
        images: uint8 (N, H, W, 3).
        labels: int (N,).
        predicted: int (N,).

    Returns:
        The slices, the smallest p first; none of fewer than two images.

    Examples:
        >>> import numpy as np, seefar
        >>> images = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
        >>> slices = {one.name: one for one in error_slices(images, np.zeros(20, int), np.eye(20, dtype=int)[0])}
        >>> slices["dark"].n, slices["dark"].mistakes, slices["bright"].mistakes
        (2, 1, 0)
    """
    if len(images) < 2:
        return []
    return measure_slices(tenths(images), predicted != labels)


def measure_slices(chosen: Mapping[str, tuple[Mask, str]], wrong: Mask) -> list[ErrorSlice]:
    """Error rates inside and outside of slices, the smallest p first.

    Args:
        chosen: for each slice, by its name, which images are in it, bool (N,), and how they were chosen.
        wrong: which images are mistakes, bool (N,).
    """
    tests = {name: _fisher(wrong, inside) for name, (inside, _) in chosen.items()}
    corrected = dict(zip(tests, holm([p for _, p in tests.values()]), strict=True))
    slices = []
    for name, (inside, meaning) in chosen.items():
        n, mistakes = int(inside.sum()), int(wrong[inside].sum())
        rates = mistakes / n, wilson_interval(mistakes, n), float(wrong[~inside].mean())
        slices.append(ErrorSlice(name, meaning, n, mistakes, *rates, *tests[name], corrected[name]))
    return sorted(slices, key=lambda one: one.p)


def tenths(images: Images) -> dict[str, tuple[Mask, str]]:
    """The darkest, brightest, flattest and busiest tenth of images (N, H, W, 3), and how they were chosen."""
    brightness, contrast, steps = _grey_statistics(images)
    return {
        "dark": lowest_tenth(brightness, "mean brightness at most {:.0f} of 255"),
        "bright": lowest_tenth(-brightness, "mean brightness at least {:.0f} of 255"),
        "low contrast": lowest_tenth(contrast, "standard deviation of brightness at most {:.0f} of 255"),
        "busy": lowest_tenth(-steps, "mean step between neighbouring pixels at least {:.0f} of 255"),
    }


def lowest_tenth(values: Floats, meaning: str) -> tuple[Mask, str]:
    """The tenth of the images with the lowest values (N,), and its meaning with the value at its end."""
    count = max(1, round(SLICE_SHARE * len(values)))
    order = np.argsort(values, kind="stable")
    inside = np.zeros(len(values), dtype=bool)
    inside[order[:count]] = True
    return inside, meaning.format(abs(values[order[count - 1]]))


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction of p for several tests (Holm 1979, Scandinavian Journal of Statistics 6:65)."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(1.0, largest)
    return corrected


def _grey_statistics(images: Images) -> tuple[Floats, Floats, Floats]:
    """Mean, standard deviation and mean step of the grey image, each (N,), in levels of 255."""
    blocks = []
    for start in range(0, len(images), BLOCK):
        grey = images[start : start + BLOCK] @ LUMA  # (n, H, W)
        steps = (np.abs(np.diff(grey, axis=1)).mean((1, 2)) + np.abs(np.diff(grey, axis=2)).mean((1, 2))) / 2
        blocks.append((grey.mean((1, 2)), grey.std((1, 2)), steps))
    brightness, contrast, steps = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return brightness, contrast, steps


def _fisher(wrong: Mask, inside: Mask) -> tuple[float | None, float]:
    """Odds ratio and Fisher's exact two-sided p. They equal those of `scipy.stats`, whose import takes 0.3 s."""
    n, mistakes, both = int(inside.sum()), int(wrong.sum()), int((wrong & inside).sum())
    right = len(wrong) - mistakes
    mistakes_outside, right_inside = mistakes - both, n - both
    odds_ratio = None
    if mistakes_outside and right_inside:
        odds_ratio = both * (right - right_inside) / (mistakes_outside * right_inside)
    k = np.arange(max(0, n - right), min(n, mistakes) + 1)  # how many mistakes could be inside
    logs = _log_binomial(mistakes, k) + _log_binomial(right, n - k)
    chances = np.exp(logs - logs.max())
    unlikely = chances <= chances[k == both] * (1 + 1e-7)  # at most as likely as the number observed
    return odds_ratio, float(chances[unlikely].sum() / chances.sum())


def _log_binomial(n: int, k: NDArray[np.int64]) -> Floats:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
