"""The search for a better `fast`, on the CPU: its design, what follows from figures, two epochs of narrow networks."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import search
import seefar
from seefar.data.images import Data
from seefar.data.shapes import load_shapes
from seefar.model.resnet import ResNet18
from seefar.training.device import Compute

BASE = search.Trial(seefar.recipe("fast", held_out=search.HELD_OUT))
TINY = search.Trial(seefar.recipe("fast", width=2, epochs=2, batch_size=20, held_out=20, data="shapes"))
CPU = Compute(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def few() -> Data:
    return load_shapes(60, 20)


def test_the_design_separates_each_factor_from_the_others_and_from_pairs() -> None:
    rows = np.array(search.design())
    assert rows.shape == (16, 8)
    np.testing.assert_array_equal(rows.T @ rows, 16 * np.eye(8))
    for one, other in combinations(range(8), 2):  # resolution IV
        assert not (rows.T @ (rows[:, one] * rows[:, other])).any()
    planted = 94 + 0.3 * rows[:, 0] - 0.1 * rows[:, 4]
    assert search.effects(planted.tolist()) == pytest.approx([0.6, 0, 0, 0, -0.2, 0, 0, 0])


def found(stage: int, figures: dict[str, float]) -> list[dict[str, Any]]:
    return [{"stage": stage, "name": name, "accuracy": accuracy} for name, accuracy in figures.items()]


def test_each_stage_follows_from_the_figures_of_those_before() -> None:
    """Cutout is worth 0.6 points and nothing else anything: 94.3 is predicted, and Muon's best may be 94.2."""
    rows = found(1, {f"design {n}": 94 + 0.3 * row[0] for n, row in enumerate(search.design())})
    stage = search.plan(2, BASE, rows)
    for name, accuracy in (("Muon 0.05", 94.0), ("Muon 0.1", 94.1), ("Muon 0.2", 93.0)):
        trial = next(stage)
        assert trial[0] == name
        assert (trial[1].recipe.cutout, trial[1].recipe.batch_size, trial[1].recipe.label_smoothing) == (8, 512, 0.1)
        rows += found(2, {name: accuracy})
    (last,) = stage
    assert (last[0], last[1].muon_rate, last[1].muon_momentum) == ("Muon 0.1, momentum 0.9", 0.1, 0.9)
    lost, close = (rows + found(2, {last[0]: accuracy}) for accuracy in (94.15, 94.25))
    assert {name.split(",")[0] for name, _ in search.plan(3, BASE, lost)} == {"as it is", "SGD"}
    runs = dict(search.plan(3, BASE, close))
    assert len(runs) == 9
    assert (runs["Muon, 41"].muon_momentum, runs["Muon, 41"].recipe.seed) == (0.9, 41)
    for lead, best in ((0.24, "as it is"), (0.26, "SGD")):
        means = {"as it is": 94.0, "SGD": 94.0 + lead, "Muon": 93.9}
        third = found(3, {name: means[name.split(",")[0]] for name in runs})
        last_stage = list(search.plan(4, BASE, close + third))
        assert [name for name, _ in last_stage] == [f"{best}, all images, {seed}" for seed in range(5)]
        assert {trial.recipe.held_out for _, trial in last_stage} == {0}


def test_newton_schulz_gives_singular_values_near_one() -> None:
    for shape in ((8, 36), (36, 8)):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        left, values, right = torch.linalg.svd(search.orthogonal(matrix, iterations=5), full_matrices=False)
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        np.testing.assert_allclose((left @ right).numpy(), (u @ v).numpy(), atol=1e-3)


def test_muon_keeps_the_norm_of_filters_and_moves_them_by_its_rate() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 2, 3, 3))
    muon = search.Muon([weight], 0.6)
    before = weight.detach() * (2 / weight.detach().norm())  # sqrt(4)
    weight.grad = torch.randn(4, 2, 3, 3)
    muon.rate.fill_(0.5)
    muon.step()
    expected = before - 0.5 * search.orthogonal(weight.grad.flatten(1)).view_as(
        before
    )  # of 1.6 times as much: the same
    np.testing.assert_allclose(weight.detach().numpy(), expected.numpy(), atol=1e-5)


def test_filters_of_a_whitened_stem_give_what_is_not_correlated(few: Data) -> None:
    net = ResNet18(width=64).eval()
    drawn = net.conv1.weight.detach().clone()
    search.whiten_stem(net, torch.from_numpy(few.train.images))
    filters = net.conv1.weight.detach()
    np.testing.assert_array_equal(filters[:27].numpy(), -filters[27:54].numpy())
    np.testing.assert_array_equal(filters[54:].numpy(), drawn[54:].numpy())
    outputs = torch.nn.functional.conv2d(net.normalize(torch.from_numpy(few.train.images)), filters[:27])
    rows = outputs.detach().transpose(0, 1).flatten(1).double()
    products = rows @ rows.T / rows.shape[1]
    scale = products.diagonal().sqrt()
    assert ((products / scale / scale[:, None] - torch.eye(27)).abs() < 1e-3).all()


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
