"""How every method is called: the checks, the batches and the answer's form, around each method's own formula."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.errors import MapError
from seefar.maps.capture import Captured, capture
from seefar.maps.grid import Maps
from seefar.maps.network import BATCH_SIZE, SMALLEST_MAP, fine_twin, original, to_inputs
from seefar.model.resnet import STAGES


class MapMethod(Protocol):
    """What all methods are called like."""

    __name__: str

    def __call__(
        self,
        model: nn.Module,
        images: Images | Tensor,
        classes: ArrayLike,
        layer: str | None = None,
        *,
        cells: int | None = None,
        force: bool = False,
    ) -> Maps:
        """Nothing is cut off at zero or rescaled. The network is left as it came: same mode, no hook, no `.grad`.

        Where its numbers are not finite, the map is zero; see `map_status`.

        Args:
            model: a `ResNet18`, or any torch network that ends in logits (N, K). Of a compiled network, the original.
            images: for a `ResNet18`, which normalises them itself, uint8 (N, H, W, 3) or float (N, 3, H, W) in 0 to 1;
                for another network its input, a float tensor (N, ...).
            classes: the class to explain for each image, int (N,), or one for all. A class index, 0 to K-1.
            layer: name of a submodule that gives (N, C, h, w), such as `layer3`. Default: the last stage of the dense
                twin, which has the same weights and finer cells.
            cells: cells on a side that the default layer is to have: 8, 16 or 32 for 32-pixel images; default 8.
            force: also give a map of 5x5 cells or fewer.

        Returns:
            float32 (N, h, w).

        Raises:
            MapError: the layer does not exist, has too few cells, or a class is out of range.
        """
        ...


@dataclass(frozen=True)
class Question:
    """Which class of which image is to be explained at which layer: what a `MapMethod` is called with, checked.

    Attributes:
        network: what is explained.
        model: the same, or its dense twin if no layer was named.
        layer: name of a submodule that gives (N, C, h, w).
        inputs: what the network takes, float (N, ...); of a `ResNet18` what its `normalize` gives.
        classes: int64 (N,).
        force: also accept maps of 5x5 cells or fewer.
    """

    network: nn.Module
    model: nn.Module
    layer: str
    inputs: Tensor
    classes: Tensor
    force: bool

    def captured(self) -> Iterator[tuple[Tensor, Captured]]:
        """The inputs of each batch, and what the layer gave for them.

        Raises:
            MapError: the layer does not exist, has too few cells, or a class is out of range.
        """
        parts = zip(torch.split(self.inputs, BATCH_SIZE), torch.split(self.classes, BATCH_SIZE), strict=True)
        for inputs, classes in parts if len(self.inputs) else ():
            captured = capture(self.model, inputs, classes, self.layer)
            height, width = captured.activations.shape[2:]
            if min(height, width) < SMALLEST_MAP and not self.force:
                raise MapError(
                    f"Layer {self.layer} gives maps of {height}x{width} cells, at least {SMALLEST_MAP}x{SMALLEST_MAP} "
                    "are wanted to see a region: leave layer out for the dense twin's finer cells, or name an earlier "
                    "layer. From Python, force=True gives them all the same."
                )
            yield inputs, captured


def map_method(formula: Callable[[Question], Iterator[Tensor]]) -> MapMethod:
    """A formula, which yields the maps of each batch, (n, h, w), made into a function that is called as `MapMethod`.

    It keeps the formula's name, and its docstring goes on with what all methods have in common.
    """

    def method(
        model: nn.Module,
        images: Images | Tensor,
        classes: ArrayLike,
        layer: str | None = None,
        *,
        cells: int | None = None,
        force: bool = False,
    ) -> Maps:
        maps = [finite(part) for part in formula(_ask(model, images, classes, layer, cells, force))]
        return torch.cat(maps).cpu().numpy() if maps else np.empty((0, 0, 0), np.float32)

    method.__module__, method.__name__, method.__qualname__ = (
        formula.__module__,
        formula.__name__,
        formula.__qualname__,
    )
    method.__doc__ = "\n\n".join(inspect.cleandoc(part.__doc__ or "") for part in (formula, MapMethod.__call__))
    return method


def _ask(
    model: nn.Module, images: Images | Tensor, classes: ArrayLike, layer: str | None, cells: int | None, force: bool
) -> Question:
    network = original(model)
    inputs = to_inputs(network, images)
    chosen = np.asarray(classes)
    if chosen.shape not in ((), (len(inputs),)) or (chosen.dtype.kind not in "iu" and chosen.size):
        raise MapError(
            f"Classes are {chosen.dtype} {chosen.shape}, class indices were wanted: one integer from 0 for all "
            f"images, or one for each of the {len(inputs)}."
        )
    target = torch.from_numpy(np.broadcast_to(chosen, len(inputs)).astype(np.int64)).to(inputs.device)
    if layer is not None:
        if cells is not None:
            raise MapError("Cells can be chosen for the default layer only: pass either layer or cells.")
        return Question(network, network, layer, inputs, target, force)
    twin = fine_twin(network, inputs.shape[-1], cells, force)
    twin.cell_stride = 1  # every cell gets the gradient that those which enter the logits have
    return Question(network, twin, STAGES[-1], inputs, target, force)


def finite(maps: Tensor) -> Tensor:
    """The maps (N, h, w) as float32, with zeros in place of each map that has a number that is not finite."""
    maps = maps.float()
    return torch.where(maps.isfinite().all(2).all(1)[:, None, None], maps, torch.zeros((), device=maps.device))
