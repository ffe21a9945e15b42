"""The result of the main job, as Python gets it and as it is written into the run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seefar.data import Data
from seefar.evaluation.analysis import reference_of
from seefar.evaluation.calibration import Calibration, measure_calibration
from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.mistakes import Mistake
from seefar.evaluation.triage import triage
from seefar.explanation.explain import Explanation
from seefar.explanation.neighbours import Neighbours
from seefar.findings import Findings
from seefar.report.content import ReportContent
from seefar.report.page import render_report
from seefar.report.tables import files_table, neighbours_table, occlusion_table, write_mistakes
from seefar.runs.files import write_changed
from seefar.runs.provenance import provenance
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


def write_result(result: Result, data: Data, command: Sequence[str], data_dir: str | Path | None) -> None:
    """Write `explanation.json`, `mistakes.csv` with all its columns, and the page, each if anything in it is new."""
    run, evaluation, explanation, findings = result.run, result.evaluation, result.explanation, result.findings
    write_changed(run.folder.explanation, json.dumps(explanation.summary(), indent=2) + "\n")
    write_table(run, data, evaluation, findings, explanation, result.neighbours)
    calibrations = findings.calibration, findings.after
    make_report(run, data, evaluation, explanation, result.neighbours, calibrations, command=command, data_dir=data_dir)


def make_report(
    run: Run,
    data: Data,
    evaluation: Evaluation,
    explanation: Explanation | None,
    neighbours: Neighbours | None,
    calibrations: tuple[Calibration, Calibration | None] | None = None,
    *,
    command: Sequence[str],
    data_dir: str | Path | None,
) -> Path:
    """Write `report.html` into the run folder, if anything in it is new."""
    predictions = evaluation.predictions
    reference, _ = reference_of(data.test, data_dir, fetch=False)
    before, after = calibrations or (measure_calibration(predictions.logits, predictions.labels), None)
    content = ReportContent(
        name=run.folder.path.name,
        data=data.name,
        test=data.test,
        evaluation=evaluation,
        calibration=before,
        calibration_after=after,
        explanation=explanation,
        neighbours=neighbours,
        train=data.train,
        verdicts=None if reference is None else triage(predictions.labels, predictions.predicted, reference),
        votes=None if reference is None else reference.counts,
        history=run.history,
        recipe=run.recipe,
        command=command,
        provenance=provenance(),
    )
    write_changed(run.folder.report, render_report(content))
    return run.folder.report


def write_table(
    run: Run,
    data: Data,
    evaluation: Evaluation,
    findings: Findings,
    explanation: Explanation | None,
    neighbours: Neighbours | None,
) -> None:
    """Write `mistakes.csv` with the columns of all that is there, if anything in it is new."""
    tables = [
        files_table(data.test),
        {} if explanation is None else occlusion_table(explanation, data.classes),
        findings.analysis.columns,
        {} if neighbours is None else neighbours_table(neighbours),
    ]
    write_mistakes(run.folder.mistakes, evaluation.mistakes, data.classes, *tables)
