"""From a network and images to the network's input, and to the dense twin whose cells a map is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.errors import MapError
from seefar.model.inference import device_of
from seefar.model.resnet import ResNet18, dense_twin

Pictures = Images | Tensor | Sequence[Images | Tensor]
"""Images as callers pass them: an array, a tensor, or a list of either."""

BATCH_SIZE = 100
SMALLEST_MAP = 6  # cells on a side; 5x5 and less shows no region


def original(model: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given: hooks do not reach into compiled code.

    Raises:
        MapError: it is no torch module.
    """
    inner = getattr(model, "_orig_mod", model)
    if not isinstance(inner, nn.Module):
        raise MapError(f"The model is a {type(model).__name__}, a torch module was wanted: pass it, such as run.model.")
    return inner


def to_batch(images: Pictures) -> Tensor:
    """Images as one tensor: of an array, a tensor, a PIL image, or a list of them; a single picture is a batch of one.

    A single picture is uint8 (H, W, 3).

    Raises:
        MapError: they are something else, or of different sizes.
    """
    try:
        if isinstance(images, Tensor):
            batch = images
        elif isinstance(images, list | tuple):
            parts = [part if isinstance(part, Tensor) else torch.from_numpy(np.array(part)) for part in images]
            batch = torch.stack(parts)
        else:
            batch = torch.from_numpy(np.array(images))  # a copy: torch takes no array that is read-only or mirrored
    except (TypeError, ValueError, RuntimeError) as error:
        raise MapError(
            f"Images are {_describe(images)}: pass an array or tensor of them, such as uint8 (N, H, W, 3), or a list "
            "of pictures of one size."
        ) from error
    return batch[None] if batch.dtype == torch.uint8 and batch.ndim == 3 else batch


def to_inputs(model: nn.Module, images: Pictures) -> Tensor:
    """What is mapped, on the network's device: a `ResNet18`'s normalised pictures, another network's input as it is.

    Raises:
        DataError: the network is a `ResNet18`, and these are no pictures.
        MapError: the images are uint8, and the network does not know how to normalise them.
    """
    batch = to_batch(images)
    if isinstance(model, ResNet18):
        if batch.is_floating_point() and batch.ndim == 3:
            batch = batch[None]
        normalized: Tensor = model.normalize(batch.to(device_of(model), _own_type(model, batch)))
        return normalized
    if not batch.is_floating_point():
        raise MapError(
            f"{type(model).__name__} cannot take {str(batch.dtype).removeprefix('torch.')} images: pass the float "
            "tensor it was trained on."
        )
    return batch.to(device_of(model), _own_type(model, batch))


def to_logits(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (N, K) of what `to_inputs` gives.

    Raises:
        MapError: the network gives something else.
    """
    logits = model.classify(inputs) if isinstance(model, ResNet18) else model(inputs)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(inputs):
        raise MapError(
            f"{type(model).__name__} gives {_describe(logits)} for {len(inputs)} images, logits ({len(inputs)}, K) "
            "were wanted: wrap it in a module that returns them."
        )
    return logits


def fine_twin(model: nn.Module, image_size: int, cells: int | None, force: bool = False) -> ResNet18:
    """The dense twin whose last stage has this many cells on a side; by default the first with at least 6.

    Raises:
        MapError: the network is no `ResNet18`, or no twin of it has that many cells.
    """
    if not isinstance(model, ResNet18):
        raise MapError(
            f"The default layer is that of a ResNet18, this is a {type(model).__name__}: pass layer=, {suggest(model)}."
        )
    sizes = _doublings(image_size)
    fine = {size: doublings for size, doublings in sizes.items() if size >= SMALLEST_MAP or force}
    wanted = next(size for size in sizes if size >= SMALLEST_MAP and sizes[size]) if cells is None else cells
    if wanted not in fine:
        those = ", ".join(map(str, fine))
        raise MapError(f"{wanted!r} cells cannot be had of {image_size}-pixel images: pass one of {those}.")
    return dense_twin(model, sizes[wanted])


def _doublings(image_size: int) -> dict[int, int]:
    """How many strides are taken away from the network, by the cells on a side that its last stage then has."""
    # A stride of 2 halves the cells, rounding up; the network has three of them.
    return {-(-image_size // 2 ** (3 - doublings)): doublings for doublings in range(4)}


def suggest(model: nn.Module) -> str:
    """The names of a network's parts, and its last convolution as an example of a layer."""
    names = ", ".join(name for name, _ in model.named_children()) or "no named parts"
    last = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)][-1:]
    return f"the name of a submodule (it has {names}{f'; its last convolution is {last[0]!r}' if last else ''})"


def _own_type(model: nn.Module, batch: Tensor) -> torch.dtype:
    """The type of the network's own numbers for float images; others keep theirs."""
    own = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return next(own, batch.dtype) if batch.is_floating_point() else batch.dtype


def _describe(thing: object) -> str:
    if isinstance(thing, Tensor | np.ndarray):
        return f"{str(thing.dtype).removeprefix('torch.')} {tuple(thing.shape)}"
    if isinstance(thing, list | tuple):
        return f"a {type(thing).__name__} of {', '.join(map(_describe, thing[:2]))}{', ...' if len(thing) > 2 else ''}"
    return f"a {type(thing).__name__}"
