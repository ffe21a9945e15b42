"""Mistakes: all images whose predicted class differs from their label, ranked by loss or confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from seefar.data.images import Images, Labels, find_class
from seefar.errors import DataError, SeefarError
from seefar.evaluation.metrics import confusion_matrix, wilson_interval
from seefar.evaluation.predictions import Predictions
from seefar.maps.grid import Grid, Maps
from seefar.names import Order
from seefar.runs.values import Count, Share


@dataclass(frozen=True)
class Mistake:
    """A test image whose predicted class differs from its label.

    Attributes:
        index: position in the test set.
        true: its label.
        predicted: the class the network names.
        confidence: probability that the network gives the predicted class.
        true_probability: probability that it gives the true class.
        loss: cross-entropy in nats, minus the logarithm of `true_probability`.
    """

    index: Count
    true: Count
    predicted: Count
    confidence: Share
    true_probability: Share
    loss: float


def chosen_classes(
    classes: Sequence[str], true: str | int | None, predicted: str | int | None
) -> tuple[int | None, int | None]:
    """The indices of the classes that mistakes are chosen by, each None where any will do.

    Args:
        classes: names of the K classes.
        true: name or index of the class that the images are of.
        predicted: of the class that the mistakes name.

    Raises:
        DataError: there is no such class, or both are the same.
    """
    one, other = (None if name is None else find_class(classes, name) for name in (true, predicted))
    if one is not None and one == other:
        raise DataError(
            f"Images of {classes[one]} that are called {classes[one]} are no mistakes: choose two different classes."
        )
    return one, other


def find_mistakes(
    predictions: Predictions,
    order: Order = "loss",
    *,
    true: str | int | None = None,
    predicted: str | int | None = None,
) -> list[Mistake]:
    """Every mistake, ranked.

    Args:
        predictions: of the whole test set.
        order: `loss`: the least probable true class first; `confidence`: the surest wrong answer first; `index`: as
            the test set lies. Ties keep the order of the test set.
        true: only mistakes on images of this class, its name or index.
        predicted: only mistakes that name this class, its name or index.

    Raises:
        DataError: there is no such class, or both are the same.
        SeefarError: there is no such order.

    Example:
        >>> import numpy as np
        >>> from seefar.evaluation.predictions import Predictions
        >>> logits, features = np.float32([[3, 1], [2, 0]]), np.zeros((2, 0), np.float32)
        >>> predictions = Predictions(logits, features, np.array([0, 1]), ("cat", "dog"), model="", images="")
        >>> [(mistake.index, mistake.true, mistake.predicted) for mistake in find_mistakes(predictions, true="dog")]
        [(1, 1, 0)]
    """
    keys = {"loss": lambda m: -m.loss, "confidence": lambda m: -m.confidence, "index": lambda m: m.index}
    if order not in keys:
        raise SeefarError(f"order={order!r} is unknown: choose one of {', '.join(keys)}.")
    true, predicted = chosen_classes(predictions.classes, true, predicted)
    logs, guesses = predictions.log_probabilities, predictions.predicted
    mistakes = [
        Mistake(
            index,
            label,
            guess,
            confidence=math.exp(logs[index, guess]),
            true_probability=math.exp(logs[index, label]),
            loss=float(-logs[index, label]),
        )
        for index, (label, guess) in enumerate(zip(predictions.labels.tolist(), guesses.tolist(), strict=True))
        if guess != label and true in (None, label) and predicted in (None, guess)
    ]
    return sorted(mistakes, key=keys[order])


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


SLICE_SHARE = 0.1
PART = 100  # images at a time, which stay in the cache
LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True)
class ErrorSlice:
    """The mistakes among images with one property, against all other images.

    Attributes:
        name: such as `dark`.
        meaning: how the images were chosen.
        n: images in the slice.
        mistakes: of them.
        error_rate: share of them that are mistakes.
        interval: its 95 % Wilson interval.
        rest_error_rate: the same share of all other images.
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


def error_slices(
    images: Images, labels: Labels, predicted: Labels, *, off_centre: NDArray[np.floating] | None = None
) -> list[ErrorSlice]:
    """Error rates of the darkest, brightest, flattest and busiest tenth of the images, against the other nine tenths.

    Brightness and contrast are the mean and the standard deviation of the grey image; busy is the mean step between
    neighbouring pixels. With `off_centre` also the tenth whose evidence lies farthest from the middle.

    Args:
        images: uint8 (N, H, W, 3).
        labels: int (N,).
        predicted: int (N,).
        off_centre: (N,), pixels from the middle of the image to that of the evidence, as `evidence_off_centre` gives.

    Returns:
        The slices, the smallest p first; none of fewer than two images.

    Example:
        >>> import numpy as np, seefar
        >>> images = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
        >>> found = {one.name: one for one in seefar.error_slices(images, np.zeros(20, int), np.eye(20, dtype=int)[0])}
        >>> found["dark"].n, found["dark"].mistakes, found["bright"].mistakes
        (2, 1, 0)
    """
    if len(images) < 2:
        return []
    brightness, contrast, steps = _grey_facts(images)
    chosen = {
        "dark": _lowest(brightness, "mean brightness at most {:.0f} of 255"),
        "bright": _lowest(-brightness, "mean brightness at least {:.0f} of 255"),
        "low contrast": _lowest(contrast, "standard deviation of brightness at most {:.0f} of 255"),
        "busy": _lowest(-steps, "mean step between neighbouring pixels at least {:.0f} of 255"),
    }
    if off_centre is not None:
        meaning = "middle of the map's evidence at least {:.1f} pixels from that of the image"
        chosen["at the border"] = _lowest(-np.asarray(off_centre), meaning)
    wrong = predicted != labels
    tests = {name: _fisher(wrong, inside) for name, (inside, _) in chosen.items()}
    corrected = holm([p for _, p in tests.values()])
    slices = []
    for (name, (inside, meaning)), (odds_ratio, p), p_holm in zip(
        chosen.items(), tests.values(), corrected, strict=True
    ):
        n, mistakes = int(inside.sum()), int(wrong[inside].sum())
        rates = mistakes / n, wilson_interval(mistakes, n), float(wrong[~inside].mean())
        slices.append(ErrorSlice(name, meaning, n, mistakes, *rates, odds_ratio, p, p_holm))
    return sorted(slices, key=lambda one: one.p)


def evidence_off_centre(maps: Maps, grid: Grid, image_size: int) -> NDArray[np.float64]:
    """How far the middle of each map's positive evidence lies from the middle of its image, in pixels.

    Args:
        maps: (N, h, w), such as the map of the predicted class.
        grid: where its cells lie.
        image_size: height and width in pixels.

    Returns:
        float64 (N,); 0 for a map without positive evidence.
    """
    evidence = np.maximum(maps, 0).astype(np.float64)
    total = evidence.sum((1, 2))
    total = np.where(total > 0, total, np.inf)  # a map without evidence: in the middle
    middle = (image_size - 1) / 2
    rows, columns = grid.centres(0) - middle, grid.centres(1) - middle
    down = (evidence * rows[:, None]).sum((1, 2)) / total
    across = (evidence * columns).sum((1, 2)) / total
    return np.asarray(np.hypot(down, across))


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction of p for several tests (Holm 1979, Scandinavian Journal of Statistics 6:65)."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(1.0, largest)
    return corrected


def _grey_facts(images: Images) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean, standard deviation and mean step of the grey image, each (N,), in levels of 255."""
    facts = []
    for start in range(0, len(images), PART):
        grey = images[start : start + PART] @ LUMA  # (n, H, W)
        steps = (np.abs(np.diff(grey, axis=1)).mean((1, 2)) + np.abs(np.diff(grey, axis=2)).mean((1, 2))) / 2
        facts.append((grey.mean((1, 2)), grey.std((1, 2)), steps))
    brightness, contrast, steps = (np.concatenate(part) for part in zip(*facts, strict=True))
    return brightness, contrast, steps


def _lowest(values: NDArray[np.float64], meaning: str) -> tuple[NDArray[np.bool_], str]:
    """The tenth of the images with the lowest values, and its meaning with the value that it ends at."""
    count = max(1, round(SLICE_SHARE * len(values)))
    order = np.argsort(values, kind="stable")
    inside = np.zeros(len(values), dtype=bool)
    inside[order[:count]] = True
    return inside, meaning.format(abs(values[order[count - 1]]))


def _fisher(wrong: NDArray[np.bool_], inside: NDArray[np.bool_]) -> tuple[float | None, float]:
    """Odds ratio and Fisher's exact two-sided p, which is that of `scipy.stats`; to import that takes 0.3 s."""
    n, mistakes, both = int(inside.sum()), int(wrong.sum()), int((wrong & inside).sum())
    right = len(wrong) - mistakes
    other = mistakes - both, n - both  # mistakes elsewhere, right answers inside
    odds_ratio = both * (right - other[1]) / (other[0] * other[1]) if other[0] * other[1] else None
    k = np.arange(max(0, n - right), min(n, mistakes) + 1)  # so many mistakes could be inside
    logs = _log_binomial(mistakes, k) + _log_binomial(right, n - k)
    chances = np.exp(logs - logs.max())
    unlikely = chances <= chances[k == both] * (1 + 1e-7)  # as unlikely as what is there, or more so
    return odds_ratio, float(chances[unlikely].sum() / chances.sum())


def _log_binomial(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
