from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seefar.data import Data
from seefar.data.shapes import load_shapes
from seefar.errors import DivergedError, Interrupted, RunError
from seefar.runs.folder import RunFolder
from seefar.runs.tensors import load_tensors
from seefar.training.history import COLUMNS, HistoryRow, read_history
from seefar.training.loop import train
from seefar.training.progress import Progress
from seefar.training.recipe import RECIPES, Recipe, recipe
from seefar.training.run import Run
from seefar.training.setup import build_batches, build_model, resize


@pytest.fixture(scope="module")
def data() -> Data:
    """70 training images: with batches of 16 an epoch has 5 steps, the last of 6 images."""
    return load_shapes(train=70, test=20)


def small(name: str = "fast", **changes: Any) -> Recipe:
    return recipe(name, **{"width": 2, "epochs": 2, "batch_size": 16, "log_every": 2, "scales": (0.5,), **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(folder / "weights.safetensors")[0]


def train_until(step: int, recipe: Recipe, data: Data, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, and get a SIGTERM when this step of the sitting is done."""
    steps = iter(range(1, 10**9))
    advance = Progress.advance

    def advance_and_stop(self: Progress, images: int, work: float) -> None:
        advance(self, images, work)
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", advance_and_stop)
        train(recipe, data, folder, quiet=True)


def test_the_history_has_every_logged_step_from_the_first_to_the_last(data: Data, tmp_path: Path) -> None:
    run = train(small(held_out=10), data, tmp_path / "run", quiet=True)  # 60 images, 4 steps an epoch
    assert [(row.step, row.epoch) for row in run.history] == [(2, 1), (4, 1), (6, 2), (8, 2)]
    ends = [row for row in run.history if row.step % 4 == 0]
    assert all(row.epoch_accuracy is not None and row.held_out_accuracy is not None for row in ends)
    assert all(row.epoch_accuracy is None for row in run.history if row not in ends)
    assert ends[0].held_out_accuracy in [share / 10 for share in range(11)]
    lines = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 5
    seconds = [row.seconds for row in run.history]
    assert seconds == sorted(seconds)


def test_loss_and_accuracy_are_means_over_the_images_since_the_last_row(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rate so small that nothing is learnt, every row can be computed from the first weights."""
    frozen = small("seed", learning_rate=1e-12, epochs=1)
    run = train(frozen, data, tmp_path / "run", precision="float32", quiet=True)
    model, batches = build_model(frozen, data).train(), build_batches(frozen, data)
    losses, right, count = [], [], []
    for number in range(5):
        batch = batches[0, number]
        logits = model.classify(resize(model.normalize(batch.images), 16))
        losses.append(nn.functional.cross_entropy(logits, batch.labels, reduction="sum").item())
        right.append((logits.argmax(1) == batch.labels).sum().item())
        count.append(len(batch.labels))
    assert count == [16, 16, 16, 16, 6]
    for row, part in zip(run.history, (slice(0, 2), slice(2, 4), slice(4, 5)), strict=True):
        assert row.loss == pytest.approx(sum(losses[part]) / sum(count[part]), rel=1e-4)
        assert row.accuracy == pytest.approx(sum(right[part]) / sum(count[part]))
    assert run.history[-1].epoch_accuracy == pytest.approx(sum(right) / 70)


def test_a_stop_that_is_asked_for_while_a_line_is_logged_is_saved_too(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Progress.log

    def log_and_stop(self: Progress, row: HistoryRow, step_in_epoch: int) -> None:
        log(self, row, step_in_epoch)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Progress, "log", log_and_stop)
    with pytest.raises(Interrupted, match="saved after step 3 of 10"):
        train(small(), data, tmp_path / "run", quiet=True)
    position = json.loads(load_tensors(tmp_path / "run" / "checkpoint.safetensors")[1]["position"])
    assert position["step"] == 3  # it came in step 2 and was heard in the next


def test_a_training_starts_from_fresh_weights(data: Data, tmp_path: Path) -> None:
    """The published log begins at 1.06: its net was trained before. Fresh weights know nothing: about ln 10 = 2.30."""
    first = train(recipe("seed", width=4, epochs=1, log_every=5, batch_size=8), data, tmp_path / "one", quiet=True)
    assert first.history[0].loss == pytest.approx(np.log(10), abs=0.35)
    # A second training in the same process starts there again.
    second = train(recipe("seed", width=4, epochs=1, log_every=5, batch_size=8), data, tmp_path / "two", quiet=True)
    assert second.history[0].loss == first.history[0].loss


def test_a_last_batch_of_one_small_image_is_trained_on(tmp_path: Path) -> None:
    """quick begins at three eighths of the size, which is 6 pixels here; one cell of one image has no variance."""
    whole = load_shapes(train=17, test=10)
    train_split, test_split = (replace(s, images=s.images[:, :16, :16].copy()) for s in (whole.train, whole.test))
    quick = recipe("quick", image_size=16, width=2, batch_size=16)
    run = train(quick, replace(whole, train=train_split, test=test_split), tmp_path / "run", quiet=True)
    assert [row.image_size for row in run.history] == [12, 12, 12, 12, 16]


def test_it_learns(trained: Run) -> None:
    assert trained.history[-1].loss < 0.75 * trained.history[0].loss
    assert trained.history[-1].accuracy > 0.3  # chance is 0.1
    assert not trained.model.training


def test_the_log_has_the_asked_for_lines(data: Data, tmp_path: Path) -> None:
    train(small(log_every=5), data, tmp_path / "run", quiet=True)
    lines = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert any(line.startswith("[1,     5] loss: 2.") for line in lines)
    assert any(line.startswith("[2,     5] loss: ") for line in lines)
    assert sum(line.startswith("Accuracy is: ") for line in lines) == 2
    assert lines[-1].startswith("Finished Training")


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.parametrize("step", [1, 4, 5, 8])
def test_a_stopped_and_continued_training_ends_with_the_same_bits(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: int
) -> None:
    """Steps 1, 4 and 8 lie within an epoch, 4 and 8 between two logged steps too; 5 ends an epoch."""
    whole = train(small(name, log_every=3), data, tmp_path / "whole", quiet=True)
    with pytest.raises(Interrupted, match=f"saved after step {step} of 10"):
        train_until(step, small(name, log_every=3), data, tmp_path / "parts", monkeypatch)
    assert not (tmp_path / "parts" / "weights.safetensors").exists()
    parts = train(small(name, log_every=3), data, tmp_path / "parts", quiet=True)

    files = [tmp_path / name / "weights.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()

    def without_time(run: Run) -> list[dict[str, object]]:
        return [{**vars(row), "seconds": 0} for row in run.history]

    assert without_time(whole) == without_time(parts)
    assert not (tmp_path / "parts" / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL while a checkpoint is being written, as one is after each step, and once more a little later."""
    command = [sys.executable, "-m", "seefar", "train", "demo", "--width", "2", "--epochs", "2"]
    command += ["--checkpoint-minutes", "0", "--name"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    history = tmp_path / "parts" / "history.csv"
    for wait in (0.0, 0.2):
        rows = len(history.read_text().splitlines()) if history.exists() else 0
        with subprocess.Popen([*command, str(tmp_path / "parts")], stderr=subprocess.DEVNULL) as process:
            while not history.exists() or len(history.read_text().splitlines()) < rows + 2:
                assert process.poll() is None
                time.sleep(0.005)
            time.sleep(wait)
            process.kill()
        assert not (tmp_path / "parts" / "weights.safetensors").exists()
    subprocess.run([*command, str(tmp_path / "parts")], check=True, capture_output=True)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[key], other[key]) for key in one)
    steps = [row.step for row in read_history(history)]
    assert steps == [row.step for row in read_history(tmp_path / "whole" / "history.csv")]


def test_a_finished_run_is_read_back_and_not_trained_again(data: Data, tmp_path: Path) -> None:
    first = train(small(), data, tmp_path / "run", quiet=True)
    changed = (tmp_path / "run" / "log.txt").stat().st_mtime_ns
    again = train(small(), data, tmp_path / "run", quiet=True)
    assert again.history == first.history
    assert (tmp_path / "run" / "log.txt").stat().st_mtime_ns == changed


def test_another_recipe_or_other_data_in_the_same_folder_is_refused(data: Data, tmp_path: Path) -> None:
    train(small(), data, tmp_path / "run", quiet=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(RunError, match=r"another recipe \(epochs 3, not 2\).*new name"):
        train(small(epochs=3), data, tmp_path / "run", quiet=True)
    with pytest.raises(RunError, match="other images"):
        train(small(), load_shapes(70, 20, seed=1), tmp_path / "run", quiet=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_loss_that_is_not_finite_stops_the_training_and_says_where(data: Data, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"between steps \d+ and \d+ .*lower --learning-rate"):
        train(small(learning_rate=1e30, epochs=4), data, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.parametrize("damage", ["truncated", "other network", "no position"])
def test_a_damaged_checkpoint_is_named(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    with pytest.raises(Interrupted):
        train_until(3, small(), data, tmp_path / "run", monkeypatch)
    path = RunFolder(tmp_path / "run").checkpoint
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        from seefar.runs.tensors import save_tensors

        tensors, metadata = load_tensors(path)
        if damage == "other network":
            tensors["model.fc.weight"] = torch.zeros(100, 16)
        save_tensors(path, tensors, metadata if damage == "other network" else {})
    with pytest.raises(RunError, match=r"checkpoint\.safetensors"):
        train(small(), data, tmp_path / "run", quiet=True)


def test_the_signal_handlers_are_put_back(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted):
        train_until(1, small(), data, tmp_path / "run", monkeypatch)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
