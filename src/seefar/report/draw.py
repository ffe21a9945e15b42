"""The figures of a run, as PNG files in its folder."""

from __future__ import annotations

from pathlib import Path

from seefar.data.images import Split
from seefar.evaluation.evaluate import Evaluation
from seefar.explanation.explain import Explanation
from seefar.report.figures import plot_history, plot_maps, plot_mistakes
from seefar.runs.files import written_beside
from seefar.training.run import Run


def draw_figures(run: Run, test: Split, evaluation: Evaluation, explanation: Explanation) -> list[Path]:
    """Write `figures/history.png`, `mistakes.png` and `maps.png`; the mistakes are those that were explained.

    Without any mistake the last two are taken away, so that none is there of another choice.

    Returns:
        The paths of the files.
    """
    figures = {"history": plot_history(run.history, evaluation.metrics.accuracy)}
    if explanation.mistakes:
        figures["mistakes"] = plot_mistakes(explanation.mistakes, test)
        figures["maps"] = plot_maps(explanation, test)
    folder = run.folder.path / "figures"
    for name in {"mistakes", "maps"} - set(figures):
        (folder / f"{name}.png").unlink(missing_ok=True)
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        with written_beside(path) as beside:
            figure.savefig(beside, metadata={"Software": None})
        paths.append(path)
    return paths
