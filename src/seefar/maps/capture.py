"""A layer's activations with the gradients of class scores; the dense twin of a `ResNet18`, which has finer cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seefar.data.images import ImageSize, both
from seefar.errors import ChoiceError
from seefar.maps.grid import Grid
from seefar.model.adapt import SMALLEST_MAP, Classifier, adapt, first_tensor, hooked
from seefar.model.inference import evaluating
from seefar.model.resnet import ResNet18, dense_twin

BATCH_SIZE = 100


def default_cells(image_size: ImageSize, stem_stride: int = 1) -> int:
    """Cells on the shorter side of the default layer: those of the first dense twin with at least 6, 8 at 32 pixels."""
    doublings = _doublings(image_size, stem_stride)
    return next(size for size in doublings if size >= SMALLEST_MAP and doublings[size])


def fine_twin(model: nn.Module, image_size: ImageSize, cells: int | None, force: bool = False) -> ResNet18:
    """The dense twin whose last stage has this many cells on its shorter side; by default `default_cells`."""
    if not isinstance(model, ResNet18):
        raise ChoiceError(f"Only a ResNet18 has a dense twin, but this is a {type(model).__name__}: leave cells out.")
    doublings = _doublings(image_size, model.stem_stride)
    wanted = default_cells(image_size, model.stem_stride) if cells is None else cells
    allowed = [size for size in doublings if size >= SMALLEST_MAP or force]
    if wanted not in allowed:
        choices = ", ".join(map(str, allowed))
        raise ChoiceError(f"A {image_size}-pixel image cannot give {wanted!r} cells: choose one of {choices}.")
    return dense_twin(model, doublings[wanted])


def _doublings(image_size: ImageSize, stem_stride: int) -> dict[int, int]:
    """For each possible number of cells on the shorter side of the last stage, how many strides its twin replaces."""
    # A stride of 2 halves the cells, rounding up; the network has three of them after the stem.
    shorter = -(-min(both(image_size)) // stem_stride)
    return {-(-shorter // 2 ** (3 - doublings)): doublings for doublings in range(4)}


def grid_of(model: nn.Module | Classifier, cells: tuple[int, int], image_size: int | tuple[int, int]) -> Grid:
    """The grid of a layer's cells, (rows, columns), as far as the network's architecture determines it.

    A `ResNet18` halves its cells by strides of 2, rounding up, so its cells are 1, 2, 4 or 8 pixels apart whatever the
    image's size: at 50 pixels 13 cells are 4 apart, not 50 / 13. Those of other networks are assumed to share the image
    evenly. The origin is the middle of the first cell's block; for a dense twin see `seefar.maps.sanity.find_origin`.
    """
    grid = Grid.even(cells, image_size)
    if isinstance(adapt(model).network, ResNet18):
        spacing = float(2 ** int(np.ceil(np.log2(grid.spacing))))
        grid = Grid(cells, spacing, (spacing - 1) / 2)
    return grid


@dataclass(frozen=True)
class Captured:
    """For n images the network's input (n, ...), the classes of the maps, int64 (n,), and a layer's activations.

    Activations and gradients of each image's class score are float32 (n, C, h, w).
    """

    inputs: Tensor
    classes: Tensor
    activations: Tensor
    gradients: Tensor


def capture(classifier: Classifier, inputs: Tensor, classes: Tensor, layer: str) -> Captured:
    """Run the network forwards once, and backwards to `layer`, from the logit of each image's class, int64 (N,).

    Nothing below the layer is differentiated, so frozen weights and a surrounding `torch.no_grad()` do not matter,
    and no parameter gets a `.grad`. A `ChoiceError` if the layer has no cells, is used more than once or does not reach
    the logits, or a class is out of range.
    """
    taken: list[Tensor] = []

    def take(_module: nn.Module, _inputs: object, output: Any) -> Any:
        activations = first_tensor(output)
        classifier.to_cells(activations, inputs, layer)  # refuses layers without cells
        assert activations is not None
        taken.append(activations.detach().clone().requires_grad_())
        copied = taken[-1].clone()  # since the next layer may change it in place
        return (copied, *output[1:]) if isinstance(output, tuple) else copied

    name = type(classifier.network).__name__
    with evaluating(classifier.network, gradients=True):
        with hooked([classifier.layers[layer]], take):
            logits = classifier.forward(inputs.clone())  # a tensor made under inference_mode could not be used here
        if len(taken) != 1:
            part = "takes no part in the forward pass" if not taken else f"is used {len(taken)} times in a forward pass"
            raise ChoiceError(f"Layer {layer} {part}: choose another layer.")
        count, indices = logits.shape[1], classes.tolist()
        if indices and not 0 <= min(indices) <= max(indices) < count:
            raise ChoiceError(f"Class indices must be from 0 to {count - 1} (got {min(indices)} to {max(indices)}).")
        score = logits.gather(1, classes.clone()[:, None]).sum()
        gradient = torch.autograd.grad(score, taken[0], allow_unused=True)[0] if score.requires_grad else None
        if gradient is None:
            raise ChoiceError(f"The logits do not depend on layer {layer} by a gradient: choose another layer.")
        activations, gradients = (classifier.to_cells(part.detach(), inputs, layer) for part in (taken[0], gradient))
    if len(inputs) and not gradients.any():
        probed = classifier.probe(inputs.shape[1:])
        others = [other for other, (_, reaches) in probed.items() if reaches]
        if others and layer not in others:
            raise ChoiceError(
                f"The gradient of {name}'s logits is zero in all cells of layer {layer}: pass layer {others[-1]!r}, "
                "the last whose cells reach the logits."
            )
    return Captured(inputs, classes, activations.float(), gradients.float())
