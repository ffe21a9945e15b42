"""Occlusion test: hide the strongest evidence until the answer changes, against the same mask elsewhere and the least.

A map says where the evidence is; only the network's answer without it shows whether the answer depended on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from seefar.data.images import Images, Labels
from seefar.evaluation.metrics import mcnemar, wilson_interval
from seefar.evaluation.mistakes import Mistake
from seefar.maps.capture import Model, logits_of
from seefar.maps.grid import Grid, Maps, rank_pixels, to_pixels
from seefar.maps.sanity import evidence_inside
from seefar.model.inference import log_softmax
from seefar.names import HideName
from seefar.runs.values import Count, Share
from seefar.seeds import Stream

GREY = 128
Pixels = NDArray[np.bool_]  # (N, H, W)


def hide(images: Images, hidden: Pixels, how: HideName = "blur") -> Images:
    """The images with their hidden pixels replaced; the others are not touched.

    Args:
        images: uint8 (N, H, W, 3).
        hidden: bool (N, H, W).
        how: `blur`: each hidden pixel becomes the average of the visible ones around it, under a Gaussian an eighth
            of the image wide, so nothing of what was there shines through; `grey`: 128; `mean`: the average of the
            image's visible pixels. Where no pixel is visible, `blur` and `mean` give grey.
    """
    visible = ~hidden[..., None]
    if how == "grey":
        filled: NDArray[np.float64] = np.full(images.shape, float(GREY))
    else:
        shown = images * visible.astype(np.float64)
        weight = visible.astype(np.float64)
        if how == "blur":
            sigma = (0, images.shape[1] / 8, images.shape[2] / 8, 0)
            shown, weight = (gaussian_filter(part, sigma, mode="constant", truncate=6) for part in (shown, weight))
        else:
            shown, weight = (part.sum((1, 2), keepdims=True) for part in (shown, weight))
        known = weight > 1e-9
        filled = np.broadcast_to(np.where(known, shown / np.where(known, weight, 1), GREY), images.shape)
    return np.where(visible, images, filled.round().astype(np.uint8))


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
    index: NDArray[np.int64] | None = None,
) -> Occlusion:
    """The occlusion test: the strongest pixels of the contrast map, then the two controls, each with the same tries.

    Args:
        model: see `seefar.maps.capture.Model`.
        images: uint8 (M, H, W, 3).
        predicted: the predicted classes, int64 (M,).
        true: the true classes, int64 (M,).
        contrast: map of the predicted minus map of the true class, (M, h, w).
        grid: where the cells lie; default: they share the image evenly.
        how: what takes the place of hidden pixels; see `hide`.
        index: data set index of each image, int64 (M,), from which its control mask is drawn. Default: 0, 1, 2, ...

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
    steps = control_steps(np.arange(len(images)) if index is None else index, ranks.shape[1] * ranks.shape[2])
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
        model: see `seefar.maps.capture.Model`.
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


def control_steps(index: NDArray[np.int64], pixels: int) -> NDArray[np.int64]:
    """How far the control mask of each image is moved, in pixels, int64 (M,): from 1 to `pixels` - 1.

    Drawn from the data set index alone. A step by rank of loss would change with the last bits of the weights.

    Args:
        index: data set index of each image, int64 (M,).
        pixels: pixels of an image.
    """
    steps = [np.random.default_rng((Stream.SHIFT, int(one))).integers(1, pixels) for one in index]
    return np.array(steps, dtype=np.int64)


def shifted(ranks: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same order of pixels elsewhere: each image's moved by its own step and wrapped at the edges.

    Args:
        ranks: int64 (M, H, W).
        steps: int64 (M,): rows times the width, plus columns; see `control_steps`.
    """
    count, height, width = ranks.shape
    rows = (np.arange(height) - steps[:, None] // width) % height  # (M, H), where each row is taken from
    columns = (np.arange(width) - steps[:, None] % width) % width
    moved: NDArray[np.int64] = ranks[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


Outcome = Literal["repaired", "other", "stays"]


@dataclass(frozen=True)
class Repair:
    """One mistake with its evidence hidden.

    Attributes:
        outcome: `repaired`: the answer became right; `other`: wrong in another way; `stays`: it did not change.
        share: share of the pixels that were hidden then, or at the last try.
        box: first row, first column, and the row and column after the last, in pixels, around the hidden ones.
        evidence: share of the positive part of the contrast map that lay in the hidden pixels.
        answer: the predicted class then.
        answer_probability: its probability then.
        predicted_before, predicted_after: probability of the class predicted for the whole image.
        true_before, true_after: probability of the true class.
        control_share: share at which hiding the same mask elsewhere changed the answer too; None if it never did.
        shifted: the outcome of hiding the same mask elsewhere.
        least: the outcome of hiding the least relevant pixels.
    """

    outcome: Outcome
    share: Share
    box: tuple[Count, Count, Count, Count]
    evidence: Share
    answer: Count
    answer_probability: Share
    predicted_before: Share
    predicted_after: Share
    true_before: Share
    true_after: Share
    control_share: Share | None
    shifted: Outcome = "stays"
    least: Outcome = "stays"

    def sentence(self, mistake: Mistake, classes: tuple[str, ...]) -> str:
        """All of it in words."""
        top, left, bottom, right = self.box
        named, true, answer = (classes[c] for c in (mistake.predicted, mistake.true, self.answer))
        what = (
            f"Hiding {self.share:.0%} of the image, between rows {top} and {bottom - 1} and columns {left} and "
            f"{right - 1}, with {self.evidence:.0%} of what spoke for {named} rather than {true}, "
        )
        became = {
            "repaired": f"repairs the answer: {named} goes from {self.predicted_before:.0%} to "
            f"{self.predicted_after:.0%}, {true} from {self.true_before:.0%} to {self.true_after:.0%}",
            "other": f"makes it wrong in another way: {answer} at {self.answer_probability:.0%}, {named} "
            f"goes from {self.predicted_before:.0%} to {self.predicted_after:.0%}",
            "stays": f"does not change the answer: {named} goes from {self.predicted_before:.0%} to "
            f"{self.predicted_after:.0%}",
        }[self.outcome]
        if self.control_share is None:
            control = "the same mask elsewhere never changes it"
        else:
            control = f"the same mask elsewhere changes it at {self.control_share:.0%}"
        return f"{what}{became}; {control}."


def repairs(
    mistakes: Sequence[Mistake], occlusion: Occlusion, contrast: Maps, grid: Grid | None = None
) -> list[Repair]:
    """One `Repair` a mistake, in order.

    Args:
        mistakes: M mistakes.
        occlusion: what `occlude` found for them.
        contrast: the contrast maps it was given, (M, h, w).
        grid: where the cells lie; default: they share the image evenly.
    """
    top, control = occlusion.top, occlusion.shifted
    evidence = evidence_inside(contrast, top.pixels, grid)
    found = []
    for i, (mistake, after) in enumerate(zip(mistakes, np.exp(log_softmax(top.logits)), strict=True)):
        answer = int(after.argmax())
        outcome, shifted, least = (_outcome(hidden, i, mistake) for hidden in (top, control, occlusion.least))
        rows, columns = (np.flatnonzero(top.pixels[i].any(axis)) for axis in (1, 0))
        found.append(
            Repair(
                outcome=outcome,
                share=float(top.share[i]),
                box=(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1),
                evidence=float(evidence[i]),
                answer=answer,
                answer_probability=float(after[answer]),
                predicted_before=mistake.confidence,
                predicted_after=float(after[mistake.predicted]),
                true_before=mistake.true_probability,
                true_after=float(after[mistake.true]),
                control_share=float(control.first_change[i]) if control.changed[i] else None,
                shifted=shifted,
                least=least,
            )
        )
    return found


def _outcome(hidden: Hidden, number: int, mistake: Mistake) -> Outcome:
    if not hidden.changed[number]:
        return "stays"
    return "repaired" if hidden.answer[number] == mistake.true else "other"


@dataclass(frozen=True)
class Rate:
    """How often something happened: share of n, and its 95 % Wilson interval."""

    n: int
    share: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class RepairRates:
    """The occlusion test over many mistakes.

    Attributes:
        repaired: hiding the strongest pixels made the answer right.
        shifted: hiding the same mask elsewhere did.
        least: hiding the least relevant pixels did.
        p_shifted: McNemar's exact p of `repaired` against `shifted`, paired by image, two-sided.
        p_least: the same against `least`.
        other: hiding the strongest pixels made the answer wrong in another way.
        damaged: correctly classified images whose answer became wrong when the strongest pixels of the map of
            their class minus that of the runner-up were hidden.
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
        damaged = "" if self.damaged.share is None else f"; {self.damaged.share:.0%} of right answers break so"
        return (
            f"Hiding the evidence repairs {self.repaired.share:.0%} of {self.repaired.n} mistakes; hiding the "
            f"same mask elsewhere {self.shifted.share:.0%} (p = {self.p_shifted:.2g}), "
            f"the least relevant {self.least.share:.0%} (p = {self.p_least:.2g}){damaged}."
        )


def rate(hits: NDArray[np.bool_]) -> Rate:
    """The share of true values with its interval; without any value, None."""
    n = len(hits)
    return Rate(n, float(hits.mean()), wilson_interval(int(hits.sum()), n)) if n else Rate(0, None, None)


def repair_rates(found: Sequence[Repair], damaged: NDArray[np.bool_]) -> RepairRates:
    """The rates over some mistakes.

    Args:
        found: the outcome of each.
        damaged: for each right answer that was tried, whether it became wrong, bool (R,).
    """
    repaired, shifted, least = (
        np.array([getattr(repair, which) == "repaired" for repair in found], dtype=bool)
        for which in ("outcome", "shifted", "least")
    )
    return RepairRates(
        repaired=rate(repaired),
        shifted=rate(shifted),
        least=rate(least),
        p_shifted=mcnemar(repaired, shifted),
        p_least=mcnemar(repaired, least),
        other=rate(np.array([repair.outcome == "other" for repair in found], dtype=bool)),
        damaged=rate(damaged),
    )
