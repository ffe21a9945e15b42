"""What the occlusion test found: for each mistake in numbers and in one sentence, for all of them as rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seefar.evaluation.metrics import mcnemar, wilson_interval
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.occlusion import Hidden, Occlusion
from seefar.maps.grid import Grid, Maps
from seefar.maps.sanity import evidence_inside
from seefar.model.inference import log_softmax

Outcome = Literal["repaired", "other", "stays"]


@dataclass(frozen=True)
class Repair:
    """One mistake with its evidence hidden.

    Attributes:
        outcome: `repaired`: the answer became right; `other`: wrong in another way; `stays`: it did not change.
        share: share of the pixels that were hidden then, or at the last try.
        box: first row, first column, and the row and column after the last, in pixels, around the hidden ones.
        evidence: share of the positive part of the contrast map that lay in the hidden pixels.
        answer: the class named then.
        answer_probability: its probability then.
        predicted_before, predicted_after: probability of the class first named.
        true_before, true_after: probability of the true class.
        control_share: share at which hiding the same mask elsewhere changed the answer too; None if it never did.
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

    def sentence(self, mistake: Mistake, classes: tuple[str, ...]) -> str:
        """All of it in words."""
        top, left, bottom, right = self.box
        named, true, answer = (classes[c] for c in (mistake.predicted, mistake.true, self.answer))
        what = (
            f"Hiding {self.share:.0%} of the image, between rows {top} and {bottom - 1} and columns {left} and "
            f"{right - 1}, with {self.evidence:.0%} of what spoke for {named} rather than {true}, "
        )
        became = {
            "repaired": f"mends the answer: {named} goes from {self.predicted_before:.0%} to "
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
        rows, columns = (np.flatnonzero(top.pixels[i].any(axis)) for axis in (1, 0))
        found.append(
            Repair(
                outcome="stays" if not top.changed[i] else "repaired" if answer == mistake.true else "other",
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
            )
        )
    return found


@dataclass(frozen=True)
class Rate:
    """How often something happened: share of n, and its 95 % Wilson interval."""

    n: int
    share: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class RepairRates:
    """The occlusion test of all mistakes.

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
            return "no mistake to mend"
        damaged = "" if self.damaged.share is None else f"; {self.damaged.share:.0%} of right answers break so"
        return (
            f"Hiding the evidence mends {self.repaired.share:.0%} of {self.repaired.n} mistakes; hiding the "
            f"same mask elsewhere {self.shifted.share:.0%} (p = {self.p_shifted:.2g}), "
            f"the least relevant {self.least.share:.0%} (p = {self.p_least:.2g}){damaged}."
        )


def rate(hits: NDArray[np.bool_]) -> Rate:
    """The share of true values with its interval; without any value, None."""
    n = len(hits)
    return Rate(n, float(hits.mean()), wilson_interval(int(hits.sum()), n)) if n else Rate(0, None, None)


def repair_rates(mistakes: Sequence[Mistake], occlusion: Occlusion, damage: Hidden) -> RepairRates:
    """The rates over all mistakes.

    Args:
        mistakes: M mistakes.
        occlusion: what `occlude` found for them.
        damage: what hiding the strongest pixels did to images that the network gets right.
    """
    true = np.array([mistake.true for mistake in mistakes], dtype=np.int64)
    # Until the answer changes it is the wrong one, so a right one is a changed one.
    repaired, shifted, least = (hidden.answer == true for hidden in (occlusion.top, occlusion.shifted, occlusion.least))
    return RepairRates(
        repaired=rate(repaired),
        shifted=rate(shifted),
        least=rate(least),
        p_shifted=mcnemar(repaired, shifted),
        p_least=mcnemar(repaired, least),
        other=rate(occlusion.top.changed & ~repaired),
        damaged=rate(damage.changed),
    )
