"""Health badges: how many sanity checks a contrast map passes, and which it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seefar.explanation.occlusion import Occlusion
from seefar.maps.class_maps import map_status
from seefar.maps.grid import Grid, Maps
from seefar.maps.sanity import flip_agreement, pointing_hits, rank_correlation

Badge = Literal["good", "fair", "poor"]

LARGEST_RANDOM = 0.7
"""A map that agrees more than this, either way, with that of a network with random weights shows the image, not the
network. Smooth maps of 8x8 cells agree by chance: on CIFAR-10 one pair in a hundred, of different images, by 0.67."""
SMALLEST_FLIP = 0.5
"""A map that agrees less than this with that of the mirrored image hangs on where the cells happen to lie."""


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
    occlusion: Occlusion,
    grid: Grid | None = None,
    masks: NDArray[np.bool_] | None = None,
) -> list[Health]:
    """A badge for each of M contrast maps.

    Args:
        contrast: (M, h, w).
        of_mirrored: contrast maps of the mirrored images, as they come, (M, h, w).
        of_random: contrast maps of a network with random weights, (M, h, w).
        occlusion: what hiding did.
        grid: where the cells lie; default: they share the image evenly.
        masks: the pixels that decide, bool (M, H, H), where the data set knows them.
    """
    top, control = occlusion.top, occlusion.shifted
    random = rank_correlation(contrast, of_random)
    flip = flip_agreement(contrast, of_mirrored, (top.pixels.shape[1], top.pixels.shape[2]), grid)
    failed: list[Sequence[str | None]] = [
        [
            "hiding its strongest pixels does not change the answer"
            if np.isinf(here)
            else None
            if here < elsewhere
            else "hiding the same mask elsewhere changes the answer no later"
            for here, elsewhere in zip(top.first_change, control.first_change, strict=True)
        ],
        [
            None
            if abs(r) <= LARGEST_RANDOM
            else f"a network with random weights gives a like map (rank correlation {r:.2f})"
            for r in random
        ],
        [
            None if f >= SMALLEST_FLIP else f"the mirrored image gives another map (rank correlation {f:.2f})"
            for f in flip
        ],
    ]
    if masks is not None:
        hits = pointing_hits(contrast, masks, grid)
        failed.append([None if hit else "its highest cell is not among the pixels that decide" for hit in hits])
    found = []
    for map_, reasons in zip(contrast, zip(*failed, strict=True), strict=True):
        bad = tuple(reason for reason in reasons if reason)
        status = map_status(map_)
        if status != "ok":
            bad = (f"the map is {status}" if status == "flat" else f"the map has {status}", *bad)
        badge: Badge = "poor" if status != "ok" or len(bad) > 1 else "fair" if bad else "good"
        found.append(Health(badge, bad))
    return found
