"""Health badges: how many sanity checks a contrast map passes, and which it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seefar.maps.grid import Grid, Maps, map_status
from seefar.maps.sanity import flip_agreement, pointing_hits, rank_correlation

Badge = Literal["good", "fair", "poor"]

LARGEST_RANDOM = 0.7
"""A map that correlates more than this, either way, with that of a network with random weights shows the image, not the
network. Smooth maps of 8x8 cells agree by chance: on CIFAR-10 one pair in a hundred, of different images, by 0.67."""
SMALLEST_FLIP = 0.5
"""A map that correlates less than this with that of the mirrored image depends on where the cells happen to be."""


@dataclass(frozen=True)
class Health:
    """How far a contrast map can be trusted.

    Attributes:
        badge: `good`: every check passed; `fair`: all but one; `poor`: fewer, or the map shows nothing.
        reasons: one sentence for each check that failed.
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
    """A badge for each of M contrast maps.

    Args:
        contrast: (M, h, w).
        of_mirrored: contrast maps of the mirrored images, not mirrored back, (M, h, w).
        of_random: contrast maps of a network with random weights, (M, h, w).
        changes: shares at which hiding the evidence, and hiding the control mask, first changed the prediction, (M,)
            each; inf if it never did.
        image_size: height and width of the images.
        grid: positions of the cells; default: they share the image evenly.
        masks: the pixels that decide, bool (M, H, W), where the data set knows them.
    """
    of_evidence, of_control = changes
    random = rank_correlation(contrast, of_random)
    flip = flip_agreement(contrast, of_mirrored, image_size, grid)
    points_at_mask = np.ones(len(contrast), bool) if masks is None else pointing_hits(contrast, masks, grid)
    found = []
    for i, map_ in enumerate(contrast):
        reasons = []
        status = map_status(map_)
        if status != "ok":
            reasons.append("the map is flat" if status == "flat" else f"the map has {status}")
        if np.isinf(of_evidence[i]):
            reasons.append("hiding its strongest pixels does not change the answer")
        elif of_evidence[i] >= of_control[i]:
            reasons.append("hiding the same mask elsewhere changes the answer no later")
        if abs(random[i]) > LARGEST_RANDOM:
            reasons.append(f"a network with random weights gives a like map (rank correlation {random[i]:.2f})")
        if flip[i] < SMALLEST_FLIP:
            reasons.append(f"the mirrored image gives another map (rank correlation {flip[i]:.2f})")
        if not points_at_mask[i]:
            reasons.append("its highest cell is not among the pixels that decide")
        badge: Badge = "poor" if status != "ok" or len(reasons) > 1 else "fair" if reasons else "good"
        found.append(Health(badge, tuple(reasons)))
    return found
