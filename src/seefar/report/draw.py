"""The figures of a run, as PNG files in its folder."""

from __future__ import annotations

from pathlib import Path

from seefar.data.images import Split
from seefar.evaluation.evaluate import Evaluation
from seefar.explanation.explain import Explanation
from seefar.files import written_beside
from seefar.report.figures import plot_history, plot_maps, plot_mistakes
from seefar.training.run import Run


def draw_figures(run: Run, test: Split, evaluation: Evaluation, explanation: Explanation) -> list[Path]:
    """Write `figures/history.png`, `mistakes.png` and `maps.png`; the mistakes are those that were explained.

    Returns:
        The paths of the files.
    """
    figures = {"history": plot_history(run.history, evaluation.metrics.accuracy)}
    if explanation.mistakes:
        figures["mistakes"] = plot_mistakes(explanation.mistakes, test)
        figures["maps"] = plot_maps(explanation, test)
    paths = []
    for name, figure in figures.items():
        path = run.folder.path / "figures" / f"{name}.png"
        with written_beside(path) as beside:
            figure.savefig(beside, metadata={"Software": None})
        paths.append(path)
    return paths
