"""The training loop: history, resuming, checkpoints, schedule, and replacements by a caller."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pytest
import torch
from tiny_job import At, Lines
from torch import nn

from seefar.data import Data
from seefar.data.shapes import load_shapes
from seefar.errors import ChoiceError, Interrupted, RecipeError, RunError
from seefar.progress import SILENT
from seefar.runs.arrays import load_tensors, save_tensors
from seefar.runs.folder import RunFolder
from seefar.training.loop import (
    build_batches,
    build_model,
    build_optimizer,
    image_cost,
    image_size,
    learning_rate,
    resize,
    set_rate,
    train,
)
from seefar.training.recipe import Recipe, recipe
from seefar.training.run import Run
from seefar.training.state import COLUMNS, HistoryRow, Tally, TrainingLog, TrainingState, noted_signals


@pytest.fixture(scope="module")
def data() -> Data:
    """70 training images: with batches of 16 an epoch has 5 steps, the last of 6 images."""
    return load_shapes(train=70, test=20)


def small(name: str = "fast", **changes: Any) -> Recipe:
    return recipe(name, **{"width": 2, "epochs": 2, "batch_size": 16, "log_every": 2, "scales": (0.5,), **changes})


def stop(step: int) -> At:
    """Sends this process a signal when a step of the session is done."""
    return At(step, lambda: os.kill(os.getpid(), signal.SIGTERM))


def test_the_history_has_every_logged_step_from_the_first_to_the_last(data: Data, tmp_path: Path) -> None:
    run = train(small(held_out=10), data, tmp_path / "run", progress=SILENT)  # 60 images, 4 steps an epoch
    mean = run.model.normalize.mean.flatten().tolist()
    assert mean == pytest.approx(data.hold_out(10, 0)[0].statistics[0])
    assert mean != pytest.approx(data.statistics[0])
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


def test_the_time_left_is_that_of_the_work_left(tmp_path: Path) -> None:
    """Half of the work of this session is done, so it takes as long again, however many steps that is."""
    kept = Lines()
    log = TrainingLog(RunFolder(tmp_path), kept, steps=100, done=0, work=4.0)
    log.started -= 3723
    log.advance(16, 2.0)
    log.log(HistoryRow(6, 2, 1.0, 24, 0.1, 1.06, 0.5), step_in_epoch=1)
    assert kept.found[0].endswith("1:02:03 left")


@pytest.mark.parametrize(("name", "step"), [("fast", 4), ("quick", 5), ("seed", 8), ("demo", 10)])
def test_a_stopped_and_continued_training_ends_with_the_same_bits(
    data: Data, tmp_path: Path, name: str, step: int
) -> None:
    """Steps 4 and 8 are within an epoch and between two logged steps; 5 ends an epoch, and 10 the training."""
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    whole = train(small(name, log_every=3), data, tmp_path / "whole", progress=SILENT)
    torch.manual_seed(5)  # the random state of the caller has no effect, and stays
    state = torch.get_rng_state()
    with pytest.raises(Interrupted, match=f"saved after step {step} of 10"):
        train(small(name, log_every=3), data, tmp_path / "parts", progress=stop(step))
    assert not (tmp_path / "parts" / "weights.safetensors").exists()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
    parts = train(small(name, log_every=3), data, tmp_path / "parts", progress=SILENT)
    assert torch.equal(torch.get_rng_state(), state)

    files = [tmp_path / name / "weights.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    without_time = [[replace(row, seconds=0) for row in run.history] for run in (whole, parts)]
    assert without_time[0] == without_time[1]
    assert not (tmp_path / "parts" / "checkpoint.safetensors").exists()


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


@pytest.mark.parametrize(("before", "after"), [(True, True), (True, False), (False, True)])
def test_a_checkpoint_resumes_with_and_without_a_loss_scaler(
    data: Data, tmp_path: Path, before: bool, after: bool
) -> None:
    """Colab hands out a T4 (float16, with a scaler) one day and an A100 (bfloat16, without) the next."""
    model, tally = build_model(small(), data), Tally(torch.device("cpu"))
    optimizer, folder = build_optimizer(model, small()), RunFolder(tmp_path)
    scalers = [torch.amp.GradScaler("cpu", 1024.0, enabled=enabled) for enabled in (before, after)]
    first, second = (TrainingState(model, optimizer, scaler, tally, "this training") for scaler in scalers)
    if before:
        first.scaler.scale(torch.ones(()))
        first.scaler.update(512.0)
    first.save(folder)
    second.load(folder.checkpoint)
    assert not after or second.scaler.get_scale() == (512.0 if before else 1024.0)


def test_a_damaged_checkpoint_is_named(data: Data, tmp_path: Path) -> None:
    """It is written by a stranger, with a checksum that fits; or cut off."""
    path = RunFolder(tmp_path).checkpoint
    with pytest.raises(Interrupted):
        train(small(), data, tmp_path, progress=stop(3))
    tensors, values = load_tensors(path)
    other = ({**tensors, "model.fc.weight": torch.zeros(100, 16)}, values), (tensors, {**values, "training": "another"})
    for found in other:
        save_tensors(path, *found)
        with pytest.raises(RunError, match=r"checkpoint\.safetensors"):
            train(small(), data, tmp_path, progress=SILENT)
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(RunError, match=r"checkpoint\.safetensors"):
        train(small(), data, tmp_path, progress=SILENT)


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
    one, other = (tmp_path / name / "weights.safetensors" for name in ("compiled", "plain"))
    assert one.read_bytes() == other.read_bytes()
    assert ", compiled" in (tmp_path / "compiled" / "log.txt").read_text()
    assert not hasattr(compiled.model, "_orig_mod")

    def fail(*_: Any) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr("seefar.training.device.COMPILER", fail)
    torch.compiler.reset()
    with pytest.raises(ChoiceError, match="compile"):
        train(recipe, data, tmp_path / "refused", compile=True, progress=SILENT)


def test_a_signal_that_comes_again_within_seconds_is_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("seefar.training.state.time.monotonic", lambda: clock[0])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have begun the tests with SIGINT ignored
    with noted_signals() as times:
        os.kill(os.getpid(), signal.SIGINT)
        clock[0] += 2.9
        os.kill(os.getpid(), signal.SIGINT)  # nothing happens
        assert times
        clock[0] += 0.2
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("handler", "stops"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)], ids=["", "nohup"])
def test_a_closed_terminal_stops_a_training_unless_it_is_to_be_ignored(handler: Any, stops: bool) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with noted_signals() as times:
            os.kill(os.getpid(), signal.SIGHUP)
            assert bool(times) == stops
    finally:
        signal.signal(signal.SIGHUP, before)


# ---- What a caller puts in place of the recipe's augmentation and optimizer ----


def darker(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return (image * random.uniform(0.2, 1.0)).astype(np.uint8)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=2e-3)


def quiet(data: Data, folder: Path, **changes: Any) -> Run:
    settings = {"device": "cpu", "precision": "float32", "progress": SILENT, **changes}
    return train(small(log_every=1), data, folder, **settings)


@pytest.mark.slow
def test_each_change_changes_the_network_and_is_recorded(data: Data, tmp_path: Path) -> None:
    rows: list[HistoryRow] = []
    flips = albumentations.Compose([albumentations.VerticalFlip(p=0.5)])
    plain = quiet(data, tmp_path / "plain", on_row=rows.append)
    assert [row.step for row in rows] == list(range(1, 11))
    assert len(quiet(data, tmp_path / "flips", transform=flips).history) == len(rows)
    for name, change in {"transform": darker, "optimizer": adam}.items():
        assert quiet(data, tmp_path / name, **{name: change}).fingerprint != plain.fingerprint
        assert json.loads((tmp_path / name / "data.json").read_text())["changes"] == {name: change.__qualname__}
        for folder, changes in ((name, {}), ("plain", {name: change})):
            with pytest.raises(RunError, match=change.__qualname__):
                quiet(data, tmp_path / folder, **changes)


@pytest.mark.parametrize("change", [{"transform": darker}, {"optimizer": adam}])
def test_an_interrupted_training_with_a_change_resumes_to_the_same_bits(
    data: Data, tmp_path: Path, change: dict[str, Callable[..., Any]]
) -> None:
    whole = quiet(data, tmp_path / "whole", **change)
    with pytest.raises(Interrupted):
        quiet(data, tmp_path / "cut", progress=stop(3), **change)
    assert quiet(data, tmp_path / "cut", **change).fingerprint == whole.fingerprint


def test_a_transform_of_other_images_is_refused_before_the_first_step(data: Data, tmp_path: Path) -> None:
    for wrong in (lambda image, _: image[:8], lambda image, _: image / 255, lambda _image, _: None):
        with pytest.raises(RecipeError, match="transform must return"):
            quiet(data, tmp_path / "own", transform=wrong)
    assert not (tmp_path / "own").exists()


def test_one_cycle_by_hand() -> None:
    """8 steps, a quarter of them rising to 0.4: 0.2, 0.4, then down in seven equal parts to one part above 0."""
    rates = [learning_rate(recipe("fast", learning_rate=0.4, warm_up=0.25), step, 8) for step in range(1, 9)]
    assert rates == pytest.approx([0.2, 0.4] + [0.4 * part / 7 for part in (6, 5, 4, 3, 2, 1)])
    rates = [learning_rate(recipe("fast", warm_up=0.0), step, 5) for step in range(1, 6)]
    assert rates == pytest.approx([0.2 * part / 6 for part in (5, 4, 3, 2, 1)])
    assert {learning_rate(recipe("seed"), step, 9) for step in range(1, 10)} == {0.001}


def test_decay_is_for_kernels_only_and_the_biases_of_norms_have_a_rate_of_their_own(shapes: Data) -> None:
    fast = recipe("fast", width=2, norm_bias_rate=16, weight_decay=0.01)
    model = build_model(fast, shapes)
    groups = build_optimizer(model, fast).param_groups
    assert [group["rate_factor"] for group in groups] == [1, 1, 16]
    assert [group["weight_decay"] for group in groups] == [0.01, 0, 0]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, free, biases = ({names[id(parameter)] for parameter in group["params"]} for group in groups)
    kernels = {name for name in names.values() if "conv" in name or "downsample.0" in name}
    assert decayed == {*kernels, "fc.weight"}
    assert biases == {name for name in names.values() if name.endswith(".bias")} - {"fc.bias"}
    assert free == set(names.values()) - decayed - biases


def test_fused_sgd_takes_the_same_steps(shapes: Data) -> None:
    """As on CUDA, with the rates in tensors, which the kernel reads; parameters laid out as there."""
    small = recipe("fast", width=4)
    models = [build_model(small, shapes).to(memory_format=torch.channels_last) for _ in range(2)]
    optimizers = [build_optimizer(model, small, fused) for model, fused in zip(models, (False, True), strict=True)]
    generator = torch.Generator().manual_seed(0)
    for rate in (0.1, 0.3, 0.2):
        for one, other in zip(*(model.parameters() for model in models), strict=True):
            gradient = torch.randn(one.shape, generator=generator)
            one.grad, other.grad = torch.empty_like(one).copy_(gradient), torch.empty_like(other).copy_(gradient)
        for optimizer in optimizers:
            set_rate(optimizer, rate)
            optimizer.step()
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one, other)
    there, plain = optimizers[1].param_groups[2]["lr"], optimizers[0].param_groups[2]["lr"]
    assert float(there) == pytest.approx(plain) == 3.2  # 16 times the rate of the others


def test_sizes_share_the_epochs_evenly(shapes: Data) -> None:
    def sizes(epochs: int, *scales: float) -> list[int]:
        changed = recipe("fast", epochs=epochs, scales=scales)
        return [image_size(changed, shapes, epoch) for epoch in range(epochs)]

    assert sizes(5, 0.5, 0.625, 0.75, 0.875, 1.0) == [16, 20, 24, 28, 32]
    assert sizes(3, 0.5, 0.75) == [16, 16, 24]
    assert sizes(2, 0.5, 0.625, 1.0) == [20, 32]  # the last epoch is at the last scale
    assert sizes(3, 0.25, 0.375, 0.5) == [12, 12, 16]  # 8 would leave the last stage one cell
    growing = recipe("fast", epochs=4, scales=(0.5, 1.0))
    assert [image_cost(growing, shapes, epoch) for epoch in range(4)] == [0.25, 0.25, 1, 1]  # convolutions, by pixels


def test_resize_averages_when_it_halves_and_leaves_its_own_size_alone() -> None:
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., ::2] = 1  # finer than 16 pixels can show: antialiased to grey, not to black or white
    torch.testing.assert_close(resize(stripes, 16)[..., 2:-2], torch.full((1, 3, 16, 12), 0.5))
    assert resize(stripes, 32) is stripes
