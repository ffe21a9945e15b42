"""The test images that the network gets wrong: all of them, ranked."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seefar.evaluation.predictions import Predictions
from seefar.names import Order
from seefar.runs.files import written_beside


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

    index: int
    true: int
    predicted: int
    confidence: float
    true_probability: float
    loss: float


def find_mistakes(
    predictions: Predictions, order: Order = "loss", *, true: int | None = None, predicted: int | None = None
) -> list[Mistake]:
    """Every mistake, ranked.

    Args:
        predictions: of the whole test set.
        order: `loss`: the least probable true class first; `confidence`: the surest wrong answer first; `index`: as
            the test set lies. Ties keep the order of the test set.
        true: only mistakes on images of this class.
        predicted: only mistakes that name this class.
    """
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
    keys = {"loss": lambda m: -m.loss, "confidence": lambda m: -m.confidence, "index": lambda m: m.index}
    return sorted(mistakes, key=keys[order])


def write_mistakes(
    path: Path,
    mistakes: Sequence[Mistake],
    classes: tuple[str, ...],
    more: Mapping[str, Sequence[object]] | None = None,
) -> None:
    """A CSV with one line a mistake, classes by name.

    Args:
        path: where to.
        mistakes: the lines.
        classes: names of the K classes.
        more: further columns by name, one value a mistake.
    """
    more = more or {}
    with written_beside(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["index", "true", "predicted", "confidence", "true_probability", "loss", *more])
        for number, m in enumerate(mistakes):
            writer.writerow(
                [
                    m.index,
                    classes[m.true],
                    classes[m.predicted],
                    f"{m.confidence:.6f}",
                    f"{m.true_probability:.6g}",
                    f"{m.loss:.6f}",
                    *(column[number] for column in more.values()),
                ]
            )
