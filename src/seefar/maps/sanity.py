"""Sanity checks of maps: weight randomisation, mirror equivariance, pointing game, position of the cells; badges."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from seefar.maps.grid import Grid, Maps, map_status, to_pixels
from seefar.model.adapt import Classifier, adapt
from seefar.model.inference import device_of, plain_torch

FEWEST_MAPS, MOST_MAPS = 30, 200
"""Fewer maps cannot determine the position of the cells, and more are not needed."""

LAST_IN_BLOCK = 7
"""Last pixel on a side of the block of one cell of the network's last stage: it has three strides of 2."""

Badge = Literal["good", "fair", "poor"]

LARGEST_RANDOM = 0.7
"""A map that correlates more than this, either way, with that of a network with random weights shows the image, not the
network. Smooth maps of 8x8 cells agree by chance: on CIFAR-10 one pair in a hundred, of different images, by 0.67."""
SMALLEST_FLIP = 0.5
"""A map that correlates less than this with that of the mirrored image depends on where the cells happen to be."""

Scores = NDArray[np.float64]


def randomized(model: nn.Module | Classifier) -> Iterator[tuple[str, Classifier]]:
    """Cascading randomisation (Adebayo et al. 2018, arXiv 1810.03292): copies with more and more random weights.

    Yields the name of a part, and the network in which it and all above it have random weights: the network's children,
    the last one first.
    """
    for number, name in enumerate(_parts(model), start=1):
        yield name, randomize(model, number)


def randomize(model: nn.Module | Classifier, count: int | None = None) -> Classifier:
    """A copy in which so many of the last parts, by default all, have random weights."""
    classifier = adapt(model)
    with plain_torch(gradients=False), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = copy.deepcopy(classifier.network).cpu()  # where the same seed gives the same weights everywhere
        for name in _parts(model)[:count]:
            for module in network.get_submodule(name).modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
    return replace(classifier, network=network.to(device_of(classifier.network)))


def _parts(model: nn.Module | Classifier) -> list[str]:
    """The network's children with weights, the last one first."""
    children = adapt(model).network.named_children()
    return [name for name, child in children if any(True for _ in child.parameters())][::-1]


def rank_correlation(first: Maps, second: Maps) -> Scores:
    """Spearman's rank correlation of each pair of maps, (N, h, w) each: float64 (N,); 0 where a map is flat."""
    from scipy.stats import rankdata  # here: it takes 0.5 s, which commands without maps need not wait

    ranks = [rankdata(_flat(maps), axis=1) for maps in (first, second)]
    centred = [rank - rank.mean(1, keepdims=True) for rank in ranks]
    scale = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    product: Scores = (centred[0] * centred[1]).sum(1)
    correlation: Scores = np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
    return correlation


def flip_agreement(
    maps: Maps, of_mirrored: Maps, image_size: int | tuple[int, int], grid: Grid | None = None
) -> Scores:
    """Mirror equivariance: rank correlation of maps with those of the mirrored images, mirrored back, float64 (N,).

    Over the pixels, since the cells of a twin are not symmetric in the image. `of_mirrored` are not mirrored back, and
    without a grid the cells share the image evenly.
    """
    pixels, mirrored = (to_pixels(part, image_size, grid) for part in (maps, of_mirrored))
    return rank_correlation(pixels, mirrored[:, :, ::-1])


def find_origin(maps: Maps, of_mirrored: Maps, image_size: int | tuple[int, int], grid: Grid) -> Grid:
    """The grid of a dense twin with its measured origin: the positions of the cells of this network.

    Convolutions of stride 2 centre the first cell on the first pixel of its block, at 0. A network that averages its
    cells learns to use all of the image, which moves the centre towards the middle of the block, at 3.5. The origin is
    where the mirrored image's map, mirrored back, agrees best with the map; with fewer than `FEWEST_MAPS` maps it is
    assumed to be halfway. Arguments as `flip_agreement`; the spacing is that of `grid`, see `grid_of`.
    """
    if len(maps) < FEWEST_MAPS:
        return replace(grid, origin=LAST_IN_BLOCK / 4)
    maps, of_mirrored = maps[:MOST_MAPS], of_mirrored[:MOST_MAPS]
    candidates = [replace(grid, origin=float(origin)) for origin in np.linspace(0, LAST_IN_BLOCK, 15)]
    agreement = [flip_agreement(maps, of_mirrored, image_size, candidate).mean() for candidate in candidates]
    return candidates[int(np.argmax(agreement))]


def pointing_hits(maps: Maps, masks: NDArray[np.bool_], grid: Grid | None = None) -> NDArray[np.bool_]:
    """The pointing game (Zhang et al. 2016, arXiv 1608.00507): is the centre of the highest cell in the mask? (N,).

    A centre on the border of pixels is in the mask if at least half of them are. By chance the share of hits is about
    the mask's share of the image. The masks, bool (N, H, W), are the pixels that decide; without a grid the cells of
    the maps, (N, h, w), share the image evenly.
    """
    size = masks.shape[1], masks.shape[2]
    grid = grid or Grid.even((maps.shape[1], maps.shape[2]), size)
    cells = np.divmod(_flat(maps).argmax(1), maps.shape[2])
    y, x = (_nearest_pixels(grid.centres(axis)[cells[axis]], size[axis]) for axis in (0, 1))
    hits: NDArray[np.bool_] = masks[np.arange(len(masks)), y[:, None], x[None]].mean((0, 1)) >= 0.5
    return hits


def evidence_inside(maps: Maps, masks: NDArray[np.bool_], grid: Grid | None = None) -> Scores:
    """Share of the positive evidence that is in the mask, float64 (N,), 0 without any. Arguments as `pointing_hits`."""
    positive = np.maximum(to_pixels(maps, (masks.shape[1], masks.shape[2]), grid), 0).astype(np.float64)
    total = positive.sum((1, 2))
    inside = (positive * masks).sum((1, 2))
    share: Scores = np.divide(inside, total, out=np.zeros_like(total), where=total > 0)
    return share


# ---- Health badges ----


@dataclass(frozen=True)
class Health:
    """How far a contrast map can be trusted, with a reason for each check that failed.

    `good`: every check passed; `fair`: all but one; `poor`: fewer, or the map shows nothing.
    """

    badge: Badge
    reasons: tuple[str, ...]


def check_health(
    contrast: Maps,
    of_mirrored: Maps,
    of_random: Maps,
    changes: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    image_size: tuple[int, int],
    grid: Grid | None = None,
    masks: NDArray[np.bool_] | None = None,
) -> list[Health]:
    """A badge for each of M contrast maps, (M, h, w).

    Computed from the maps of the mirrored images, not mirrored back; from those of a network with random weights; from
    the shares at which hiding the evidence, and hiding the control mask, first changed the prediction, (M,) each, inf
    if it never did; and from the pixels that decide, bool (M, H, W), where the data set has them.
    """
    of_evidence, of_control = changes
    random = rank_correlation(contrast, of_random)
    flip = flip_agreement(contrast, of_mirrored, image_size, grid)
    points_at_mask = np.ones(len(contrast), bool) if masks is None else pointing_hits(contrast, masks, grid)
    checks = []
    for i, map_ in enumerate(contrast):
        status, never = map_status(map_), np.isinf(of_evidence[i])
        similar = f"a network with random weights gives a similar map (rank correlation {random[i]:.2f})"
        different = f"the mirrored image gives a different map (rank correlation {flip[i]:.2f})"
        failed = {
            "the map is flat": status == "flat",
            "the map has no positive evidence": status == "no positive evidence",
            "hiding its strongest pixels does not change the prediction": never,
            "hiding the control mask changes the prediction no later": not never and of_evidence[i] >= of_control[i],
            similar: abs(random[i]) > LARGEST_RANDOM,
            different: flip[i] < SMALLEST_FLIP,
            "its highest cell is not among the pixels that decide": not points_at_mask[i],
        }
        reasons = tuple(reason for reason, holds in failed.items() if holds)
        badge: Badge = "poor" if status != "ok" or len(reasons) > 1 else "fair" if reasons else "good"
        checks.append(Health(badge, reasons))
    return checks


def _nearest_pixels(positions: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """The pixel of each position, twice, int64 (2, N); for a position on the border of two pixels, both."""
    pixels = np.stack((np.ceil(positions - 0.5), np.floor(positions + 0.5)))
    return np.asarray(pixels.clip(0, size - 1), dtype=np.int64)


def _flat(arrays: NDArray[Any]) -> NDArray[Any]:
    return arrays.reshape(len(arrays), arrays.shape[1] * arrays.shape[2])
