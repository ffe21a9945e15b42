from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seefar.errors import RunError
from seefar.runs.folder import find_run
from seefar.runs.tensors import load_tensors, save_tensors
from seefar.training.history import read_history
from seefar.training.run import Run, load_run


def test_a_bare_name_lies_under_runs_and_a_path_where_it_says() -> None:
    assert find_run("mine").path == Path("runs") / "mine"
    assert find_run("./mine").path == Path("mine")
    assert find_run("deep/mine").path == Path("deep") / "mine"
    assert find_run("/tmp/mine").path == Path("/tmp/mine")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(RunError, match="no name for a run"):
        find_run(name)


def test_a_run_is_read_back_as_it_was(run: Run, trained: Run) -> None:
    assert (run.recipe, run.classes, run.history) == (trained.recipe, trained.classes, trained.history)
    pairs = zip(run.model.state_dict().values(), trained.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_recipe_that_was_changed_afterwards_is_told(run: Run) -> None:
    path = run.folder.recipe
    path.write_text(path.read_text().replace('"epochs": 4', '"epochs": 40'))
    with pytest.raises(RunError, match=r"not what the weights were trained with \(epochs 40, not 4\)"):
        load_run(run.folder)


@pytest.mark.parametrize("damage", ["truncated", "empty", "another file", "another network"])
def test_damaged_weights_are_named(run: Run, damage: str) -> None:
    path = run.folder.weights
    tensors, metadata = load_tensors(path)
    if damage == "another network":
        save_tensors(path, {**tensors, "fc.weight": torch.zeros(7, 7)}, metadata)
    elif damage == "another file":
        save_tensors(path, tensors, {})
    else:
        path.write_bytes(path.read_bytes()[: 1000 if damage == "truncated" else 0])
    with pytest.raises(RunError, match=r"weights\.safetensors"):
        load_run(run.folder)


def test_a_history_without_rows_or_with_other_columns_is_named(run: Run) -> None:
    path = run.folder.history
    header = path.read_text().splitlines(keepends=True)[0]
    for content in (header, "", header[:10], "a,b\n1,2\n", header + "x,1,1,1,1,1,1,,\n", header + "1,1,1,1,1,,1,,\n"):
        path.write_text(content)
        with pytest.raises(RunError, match=r"history\.csv"):
            load_run(run.folder)


def test_a_last_line_that_a_kill_cut_off_is_passed_over(run: Run) -> None:
    path = run.folder.history
    path.write_text(path.read_text()[:-20])
    assert read_history(path) == run.history[:-1]


def test_a_missing_run_names_its_neighbours(run: Run) -> None:
    with pytest.raises(RunError, match=r"holds no run \(its neighbours are run\)"):
        load_run(run.folder.path.parent / "rum")
