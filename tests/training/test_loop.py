from __future__ import annotations

import itertools
import math
import os
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
from seefar.errors import DataError, Interrupted, RecipeError, RunError
from seefar.progress import SILENT, Progress
from seefar.runs.arrays import load_tensors
from seefar.runs.folder import RunFolder
from seefar.training import loop
from seefar.training.history import COLUMNS, read_history
from seefar.training.loop import build_batches, build_model, build_optimizer, resize, train
from seefar.training.recipe import RECIPES, Recipe, recipe
from seefar.training.run import Run
from seefar.training.state import Tally, TrainingState


@pytest.fixture(scope="module")
def data() -> Data:
    """70 training images: with batches of 16 an epoch has 5 steps, the last of 6 images."""
    return load_shapes(train=70, test=20)


def small(name: str = "fast", **changes: Any) -> Recipe:
    return recipe(name, **{"width": 2, "epochs": 2, "batch_size": 16, "log_every": 2, "scales": (0.5,), **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(folder / "weights.safetensors")[0]


class Stop(Progress):
    """Sends this process a signal when a step of the sitting is done, or with the first line that begins so."""

    def __init__(self, step: int = 0, line: str | None = None) -> None:
        self.left, self.begins = step, line

    def update(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    def line(self, text: str) -> None:
        if self.begins and text.startswith(self.begins):
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
    seconds = [row.seconds for row in run.history]
    assert seconds == sorted(seconds)


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


def test_a_stop_that_is_asked_for_while_a_line_is_logged_is_saved_too(data: Data, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="saved after step 3 of 10"):
        train(small(), data, tmp_path / "run", progress=Stop(line="[1,"))
    position = load_tensors(tmp_path / "run" / "checkpoint.safetensors")[1]
    assert position["step"] == 3  # it came in step 2 and was heard in the next


def test_a_stop_that_is_asked_for_in_the_last_step_is_not_forgotten(data: Data, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="trained and saved"):
        train(small(), data, tmp_path / "run", progress=Stop(10))
    assert (tmp_path / "run" / "weights.safetensors").exists()
    assert train(small(), data, tmp_path / "run", progress=SILENT).history[-1].step == 10


def test_a_training_starts_from_fresh_weights(data: Data, tmp_path: Path) -> None:
    """The published log begins at 1.06: its net was trained before. Fresh weights know nothing: about ln 10 = 2.30."""
    short = recipe("seed", width=4, epochs=1, log_every=5, batch_size=8)
    first = train(short, data, tmp_path / "one", progress=SILENT)
    assert first.history[0].loss == pytest.approx(np.log(10), abs=0.35)
    # A second training in the same process starts there again.
    second = train(
        recipe("seed", width=4, epochs=1, log_every=5, batch_size=8), data, tmp_path / "two", progress=SILENT
    )
    assert second.history[0].loss == first.history[0].loss


def test_a_last_batch_of_one_small_image_is_trained_on(tmp_path: Path) -> None:
    """quick begins at three eighths of the size, which is 6 pixels here; one cell of one image has no variance."""
    whole = load_shapes(train=17, test=10)
    train_split, test_split = (
        replace(s, images=s.images[:, :16, :16].copy(), masks=None) for s in (whole.train, whole.test)
    )
    quick = recipe("quick", image_size=16, width=2, batch_size=16)
    run = train(quick, replace(whole, train=train_split, test=test_split), tmp_path / "run", progress=SILENT)
    assert [row.image_size for row in run.history] == [12, 12, 12, 12, 16]


def test_a_channel_that_is_the_same_in_all_pictures_says_nothing_and_harms_nothing(tmp_path: Path) -> None:
    """Green is 200 everywhere, blue 0; augmentation lays black on green too."""
    whole = load_shapes(train=32, test=10)
    for part in (whole.train, whole.test):
        part.images[..., 1:] = (200, 0)
    run = train(small(epochs=1, batch_size=16, crop_padding=2), whole, tmp_path / "run", progress=SILENT)
    assert all(math.isfinite(row.loss) for row in run.history)
    inputs = run.model.normalize(torch.from_numpy(whole.test.images))
    np.testing.assert_allclose(inputs[:, 1:], 0, atol=1e-7)
    assert run.model.normalize.std.flatten().tolist()[1:] == [1.0, 1.0]
    assert inputs[:, 0].std() == pytest.approx(1, abs=0.2)


def test_it_learns(trained: Run) -> None:
    assert trained.history[-1].loss < 0.75 * trained.history[0].loss
    assert trained.history[-1].accuracy > 0.3  # chance is 0.1
    assert not trained.model.training


def test_the_log_has_the_asked_for_lines(data: Data, tmp_path: Path) -> None:
    train(small(log_every=5), data, tmp_path / "run", progress=SILENT)
    lines = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert any(line.startswith("[1,     5] loss: 2.") for line in lines)
    assert any(line.startswith("[2,     5] loss: ") for line in lines)
    assert sum(line.startswith("Accuracy is: ") for line in lines) == 2
    assert lines[-1].startswith("Finished Training")


FAST = [("fast", 4), ("quick", 5), ("seed", 8), ("demo", 1)]
SLOW = [(name, step) for name in RECIPES for step in (1, 4, 5, 8) if (name, step) not in FAST]


@pytest.mark.parametrize(("name", "step"), [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)])
def test_a_stopped_and_continued_training_ends_with_the_same_bits(
    data: Data, tmp_path: Path, name: str, step: int
) -> None:
    """Steps 1, 4 and 8 lie within an epoch, 4 and 8 between two logged steps too; 5 ends an epoch."""
    whole = train(small(name, log_every=3), data, tmp_path / "whole", progress=SILENT)
    with pytest.raises(Interrupted, match=f"saved after step {step} of 10"):
        train(small(name, log_every=3), data, tmp_path / "parts", progress=Stop(step))
    assert not (tmp_path / "parts" / "weights.safetensors").exists()
    parts = train(small(name, log_every=3), data, tmp_path / "parts", progress=SILENT)

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
    first = train(small(), data, tmp_path / "run", progress=SILENT)
    changed = (tmp_path / "run" / "log.txt").stat().st_mtime_ns
    again = train(small(), data, tmp_path / "run", progress=SILENT)
    assert again.history == first.history
    assert (tmp_path / "run" / "log.txt").stat().st_mtime_ns == changed


def test_another_recipe_or_other_data_in_the_same_folder_is_refused(data: Data, tmp_path: Path) -> None:
    train(small(), data, tmp_path / "run", progress=SILENT)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(RunError, match=r"another recipe \(epochs 3, not 2\)"):
        train(small(epochs=3), data, tmp_path / "run", progress=SILENT)
    with pytest.raises(RunError, match="other images"):
        train(small(), load_shapes(70, 20, seed=1), tmp_path / "run", progress=SILENT)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_loss_that_is_not_finite_stops_the_training_and_says_where(data: Data, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"at step \d+ .*choose a lower learning_rate"):
        train(small(learning_rate=1e30, epochs=4), data, tmp_path / "run", progress=SILENT)
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_weights_that_the_last_step_broke_are_not_saved(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of a step is that of the weights before it."""
    steps = itertools.count(1)
    step = torch.optim.SGD.step

    def break_the_last(self: torch.optim.SGD) -> None:
        step(self)
        if next(steps) == 10:
            with torch.no_grad():
                self.param_groups[0]["params"][3].fill_(float("inf"))

    monkeypatch.setattr(torch.optim.SGD, "step", break_the_last)
    with pytest.raises(RunError, match=r"infinite or NaN .*choose a lower learning_rate"):
        train(small(), data, tmp_path / "run", progress=SILENT)
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_the_users_random_numbers_are_left_alone(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reseeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", reseeded.append)
    monkeypatch.setattr(torch.mps, "manual_seed", reseeded.append)
    before = torch.random.get_rng_state()
    train(small(epochs=1), data, tmp_path / "run", progress=SILENT)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert reseeded == []


def test_names_in_place_of_a_recipe_and_data_are_refused(data: Data) -> None:
    with pytest.raises(RecipeError, match=r"'demo'.* seefar\.recipe"):
        train("demo", data)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"'shapes'.* seefar\.load_data"):
        train(small(), "shapes")  # type: ignore[arg-type]


def test_an_epoch_ends_with_a_checkpoint_only_if_the_last_is_a_minute_old(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An H100 does an epoch in seconds, and writing 90 MB after each would take a seventh of its time."""

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


@pytest.mark.parametrize("before", [True, False], ids=["with a scaler", "without one"])
@pytest.mark.parametrize("after", [True, False], ids=["with a scaler", "without one"])
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


def test_statistics_and_fill_are_of_the_images_that_are_trained_on(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fills, made = [], loop.pipeline

    def pipeline(*settings: Any) -> Any:
        fills.append(settings[4])
        return made(*settings)

    monkeypatch.setattr(loop, "pipeline", pipeline)
    run = train(small(held_out=40, epochs=1, cutout_fill=-1), data, tmp_path / "run", progress=SILENT)
    fit, _ = data.hold_out(40, 0)
    assert run.model.normalize.mean.flatten().tolist() == pytest.approx(fit.statistics[0])
    assert run.model.normalize.mean.flatten().tolist() != pytest.approx(data.statistics[0])
    of_fit, of_all = (tuple(round(255 * value) for value in one.statistics[0]) for one in (fit, data))
    assert fills == [of_fit]
    assert of_fit != of_all


def test_the_thread_of_batches_ends_with_an_interrupted_training(data: Data, tmp_path: Path) -> None:
    """A notebook keeps the error of a cell, and with it all that its frames hold."""
    with pytest.raises(Interrupted) as kept:
        train(small(), data, tmp_path / "run", progress=Stop(3))
    assert kept.traceback
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.parametrize("damage", ["truncated", "another network", "another training", "step", "totals", "momentum"])
def test_a_damaged_checkpoint_is_named(data: Data, tmp_path: Path, damage: str) -> None:
    with pytest.raises(Interrupted):
        train(small(), data, tmp_path / "run", progress=Stop(3))
    path = RunFolder(tmp_path / "run").checkpoint
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        from seefar.runs.arrays import save_tensors

        tensors, about = load_tensors(path)
        if damage == "another network":
            tensors["model.fc.weight"] = torch.zeros(100, 16)
        if damage == "another training":
            about["training"] = "another"
        if damage in about:  # by a stranger, with a checksum that fits
            about[damage] = "nonsense"
        if damage == "momentum":
            tensors["momentum.nothing.weight"] = torch.zeros(3)
        save_tensors(path, tensors, about)
    with pytest.raises(RunError, match=r"checkpoint\.safetensors"):
        train(small(), data, tmp_path / "run", progress=SILENT)


def test_the_signal_handlers_are_put_back(data: Data, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted):
        train(small(), data, tmp_path / "run", progress=Stop(1))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
