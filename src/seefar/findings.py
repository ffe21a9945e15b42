"""Findings about the mistakes of a run, beside their maps: triage, calibration, patterns, nearest training images.

They are computed from the predictions in a second or so and kept in `metrics.json`, `mistakes.csv` and figures; only
the features of the training images need the network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seefar import processes
from seefar.data import Data, Split
from seefar.data.reference import has_reference
from seefar.errors import RunError
from seefar.evaluation.calibration import Calibration, fit_temperature, measure_calibration
from seefar.evaluation.evaluate import Evaluation, MistakeAnalysis, analyse_mistakes, reference_of
from seefar.evaluation.predictions import Predictions, predict
from seefar.evaluation.triage import FAULTS, count_faults
from seefar.explanation.neighbours import Neighbours, find_neighbours, training_features
from seefar.progress import Progress, showing
from seefar.report.charts import plot_confusion, plot_faults, plot_reliability
from seefar.report.style import save_figure
from seefar.report.tables import write_metrics
from seefar.runs.folder import RunFolder, begun_with
from seefar.saved import CALIBRATIONS_SHA256, calibrations_sha256, is_writable, judged, saved_calibrations
from seefar.training.run import Run


@dataclass(frozen=True, repr=False)
class Findings:
    """What is known of all mistakes of a run but their maps.

    Attributes:
        analysis: whose fault they are, accuracy seen several ways, label issues, confused pairs, slices.
        calibration: how far the probabilities can be believed.
        after: the same with a temperature fitted on the held-out training images; None if none were held out, or they
            are not there any more.
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
    after = _after_temperature(run, data, predictions, progress) if run.recipe.held_out else None
    return Findings(analysis, measure_calibration(predictions.logits, predictions.labels), after)


def _after_temperature(run: Run, data: Data, predictions: Predictions, progress: Progress | None) -> Calibration | None:
    """Calibration with a temperature fitted on the held-out images; None, and a line, if others are there by now."""
    try:
        same = begun_with(run.folder)[0] == data.fingerprint
        why = "" if same else "the training images are others than when the run was begun"
    except RunError:
        why = f"{run.folder.data}, which says what the run was trained on, is missing or damaged"
    if why:
        with showing(progress) as shown:
            shown.line(f"no temperature is fitted, since {why}: put them back as they were and evaluate again")
        return None
    held_out = predict(run.model, data.hold_out(run.recipe.held_out, run.recipe.seed)[1], progress=progress)
    temperature = fit_temperature(held_out.logits, held_out.labels)
    return measure_calibration(predictions.logits, predictions.labels, temperature)


def can_judge_now(folder: RunFolder, test: Split, data_dir: str | Path | None, progress: Progress | None) -> bool:
    """Whether reference data are there by now, and `metrics.json` does not say whose fault the mistakes are."""
    if not has_reference(test) or judged(folder):
        return False
    reference, missing = reference_of(test, data_dir, progress=progress)
    say_missing(missing, progress)
    (writable,) = processes.agree(is_writable(folder))
    return reference is not None and writable


def say_missing(missing: str | None, progress: Progress | None) -> None:
    """One line of reference data that are missing or damaged."""
    if missing:
        with showing(progress) as shown:
            shown.line(f"faults are left out: {missing}")


def save_metrics(folder: RunFolder, evaluation: Evaluation, findings: Findings) -> None:
    """Write `metrics.json` if anything in it is new; one that is there is kept while reference data are missing."""
    if findings.analysis.missing is None or not folder.metrics.exists():
        sections = findings.sections
        sha256 = calibrations_sha256(evaluation, sections)
        write_metrics(folder.metrics, {"test": evaluation.metrics, **sections, CALIBRATIONS_SHA256: sha256})


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
