"""What the loop is given: network, optimizer, batches, each step's rate and image size, the state to go on from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from seefar import processes
from seefar.data.augmentation import BatchAugmentation, pipeline
from seefar.data.batches import LARGEST_ON_DEVICE, AugmentedBatches, DeviceBatches
from seefar.data.images import Data, Images, Labels, Split
from seefar.errors import RunError
from seefar.model.inference import BATCH_SIZE, pooled_features
from seefar.model.resnet import ResNet18, memory_format
from seefar.runs.files import write_text
from seefar.runs.folder import RunFolder
from seefar.training.checkpoint import Tally, TrainingState
from seefar.training.device import Compute
from seefar.training.history import read_history, to_csv
from seefar.training.recipe import Recipe

CPU = torch.device("cpu")
SMALLEST = 12  # pixels
"""Height and width that the network is given at the least."""


def build_model(recipe: Recipe, data: Data) -> ResNet18:
    """The network with the first weights that the recipe's seed gives, whatever the global random state is."""
    mean, std = data.statistics if recipe.standardize else ((0.5,) * 3, (0.5,) * 3)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)  # torch.manual_seed would reseed every GPU's generator too
        return ResNet18(len(data.classes), recipe.width, mean, std)


def build_optimizer(model: nn.Module, recipe: Recipe, fused: bool = False) -> torch.optim.SGD:
    """SGD with momentum; weight decay for convolutions and the linear layer, none for norms and biases.

    A group's `rate_factor` is what its rate is multiplied by in each step; norms' biases are a group of their own.

    Args:
        model: whose parameters it is to change.
        recipe: momentum, decay, and the rate of the first step.
        fused: one kernel changes all parameters of a group and reads the rate from the device's memory; see `Compute`.
    """
    parameters = list(model.parameters())
    norm_biases = {id(module.bias) for module in model.modules() if isinstance(module, nn.BatchNorm2d)}
    free = [p for p in parameters if p.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay, "rate_factor": 1.0},
        {"params": [p for p in free if id(p) not in norm_biases], "weight_decay": 0.0, "rate_factor": 1.0},
        {
            "params": [p for p in free if id(p) in norm_biases],
            "weight_decay": 0.0,
            "rate_factor": recipe.norm_bias_rate,
        },
    ]
    if fused:
        for group in groups:
            group["lr"] = torch.tensor(recipe.learning_rate, device=parameters[0].device)
    return torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum, nesterov=recipe.nesterov, fused=fused or None)


def set_rate(optimizer: torch.optim.SGD, rate: float) -> None:
    """Give each group its rate for the next step; a rate in a GPU's memory is changed there, where it is read."""
    for group in optimizer.param_groups:
        own = rate * group["rate_factor"]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own


def build_batches(recipe: Recipe, data: Data, device: torch.device = CPU) -> AugmentedBatches:
    """The training images, without those held out, as the recipe augments them; by a GPU itself if it has the room."""
    mean = tuple(round(255 * value) for value in data.statistics[0])
    fill = mean if recipe.cutout_fill < 0 else (recipe.cutout_fill,) * 3
    settings = recipe.crop_padding, recipe.cutout, recipe.cutout_probability, fill, recipe.crop_border
    drawing = recipe.flip, recipe.batch_size, recipe.seed
    if device.type == "cuda" and data.train.images.nbytes <= LARGEST_ON_DEVICE:
        return DeviceBatches(data.train, BatchAugmentation(*settings), *drawing, device)
    return AugmentedBatches(data.train, pipeline(data.image_size, *settings), *drawing)


def prepare(folder: RunFolder, recipe: Recipe, data: Data, compute: Compute) -> TrainingState:
    """The state that a training begins with, or goes on from where the folder holds a checkpoint.

    The history is cut back to the checkpoint: what came after it will be trained, and logged, again.

    Raises:
        RunError: the checkpoint or its history is damaged, or of another network.
    """
    model = compute.place(build_model(recipe, data)).train()
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == torch.float16)
    precision = str(compute.precision).removeprefix("torch.")
    optimizer = build_optimizer(model, recipe, compute.fuses)
    state = TrainingState(model, optimizer, scaler, Tally.begin(compute.device), precision)
    state.training = {"recipe": recipe.to_json(), "data": data.fingerprint}
    rows = []
    if folder.checkpoint.exists():
        state.load(folder.checkpoint)
        state.tally.keep_on_first()
        try:
            rows = [row for row in read_history(folder.history) if row.step <= state.step]
            if state.rows >= 0 and len(rows) != state.rows:
                raise RunError(
                    f"{folder.history} has {len(rows)} rows up to step {state.step}, {state.rows} were written: put it "
                    "back from a copy."
                )
        except RunError as error:
            raise RunError(
                f"{error} Or delete {folder.checkpoint}, which cannot go on without it, to begin that training anew."
            ) from error
    state.rows = len(rows)
    write_text(folder.history, to_csv(rows))
    return state


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate of step 1 to `steps`: constant, or one-cycle (Smith & Topin 2017, arXiv 1708.07120) in straight lines.

    One-cycle rises for the first `warm_up` of the steps and falls to one step above `final_rate` of it at the last.
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    peak = recipe.warm_up * steps
    if step <= peak:
        return recipe.learning_rate * (step / peak)
    above = (steps + 1 - step) / (steps + 1 - peak)
    return recipe.learning_rate * (recipe.final_rate + (1 - recipe.final_rate) * above)


def image_size(recipe: Recipe, data: Data, epoch: int) -> int:
    """Height and width of the network's input in an epoch counted from 0: `recipe.scales` share the epochs evenly.

    With fewer epochs than scales it is the last scales, one for each epoch: the last epoch is always at the last scale.
    Never less than `SMALLEST`: of 8 pixels and fewer the last stage makes one cell, and of a last batch of one image
    batch norm would then have one value to take the variance of.
    """
    scales, epochs = len(recipe.scales), recipe.epochs
    scale = recipe.scales[max(epoch * scales // epochs, scales - epochs + epoch)]
    return max(SMALLEST, round(data.image_size * scale))


def image_cost(recipe: Recipe, data: Data, epoch: int) -> float:
    """Multiply-adds of an image in an epoch counted from 0, as a share of those of one at full size."""
    return (image_size(recipe, data, epoch) / data.image_size) ** 2


def resize(inputs: Tensor, size: int) -> Tensor:
    """Network input (N, 3, H, W) brought to (N, 3, size, size); as it is if it has that size."""
    if inputs.shape[-1] == size:
        return inputs
    smaller = F.interpolate(inputs, size=(size, size), mode="bilinear", antialias=True)
    return smaller.contiguous(memory_format=memory_format(inputs.device))


def accuracy(model: ResNet18, split: Split) -> float:
    """Share of a split's images that the network answers rightly, in float32, without augmentation."""

    def right(images: Images, labels: Labels) -> tuple[NDArray[np.bool_]]:
        logits = model.fc(pooled_features(model, images))  # (n, K)
        return ((logits.argmax(1) == torch.from_numpy(labels).to(logits.device)).cpu().numpy(),)

    (answered,) = processes.in_parts(right, split.images, split.labels, unit=BATCH_SIZE)
    return int(answered.sum()) / len(split)


def all_finite(model: nn.Module) -> bool:
    """Whether every parameter and every running statistic is a finite number."""
    return all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())
