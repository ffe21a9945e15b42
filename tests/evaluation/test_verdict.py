from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from seefar.evaluation.predictions import Predictions
from seefar.evaluation.verdict import (
    CLOSE,
    DOUBTFUL,
    ONE_RUN,
    RUNS,
    Rule,
    count_faults,
    judge,
)

RESULT = Path(__file__).parents[2] / "results" / "verdicts.json"


def predictions(shares: list[list[float]], labels: list[int]) -> Predictions:
    """Predictions with these probabilities; many right ones keep the fitted temperature near 1."""
    confident = np.tile([[0.9, 0.06, 0.04]], (90, 1))
    wrong = np.tile([[0.9, 0.06, 0.04]], (10, 1))
    logits = np.log(np.concatenate([shares, confident, wrong])).astype(np.float32)
    truth = np.array([*labels, *[0] * 90, *[1] * 6, *[2] * 4])
    return Predictions(logits, np.zeros((len(truth), 0), np.float32), truth, ("cat", "dog", "frog"), "", "")


def test_the_probability_of_the_label_decides_for_a_single_run() -> None:
    found = judge(predictions([[0.7, 0.29, 0.01], [0.9, 0.0999, 0.0001], [0.98, 0.001, 0.019]], [1, 1, 1]))
    assert [one.fault for one in found[:3]] == ["model", "unknown", "label"]
    assert [(one.index, one.true, one.predicted) for one in found[:3]] == [(0, 1, 0), (1, 1, 0), (2, 1, 0)]
    assert set(count_faults(found)) == {"errors", "label", "model", "unknown"}


def test_other_runs_decide_where_there_are_some() -> None:
    mine = predictions([[0.7, 0.29, 0.01]] * 3 + [[0.998, 0.001, 0.001]], [1, 1, 1, 1])
    right = mine.labels
    other = np.where(np.isin(np.arange(len(right)), [1, 2, 3]), 0, right)
    third = np.where(np.isin(np.arange(len(right)), [2, 3]), 0, right)
    found = judge(mine, others=[other, third])
    assert [one.fault for one in found[:4]] == ["model", "unknown", "hard", "label"]
    assert "2 of 2 other runs" in found[2].sentence
    assert set(count_faults(found)) == {"errors", "label", "hard", "model", "unknown"}


def test_a_near_duplicate_with_another_label_makes_the_label_doubtful() -> None:
    found = judge(predictions([[0.7, 0.29, 0.01]] * 2, [1, 1]), copies={0: 2, 1: 1})
    assert [one.fault for one in found[:2]] == ["label", "model"]
    assert "frog" in found[0].sentence


def test_classes_without_probabilities_decide_nothing_alone() -> None:
    mine = predictions([[0.7, 0.29, 0.01]], [1])
    classes = Predictions(np.eye(3, dtype=np.float32)[mine.predicted], mine.features, mine.labels, mine.classes, "", "")
    assert {one.fault for one in judge(classes)} == {"unknown"}
    assert {one.fault for one in judge(classes, others=[mine.labels] * 2)} == {"model"}


def test_an_inaccurate_model_is_no_evidence_against_a_label() -> None:
    logits = np.log(np.tile([[0.998, 0.001, 0.001], [0.9, 0.05, 0.05]], (20, 1))).astype(np.float32)
    labels = np.tile([1, 0], 20)
    found = judge(Predictions(logits, np.zeros((40, 0), np.float32), labels, ("cat", "dog", "frog"), "", ""))
    assert {one.fault for one in found} == {"unknown"}


@pytest.mark.parametrize(("rule", "network"), [(ONE_RUN, "fast"), (RUNS, "fast with two others")])
def test_the_reliability_is_the_measured_one(rule: Rule, network: str) -> None:
    """Thresholds, verdicts and shares are those of `benchmarks/verdicts.py`; each is better than chance."""
    measured = json.loads(RESULT.read_text(encoding="utf-8"))
    assert measured["chosen"] == {"DOUBTFUL": DOUBTFUL, "CLOSE": CLOSE}
    rows = {fault: row for fault, row in measured["networks"][network]["rule"]["verdicts"].items() if row["given"]}
    assert list(rows) == [fault for fault in rule.meaning if fault != "unknown"]
    for row in rows.values():
        low, high = row["precision"]["interval"]
        assert f"{row['precision']['share']:.0%} ({100 * low:.0f}-{100 * high:.0f}%)" in rule.reliability
        assert f"{row['by_chance']:.0%}" in rule.reliability
        assert low > row["by_chance"]
