"""The search for a better `fast`, on the CPU: its design, what follows from figures, two epochs of narrow networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import search
import seefar
from seefar.data.images import Data
from seefar.data.shapes import load_shapes
from seefar.training.device import Compute

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
