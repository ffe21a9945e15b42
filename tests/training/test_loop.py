from __future__ import annotations

import itertools
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
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
from seefar.errors import ChoiceError, DataError, Interrupted, RecipeError, RunError
from seefar.progress import SILENT, Silent
from seefar.runs.arrays import load_tensors, save_tensors
from seefar.runs.folder import RunFolder
from seefar.training import loop
from seefar.training.history import COLUMNS, read_history
from seefar.training.loop import build_batches, build_model, build_optimizer, resize, train
from seefar.training.recipe import Recipe, recipe
from seefar.training.state import Tally, TrainingState


@pytest.fixture(scope="module")
def data() -> Data:
    """70 training images: with batches of 16 an epoch has 5 steps, the last of 6 images."""
    return load_shapes(train=70, test=20)


def small(name: str = "fast", **changes: Any) -> Recipe:
    return recipe(name, **{"width": 2, "epochs": 2, "batch_size": 16, "log_every": 2, "scales": (0.5,), **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(folder / "weights.safetensors")[0]


class Stop(Silent):
    """Sends this process a signal when a step of the session is done."""

    def __init__(self, step: int) -> None:
        self.left = step

    def update(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def test_the_history_has_every_logged_step_from_the_first_to_the_last(data: Data, tmp_path: Path) -> None:
    run = train(small(held_out=10), data, tmp_path / "run", progress=SILENT)  # 60 images, 4 steps an epoch
    assert [(row.step, row.epoch) for row in run.history] == [(2, 1), (4, 1), (6, 2), (8, 2)]
    ends = [row for row in run.history if row.step % 4 == 0]
    assert all(row.epoch_accuracy is not None and row.held_out_accuracy is not None for row in ends)
    assert all(row.epoch_accuracy is None for row in run.history if row not in ends)
    assert ends[0].held_out_accuracy in [share / 10 for share in range(11)]
    lines = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 5
    log = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert any(line.startswith("[1,     2] loss: 2.") for line in log)
    assert sum(line.startswith("Accuracy is: ") for line in log) == 2
    assert log[-1].startswith("Finished Training")


def test_loss_and_accuracy_are_means_over_the_images_since_the_last_row(data: Data, tmp_path: Path) -> None:
    """With a rate so small that nothing is learnt, every row can be computed from the first weights."""
    frozen = small("seed", learning_rate=1e-12, epochs=1)
    run = train(frozen, data, tmp_path / "run", precision="float32", progress=SILENT)
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


def test_a_stop_in_the_last_step_is_reported_and_the_signal_handlers_are_restored(data: Data, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="trained and saved"):
        train(small(), data, tmp_path / "run", progress=Stop(10))
    assert (tmp_path / "run" / "weights.safetensors").exists()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert train(small(), data, tmp_path / "run", progress=SILENT).history[-1].step == 10


def test_a_training_starts_from_fresh_weights(data: Data, tmp_path: Path) -> None:
    """Their loss is about ln 10, also of a second training in the process; the caller's random state is not used."""
    short, state = recipe("seed", width=4, epochs=1, log_every=5, batch_size=8), torch.random.get_rng_state()
    first, second = (train(short, data, tmp_path / name, progress=SILENT).history[0].loss for name in ("one", "two"))
    assert first == second == pytest.approx(np.log(10), abs=0.35)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_last_batch_of_one_small_image_is_trained_on(tmp_path: Path) -> None:
    """Of 6 pixels, three eighths of 16, the last stage would make one cell, which has no variance. Blue is constant."""
    whole = load_shapes(train=17, test=10)
    images = whole.train.images[:, :16, :16].copy()
    images[..., 2] = 0
    quick = recipe("quick", image_size=16, width=2, batch_size=16)
    split = replace(whole.train, images=images, masks=None)
    run = train(quick, Data("narrow", split, split), tmp_path / "run", progress=SILENT)
    assert [row.image_size for row in run.history] == [12, 12, 12, 12, 16]
    assert all(math.isfinite(row.loss) for row in run.history)
    assert run.model.normalize.std.flatten()[2] == 1


@pytest.mark.parametrize(("name", "step"), [("fast", 4), ("quick", 5), ("seed", 8), ("demo", 1)])
def test_a_stopped_and_continued_training_ends_with_the_same_bits(
    data: Data, tmp_path: Path, name: str, step: int
) -> None:
    """Steps 1, 4 and 8 lie within an epoch, 4 and 8 between two logged steps too; 5 ends an epoch."""
    whole = train(small(name, log_every=3), data, tmp_path / "whole", progress=SILENT)
    with pytest.raises(Interrupted, match=f"saved after step {step} of 10"):
        train(small(name, log_every=3), data, tmp_path / "parts", progress=Stop(step))
    assert not (tmp_path / "parts" / "weights.safetensors").exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
    parts = train(small(name, log_every=3), data, tmp_path / "parts", progress=SILENT)

    files = [tmp_path / name / "weights.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    without_time = [[replace(row, seconds=0) for row in run.history] for run in (whole, parts)]
    assert without_time[0] == without_time[1]
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


def test_a_loss_that_is_not_finite_stops_the_training_and_says_where(data: Data, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"at step \d+ .*choose a lower learning_rate"):
        train(small(learning_rate=1e30, epochs=4), data, tmp_path / "run", progress=SILENT)
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_weights_that_the_last_step_broke_are_not_saved(data: Data, tmp_path: Path) -> None:
    """The loss of a step is that of the weights before it."""

    class BreakTheLast(torch.optim.SGD):
        steps = 0

        def step(self) -> None:
            super().step()
            self.steps += 1
            if self.steps == 10:
                self.param_groups[0]["params"][3].data.fill_(float("inf"))

    with pytest.raises(RunError, match=r"infinite or NaN .*choose a lower learning_rate"):
        train(small(), data, tmp_path / "run", optimizer=lambda m: BreakTheLast(m.parameters(), 0.1), progress=SILENT)
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_names_in_place_of_a_recipe_and_data_are_refused(data: Data) -> None:
    with pytest.raises(RecipeError, match=r"'demo'.* seefar\.recipe"):
        train("demo", data)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"'shapes'.* seefar\.load_data"):
        train(small(), "shapes")  # type: ignore[arg-type]


def test_an_epoch_ends_with_a_checkpoint_only_if_the_last_is_a_minute_old(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saves(seconds_a_step: float, minutes: float) -> list[int]:
        saved: list[int] = []
        clock = itertools.count()
        with monkeypatch.context() as patch:
            patch.setattr(TrainingState, "save", lambda state, _path: saved.append(state.step))
            patch.setattr(loop, "seconds", lambda: next(clock) * seconds_a_step / 2)  # read twice a step, or nearly
            folder = tmp_path / f"{seconds_a_step} {minutes}"
            train(small(epochs=3, log_every=1), data, folder, checkpoint_minutes=minutes, progress=SILENT)
        return saved

    assert saves(1, 5) == []
    assert saves(15, 5) == [5, 10, 15]
    assert saves(1, 0) == list(range(1, 16))


def test_the_time_of_a_row_is_read_after_the_device_was_waited_for(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU, what a step has queued is done when its numbers are there, not when the step's code is through."""
    queued = {"seconds": 0.0}

    class Waits(Tally):
        """Its sums are known ten seconds after they are read."""

        def totals(self) -> list[list[float]]:
            queued["seconds"] += 10
            return super().totals()

    monkeypatch.setattr(loop, "Tally", Waits)
    monkeypatch.setattr(loop, "seconds", lambda: queued["seconds"])
    run = train(small(log_every=5), data, tmp_path / "run", progress=SILENT)
    assert [row.seconds for row in run.history] == [10, 20]


@pytest.mark.parametrize(("before", "after"), [(True, True), (True, False), (False, True)])
def test_a_checkpoint_goes_on_with_and_without_a_loss_scaler(
    data: Data, tmp_path: Path, before: bool, after: bool
) -> None:
    """Colab hands out a T4 (float16, with a scaler) one day and an A100 (bfloat16, without) the next."""

    def state(scales: bool) -> TrainingState:
        model = build_model(small(), data)
        scaler = torch.amp.GradScaler("cpu", 1024.0, enabled=scales)
        tally = Tally(torch.device("cpu"))
        return TrainingState(model, build_optimizer(model, small()), scaler, tally, "this training")

    first, second = state(before), state(after)
    if before:
        first.scaler.scale(torch.ones(()))
        first.scaler.update(512.0)
    folder = RunFolder(tmp_path)
    first.save(folder)
    second.load(folder.checkpoint)
    assert not after or second.scaler.get_scale() == (512.0 if before else 1024.0)


def test_statistics_are_of_the_images_that_are_trained_on(data: Data, tmp_path: Path) -> None:
    run = train(small(held_out=40, epochs=1), data, tmp_path / "run", progress=SILENT)
    mean = run.model.normalize.mean.flatten().tolist()
    assert mean == pytest.approx(data.hold_out(40, 0)[0].statistics[0])
    assert mean != pytest.approx(data.statistics[0])


@pytest.fixture(scope="module")
def interrupted(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.raises(Interrupted):
        train(small(), data, folder, progress=Stop(3))
    return folder


@pytest.mark.parametrize("damage", ["truncated", "another network", "another training", "step", "totals", "optimizer"])
def test_a_damaged_checkpoint_is_named(data: Data, interrupted: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(interrupted, tmp_path / "run")
    path = RunFolder(tmp_path / "run").checkpoint
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        tensors, about = load_tensors(path)
        if damage == "another network":
            tensors["model.fc.weight"] = torch.zeros(100, 16)
        if damage == "another training":
            about["training"] = "another"
        if damage in about:  # by a stranger, with a checksum that fits
            about[damage] = "nonsense"
        if damage == "optimizer":
            tensors["optimizer.momentum_buffer/nothing.weight"] = torch.zeros(3)
        save_tensors(path, tensors, about)
    with pytest.raises(RunError, match=r"checkpoint\.safetensors"):
        train(small(), data, tmp_path / "run", progress=SILENT)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile imports what torch calls old
def test_a_compiled_training_is_the_same_and_one_without_a_compiler_is_refused(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's backend `eager` runs what was compiled without changing it; the last batch is smaller."""
    recipe = small(epochs=1, log_every=5)
    monkeypatch.setattr("seefar.training.device.COMPILER", "eager")
    compiled = train(recipe, data, tmp_path / "compiled", compile=True, precision="float32", progress=SILENT)
    train(recipe, data, tmp_path / "plain", precision="float32", progress=SILENT)
    one, other = weights(tmp_path / "compiled"), weights(tmp_path / "plain")
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert ", compiled" in (tmp_path / "compiled" / "log.txt").read_text()
    assert not hasattr(compiled.model, "_orig_mod")

    def fail(*_: Any) -> None:
        raise RuntimeError("no compiler\nmore")

    monkeypatch.setattr("seefar.training.device.COMPILER", fail)
    torch.compiler.reset()
    with pytest.raises(ChoiceError, match="compile"):
        train(recipe, data, tmp_path / "refused", compile=True, progress=SILENT)
    assert not (tmp_path / "refused").exists()
