"""The training loop: one flat function, from the first step to the finished network, that a kill cannot harm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter as seconds

import torch.nn.functional as F
from torch import Tensor

from seefar import processes
from seefar.data.batches import training_batches
from seefar.data.images import Data
from seefar.errors import DataError, DivergedError, Interrupted, RecipeError
from seefar.model.inference import device_errors, true_float32
from seefar.names import DeviceName, PrecisionName
from seefar.progress import SILENT, Progress, showing
from seefar.runs.folder import RunFolder
from seefar.training.advice import few_steps_warning
from seefar.training.average import renew_statistics
from seefar.training.device import Compute, plan_training
from seefar.training.graphs import RecordedStep
from seefar.training.history import HistoryRow, append_row, bring_to_disk
from seefar.training.interrupt import Interrupts
from seefar.training.parallel import even_out, shared
from seefar.training.progress import TrainingLog, duration
from seefar.training.recipe import Recipe
from seefar.training.run import Run, finish_training, load_run, open_run, save_weights, training_in
from seefar.training.setup import (
    accuracy,
    all_finite,
    build_batches,
    image_cost,
    image_size,
    learning_rate,
    prepare,
    resize,
    set_rate,
)

SECONDS_BETWEEN_EPOCH_CHECKPOINTS = 60.0
"""A GPU does an epoch in seconds; a checkpoint of 90 MB after each would take much of its time."""


def train(
    recipe: Recipe,
    data: Data,
    folder: str | Path | None = None,
    *,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    checkpoint_minutes: float = 5.0,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.train",),
) -> Run:
    """Train a ResNet-18, or go on with a training that was interrupted, or read back one that is finished.

    A training that was killed at any point and continued goes through the same batches and the same rates as one that
    was not. It ends with the same weights, to the bit, on the CPU with the same processor, number of threads, versions
    and precision. A GPU adds up in an order that changes from run to run.

    Args:
        recipe: all hyperparameters.
        data: training images; the test images are not looked at.
        folder: the run folder, or the bare name of one under `runs/`; default: the recipe's name, or that with the
            next free number if the folder belongs to another recipe or other data.
        device: where to compute; `auto`: CUDA, else MPS, else the CPU.
        precision: of convolutions and matrix products; `auto`: what the device is best at.
        checkpoint_minutes: time between two checkpoints. There is one at the end of each epoch too, unless the last is
            less than a minute old.
        progress: gets each line of the log and each step; default: shown where it runs. `log.txt` is written in any
            case.
        command: the command line or function, for the manifest.

    Raises:
        RecipeError: `recipe` is no recipe.
        DataError: `data` is no data set, or has too few images for the recipe.
        RunError: the folder belongs to another recipe or other data, or its checkpoint is damaged.
        DeviceError: the device or precision is not there, or the device's memory is full.
        DivergedError: the loss or the weights are not finite.
        Interrupted: Ctrl-C or SIGTERM; the state is saved.

    Example:
        >>> import tempfile
        >>> from seefar.data.shapes import load_shapes
        >>> from seefar.progress import SILENT
        >>> from seefar.training.recipe import recipe
        >>> small = recipe("demo", width=1, epochs=1, scales=(0.5,), batch_size=16)
        >>> run = train(small, load_shapes(train=32, test=10), Path(tempfile.mkdtemp()) / "small", progress=SILENT)
        >>> [(row.step, row.epoch, row.image_size) for row in run.history]
        [(2, 1, 16)]
    """
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"A Recipe was wanted, found {recipe!r}: pass one, such as seefar.recipe('quick').")
    if not isinstance(data, Data):
        raise DataError(f"A Data was wanted, found {data!r}: pass one, such as seefar.load_data('cifar10').")
    compute = plan_training(device, precision, checkpoint_minutes)
    run_folder = open_run(recipe, data, folder)
    with showing(progress if processes.first() else SILENT) as shown:
        if run_folder.weights.exists():
            finish_training(run_folder, shown)
        else:
            session = {"device": compute.device_name, "precision": compute.precision_name}
            with training_in(run_folder, recipe, data, session, command, shown):
                _train(run_folder, recipe, data, compute, checkpoint_minutes, shown)
    return load_run(run_folder, device)


def _train(
    run_folder: RunFolder,
    recipe: Recipe,
    data: Data,
    compute: Compute,
    checkpoint_minutes: float,
    progress: Progress,
) -> None:
    """The loop, from the state in the folder to the finished network in it."""
    whole, (data, held_out) = data, data.hold_out(recipe.held_out, recipe.seed)
    dataset = build_batches(recipe, data, compute.device)
    steps = recipe.epochs * len(dataset)
    state = prepare(run_folder, recipe, data, compute)
    model, optimizer, scaler, tally = state.model, state.optimizer, state.scaler, state.tally
    positions = [divmod(step, len(dataset)) for step in range(state.step, steps)]
    work = sum(image_cost(recipe, data, epoch) for epoch, _ in positions)
    warning = few_steps_warning(len(data.train), recipe.batch_size, recipe.epochs)
    if warning and state.step == 0:
        progress.line(warning)
    classify = shared(model, model.classify)
    together = f" in {processes.size()} processes" if processes.size() > 1 else ""
    history_size = run_folder.history.stat().st_size
    last_logged = state.step - round(tally.interval[2].item() / recipe.batch_size)

    def learn(images: Tensor, labels: Tensor, size: int) -> None:
        """One step on `part` of a batch.

        A GPU can record it: outside float16 it never waits for the device, and what it changes it changes in place.
        """
        inputs = resize(model.normalize(images), size)  # (B, 3, size, size)
        with compute.autocast():
            logits = classify(inputs)  # (B, K)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        scaler.scale(part.weigh(loss)).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        if part.count:
            tally.add(loss, logits, labels)

    records = compute.records and processes.size() == 1
    take_step = RecordedStep(learn) if records else learn
    how = f"{together}, steps replayed as CUDA graphs" if records else together

    with (
        Interrupts() as interrupts,
        true_float32(),
        device_errors(),
        training_batches(dataset, positions, compute.pins) as batches,
        TrainingLog(run_folder.log, progress, steps, state.step, work, data.image_size) as log,
    ):
        log.line(f"{recipe.name}: {len(data.train)} images, {steps} steps, {state.step} done, on {compute}{how}")
        if state.earlier_precision not in (None, state.precision):
            log.line(f"{state.earlier_precision} until now, {state.precision} from here: other weights than in one go")
        saved = seconds()
        started = saved - state.seconds
        for step, batch in enumerate(batches, start=state.step + 1):
            rate = learning_rate(recipe, step, steps)
            set_rate(optimizer, rate)
            size = image_size(recipe, data, batch.epoch)
            part = processes.part(len(batch.labels))  # alone: all
            images = compute.copy(batch.images[part.rows])  # uint8 (B, H, W, 3)
            labels = compute.copy(batch.labels[part.rows])  # (B,)
            take_step(images, labels, size)
            if step > steps - round(recipe.average * steps):
                state.average.add(model)

            log.advance(len(batch.labels), image_cost(recipe, data, batch.epoch))
            epoch_ends = batch.number + 1 == len(dataset)
            logs = epoch_ends or (batch.number + 1) % recipe.log_every == 0
            age = seconds() - saved
            due = age > 60 * checkpoint_minutes or (epoch_ends and age > SECONDS_BETWEEN_EPOCH_CHECKPOINTS)
            asked, due = processes.agree(interrupts.asked, due)  # signals and clocks differ between processes
            stops = asked and step < steps  # once a step: what is asked for later is heard in the next
            saves = stops or due
            if logs or saves:
                tally.collect()
                loss_sum, correct, seen = tally.interval.tolist()  # a GPU is waited for here, so the time is read after
                now = seconds()
                if not math.isfinite(loss_sum):
                    raise DivergedError(
                        f"{run_folder.path}: the loss became {loss_sum} between steps {last_logged + 1} and {step} "
                        f"(epoch {batch.epoch + 1}, learning rate {rate:.3g}), a finite number was wanted: choose a "
                        "lower learning_rate, and a new name for the run."
                    )
            if step == steps and state.average.count:
                state.average.put_into(model)
                renew_statistics(model, dataset, recipe.epochs, compute)
            if epoch_ends:
                even_out(model)
            if logs:
                _, epoch_correct, epoch_seen = tally.epoch.tolist()
                row = HistoryRow(
                    step=step,
                    epoch=batch.epoch + 1,
                    seconds=now - started,
                    image_size=size,
                    learning_rate=rate,
                    loss=loss_sum / seen,
                    accuracy=correct / seen,
                    epoch_accuracy=epoch_correct / epoch_seen if epoch_ends else None,
                    held_out_accuracy=accuracy(model, held_out) if epoch_ends and len(held_out) else None,
                )
                history_size = append_row(run_folder.history, row, history_size)
                state.rows += 1
                log.log(row, batch.number + 1)
                tally.interval.zero_()
                last_logged = step
                if epoch_ends:
                    tally.epoch.zero_()
            if saves:
                state.step, state.seconds, saved = step, now - started, now
                if processes.first():
                    bring_to_disk(run_folder.history)
                    state.save(run_folder.checkpoint)
            if logs or saves:
                tally.keep_on_first()
            if stops:
                log.line(f"interrupted after step {step}")
                raise Interrupted(f"{run_folder.path}: saved after step {step} of {steps}; the same command goes on.")
        if not all_finite(model):  # a loss is of the weights before its step
            raise DivergedError(
                f"{run_folder.path}: weights became infinite or NaN in step {steps}, the last (learning rate "
                f"{learning_rate(recipe, steps, steps):.3g}), finite ones were wanted: choose a lower learning_rate, "
                "and a new name for the run."
            )
        log.line(f"Finished Training in {duration(seconds() - started)}")
        (asked,) = processes.agree(interrupts.asked)  # while the last step was done

    save_weights(run_folder, model, recipe, whole)
    run_folder.checkpoint.unlink(missing_ok=True)
    if asked:
        raise Interrupted(f"{run_folder.path}: trained, and saved; the same command goes on.")
