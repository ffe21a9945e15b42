"""`seefar run --seeds N`: further seeds are runs of their own, and join the first one as evidence."""

from __future__ import annotations

import csv
import json
import statistics

import pytest
from tiny_job import TINY

import seefar
from seefar.artifacts import SEEDS, read_store
from seefar.data import Data
from seefar.evaluation.predictions import Predictions
from seefar.training.run import Run


@pytest.mark.slow
def test_the_runs_are_joined_and_kept(tiny: Run, few: Data) -> None:
    """The first run is finished already; two further ones are trained, and their predictions are evidence."""
    folder = tiny.folder
    result = seefar.run(TINY, few, folder.path, seeds=3, top=2, progress=seefar.SILENT)
    paths = [folder.path.with_name(name) for name in ("tiny", "tiny-seed-1", "tiny-seed-2")]
    assert [seefar.load_run(path).recipe.seed for path in paths] == [0, 1, 2]
    right = [Predictions.load(path / "predictions.npz").predicted == few.test.labels for path in paths]

    metrics = json.loads(folder.metrics.read_text())
    assert metrics["seeds"] == pytest.approx([one.mean() for one in right])
    assert f"standard deviation {statistics.stdev(metrics['seeds']):.2%}" in "\n".join(result.analysis.lines)
    assert result.leaks is not None
    assert metrics["leaks"] == json.loads(json.dumps(result.leaks.summary))
    assert metrics["fault_rule"]["name"] == "evidence of several runs"
    with folder.mistakes.open(newline="") as file:
        rows = {int(row["index"]): row for row in csv.DictReader(file)}
    assert {row["fault_rule"] for row in rows.values()} == {"evidence of several runs"}
    missed = {index: sum(not bool(one[index]) for one in right[1:]) for index in rows}
    assert all(f"{missed[index]} of 2 other runs" in row["fault_reason"] for index, row in rows.items())
    assert seefar.verify(folder.path) == []

    seefar.report_run(seefar.load_run(folder.path), few, progress=seefar.SILENT)  # knows no other runs, and keeps them
    store = read_store(seefar.load_run(folder.path))
    assert store.peek(SEEDS).names == ("tiny-seed-1", "tiny-seed-2")
    assert json.loads(folder.metrics.read_text()) == metrics
