"""The training loop: one flat function, from the first step to the finished network; a killed training resumes."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter as seconds
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seefar.choices import DeviceName, PrecisionName
from seefar.data.batches import (
    LARGEST_ON_DEVICE,
    AugmentedBatches,
    BatchAugmentation,
    DeviceBatches,
    augment_each,
    pipeline,
    training_batches,
)
from seefar.data.images import Data, ImageSize, Split, as_image_size, both
from seefar.errors import Interrupted, RecipeError, RunError, require
from seefar.model.adapt import adapt
from seefar.model.inference import device_errors, plain_torch, true_float32
from seefar.model.resnet import ResNet18, memory_format, stem_stride_for
from seefar.progress import SILENT, Progress, showing
from seefar.runs.files import write_text
from seefar.runs.folder import RunFolder
from seefar.training import distributed
from seefar.training.device import Compute, RecordedStep, plan_training
from seefar.training.recipe import Recipe, few_steps_warning
from seefar.training.run import Run, describe_choice, finish_training, load_run, open_run, save_weights, training_in
from seefar.training.state import (
    HistoryRow,
    Tally,
    TrainingLog,
    TrainingState,
    duration,
    identify,
    noted_signals,
    read_history,
    to_csv,
)

CPU = torch.device("cpu")


def train(
    recipe: Recipe,
    data: Data,
    folder: str | Path | None = None,
    *,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    checkpoint_minutes: float = 5.0,
    compile: bool = False,
    transform: Any = None,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
    on_row: Callable[[HistoryRow], object] | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.train",),
) -> Run:
    """Train a ResNet-18, resume a training that was interrupted, or read back one that is finished.

    A resumed training has the same batches and rates as one that was not interrupted. On the CPU it ends with the same
    bits, given the same processor, threads, versions and precision; on a GPU the last bits differ from run to run.

    Args:
        recipe: all hyperparameters.
        data: training images; the test images are not used.
        folder: the run folder, or the bare name of one under `runs/`; default: the recipe's name, or that with the
            next free number if the folder belongs to another recipe or other data.
        device: the device to compute on; `auto`: CUDA, else MPS, else the CPU.
        precision: of convolutions and matrix products; `auto`: the best for the device.
        checkpoint_minutes: time between two checkpoints.
        compile: compile the network with `torch.compile`; changes a training by rounding only.
        transform: instead of the recipe's augmentation: an albumentations pipeline, or a function of an image, uint8
            (H, W, 3), and a `numpy.random.Generator` that returns another image of this size.
        optimizer: makes another optimizer from the network. Its own rates are the peaks of the recipe's schedule.
        on_row: called with each row of the history.
        progress: see `seefar.progress`. `log.txt` is written in any case.
        command: the command line or function, for the manifest.

    Returns:
        The trained network and its history. Of several processes (see `seefar.training.distributed`) only rank 0
        returns; the others exit after the last step.

    Raises:
        RecipeError, DataError: the transform does not fit, or there are too few images.
        RunError: the folder belongs to another recipe or other data, its checkpoint is damaged, or the loss or the
            weights are not finite.
        ChoiceError: `recipe` or `data` is something else, or the device or precision is not available, or its memory is
            full.
        Interrupted: Ctrl-C or SIGTERM; the state is saved.

    Examples:
        >>> import tempfile
        >>> from seefar.data.shapes import load_shapes
        >>> from seefar.progress import SILENT
        >>> from seefar.training.recipe import recipe
        >>> small = recipe("demo", width=1, epochs=1, scales=(0.5,), batch_size=16)
        >>> run = train(small, load_shapes(train=32, test=10), Path(tempfile.mkdtemp()) / "small", progress=SILENT)
        >>> [(row.step, row.epoch, row.image_size) for row in run.history]
        [(2, 1, 16)]
    """
    require(recipe, Recipe, "recipe", "one, such as seefar.recipe('quick')")
    require(data, Data, "data", "one, such as seefar.load_data('cifar10')")
    compute = plan_training(device, precision, checkpoint_minutes, compile)
    changes = Changes(transform, optimizer, on_row)
    changes.check(data)
    run_folder = None
    if distributed.is_main():
        distributed.check_processes(compute.device.type)
        run_folder = open_run(recipe, data, folder, changes.names)
    # The other ranks wait here until rank 0 has found out whether there is anything to train.
    (unfinished,) = distributed.any_rank(run_folder is not None and not run_folder.weights.exists())
    if run_folder is None:
        if unfinished:
            with device_errors():
                _train(None, recipe, data, compute, checkpoint_minutes, changes, SILENT)
        sys.exit(0)  # `joined` leaves the group on the way
    with showing(progress) as shown:
        if folder is None and (line := describe_choice(run_folder, recipe, data, changes.names)):
            shown.line(line)
        if unfinished:
            session = {"device": compute.device_name, "precision": compute.precision_name}
            with training_in(run_folder, recipe, data, session, command, shown, changes.names), device_errors():
                _train(run_folder, recipe, data, compute, checkpoint_minutes, changes, shown)
        else:
            finish_training(run_folder, shown)
    distributed.leave()  # rank 0 continues alone
    return load_run(run_folder, device)


@dataclass(frozen=True)
class Changes:
    """Replacements that a caller of `train` passes for parts of it; see there."""

    transform: Any = None
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None
    on_row: Callable[[HistoryRow], object] | None = None

    @property
    def names(self) -> dict[str, str]:
        """The settings of the training that are not in its recipe: the names of functions."""
        parts = {"transform": self.transform, "optimizer": self.optimizer}
        return {name: getattr(part, "__qualname__", repr(part)) for name, part in parts.items() if part is not None}

    def check(self, data: Data) -> None:
        """Refuse, before the first step, an unsuitable transform, and an own optimizer in several processes."""
        if self.optimizer is not None and distributed.world_size() > 1:
            raise RecipeError(
                "An optimizer of your own trains in one process only: leave it out, or start one process."
            )
        if self.transform is not None:
            image = data.train.images[0]
            (made,) = augment_each(self.transform, [image.copy()], seed=0)
            if getattr(made, "shape", None) != image.shape or made.dtype != np.uint8:
                raise RecipeError(
                    f"transform must return uint8 {image.shape}, as the image it gets (got "
                    f"{getattr(made, 'dtype', type(made).__name__)} {getattr(made, 'shape', '')})."
                )


@plain_torch(gradients=True)
def _train(
    folder: RunFolder | None,
    recipe: Recipe,
    data: Data,
    compute: Compute,
    checkpoint_minutes: float,
    changes: Changes,
    progress: Progress,
) -> None:
    """The loop, from the state in the folder to the weights in it; only rank 0 has a folder."""
    complete, (data, held_out) = data, data.hold_out(recipe.held_out, recipe.seed)
    dataset = build_batches(recipe, data, compute.device, changes.transform)
    steps = recipe.epochs * len(dataset)
    state = prepare(folder, recipe, data, compute, changes)
    model, optimizer, scaler, tally = state.model, state.optimizer, state.scaler, state.tally
    classify = distributed.data_parallel(model, compute.compiled(model.classify))
    positions = [divmod(step, len(dataset)) for step in range(state.step, steps)]
    work = sum(image_cost(recipe, data, epoch) for epoch, _ in positions)
    warning = few_steps_warning(len(data.train), recipe.batch_size, recipe.epochs)
    if warning and state.step == 0:
        progress.line(warning)

    def learn(images: Tensor, labels: Tensor, size: ImageSize) -> None:
        """One step. Outside float16 it never waits for the device, so that a GPU can record it."""
        inputs = resize(model.normalize(images), size)  # (B, 3, H, W)
        with compute.autocast():
            logits = classify(inputs)  # (B, K)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        scaler.scale(loss * weight).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        if weight:
            tally.add(loss, logits, labels)

    replays = compute.fuses and distributed.world_size() == 1 and changes.optimizer is None
    take_step = RecordedStep(learn) if replays else learn
    how = ""
    if distributed.world_size() > 1:
        how = f" in {distributed.world_size()} processes"
    elif replays:
        how = ", steps replayed as CUDA graphs"

    with (
        noted_signals() as signals,
        true_float32(),
        training_batches(dataset, positions, compute.pins) as batches,
    ):
        log = TrainingLog(folder, progress, steps, state.step, work)
        log.line(f"{recipe.name}: {len(data.train)} images, {steps} steps, {state.step} done, on {compute}{how}")
        saved = seconds()
        started = saved - state.seconds
        for step, batch in enumerate(batches, start=state.step + 1):
            rate = learning_rate(recipe, step, steps)
            set_rate(optimizer, rate)
            size = image_size(recipe, data, batch.epoch)
            rows, weight = distributed.part(len(batch.labels))  # the complete batch, unless there are several processes
            images, labels = compute.copy(batch.images[rows]), compute.copy(batch.labels[rows])  # (B, H, W, 3), (B,)
            take_step(images, labels, size)
            log.advance(len(batch.labels), image_cost(recipe, data, batch.epoch))

            epoch_ends = batch.number + 1 == len(dataset)
            logs = epoch_ends or (batch.number + 1) % recipe.log_every == 0
            due = seconds() - saved > 60 * checkpoint_minutes
            stops, due = distributed.any_rank(bool(signals), due)
            saves = stops or due
            if logs or saves:
                (loss, correct, seen), (_, epoch_correct, epoch_seen) = tally.totals()
                now = seconds()  # read after a GPU has done the step
                if not math.isfinite(loss):
                    raise RunError(
                        f"{recipe.name}: the loss is {loss} at step {step} (epoch {batch.epoch + 1}, learning rate "
                        f"{rate:.3g}): choose a lower learning_rate, and a new name for the run."
                    )
            if logs:
                row = HistoryRow(
                    step=step,
                    epoch=batch.epoch + 1,
                    seconds=now - started,
                    image_size=both(size)[0],
                    learning_rate=rate,
                    loss=loss / seen,
                    accuracy=correct / seen,
                    epoch_accuracy=epoch_correct / epoch_seen if epoch_ends else None,
                    held_out_accuracy=accuracy(model, held_out) if epoch_ends and len(held_out) and folder else None,
                )
                log.log(row, batch.number + 1)
                if changes.on_row is not None:
                    changes.on_row(row)
                state.rows += 1
                tally.reset(epoch_ends)
            if saves:
                state.step, state.seconds, saved = step, now - started, now
                state.save(folder)
            if stops:
                log.line(f"interrupted after step {step}")
                raise Interrupted(f"{folder}: saved after step {step} of {steps}. The same command resumes.")
        # A loss belongs to the weights before its step.
        if not all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()):
            raise RunError(
                f"{recipe.name}: weights are infinite or NaN after the last step (learning rate "
                f"{learning_rate(recipe, steps, steps):.3g}): choose a lower learning_rate, and a new name for the run."
            )
        log.line(f"Finished Training in {duration(seconds() - started)}")
    if folder is not None:
        save_weights(folder, model, recipe, complete)


def build_model(recipe: Recipe, data: Data) -> ResNet18:
    """The network with initial weights from the recipe's seed; the global random state has no effect and is kept."""
    mean, std = data.statistics if recipe.standardize else ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)  # torch.manual_seed would reseed every GPU's generator too
        return ResNet18(len(data.classes), recipe.width, mean, std, stem_stride_for(data.image_size))


def build_optimizer(
    model: nn.Module,
    recipe: Recipe,
    fused: bool = False,
    own: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
) -> torch.optim.Optimizer:
    """SGD with momentum; weight decay for convolutions and the linear layer, none for norms and biases.

    The rate of a group is multiplied by its `rate_factor` in each step. `fused`: see `Compute.fuses`. `own` makes
    another optimizer, whose rates become factors of the recipe's.
    """
    if own is not None:
        optimizer = own(model)
        for group in optimizer.param_groups:
            group["rate_factor"] = group["lr"] / recipe.learning_rate
        return optimizer
    parameters = list(model.parameters())
    norm_biases = {id(module.bias) for module in model.modules() if isinstance(module, nn.BatchNorm2d)}
    decayed = [p for p in parameters if p.ndim > 1]
    free = [p for p in parameters if p.ndim == 1 and id(p) not in norm_biases]
    biases = [p for p in parameters if id(p) in norm_biases]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay, "rate_factor": 1.0},
        {"params": free, "weight_decay": 0.0, "rate_factor": 1.0},
        {"params": biases, "weight_decay": 0.0, "rate_factor": recipe.norm_bias_rate},
    ]
    if fused:
        for group in groups:
            group["lr"] = torch.tensor(recipe.learning_rate, device=parameters[0].device)
    return torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum, nesterov=recipe.nesterov, fused=fused or None)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of each group for the next step; a rate in a GPU's memory is changed in place."""
    for group in optimizer.param_groups:
        own = rate * group["rate_factor"]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own


def build_batches(recipe: Recipe, data: Data, device: torch.device = CPU, transform: Any = None) -> AugmentedBatches:
    """The training images, without those held out, with the recipe's augmentation; on a GPU if they fit there."""
    fill: tuple[int, ...] = (recipe.cutout_fill,) * 3
    if recipe.cutout_fill < 0:
        fill = tuple(round(255 * value) for value in data.statistics[0])
    settings = recipe.crop_padding, recipe.cutout, recipe.cutout_probability, fill, recipe.crop_border
    if transform is not None:
        return AugmentedBatches(data.train, transform, "none", recipe.batch_size, recipe.seed)
    drawing = recipe.flip, recipe.batch_size, recipe.seed
    if device.type == "cuda" and data.train.images.nbytes <= LARGEST_ON_DEVICE:
        return DeviceBatches(data.train, BatchAugmentation(*settings), *drawing, device)
    return AugmentedBatches(data.train, pipeline(data.image_size, *settings), *drawing)


def prepare(folder: RunFolder | None, recipe: Recipe, data: Data, compute: Compute, changes: Changes) -> TrainingState:
    """The state that a training starts with, or resumes from if the folder has a checkpoint; the same on all ranks.

    The history is cut back to the checkpoint: later steps are trained, and logged, again.
    """
    model = compute.place(build_model(recipe, data)).train()
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == torch.float16)
    optimizer = build_optimizer(model, recipe, compute.fuses, changes.optimizer)
    training = identify(recipe, data) + (json.dumps(changes.names) if changes.names else "")
    state = TrainingState(model, optimizer, scaler, Tally(compute.device), training)
    if folder is not None:
        rows: list[HistoryRow] = []
        if folder.checkpoint.exists():
            state.load(folder.checkpoint)
            rows = [row for row in read_history(folder.history) if row.step <= state.step]
        if len(rows) != state.rows:
            raise RunError(
                f"{folder.history} has {len(rows)} rows up to step {state.step}, but must have {state.rows}: restore "
                f"it from a copy, or delete {folder.checkpoint} to start that training over."
            )
        write_text(folder.history, to_csv(rows))
    state.share()
    return state


def accuracy(model: ResNet18, split: Split) -> float:
    """Share of a split's images that the network classifies correctly, in float32, without augmentation."""
    return float((adapt(model).logits(split.images).argmax(1) == split.labels).mean())


SMALLEST = 12  # pixels
"""Smallest height and width of the network's input."""


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate of step 1 to `steps`: constant, or one-cycle (Smith & Topin 2017, arXiv 1708.07120) in straight lines.

    One-cycle rises for the first `warm_up` of the steps and falls to one step above 0 at the last.
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    peak = recipe.warm_up * steps
    if step <= peak:
        return recipe.learning_rate * (step / peak)
    return recipe.learning_rate * ((steps + 1 - step) / (steps + 1 - peak))


def image_size(recipe: Recipe, data: Data, epoch: int) -> ImageSize:
    """Height and width of the network's input in an epoch counted from 0: `recipe.scales` share the epochs evenly.

    With fewer epochs than scales only the last scales are used. Never less than `SMALLEST` times the stride of the
    stem: of 8 pixels the last stage makes one cell, of which batch norm has no variance in a batch of one image.
    """
    scales, epochs = len(recipe.scales), recipe.epochs
    scale = recipe.scales[max(epoch * scales // epochs, scales - epochs + epoch)]
    least = SMALLEST * stem_stride_for(data.image_size)
    return as_image_size([max(least, round(side * scale)) for side in both(data.image_size)])


def image_cost(recipe: Recipe, data: Data, epoch: int) -> float:
    """Multiply-adds of an image in an epoch counted from 0, as a share of those of one at full size."""
    return math.prod(both(image_size(recipe, data, epoch))) / math.prod(both(data.image_size))


def resize(inputs: Tensor, size: ImageSize) -> Tensor:
    """Network input (N, 3, H, W) resized to another height and width; unchanged if it has that size."""
    if inputs.shape[-2:] == both(size):
        return inputs
    smaller = F.interpolate(inputs, size=both(size), mode="bilinear", antialias=True)
    return smaller.contiguous(memory_format=memory_format(inputs.device))
