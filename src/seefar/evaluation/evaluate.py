"""Evaluation of one model on one split, and everything that follows from its predictions and reference data."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from seefar.data.images import Labels, Split
from seefar.data.reference import Reference
from seefar.errors import DataError, counted
from seefar.evaluation.metrics import Metrics, measure
from seefar.evaluation.mistakes import (
    ConfusedPair,
    ErrorSlice,
    Mistake,
    confused_pairs,
    find_mistakes,
    measure_slices,
    tenths,
)
from seefar.evaluation.predictions import Predictions, predict
from seefar.evaluation.verdict import (
    HUMAN,
    AccuracyView,
    LabelIssue,
    Verdict,
    accuracy_views,
    count_faults,
    find_label_issues,
    judge,
    rule_of,
    triage,
)
from seefar.model.adapt import Classifier
from seefar.progress import Progress

MOST_PAIRS = 10
"""Confused pairs in `metrics.json`."""
LEAST_ACCURACY = 0.8
"""A model whose accuracy may be lower, or that never predicts some class, is no evidence against a label."""
SIGNIFICANT = 0.05
"""Slices with a corrected p below this are printed at the end of a run."""


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Predictions for every image of a split, their metrics, and all mistakes, highest loss first."""

    predictions: Predictions
    metrics: Metrics
    mistakes: list[Mistake]

    def __repr__(self) -> str:
        mistakes = counted(len(self.mistakes), "mistake")
        return f"Evaluation({self.metrics.accuracy:.2%} of {self.metrics.n} correct, {mistakes})"

    @classmethod
    def of(cls, predictions: Predictions) -> Evaluation:
        """The evaluation of predictions that exist already."""
        labels, predicted = predictions.labels, predictions.predicted
        metrics = measure(labels, predicted, predictions.losses, predictions.classes)
        if not predictions.has_probabilities:
            metrics = replace(metrics, loss=None)
        return cls(predictions, metrics, find_mistakes(predictions))

    def save(self, path: str | Path) -> None:
        """Write the predictions as an `.npz` of plain arrays; `load` computes the rest again."""
        self.predictions.save(path)

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Read what `save`, or `Predictions.save`, wrote; a `RunError` if the file is missing or damaged."""
        return cls.of(Predictions.load(path))


def evaluate(model: nn.Module | Classifier, split: Split, *, progress: Progress | None = None) -> Evaluation:
    """Predictions, metrics and mistakes of a model on a split. Writes nothing; `Evaluation.save` does.

    Arguments and errors as `seefar.predict`.

    Examples:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test = load_shapes(train=20, test=30).test
        >>> evaluation = seefar.evaluate(seefar.ResNet18(width=2).eval(), test, progress=seefar.SILENT)
        >>> evaluation.metrics.n, evaluation.metrics.mistakes == len(evaluation.mistakes)
        (30, True)
    """
    return Evaluation.of(predict(model, split, progress=progress))


@dataclass(frozen=True)
class Finding:
    """A sentence about the mistakes, and the filters of the page that show these, such as `{"set": "dark"}`."""

    text: str
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MistakeAnalysis:
    """Analysis of the mistakes of one model on one split.

    Attributes:
        verdicts: one for each mistake, in order of index; from evidence without reference data.
        views: the accuracy on several selections of the images.
        issues: labels that may be wrong; None where only the predicted classes are known.
        pairs: classes that are confused with each other, the most mistakes first.
        slices: error rates of dark, bright, flat and busy images.
        subsets: indices of the images of each slice, by its name.
        cautions: sentences about a model at chance, see `Metrics.cautions`.
        trusts_model: whether the model is accurate enough to doubt a label.
        seeds: accuracy of this run and of those with other seeds; empty if there are none.
    """

    classes: tuple[str, ...]
    verdicts: list[Verdict]
    views: list[AccuracyView]
    issues: list[LabelIssue] | None
    pairs: list[ConfusedPair]
    slices: list[ErrorSlice]
    subsets: Mapping[str, frozenset[int]]
    cautions: list[str]
    trusts_model: bool
    seeds: tuple[float, ...] = ()

    @property
    def sections(self) -> dict[str, Any]:
        """Sections of `metrics.json`: `faults`, `accuracy_views`, `label_issues`, ..."""
        return {
            "faults": count_faults(self.verdicts),
            "fault_rule": asdict(rule_of(self.verdicts)),
            "accuracy_views": [asdict(view) for view in self.views],
            "label_issues": None if self.issues is None else len(self.issues),
            "confused_pairs": [
                {**asdict(pair), "first": self.classes[pair.first], "second": self.classes[pair.second]}
                for pair in self.pairs[:MOST_PAIRS]
            ],
            "slices": [asdict(row) for row in self.slices],
            "seeds": self.seeds,
        }

    @property
    def lines(self) -> list[str]:
        """One line for each result, printed at the end of a run."""
        lines = []
        if self.verdicts:
            counts = count_faults(self.verdicts)
            lines.append("causes: " + ", ".join(f"{fault} {n}" for fault, n in counts.items() if fault != "errors"))
        lines += [str(view) for view in self.views[1:]]
        return lines + [finding.text for finding in self.findings]

    @property
    def findings(self) -> list[Finding]:
        """Notable results: a model at chance, doubtful labels, the most confused pair, slices that differ."""
        findings = [Finding(text) for text in self.cautions]
        if self.seeds:
            mean, spread = statistics.mean(self.seeds), statistics.stdev(self.seeds)
            text = f"{len(self.seeds)} seeds: accuracy {mean:.2%} on average, standard deviation {spread:.2%}"
            findings.append(Finding(text))
        findings += self._doubtful_labels
        if self.verdicts:
            ((most, count),) = Counter(verdict.true for verdict in self.verdicts).most_common(1)
            text = f"most often missed: {self.classes[most]}, {count} of all {counted(len(self.verdicts), 'mistake')}"
            findings.append(Finding(text, {"true": self.classes[most]}))
        for pair in self.pairs[:1]:
            first, second = self.classes[pair.first], self.classes[pair.second]
            text = (
                f"most confused: {first} predicted as {second} {counted(pair.first_as_second, 'time')}, {second} as "
                f"{first} {counted(pair.second_as_first, 'time')}, {pair.share:.0%} of all mistakes"
            )
            findings.append(Finding(text, {"true": first, "predicted": second}))
        for one_slice in self.slices:
            if one_slice.p_holm < SIGNIFICANT:
                text = (
                    f"{one_slice.name} images: {one_slice.error_rate:.1%} mistakes, elsewhere "
                    f"{one_slice.rest_error_rate:.1%} (p = {one_slice.p_holm:.1g} after Holm's correction)"
                )
                findings.append(Finding(text, {"set": one_slice.name}))
        return findings

    @property
    def _doubtful_labels(self) -> list[Finding]:
        """The label issues of a model that is accurate enough, and how many of them people doubt too."""
        issues, filters = self.issues, {"set": "label issue"}
        if not issues or not self.trusts_model:
            return []
        text = f"{counted(len(issues), 'label')} may be wrong"
        if rule_of(self.verdicts) is HUMAN:
            text = f"the model finds {counted(len(issues), 'label')} improbable"
            doubted = {verdict.index for verdict in self.verdicts if verdict.fault == "label"}
            issues = [issue for issue in issues if issue.index in doubted]
            text += f"; people doubt {len(issues) or 'none'} of them"
            filters = {**filters, "fault": "label"} if issues else filters
        if issues:
            which = ": that" if len(issues) == 1 else ", first that"
            text += f"{which} of image {issues[0].index}, {issues[0].sentence}"
        return [Finding(text, filters)]


def analyse_mistakes(
    predictions: Predictions,
    split: Split,
    reference: Reference | None = None,
    *,
    copies: Mapping[int, int] | None = None,
    others: Sequence[Labels] = (),
) -> MistakeAnalysis:
    """Verdicts and patterns of the mistakes.

    Verdicts are from human labels if there is a reference, see `seefar.load_reference`; else from evidence, see
    `seefar.evaluation.verdict.judge`, which also explains `copies` and `others`.

    Raises:
        DataError: the predictions are not of this split.

    Examples:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test = load_shapes(train=20, test=40).test
        >>> predictions = seefar.predict(seefar.ResNet18(width=2).eval(), test, progress=seefar.SILENT)
        >>> len(seefar.analyse_mistakes(predictions, test).views)
        1
    """
    labels, predicted = predictions.labels, predictions.predicted
    if predictions.images != split.fingerprint:
        raise DataError(
            "The predictions are for other images or labels than this split: pass the split they were computed for."
        )
    kinds = tenths(split.images) if len(split) > 1 else {}
    views = accuracy_views(labels, predicted, reference)
    issues = find_label_issues(labels, np.exp(predictions.log_probabilities), split.classes)
    cautions = measure(labels, predicted, predictions.losses, split.classes).cautions
    return MistakeAnalysis(
        split.classes,
        judge(predictions, copies=copies, others=others) if reference is None else triage(labels, predicted, reference),
        views,
        issues if predictions.has_probabilities else None,
        confused_pairs(labels, predicted, len(split.classes)),
        measure_slices(kinds, predicted != labels),
        {name: frozenset(np.flatnonzero(inside).tolist()) for name, (inside, _) in kinds.items()},
        cautions,
        views[0].interval[0] > LEAST_ACCURACY and not cautions,
        tuple(float((labels_of == labels).mean()) for labels_of in (predicted, *others)) if len(others) else (),
    )
