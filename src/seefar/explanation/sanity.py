"""Does a map depend on what the network learnt, does it move with the image, does it find what is known to decide?"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

from seefar.explanation.cells import Maps, cell_centres, to_pixels
from seefar.model.inference import device_of
from seefar.model.resnet import STAGES, ResNet18

CASCADE = ("fc", *reversed(STAGES), "conv1")
"""The parts of the network from the head down, in the order in which they are randomised."""

FEWEST_MAPS = 30

Scores = NDArray[np.float64]


def randomized(model: ResNet18, seed: int = 0) -> Iterator[tuple[str, ResNet18]]:
    """Cascading randomisation (Adebayo et al. 2018, arXiv 1810.03292): copies with more and more random weights.

    Yields:
        The part that was drawn anew, and the network in which it and all parts above it are.
    """
    changed = copy.deepcopy(model).cpu()  # where the same seed gives the same weights on every machine
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for name in CASCADE:
            parts = [changed.get_submodule(name)] + ([changed.bn1] if name == "conv1" else [])
            for part in parts:
                for module in part.modules():
                    if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                        module.reset_parameters()
            yield name, copy.deepcopy(changed).to(device_of(model))


def rank_correlation(first: Maps, second: Maps) -> Scores:
    """Spearman's correlation of the cells of each pair of maps, float64 (N,); 0 where a map is flat."""
    ranks = [rankdata(_flat(maps), axis=1) for maps in (first, second)]
    centred = [rank - rank.mean(1, keepdims=True) for rank in ranks]
    scale = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    product: Scores = (centred[0] * centred[1]).sum(1)
    correlation: Scores = np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
    return correlation


def flip_agreement(maps: Maps, of_mirrored: Maps, image_size: int, first: float | None = None) -> Scores:
    """Rank correlation of maps with those of the mirrored images, mirrored back, over the pixels, float64 (N,)."""
    here, there = (to_pixels(part, image_size, first) for part in (maps, of_mirrored))
    return rank_correlation(here, there[:, :, ::-1])


def find_first_cell(maps: Maps, of_mirrored: Maps, image_size: int) -> float:
    """Where the first of the twin's cells lies, in pixels from the middle of the first pixel: see `to_pixels`.

    Convolutions of stride 2 put the last stage's first cell at 0; cells that share the image evenly, as a network that
    averages them must learn to see all of it, would put it at the middle of a block, at 3.5 for 32 pixels. Between the
    two it is where the mirrored image's map, mirrored back, agrees best with the map. With fewer than `FEWEST_MAPS`
    maps it is taken to be halfway.

    Args:
        maps: (N, h, w), of the dense twin.
        of_mirrored: maps of the mirrored images, as they come, (N, h, w).
        image_size: height and width of the images.
    """
    farthest = (image_size / -(-image_size // 8) - 1) / 2
    if len(maps) < FEWEST_MAPS:
        return farthest / 2
    places = np.linspace(0, farthest, 8)
    agreement = [flip_agreement(maps, of_mirrored, image_size, place).mean() for place in places]
    return float(places[int(np.argmax(agreement))])


def pointing_hits(maps: Maps, masks: NDArray[np.bool_], first: float | None = None) -> NDArray[np.bool_]:
    """The pointing game (Zhang et al. 2016, arXiv 1608.00507): is the middle of the highest cell in the mask? (N,).

    By chance the share of hits is the mask's share of the image.

    Args:
        maps: (N, h, w).
        masks: the pixels that decide, bool (N, H, H).
        first: see `to_pixels`.
    """
    _, height, width = maps.shape
    row, column = np.divmod(_flat(maps).argmax(1), width)
    y, x = (
        cell_centres(cells, masks.shape[1], first)[at].round().astype(np.int64).clip(0, masks.shape[1] - 1)
        for cells, at in ((height, row), (width, column))
    )
    hits: NDArray[np.bool_] = masks[np.arange(len(masks)), y, x]
    return hits


def evidence_inside(maps: Maps, masks: NDArray[np.bool_], first: float | None = None) -> Scores:
    """Share of the positive evidence that lies in the mask, float64 (N,); 0 for a map without any.

    Arguments as `pointing_hits`.
    """
    positive = np.maximum(to_pixels(maps, masks.shape[1], first), 0).astype(np.float64)
    total = positive.sum((1, 2))
    inside = (positive * masks).sum((1, 2))
    share: Scores = np.divide(inside, total, out=np.zeros_like(total), where=total > 0)
    return share


def _flat(arrays: NDArray[Any]) -> NDArray[Any]:
    return arrays.reshape(len(arrays), arrays.shape[1] * arrays.shape[2])
