"""The search for a better `fast`, on the CPU: its design, what follows from figures, two epochs of narrow networks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import search
import seefar
from seefar.data.images import Data
from seefar.data.shapes import load_shapes
from seefar.training.device import Compute

BASE = search.Trial(seefar.recipe("fast", held_out=search.HELD_OUT))
TINY = search.Trial(seefar.recipe("fast", width=2, epochs=2, batch_size=20, held_out=20, data="shapes"))
CPU = Compute(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def few() -> Data:
    return load_shapes(60, 20)


@pytest.mark.parametrize(
    "changes", [{"average": True, "whitened": True}, {"muon_rate": 0.1}], ids=["average and stem", "Muon"]
)
def test_what_no_recipe_has_trains(few: Data, changes: dict[str, Any]) -> None:
    trial = replace(TINY, **changes)
    one, again = (search.train_once(trial, few, CPU, on_test=False) for _ in range(2))
    assert one["accuracy"] == again["accuracy"]  # nothing is drawn from a global state
    assert one["accuracy"] in [5 * right for right in range(21)]


def test_the_search_resumes_after_the_runs_that_its_file_has(
    few: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "search.jsonl"
    rows = search.search(path, TINY, few, CPU, [0])
    assert [row["name"] for row in rows] == ["as it is, 1", "as it is, 2"]
    assert [json.loads(line) for line in path.read_text().splitlines()] == json.loads(json.dumps(rows))
    path.write_text(path.read_text().splitlines()[0] + "\n")  # a kill after the first
    trained: list[int] = []
    monkeypatch.setattr(search, "train_once", lambda trial, *_, **__: trained.append(trial.recipe.seed) or {})
    assert [row["name"] for row in search.search(path, TINY, few, CPU, [0])] == ["as it is, 1", "as it is, 2"]
    assert trained == [2]
    assert "as it is, 2" in search.log_entry(rows)
