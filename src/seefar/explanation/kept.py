"""The explanation in a run folder."""

from __future__ import annotations

from seefar.errors import RunError
from seefar.explanation.explain import Explanation
from seefar.training.run import Run


def kept_explanation(run: Run) -> Explanation | None:
    """The explanation in a run's folder; None if it is missing or damaged. Its fingerprints say what it is of."""
    try:
        return Explanation.load(run.folder.maps)
    except RunError:
        return None
