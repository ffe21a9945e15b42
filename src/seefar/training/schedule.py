"""What changes from step to step: the learning rate and the size of the images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from seefar.data.images import Data
from seefar.model.resnet import memory_format
from seefar.training.recipe import Recipe

SMALLEST = 12  # pixels
"""Height and width that the network is given at the least."""


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
