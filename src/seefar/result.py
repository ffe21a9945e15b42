"""The result of the main job, as Python gets it."""

from __future__ import annotations

from dataclasses import dataclass

from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.explain import Explanation
from seefar.explanation.neighbours import Neighbours
from seefar.findings import Findings
from seefar.training.run import Run


@dataclass(frozen=True, repr=False)
class Result:
    """What the main job gives.

    Attributes:
        run: the trained network and its history.
        evaluation: predictions, metrics and all mistakes.
        explanation: of the mistakes that are explained; `explanation.of(shown)` are those in the figure.
        shown: the mistakes in the figures, in their order.
        findings: whose fault the mistakes are, patterns, calibration.
        neighbours: the nearest training images of all mistakes; None if they were not asked for.
    """

    run: Run
    evaluation: Evaluation
    explanation: Explanation
    shown: list[Mistake]
    findings: Findings
    neighbours: Neighbours | None

    def __repr__(self) -> str:
        return f"Result({self.run!r}, {self.evaluation!r})"
