from __future__ import annotations

import numpy as np
import pytest

from seefar.errors import DataError
from seefar.evaluation.metrics import fit_temperature, measure_calibration


def synthetic(n: int, temperature: float, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for the labels, which are drawn from the right probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (n, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.random((n, 1)) > probabilities.cumsum(1)).sum(1).clip(max=classes - 1)
    return (temperature * logits).astype(np.float32), labels


def test_the_error_is_the_mean_gap_of_the_bins() -> None:
    """15 bins of two images each: sure of 0.9; in the first five bins one of two is right, else both."""
    confident = np.log(np.array([0.9, 0.1]))
    labels = np.zeros(30, int)
    labels[0:10:2] = 1
    found = measure_calibration(np.tile(confident, (30, 1)), labels)
    assert [one.accuracy for one in found.bins] == [0.5] * 5 + [1.0] * 10
    assert found.bins[0].interval == pytest.approx((0.0945, 0.9055), abs=1e-4)  # Wilson, 1 of 2
    assert found.ece.value == pytest.approx((5 * 0.4 + 10 * 0.1) / 15)
    assert found.brier.value == pytest.approx((25 * 0.02 + 5 * 1.62) / 30)
    assert found.loss == pytest.approx(-(25 * np.log(0.9) + 5 * np.log(0.1)) / 30)
    assert (found.n, found.temperature) == (30, 1.0)
    assert found.accuracy == pytest.approx(25 / 30)
    assert found.confidence == pytest.approx(0.9)


@pytest.mark.parametrize("temperature", [0.5, 2.5])
def test_a_known_temperature_is_found_and_improves_the_calibration(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seefar.evaluation.metrics.RESAMPLES", 200)
    logits, labels = synthetic(5000, temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.06)
    before, after = (measure_calibration(logits, labels, divisor) for divisor in (1.0, found))
    assert before.accuracy == after.accuracy  # no prediction changes
    assert (before.confidence > before.accuracy) == (temperature > 1)  # overconfident
    assert after.ece.interval[0] < after.ece_by_chance < before.ece.interval[0]
    assert after.loss < before.loss


def test_unmeasurable_inputs_are_refused() -> None:
    with pytest.raises(DataError, match=r"labels must be \(2,\)"):
        measure_calibration(np.zeros((2, 3)), np.array([0, 1, 2]))
    with pytest.raises(DataError, match="at least one image"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, int))
