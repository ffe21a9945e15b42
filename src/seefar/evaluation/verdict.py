"""Verdicts: why a mistake happened, from human labels or from evidence; accuracy views; label issues.

Each mistake gets exactly one verdict. `HUMAN`, `ONE_RUN` and `RUNS` are the rules; `docs/mistakes.md` reports how
reliable they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Labels, check_labels
from seefar.data.reference import CHECKERS, Reference
from seefar.errors import DataError
from seefar.evaluation.metrics import NORMAL_QUANTILE, check_scores, fit_temperature, wilson_interval
from seefar.evaluation.predictions import Predictions
from seefar.model.inference import log_softmax
from seefar.runs.arrays import load_arrays, save_arrays

Fault = Literal["label", "ambiguous", "hard", "model", "unknown"]
HARD_NETS = 12
"""An image that at least this many of them get wrong is hard."""

FAULT_NAMES: dict[Fault, str] = {
    "label": "label error",
    "ambiguous": "ambiguous image",
    "hard": "hard image",
    "model": "model error",
    "unknown": "unknown cause",
}
"""The causes in words, for page and figures; files have the keys."""
GUESSED_NAMES: dict[Fault, str] = {**FAULT_NAMES, "label": "label error?"}
"""Likewise where no person has seen the label."""


@dataclass(frozen=True)
class Rule:
    """How verdicts are found: name, meaning of each verdict that it can give, definition, and reliability, in words."""

    name: str
    meaning: Mapping[Fault, str]
    definition: str
    reliability: str


HUMAN = Rule(
    "human labels",
    {
        "label": "the label is doubtful",
        "ambiguous": "people disagree",
        "hard": "other networks miss it too",
        "model": "people and most networks get it right",
    },
    "Label: people who checked the label reject it. Ambiguous: people disagree about the image. Hard: at least "
    f"{HARD_NETS} other good networks make a mistake too. Model: none of these, so a better model can repair it.",
    "People and other networks define the causes; the thresholds are conventions.",
)
"""The rule of `triage`."""


@dataclass(frozen=True)
class Verdict:
    """Why one mistake, with label `true`, happened: `fault`, and the numbers in words.

    The other fields are only of the rule `HUMAN`.

    Attributes:
        people, people_true, people_predicted: how many people classified the image, and chose either class.
        entropy: of their choices, in bits.
        confirmed: how many of five checkers confirmed the label; None if nobody checked it.
        nets, nets_wrong: how many other published networks there are to compare with, and get the image wrong.
    """

    index: int
    true: int
    predicted: int
    fault: Fault
    sentence: str
    rule: Rule = HUMAN
    people: int | None = None
    people_true: int | None = None
    people_predicted: int | None = None
    entropy: float | None = None
    confirmed: int | None = None
    nets: int | None = None
    nets_wrong: int | None = None


def rule_of(verdicts: Sequence[Verdict]) -> Rule:
    """The rule of the verdicts; human labels where there is none."""
    return verdicts[0].rule if verdicts else HUMAN


def fault_names(rule: Rule) -> dict[Fault, str]:
    """The causes that a rule can give, in words."""
    names = FAULT_NAMES if rule is HUMAN else GUESSED_NAMES
    return {fault: names[fault] for fault in rule.meaning}


def count_faults(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """`errors`, then the count of each fault: `{"errors": 407, "label": 51, "ambiguous": 170, "hard": 92, ...}`."""
    faults = [verdict.fault for verdict in verdicts]
    return {"errors": len(faults), **{fault: faults.count(fault) for fault in rule_of(verdicts).meaning}}


def fault_columns(verdicts: Sequence[Verdict]) -> dict[str, dict[int, object]]:
    """Columns for `mistakes.csv`: column -> {index: value}; a column without any value is left out."""
    values: dict[str, Callable[[Verdict], object]] = {
        "fault": lambda verdict: verdict.fault,
        "fault_rule": lambda verdict: verdict.rule.name,
        "people": lambda verdict: verdict.people,
        "people_true": lambda verdict: verdict.people_true,
        "people_predicted": lambda verdict: verdict.people_predicted,
        "people_entropy": lambda verdict: None if verdict.entropy is None else round(verdict.entropy, 4),
        "checkers_confirmed": lambda verdict: verdict.confirmed,
        "nets": lambda verdict: verdict.nets,
        "nets_wrong": lambda verdict: verdict.nets_wrong,
        "fault_reason": lambda verdict: verdict.sentence,
    }
    columns = {
        name: {verdict.index: value for verdict in verdicts if (value := value_of(verdict)) is not None}
        for name, value_of in values.items()
    }
    return {name: column for name, column in columns.items() if column}


# ---- From human labels ----

AMBIGUOUS_BITS = 0.5
"""People disagree where the entropy of their choices is above this; 0.47 bits is one in ten choosing another class."""
GOOD_ACCURACY = 0.9
"""Only published networks above this accuracy are compared with; there are 24."""


def triage(labels: Labels, predicted: Labels, reference: Reference) -> list[Verdict]:
    """One verdict for each mistake, in order of index: the first that applies.

    `label`, if fewer than three of five checkers confirmed the label, or most people chose another class; `ambiguous`,
    if the entropy of people's choices is above 0.5 bits; `hard`, if at least 12 of the other published networks above
    90% get it wrong too; else `model`. A network whose predictions are the given ones is not among the others.

    Sources: CIFAR-10H (Peterson et al. 2019, arXiv 1908.07086), checked label errors (Northcutt et al. 2021, arXiv
    2103.14749), published predictions (Recht et al. 2018, arXiv 1806.00451).

    Labels, of the complete test set in its official order, and the classes that any model predicts are int (N,). A
    `DataError` if the labels are not those that the reference belongs to, or `predicted` has another form.

    Examples:
        >>> import numpy as np, seefar
        >>> from seefar.data.reference import Reference, labels_sha256
        >>> labels, unchecked = np.array([0, 1]), np.full(2, -1)
        >>> people, classes = np.array([[50, 0], [20, 31]]), ("cat", "dog")
        >>> sha256 = labels_sha256(labels)
        >>> reference = Reference(people, unchecked, unchecked, ("a",), labels[None], classes, labels_sha256=sha256)
        >>> seefar.triage(labels, np.array([0, 0]), reference)[0].sentence
        'people disagree: 20 of 51 people chose cat, 31 chose dog (the label); 0 of 1 network misses it'
    """
    reference.check_labels(labels)
    predicted = check_labels(predicted, len(labels), len(reference.classes), "predicted")
    others = (reference.predictions == labels).mean(1) > GOOD_ACCURACY
    others &= ~reference.same_predictions(predicted)
    nets, nets_wrong = int(others.sum()), (reference.predictions[others] != labels).sum(0)  # (N,)
    entropy, doubtful = reference.entropy, reference.label_errors | (reference.counts.argmax(1) != labels)
    conditions = [doubtful, entropy > AMBIGUOUS_BITS, nets_wrong >= HARD_NETS]
    faults = np.select(conditions, ["label", "ambiguous", "hard"], "model").tolist()
    verdicts = []
    for index in np.flatnonzero(predicted != labels).tolist():
        true, other, counts = int(labels[index]), int(predicted[index]), reference.counts[index]
        reasons = _reasons(reference, index, true, other)
        reasons.append(f"{nets_wrong[index]} of {nets} {'network misses' if nets == 1 else 'networks miss'} it")
        verdict = Verdict(
            index,
            true,
            other,
            fault=faults[index],
            sentence=f"{HUMAN.meaning[faults[index]]}: {'; '.join(reasons)}",
            people=int(counts.sum()),
            people_true=int(counts[true]),
            people_predicted=int(counts[other]),
            entropy=float(entropy[index]),
            confirmed=int(reference.confirmed[index]) if reference.confirmed[index] >= 0 else None,
            nets=nets,
            nets_wrong=int(nets_wrong[index]),
        )
        verdicts.append(verdict)
    return verdicts


def _reasons(reference: Reference, index: int, true: int, predicted: int) -> list[str]:
    """The choices of checkers, if any, and of people for an image, in words."""
    counts, classes = reference.counts[index], reference.classes
    majority = int(counts.argmax())
    choices = [f"{counts[predicted]} of {counts.sum()} people chose {classes[predicted]}"]
    choices.append(f"{counts[true]} chose {classes[true]} (the label)")
    if majority not in (true, predicted):
        choices.append(f"{counts[majority]} chose {classes[majority]}")
    reasons = [", ".join(choices)]
    if (confirmed := reference.confirmed[index]) >= 0:
        suggested = classes[reference.suggested[index]]
        reasons.insert(0, f"{confirmed} of {CHECKERS} checkers confirmed the label rather than {suggested}")
    return reasons


# ---- From evidence ----


@dataclass(frozen=True, eq=False)
class OtherRuns:
    """Predicted classes, int64 (R, N), of R runs of one recipe with other seeds, and the names of their folders."""

    names: tuple[str, ...]
    predicted: NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write an `.npz` of plain arrays, from which `load` restores the same."""
        save_arrays(path, {"names": np.array(self.names), "predicted": self.predicted})

    @classmethod
    def load(cls, path: Path) -> OtherRuns:
        """Read what `save` wrote."""
        arrays = load_arrays(path, ("names", "predicted"))
        return cls(tuple(arrays["names"].tolist()), arrays["predicted"])


DOUBTFUL, CLOSE = 0.01, 0.15
"""Probabilities of the label, after temperature scaling; chosen by `benchmarks/verdicts.py` on even indices."""
MAJORITY = 0.5
"""A model whose accuracy may be lower is no evidence against a label."""

_LABEL: dict[Fault, str] = {"label": "the label is doubtful"}
_DOUBTFUL = "Label: its calibrated probability is below 1%, or a near-duplicate has another label."
_UNKNOWN: dict[Fault, str] = {"unknown": "the evidence does not decide"}
ONE_RUN = Rule(
    "evidence of one run",
    {**_LABEL, "model": "the label is nearly as probable", **_UNKNOWN},
    f"{_DOUBTFUL} Model: the label has at least 15%. Unknown: none of these.",
    "These are guesses: on CIFAR-10 people confirm 25% (16-36%) of the label errors, where chance gives 11%, and 56% "
    "(46-65%) of the model errors, where chance gives 39%.",
)
"""The rule of `judge` without other runs."""
RUNS = Rule(
    "evidence of several runs",
    {**_LABEL, "hard": "other seeds miss it too", "model": "other seeds get it right", **_UNKNOWN},
    f"{_DOUBTFUL} Model: all other seeds get the image right. Hard: at least two other seeds miss it too, and none "
    "gets it right. Unknown: none of these.",
    "These are guesses: on CIFAR-10, with two published networks as other runs, people confirm 25% (16-36%) of the "
    "label errors, where chance gives 11%, 24% (16-34%) of the hard images, where chance gives 13%, and 70% (59-79%) "
    "of the model errors, where chance gives 43%.",
)
"""The rule of `judge` with the predictions of other runs."""


def judge(
    predictions: Predictions, *, copies: Mapping[int, int] | None = None, others: Sequence[Labels] = ()
) -> list[Verdict]:
    """One verdict for each mistake, in order of index, without human labels, by the rule `ONE_RUN` or `RUNS`.

    Probabilities are those after temperature scaling. `copies` is the label of the training image that a test image
    nearly equals, by index of the test image; `others` are the predicted classes of runs of the same recipe with other
    seeds, each int (N,).
    """
    labels = predictions.labels
    index = np.flatnonzero(predictions.predicted != labels)
    if not len(index):
        return []
    missed = np.array([other[index] != labels[index] for other in others]).reshape(-1, len(index)).sum(0)
    shares = np.full(len(index), np.nan)
    accurate = wilson_interval(len(labels) - len(index), len(labels))[0] > MAJORITY
    if informative := predictions.has_probabilities and accurate:
        temperature = fit_temperature(predictions.logits, labels)
        shares = np.exp(log_softmax(predictions.logits[index] / temperature))[np.arange(len(index)), labels[index]]
    without = "too few predictions are correct" if predictions.has_probabilities else "there are no probabilities"
    verdicts = []
    for at, share, wrong in zip(index.tolist(), shares.tolist(), missed.tolist(), strict=True):
        true, copy = int(labels[at]), (copies or {}).get(at)
        reasons = [f"{predictions.classes[true]} (the label) has {share:.1%}, calibrated"] if informative else []
        if others:
            reasons.append(f"{wrong} of {len(others)} other {'run misses' if len(others) == 1 else 'runs miss'} it")
        fault = decide(share, wrong, len(others))
        if copy is not None and copy != true:
            fault = "label"
            reasons.insert(0, f"a near-duplicate among the training images is labelled {predictions.classes[copy]}")
        rule = RUNS if others else ONE_RUN
        sentence = f"{rule.meaning[fault]}: {'; '.join(reasons or [without])}"
        verdicts.append(Verdict(at, true, int(predictions.predicted[at]), fault, sentence, rule))
    return verdicts


def decide(share: float, missed: int, runs: int) -> Fault:
    """The verdict without near-duplicates, from the label's probability (nan: unknown) and the runs that miss it."""
    if share < DOUBTFUL:
        return "label"
    if missed == 0 if runs else share >= CLOSE:
        return "model"
    return "hard" if runs >= 2 and missed == runs else "unknown"


# ---- Accuracy views ----


@dataclass(frozen=True)
class AccuracyView:
    """The accuracy on one selection of n images; views of different images are not comparable.

    `right` of them are predicted as labelled; None for people, of whom many classified each image. `interval` is
    Wilson's 95% interval, for people that of a mean over images.
    """

    name: str
    meaning: str
    n: int
    right: int | None
    accuracy: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.accuracy:.2%} ({low:.2%} to {high:.2%}) of {self.n:,}: {self.meaning}"


def accuracy_views(labels: Labels, predicted: Labels, reference: Reference | None = None) -> list[AccuracyView]:
    """The accuracy on different selections of the images, where they exist. Arguments as `triage`.

    `as labelled`: all images. With a reference also `without label errors`: without the labels that fewer than three of
    five checkers confirmed; `where people agree`: only images for which everybody chose the label; and `people`: the
    mean share of people who chose the label.
    """
    chosen = {"as labelled": ("all test images, as labelled", np.full(len(labels), True))}
    people = []
    if reference is not None:
        reference.check_labels(labels)
        errors = reference.label_errors
        meaning = f"without the {errors.sum()} labels that most checkers did not confirm"
        chosen["without label errors"] = meaning, ~errors
        agreement = reference.counts[np.arange(len(labels)), labels] / reference.counts.sum(1)
        chosen["where people agree"] = "only images that everybody labelled alike", agreement == 1
        mean = float(agreement.mean())
        half = NORMAL_QUANTILE * float(agreement.std(ddof=1)) / len(agreement) ** 0.5
        meaning = "people, one at a time, on all test images (CIFAR-10H)"
        interval = mean - half, min(1.0, mean + half)
        people = [AccuracyView("people", meaning, len(agreement), None, mean, interval)]
    views = []
    for name, (meaning, inside) in chosen.items():
        n, right = int(inside.sum()), int((predicted == labels)[inside].sum())
        if n > 0:
            views.append(AccuracyView(name, meaning, n, right, right / n, wilson_interval(right, n)))
    return views + people


# ---- Label issues ----
#
# Confident learning, with thresholds by class, ranked by normalised margin (Northcutt et al. 2021, JAIR 70, arXiv
# 1911.00068). Written from the paper.

TIE = 1e-6
"""Probabilities that differ by less are equal, as in cleanlab: a mean of equal numbers can be larger than each."""


@dataclass(frozen=True)
class LabelIssue:
    """An image whose label may be wrong, and the predicted class that is suggested.

    `margin` is the probability of the label minus the largest of the other classes; -1 is worst.
    """

    index: int
    given: int
    suggested: int
    margin: float
    sentence: str


def find_label_issues(
    labels: Labels, probabilities: NDArray[np.floating], classes: tuple[str, ...] | None = None
) -> list[LabelIssue]:
    """The images for which the model confidently predicts another class than the label, the most doubtful label first.

    Class j is confident for an image if its probability reaches the threshold of j, the mean probability of j over the
    images labelled j. A label is an issue if another class is confident, and another class is the most probable one.
    These are the images that cleanlab finds with `filter_by="confident_learning"`.

    The labels are int (N,); the probabilities, of a model that was not trained on these images, are float (N, K), each
    row with the sum 1; else a `DataError`. Without names of the K classes, the sentences have their numbers.

    Examples:
        >>> import numpy as np, seefar
        >>> shares = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
        >>> seefar.find_label_issues(np.array([0, 0, 1, 1]), shares, ("cat", "dog"))[0].sentence
        'labelled cat (10%), rather dog (90%)'
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    labels = check_scores(shares, labels)
    if not (shares >= 0).all() or not np.allclose(shares.sum(1), 1, atol=1e-4):
        raise DataError("Each row of probabilities should sum to 1 with none below 0: pass the softmax of the logits.")
    rows, num_classes = np.arange(len(labels)), shares.shape[1]
    names = classes or tuple(str(k) for k in range(num_classes))
    sizes = np.bincount(labels, minlength=num_classes)
    sums = np.bincount(labels, weights=shares[rows, labels], minlength=num_classes)
    thresholds = np.divide(sums, sizes, out=np.full(num_classes, np.nan), where=sizes > 0)
    others = shares.copy()
    others[rows, labels] = -1
    suggested = others.argmax(1)  # (N,)
    margins = shares[rows, labels] - others.max(1)
    contradicted = (others >= np.maximum(thresholds - TIE, TIE)).any(1)  # no image reaches NaN
    chosen = np.flatnonzero(contradicted & (margins < -TIE))
    issues = []
    for index in chosen[np.argsort(margins[chosen], kind="stable")].tolist():
        given, other = int(labels[index]), int(suggested[index])
        sentence = (
            f"labelled {names[given]} ({100 * shares[index, given]:.0f}%), "
            f"rather {names[other]} ({100 * shares[index, other]:.0f}%)"
        )
        issues.append(LabelIssue(index, given, other, float(margins[index]), sentence))
    return issues


def issue_columns(issues: Sequence[LabelIssue]) -> dict[str, dict[int, object]]:
    """Columns for `mistakes.csv`, column -> {index: value}: `label_issue`, the rank from 1, and `label_margin`."""
    return {
        "label_issue": {issue.index: rank for rank, issue in enumerate(issues, start=1)},
        "label_margin": {issue.index: round(issue.margin, 4) for issue in issues},
    }
