"""Comparison of runs: McNemar's test, repaired and broken images, shared mistakes, Cohen's kappa, luck.

A mistake that a run with another seed does not make is luck; one of all seeds is settled by the data and the recipe.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from seefar.errors import DataError
from seefar.evaluation.metrics import mcnemar, wilson_interval

Classes = NDArray[np.int64]  # (N,), the class of each image


@dataclass(frozen=True)
class ComparedRun:
    """One run: its accuracy with its 95% Wilson interval, and the recall of each class, None without images."""

    name: str
    accuracy: float
    interval: tuple[float, float]
    mistakes: int
    recall: tuple[float | None, ...]


@dataclass(frozen=True)
class RunPair:
    """Two runs on the same images.

    Attributes:
        repaired, broken: indices of the images that only `second`, or only `first`, predicts correctly.
        p: McNemar's exact two-sided p that both are equally accurate.
        shared: mistakes of both.
        shared_by_chance: their expected number if within each class the mistakes of one did not depend on the other's.
        same_answer: shared mistakes with the same wrong class.
        kappa: Cohen's kappa of the predicted classes: 1 always the same, 0 as often as by chance.
        error_kappa: Cohen's kappa of being correct (error consistency; Geirhos et al. 2020, arXiv 2006.16736).
        repaired_by_class, broken_by_class: the counts for each of the K classes.
    """

    first: str
    second: str
    repaired: tuple[int, ...]
    broken: tuple[int, ...]
    p: float
    shared: int
    shared_by_chance: float
    same_answer: int
    kappa: float
    error_kappa: float
    repaired_by_class: tuple[int, ...]
    broken_by_class: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Two or more runs on the same n images, `images` of each class, with one pair for every two runs.

    `shared` are the mistakes that all runs have in common, and `shared_by_chance` is the number expected if the
    mistakes were independent within each class. The first run's mistakes are `luck` if another run does not make them,
    else `settled`: indices.
    """

    n: int
    classes: tuple[str, ...]
    images: tuple[int, ...]
    runs: tuple[ComparedRun, ...]
    pairs: tuple[RunPair, ...]
    shared: int
    shared_by_chance: float
    luck: tuple[int, ...]
    settled: tuple[int, ...]

    def to_json(self) -> str:
        """As JSON text, with each list of numbers on one line."""
        text = json.dumps(asdict(self), indent=2)
        # Only a list has a line break behind its bracket: a text, such as a class name, cannot hold one.
        return re.sub(r"\[\n([-\d\s,.e]*)\]", lambda match: f"[{' '.join(match[1].split())}]", text) + "\n"


def compare(predicted: Mapping[str, Classes], labels: Classes, classes: tuple[str, ...]) -> Comparison:
    """Compare two or more runs: predicted classes by name of the run, int (N,), and labels, int (N,), of K classes.

    A `DataError` without images, or if a run has more or fewer predictions than images.
    """
    for name, values in predicted.items():
        if values.shape != labels.shape or len(labels) == 0:
            raise DataError(f"{name} has predictions of shape {values.shape} for labels of shape {labels.shape}.")
    wrong = {name: values != labels for name, values in predicted.items()}
    images = np.bincount(labels, minlength=len(classes))
    all_wrong = np.logical_and.reduce(list(wrong.values()))
    first = next(iter(wrong.values()))
    return Comparison(
        n=len(labels),
        classes=tuple(classes),
        images=tuple(images.tolist()),
        runs=tuple(_summary(name, mistakes, labels, images) for name, mistakes in wrong.items()),
        pairs=tuple(_pair(a, b, predicted, labels, images) for a, b in combinations(predicted, 2)),
        shared=int(all_wrong.sum()),
        shared_by_chance=_shared_by_chance(list(wrong.values()), labels, images),
        luck=tuple(np.flatnonzero(first & ~all_wrong).tolist()),
        settled=tuple(np.flatnonzero(all_wrong).tolist()),
    )


NAMES = (
    *("n", "repaired", "broken", "p", "shared", "kappa", "error_kappa"),
    *("old", "new", "lost", "old_mistakes", "new_mistakes"),
)
"""What a condition of `holds` can name: fields of `RunPair` (repaired and broken are counts), n images, accuracy and
mistakes of the first (old) and the second (new), and the accuracy that the second lost (0.01 is one point)."""
COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_TERM = rf"\s*({'|'.join(NAMES)}|-?\d*\.?\d+(?:e-?\d+)?)\s*"


def holds(condition: str, comparison: Comparison) -> bool:
    """Whether a condition such as `lost > 0.02 and p < 0.01` holds for the first run and any other one.

    It is one comparison of two `NAMES` or numbers, or several that are joined by `and`; else a `DataError`.
    """
    parts = parse_condition(condition)
    old, *others = comparison.runs
    for pair, new in zip(comparison.pairs, others, strict=False):  # the pairs with the first run come first
        values = {name: getattr(pair, name) for name in ("p", "shared", "kappa", "error_kappa")}
        values |= {"n": comparison.n, "repaired": len(pair.repaired), "broken": len(pair.broken)}
        values |= {"old": old.accuracy, "new": new.accuracy, "lost": (new.mistakes - old.mistakes) / comparison.n}
        values |= {"old_mistakes": old.mistakes, "new_mistakes": new.mistakes}
        numbers = [[values[term] if term in values else float(term) for term in (a, b)] for a, _, b in parts]
        if all(COMPARED[sign](*two) for (_, sign, _), two in zip(parts, numbers, strict=True)):
            return True
    return False


def parse_condition(condition: str) -> list[tuple[str, str, str]]:
    """The comparisons of a condition of `holds`: a term, a sign and a term each; a `DataError` if it is none."""
    parts = [re.fullmatch(f"{_TERM}([<>]=?|[=!]=){_TERM}", part) for part in re.split(r"\sand\s", condition)]
    if None in parts:
        raise DataError(
            f"{condition!r} is not a condition: compare {', '.join(NAMES)} with numbers, such as "
            "'lost > 0.02 and p < 0.01'."
        )
    return [(part[1], part[2], part[3]) for part in parts if part]


def _cohens_kappa(first: Classes, second: Classes, num_classes: int) -> float:
    """Agreement beyond chance (Cohen 1960, doi 10.1177/001316446002000104): 1 always the same, 0 as by chance."""
    agreement = float((first == second).mean())
    counts = (np.bincount(predicted, minlength=num_classes).tolist() for predicted in (first, second))
    by_chance = sum(a * b for a, b in zip(*counts, strict=True)) / len(first) ** 2
    return 1.0 if by_chance == 1 else (agreement - by_chance) / (1 - by_chance)


def _summary(name: str, wrong: NDArray[np.bool_], labels: Classes, images: Classes) -> ComparedRun:
    right, n = int((~wrong).sum()), len(labels)
    missed = np.bincount(labels[wrong], minlength=len(images))
    recall = tuple(1 - float(m / k) if k else None for m, k in zip(missed, images, strict=True))
    return ComparedRun(name, right / n, wilson_interval(right, n), n - right, recall)


def _pair(first: str, second: str, predicted: Mapping[str, Classes], labels: Classes, images: Classes) -> RunPair:
    a, b = predicted[first], predicted[second]
    wrong_a, wrong_b = a != labels, b != labels
    repaired, broken = wrong_a & ~wrong_b, wrong_b & ~wrong_a
    by_class = (np.bincount(labels[where], minlength=len(images)).tolist() for where in (repaired, broken))
    repaired_by_class, broken_by_class = (tuple(counts) for counts in by_class)
    return RunPair(
        first=first,
        second=second,
        repaired=tuple(np.flatnonzero(repaired).tolist()),
        broken=tuple(np.flatnonzero(broken).tolist()),
        p=mcnemar(~wrong_a, ~wrong_b),
        shared=int((wrong_a & wrong_b).sum()),
        shared_by_chance=_shared_by_chance([wrong_a, wrong_b], labels, images),
        same_answer=int((wrong_a & wrong_b & (a == b)).sum()),
        kappa=_cohens_kappa(a, b, len(images)),
        error_kappa=_cohens_kappa(wrong_a.astype(np.int64), wrong_b.astype(np.int64), 2),
        repaired_by_class=repaired_by_class,
        broken_by_class=broken_by_class,
    )


def _shared_by_chance(wrong: list[NDArray[np.bool_]], labels: Classes, images: Classes) -> float:
    """Expected number of shared mistakes: in each class its images times the product of the error rates."""
    filled = np.maximum(images, 1)
    rates = [np.bincount(labels[mistakes], minlength=len(images)) / filled for mistakes in wrong]
    return float((images * np.prod(rates, axis=0)).sum())
