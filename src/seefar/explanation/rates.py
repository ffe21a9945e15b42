"""Repair rates: shares with Wilson intervals, and McNemar tests of the occlusion test against its controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seefar.evaluation.metrics import mcnemar, wilson_interval
from seefar.explanation.repair import Repair


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
