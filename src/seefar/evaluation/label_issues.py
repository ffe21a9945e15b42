"""Label issues by confident learning: per-class thresholds, ranked by normalised margin.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 70,
arXiv 1911.00068). Written from the paper; needs only labels, and probabilities from a model that was not trained on
these images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Labels
from seefar.errors import DataError


@dataclass(frozen=True)
class LabelIssue:
    """An image whose label may be wrong.

    Attributes:
        index: position in the split.
        given: its label.
        suggested: the class that the image is counted as.
        margin: normalised margin, probability of the label minus the largest of the other classes; -1 is worst.
        sentence: why it is listed.
    """

    index: int
    given: int
    suggested: int
    margin: float
    sentence: str


@dataclass(frozen=True)
class LabelIssues:
    """All label issues of a split with K classes.

    Attributes:
        issues: the most doubtful label first.
        thresholds: float64 (K,), mean probability of class k over the images labelled k; NaN where there are none.
    """

    issues: tuple[LabelIssue, ...]
    thresholds: NDArray[np.float64]


def find_label_issues(
    labels: Labels, probabilities: NDArray[np.floating], classes: tuple[str, ...] | None = None
) -> LabelIssues:
    """Find the images that are confidently counted as another class than their label.

    Class j is confident for an image if its probability reaches the threshold of j, the mean probability of j over the
    images labelled j. An image counts as the most probable of its confident classes; where that is not its label, the
    label is an issue. Images without a confident class are not counted.

    Args:
        labels: int (N,), the given labels.
        probabilities: float (N, K), each row sums to 1; of a model that was not trained on these images.
        classes: names of the K classes, for the sentences. Default: their numbers.

    Raises:
        DataError: shapes, range or sums differ from this.

    Example:
        >>> import numpy as np, seefar
        >>> found = seefar.find_label_issues(
        ...     np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]), ("cat", "dog"))
        >>> found.thresholds
        array([0.5 , 0.75])
        >>> [issue.sentence for issue in found.issues]
        ['labelled cat (10 %), rather dog (90 %)']
    """
    labels = np.asarray(labels)
    shares = np.asarray(probabilities, dtype=np.float64)
    _check(labels, shares)
    rows, num_classes = np.arange(len(labels)), shares.shape[1]
    names = classes or tuple(str(k) for k in range(num_classes))
    sizes = np.bincount(labels, minlength=num_classes)
    sums = np.bincount(labels, weights=shares[rows, labels], minlength=num_classes)
    thresholds = np.divide(sums, sizes, out=np.full(num_classes, np.nan), where=sizes > 0)
    confident = shares >= thresholds  # (N, K); no image reaches NaN
    counted = np.where(confident, shares, -1).argmax(1)  # (N,)
    sure = confident.any(1)
    others = shares.copy()
    others[rows, labels] = -1
    margins = shares[rows, labels] - others.max(1)
    chosen = np.flatnonzero(sure & (counted != labels))
    issues = []
    for index in chosen[np.argsort(margins[chosen], kind="stable")].tolist():
        given, suggested = int(labels[index]), int(counted[index])
        sentence = (
            f"labelled {names[given]} ({100 * shares[index, given]:.0f} %), "
            f"rather {names[suggested]} ({100 * shares[index, suggested]:.0f} %)"
        )
        issues.append(LabelIssue(index, given, suggested, float(margins[index]), sentence))
    return LabelIssues(tuple(issues), thresholds)


def _check(labels: Labels, shares: NDArray[np.float64]) -> None:
    if shares.ndim != 2 or len(shares) == 0 or shares.shape[1] < 2:
        raise DataError(f"Probabilities should be of shape (N, K) with at least two classes; found {shares.shape}.")
    n, num_classes = shares.shape
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"Labels should be {n:,} whole numbers; found {labels.dtype} of shape {labels.shape}.")
    if not 0 <= labels.min() <= labels.max() < num_classes:
        raise DataError(f"Labels should be 0 to {num_classes - 1}; found {labels.min()} to {labels.max()}.")
    if not (shares >= 0).all() or not np.allclose(shares.sum(1), 1, atol=1e-4):
        raise DataError("Each row of probabilities should sum to 1 with none below 0: pass the softmax of the logits.")


def issue_columns(found: LabelIssues) -> dict[str, dict[int, object]]:
    """Columns for `mistakes.csv`: column -> {index: value}.

    `label_issue` (rank, 1 is the most doubtful label; empty where the label is none) and `label_margin`.
    """
    return {
        "label_issue": {one.index: rank for rank, one in enumerate(found.issues, start=1)},
        "label_margin": {one.index: round(one.margin, 4) for one in found.issues},
    }
