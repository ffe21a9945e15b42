"""Baselines that ignore the network: random maps, a blob in the centre, Sobel edges.

A method that does not beat them in the scores of `lab.removal_scores` explains nothing. They are called like
`seefar.gradcam`; of the network they take the number of cells only, and of the classes nothing.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from seefar.maps.formulas import MapMethod, compute_maps, zero_if_not_finite
from seefar.maps.grid import Maps
from seefar.model.adapt import Classifier, Pictures, adapt, to_batch
from seefar.seeds import Stream


def random_map(model: nn.Module | Classifier, images: Pictures, classes: object = None, **where: Any) -> Maps:
    """Noise from a normal distribution; the same picture gets the same on every device."""
    shape = _shape(model, images, **where)
    checksums = [zlib.crc32(pixels.tobytes()) for pixels in _stored(images)]
    drawn = [np.random.default_rng((Stream.MAP, number)).standard_normal(shape[1:]) for number in checksums]
    return np.array(drawn, dtype=np.float32).reshape(shape)


def centre_blob(model: nn.Module | Classifier, images: Pictures, classes: object = None, **where: Any) -> Maps:
    """A Gaussian in the centre, a quarter of the side wide, where the object mostly is."""
    count, height, width = _shape(model, images, **where)
    rows, columns = ((torch.arange(n) - (n - 1) / 2) / (n / 4) for n in (height, width))
    blob = torch.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / 2)
    return blob.repeat(count, 1, 1).numpy()


def sobel_edges(model: nn.Module | Classifier, images: Pictures, classes: object = None, **where: Any) -> Maps:
    """Strength of the edges (Sobel), averaged over each cell."""
    _, height, width = _shape(model, images, **where)
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack((across, across.T))[:, None]  # (2, 1, 3, 3)
    grey = adapt(model).inputs(images).float().cpu().mean(1, keepdim=True)  # (N, 1, H, W)
    strength = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels).square().sum(1).sqrt()
    return zero_if_not_finite(F.adaptive_avg_pool2d(strength, (height, width))).numpy()


BASELINES: dict[str, MapMethod] = {"random": random_map, "centre": centre_blob, "edges": sobel_edges}
"""What every method must beat."""


def _shape(model: nn.Module | Classifier, images: Pictures, **where: Any) -> tuple[int, int, int]:
    """The shape of a method's maps, (N, h, w)."""

    def first_channel(at: Any) -> Tensor:
        channel: Tensor = at.activations[:, 0]
        return channel

    count, height, width = compute_maps(first_channel, model, images, 0, **where).shape
    return count, height, width


def _stored(images: Pictures) -> NDArray[np.generic]:
    """The images before any device's arithmetic: stored pixels."""
    batch = to_batch(images).cpu()
    if batch.is_floating_point():
        batch = (batch[None] if batch.ndim == 3 else batch).permute(0, 2, 3, 1)
        batch = (batch.nan_to_num() * 255).round().to(torch.uint8)
    return batch.numpy()
