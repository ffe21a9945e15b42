from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seefar.data import Data
from seefar.errors import ChoiceError, DataError
from seefar.evaluation.mistakes import find_mistakes
from seefar.evaluation.predictions import Predictions, predict
from seefar.progress import SILENT
from seefar.training.run import Run

# Four images, three classes, as probabilities. 0 is right; 1 and 2 are wrong and sure; 3 is wrong and unsure.
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.8, 0.15, 0.05], [0.1, 0.6, 0.3], [0.4, 0.35, 0.25]])
LABELS = np.array([0, 2, 2, 1])
CLASSES = ("cat", "dog", "ship")


def predictions_of(logits: Any) -> Predictions:
    return Predictions(
        logits.astype(np.float32), np.zeros((4, 1), np.float32), LABELS, CLASSES, model="weights", images="pictures"
    )


PREDICTIONS = predictions_of(np.log(PROBABILITIES))


def test_all_mistakes_with_both_classes_and_both_probabilities() -> None:
    mistakes = find_mistakes(PREDICTIONS, order="index")
    assert [(m.index, m.true, m.predicted) for m in mistakes] == [(1, 2, 0), (2, 2, 1), (3, 1, 0)]
    assert [m.confidence for m in mistakes] == pytest.approx([0.8, 0.6, 0.4], rel=1e-5)
    assert [m.true_probability for m in mistakes] == pytest.approx([0.05, 0.3, 0.35], rel=1e-5)
    assert [m.loss for m in mistakes] == pytest.approx(-np.log([0.05, 0.3, 0.35]), rel=1e-5)


def test_orders() -> None:
    assert [m.index for m in find_mistakes(PREDICTIONS)] == [1, 2, 3]  # loss: true probability 0.05, 0.3, 0.35
    logits = PREDICTIONS.logits.copy()
    logits[3] = np.log([0.9, 0.1, 1e-9])
    sure = predictions_of(logits)
    assert [m.index for m in find_mistakes(sure, "confidence")] == [3, 1, 2]
    assert [m.index for m in find_mistakes(sure, "loss")] == [1, 3, 2]


def test_choosing_classes() -> None:
    assert [m.index for m in find_mistakes(PREDICTIONS, true=2)] == [1, 2]
    assert [m.index for m in find_mistakes(PREDICTIONS, predicted=0)] == [1, 3]
    assert [m.index for m in find_mistakes(PREDICTIONS, true=2, predicted=0)] == [1]
    assert find_mistakes(PREDICTIONS, true=0) == []


def test_choosing_classes_by_name() -> None:
    assert [m.index for m in find_mistakes(PREDICTIONS, true="ship")] == [1, 2]
    assert [m.index for m in find_mistakes(PREDICTIONS, true="ship", predicted="cat")] == [1]


@pytest.mark.parametrize("wrong", ["dgo", 3, -1, True])
def test_a_class_that_is_not_there_is_refused(wrong: str | int) -> None:
    with pytest.raises(DataError, match=r"no class .*cat, dog, ship"):
        find_mistakes(PREDICTIONS, predicted=wrong)


def test_the_class_that_was_meant_is_proposed() -> None:
    with pytest.raises(DataError, match=r"'dog'\?"):
        find_mistakes(PREDICTIONS, true="dgo")


def test_one_class_taken_for_itself_is_refused() -> None:
    with pytest.raises(DataError, match="choose two different classes"):
        find_mistakes(PREDICTIONS, true="cat", predicted=0)


def test_an_unknown_order_lists_what_there_is() -> None:
    with pytest.raises(ChoiceError, match="order='conf' is unknown: choose one of loss, confidence, index"):
        find_mistakes(PREDICTIONS, "conf")  # type: ignore[arg-type]


def test_none_is_missed(trained: Run, shapes: Data) -> None:
    """One by one over the whole test set, not one a batch."""
    predictions = predict(trained.model, shapes.test, progress=SILENT)
    wrong = {i for i in range(150) if predictions.logits[i].argmax() != shapes.test.labels[i]}
    assert len(wrong) > 5
    assert {m.index for m in find_mistakes(predictions)} == wrong
    assert all(m.true == shapes.test.labels[m.index] for m in find_mistakes(predictions))
