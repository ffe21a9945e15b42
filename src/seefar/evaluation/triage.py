"""Triage of mistakes: label error, ambiguous image, hard image, or the model's own fault.

Each mistake of any model on CIFAR-10's test set gets exactly one verdict, from what people and other nets answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Labels
from seefar.data.reference import CHECKERS, Reference
from seefar.evaluation.metrics import wilson_interval
from seefar.evaluation.predictions import check_predicted

Fault = Literal["label", "ambiguous", "hard", "model"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
AMBIGUOUS_BITS = 0.5
"""People disagree where the entropy of their choices is above this; 0.47 bits is one in ten choosing another class."""
GOOD_ACCURACY = 0.9
"""Published nets above this accuracy count as others to compare with; there are 24."""
HARD_NETS = 12
"""An image that at least this many of them miss is hard."""

MEANING: dict[Fault, str] = {
    "label": "the label is doubtful",
    "ambiguous": "people disagree",
    "hard": "other nets miss it too",
    "model": "people and most nets get it right",
}


@dataclass(frozen=True)
class Verdict:
    """Whose fault one mistake is.

    Attributes:
        index: position in the test set.
        true: its label.
        predicted: the class that the model predicts.
        fault: `label`, `ambiguous`, `hard` or `model`, the first of them that applies.
        sentence: the numbers in words.
        people: how many people classified the image.
        people_true: how many of them chose the label.
        people_predicted: how many of them chose the predicted class.
        entropy: of their choices, in bits.
        confirmed: how many of five checkers confirmed the label; None if nobody checked it.
        nets: how many other published nets there are to compare with.
        nets_wrong: how many of them miss the image.
    """

    index: int
    true: int
    predicted: int
    fault: Fault
    sentence: str
    people: int
    people_true: int
    people_predicted: int
    entropy: float
    confirmed: int | None
    nets: int
    nets_wrong: int


def triage(labels: Labels, predicted: Labels, reference: Reference) -> list[Verdict]:
    """One verdict for each mistake, in order of index.

    The first that applies: `label`, if fewer than three of five checkers confirmed the given label, or most people
    chose another class; `ambiguous`, if the entropy of people's choices is above 0.5 bits; `hard`, if at least 12 of
    the other published nets above 90 % miss it too; `model`, if none of these is so: worth working on. A published
    net whose predictions are the judged ones is not among the others.

    Sources: CIFAR-10H (Peterson et al. 2019, arXiv 1908.07086), checked label errors (Northcutt et al. 2021, arXiv
    2103.14749), published predictions (Recht et al. 2018, arXiv 1806.00451).

    Args:
        labels: int (N,), those of the whole test set in its official order.
        predicted: int (N,), the classes that any model predicts.
        reference: from `load_reference`.

    Raises:
        DataError: the labels are not those that the reference belongs to, or `predicted` has another form.

    Example:
        >>> import numpy as np, seefar
        >>> from seefar.data.reference import labels_sha256
        >>> labels = np.array([0, 1, 1])
        >>> reference = seefar.Reference(
        ...     counts=np.array([[50, 0], [20, 31], [1, 50]]), confirmed=np.full(3, -1), suggested=np.full(3, -1),
        ...     nets=("a",), answers=np.array([[0, 1, 1]]), classes=("cat", "dog"), labels_sha256=labels_sha256(labels))
        >>> [(verdict.index, verdict.fault) for verdict in seefar.triage(labels, np.array([0, 0, 0]), reference)]
        [(1, 'ambiguous'), (2, 'model')]
        >>> seefar.triage(labels, np.array([0, 0, 0]), reference)[0].sentence
        'people disagree: 20 of 51 people chose cat, 31 chose dog (the label); 0 of 1 net misses it'
    """
    reference.check_labels(labels)
    check_predicted(predicted, len(labels), len(reference.classes))
    others = (reference.answers == labels).mean(1) > GOOD_ACCURACY
    others &= ~reference.same_answers(predicted)
    wrong, nets = (reference.answers[others] != labels).sum(0), int(others.sum())  # (N,), and how many there are
    entropy, majority, errors = reference.entropy, reference.majority, reference.label_errors
    verdicts = []
    for index in np.flatnonzero(predicted != labels).tolist():
        true, answer = int(labels[index]), int(predicted[index])
        fault: Fault = "model"
        if errors[index] or majority[index] != true:
            fault = "label"
        elif entropy[index] > AMBIGUOUS_BITS:
            fault = "ambiguous"
        elif wrong[index] >= HARD_NETS:
            fault = "hard"
        counts = reference.counts[index]
        verdicts.append(
            Verdict(
                index,
                true,
                answer,
                fault,
                _sentence(reference, index, true, answer, int(majority[index]), fault, int(wrong[index]), nets),
                people=int(counts.sum()),
                people_true=int(counts[true]),
                people_predicted=int(counts[answer]),
                entropy=float(entropy[index]),
                confirmed=int(reference.confirmed[index]) if reference.confirmed[index] >= 0 else None,
                nets=nets,
                nets_wrong=int(wrong[index]),
            )
        )
    return verdicts


def _sentence(
    reference: Reference, index: int, true: int, predicted: int, majority: int, fault: Fault, nets_wrong: int, nets: int
) -> str:
    counts, classes = reference.counts[index], reference.classes
    said = [f"{counts[predicted]} of {counts.sum()} people chose {classes[predicted]}"]
    said.append(f"{counts[true]} chose {classes[true]} (the label)")
    if majority not in (true, predicted):
        said.append(f"{counts[majority]} chose {classes[majority]}")
    parts = [", ".join(said), f"{nets_wrong} of {nets} {'net misses' if nets == 1 else 'nets miss'} it"]
    if reference.confirmed[index] >= 0:
        offered = classes[reference.suggested[index]]
        parts.insert(
            0, f"{reference.confirmed[index]} of {CHECKERS} checkers confirmed the label rather than {offered}"
        )
    return f"{MEANING[fault]}: {'; '.join(parts)}"


def count_faults(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """`errors`, then how many have each fault: `{"errors": 407, "label": 51, "ambiguous": 170, "hard": 92, ...}`."""
    faults = [verdict.fault for verdict in verdicts]
    return {"errors": len(faults), **{fault: faults.count(fault) for fault in FAULTS}}


def fault_columns(verdicts: Sequence[Verdict]) -> dict[str, dict[int, object]]:
    """Columns for `mistakes.csv`: column -> {index: value}.

    `fault`, `people`, `people_true`, `people_predicted`, `people_entropy` (bits), `checkers_confirmed` (of five; empty
    if nobody checked the label), `nets`, `nets_wrong`, `fault_reason` (the sentence).
    """
    return {
        "fault": {one.index: one.fault for one in verdicts},
        "people": {one.index: one.people for one in verdicts},
        "people_true": {one.index: one.people_true for one in verdicts},
        "people_predicted": {one.index: one.people_predicted for one in verdicts},
        "people_entropy": {one.index: round(one.entropy, 4) for one in verdicts},
        "checkers_confirmed": {one.index: one.confirmed for one in verdicts if one.confirmed is not None},
        "nets": {one.index: one.nets for one in verdicts},
        "nets_wrong": {one.index: one.nets_wrong for one in verdicts},
        "fault_reason": {one.index: one.sentence for one in verdicts},
    }


@dataclass(frozen=True)
class AccuracyView:
    """One accuracy.

    Attributes:
        name: a short name, for tables and JSON.
        meaning: which images, whose answers.
        n: how many images.
        right: how many of them are answered as labelled; None for people, of whom many answered each image.
        accuracy: share of 1.
        interval: 95 % interval: Wilson's, for people that of a mean over images.
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


def accuracy_views(
    labels: Labels,
    predicted: Labels,
    reference: Reference | None = None,
    *,
    two_views: Labels | None = None,
    others: Mapping[str, tuple[Labels, Labels]] | None = None,
) -> list[AccuracyView]:
    """The accuracy on different images, each with its 95 % interval.

    `as labelled`: all images. With a reference also `without label errors`: without the images whose label fewer than
    three of five checkers confirmed; `where people agree`: only images for which everybody chose one class, and that
    class is the label; and `people`: the mean share of people who chose the label.

    Args:
        labels: int (N,).
        predicted: int (N,), the classes that a model predicts from one view of each image.
        reference: from `load_reference`, if the labels are those of CIFAR-10's test set.
        two_views: int (N,), the classes it predicts from each image and its mirror image together; a view of its own,
            since it costs twice as much.
        others: further test sets: name -> their labels and predicted classes, such as CIFAR-10.1.

    Raises:
        DataError: predictions have another form than the labels, or the reference belongs to others.

    Example:
        >>> import numpy as np, seefar
        >>> for view in seefar.accuracy_views(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0])):
        ...     print(view)
        75.00% (30.06% to 95.44%) of 4: all test images, as labelled
    """
    for given in (predicted, *(() if two_views is None else (two_views,))):
        _check(labels, given)
    right = predicted == labels
    views = [_view("as labelled", "all test images, as labelled", right)]
    if reference:
        reference.check_labels(labels)
        kept = ~reference.label_errors
        meaning = f"without the {int((~kept).sum())} labels that most checkers did not confirm"
        views.append(_view("without label errors", meaning, right[kept]))
        chosen = reference.counts[np.arange(len(labels)), labels]
        people = reference.counts.sum(1)
        views.append(
            _view(
                "where people agree",
                "only images that everybody labelled alike",
                (predicted == labels)[chosen == people],
            )
        )
        views.append(_of_people(chosen / people))
    if two_views is not None:
        meaning = "two views: image and mirror image averaged, all test images, as labelled"
        views.append(_view("two views", meaning, two_views == labels))
    for name, (other_labels, other_predicted) in (others or {}).items():
        _check(other_labels, other_predicted)
        views.append(_view(name, f"{name}, another test set", other_predicted == other_labels))
    return views


def _check(labels: Labels, predicted: Labels) -> None:
    """Any class may be predicted, also one that no image is labelled with."""
    check_predicted(predicted, len(labels), 1 + max(int(labels.max()), int(predicted.max(initial=0))))


def _view(name: str, meaning: str, right: NDArray[np.bool_]) -> AccuracyView:
    count, n = int(right.sum()), len(right)
    return AccuracyView(name, meaning, n, count, count / n, wilson_interval(count, n))


def _of_people(share: NDArray[np.float64]) -> AccuracyView:
    """Mean over the images of the share of people who chose the label."""
    mean = float(share.mean())
    half = 1.959964 * float(share.std(ddof=1)) / len(share) ** 0.5
    meaning = "people, one at a time, on all test images (CIFAR-10H)"
    return AccuracyView("people", meaning, len(share), None, mean, (mean - half, min(1.0, mean + half)))
