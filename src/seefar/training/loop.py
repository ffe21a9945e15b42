"""The training loop: one flat function, from the first step to the finished network, that a kill cannot harm."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch.nn.functional as F

from seefar.data.augmentation import training_batches
from seefar.data.images import Data
from seefar.errors import DivergedError, Interrupted
from seefar.names import DeviceName, PrecisionName
from seefar.runs.folder import RunFolder, find_run
from seefar.training.device import (
    Compute,
    choose_compute,
    keep_freed_memory,
    worker_count,
)
from seefar.training.history import HistoryRow, append_row
from seefar.training.interrupt import Interrupts
from seefar.training.progress import Progress, duration
from seefar.training.recipe import Recipe
from seefar.training.run import Run, begin_run, choose_folder, load_run, save_weights
from seefar.training.setup import (
    accuracy,
    build_batches,
    image_cost,
    image_size,
    learning_rate,
    prepare,
    resize,
)


def train(
    recipe: Recipe,
    data: Data,
    folder: str | Path | None = None,
    *,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    workers: int | None = None,
    checkpoint_minutes: float = 5.0,
    quiet: bool = False,
) -> Run:
    """Train a ResNet-18, or go on with a training that was interrupted, or read back one that is finished.

    A training that was killed at any point and continued ends with the same weights as one that was not, to the bit
    where the device computes reproducibly (the CPU does).

    Args:
        recipe: all hyperparameters.
        data: training images; the test images are not looked at.
        folder: the run folder, or the bare name of one under `runs/`; default: the recipe's name, or that with the
            next free number if the folder belongs to another recipe or other data.
        device: where to compute; `auto`: CUDA, else MPS, else the CPU.
        precision: of convolutions and matrix products; `auto`: what the device is best at.
        workers: processes that make batches; 0: this one. Default: 0 on the CPU, where they would only take cores away
            from the training, and on a GPU one for each core but one, at most 8. They do not change the batches.
        checkpoint_minutes: time between two checkpoints; there is one at the end of each epoch too.
        quiet: nothing to standard error; log.txt is written all the same.

    Raises:
        RunError: the folder belongs to another recipe or other data, or its checkpoint is damaged.
        DeviceError: the device or precision is not there.
        DivergedError: the loss is not finite.
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
    """
    run_folder = choose_folder(recipe, data) if folder is None else find_run(folder)
    compute = choose_compute(device, precision)
    processes = worker_count(workers, compute)
    if not begin_run(run_folder, recipe, data):
        with run_folder.writing(["seefar.train"]):
            begin_run(run_folder, recipe, data, write=True)
            _train(run_folder, recipe, data, compute, processes, checkpoint_minutes, quiet)
    return load_run(run_folder, device)


def _train(
    run_folder: RunFolder,
    recipe: Recipe,
    data: Data,
    compute: Compute,
    processes: int,
    checkpoint_minutes: float,
    quiet: bool,
) -> None:
    """The loop, from the state in the folder to the finished network in it."""
    keep_freed_memory()
    fit, held_out = data.hold_out(recipe.held_out, recipe.seed)
    batches = build_batches(recipe, fit)
    steps = recipe.epochs * len(batches)
    state = prepare(run_folder, recipe, data, compute)
    model, optimizer, scaler, tally = state.model, state.optimizer, state.scaler, state.tally
    positions = [divmod(step, len(batches)) for step in range(state.step, steps)]
    work = sum(image_cost(recipe, data, epoch) for epoch, _ in positions)
    saved = time.perf_counter()
    started = saved - state.seconds
    last_logged = state.step - round(tally.interval[2].item() / recipe.batch_size)

    with Interrupts() as interrupts, Progress(run_folder.log, steps, state.step, work, quiet) as progress:
        progress.say(f"{recipe.name}: {len(fit.train)} images, {steps} steps, {state.step} done, on {compute}")
        loader = training_batches(batches, positions, processes, pin_memory=compute.device.type == "cuda")
        for step, batch in enumerate(loader, start=state.step + 1):
            rate = learning_rate(recipe, step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            size = image_size(recipe, data, batch.epoch)
            images = batch.images.to(compute.device, non_blocking=True)  # uint8 (B, H, W, 3)
            labels = batch.labels.to(compute.device, non_blocking=True)  # (B,)
            inputs = resize(model.normalize(images), size)  # (B, 3, size, size)

            with compute.autocast():
                logits = model.classify(inputs)  # (B, K)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()

            tally.add(loss, logits, labels)
            progress.advance(len(labels), image_cost(recipe, data, batch.epoch))
            now = time.perf_counter()
            epoch_ends = batch.number + 1 == len(batches)
            logs = epoch_ends or (batch.number + 1) % recipe.log_every == 0
            stops = interrupts.asked and step < steps  # once a step: what is asked for later is heard in the next
            saves = epoch_ends or stops or now - saved > 60 * checkpoint_minutes
            if logs or saves:
                loss_sum, correct, seen = tally.interval.tolist()  # the only place where a GPU is waited for
                if not math.isfinite(loss_sum):
                    raise DivergedError(
                        f"{run_folder.path}: the loss became {loss_sum} between steps {last_logged + 1} and {step} "
                        f"(epoch {batch.epoch + 1}, learning rate {rate:.3g}), a finite number was wanted. "
                        "Pass a lower --learning-rate, and --run with a new name."
                    )
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
                append_row(run_folder.history, row)
                progress.log(row, batch.number + 1)
                tally.interval.zero_()
                last_logged = step
                if epoch_ends:
                    tally.epoch.zero_()
            if saves:
                state.step, state.seconds, saved = step, now - started, now
                state.save(run_folder.checkpoint)
            if stops:
                progress.say(f"interrupted after step {step}")
                raise Interrupted(f"{run_folder.path}: saved after step {step} of {steps}; the same command goes on.")
        progress.say(f"Finished Training in {duration(time.perf_counter() - started)}")

    save_weights(run_folder, model, recipe, data)
    run_folder.checkpoint.unlink(missing_ok=True)
