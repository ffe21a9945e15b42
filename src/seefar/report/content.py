"""Content of the HTML report: what is known of a model and its mistakes, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Split
from seefar.evaluation.calibration import Calibration
from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.mistakes import Mistake
from seefar.evaluation.triage import Verdict
from seefar.explanation.explain import Explanation
from seefar.explanation.neighbours import Neighbours
from seefar.training.history import HistoryRow
from seefar.training.recipe import Recipe

MOST_MISTAKES = 5_000
"""The most mistakes on a page: a browser shows as many, with their images, without delay."""
MOST_PROBABILITIES = 2_500_000
"""The most probabilities in a page, one for each mistake and class: 10 MB."""


@dataclass(frozen=True, eq=False, repr=False)
class ReportContent:
    """Everything that the page shows. A part that is None is left out, and the page is complete without it.

    Attributes:
        name: of the run or model.
        data: name of the data set.
        test: its test images.
        evaluation: of the model on these images.
        calibration: of its probabilities, for the reliability diagram.
        calibration_after: the same with a temperature that was fitted on held-out images.
        explanation: of all its mistakes or some.
        neighbours: the nearest training images of all its mistakes; shown if `train` is given.
        train: the training images.
        verdicts: causes of the mistakes, of all or some of them, in any order.
        votes: how many people chose each class for each test image, int (N, K); all zero where nobody was asked.
        history: rows of the training; empty for a network that was trained elsewhere.
        recipe: of the training, likewise None.
        command: the command that was given, as its arguments.
        provenance: versions and machine, see `seefar.runs.provenance`.
    """

    name: str
    data: str
    test: Split
    evaluation: Evaluation
    calibration: Calibration
    calibration_after: Calibration | None = None
    explanation: Explanation | None = None
    neighbours: Neighbours | None = None
    train: Split | None = None
    verdicts: Sequence[Verdict] | None = None
    votes: NDArray[np.int64] | None = None
    history: Sequence[HistoryRow] = ()
    recipe: Recipe | None = None
    command: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def mistakes(self) -> list[Mistake]:
        """The mistakes that a page has room for, in their order: those that are explained, and then the first."""
        mistakes = self.evaluation.mistakes
        most = min(MOST_MISTAKES, MOST_PROBABILITIES // len(self.test.classes))
        if len(mistakes) <= most:
            return list(mistakes)
        explained = set() if self.explanation is None else {mistake.index for mistake in self.explanation.mistakes}
        chosen = sorted(mistakes, key=lambda mistake: mistake.index not in explained)[:most]
        indices = {mistake.index for mistake in chosen}
        return [mistake for mistake in mistakes if mistake.index in indices]
