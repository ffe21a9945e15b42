"""The occlusion test: does the answer change when the evidence is hidden, and more often than by hiding anything else?

A map says where the evidence lies; only asking the network again shows whether the answer hung on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Images, Labels
from seefar.maps.grid import Grid, Maps, rank_pixels, to_pixels
from seefar.maps.removal import Pixels, hide
from seefar.model.inference import compute_logits
from seefar.model.resnet import ResNet18
from seefar.names import HideName
from seefar.seeds import Stream

SHARES = (0.05, 0.10, 0.20, 0.30)
"""Shares of the pixels that are hidden, one after the other, until the answer is right."""


@dataclass(frozen=True)
class Hidden:
    """What the network said of M images with more and more pixels hidden.

    Attributes:
        pixels: bool (M, H, W), those hidden when the answer became the one looked for; or when it first changed; or
            the last tried.
        share: float (M,), which of SHARES that was.
        logits: float32 (M, K), what the network then said.
        first_change: float (M,), the share at which its answer was first another than for the whole image; inf if it
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
        """The class that the network then named, int64 (M,)."""
        return np.asarray(self.logits.argmax(1), dtype=np.int64)


@dataclass(frozen=True)
class Occlusion:
    """The occlusion test of M mistakes with its two controls.

    Attributes:
        top: the pixels that speak most for the predicted rather than the true class.
        shifted: the same mask elsewhere.
        least: as many pixels, those that make the least difference between the two classes.
    """

    top: Hidden
    shifted: Hidden
    least: Hidden


def occlude(
    model: ResNet18,
    images: Images,
    predicted: Labels,
    true: Labels,
    contrast: Maps,
    grid: Grid | None = None,
    how: HideName = "blur",
    seed: int = 0,
    done: Callable[[int], None] = lambda images: None,
) -> Occlusion:
    """The occlusion test: the strongest pixels of the contrast map, then the two controls, each with the same tries.

    Args:
        model: the network.
        images: uint8 (M, H, W, 3).
        predicted: the class named for each, int64 (M,).
        true: the class that is looked for, int64 (M,).
        contrast: map of the predicted minus map of the true class, (M, h, w).
        grid: where the cells lie; default: they share the image evenly.
        how: what takes the place of hidden pixels.
        seed: of the controls' places.
        done: is told of images that are through one of the three.
    """
    values = to_pixels(contrast, images.shape[1], grid)
    ranks = rank_pixels(values)
    tries = ranks, shifted(ranks, seed), rank_pixels(-np.abs(values))
    return Occlusion(*(hide_more_and_more(model, images, predicted, ranks, true, how, done) for ranks in tries))


def hide_more_and_more(
    model: ResNet18,
    images: Images,
    before: Labels,
    ranks: NDArray[np.int64],
    goal: Labels | None = None,
    how: HideName = "blur",
    done: Callable[[int], None] = lambda images: None,
) -> Hidden:
    """Hide each of SHARES of the pixels in turn and ask the network, until the answer is the one that is looked for.

    Of an image that never gets there, the first change counts, and if there is none, the last try.

    Args:
        model: the network.
        images: uint8 (M, H, W, 3).
        before: the class named for the whole image, int64 (M,).
        ranks: which pixels go first, int64 (M, H, W); see `rank_pixels`.
        goal: the answer that is looked for, int64 (M,); None: any other than before.
        how: what takes the place of hidden pixels; see `hide`.
        done: is told of images that need no further try.
    """
    pixels, share = np.zeros(ranks.shape, dtype=bool), np.zeros(len(images))
    logits = np.zeros((len(images), model.fc.out_features), np.float32)
    first_change = np.full(len(images), np.inf)
    left = np.arange(len(images))
    for tried in SHARES:
        if not len(left):
            break
        hidden = ranks[left] < round(tried * ranks[0].size)
        said = compute_logits(model, hide(images[left], hidden, how))
        answer = said.argmax(1)
        there = answer != before[left] if goal is None else answer == goal[left]
        kept = there | np.isinf(first_change[left])  # what is written down; the first change gives way to the goal only
        pixels[left[kept]], share[left[kept]], logits[left[kept]] = hidden[kept], tried, said[kept]
        first_change[left] = np.minimum(first_change[left], np.where(answer != before[left], tried, np.inf))
        done(int(there.sum()))
        left = left[~there]
    done(len(left))
    return Hidden(pixels, share, logits, first_change)


def shifted(ranks: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """The same order of pixels elsewhere: each image's moved by its own random step and wrapped at the edges.

    Args:
        ranks: int64 (M, H, W).
        seed: of the steps; none of them is zero.
    """
    count, height, width = ranks.shape
    steps = np.random.default_rng((Stream.SHIFT, seed)).integers(1, height * width, count)
    rows = (np.arange(height) - steps[:, None] // width) % height  # (M, H), where each row is taken from
    columns = (np.arange(width) - steps[:, None] % width) % width
    moved: NDArray[np.int64] = ranks[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved
