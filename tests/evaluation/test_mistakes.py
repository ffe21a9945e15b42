from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from seefar.data import Data
from seefar.evaluation.mistakes import find_mistakes, write_mistakes
from seefar.evaluation.predictions import Predictions, predict
from seefar.training.run import Run

# Four images, three classes, as probabilities. 0 is right; 1 and 2 are wrong and sure; 3 is wrong and unsure.
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.8, 0.15, 0.05], [0.1, 0.6, 0.3], [0.4, 0.35, 0.25]])
LABELS = np.array([0, 2, 2, 1])
PREDICTIONS = Predictions(np.log(PROBABILITIES).astype(np.float32), np.zeros((4, 1), np.float32), LABELS)


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
    sure = Predictions(logits, PREDICTIONS.features, LABELS)
    assert [m.index for m in find_mistakes(sure, "confidence")] == [3, 1, 2]
    assert [m.index for m in find_mistakes(sure, "loss")] == [1, 3, 2]


def test_choosing_classes() -> None:
    assert [m.index for m in find_mistakes(PREDICTIONS, true=2)] == [1, 2]
    assert [m.index for m in find_mistakes(PREDICTIONS, predicted=0)] == [1, 3]
    assert [m.index for m in find_mistakes(PREDICTIONS, true=2, predicted=0)] == [1]
    assert find_mistakes(PREDICTIONS, true=0) == []


def test_none_is_missed(trained: Run, shapes: Data) -> None:
    """One by one over the whole test set, not one a batch."""
    predictions = predict(trained.model, shapes.test)
    wrong = {i for i in range(150) if predictions.logits[i].argmax() != shapes.test.labels[i]}
    assert len(wrong) > 5
    assert {m.index for m in find_mistakes(predictions)} == wrong
    assert all(m.true == shapes.test.labels[m.index] for m in find_mistakes(predictions))


def test_the_csv_names_index_and_both_classes(tmp_path: Path) -> None:
    write_mistakes(tmp_path / "mistakes.csv", find_mistakes(PREDICTIONS), ("cat", "dog", "ship"))
    with (tmp_path / "mistakes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["index"], row["true"], row["predicted"]) for row in rows] == [
        ("1", "ship", "cat"),
        ("2", "ship", "dog"),
        ("3", "dog", "cat"),
    ]
    assert float(rows[0]["confidence"]) == pytest.approx(0.8, abs=1e-6)
    assert float(rows[0]["true_probability"]) == pytest.approx(0.05, abs=1e-6)
