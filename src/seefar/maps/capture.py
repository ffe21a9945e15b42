"""A module's activations and the gradients of class scores on them, with the network left as it came."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seefar.errors import MapError
from seefar.maps.network import to_logits
from seefar.model.inference import eval_mode, true_float32


@dataclass(frozen=True)
class Captured:
    """What a layer gave for N images, and how the score of each image's class depends on it.

    Attributes:
        activations: float32 (N, C, h, w).
        gradients: float32 (N, C, h, w), of the logit of the class that was asked for.
        logits: float32 (N, K).
    """

    activations: Tensor
    gradients: Tensor
    logits: Tensor


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
            raise MapError(f"Layer {layer} gives {found}, a map needs activations (N, C, h, w): name another layer.")
        with torch.enable_grad():
            taken.append(activations.detach().clone().requires_grad_())
            return taken[-1].clone()  # a copy, since what follows may change it in place

    module = find_layer(model, layer)
    with eval_mode(model), true_float32(), torch.inference_mode(False), torch.enable_grad():
        handle = module.register_forward_hook(take)
        try:
            logits = to_logits(model, inputs.clone())  # a tensor made under inference_mode could not be used here
        finally:
            handle.remove()
        if len(taken) != 1:
            part = "takes no part in the forward pass" if not taken else f"is used {len(taken)} times in a forward pass"
            raise MapError(f"Layer {layer} {part}: name another layer.")
        if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < logits.shape[1]:
            raise MapError(
                f"Classes run from {int(classes.min())} to {int(classes.max())}, the network has {logits.shape[1]}: "
                f"pass class indices from 0 to {logits.shape[1] - 1}."
            )
        score = logits.gather(1, classes.clone()[:, None]).sum()
        gradients = torch.autograd.grad(score, taken[0], allow_unused=True)[0] if score.requires_grad else None
        if gradients is None:
            raise MapError(f"The logits do not depend on layer {layer}: name another layer.")
    return Captured(taken[0].detach().float(), gradients.float(), logits.detach().float())


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """The submodule of that name.

    Raises:
        MapError: there is none; the message lists the first level of names.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if layer not in modules or not layer:
        names = ", ".join(name for name, _ in model.named_children())
        raise MapError(f"{type(model).__name__} has no layer {layer!r}: it has {names}, and theirs, such as layer4.1.")
    return modules[layer]
