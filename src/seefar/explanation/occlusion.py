"""Occlusion test: hide the strongest evidence until the prediction changes, with two controls; repairs and rates.

A map says where the evidence is; only the network's prediction without it shows whether the prediction depended on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from seefar.choices import HideName
from seefar.data.images import Images, Labels, slices
from seefar.errors import counted
from seefar.evaluation.metrics import Rate, mcnemar
from seefar.maps.grid import Grid, Maps, rank_pixels, to_pixels
from seefar.maps.sanity import evidence_inside
from seefar.model.inference import log_softmax
from seefar.seeds import Stream

SHARES = (0.05, 0.10, 0.20, 0.30)
"""Shares of the pixels that are hidden, one after the other, until the prediction is correct."""

GREY = 128
BATCH = 20
"""Images in a batch: few, since the last batch is filled up, and a user waits for the first ten mistakes."""
Pixels = NDArray[np.bool_]  # (N, H, W)
Ranks = NDArray[np.int64]  # (N, H, W), from `rank_pixels`: 0 for the pixel that is hidden first
Outcome = Literal["repaired", "other", "stays"]
Predict = Callable[[Images], NDArray[np.float32]]
"""Logits, float32 (n, K), of stored images, uint8 (n, H, W, 3), such as `Classifier.logits`."""


def hide(images: Images, hidden: Pixels, how: HideName = "blur") -> Images:
    """The images, uint8 (N, H, W, 3), with their hidden pixels, bool (N, H, W), replaced.

    `blur`: each hidden pixel becomes the average of the visible ones around it, under a Gaussian with a standard
    deviation of an eighth of the image, so that no hidden colour is left; `grey`: 128; `mean`: the average of the
    image's visible pixels. Where no pixel is visible, `blur` and `mean` give grey.
    """
    visible = ~hidden[..., None]
    if how == "grey":
        filled: NDArray[np.float64] = np.full(images.shape, float(GREY))
    else:
        weight = visible.astype(np.float64)
        shown = weight * images
        if how == "blur":
            down, across = (_gaussian(side) for side in images.shape[1:3])
            shown, weight = (
                across @ (down @ part.reshape(*part.shape[:2], -1)).reshape(part.shape) for part in (shown, weight)
            )
        else:
            shown, weight = (part.sum((1, 2), keepdims=True) for part in (shown, weight))
        known = weight > 1e-9
        filled = np.broadcast_to(np.where(known, shown / np.where(known, weight, 1), GREY), images.shape)
    return np.where(visible, images, filled.round().astype(np.uint8))


@lru_cache(maxsize=8)
def _gaussian(side: int) -> NDArray[np.float64]:
    """A matrix (side, side) that blurs by a Gaussian of an eighth of the side, with nothing beyond the edges.

    Its products take half the time of scipy's filter for 32 pixels on a side, and a quarter for 224.
    """
    blurred: NDArray[np.float64] = gaussian_filter1d(np.eye(side), side / 8, axis=0, mode="constant", truncate=6)
    return blurred


@dataclass(frozen=True)
class Trial:
    """The network's predictions for M images with increasing shares of their pixels hidden.

    Attributes:
        pixels: bool (M, H, W), the mask that reached the goal, else the first to change the prediction, or the last.
        share: float (M,), the one of SHARES that this mask hides.
        logits: float32 (M, K), with this mask.
        first_change: float (M,), the first share at which the prediction changed; inf if there was none.
    """

    pixels: Pixels
    share: NDArray[np.float64]
    logits: NDArray[np.float32]
    first_change: NDArray[np.float64]

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Whether the prediction ever changed, bool (M,)."""
        return np.isfinite(self.first_change)

    @property
    def predicted(self) -> Labels:
        """The predicted class with this mask, int64 (M,)."""
        return np.asarray(self.logits.argmax(1), dtype=np.int64)

    def outcome(self, number: int, true: int) -> Outcome:
        """The effect of hiding on the prediction for one image, whose true class is `true`."""
        if not self.changed[number]:
            return "stays"
        return "repaired" if self.predicted[number] == true else "other"

    def of(self, rows: slice) -> Trial:
        """The same for some of the images."""
        return Trial(self.pixels[rows], self.share[rows], self.logits[rows], self.first_change[rows])


@dataclass(frozen=True)
class Occlusion:
    """The occlusion test of M mistakes: the strongest evidence is hidden (`top`), or its two controls.

    These hide the control mask (`shifted`), or as many of the pixels that matter least for the two classes.
    """

    top: Trial
    shifted: Trial
    least: Trial


def occlude(
    predict: Predict,
    images: Images,
    predicted: Labels,
    true: Labels,
    contrast: Maps,
    *,
    grid: Grid | None = None,
    how: HideName = "blur",
    index: NDArray[np.int64] | None = None,
) -> Occlusion:
    """The occlusion test: hide the strongest pixels of the contrast map, (M, h, w), then those of the two controls.

    The map is that of the predicted minus that of the true class, int64 (M,) each; without a grid its cells share the
    images, uint8 (M, H, W, 3), evenly. The control masks are drawn from the data set index of each image, int64 (M,),
    by default 0, 1, 2, ... For `how` see `hide`.
    """
    values = to_pixels(contrast, (images.shape[1], images.shape[2]), grid)
    count, ranks = len(images), rank_pixels(values)
    steps = control_steps(np.arange(count) if index is None else index, ranks.shape[1] * ranks.shape[2])
    orders = np.concatenate((ranks, shift_ranks(ranks, steps), rank_pixels(-np.abs(values))))
    # All three in one series of tries, so that the images that are left share batches.
    each = np.tile(np.arange(count), 3)
    trial = occlude_progressively(predict, images[each], predicted[each], orders, goal=true[each], how=how)
    return Occlusion(*(trial.of(slice(start * count, (start + 1) * count)) for start in range(3)))


def occlude_progressively(
    predict: Predict,
    images: Images,
    before: Labels,
    ranks: Ranks,
    *,
    goal: Labels | None = None,
    how: HideName = "blur",
) -> Trial:
    """Hide each of SHARES of the pixels in turn until the prediction is the goal, int64 (M,), or any other than before.

    For an image that never reaches the goal the first change counts, and if there is none, the last try. The ranks say
    which pixels are hidden first, int64 (M, H, W), see `rank_pixels`; `before` is the predicted class of the intact
    image, int64 (M,).
    """
    pixels, share = np.zeros(ranks.shape, dtype=bool), np.zeros(len(images))
    logits = np.zeros((len(images), 1), np.float32)
    first_change = np.full(len(images), np.inf)
    left = np.arange(len(images))
    for tried in SHARES:
        if not len(left):
            break
        hidden = ranks[left] < round(tried * ranks[0].size)
        parts = [predict(hide(images[left[rows]], hidden[rows], how)) for rows in slices(len(left), BATCH)]
        tried_logits = np.concatenate(parts)
        if tried == SHARES[0]:
            logits = np.zeros((len(images), tried_logits.shape[1]), np.float32)
        predicted = tried_logits.argmax(1)
        reached = predicted != before[left] if goal is None else predicted == goal[left]
        better = reached | np.isinf(first_change[left])  # only the goal replaces the first change
        pixels[left[better]], share[left[better]], logits[left[better]] = hidden[better], tried, tried_logits[better]
        first_change[left] = np.minimum(first_change[left], np.where(predicted != before[left], tried, np.inf))
        left = left[~reached]
    return Trial(pixels, share, logits, first_change)


def control_steps(index: NDArray[np.int64], pixels: int) -> NDArray[np.int64]:
    """How far the control mask of each image is moved, in pixels, int64 (M,): from 1 to `pixels` - 1.

    Drawn from the data set index of each image alone: a step by rank of loss would change with the last bits of the
    weights.
    """
    steps = [np.random.default_rng((Stream.SHIFT, int(number))).integers(1, pixels) for number in index]
    return np.array(steps, dtype=np.int64)


def shift_ranks(ranks: Ranks, steps: NDArray[np.int64]) -> Ranks:
    """The order of pixels (M, H, W) elsewhere: that of each image moved by its step, (M,), and wrapped at the edges."""
    count, height, width = ranks.shape
    rows = (np.arange(height) - steps[:, None] // width) % height  # (M, H), the row that each row is taken from
    columns = (np.arange(width) - steps[:, None] % width) % width
    moved: Ranks = ranks[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


@dataclass(frozen=True)
class Repair:
    """One prediction with its evidence hidden, against the true class, or for a picture without a label the runner-up.

    Attributes:
        outcome: `repaired`: the prediction became the true class; `other`: another class; `stays`: it did not change.
        share: share of the pixels that were hidden then, or at the last try.
        box: first row, first column, and the row and column after the last, in pixels, around the hidden ones.
        evidence: share of the positive part of the contrast map that was in the hidden pixels.
        answer, answer_probability: the predicted class then, and its probability.
        predicted_before, predicted_after: probability of the class predicted for the intact image.
        true_before, true_after: probability of the true class.
        control_share: share at which hiding the control mask changed the prediction too; None if it never did.
        shifted, least: the outcome of hiding the control mask, and the least relevant pixels.
    """

    outcome: Outcome
    share: float
    box: tuple[int, int, int, int]
    evidence: float
    answer: int
    answer_probability: float
    predicted_before: float
    predicted_after: float
    true_before: float
    true_after: float
    control_share: float | None
    shifted: Outcome = "stays"
    least: Outcome = "stays"

    def sentence(self, predicted: int, classes: Sequence[str]) -> str:
        """The effect of hiding the evidence: the new prediction, the drop of the first class, and the control."""
        fall = f"{self.predicted_before:.0%} \N{RIGHTWARDS ARROW} {self.predicted_after:.0%}"
        if self.outcome == "stays":
            after = f"still {classes[predicted]}, {fall}."
        else:
            after = f"{classes[self.answer]} {self.answer_probability:.0%}. {classes[predicted]} {fall}."
        control = "no change" if self.control_share is None else f"changes it at {self.control_share:.0%}"
        return f"{self.share:.0%} hidden: {after} Control mask: {control}."


def find_repairs(
    occlusion: Occlusion,
    predicted: Labels,
    true: Labels,
    before: NDArray[np.float64],
    contrast: Maps,
    *,
    grid: Grid | None = None,
) -> list[Repair]:
    """One `Repair` for each of the M images of an occlusion test, in order.

    The contrast maps, (M, h, w), are those of the test; `before` are the probabilities of the predicted and the true
    class for the intact images, float64 (M, 2).
    """
    top, control = occlusion.top, occlusion.shifted
    evidence = evidence_inside(contrast, top.pixels, grid)
    repairs = []
    for i, after in enumerate(np.exp(log_softmax(top.logits))):
        answer, class_ = int(after.argmax()), int(true[i])
        rows, columns = (np.flatnonzero(top.pixels[i].any(axis)) for axis in (1, 0))
        repairs.append(
            Repair(
                outcome=top.outcome(i, class_),
                share=float(top.share[i]),
                box=(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1),
                evidence=float(evidence[i]),
                answer=answer,
                answer_probability=float(after[answer]),
                predicted_before=float(before[i, 0]),
                predicted_after=float(after[predicted[i]]),
                true_before=float(before[i, 1]),
                true_after=float(after[class_]),
                control_share=float(control.first_change[i]) if control.changed[i] else None,
                shifted=control.outcome(i, class_),
                least=occlusion.least.outcome(i, class_),
            )
        )
    return repairs


@dataclass(frozen=True)
class RepairRates:
    """The occlusion test over many mistakes: rates of `repaired` with both controls, and of other changes.

    `p_shifted` and `p_least` are McNemar's exact two-sided p of `repaired` against either control, paired by image.
    Hiding the strongest pixels changed the prediction to another wrong class (`other`), or the prediction for a
    correctly classified image (`damaged`), where the map of its class minus that of the runner-up is hidden.
    """

    repaired: Rate
    shifted: Rate
    least: Rate
    p_shifted: float
    p_least: float
    other: Rate
    damaged: Rate

    def __str__(self) -> str:
        """In one line."""
        if self.repaired.share is None:
            return "no mistake to repair"
        damaged = "" if self.damaged.share is None else f"; {self.damaged.share:.0%} of correct predictions change too"
        return (
            f"Hiding the evidence repairs {self.repaired.share:.0%} of {counted(self.repaired.n, 'mistake')}; hiding "
            f"the control mask {self.shifted.share:.0%} (p = {self.p_shifted:.2g}), "
            f"the least relevant {self.least.share:.0%} (p = {self.p_least:.2g}){damaged}."
        )


def repair_rates(repairs: Sequence[Repair], damaged: NDArray[np.bool_]) -> RepairRates:
    """The rates over some mistakes; `damaged`: whether each tested correct prediction changed, bool (R,)."""
    repaired, shifted, least = (
        np.array([getattr(repair, which) == "repaired" for repair in repairs], dtype=bool)
        for which in ("outcome", "shifted", "least")
    )
    return RepairRates(
        repaired=Rate.of(repaired),
        shifted=Rate.of(shifted),
        least=Rate.of(least),
        p_shifted=mcnemar(repaired, shifted),
        p_least=mcnemar(repaired, least),
        other=Rate.of(np.array([repair.outcome == "other" for repair in repairs], dtype=bool)),
        damaged=Rate.of(damaged),
    )
