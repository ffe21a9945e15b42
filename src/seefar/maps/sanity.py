"""Does a map depend on what the network learnt, does it move with the image, does it find what is known to decide?"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from torch import nn

from seefar.data.images import Images
from seefar.maps.cells import Maps, cell_centres, to_pixels
from seefar.maps.class_maps import class_maps
from seefar.model.inference import device_of
from seefar.model.resnet import STAGES, ResNet18

CASCADE = ("fc", *reversed(STAGES), "conv1")
"""The parts of the network from the head down, in the order in which they are randomised."""

FEWEST_MAPS, MOST_MAPS = 30, 200
"""Fewer maps cannot tell where the cells lie, and more than so many need not be asked."""

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

    Convolutions of stride 2 put the last stage's first cell at the first pixel of its block, at 0; cells that share the
    image evenly, as a network that averages them must learn to see all of it, would put it at the middle, at 3.5 for 32
    pixels. So it is where in its block the mirrored image's map, mirrored back, agrees best with the map. With fewer
    than `FEWEST_MAPS` maps it is taken to be halfway between the first pixel and the middle.

    Args:
        maps: (N, h, w), of the dense twin.
        of_mirrored: maps of the mirrored images, as they come, (N, h, w).
        image_size: height and width of the images.
    """
    last = image_size / -(-image_size // 8) - 1  # of the block's pixels
    if len(maps) < FEWEST_MAPS:
        return last / 4
    places = np.linspace(0, last, 15)
    some = slice(MOST_MAPS)
    agreement = [flip_agreement(maps[some], of_mirrored[some], image_size, place).mean() for place in places]
    return float(places[int(np.argmax(agreement))])


def placed_contrast(
    model: nn.Module, images: Images, predicted: ArrayLike, true: ArrayLike, cells: int | None = None
) -> tuple[Maps, float]:
    """The contrast maps (N, h, w) of stored images, and where their first cell lies."""
    contrast, of_mirrored = (
        class_maps(model, part, cells).contrast(predicted, true) for part in (images, images[:, :, ::-1].copy())
    )
    return contrast, find_first_cell(contrast, of_mirrored, images.shape[1])


def pointing_hits(maps: Maps, masks: NDArray[np.bool_], first: float | None = None) -> NDArray[np.bool_]:
    """The pointing game (Zhang et al. 2016, arXiv 1608.00507): is the middle of the highest cell in the mask? (N,).

    A middle on the border of pixels is in the mask if at least half of them are. By chance the share of hits is about
    the mask's share of the image.

    Args:
        maps: (N, h, w).
        masks: the pixels that decide, bool (N, H, H).
        first: see `to_pixels`.
    """
    _, height, width = maps.shape
    row, column = np.divmod(_flat(maps).argmax(1), width)
    y, x = (
        _nearest_pixels(cell_centres(cells, masks.shape[1], first)[at], masks.shape[1])
        for cells, at in ((height, row), (width, column))
    )
    hits: NDArray[np.bool_] = masks[np.arange(len(masks)), y[:, None], x[None]].mean((0, 1)) >= 0.5
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


def _nearest_pixels(places: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """The pixel that each place lies in, twice, int64 (2, N); of a place on the border of two pixels, both."""
    pixels = np.stack((np.ceil(places - 0.5), np.floor(places + 0.5)))
    return np.asarray(pixels.clip(0, size - 1), dtype=np.int64)


def _flat(arrays: NDArray[Any]) -> NDArray[Any]:
    return arrays.reshape(len(arrays), arrays.shape[1] * arrays.shape[2])
