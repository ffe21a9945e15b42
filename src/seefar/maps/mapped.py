"""Argument checks, batches and output format shared by all map methods."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from seefar.errors import MapError
from seefar.maps.capture import Captured, capture, find_layer
from seefar.maps.grid import Maps
from seefar.maps.network import BATCH_SIZE, SMALLEST_MAP, Pictures, fine_twin, original, suggest, to_inputs, to_logits
from seefar.model.inference import eval_mode, true_float32
from seefar.model.resnet import STAGES, ResNet18


def mapped(
    formula: Callable[[Captured], Tensor],
    model: nn.Module,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """The maps that a formula makes of each batch's activations and gradients; the arguments are those of `gradcam`.

    Args:
        formula: from what was captured of n images to their maps, (n, h, w).
        model: see `seefar.gradcam`, like all that follow.
        images: what is mapped.
        classes: whose maps.
        layer: where.
        cells: how fine.
        force: also too coarse.
    """
    network = original(model)
    inputs = to_inputs(network, images)
    count = len(inputs)
    if not count:  # one image of zeros, so that the layer is checked and the maps have their height and width
        inputs = inputs.new_zeros((1, *inputs.shape[1:]))
    target = to_classes(network, inputs, classes if count else 0)
    captured_from, name = _place(network, inputs, layer, cells, force)
    maps = []
    for start in range(0, len(inputs), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        at = capture(captured_from, inputs[rows], target[rows], name)
        _check_size(at.activations, network, name, force)
        maps.append(finite(formula(at)))
    return torch.cat(maps)[:count].cpu().numpy()


def to_classes(network: nn.Module, inputs: Tensor, classes: ArrayLike | None) -> Tensor:
    """The class of each image, int64 (N,): those that were passed, or those that the network predicts.

    Raises:
        MapError: they are no class indices, or not one for each image.
    """
    if classes is None:
        with torch.no_grad(), true_float32(), eval_mode(network):
            return torch.cat([to_logits(network, part).argmax(1) for part in torch.split(inputs, BATCH_SIZE)])
    chosen = np.asarray(classes.cpu() if isinstance(classes, Tensor) else classes)
    if chosen.shape not in ((), (len(inputs),)) or chosen.dtype.kind not in "iu":
        raise MapError(
            f"Classes are {chosen.dtype} {chosen.shape}, class indices were wanted: one integer from 0 for all "
            f"images, or one for each of the {len(inputs)}."
        )
    return torch.from_numpy(np.broadcast_to(chosen, len(inputs)).astype(np.int64)).to(inputs.device)


def finite(maps: Tensor) -> Tensor:
    """The maps (N, h, w) as float32, with zeros in place of each map that has a number that is not finite."""
    maps = maps.float()
    return maps.masked_fill(~maps.isfinite().flatten(1).all(1)[:, None, None], 0.0)


def _place(
    network: nn.Module, inputs: Tensor, layer: str | nn.Module | None, cells: int | None, force: bool
) -> tuple[nn.Module, str]:
    """The module to run and the name of its layer to capture: the network's own layer, or the twin's last stage."""
    if layer is not None:
        if cells is not None:
            raise MapError("Cells can be chosen for the default layer only: pass either layer or cells.")
        return network, find_layer(network, layer)
    twin = fine_twin(network, inputs.shape[-1], cells, force)
    # The twin's head averages only those cells that the network has too, so only they would get a gradient. Here it
    # averages all of them: each cell gets the same gradient, and its sum over the cells, which weighs the channels, is
    # still the network's. The logits of this twin are not the network's; they are not used.
    twin.cell_stride = 1
    return twin, STAGES[-1]


def _check_size(activations: Tensor, network: nn.Module, layer: str, force: bool) -> None:
    height, width = activations.shape[2:]
    if min(height, width) < SMALLEST_MAP and not force:
        other = (
            "leave layer out for the dense twin's finer cells, or pass an earlier layer"
            if isinstance(network, ResNet18)
            else f"pass an earlier layer, {suggest(network)}"
        )
        raise MapError(
            f"Layer {layer} gives maps of {height}x{width} cells, at least {SMALLEST_MAP}x{SMALLEST_MAP} are wanted "
            f"to see a region: {other}. seefar.gradcam(..., force=True) gives them all the same."
        )
