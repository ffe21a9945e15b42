"""Maps that know nothing of the network's answer. A method that does not beat them explains nothing."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seefar.maps.capture import capture
from seefar.maps.map_method import Question, map_method
from seefar.seeds import Stream


@map_method
def random_map(question: Question) -> Iterator[Tensor]:
    """Noise from a normal distribution; the same image always gets the same."""

    def draw(image: Tensor, height: int, width: int) -> Tensor:
        seed = (Stream.MAP, zlib.crc32(image.cpu().contiguous().numpy().tobytes()))
        return torch.from_numpy(np.random.default_rng(seed).standard_normal((height, width)))

    return _drawn(question, draw)


@map_method
def centre_blob(question: Question) -> Iterator[Tensor]:
    """A Gaussian in the middle, a quarter of the side wide: mostly the object is there."""

    def draw(_image: Tensor, height: int, width: int) -> Tensor:
        rows, columns = ((torch.arange(n) - (n - 1) / 2) / (n / 4) for n in (height, width))
        return torch.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / 2)

    return _drawn(question, draw)


@map_method
def sobel_edges(question: Question) -> Iterator[Tensor]:
    """Strength of the image's own edges (Sobel), averaged over each cell."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack((across, across.T))[:, None]  # (2, 1, 3, 3)

    def draw(image: Tensor, height: int, width: int) -> Tensor:
        grey = F.pad(image.float().cpu().mean(0)[None, None], (1, 1, 1, 1), mode="replicate")
        strength = F.conv2d(grey, kernels).square().sum(1, keepdim=True).sqrt()
        return F.adaptive_avg_pool2d(strength, (height, width))[0, 0]

    return _drawn(question, draw)


def _drawn(question: Question, draw: Callable[[Tensor, int, int], Tensor]) -> Iterator[Tensor]:
    if len(question.inputs):
        # The network is asked for one image only, to learn how many cells its layer has.
        one = capture(question.model, question.inputs[:1], question.classes[:1], question.layer)
        height, width = one.activations.shape[2:]
        yield torch.stack([draw(image, height, width) for image in question.inputs])
