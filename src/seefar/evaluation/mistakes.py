"""Mistakes: all images whose predicted class differs from their label, ranked by loss or confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seefar.data.images import find_class
from seefar.errors import DataError, SeefarError
from seefar.evaluation.predictions import Predictions
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
