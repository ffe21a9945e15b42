from __future__ import annotations

import numpy as np
import pytest

from seefar.evaluation.mistakes import Mistake
from seefar.explanation.occlusion import Occlusion, Repair, Trial, find_repairs, repair_rates

CLASSES = ("cat", "dog", "frog")


def hidden(answers: list[int], share: float = 0.05, before: int = 1) -> Trial:
    """So many images with rows 2 to 3 and columns 5 to 9 of 32 hidden; the answer gets 4 to 1 to 1."""
    pixels = np.zeros((len(answers), 32, 32), bool)
    pixels[:, 2:4, 5:10] = True
    logits = np.log(np.where(np.arange(3) == np.array(answers)[:, None], 4.0, 1.0)).astype(np.float32)
    first_change = np.where(np.array(answers, dtype=int) != before, share, np.inf)
    return Trial(pixels, np.full(len(answers), share), logits, first_change)


def repairs(occlusion: Occlusion, contrast: np.ndarray) -> list[Repair]:
    """Of mistakes like MISTAKES, as many as there are maps."""
    count = len(contrast)
    before = np.tile([0.9, 0.08], (count, 1))
    return find_repairs(occlusion, np.ones(count, np.int64), np.zeros(count, np.int64), before, contrast)


MISTAKES = [Mistake(index, true=0, predicted=1, confidence=0.9, true_probability=0.08, loss=2.5) for index in range(3)]


def test_each_mistake_gets_its_region_its_probabilities_and_its_sentence() -> None:
    contrast = np.zeros((3, 32, 32), np.float32)
    contrast[:, 2, 5], contrast[:, 20, 20], contrast[:, 0, 0] = 3, 1, -5  # three quarters of what speaks for it
    top = hidden([0, 2, 1], share=0.1)
    found = repairs(Occlusion(top, hidden([2, 1, 1], share=0.2), top), contrast)
    assert [repair.outcome for repair in found] == ["repaired", "other", "stays"]
    first = found[0]
    assert (first.share, first.box, first.answer, first.control_share) == (0.1, (2, 5, 4, 10), 0, 0.2)
    assert (first.evidence, first.answer_probability) == (pytest.approx(0.75), pytest.approx(4 / 6))
    assert (first.predicted_before, first.true_before) == (0.9, 0.08)
    assert (first.predicted_after, first.true_after) == (pytest.approx(1 / 6), pytest.approx(4 / 6))
    assert found[1].control_share is None
    sentences = [repair.sentence(MISTAKES[0].predicted, CLASSES) for repair in found]
    assert sentences[0] == "10% hidden: cat 67%. dog 90% → 17%. Control mask: changes it at 20%."
    assert sentences[1] == "10% hidden: frog 67%. dog 90% → 17%. Control mask: no change."
    assert sentences[2].startswith("10% hidden: still dog, 90% → 67%.")


def test_rates_over_all_mistakes() -> None:
    occlusion = Occlusion(hidden([0, 0, 2, 1]), hidden([0, 2, 1, 1]), hidden([1, 1, 1, 1]))
    found = repairs(occlusion, np.ones((4, 32, 32), np.float32))
    rates = repair_rates(found, np.array([False, False, True]))
    assert (rates.repaired.share, rates.shifted.share, rates.least.share, rates.other.share) == (0.5, 0.25, 0, 0.25)
    assert (rates.damaged.n, rates.damaged.share) == (3, pytest.approx(1 / 3))
    assert (rates.p_shifted, rates.p_least) == (1.0, 0.5)  # one to none; two to none: 2 * (1/2)^2
    assert rates.repaired.interval == (pytest.approx(0.150, abs=1e-3), pytest.approx(0.850, abs=1e-3))
    assert str(rates).startswith("Hiding the evidence repairs 50% of 4 mistakes; hiding the control mask 25% (p = 1)")


def test_without_a_mistake_there_is_no_rate() -> None:
    rates = repair_rates([], np.zeros(0, bool))
    assert rates.repaired.share is None
    assert str(rates) == "no mistake to repair"
