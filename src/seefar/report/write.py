"""HTML report of any model's evaluation and explanation: gathers what the page shows, and writes it as one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seefar.data.images import Split
from seefar.data.reference import Reference
from seefar.errors import DataError
from seefar.evaluation.calibration import Calibration, measure_calibration
from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.triage import Verdict, triage
from seefar.explanation.explain import Explanation
from seefar.report.content import NearestImages, ReportContent, on_page
from seefar.report.html import render_report
from seefar.runs.files import write_text
from seefar.runs.provenance import provenance
from seefar.training.history import HistoryRow
from seefar.training.recipe import Recipe


def write_report(
    path: str | Path,
    split: Split,
    evaluation: Evaluation,
    explanation: Explanation | None = None,
    *,
    name: str,
    data: str,
    reference: Reference | None = None,
) -> Path:
    """The page of any model's mistakes, such as one that was trained elsewhere: one HTML file that loads nothing.

    `seefar.report_run` does it for a run.

    Args:
        path: the file; its folder is made.
        split: the images.
        evaluation: of the model on these images, see `seefar.evaluate`.
        explanation: of all its mistakes or some, see `seefar.explain`.
        name: of the model, as the page shows it.
        data: name of the data set, likewise.
        reference: what people and other networks say of CIFAR-10's test images; left out for other images.

    Returns:
        The path of the page.

    Raises:
        DataError: the evaluation is of other images, or the explanation of other predictions.

    Example:
        >>> import tempfile
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test = load_shapes(train=20, test=12).test
        >>> evaluation = seefar.evaluate(seefar.ResNet18(width=2).eval(), test, progress=seefar.SILENT)
        >>> page = seefar.write_report(tempfile.mkdtemp() + "/a.html", test, evaluation, name="mine", data="shapes")
        >>> "mistakes" in page.read_text(encoding="utf-8")
        True
    """
    predictions = evaluation.predictions
    if (predictions.images, predictions.classes) != (split.fingerprint, split.classes):
        raise DataError(
            "The evaluation is of other images than the split that was passed: pass the one it was made of, or "
            "seefar.evaluate(model, split) makes it anew."
        )
    if explanation and (explanation.model, explanation.images) != (predictions.model, predictions.images):
        raise DataError(
            "The explanation is of other predictions than the evaluation: pass the one that was made of them, or "
            "seefar.explain(model, split, evaluation.predictions) makes it anew."
        )
    path = Path(path)
    content = gather(split, evaluation, explanation, name=name, data=data, reference=reference, provenance=provenance())
    write_text(path, render_report(content))
    return path


def gather(
    test: Split,
    evaluation: Evaluation,
    explanation: Explanation | None = None,
    *,
    name: str,
    data: str,
    history: Sequence[HistoryRow] = (),
    recipe: Recipe | None = None,
    reference: Reference | None = None,
    neighbours: NearestImages | None = None,
    verdicts: Sequence[Verdict] | None = None,
    calibrations: tuple[Calibration, Calibration | None] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> ReportContent:
    """What the page shows; the network is not asked again.

    Args:
        test: the images.
        evaluation: of these images.
        explanation: of all its mistakes or some.
        name: of the run or model.
        data: name of the data set.
        history: rows of the training, if it was here.
        recipe: of the training, likewise.
        reference: what people and other networks say of CIFAR-10's test images; left out for other images.
        neighbours: the nearest training images of those mistakes that `on_page` chooses.
        verdicts: whose fault the mistakes are; default: found by `reference`.
        calibrations: of the predictions, without and, if there is one, with a temperature; default: measured, without.
        provenance: command, versions and machine.
    """
    predictions = evaluation.predictions
    mistakes = on_page(evaluation.mistakes, len(test.classes), explanation)
    index = np.array([mistake.index for mistake in mistakes], dtype=np.int64)
    before, after = calibrations or (measure_calibration(predictions.logits, predictions.labels), None)
    votes = None
    if reference is not None:
        try:
            if verdicts is None:
                verdicts = triage(predictions.labels, predictions.predicted, reference)
            votes = reference.counts[index]
        except DataError:  # other images than those that people and networks were asked about
            verdicts = None
    return ReportContent(
        name=name,
        data=data,
        classes=test.classes,
        metrics=evaluation.metrics,
        history=history,
        recipe=recipe,
        provenance=provenance or {},
        mistakes=mistakes,
        images=test.images[index],
        log_probabilities=predictions.log_probabilities[index],
        explanation=explanation,
        files=None if test.files is None else [test.files[at] for at in index],
        verdicts=verdicts,
        votes=votes,
        neighbours=neighbours,
        calibration=before,
        calibration_after=after,
    )
