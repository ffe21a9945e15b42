"""Logits of pictures from any model: a `ResNet18`, another torch module, or a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.errors import MapError
from seefar.maps.network import BATCH_SIZE, original
from seefar.model.inference import compute_logits, device_of, eval_mode, true_float32
from seefar.model.resnet import ResNet18

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
