"""Maps that know nothing of the network's answer. A method that does not beat them explains nothing."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from seefar.data.images import Images, Stream
from seefar.explanation.cam import finite
from seefar.explanation.capture import capture
from seefar.explanation.cells import Maps, ask


def random_map(
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Noise from a normal distribution; the same image always gets the same. Called as `seefar.gradcam`."""

    def draw(image: Tensor, height: int, width: int) -> Tensor:
        seed = (Stream.MAP, zlib.crc32(image.cpu().contiguous().numpy().tobytes()))
        return torch.from_numpy(np.random.default_rng(seed).standard_normal((height, width)))

    return _maps(draw, model, images, classes, layer, cells, force)


def centre_blob(
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """A Gaussian in the middle, a quarter of the side wide: mostly the object is there. Called as `seefar.gradcam`."""

    def draw(_image: Tensor, height: int, width: int) -> Tensor:
        rows, columns = ((torch.arange(n) - (n - 1) / 2) / (n / 4) for n in (height, width))
        return torch.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / 2)

    return _maps(draw, model, images, classes, layer, cells, force)


def sobel_edges(
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Strength of the image's own edges (Sobel), averaged over each cell. Called as `seefar.gradcam`."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack((across, across.T))[:, None]  # (2, 1, 3, 3)

    def draw(image: Tensor, height: int, width: int) -> Tensor:
        grey = F.pad(image.float().cpu().mean(0)[None, None], (1, 1, 1, 1), mode="replicate")
        strength = F.conv2d(grey, kernels).square().sum(1, keepdim=True).sqrt()
        return F.adaptive_avg_pool2d(strength, (height, width))[0, 0]

    return _maps(draw, model, images, classes, layer, cells, force)


def _maps(
    draw: Callable[[Tensor, int, int], Tensor],
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None,
    cells: int | None,
    force: bool,
) -> Maps:
    question = ask(model, images, classes, layer, cells, force)
    if not len(question.inputs):
        return np.empty((0, 0, 0), np.float32)
    one = capture(question.model, question.inputs[:1], question.classes[:1], question.layer)
    height, width = one.activations.shape[2:]
    maps = [draw(image, height, width) for image in question.inputs]
    return finite(torch.stack(maps)).numpy()
