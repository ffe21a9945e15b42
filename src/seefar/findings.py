"""Findings about the mistakes of a run, beside their maps: triage, calibration, patterns, nearest training images.

They are computed from the predictions in a second or so and kept in `metrics.json`, `mistakes.csv` and figures; only
the features of the training images need the network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seefar import processes
from seefar.data import Data
from seefar.evaluation.analysis import MistakeAnalysis, analyse_mistakes
from seefar.evaluation.calibration import Calibration, measure_calibration
from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.predictions import predict
from seefar.evaluation.temperature import fit_temperature
from seefar.evaluation.triage import FAULTS, count_faults
from seefar.explanation.neighbours import Neighbours, find_neighbours, training_features
from seefar.progress import Progress
from seefar.report.charts import plot_confusion, plot_faults, plot_reliability
from seefar.report.draw import save_figure
from seefar.runs.folder import RunFolder
from seefar.saved import saved_calibrations
from seefar.training.run import Run


@dataclass(frozen=True, repr=False)
class Findings:
    """What is known of all mistakes of a run but their maps.

    Attributes:
        analysis: whose fault they are, accuracy seen several ways, label issues, confused pairs, slices.
        calibration: how far the probabilities can be believed.
        after: the same with a temperature fitted on the held-out training images; None if none were held out.
    """

    analysis: MistakeAnalysis
    calibration: Calibration
    after: Calibration | None

    @property
    def sections(self) -> dict[str, Any]:
        """Sections of `metrics.json`."""
        after = {} if self.after is None else {"calibration_after_temperature": asdict(self.after)}
        return {**self.analysis.sections, "calibration": asdict(self.calibration), **after}

    @property
    def lines(self) -> list[str]:
        """One line each, for the end of a run."""
        found = self.calibration
        low, high = found.ece.interval
        sure = f"sure of {found.confidence:.1%} on average, right in {found.accuracy:.1%}"
        return [
            *self.analysis.lines,
            f"calibration: {sure}; expected calibration error {found.ece.value:.2%} ({low:.2%} to {high:.2%})",
        ]


def find(
    run: Run, data: Data, evaluation: Evaluation, data_dir: str | Path | None, progress: Progress | None
) -> Findings:
    """Everything that follows from the predictions, and, where training images were held out, a temperature.

    Calibrations that are saved are read back.

    Args:
        run: a finished training.
        data: what it was trained on.
        evaluation: of its test images.
        data_dir: where the reference data for CIFAR-10 lie or are to be kept; see `seefar.load_reference`.
        progress: see `seefar.progress`.
    """
    predictions = evaluation.predictions
    analysis = analyse_mistakes(predictions, data.test, data_dir, progress=progress)
    saved = saved_calibrations(run, evaluation)
    (missing,) = processes.agree(saved is None)  # of several processes all ask the network, or none does
    if saved and not missing:
        return Findings(analysis, *saved)
    after = None
    if run.recipe.held_out:
        held_out = predict(run.model, data.hold_out(run.recipe.held_out, run.recipe.seed)[1], progress=progress)
        temperature = fit_temperature(held_out.logits, held_out.labels)
        after = measure_calibration(predictions.logits, predictions.labels, temperature)
    return Findings(analysis, measure_calibration(predictions.logits, predictions.labels), after)


def draw_findings(folder: RunFolder, evaluation: Evaluation, findings: Findings) -> None:
    """Write `confusion.png`, `reliability.png` and, where the faults are known, `faults.png`; those that are not there.

    `steps.evaluate_run` takes them away when they are of other predictions.
    """
    predictions, verdicts = evaluation.predictions, findings.analysis.verdicts
    if not (path := folder.figure("confusion")).exists():
        save_figure(path, plot_confusion(evaluation.metrics.confusion, predictions.classes))
    if not (path := folder.figure("reliability")).exists():
        save_figure(path, plot_reliability(findings.calibration, predictions.confidence, findings.after))
    if verdicts is not None and not (path := folder.figure("faults")).exists():
        counts = count_faults(verdicts)
        save_figure(path, plot_faults({fault: counts[fault] for fault in FAULTS}))


def compute_neighbours(run: Run, data: Data, evaluation: Evaluation, progress: Progress | None) -> Neighbours:
    """The nearest training images of all mistakes, saved in the run folder."""
    features = training_features(run.model, data.train, progress=progress)
    neighbours = find_neighbours(evaluation.predictions, features, data)
    neighbours.save(run.folder.neighbours)
    return neighbours
