"""Content of the HTML report: the plain values that the page shows, checked once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar import __version__
from seefar.data.images import Images, Split
from seefar.data.reference import Reference
from seefar.errors import DataError
from seefar.evaluation.calibration import Calibration, measure_calibration
from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.metrics import Metrics
from seefar.evaluation.mistakes import Mistake
from seefar.evaluation.triage import Verdict, triage
from seefar.explanation.duplicates import Duplicate
from seefar.explanation.explain import Explanation
from seefar.explanation.neighbours import Neighbours
from seefar.training.history import HistoryRow
from seefar.training.recipe import Recipe

MOST_MISTAKES = 5_000
"""So many mistakes are on a page at the most; a browser shows them, and their pictures, without waiting."""
MOST_PROBABILITIES = 2_500_000
"""So many probabilities, one for each mistake and class, are in a page at the most: 10 MB."""


@dataclass(frozen=True, eq=False, repr=False)
class NearestImages:
    """Training images near M mistakes: n of the predicted class, then n of the true class.

    Attributes:
        indices: int (M, 2n), their data set indices; -1: there is none.
        distances: float (M, 2n), cosine distances of the features.
        images: uint8 (T, H, W, 3), every training image that occurs, once.
        rows: int (M, 2n), where in `images` each of them is; -1: there is none.
        duplicates: those of the mistakes that are nearly training images.
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float64]
    images: Images
    rows: NDArray[np.int64]
    duplicates: tuple[Duplicate, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class ReportContent:
    """All that the page shows. What is None is left out, and the page is whole without it.

    Attributes:
        name: of the run.
        data: name of the data set.
        classes: names of the K classes.
        metrics: of the test set.
        history: rows of the training; empty for a network that was trained elsewhere.
        recipe: what the network was trained with; likewise None.
        provenance: command, versions and machine, as in `manifest.json`.
        mistakes: M mistakes, all of the test set, or those that `on_page` chooses.
        images: their images, uint8 (M, H, W, 3).
        log_probabilities: natural logarithms of the network's probabilities, float (M, K).
        explanation: maps, occlusion test and health of the mistakes, or of some of them.
        files: their file names, where the data set has any.
        verdicts: whose fault, for all or some of them, in any order.
        votes: how many people chose each class, int (M, K); all zero where nobody was asked.
        neighbours: the nearest training images.
        calibration: for the reliability diagram.
        calibration_after: likewise, with a temperature fitted on held-out images.

    Raises:
        DataError: the lengths do not fit.
    """

    name: str
    data: str
    classes: tuple[str, ...]
    metrics: Metrics
    history: Sequence[HistoryRow]
    recipe: Recipe | None
    provenance: Mapping[str, Any]
    mistakes: Sequence[Mistake]
    images: Images
    log_probabilities: NDArray[np.float64]
    explanation: Explanation | None = None
    files: Sequence[str] | None = None
    verdicts: Sequence[Verdict] | None = None
    votes: NDArray[np.int64] | None = None
    neighbours: NearestImages | None = None
    calibration: Calibration | None = None
    calibration_after: Calibration | None = None

    def __post_init__(self) -> None:
        """Refuse values of different lengths, which would show one mistake's facts under another's picture."""
        per_mistake: dict[str, Sized | None] = {
            "images": self.images,
            "log_probabilities": self.log_probabilities,
            "files": self.files,
            "votes": self.votes,
            "neighbours": None if self.neighbours is None else self.neighbours.rows,
        }
        for name, values in per_mistake.items():
            if values is not None and len(values) != len(self.mistakes):
                raise DataError(
                    f"The report has {len(self.mistakes)} mistakes, but {len(values)} {name}: pass one each."
                )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that is shown but the provenance: a page that names the same one need not be made again."""
        digest = hashlib.sha256(__version__.encode())
        for field in fields(self):
            if field.name != "provenance":
                _add(digest, getattr(self, field.name))
        return digest.hexdigest()


def on_page(mistakes: Sequence[Mistake], num_classes: int, explanation: Explanation | None = None) -> list[Mistake]:
    """The mistakes that a page has room for, in their order: those that are explained, and then the first."""
    most = min(MOST_MISTAKES, MOST_PROBABILITIES // num_classes)
    if len(mistakes) <= most:
        return list(mistakes)
    explained = set() if explanation is None else {mistake.index for mistake in explanation.mistakes}
    chosen = sorted(mistakes, key=lambda mistake: mistake.index not in explained)[:most]
    kept = {mistake.index for mistake in chosen}
    return [mistake for mistake in mistakes if mistake.index in kept]


def _add(digest: hashlib._Hash, value: object) -> None:
    """Add a value to a digest: dataclasses and sequences part by part, and with their lengths."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype} {value.shape} ".encode())
        digest.update(value.tobytes())
    elif isinstance(value, (list, tuple)):
        digest.update(f"{len(value)} ".encode())
        for one in value:
            _add(digest, one)
    elif is_dataclass(value):
        for field in fields(value):
            _add(digest, getattr(value, field.name))
    else:
        plain = value.item() if isinstance(value, np.generic) else value
        digest.update(f"{plain!r} ".encode())


def nearest_images(neighbours: Neighbours, mistakes: Sequence[Mistake], training: Images) -> NearestImages:
    """The neighbours in the order of the mistakes, with the training images that occur.

    Args:
        neighbours: of the mistakes, in any order.
        mistakes: M mistakes.
        training: all training images, uint8 (N, H, W, 3).
    """
    place = {int(index): row for row, index in enumerate(neighbours.index)}
    rows = np.array([place[mistake.index] for mistake in mistakes], dtype=np.int64)
    indices = np.concatenate([neighbours.of_predicted, neighbours.of_true], axis=1)[rows]  # (M, 2n)
    distances = np.concatenate([neighbours.distance_predicted, neighbours.distance_true], axis=1)[rows]
    used = np.unique(indices[indices >= 0])
    places = np.where(indices < 0, -1, np.searchsorted(used, indices))
    copies = tuple(duplicate for duplicate in neighbours.duplicates if duplicate.index in place)
    return NearestImages(indices, distances, training[used], places, copies)


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
