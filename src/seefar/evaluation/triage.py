"""Triage of mistakes: label error, ambiguous, hard or model error; accuracy views; label issues.

Each mistake of any model on CIFAR-10's test set gets exactly one verdict, from the classes that people and other
networks chose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Labels, check_labels
from seefar.data.reference import CHECKERS, Reference
from seefar.errors import DataError
from seefar.evaluation.metrics import NORMAL_QUANTILE, check_scores, wilson_interval
from seefar.evaluation.verdict import HARD_NETS, HUMAN, Verdict

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

    Args:
        labels: int (N,), those of the complete test set in its official order.
        predicted: int (N,), the classes that any model predicts.
        reference: from `load_reference`.

    Raises:
        DataError: the labels are not those that the reference belongs to, or `predicted` has another form.

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
    entropy, doubtful = reference.entropy, reference.label_errors | (reference.majority != labels)
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


@dataclass(frozen=True)
class LabelIssues:
    """All label issues of a split with K classes, the most doubtful label first.

    `thresholds`: mean probability of class k over the images labelled k, float64 (K,); NaN where there are none.
    """

    issues: tuple[LabelIssue, ...]
    thresholds: NDArray[np.float64]


def find_label_issues(
    labels: Labels, probabilities: NDArray[np.floating], classes: tuple[str, ...] | None = None
) -> LabelIssues:
    """Find the images for which the model confidently predicts another class than the label.

    Class j is confident for an image if its probability reaches the threshold of j, the mean probability of j over the
    images labelled j. A label is an issue if another class is confident, and another class is the most probable one.
    These are the images that cleanlab finds with `filter_by="confident_learning"`.

    Args:
        labels: int (N,), the given labels.
        probabilities: float (N, K), each row sums to 1; of a model that was not trained on these images.
        classes: names of the K classes, for the sentences. Default: their numbers.

    Raises:
        DataError: shapes, range or sums differ from this.

    Examples:
        >>> import numpy as np, seefar
        >>> shares = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
        >>> seefar.find_label_issues(np.array([0, 0, 1, 1]), shares, ("cat", "dog")).issues[0].sentence
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
    return LabelIssues(tuple(issues), thresholds)


def issue_columns(issues: LabelIssues) -> dict[str, dict[int, object]]:
    """Columns for `mistakes.csv`, column -> {index: value}: `label_issue`, the rank from 1, and `label_margin`."""
    return {
        "label_issue": {issue.index: rank for rank, issue in enumerate(issues.issues, start=1)},
        "label_margin": {issue.index: round(issue.margin, 4) for issue in issues.issues},
    }
