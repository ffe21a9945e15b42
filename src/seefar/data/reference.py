"""Human labels (CIFAR-10H), checked label errors and published predictions of CIFAR-10's test set, as arrays.

They say of each test image how people and other nets answer, which is what triage needs. Only for the official test
set in its official order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Labels, Split
from seefar.data.reference_files import CHECKS, NETS, PEOPLE, find_files
from seefar.errors import DataError
from seefar.progress import Progress

OFFICIAL_TEST = "e54a434ec35094516eacbaac0f2f9550358d985e9d1f71b47d41d333c15ba304"
"""`Split.fingerprint` of CIFAR-10's test set in its official order."""
OFFICIAL_LABELS = "cbb7365de8ed11f05cc4c3a1e7f78144127c5e851efd83762fb18202461230bb"
"""SHA-256 of its labels as int64, little-endian."""
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CHECKERS = 5
"""People who checked each label that was thought to be wrong."""


@dataclass(frozen=True)
class Reference:
    """What people and other nets say of N test images of K classes.

    Attributes:
        counts: int64 (N, K), how many people chose each class.
        confirmed: int64 (N,), how many of five checkers confirmed the given label and no other; -1: nobody checked it.
        suggested: int64 (N,), the other class that the checkers were offered; -1: nobody checked it.
        nets: names of the M published nets.
        answers: int64 (M, N), the class each of them predicts.
        classes: names of the K classes.
        labels_sha256: SHA-256 of the labels (int64, little-endian) in the order that the arrays are in.
    """

    counts: NDArray[np.int64]
    confirmed: NDArray[np.int64]
    suggested: NDArray[np.int64]
    nets: tuple[str, ...]
    answers: NDArray[np.int64]
    classes: tuple[str, ...]
    labels_sha256: str

    @property
    def entropy(self) -> NDArray[np.float64]:
        """Entropy of the people's choices in bits, float64 (N,): 0 where all agree, 1 where two classes share them."""
        share = self.counts / self.counts.sum(1, keepdims=True)
        bits: NDArray[np.float64] = (share * np.log2(1 / np.where(share > 0, share, 1))).sum(1)
        return bits

    @property
    def majority(self) -> Labels:
        """The class that most people chose, int64 (N,); of classes with equally many, the first in `classes`."""
        return np.asarray(self.counts.argmax(1), dtype=np.int64)

    @property
    def label_errors(self) -> NDArray[np.bool_]:
        """Where fewer than three of the five checkers confirmed the label, bool (N,)."""
        return (self.confirmed >= 0) & (self.confirmed < 3)

    def same_answers(self, predicted: Labels) -> NDArray[np.bool_]:
        """Which of the nets predict exactly these classes, int (N,), and so are the judged one: bool (M,)."""
        return np.asarray((self.answers == predicted).all(1))

    def check_labels(self, labels: Labels) -> None:
        """Refuse labels of other images than these, or in another order.

        Args:
            labels: int64 (N,).

        Raises:
            DataError: they are not the labels that the reference data belong to.
        """
        if len(labels) != len(self.counts):
            raise DataError(
                f"The reference data are of {len(self.counts):,} test images, {len(labels):,} labels were given: "
                "pass those of the whole test set, in its official order."
            )
        if labels_sha256(labels) != self.labels_sha256:
            raise DataError(
                "The labels are not those that the reference data belong to: pass those of CIFAR-10's official test "
                "set in its official order, unchanged."
            )


def labels_sha256(labels: Labels) -> str:
    """SHA-256 of the labels as int64, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<i8").data).hexdigest()


def has_reference(split: Split) -> bool:
    """Whether there are reference data for these images: they are CIFAR-10's test set in its official order."""
    return split.fingerprint == OFFICIAL_TEST


def load_reference(
    folder: str | Path | None = None, *, fetch: bool = True, progress: Progress | None = None
) -> Reference:
    """CIFAR-10H, the checked label errors and the published predictions for CIFAR-10's 10,000 test images.

    Args:
        folder: data folder, the one that holds CIFAR-10 or is to hold it. Default: SEEFAR_DATA, else the user's cache.
        fetch: whether missing files are fetched (3 MB). Their licences are shown then.
        progress: what shows the progress; None: a `Display`.

    Raises:
        DataError: a file is missing and cannot be fetched, or is not the published one.

    Example:
        >>> import seefar, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     seefar.load_reference(folder).counts.shape  # doctest: +SKIP
        (10000, 10)
    """
    paths = find_files(Path(folder).expanduser() if folder else None, fetch=fetch, progress=progress)
    return read_reference(paths)


def read_reference(paths: Mapping[str, Path]) -> Reference:
    """The arrays in the checked files.

    Args:
        paths: path below the data folder -> file, as `find_files` gives it; their checksums are right already.
    """
    counts = np.load(paths[PEOPLE], allow_pickle=False).astype(np.int64)
    confirmed, suggested = (np.full(len(counts), -1, dtype=np.int64) for _ in range(2))
    for check in json.loads(paths[CHECKS].read_text(encoding="utf-8")):
        confirmed[check["id"]] = check["mturk"]["given"]
        suggested[check["id"]] = check["our_guessed_label"]
    nets = sorted(name for name in paths if name.startswith(NETS))
    answers = [json.loads(paths[name].read_text(encoding="utf-8")) for name in nets]
    return Reference(
        counts,
        confirmed,
        suggested,
        tuple(Path(name).name.removesuffix("_predictions.json") for name in nets),
        np.asarray(answers, dtype=np.int64),
        CLASSES,
        OFFICIAL_LABELS,
    )
