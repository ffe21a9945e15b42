"""Mistakes and their patterns: every mistake ranked, confused classes, error rates of dark or busy images.

More mistakes in a slice, such as the darkest tenth of the images, do not prove that its property is their cause.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from seefar.choices import Order
from seefar.data.images import Images, Labels, find_class, slices
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
    """A test image, at `index`, whose predicted class differs from its label, `true`.

    `confidence` is the probability of the predicted class, `true_probability` that of the true class, and `loss` minus
    its logarithm, in nats; all are NaN where only classes are known.
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
    """Every mistake, ranked: highest loss first, or most confident first, or by index as in the test set.

    Ties are ordered by index. `true` and `predicted`, names or indices, choose the mistakes on images of one class, and
    those with one predicted class. A `DataError` if a class is unknown, or both are the same; a `ChoiceError` if the
    order is unknown.

    Examples:
        >>> import numpy as np, seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test = load_shapes(train=20, test=3).test
        >>> predictions = seefar.Predictions.of(np.eye(10)[(test.labels + [0, 0, 1]) % 10], test)
        >>> [mistake.index for mistake in seefar.find_mistakes(predictions)]
        [2]
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
    """The indices of the classes that mistakes are filtered by, None for any; a `DataError` if they are not two."""
    first, second = (None if name is None else find_class(classes, name) for name in (true, predicted))
    if first is not None and first == second:
        raise DataError(
            f"Images of {classes[first]} predicted as {classes[first]} are not mistakes: choose two different classes."
        )
    return first, second


# ---- Confused classes ----


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are confused with each other; `first` is the one whose images are misclassified more often.

    `share` is of all mistakes, both directions together; `first_share` and `second_share` are of the class's images.
    """

    first: int
    second: int
    first_as_second: int
    second_as_first: int
    share: float
    first_share: float
    second_share: float


def count_confusions(confusion: Sequence[Sequence[int]] | NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """True class, predicted class and number of images of all confusions in `Metrics.confusion`, most images first."""
    counts = np.array(confusion)
    np.fill_diagonal(counts, 0)
    confusions = [(true, predicted, int(counts[true, predicted])) for true, predicted in np.argwhere(counts).tolist()]
    return sorted(confusions, key=lambda triple: -triple[2])


def confused_pairs(labels: Labels, predicted: Labels, num_classes: int) -> list[ConfusedPair]:
    """All pairs of classes that are confused with each other, the most mistakes first, from classes int (N,)."""
    confusion = confusion_matrix(labels, predicted, num_classes)
    sizes, total = confusion.sum(1), int(confusion.sum() - confusion.trace())
    pairs = {}
    for first, second, count in count_confusions(confusion):
        key = (min(first, second), max(first, second))
        if key not in pairs:  # the more frequent direction comes first
            back = int(confusion[second, first])
            shares = count / int(sizes[first]), back / max(1, int(sizes[second]))
            pairs[key] = ConfusedPair(first, second, count, back, (count + back) / total, *shares)
    return [pairs[key] for key in sorted(pairs, key=lambda key: (-pairs[key].share, key))]


# ---- Slices ----


@dataclass(frozen=True)
class ErrorSlice:
    """The mistakes among n images with one property, compared with all other images.

    `odds_ratio` is None where it divides by zero; `p` is Fisher's exact two-sided p; `p_holm` is corrected for the
    number of slices (Holm 1979).
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


def measure_slices(chosen: Mapping[str, tuple[Mask, str]], wrong: Mask) -> list[ErrorSlice]:
    """Error rates inside and outside of the slices of `tenths`, the smallest p first; `wrong` is bool (N,)."""
    tests = {name: _fisher(wrong, inside) for name, (inside, _) in chosen.items()}
    corrected = dict(zip(tests, holm([p for _, p in tests.values()]), strict=True))
    slices = []
    for name, (inside, meaning) in chosen.items():
        n, mistakes = int(inside.sum()), int(wrong[inside].sum())
        rates = mistakes / n, wilson_interval(mistakes, n), float(wrong[~inside].mean())
        slices.append(ErrorSlice(name, meaning, n, mistakes, *rates, *tests[name], corrected[name]))
    return sorted(slices, key=lambda row: row.p)


def tenths(images: Images) -> dict[str, tuple[Mask, str]]:
    """The darkest, brightest, flattest and busiest tenth of images (N, H, W, 3), and how they were chosen.

    Brightness and contrast are the mean and the standard deviation of the grey image; busy is the mean step between
    neighbouring pixels.
    """
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
    for rows in slices(len(images), BLOCK):
        grey = images[rows] @ LUMA  # (n, H, W)
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
