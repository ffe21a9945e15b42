"""From a network and images to the network's input, and to the dense twin whose cells a map is made of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.errors import MapError
from seefar.model.inference import device_of
from seefar.model.resnet import ResNet18
from seefar.model.twin import dense_twin

BATCH_SIZE = 100
SMALLEST_MAP = 6  # cells on a side; 5x5 and less shows no region


def original(model: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given: hooks do not reach into compiled code."""
    inner = getattr(model, "_orig_mod", model)
    assert isinstance(inner, nn.Module)
    return inner


def to_inputs(model: nn.Module, images: Images | Tensor) -> Tensor:
    """What is mapped, on the network's device: a `ResNet18`'s normalised pictures, another network's input as it is.

    Raises:
        DataError: the network is a `ResNet18`, and these are no pictures.
        MapError: the images are uint8, and the network does not know how to normalise them.
    """
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images)
    images = images.to(device_of(model))
    if isinstance(model, ResNet18):
        normalized: Tensor = model.normalize(images)
        return normalized
    if images.dtype == torch.uint8:
        raise MapError(f"{type(model).__name__} cannot take uint8 images: pass the float tensor it was trained on.")
    return images


def to_logits(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (N, K) of what `to_inputs` gives."""
    logits: Tensor = model.classify(inputs) if isinstance(model, ResNet18) else model(inputs)
    return logits


def fine_twin(model: nn.Module, image_size: int, cells: int | None, force: bool = False) -> ResNet18:
    """The dense twin whose last stage has this many cells on a side; by default the first with at least 6.

    Raises:
        MapError: the network is no `ResNet18`, or no twin of it has that many cells.
    """
    if not isinstance(model, ResNet18):
        raise MapError(f"The default layer is that of a ResNet18, this is a {type(model).__name__}: name a layer.")
    sizes = _doublings(image_size)
    fine = {size: doublings for size, doublings in sizes.items() if size >= SMALLEST_MAP or force}
    wanted = next(size for size in sizes if size >= SMALLEST_MAP and sizes[size]) if cells is None else cells
    if wanted not in fine:
        those = ", ".join(map(str, fine))
        raise MapError(f"{wanted} cells cannot be had of {image_size}-pixel images: pass one of {those}.")
    return dense_twin(model, sizes[wanted])


def _doublings(image_size: int) -> dict[int, int]:
    """How many strides are taken away from the network, by the cells on a side that its last stage then has."""
    # A stride of 2 halves the cells, rounding up; the network has three of them.
    return {-(-image_size // 2 ** (3 - doublings)): doublings for doublings in range(4)}
