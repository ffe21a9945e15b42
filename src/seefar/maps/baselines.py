"""Baselines that ignore the network: random maps, a blob in the centre, Sobel edges.

A method that does not beat them in the scores of `seefar.maps.faithfulness` explains nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from seefar.maps.capture import Captured
from seefar.maps.grid import Maps
from seefar.maps.mapped import mapped
from seefar.maps.network import Pictures, original, to_batch
from seefar.model.resnet import ResNet18
from seefar.seeds import Stream


def random_map(
    model: nn.Module,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Noise from a normal distribution; the same picture gets the same on every device.

    Args:
        model: see `seefar.gradcam`, like the result and the errors. It decides the number of cells only.
        images: what the network takes.
        classes: not used.
        layer: where; default: the last stage of the dense twin.
        cells: how fine the default layer is.
        force: also 5x5 cells and fewer.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> random_map(seefar.ResNet18(width=2), np.zeros((2, 32, 32, 3), np.uint8)).shape
        (2, 8, 8)
    """
    stored = _stored(original(model), images)

    def draw(number: int, _image: Tensor, height: int, width: int) -> Tensor:
        pixels = stored[number] if number < len(stored) else stored
        seed = (Stream.MAP, zlib.crc32(pixels.tobytes()))
        return torch.from_numpy(np.random.default_rng(seed).standard_normal((height, width)))

    return _drawn(draw, model, images, layer, cells, force)


def centre_blob(
    model: nn.Module,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """A Gaussian in the middle, a quarter of the side wide, where the object mostly is.

    Args:
        model: see `seefar.gradcam`, like the result and the errors. It decides the number of cells only.
        images: what the network takes.
        classes: not used.
        layer: where; default: the last stage of the dense twin.
        cells: how fine the default layer is.
        force: also 5x5 cells and fewer.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> centre_blob(seefar.ResNet18(width=2), np.zeros((1, 32, 32, 3), np.uint8))[0, 3:5, 3:5].round(2)
        array([[0.94, 0.94],
               [0.94, 0.94]], dtype=float32)
    """

    def draw(_number: int, _image: Tensor, height: int, width: int) -> Tensor:
        rows, columns = ((torch.arange(n) - (n - 1) / 2) / (n / 4) for n in (height, width))
        return torch.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / 2)

    return _drawn(draw, model, images, layer, cells, force)


def sobel_edges(
    model: nn.Module,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Strength of the edges of the network's input (Sobel), averaged over each cell.

    Args:
        model: see `seefar.gradcam`, like the result and the errors. It decides the number of cells only.
        images: what the network takes.
        classes: not used.
        layer: where; default: the last stage of the dense twin.
        cells: how fine the default layer is.
        force: also 5x5 cells and fewer.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> float(sobel_edges(seefar.ResNet18(width=2), np.zeros((1, 32, 32, 3), np.uint8)).max())  # no edge
        0.0
    """
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack((across, across.T))[:, None]  # (2, 1, 3, 3)

    def draw(_number: int, image: Tensor, height: int, width: int) -> Tensor:
        grey = F.pad(image.float().cpu().mean(0)[None, None], (1, 1, 1, 1), mode="replicate")
        strength = F.conv2d(grey, kernels).square().sum(1, keepdim=True).sqrt()
        return F.adaptive_avg_pool2d(strength, (height, width))[0, 0]

    return _drawn(draw, model, images, layer, cells, force)


def _drawn(
    draw: Callable[[int, Tensor, int, int], Tensor],
    model: nn.Module,
    images: Pictures,
    layer: str | nn.Module | None,
    cells: int | None,
    force: bool,
) -> Maps:
    """Maps drawn one by one, from the image's number and network input, to the layer's height and width."""
    number = iter(range(1 << 62))

    def formula(at: Captured) -> Tensor:
        return torch.stack([draw(next(number), image, *at.activations.shape[2:]) for image in at.inputs])

    return mapped(formula, model, images, 0, layer, cells, force)


def _stored(network: nn.Module, images: Pictures) -> NDArray[np.generic]:
    """The images as they are before any device's arithmetic: stored pixels, or another network's input itself."""
    batch = to_batch(images).cpu()
    if isinstance(network, ResNet18) and batch.is_floating_point():
        batch = (batch[None] if batch.ndim == 3 else batch).permute(0, 2, 3, 1)
        batch = (batch.nan_to_num() * 255).round().to(torch.uint8)
    return batch.numpy()
