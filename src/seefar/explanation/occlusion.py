"""Occlusion test: hide the strongest evidence until the answer changes, against the same mask elsewhere and the least.

A map says where the evidence is; only the network's answer without it shows whether the answer depended on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Images, Labels
from seefar.maps.grid import Grid, Maps, rank_pixels, to_pixels
from seefar.maps.logits import Model, logits_of
from seefar.maps.removal import Pixels, hide
from seefar.names import HideName
from seefar.seeds import Stream

SHARES = (0.05, 0.10, 0.20, 0.30)
"""Shares of the pixels that are hidden, one after the other, until the answer is right."""


@dataclass(frozen=True)
class Hidden:
    """The network's answers for M images with more and more pixels hidden.

    Attributes:
        pixels: bool (M, H, W), the mask at which the goal was reached; else the first that changed the answer; else the
            last.
        share: float (M,), which of SHARES that was.
        logits: float32 (M, K), with that mask.
        first_change: float (M,), the share at which the answer was first another than for the whole image; inf if it
            never was.
    """

    pixels: Pixels
    share: NDArray[np.float64]
    logits: NDArray[np.float32]
    first_change: NDArray[np.float64]

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Whether the answer ever was another than for the whole image, bool (M,)."""
        return np.isfinite(self.first_change)

    @property
    def answer(self) -> Labels:
        """The predicted class with that mask, int64 (M,)."""
        return np.asarray(self.logits.argmax(1), dtype=np.int64)


@dataclass(frozen=True)
class Occlusion:
    """The occlusion test of M mistakes with its two controls.

    Attributes:
        top: the pixels with the strongest evidence for the predicted rather than the true class.
        shifted: the same mask elsewhere.
        least: as many pixels, those that make the least difference between the two classes.
    """

    top: Hidden
    shifted: Hidden
    least: Hidden


def occlude(
    model: Model,
    images: Images,
    predicted: Labels,
    true: Labels,
    contrast: Maps,
    grid: Grid | None = None,
    how: HideName = "blur",
    *,
    steps: NDArray[np.int64] | None = None,
) -> Occlusion:
    """The occlusion test: the strongest pixels of the contrast map, then the two controls, each with the same tries.

    Args:
        model: see `seefar.maps.logits.Model`.
        images: uint8 (M, H, W, 3).
        predicted: the predicted classes, int64 (M,).
        true: the true classes, int64 (M,).
        contrast: map of the predicted minus map of the true class, (M, h, w).
        grid: where the cells lie; default: they share the image evenly.
        how: what takes the place of hidden pixels; see `hide`.
        steps: how far each mask is moved for the first control; see `shifted`. Default: drawn in order.

    Example:
        >>> red = np.zeros((1, 32, 32, 3), np.uint8)
        >>> red[:, :4, :8, 0], red[..., 2] = 255, 1  # a bright red patch on hardly blue ground
        >>> contrast = np.zeros((1, 8, 8), np.float32)
        >>> contrast[:, 0, :2] = 1
        >>> brightness = lambda images: images.mean((1, 2))
        >>> found = occlude(brightness, red, np.array([0]), np.array([2]), contrast, how="mean")
        >>> found.top.answer, found.top.share, found.least.answer
        (array([2]), array([0.05]), array([0]))
    """
    values = to_pixels(contrast, (images.shape[1], images.shape[2]), grid)
    ranks = rank_pixels(values)
    steps = random_steps(len(images), ranks.shape[1] * ranks.shape[2]) if steps is None else steps
    tries = ranks, shifted(ranks, steps), rank_pixels(-np.abs(values))
    return Occlusion(*(hide_more_and_more(model, images, predicted, ranks, true, how) for ranks in tries))


def hide_more_and_more(
    model: Model,
    images: Images,
    before: Labels,
    ranks: NDArray[np.int64],
    goal: Labels | None = None,
    how: HideName = "blur",
) -> Hidden:
    """Hide each of SHARES of the pixels in turn until the answer is the goal.

    Of an image that never gets there, the first change counts, and if there is none, the last try.

    Args:
        model: see `seefar.maps.logits.Model`.
        images: uint8 (M, H, W, 3).
        before: the predicted class of the whole image, int64 (M,).
        ranks: which pixels go first, int64 (M, H, W); see `rank_pixels`.
        goal: the answer that is looked for, int64 (M,); None: any other than before.
        how: what takes the place of hidden pixels; see `hide`.
    """
    pixels, share = np.zeros(ranks.shape, dtype=bool), np.zeros(len(images))
    logits = np.zeros((len(images), 1), np.float32)
    first_change = np.full(len(images), np.inf)
    left = np.arange(len(images))
    for tried in SHARES:
        if not len(left):
            break
        hidden = ranks[left] < round(tried * ranks[0].size)
        found = logits_of(model, hide(images[left], hidden, how))
        if tried == SHARES[0]:
            logits = np.zeros((len(images), found.shape[1]), np.float32)
        answer = found.argmax(1)
        there = answer != before[left] if goal is None else answer == goal[left]
        kept = there | np.isinf(first_change[left])  # the first change gives way to the goal only
        pixels[left[kept]], share[left[kept]], logits[left[kept]] = hidden[kept], tried, found[kept]
        first_change[left] = np.minimum(first_change[left], np.where(answer != before[left], tried, np.inf))
        left = left[~there]
    return Hidden(pixels, share, logits, first_change)


def random_steps(count: int, pixels: int, seed: int = 0) -> NDArray[np.int64]:
    """How far the mask of each of `count` images of so many pixels is moved, int64 (count,); never zero."""
    return np.random.default_rng((Stream.SHIFT, seed)).integers(1, pixels, count)


def shifted(ranks: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same order of pixels elsewhere: each image's moved by its own step and wrapped at the edges.

    Args:
        ranks: int64 (M, H, W).
        steps: int64 (M,): rows times the width, plus columns; see `random_steps`.
    """
    count, height, width = ranks.shape
    rows = (np.arange(height) - steps[:, None] // width) % height  # (M, H), where each row is taken from
    columns = (np.arange(width) - steps[:, None] % width) % width
    moved: NDArray[np.int64] = ranks[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved
