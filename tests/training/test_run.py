"""Folders of trainings: which one is taken, what is read back, what does not belong together, what is written first."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_job import TINY, At, Lines

from seefar.data import Data
from seefar.data.shapes import load_shapes
from seefar.errors import ChoiceError, RunError
from seefar.model.adapt import adapt
from seefar.pipeline import evaluate_run
from seefar.progress import SILENT
from seefar.runs.arrays import load_tensors, save_tensors
from seefar.runs.folder import RunFolder, verify
from seefar.training.loop import train
from seefar.training.run import Run, load_run, open_run
from seefar.training.state import read_history


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> RunFolder:
    """A finished training, and nothing else."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    for name in ("recipe.json", "data.json", "history.csv", "log.txt", "weights.safetensors"):
        shutil.copy(finished / name, folder.path)
    return folder


def times(folder: RunFolder) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir() if path.name != ".lock"}


def test_a_finished_training_is_completed_only_once(folder: RunFolder, few: Data) -> None:
    """A kill between the weights and the manifest leaves neither a manifest nor, perhaps, a checkpoint."""
    folder.checkpoint.touch()
    for _ in range(2):
        before = times(folder)
        train(TINY, few, folder.path, progress=SILENT)
        assert verify(folder) == []
        assert not folder.checkpoint.exists()
    assert times(folder) == before
    manifest = json.loads(folder.manifest.read_text(encoding="utf-8"))
    folder.manifest.write_text(json.dumps({**manifest, "finished": False}))
    train(TINY, few, folder.path, progress=SILENT)
    assert verify(folder) == []


def test_the_manifest_has_every_session_also_those_that_were_killed(few: Data, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(ZeroDivisionError):
        train(TINY, few, folder.path, precision="bfloat16", checkpoint_minutes=0, progress=At(2, lambda: 1 // 0))
    assert "finished" in verify(folder)[0]
    train(TINY, few, folder.path, precision="float32", progress=SILENT)
    sessions = json.loads(folder.manifest.read_text(encoding="utf-8"))["training"]["sessions"]
    assert [one["precision"] for one in sessions] == ["bfloat16", "float32"]
    assert verify(folder) == []


def test_without_a_name_the_folder_is_that_of_the_same_training_or_the_next_free_one(
    finished: Path, few: Data, in_folder: Path
) -> None:
    longer, other, lines = replace(TINY, epochs=3), load_shapes(50, 20), Lines()
    demo, free = RunFolder(Path("runs/demo")), RunFolder(Path("runs/demo-2"))
    shutil.copytree(finished, demo.path)
    before = times(demo)
    assert train(TINY, few, progress=lines).folder == demo
    assert lines.found == []
    assert open_run(longer, few) == open_run(TINY, other) == free
    assert train(longer, few, progress=lines).folder == free
    assert all(part in lines.found[0] for part in ("epochs 3, not 2", "runs/demo ", "runs/demo-2"))
    assert (open_run(longer, few), open_run(longer, other)) == (free, RunFolder(Path("runs/demo-3")))
    names = ("zebra", *few.classes[1:])  # the fingerprint is of images and labels only
    renamed = replace(few, **{part: replace(getattr(few, part), classes=names) for part in ("train", "test")})
    cases = ((longer, few, "epochs 3, not 2"), (TINY, other, "other images"), (TINY, renamed, "zebra"))
    for recipe, data, reason in cases:
        with pytest.raises(RunError, match=reason):
            train(recipe, data, "demo", progress=SILENT)
    assert times(demo) == before


def test_weights_that_are_damaged_or_of_another_training_are_named(folder: RunFolder) -> None:
    """Each has a checksum that fits; a width of 4096 would take 45 GB."""
    tensors, about = load_tensors(folder.weights)
    strange: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({**tensors, "fc.weight": torch.zeros(7, 7)}, about),
        (tensors, {}),
        (tensors, {**about, "classes": [1, None]}),
        (tensors, {**about, "recipe": replace(TINY, width=4096).to_json()}),
    ]
    for found in strange:
        save_tensors(folder.weights, *found)
        with pytest.raises(RunError, match=r"weights\.safetensors"):
            load_run(folder)
    os.truncate(folder.weights, 0)
    with pytest.raises(RunError, match=r"weights\.safetensors"):
        load_run(folder)


def test_a_damaged_history_is_a_warning_and_a_last_line_that_a_kill_cut_off_is_passed_over(folder: RunFolder) -> None:
    rows, text = read_history(folder.history), folder.history.read_text()
    folder.history.write_text(text[:-20])
    assert read_history(folder.history) == rows[:-1]
    for content in ("", "step,epoch", "a,b\n1,2\n", text.replace("1,1,", "one,1,")):
        folder.history.write_text(content)
        with pytest.warns(UserWarning, match=r"history\.csv"):
            loaded = load_run(folder)
        assert (loaded.history, loaded.recipe) == ([], TINY)


@pytest.mark.slow
def test_a_run_is_evaluated_in_the_precision_that_is_chosen_or_in_that_of_the_folder(
    run: Run, few: Data, coarse: None
) -> None:
    exact, rounded = (load_run(run.folder, "cpu", precision) for precision in ("float32", "bfloat16"))
    one = adapt(exact.model).logits(few.test.images)
    other = evaluate_run(rounded, few, progress=SILENT).predictions
    assert other.model == exact.fingerprint
    assert 1e-4 < np.abs(one - other.logits).max() < 0.05 * np.abs(one).max()
    assert all(len(np.unique(row)) == len(row) for row in other.logits)  # the head is float32: no two logits tie
    assert load_run(run.folder, "cpu", None).model.in_bfloat16
    assert np.array_equal(evaluate_run(exact, few, progress=SILENT).predictions.logits, one)
    assert not load_run(run.folder, "cpu", None).model.in_bfloat16
    with pytest.raises(ChoiceError):
        load_run(run.folder, "cpu", "float16")  # type: ignore[arg-type]
