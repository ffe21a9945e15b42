"""Triage of mistakes: label error, ambiguous image, hard image, or the model's own fault.

Each mistake of any model on CIFAR-10's test set gets exactly one verdict, from what people and other nets answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from seefar.data.images import Labels
from seefar.data.reference import CHECKERS, Reference
from seefar.errors import DataError

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
    check_classes(predicted, len(labels), len(reference.classes))
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


def check_classes(predicted: Labels, count: int, num_classes: int) -> None:
    """Refuse predicted classes that are not one whole number of 0 to K-1 for each image.

    Raises:
        DataError: another shape, type or range.
    """
    wanted = f"Predicted classes should be {count:,} whole numbers from 0 to {num_classes - 1}"
    if predicted.shape != (count,) or not np.issubdtype(predicted.dtype, np.integer):
        raise DataError(f"{wanted}; found {predicted.dtype} of shape {predicted.shape}.")
    if len(predicted) and not 0 <= predicted.min() <= predicted.max() < num_classes:
        raise DataError(f"{wanted}; found {predicted.min()} to {predicted.max()}.")


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
