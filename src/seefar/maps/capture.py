"""Networks and images in; activations of a layer, gradients and logits out, with the network left as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.errors import MapError
from seefar.model.inference import compute_logits, device_errors, device_of, eval_mode, true_float32
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


Model = nn.Module | Callable[[Images], Any]
"""A torch module that makes logits (n, K) of pictures, float32 (n, 3, H, W) in 0 to 1; a `ResNet18` does. Or a function
that makes them of stored images, uint8 (n, H, W, 3): an array."""


def logits_of(model: Model, images: Images) -> NDArray[np.float32]:
    """Logits, float32 (N, K), of stored images, uint8 (N, H, W, 3).

    A module is used in eval mode, without TF32, and left in the mode it came in.

    Args:
        model: see `Model`.
        images: uint8 (N, H, W, 3).

    Raises:
        MapError: the model gives something else than logits (N, K).

    Example:
        >>> logits_of(lambda images: images.mean((1, 2)), np.full((1, 4, 4, 3), 7, np.uint8))
        array([[7., 7., 7.]], dtype=float32)
    """
    if isinstance(model, nn.Module):
        network = original(model)
        if isinstance(network, ResNet18):
            return compute_logits(network, np.ascontiguousarray(images))
        with torch.no_grad(), eval_mode(network), true_float32():
            parts = [network(part) for part in torch.split(to_pictures(network, images), BATCH_SIZE)]
    else:
        parts = [model(images[start : start + BATCH_SIZE]) for start in range(0, len(images), BATCH_SIZE)]
    found = [part.float().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part) for part in parts]
    if not all(part.ndim == 2 for part in found) or sum(map(len, found)) != len(images):
        name = type(model).__name__
        raise MapError(f"{name} gives {found[0].shape} for {len(images)} images: a model that gives logits is wanted.")
    return np.concatenate(found).astype(np.float32)


def to_pictures(model: nn.Module, images: Images) -> Tensor:
    """Stored images as a module of other make takes them: float32 (N, 3, H, W) in 0 to 1, on its device."""
    return torch.from_numpy(np.array(images)).to(device_of(model)).permute(0, 3, 1, 2).float() / 255


@dataclass(frozen=True)
class Captured:
    """What a layer gave for n images, and how the score of each image's class depends on it.

    Attributes:
        inputs: what the network took, float (n, ...).
        classes: int64 (n,), the class that each image's map is for.
        activations: float32 (n, C, h, w).
        gradients: float32 (n, C, h, w), of the logit of that class.
    """

    inputs: Tensor
    classes: Tensor
    activations: Tensor
    gradients: Tensor


def capture(model: nn.Module, inputs: Tensor, classes: Tensor, layer: str) -> Captured:
    """Run the network once forwards, and back to `layer`.

    Nothing below the layer is differentiated, so frozen weights and a surrounding `torch.no_grad()` do not matter,
    and no parameter gets a `.grad`.

    Args:
        model: any network that ends in logits (N, K).
        inputs: what it takes, float (N, ...); of a `ResNet18` what its `normalize` gives.
        classes: int64 (N,), whose logit each image's gradient is of.
        layer: the name of a submodule that gives (N, C, h, w).

    Raises:
        MapError: there is no such layer, it does not give cells, runs more than once or leads nowhere, or a class is
            out of range.
    """
    taken: list[Tensor] = []

    def take(_module: nn.Module, _inputs: object, activations: object) -> Tensor:
        if not isinstance(activations, Tensor) or activations.ndim != 4:
            found = tuple(activations.shape) if isinstance(activations, Tensor) else type(activations).__name__
            batch = ", of a batch of images" if inputs.ndim < 4 else ""
            raise MapError(f"Layer {layer} gives {found}, a map needs activations (N, C, h, w){batch}.")
        with torch.enable_grad():
            taken.append(activations.detach().clone().requires_grad_())
            return taken[-1].clone()  # a copy, since what follows may change it in place

    module = dict(model.named_modules())[layer]
    with eval_mode(model), true_float32(), device_errors(), torch.inference_mode(False), torch.enable_grad():
        handle = module.register_forward_hook(take)
        try:
            logits = to_logits(model, inputs.clone())  # a tensor made under inference_mode could not be used here
        finally:
            handle.remove()
        if len(taken) != 1:
            part = "takes no part in the forward pass" if not taken else f"is used {len(taken)} times in a forward pass"
            raise MapError(f"Layer {layer} {part}: name another layer.")
        check_classes(classes, logits.shape[1])
        score = logits.gather(1, classes.clone()[:, None]).sum()
        gradients = torch.autograd.grad(score, taken[0], allow_unused=True)[0] if score.requires_grad else None
        if gradients is None:
            raise MapError(f"The logits do not depend on layer {layer}: name another layer.")
    return Captured(inputs, classes, taken[0].detach().float(), gradients.float())


def check_classes(classes: Tensor, count: int) -> None:
    """Check that class indices are below the number of classes.

    Raises:
        MapError: one is not.
    """
    if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < count:
        raise MapError(
            f"Classes run from {int(classes.min())} to {int(classes.max())}, the network has {count}: "
            f"pass class indices from 0 to {count - 1}."
        )


def find_layer(model: nn.Module, layer: str | nn.Module) -> str:
    """The name of a layer that is given by name or as the module itself.

    Raises:
        MapError: the network has none such; the message lists the names of its parts.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if isinstance(layer, nn.Module):
        for name, module in modules.items():
            if module is layer and name:
                return name
        raise MapError(f"The {type(layer).__name__} that was passed is no part of the {type(model).__name__}.")
    if layer not in modules or not layer:
        raise MapError(f"{type(model).__name__} has no layer {layer!r}: pass {suggest(model)}.")
    return layer
