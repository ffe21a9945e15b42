"""The outcome of the occlusion test for each mistake: repaired, other, stays; in numbers and in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seefar.evaluation.mistakes import Mistake
from seefar.explanation.occlusion import Hidden, Occlusion
from seefar.maps.grid import Grid, Maps
from seefar.maps.sanity import evidence_inside
from seefar.model.inference import log_softmax
from seefar.runs.values import Count, Share

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
