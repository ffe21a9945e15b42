"""Run a network on images: its input, its logits, and a layer's activations with the gradients of class scores.

Two kinds of network are explained: a `ResNet18`, which normalises pictures itself and whose dense twin has finer cells,
and any other torch module, which gets its input as it is passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.errors import ChoiceError
from seefar.model.inference import compute_logits, device_errors, device_of, eval_mode, true_float32
from seefar.model.resnet import ResNet18, dense_twin

Pictures = Images | Tensor | Sequence[Images | Tensor]
"""Images as callers pass them: an array, a tensor, or a list of either."""

Model = nn.Module | Callable[[Images], Any]
"""A torch module that takes pictures, float32 (n, 3, H, W) in 0 to 1, and returns logits (n, K); a `ResNet18` does. Or
a function from stored images, uint8 (n, H, W, 3), to an array of logits."""

BATCH_SIZE = 100
SMALLEST_MAP = 6  # cells on a side; 5x5 and fewer show no region


def original(model: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given: hooks do not reach into compiled code.

    Raises:
        ChoiceError: `model` is not a torch module.
    """
    inner = getattr(model, "_orig_mod", model)
    if not isinstance(inner, nn.Module):
        raise ChoiceError(f"The model must be a torch module, such as run.model (got a {type(model).__name__}).")
    return inner


def to_batch(images: Pictures) -> Tensor:
    """Images as one tensor: from an array, a tensor, a PIL image, or a list of them.

    A single picture, uint8 (H, W, 3), becomes a batch of one.

    Raises:
        ChoiceError: `images` is something else, or a list of different sizes.
    """
    try:
        if isinstance(images, Tensor):
            batch = images
        elif isinstance(images, list | tuple):
            parts = [part if isinstance(part, Tensor) else torch.from_numpy(np.array(part)) for part in images]
            batch = torch.stack(parts)
        else:
            batch = torch.from_numpy(np.array(images))  # a copy: torch rejects read-only and mirrored arrays
    except (TypeError, ValueError, RuntimeError) as error:
        raise ChoiceError(
            "Images must be an array or a tensor, such as uint8 (N, H, W, 3), or a list of pictures of one size "
            f"(got {_describe(images)})."
        ) from error
    return batch[None] if batch.dtype == torch.uint8 and batch.ndim == 3 else batch


def to_inputs(model: nn.Module, images: Pictures) -> Tensor:
    """The network's input on its device: normalised pictures for a `ResNet18`, the images as passed for another one.

    Raises:
        DataError: the network is a `ResNet18`, and the images are not pictures.
        ChoiceError: the images are integers, and the network cannot normalise them.
    """
    batch = to_batch(images)
    if isinstance(model, ResNet18):
        if batch.is_floating_point() and batch.ndim == 3:
            batch = batch[None]
        normalized: Tensor = model.normalize(batch.to(device_of(model), _float_type(model, batch)))
        return normalized
    if not batch.is_floating_point():
        raise ChoiceError(
            f"{type(model).__name__} cannot take {str(batch.dtype).removeprefix('torch.')} images: pass the float "
            "tensor that it was trained on."
        )
    return batch.to(device_of(model), _float_type(model, batch))


def to_pictures(model: nn.Module, images: Images) -> Tensor:
    """Stored images as float32 (N, 3, H, W) in 0 to 1 on the model's device, for a module that is not a `ResNet18`."""
    return torch.from_numpy(np.array(images)).to(device_of(model)).permute(0, 3, 1, 2).float() / 255


def to_logits(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (N, K) for what `to_inputs` returns.

    Raises:
        ChoiceError: the network returns something else.
    """
    logits = model.classify(inputs) if isinstance(model, ResNet18) else model(inputs)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(inputs):
        raise ChoiceError(
            f"{type(model).__name__} must return logits ({len(inputs)}, K) for {len(inputs)} images (got "
            f"{_describe(logits)}): wrap it in a module that does."
        )
    return logits


def logits_of(model: Model, images: Images) -> NDArray[np.float32]:
    """Logits, float32 (N, K), of stored images, uint8 (N, H, W, 3).

    A module is used in eval mode and in true float32, and left in its mode.

    Args:
        model: see `Model`.
        images: uint8 (N, H, W, 3).

    Raises:
        ChoiceError: the model returns something else.

    Example:
        >>> logits_of(lambda images: images.mean((1, 2)), np.full((1, 4, 4, 3), 7, np.uint8))
        array([[7., 7., 7.]], dtype=float32)
    """
    if isinstance(model, nn.Module):
        network = original(model)
        if isinstance(network, ResNet18):
            return compute_logits(network, np.ascontiguousarray(images))
        with torch.no_grad(), eval_mode(network), true_float32():
            returned = [network(part) for part in torch.split(to_pictures(network, images), BATCH_SIZE)]
    else:
        returned = [model(images[start : start + BATCH_SIZE]) for start in range(0, len(images), BATCH_SIZE)]
    parts = [part.float().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part) for part in returned]
    if not all(part.ndim == 2 for part in parts) or sum(map(len, parts)) != len(images):
        raise ChoiceError(
            f"{type(model).__name__} must return logits (N, K) for {len(images)} images (got {parts[0].shape})."
        )
    return np.concatenate(parts).astype(np.float32)


def default_cells(image_size: int) -> int:
    """Cells on a side of the default layer: those of the first dense twin with at least 6.

    Example:
        >>> default_cells(32), default_cells(16), default_cells(96)
        (8, 8, 24)
    """
    doublings = _doublings(image_size)
    return next(size for size in doublings if size >= SMALLEST_MAP and doublings[size])


def fine_twin(model: nn.Module, image_size: int, cells: int | None, force: bool = False) -> ResNet18:
    """The dense twin whose last stage has this many cells on a side; by default `default_cells`.

    Raises:
        ChoiceError: the network is not a `ResNet18`, or no twin of it has that many cells.
    """
    if not isinstance(model, ResNet18):
        raise ChoiceError(
            f"The default layer is a ResNet18's, this is a {type(model).__name__}: pass layer=, {list_layers(model)}."
        )
    doublings = _doublings(image_size)
    wanted = default_cells(image_size) if cells is None else cells
    allowed = [size for size in doublings if size >= SMALLEST_MAP or force]
    if wanted not in allowed:
        choices = ", ".join(map(str, allowed))
        raise ChoiceError(f"A {image_size}-pixel image cannot give {wanted!r} cells: choose one of {choices}.")
    return dense_twin(model, doublings[wanted])


def _doublings(image_size: int) -> dict[int, int]:
    """For each possible number of cells on a side of the last stage, how many strides its twin replaces."""
    # A stride of 2 halves the cells, rounding up; the network has three of them.
    return {-(-image_size // 2 ** (3 - doublings)): doublings for doublings in range(4)}


def find_layer(network: nn.Module, layer: str | nn.Module) -> str:
    """The name of a layer that is given by name or as the module itself.

    Raises:
        ChoiceError: the network has no such layer; the message lists its parts.
    """
    modules: dict[str, nn.Module] = dict(network.named_modules())
    if isinstance(layer, nn.Module):
        for name, module in modules.items():
            if module is layer and name:
                return name
        raise ChoiceError(f"The {type(layer).__name__} that was passed is not part of the {type(network).__name__}.")
    if layer not in modules or not layer:
        raise ChoiceError(f"{type(network).__name__} has no layer {layer!r}: pass {list_layers(network)}.")
    return layer


def list_layers(network: nn.Module) -> str:
    """What a message says about layers: the names of a network's parts, and its last convolution as an example."""
    names = ", ".join(name for name, _ in network.named_children()) or "no named parts"
    last = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)][-1:]
    example = f"; its last convolution is {last[0]!r}" if last else ""
    return f"the name of a submodule (it has {names}{example})"


@dataclass(frozen=True)
class Captured:
    """A layer's activations for n images, and the gradient of each image's class score with respect to them.

    Attributes:
        inputs: the network's input, float (n, ...).
        classes: int64 (n,), the class that each image's map is for.
        activations: float32 (n, C, h, w).
        gradients: float32 (n, C, h, w), of the logit of that class.
    """

    inputs: Tensor
    classes: Tensor
    activations: Tensor
    gradients: Tensor


def capture(model: nn.Module, inputs: Tensor, classes: Tensor, layer: str) -> Captured:
    """Run the network forwards once, and backwards to `layer`.

    Nothing below the layer is differentiated, so frozen weights and a surrounding `torch.no_grad()` do not matter,
    and no parameter gets a `.grad`.

    Args:
        model: any network that ends in logits (N, K).
        inputs: what `to_inputs` returns, float (N, ...).
        classes: int64 (N,), the class of each image whose logit is differentiated.
        layer: the name of a submodule that gives (N, C, h, w).

    Raises:
        ChoiceError: there is no such layer, it has no cells, is used more than once or does not lead to the logits, or
            a class is out of range.
    """
    taken: list[Tensor] = []

    def take(_module: nn.Module, _inputs: object, activations: object) -> Tensor:
        if not isinstance(activations, Tensor) or activations.ndim != 4:
            batch = ", and the input must be a batch of images" if inputs.ndim < 4 else ""
            raise ChoiceError(
                f"Layer {layer} must give activations (N, C, h, w){batch} (got {_describe(activations)})."
            )
        with torch.enable_grad():
            taken.append(activations.detach().clone().requires_grad_())
            return taken[-1].clone()  # a copy, since the next layer may change it in place

    module = dict(model.named_modules())[layer]
    with eval_mode(model), true_float32(), device_errors(), torch.inference_mode(False), torch.enable_grad():
        handle = module.register_forward_hook(take)
        try:
            logits = to_logits(model, inputs.clone())  # a tensor made under inference_mode could not be used here
        finally:
            handle.remove()
        if len(taken) != 1:
            part = "takes no part in the forward pass" if not taken else f"is used {len(taken)} times in a forward pass"
            raise ChoiceError(f"Layer {layer} {part}: name another layer.")
        count, found = logits.shape[1], classes.tolist()
        if found and not 0 <= min(found) <= max(found) < count:
            raise ChoiceError(f"Class indices must be from 0 to {count - 1} (got {min(found)} to {max(found)}).")
        score = logits.gather(1, classes.clone()[:, None]).sum()
        gradients = torch.autograd.grad(score, taken[0], allow_unused=True)[0] if score.requires_grad else None
        if gradients is None:
            raise ChoiceError(f"The logits do not depend on layer {layer}: name another layer.")
    return Captured(inputs, classes, taken[0].detach().float(), gradients.float())


def _float_type(model: nn.Module, batch: Tensor) -> torch.dtype:
    """The network's own float type for float images; integer images keep theirs."""
    own = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return next(own, batch.dtype) if batch.is_floating_point() else batch.dtype


def _describe(thing: object) -> str:
    if isinstance(thing, Tensor | np.ndarray):
        return f"{str(thing.dtype).removeprefix('torch.')} {tuple(thing.shape)}"
    if isinstance(thing, list | tuple):
        return f"a {type(thing).__name__} of {', '.join(map(_describe, thing[:2]))}{', ...' if len(thing) > 2 else ''}"
    return f"a {type(thing).__name__}"
