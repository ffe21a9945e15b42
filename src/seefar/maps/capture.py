"""A module's activations and the gradients of class scores on them, with the network left as it came."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seefar.errors import MapError
from seefar.maps.network import suggest, to_logits
from seefar.model.inference import device_errors, eval_mode, true_float32


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
