"""Findings of a run drawn: what the figures show is what was found."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import seefar
from seefar import findings
from seefar.runs.folder import RunFolder


def test_the_bars_of_faults_are_the_four_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(findings, "plot_faults", drawn.append)
    monkeypatch.setattr(findings, "save_figure", lambda _path, _figure: None)
    logits = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    predictions = seefar.Predictions(logits, logits, np.array([0, 1, 0]), ("a", "b"), "weights", "images")
    evaluation = seefar.Evaluation.of(predictions)
    calibration = seefar.measure_calibration(logits, predictions.labels)
    verdicts = [SimpleNamespace(fault=fault) for fault in ("model", "label", "model")]
    found = findings.Findings(SimpleNamespace(verdicts=verdicts), calibration, None)
    findings.draw_findings(RunFolder(tmp_path), evaluation, found)
    assert drawn == [{"label": 1, "ambiguous": 0, "hard": 0, "model": 2}]
